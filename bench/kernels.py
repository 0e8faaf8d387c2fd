"""Rates of the engine's kernels beside this machine's limits and the libraries people use, side by side in one run.

Run ``python bench/kernels.py`` (``--quick`` for small sizes). Each row is checked against a reference before it is
timed. Contestants are interleaved; figures are medians. OpenBLAS' rate is that of a large product with as many threads.
"""

import argparse
import subprocess
import sys
import time

import numpy as np
import scipy.sparse as sp

import eigencontext as ec
from eigencontext import _core

SETTLE = 0.25  # seconds: OpenBLAS' own threads spin for a while after a product and would take cores from the next


def interleaved(functions, repeats):
    """Median seconds of each function, run in turn."""
    times = [[] for _ in functions]
    for _ in range(repeats):
        for taken, function in zip(times, functions, strict=True):
            time.sleep(SETTLE)
            function()  # wakes the cores up again
            start = time.perf_counter()
            function()
            taken.append(time.perf_counter() - start)
    return [float(np.median(t)) for t in times]


def check(ours, reference, what):
    error = np.abs(ours - reference).max() / np.abs(reference).max()
    if not error < 1e-4:
        sys.exit(f"{what}: relative error {error:.1e} against the reference")


def row(name, *figures):
    print(f"{name:<44s}" + "".join(f"{figure:>24s}" for figure in figures), flush=True)


def dense(rng, n, m, repeats):
    a = rng.standard_normal((n, m), dtype=np.float32)
    big = min(4096, n)
    left = rng.standard_normal((big, big), dtype=np.float32)
    out = np.empty_like(left)
    op = _core.dense(a)
    for b in (8, 16, 32, 64):
        x = rng.standard_normal((m, b), dtype=np.float32)
        y = rng.standard_normal((n, b), dtype=np.float32)
        check(op.matmat(x), a @ x, "A X")
        check(op.rmatmat(y), a.T @ y, "A^T Y")
        check(op.fused(None, x), a.T @ (a @ x), "A^T A X")
        gemm, ax, aty, fused, blas_ax, blas_aty = interleaved(
            [
                lambda: np.matmul(left, left, out=out),
                lambda x=x: op.matmat(x),
                lambda y=y: op.rmatmat(y),
                lambda x=x: op.fused(None, x),
                lambda x=x: a @ x,
                lambda y=y: a.T @ y,
            ],
            repeats,
        )
        peak = 2 * big**3 / gemm
        flops = 2 * n * m * b
        row(f"dense A X        b={b}", f"{flops / ax / peak:.2f} of GEMM", f"OpenBLAS {flops / blas_ax / peak:.2f}")
        row(f"dense A^T Y      b={b}", f"{flops / aty / peak:.2f} of GEMM", f"OpenBLAS {flops / blas_aty / peak:.2f}")
        row(f"dense A^T (A X)  b={b}", f"{2 * flops / fused / peak:.2f} of GEMM", f"peak {peak / 1e9:.0f} GFLOP/s")


def zipf_matrix(rng, n, m, nonzeros):
    rows = rng.choice(n, nonzeros, p=(w := 1 / np.arange(1, n + 1) ** 0.8) / w.sum())
    cols = rng.choice(m, nonzeros, p=(w := 1 / np.arange(1, m + 1) ** 0.8) / w.sum())
    values = np.ones(nonzeros, dtype=np.float32)
    c = sp.coo_matrix((values, (rng.permutation(n)[rows], rng.permutation(m)[cols])), shape=(n, m)).tocsr()
    return c


def csr(rng, n, m, nonzeros, repeats):
    c = zipf_matrix(rng, n, m, nonzeros)
    x = rng.standard_normal((m, 32), dtype=np.float32)
    y = rng.standard_normal((n, 32), dtype=np.float32)
    for copy in (False, True):
        op = _core.csr(c.indptr, c.indices, c.data, n, m, copy)
        check(op.matmat(x), c @ x, "C X")
        check(op.rmatmat(y), c.T @ y, "C^T Y")
        ours, ours_t, theirs, theirs_t = interleaved(
            [lambda op=op: op.matmat(x), lambda op=op: op.rmatmat(y), lambda: c @ x, lambda: c.T @ y], repeats
        )
        kind = "transpose stored" if copy else "scatter"
        row(f"CSR {c.nnz / 1e6:.1f}M, C X", f"{theirs / ours:.1f}x scipy")
        row(f"CSR {c.nnz / 1e6:.1f}M, C^T Y ({kind})", f"{theirs_t / ours_t:.1f}x scipy")


def chunked_rbf(points, x, bandwidth):
    squares = (points * points).sum(1)
    out = np.empty((len(points), x.shape[1]), dtype=points.dtype)
    for begin in range(0, len(points), 1024):
        rows = slice(begin, begin + 1024)
        distances = squares[rows, None] + squares - 2 * (points[rows] @ points.T)
        out[rows] = np.exp(distances * np.float32(-0.5 / bandwidth**2)) @ x
    return out


def rbf(rng, n, repeats):
    points = rng.standard_normal((n, 32), dtype=np.float32)
    x = rng.standard_normal((n, 128), dtype=np.float32)
    left = rng.standard_normal((4096, 4096), dtype=np.float32)
    out = np.empty_like(left)
    op = _core.pairwise(points, None, "rbf", 6.0, 3, 1.0)
    check(op.matmat(x), chunked_rbf(points, x, 6.0), "K X")
    gemm, ours, numpy_time = interleaved(
        [lambda: np.matmul(left, left, out=out), lambda: op.matmat(x), lambda: chunked_rbf(points, x, 6.0)], repeats
    )
    # Scores once for each pair, both products with 128 vectors; exp is not counted.
    flops = n * n * (32 + 2 * 128)
    row(
        f"rbf {n} x 32 points, 128 vectors",
        f"{flops / ours / (2 * 4096**3 / gemm):.2f} of GEMM",
        f"{numpy_time / ours:.1f}x NumPy",
    )


def import_time():
    program = (
        "import numpy, scipy.sparse.linalg, time; t = time.perf_counter(); import eigencontext;"
        "print(time.perf_counter() - t)"
    )
    seconds = [float(subprocess.check_output([sys.executable, "-c", program])) for _ in range(5)]
    row("import eigencontext beyond numpy and scipy", f"{np.median(seconds):.3f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--only", choices=("dense", "csr", "rbf", "import"), help="one group")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    size = 10 if args.quick else 1
    ec.show_config()
    groups = {
        "dense": lambda: dense(rng, 20000 // size, 4000, 9),
        "csr": lambda: csr(rng, 200000 // size, 100000 // size, 18_000_000 // size, 5),
        "rbf": lambda: rbf(rng, 16384 // size, 5),
        "import": import_time,
    }
    for name, group in groups.items():
        if args.only in (None, name):
            group()


if __name__ == "__main__":
    main()
