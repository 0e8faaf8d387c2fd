"""Which method, which block, how large a basis: decided from shape, k, memory and cost, and said in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from . import _device
from ._arguments import available_memory, check_choice, check_integer, check_memory, check_number
from .operators import Operator, as_operator, tile_bytes, transposed_copy_bytes

SvdMethod = Literal["auto", "krylov", "subspace", "gram", "full", "rpcholesky"]
EighMethod = Literal["auto", "krylov", "subspace", "full", "rpcholesky"]
SVD_METHODS: tuple[str, ...] = get_args(SvdMethod)
EIGH_METHODS: tuple[str, ...] = get_args(EighMethod)

_TINY = 200  # min(n, m) up to which LAPACK on the whole matrix wins
_TINY_BYTES = 128 << 20  # ... unless the other side is so long that the matrix is this large
_SQUARED_TOL = 1e-3  # A^T A squares the condition number: only for tolerances from here on
_GRAM_TOL = {4: 1e-3, 8: 1e-6}
_IDENTITY_COLUMNS = 64  # "full" and "gram" multiply the identity, so many columns at a time
_LAPACK_SIDE = 20_000  # min(n, m) beyond which LAPACK's fast methods cannot count their workspace
_TILE_BYTES = 128 << 20  # tiles of kernels kept between products where no max_memory is given
_UNCOUNTED = 32 << 20  # or an eighth, free of tiles: copies of the points, buffers of the BLAS and the allocator
_POWERS = ("", "k", "M", "G", "T", "P", "E")


@dataclass(frozen=True, repr=False)
class Plan:
    """What `ec.svd` or `ec.spectrum` would do; print it before a long run.

    Attributes
    ----------
    method : str
    reason : str
        Why.
    block_size, basis : int
        Columns of a block, and the most columns that the basis may have (0 where the method has none).
    squared : bool
        Whether the basis is one of A^T A (A A^T where that is smaller): the right vectors alone.
    fused : bool
        Whether a sweep is A^T(A X) in one read of A.
    passes : int
        Reads of A until the tolerance, as far as can be said before the spectrum is known; 0: only `basis` columns of
        it are evaluated.
    flops, bytes : float
        Of those passes and of orthogonalisation; bytes of A read.
    memory : int
        Bytes beyond A and the results: the basis or the matrices of LAPACK, the workspace of a product, kept tiles.
    tiles : int
        Bytes of kernel tiles that are kept between products.
    """

    shape: tuple[int, int]
    dtype: str
    k: int
    tol: float
    method: str
    reason: str
    block_size: int
    basis: int
    squared: bool
    fused: bool
    passes: int
    flops: float
    bytes: float
    memory: int
    max_sweeps: int = 0
    memory_bound: bool = False
    tiles: int = 0

    def __repr__(self) -> str:
        n, m = self.shape
        lines = [
            f"plan for the {self.k} largest of a {n} x {m} operator in {self.dtype}, tol {self.tol:g}",
            f"  method  {self.method}{' (fused)' if self.fused else ''}: {self.reason}",
        ]
        if self.basis:
            lines.append(f"  basis   at most {self.basis} vectors, in blocks of {self.block_size}")
        lines += [
            f"  passes  about {self.passes} over A" if self.passes else f"  passes  none: {self.basis} columns of A",
            f"  work    {_scaled(self.flops, 1000, _POWERS)}flop, "
            f"{_scaled(self.bytes, 1024, ('', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi'))}B of A read",
            f"  memory  {_scaled(self.memory, 1024, ('', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi'))}B beyond A and the results",
        ]
        return "\n".join(lines)


def plan(
    a: Any,
    k: int,
    *,
    tol: float = 1e-3,
    method: SvdMethod = "auto",
    block_size: int | None = None,
    max_basis: int | None = None,
    max_sweeps: int | None = None,
    max_memory: int | None = None,
) -> Plan:
    """What `ec.svd(a, k, ...)` would do: method, passes over the data, flops, bytes, memory, and why.

    Parameters
    ----------
    a : anything that `ec.svd` takes, or a context (its operator is planned for, as `ec.spectrum` works on it)
    k : int
    tol, method, block_size, max_basis, max_sweeps, max_memory
        As in `ec.svd`.

    Returns
    -------
    Plan
        Attributes, and a text when printed.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> ec.plan(np.ones((30, 20)), 3).method
    'full'
    """
    context = hasattr(a, "operator") and hasattr(a, "conditional")
    op, reserved = operator_within(a.operator if context else a, max_memory, symmetric=is_rpcholesky(method))
    result = choose(
        op,
        k,
        symmetric=False,
        tol=tol,
        method=method,
        block_size=block_size,
        max_basis=max_basis,
        max_sweeps=max_sweeps,
        max_memory=max_memory,
        reserved=reserved,
    )
    if not (context and result.method == "rpcholesky"):
        return result
    sums = f"one pass over all {op.shape[0]}^2 entries, {_scaled(_flops(op, 1), 1000, _POWERS)}flop"
    return replace(result, reason=f"{result.reason}; the context's row sums, when it was made, took {sums}")


def operator_within(a, max_memory, argument: str = "a", **options) -> tuple[Operator, int]:
    """`a` as an operator, and the bytes of `max_memory` that it already took: the transposed copy of a CSR matrix,
    which may have at most half."""
    max_memory = check_memory(max_memory)
    op = as_operator(a, argument, None if max_memory is None else max(1, max_memory // 2), **options)
    if isinstance(a, Operator) or op._recipe[0] != "csr":
        return op, 0
    *arrays, copied, _ = op._recipe[1]
    return op, transposed_copy_bytes(*arrays) if copied else 0


def _sufficient(op: Operator, needed: int, reserved: int) -> int:
    """The `max_memory` that leaves `needed` bytes: a sparse matrix takes its transposed copy out of it first."""
    if reserved or op._recipe[0] != "csr":
        return needed + reserved
    *arrays, copied, symmetric = op._recipe[1]
    copy = 0 if copied or symmetric else transposed_copy_bytes(*arrays)
    return needed + (copy if copy <= needed // 2 else 0)


def is_rpcholesky(method) -> bool:
    return isinstance(method, str) and method == "rpcholesky"


def require_entries(op: Operator) -> None:
    """ValueError for operators that pivoted Cholesky can't take."""
    if not op._engine.has_entries:
        raise ValueError(
            f"method: got 'rpcholesky' for {op!r}; allowed: positive semidefinite operators that give single entries: "
            "symmetric arrays, the kernels rbf, laplacian and cosine with A = X (polynomial is indefinite), and their "
            "contexts with marginal='stationary' (uniform is not symmetric)"
        )


def check_rank(k, shape, argument: str = "k") -> int:
    """k as an integer in 1 .. min(n, m)."""
    return check_integer(k, argument, 1, min(shape), "min(n, m)")


def choose(op: Operator, k, *, max_memory=None, reserved: int = 0, **options) -> Plan:
    """The checked and completed options of one decomposition; see `_choose`. What the memory allowed has left over is
    for tiles of kernels that later products only read."""
    plan = _choose(op, k, max_memory=max_memory, reserved=reserved, **options)
    if plan.method == "rpcholesky":
        return plan  # no entry is asked for twice
    if max_memory is None:
        left = min(_TILE_BYTES, available_memory() // 8)
    else:
        left = max_memory - reserved - plan.memory
        left -= min(_UNCOUNTED, left // 8)
    tiles = int(min(tile_bytes(op), max(0, left)))
    return replace(plan, memory=plan.memory + tiles, tiles=tiles)


def _choose(
    op: Operator,
    k,
    *,
    symmetric: bool,
    tol=1e-3,
    method="auto",
    block_size=None,
    max_basis=None,
    max_sweeps=None,
    max_memory=None,
    reserved: int = 0,
    spare: int = 0,
) -> Plan:
    """Method, block and basis; `spare` more columns are added to the default basis."""
    methods = EIGH_METHODS if symmetric else SVD_METHODS
    check_choice(method, "method", methods)
    k = check_rank(k, op.shape)
    tol = check_number(tol, "tol", 0)
    max_memory = check_memory(max_memory)
    n, m = op.shape
    small, itemsize = min(n, m), op.dtype.itemsize
    asked_block = None if block_size is None else check_integer(block_size, "block_size", 1)
    asked_basis = None if max_basis is None else check_integer(max_basis, "max_basis", 1)
    sweeps = 0 if max_sweeps is None else check_integer(max_sweeps, "max_sweeps", 1)
    if is_rpcholesky(method):
        return _rpcholesky(op, k, tol, asked_block, asked_basis, max_sweeps, max_memory)
    iterative = {"block_size": asked_block, "max_basis": asked_basis, "max_sweeps": max_sweeps}
    given = [name for name, value in iterative.items() if value is not None]
    if method in ("gram", "full") and given:
        raise ValueError(f"{given[0]}: got {iterative[given[0]]}; allowed: None, method={method!r} does not iterate")

    limit = (_available(op) // 2) if max_memory is None else max(0, max_memory - reserved)
    # Of LAPACK's matrices, which are the host's wherever the operator is.
    lapack_limit = limit if op.device == "cpu" else min(limit, available_memory() // 2)
    scratch = _scratch(op, k, _default_block(op, k) if asked_block is None else asked_block, symmetric)
    block, basis, memory_bound = _basis(
        op, k, small, n + m, itemsize, asked_block, asked_basis, limit, scratch, max_memory, reserved, method, spare,
        symmetric, bool(given),
    )  # fmt: skip
    # in float64: the matrix, LAPACK's copy of it, then U and V, or for eigenvalues nothing more; its workspace
    full_bytes = itemsize * (n + m) * 64 + (16 if symmetric else 24) * n * m + (24 if symmetric else 48) * small * small
    full_bytes += scratch
    gram_bytes = scratch + itemsize * (n + m) * (64 + 3 * (k + max(8, k // 4))) + 32 * small * small
    krylov_bytes = itemsize * (n + m) * (basis + _beside(block, symmetric)) + scratch + 24 * basis * basis

    fits = _room(k, block, symmetric) <= small
    columns = min(small, _columns_needed(k, block, tol, op.dtype))
    passes = max(2, math.ceil(columns / block))
    krylov_flops = 2 * passes * _flops(op, block) + 4.0 * (n + m) * columns**2
    identities = math.ceil(small / _IDENTITY_COLUMNS)
    made = identities * _flops(op, min(small, _IDENTITY_COLUMNS))
    full_flops, gram_flops = made + 10.0 * n * m * small, 2 * made + 10.0 * small**3

    squared = fused = False
    if method != "auto":
        reason = "asked for"
    elif given and fits:
        method, reason = "krylov", f"{', '.join(given)} given"
    elif small <= _TINY and full_bytes <= min(lapack_limit, _TINY_BYTES):
        method, reason = "full", f"min(n, m) = {small} is tiny"
    elif not fits and full_bytes <= lapack_limit:
        method, reason = "full", f"k = {k} is close to min(n, m) = {small}"
    elif not fits and not symmetric:
        method, reason = "gram", f"k = {k} is close to min(n, m) = {small}, and A is long"
    elif not fits:
        method, reason = "full", f"k = {k} is close to n = {n}"
    elif (
        symmetric
        and small <= min(3 * columns, _LAPACK_SIDE)
        and full_bytes <= lapack_limit
        and gram_flops < krylov_flops
    ):
        method, reason = "full", f"n = {n} is no more than a few times the basis ({columns})"
    elif (
        not symmetric
        and small <= min(4 * columns, _LAPACK_SIDE)
        and tol >= _GRAM_TOL[itemsize]
        and gram_bytes <= lapack_limit
        and gram_flops < krylov_flops
    ):
        method, reason = "gram", f"min(n, m) = {small} is no more than a few times the basis ({columns})"
    else:
        method, reason = "krylov", f"min(n, m) = {small} leaves room for a basis larger than k = {k}"
    if method == "krylov" and not fits:
        least = k + 4 * block + 2 * min(block, 16)
        if small < least:
            raise ValueError(
                f"method: got 'krylov', which needs min(n, m) >= {least} for k = {k} and blocks of {block}, got "
                f"{small}; allowed: {'full' if symmetric else 'full, gram'}, or a smaller block_size"
            )
        method = "full" if symmetric or full_bytes <= lapack_limit else "gram"  # what the engine would turn to
        reason += f" (krylov), but min(n, m) = {small} leaves a verification no room"
    if method == "krylov" and not symmetric and tol >= _SQUARED_TOL:
        fused = op._engine.prefers_fused
        # Two products with A cost less than orthogonalising the longer side against its basis.
        squared = fused or 2 * passes * _flops(op, block) < 4.0 * max(n, m) * columns**2
    if squared:
        krylov_flops -= 4.0 * (n if fused else max(n, m)) * columns**2
    if fused:
        reason += "; A^T(A X) in one read of A"
    elif squared:
        reason += "; a basis of the shorter side alone"
    if method == "krylov" and memory_bound:
        reason += f"; the basis is held to {basis} vectors by max_memory"

    memory = {"full": full_bytes, "gram": gram_bytes}.get(method, krylov_bytes)
    if method == "subspace":
        block = min(k + 10 if asked_block is None else max(asked_block, k), small)
        basis = block
        wide = min(small, _beside(block, symmetric))  # the verification's columns too
        memory = scratch + itemsize * (n + m) * wide + 24 * wide * wide
    if max_memory is not None and memory > limit and method != "krylov":
        raise ValueError(
            f"max_memory: got {max_memory} bytes; allowed: at least {_sufficient(op, memory, reserved)} for "
            f"method={method!r} and shape {op.shape}"
        )
    if method in ("full", "gram"):
        passes = identities if method == "full" else 2 * identities
        return Plan(
            shape=op.shape, dtype=op.dtype.name, k=k, tol=tol, method=method, reason=reason, block_size=0, basis=0,
            squared=False, fused=False, passes=passes, flops=full_flops if method == "full" else gram_flops,
            bytes=passes * float(op.cost(1)["bytes"]), memory=memory,
        )  # fmt: skip
    return Plan(
        shape=op.shape, dtype=op.dtype.name, k=k, tol=tol, method=method, reason=reason, block_size=block, basis=basis,
        squared=squared, fused=fused, passes=passes if fused else 2 * passes, flops=krylov_flops,
        bytes=(1 if fused else 2) * passes * float(op.cost(block)["bytes"]), memory=memory,
        max_sweeps=sweeps, memory_bound=memory_bound,
    )  # fmt: skip


def _available(op: Operator) -> int:
    """Bytes that may still be taken where the operator is."""
    return available_memory() if op.device == "cpu" else _device.engine("cuda").free_memory()


def largest_basis(op: Operator, plan: Plan, memory: int, symmetric: bool) -> int:
    """How many vectors `memory` bytes hold beside the blocks of `plan`, its products' workspace and the results."""
    room = memory - _scratch(op, plan.k, plan.block_size, symmetric)
    beside = _beside(plan.block_size, symmetric) + plan.k
    return int(room // (op.dtype.itemsize * sum(op.shape))) - beside


def _scratch(op: Operator, k: int, block: int, symmetric: bool) -> int:
    """Bytes of a product's workspace; a wide matrix is refined once as it is."""
    n, m = op.shape
    return int(op.cost(block)["workspace"]) + (3 * k * op.dtype.itemsize * m if n < m and not symmetric else 0)


def _rpcholesky(op: Operator, k, tol, asked_block, asked_basis, max_sweeps, max_memory) -> Plan:
    """The rank is `max_basis` or 2 k, less where max_memory says so."""
    require_entries(op)
    n, itemsize = op.shape[0], op.dtype.itemsize
    if max_sweeps is not None:
        raise ValueError(f"max_sweeps: got {max_sweeps}; allowed: None, method='rpcholesky' stops at max_basis")
    if asked_basis is not None and not k <= asked_basis <= n:
        raise ValueError(f"max_basis: got {asked_basis}; allowed: k = {k} .. n = {n}")
    rank = wanted = min(2 * k, n) if asked_basis is None else asked_basis

    def memory(r: int) -> int:
        # F and the vectors, the diagonal, F^T F and what LAPACK needs
        return itemsize * n * (r + k) + 24 * n + 100 * r * r

    while max_memory is not None and memory(rank) > max_memory:
        if rank == k:
            raise ValueError(
                f"max_memory: got {max_memory} bytes; allowed: at least {memory(k)} for a factor of rank k"
            )
        rank = max(k, min(rank - 1, int((max_memory - memory(0)) // (itemsize * n + 100 * rank))))
    reason = f"asked for; a factor of rank {rank}, certified by the trace of what it leaves"
    if rank < wanted:
        reason += f"; the rank is held to {rank} by max_memory"
    share = rank / n
    return Plan(
        shape=op.shape, dtype=op.dtype.name, k=k, tol=tol, method="rpcholesky", reason=reason,
        block_size=min(64, max(8, rank // 8)) if asked_block is None else asked_block, basis=rank,
        squared=False, fused=False,
        # A product with a symmetric operator makes half of its entries; then F, F^T F, the vectors and their QR.
        passes=0, flops=2 * share * _flops(op, 1) + n * (2.0 * rank**2 + 4.0 * rank * k + 8.0 * k**2),
        bytes=share * float(op.cost(1)["bytes"]), memory=memory(rank), memory_bound=rank < wanted,
    )  # fmt: skip


def _basis(
    op, k, small, rows, itemsize, asked_block, asked_basis, limit, scratch, max_memory, reserved, method, spare,
    symmetric, given,
):  # fmt: skip
    """Block size and largest basis: k + 3 blocks at least, all of it and `scratch` within the memory limit."""
    block = asked_block if asked_block is not None else _default_block(op, k)
    while asked_block is None and block > 1 and _room(k, block, symmetric) > small and (given or method == "krylov"):
        block -= 1
    if asked_basis is not None:
        if asked_block is None and asked_basis < k + 3 * block:
            block = max(1, (asked_basis - k) // 3)
        if asked_basis < k + 3 * block:
            raise ValueError(f"max_basis: got {asked_basis}; allowed: at least k + 3 block_size = {k + 3 * block}")
    basis = asked_basis if asked_basis is not None else 2 * k + 10 * block + spare
    basis = max(k + 3 * block, min(basis, small - _room(0, block, symmetric) + 3 * block))
    column = itemsize * rows

    def needed(basis: int) -> int:
        return column * (basis + _beside(block, symmetric)) + 24 * basis * basis + scratch

    def affordable() -> int:  # the largest basis with needed(basis) <= limit
        left = max(0, limit - needed(0))
        return (math.isqrt(column * column + 96 * left) - column) // 48

    if needed(basis) <= limit or basis < k + 3 * block:
        return block, basis, False
    while asked_block is None and block > 1 and affordable() < k + 3 * block:
        block -= 1
    most = max(affordable(), k + 3 * block)
    if max_memory is None:
        return block, min(basis, most), False
    if affordable() < most and method in ("auto", "krylov") and _room(k, block, symmetric) <= small:
        raise ValueError(
            f"max_memory: got {max_memory} bytes; allowed: at least {_sufficient(op, needed(most), reserved)} for a "
            f"basis of k + 3 blocks of {column} bytes a vector"
        )
    return block, min(basis, most), True


def _default_block(op: Operator, k: int) -> int:
    """Small blocks need the fewest flops. Where making A's entries costs more than multiplying 16 columns by them,
    blocks twice as wide make them about half as often."""
    block = max(8, (k + 3) // 4)
    one, two = _flops(op, 1), _flops(op, 2)
    entries, column = 2 * one - two, two - one
    return min(32, 2 * block if entries > 16 * column else block)


def _beside(block: int, symmetric: bool) -> int:
    """Columns beside the basis: the next block and a verification of two steps, six for eigenvalues (basis_memory in
    csrc/spectrum/basis.hpp)."""
    return block + (6 if symmetric else 2) * min(16, max(8, block))


def _room(k: int, block: int, symmetric: bool) -> int:
    """The dimensions that a Krylov space needs: k + 3 blocks and what lies beside them."""
    return k + 3 * block + _beside(block, symmetric)


def _columns_needed(k, block, tol, dtype) -> int:
    """Columns of a Krylov basis that usually reach `tol`: three blocks at 1e-3 for each factor of ten, beyond 1.3 k."""
    digits = -math.log10(max(tol, float(np.finfo(dtype).eps)))
    return int(math.ceil(1.3 * k + block * (2 + 1.5 * digits)))


def _flops(op: Operator, b: int) -> float:
    return float(op.cost(b)["flops"])


def _scaled(value: float, base: int, prefixes) -> str:
    for prefix in prefixes[:-1]:
        if value < base:
            return f"{value:.3g} {prefix}"
        value /= base
    return f"{value:.3g} {prefixes[-1]}"
