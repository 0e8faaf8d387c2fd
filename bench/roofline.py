"""What each task of bench/ would take on a CUDA device at the least, ours and the peers', on paper.

    python bench/gpu.py --model

A run takes no less than the largest of: bytes from device memory, bytes from the L2 cache, float32 flops, float64 flops
and integer operations, each over its rate; launches add 4 microseconds each. Nobody reaches all of that, so a time says
what limits, and a ratio of two times what the algorithms differ in, not how well either is written.

Assumed, and not measured:

- the rates below; float64 products of cuBLAS at the rate of tensor cores, float32 without TF32;
- what fits into half of the L2 cache is read from device memory once; gathered rows of a block that does not fit come
  from there every time;
- an exponential costs 20 flops of the float32 units;
- the numbers of products (COLUMNS) are those that our runs on a processor report: they follow from the matrix and the
  tolerance, not from the device;
- peers do their textbook algorithm at these rates, without overheads of their own: cuSOLVER's gesvdr, torch.svd_lowrank
  and cuML as their documentation describes them, with the iterations that they need on a processor for the accuracy of
  the task (6 for the dense matrix, 7 for the sparse one); Lanczos multiplies one vector at a time and needs 3 bases of
  2 k + 1; KeOps makes every entry of a kernel in registers, both halves of a symmetric one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

LAUNCH = 4e-6  # seconds, typical of a stream that is kept busy
EXP = 20.0
TILE = 2048


@dataclass(frozen=True)
class Device:
    """Rates of the data sheet: bytes, flops and operations a second (L2: as microbenchmarks of others find it)."""

    name: str
    bytes: float
    l2: float
    float32: float
    float64: float
    tensor64: float
    integer: float
    cache: float  # bytes


H100 = Device("H100 SXM", 3.35e12, 5.5e12, 67e12, 34e12, 67e12, 16.7e12, 50e6)
A100 = Device("A100 SXM 80 GB", 2.04e12, 4.0e12, 19.5e12, 9.7e12, 19.5e12, 9.7e12, 40e6)


@dataclass(frozen=True)
class Work:
    """Bytes of device memory and of the L2 cache, flops, integer operations, launches."""

    bytes: float = 0
    l2: float = 0
    float32: float = 0
    float64: float = 0  # our own kernels
    tensor64: float = 0  # cuBLAS
    integer: float = 0
    launches: float = 0

    def __add__(self, other: Work) -> Work:
        return Work(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Work)))

    def times(self, count: float) -> Work:
        return Work(*(count * getattr(self, field.name) for field in fields(Work)))

    def parts(self, device: Device) -> dict[str, float]:
        """Seconds of each of the limits."""
        limits = ("bytes", "l2", "float32", "float64", "tensor64", "integer")
        return {name: getattr(self, name) / getattr(device, name) for name in limits}

    def seconds(self, device: Device) -> float:
        return max(self.parts(device).values()) + LAUNCH * self.launches

    def bound(self, device: Device) -> str:
        parts = self.parts(device) | {"launches": LAUNCH * self.launches}
        return max(parts, key=parts.__getitem__)


@dataclass(frozen=True)
class Row:
    task: str
    case: str
    who: str
    work: Work | None
    note: str = ""


#: matvecs of our runs on a processor at the tasks' sizes and accuracies
COLUMNS = {"dense_svd": 576, "sparse_svd": 1312, "kernel_pca": 304, "encoder": 1088}
HELD = 288  # vectors of a basis for k = 64, 2 k + 10 blocks of 16, before it restarts


# -- parts -------------------------------------------------------------------------------------------------------------


def gemm(n: float, m: float, b: float, reads: float = 1) -> Work:
    """A dense float32 n x m matrix times b vectors; `reads`: of the matrix from memory."""
    return Work(bytes=4 * (reads * n * m + b * (n + m)), l2=4 * n * m, float32=2 * n * m * b, launches=1)


def fused(n: float, m: float, b: float) -> Work:
    """A^T (A X): 16 MiB of rows at a time, twice from L2, once from memory."""
    return Work(4 * n * m + 8 * b * m, 2 * 4 * n * m, 4 * n * m * b, launches=2 * max(1.0, 4 * n * m / 2**24))


def csr(nnz: float, rows: float, cols: float, b: float, cache: float = H100.cache) -> Work:
    """A sparse float32 matrix, 32-bit indices, times b vectors of length cols: a row of X for each entry."""
    gathered, block = 4.0 * nnz * b, 4.0 * b * cols
    from_memory = block if block <= cache / 2 else gathered
    own = 8 * nnz + 4 * rows + 4 * b * rows
    return Work(own + from_memory, own + gathered, 0, 2 * nnz * b, launches=1)


def orthogonalisation(n: float, total: float, block: float) -> Work:
    """`total` columns of length n in float32, block by block, against those before, at most HELD: a read for V^T X, for
    X - V C and for V^T X once more; the inner products in float64 by our own kernel."""
    held = min(total, HELD)
    columns = held**2 / 2 + (total - held) * held  # sum over the steps of columns times width
    traffic = 3 * 4 * n * columns / block
    return Work(traffic, traffic, 2.0 * n * columns, 2 * 2.0 * n * columns, launches=30 * total / block)


def kernel_tiles(n: float, m: float, p: float, b: float, entry: float, symmetric: bool) -> Work:
    """Kernel tiles made once a product and used once, or twice where symmetric: written by the scores, read and written
    by the map, read by each product. `entry`: flops of the map."""
    made = n * m * (0.5 if symmetric else 1.0)
    tiles, uses = made / TILE**2, 2 if symmetric else 1
    return Work(
        bytes=tiles * TILE * 4 * (2 * p + uses * 2 * b),
        l2=4 * made * (3 + uses),
        float32=made * (2 * p + entry) + 2 * n * m * b,
        launches=(2 + uses) * tiles,
    )


def gesvdr(n: float, m: float, b: float, iterations: int) -> Work:
    """cuSOLVER's randomised SVD and torch.svd_lowrank: blocks of b, a QR of both sides at every iteration."""
    products = 2 * iterations + 2
    sides = (iterations + 1) * (n + m)
    qr = Work(4 * 4 * b * sides, 0, 4.0 * b * b * sides, launches=(iterations + 1) * 2 * b)
    return gemm(n, m, b).times(products) + qr


def lanczos(product: Work, n: float, k: float) -> Work:
    """3 bases of 2 k + 1 vectors, one at a time, each orthogonalised against those before it, twice."""
    basis = 2 * k + 1
    step = Work(4 * 4 * n * basis / 2, 0, 8 * n * basis / 2, launches=6)
    return (product + step).times(3 * basis)


def keops(n: float, m: float, p: float, b: float, entry: float = EXP) -> Work:
    return Work(4 * (n + m) * (p + b), 0, n * m * (3 * p + entry + 2 * b), launches=1)


# -- the tasks ---------------------------------------------------------------------------------------------------------


def rows(device: Device = H100) -> Iterator[Row]:
    """Ours first in every case, then the peers; the device's cache decides what comes from memory."""
    yield from dense_products()
    yield from csr_products(device.cache)
    yield from rbf_product()
    yield from sampled_products()
    yield Row("imports", "import eigencontext", "eigencontext", None, "the host alone")
    yield Row("small", "100 x 50, k = 5", "eigencontext", Work(launches=12), "LAPACK on the host; launches and copies")
    yield Row("small", "100 x 50, k = 5", "cuSOLVER gesvdr", gesvdr(100, 50, 15, 2))
    yield from dense_svd()
    yield from sparse_svd(device.cache)
    yield from kernel_pca()
    yield from neighbors()
    yield from encoder(device.cache)
    yield from rpcholesky()
    yield from objectives()
    yield Row("cooccurrence", "counting words", "eigencontext", None, "the host alone; its spectrum is as sparse_svd")


def dense_products() -> Iterator[Row]:
    n, m = 20000, 4000
    for b in (8, 16, 32, 64):
        for product in ("A X", "A^T Y"):
            yield Row("dense_products", f"{product}, b = {b}", "eigencontext", gemm(n, m, b), "cuBLAS")
            yield Row("dense_products", f"{product}, b = {b}", "torch", gemm(n, m, b), "cuBLAS")
        yield Row("dense_products", f"A^T A X, b = {b}", "eigencontext", fused(n, m, b))
        yield Row("dense_products", f"A^T A X, b = {b}", "torch", gemm(n, m, b).times(2))


def csr_products(cache: float) -> Iterator[Row]:
    nnz, n, m, b = 16.5e6, 200_000, 100_000, 32
    for product, work in (("A X", csr(nnz, n, m, b, cache)), ("A^T Y", csr(nnz, m, n, b, cache))):
        yield Row("csr_products", f"{product}, b = {b}", "eigencontext", work, "sums in float64")
        single = Work(**{**work.__dict__, "float32": work.float64, "float64": 0})
        yield Row("csr_products", f"{product}, b = {b}", "cuSPARSE", single, "of a transposed copy, as ours")


def rbf_product() -> Iterator[Row]:
    n, p, b = 16384, 32, 128
    yield Row("rbf_product", "K X, 128 vectors", "eigencontext", kernel_tiles(n, n, p, b, EXP, True))
    yield Row("rbf_product", "K X, 128 vectors", "KeOps", keops(n, n, p, b))
    stored = Work(4.0 * n * n * 4, 0, n * n * (2 * p + EXP + 2 * b), launches=4)
    yield Row("rbf_product", "K X, 128 vectors", "torch", stored, "the kernel matrix stored: written twice, read twice")


def sampled_products() -> Iterator[Row]:
    n, m, p, b = 8192, 16384, 32, 16
    dense = kernel_tiles(n, m, p, b, EXP, False)
    matched = kernel_tiles(n, m, 0, b, EXP, False)
    stored = Work(4.0 * n * m * 5, 0, n * m * (EXP + 2 * b), launches=4)
    for name, ours, peer in (
        ("rbf", dense, Work(float32=2.0 * n * m * p)),
        ("gaussian_noise", dense, Work(float32=2.0 * n * m * p)),
        # xor, shift, mask, compare and add for each feature; xor, and, or for four
        ("corruption", matched + Work(integer=4.0 * n * m * p, float32=2.0 * n * m * p), None),
        ("masking", matched + Work(integer=3.0 * n * m * p / 4), None),
    ):
        yield Row("sampled_products", name, "eigencontext", ours)
        compared = Work(2.0 * n * m * p, 0, 0, integer=n * m * p)
        yield Row("sampled_products", name, "torch", stored + (peer or compared),
                  "" if peer else "a byte for each pair and feature, written and read")  # fmt: skip


def dense_svd() -> Iterator[Row]:
    n, m, k, block = 20000, 4000, 64, 16
    yield Row("dense_svd", f"{n} x {m}, k = {k}", "eigencontext", dense_work(n, m, COLUMNS["dense_svd"], block))
    yield Row("dense_svd", f"{n} x {m}, k = {k}", "cuSOLVER gesvdr", gesvdr(n, m, k + 10, 6))
    yield Row("dense_svd", f"{n} x {m}, k = {k}", "torch.svd_lowrank", gesvdr(n, m, k + 10, 6), "niter = 6")
    gram = Work(4.0 * n * m, 0, 1.0 * n * m * m + 9.0 * m**3, launches=m)
    yield Row("dense_svd", f"{n} x {m}, k = {k}", "cuML TruncatedSVD", gram, "covariance, full eigensolver, 9 m^3")


def dense_work(n: float, m: float, columns: float, block: float) -> Work:
    """Fused sweeps: `columns` counts both products; the basis has length m."""
    return fused(n, m, block).times(columns / (2 * block)) + orthogonalisation(m, columns / 2, block)


def kernel_work(n: float, p: float, columns: float, block: float) -> Work:
    product = kernel_tiles(n, n, p, block, EXP, True)
    return product.times(columns / block) + orthogonalisation(n, columns, block)


def sparse_svd(cache: float) -> Iterator[Row]:
    nnz, n, m, k, block, case = 16.5e6, 200_000, 100_000, 64, 16, "16.5 M nonzeros, k = 64"
    both = csr(nnz, n, m, block, cache) + csr(nnz, m, n, block, cache)
    columns = COLUMNS["sparse_svd"]
    ours = both.times(columns / (2 * block)) + orthogonalisation(m, columns / 2, block)
    yield Row("sparse_svd", case, "eigencontext", ours)
    one = csr(nnz, n, m, 1, cache) + csr(nnz, m, n, 1, cache)
    yield Row("sparse_svd", case, "cupyx svds", lanczos(one, m, k))
    wide = k + 10
    blocks = (csr(nnz, n, m, wide, cache) + csr(nnz, m, n, wide, cache)).times(8)
    qr = Work(4.0 * 4 * wide * 8 * (n + m), 0, 4.0 * wide**2 * 8 * (n + m), launches=8 * 2 * wide)
    yield Row("sparse_svd", case, "RAFT randomized SVD", blocks + qr, "7 iterations")


def kernel_pca() -> Iterator[Row]:
    n, p, k, block, case = 20000, 64, 64, 32, "20000 points, k = 64"
    yield Row("kernel_pca", case, "eigencontext", kernel_work(n, p, COLUMNS["kernel_pca"], block))
    stored = Work(4.0 * n * n * 4, 0, n * n * (2.0 * p + EXP) + 9.0 * n**3, launches=n)
    yield Row("kernel_pca", case, "cuML KernelPCA", stored, "the matrix stored, full eigensolver, 9 n^3")
    yield Row("kernel_pca", case, "KeOps and Lanczos", lanczos(keops(n, n, p, 1), n, k))


def neighbors() -> Iterator[Row]:
    n, p, case = 40000, 64, "40000 points, k = 30"
    yield Row("neighbors", case, "eigencontext", None, "found on the host")
    scores = Work(4.0 * n * p * 2, 4.0 * n * n * 2, 2.0 * n * n * p, launches=2 * (n / TILE) ** 2)
    yield Row("neighbors", case, "cuML brute force", scores, "scores in L2, read once to select")


def encoder(cache: float) -> Iterator[Row]:
    n, k, block, case = 10_000, 64, 16, "10000 x 784, k = 64"
    columns, nnz = COLUMNS["encoder"], 300_000
    both = csr(nnz, n, n, block, cache).times(2)
    ours = both.times(columns / (2 * block)) + orthogonalisation(n, columns / 2, block)
    yield Row("encoder", case, "eigencontext", ours, "the spectrum; neighbours are found on the host")
    yield Row(
        "encoder",
        case,
        "cuML spectral embedding",
        lanczos(csr(2 * nnz, n, n, 1, cache), n, k),
        "Lanczos, its graph given",
    )


def rpcholesky() -> Iterator[Row]:
    for n in (62_500, 250_000, 1_000_000):
        rank, p, together = 500, 16, 62
        flops = n * rank * (2.0 * p + EXP + rank)
        square, product = 2.0 * n * rank**2, 4.0 * n * rank * 32
        ours = Work(4.0 * n * rank * (rank / together / 2 + 6), 0, flops + product, square,
                    launches=20 * rank / together)  # fmt: skip
        yield Row("rpcholesky", f"n = {n}", "eigencontext", ours, "62 pivots proposed at a time")
        one = Work(4.0 * n * rank * (rank / 2 + 6), 0, flops + square + product, launches=4 * rank)
        yield Row("rpcholesky", f"n = {n}", "torch", one, "a pivot at a time")


def objectives() -> Iterator[Row]:
    def both(case: str, elements: float, flops: float, tiles: float = 0, pairs: float = 0) -> Iterator[Row]:
        """`elements` are read three times; `tiles`: flops of scores, in float32 for both; `pairs` scores."""
        traffic = 3 * 4.0 * elements
        kept = Work(traffic, 4 * 4.0 * pairs, tiles + EXP * pairs, 0, flops, launches=40 + 5 * pairs / TILE**2)
        yield Row("objectives", case, "eigencontext", kept, "sums and rows in float64")
        stored = Work(traffic + 6 * 4.0 * pairs, 0, flops + tiles + EXP * pairs, launches=30)
        yield Row("objectives", case, "torch", stored, "autograd" + (", scores stored" if pairs else ""))

    n, d = 400_000, 256
    yield from both("svme", 2 * n * d, 3.0 * n * d * d)
    n, p, d = 16_384, 32, 128
    yield from both("kise rbf", n * (p + d), 3.0 * n * d * d, n * n * (2.0 * p + 2 * d), n * n / 2)
    n, d = 4096, 128
    yield from both("spectral contrastive", 2 * n * d, 6.0 * n * d * d)
    pairs = (2.0 * n) ** 2 / 2  # of views, once each
    yield from both("exponential spectral contrastive", 2 * n * d, 0, 6.0 * pairs * d, pairs)
    for n in (32_768, 16_384):
        yield from both(f"info_nce, N = {n}", 2 * n * 256, 0, 8.0 * n * n * 256, 2 * n * n)
    n, d = 65_536, 512
    yield from both("nested_low_rank", 2 * n * d, 6.0 * n * d * d)


def table(device: Device = H100) -> str:
    """Everybody's least time in every case, and what limits it."""
    lines = [
        f"At least, on an {device.name}, on paper (bench/roofline.py says what is assumed):",
        f"{'task':18}{'case':34}{'who':25}{'GB':>8}{'L2 GB':>8}{'f32 TF':>9}{'f64 TF':>9}{'int T':>8}{'launches':>10}"
        f"{'ms':>10}  limit",
    ]
    for row in rows(device):
        head = f"{row.task:18}{row.case:34}{row.who:25}"
        note = f"  ({row.note})" if row.note else ""
        if row.work is None:
            lines.append(f"{head}{'-':>62}{note}")
            continue
        w = row.work
        sizes = f"{w.bytes / 1e9:8.3g}{w.l2 / 1e9:8.3g}{w.float32 / 1e12:9.3g}{(w.float64 + w.tensor64) / 1e12:9.3g}"
        sizes += f"{w.integer / 1e12:8.3g}{w.launches:10.0f}{1e3 * w.seconds(device):10.4g}"
        lines.append(f"{head}{sizes}  {w.bound(device)}{note}")
    return "\n".join(lines)
