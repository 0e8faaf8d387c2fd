"""Truncated decompositions: svd, eigh, and the signatures of scikit-learn and SciPy over the same engine."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from scipy.sparse.linalg import LinearOperator

from . import _device
from ._arguments import (
    check_callback,
    check_choice,
    check_flag,
    check_integer,
    check_number,
    check_seed,
    is_sparse,
    output_like,
    real_array,
    seed_from,
    sparse_array,
    vector,
)
from ._plan import (
    EighMethod,
    Plan,
    SvdMethod,
    check_rank,
    choose,
    is_rpcholesky,
    largest_basis,
    operator_within,
    require_entries,
)
from ._results import Callback, ClusterWarning, ConvergenceWarning, EighResult, Progress, SvdResult
from .operators import (
    Operator,
    as_operator,
    can_stream,
    dense,
    keeping_tiles,
    moved,
    require_finite,
    streams,
    transposed,
)

__all__ = ["eigh", "randomized_svd", "svd", "svds"]


def svd(
    a: Any,
    k: int,
    *,
    tol: float = 1e-3,
    method: SvdMethod = "auto",
    block_size: int | None = None,
    max_basis: int | None = None,
    max_sweeps: int | None = None,
    verify: bool = True,
    max_memory: int | None = None,
    seed: int = 0,
    callback: Callback | None = None,
    device: Literal["cpu", "cuda"] | None = None,
    precision: Literal["exact", "tf32"] = "exact",
) -> SvdResult:
    """The k largest singular triplets, each with its residual.

    Parameters
    ----------
    a : (n, m) array-like, scipy.sparse matrix, LinearOperator, ec operator, or object with shape, matmat and rmatmat
        float32 and float64 stay, float16 becomes float32, integers and bool become float64. Dense arrays are read where
        they are (any strides, read-only, memory-mapped).
    k : int
        1 <= k <= min(n, m).
    tol : float
        Triplet i is converged when ``||A^T u_i - s_i v_i|| <= max(tol * s_i, floor)``, where
        ``floor = 10 eps s_1 sqrt(max(n, m))``; 0 asks for the floor. (A v_i = s_i u_i holds to rounding.)
    method : {"auto", "krylov", "subspace", "gram", "full", "rpcholesky"}
        Block Krylov; subspace iteration; eigenvectors of the smaller Gram matrix; LAPACK on the whole matrix; pivoted
        Cholesky, for symmetric positive semidefinite ones only (see `eigh`). "auto" chooses one of the others by shape,
        k, memory and cost, and says why in `.reason`.
    block_size : int, optional
        Vectors multiplied together.
    max_basis : int, optional
        Columns of the Krylov basis before it restarts, at least k + 3 block_size.
    max_sweeps : int, optional
        Stop after this many sweeps, converged or not. These three belong to the iterative methods: giving one makes
        "auto" choose krylov, where min(n, m) has room for it (``ec.plan`` says).
    verify : bool
        After convergence look for a missed triplet with a fresh block, and compute the residuals once more.
    max_memory : int, optional
        Bytes for the transposed copy of a sparse matrix (at most half), the basis,
        ``itemsize * (n + m) * (basis + 3 * block_size)`` (of a wide matrix ``3 * k * m * itemsize`` more), and what is
        left over for tiles of kernels, which later sweeps then only read. Default: half of the memory available
        for the first two, 128 MiB for the third.
    seed : int
        Same seed, same bits, whatever the number of threads. A column-major array is read as it lies, in another order
        of sums: it agrees with its row-major copy to rounding, not in every bit.
    callback : callable, optional
        Called after each sweep with an object that has `.sweep`, `.basis_size`, `.residuals` and `.elapsed`; returning
        True stops. An exception in it ends the run and reaches the caller.
    device : {None, "cpu", "cuda"}
        Where to compute; None: where `a` is. An array on a CUDA device (CuPy, torch, anything that has
        ``__cuda_array_interface__``; CSR matrices of cupyx) is used where it is, float32 or float64, and gives the same
        kind of arrays back. "cuda" copies an array of the CPU to the device; the results are NumPy's. A dense one that
        does not fit there stays in the host's memory (`.reason` says so): its rows are copied anew for every product,
        32 MiB at a time, while the device works on those before.
    precision : {"exact", "tf32"}
        "tf32", on a CUDA device: float32 products with the matrix round their factors to 10 bits of mantissa, on tensor
        cores; what orthogonalises stays float32 and float64. Residuals are those of the rounded matrix products, about
        1e-3 ``s_1``.

    Returns
    -------
    SvdResult
        Unpacks as U (n, k), s (k,) descending, Vh (k, m), in the dtype of `a`. The entry of largest magnitude of each
        column of U is positive. Further `.residuals` (k,) float64, `.converged` (k,) bool, `.missed` (estimate of
        ``||A||_F^2 - sum(s**2)``), `.sweeps`, `.matvecs`, `.method`, `.reason`, and `.stop_reason`: "converged",
        "max_sweeps", "max_basis" (rpcholesky), "max_memory" or "callback".

    Raises
    ------
    TypeError
        Complex or object dtype; a context (use `ec.spectrum` or its `.operator`); arguments of the wrong type.
    ValueError
        NaN or inf; k out of range; options that exclude one another; a basis of k + 3 block_size above `max_memory`.
    MemoryError
        The device's memory does not hold the basis (or a sparse or kernel operator's arrays): which basis would fit.

    Warns
    -----
    ConvergenceWarning
        Not all k converged: what was found is returned.
    ClusterWarning
        The k-th value is within its error of the next.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> a = np.outer([1.0, 2.0, 2.0], [3.0, 4.0])
    >>> U, s, Vh = result = ec.svd(a, 1)
    >>> np.round(s, 6), bool(result.converged.all())
    (array([15.]), True)
    """
    semidefinite = is_rpcholesky(method)
    op, reserved = operator_within(
        _symmetric(a, method) if semidefinite else a, max_memory, symmetric=semidefinite, finite=False
    )

    def solve(op: Operator) -> SvdResult:
        options = choose(
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
        name = "eigh" if semidefinite else "svd"
        answer = _run(name, op, options, verify, seed, callback, precision=precision, above=2)
        if semidefinite:  # eigenvalues >= 0 are singular values
            answer["left"] = _device.copied(answer["right"])
        return _as_svd(answer, op.dtype, op.output(a))

    return _on_device(solve, op, device, semidefinite)


def eigh(
    a: Any,
    k: int,
    *,
    tol: float = 1e-3,
    method: EighMethod = "auto",
    block_size: int | None = None,
    max_basis: int | None = None,
    max_sweeps: int | None = None,
    verify: bool = True,
    max_memory: int | None = None,
    seed: int = 0,
    callback: Callback | None = None,
    device: Literal["cpu", "cuda"] | None = None,
    precision: Literal["exact", "tf32"] = "exact",
) -> EighResult:
    """The k largest (algebraic) eigenvalues of a symmetric matrix or operator, each with its residual.

    Parameters
    ----------
    a : (n, n) array-like, scipy.sparse matrix, LinearOperator, ec operator, or object with shape and matmat
        Must equal its transpose to rounding: entry by entry where it is stored; where it is not, tested with one
        product with two random vectors.
    k : int
        1 <= k <= n.
    tol : float
        Pair i is converged when ``||A v_i - w_i v_i|| <= max(tol * |w_i|, floor)``,
        ``floor = 10 eps max|w| sqrt(n)``.
    method : {"auto", "krylov", "subspace", "full", "rpcholesky"}
        "rpcholesky" (see Notes) is never chosen by "auto".
    block_size, max_basis, max_sweeps, verify, max_memory, seed, callback, device, precision
        As in `svd`; of "rpcholesky" see Notes. An array on a CUDA device is tested for symmetry by a product.

    Returns
    -------
    EighResult
        Unpacks as w (k,) descending, V (n, k), and carries what an `SvdResult` carries.

    Raises
    ------
    TypeError, ValueError
        As `svd`; also for a matrix that is not square or not symmetric, and, where "rpcholesky" notices it, one that is
        not positive semidefinite.

    Notes
    -----
    ``method="rpcholesky"`` reads only the diagonal and r = `max_basis` columns of a positive semidefinite A (default
    2 k, at least k), drawn at random in proportion to the diagonal of what is left: A - F F^T, F (n, r). w and V are
    the eigenpairs of F F^T. A is a symmetric array, a kernel (rbf, laplacian, cosine; A = X; `centered` too) or the
    operator of a kernel context with the stationary marginal. With c = trace(A - F F^T), rounding (the floor) apart:

    - ``w_i <= w_i(A) <= w_i + c`` and ``||A v_i - w_i v_i|| <= c``: every entry of `.residuals` is c, and `.converged`
      is judged by it. The true residuals would cost all n^2 entries. A larger `max_basis` is what makes c smaller.
    - `.missed` is sum_{i > k} of w_i^2 of F F^T; what F leaves adds at most 2 w_1 c + c^2.
    - `.sweeps` counts rounds, `.matvecs` the columns evaluated. `.stop_reason` is "max_basis" where the rank was
      reached before all converged; it is "converged" also where only rounding is left of A.
    - `block_size` is the number of pivots proposed in a round (any gives the same law of pivots), `max_sweeps` is
      refused, and `verify` finds nothing to do: the bound leaves nothing to be missed.

    Cost: (r + 1) n entries and n (2 r^2 + 4 r k + 8 k^2) flops. Memory: itemsize n (r + k) + 24 n + 100 r^2 bytes
    beside A (a kernel operator holds a copy of X), the result included.

    References
    ----------
    Chen, Epperly, Tropp, Webber 2022, arXiv 2207.06503 (the law of the pivots and its error); Epperly, Tropp, Webber
    2024, arXiv 2410.03969 (the same law in blocks, by rejection).

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> w, V = ec.eigh(np.diag([1.0, -5.0, 2.0]), 2)
    >>> np.round(w, 6)
    array([2., 1.])
    >>> K = ec.operators.kernel(np.linspace(0, 1, 2000)[:, None], bandwidth=0.5)
    >>> result = ec.eigh(K, 3, method="rpcholesky", max_basis=20)
    >>> result.matvecs <= 20, bool(result.converged.all())
    (True, True)
    """
    op, reserved = operator_within(_symmetric(a, method), max_memory, symmetric=True)

    def solve(op: Operator) -> EighResult:
        if is_rpcholesky(method):
            require_entries(op)
        elif not op.symmetric:
            _probe_symmetry(op, seed)
        options = choose(
            op,
            k,
            symmetric=True,
            tol=tol,
            method=method,
            block_size=block_size,
            max_basis=max_basis,
            max_sweeps=max_sweeps,
            max_memory=max_memory,
            reserved=reserved,
        )
        answer = _run("eigh", op, options, verify, seed, callback, precision=precision, above=2)
        like = op.output(a)
        result = EighResult(like(answer["values"].astype(op.dtype, copy=False)), like(answer["right"]))
        return result._certify(answer)

    return _on_device(solve, op, device, is_rpcholesky(method))


def randomized_svd(
    M: Any,
    n_components: int,
    *,
    n_oversamples: int = 10,
    n_iter: int | Literal["auto"] = "auto",
    power_iteration_normalizer: Literal["auto", "QR", "LU", "none"] = "auto",
    transpose: bool | Literal["auto"] = "auto",
    flip_sign: bool = True,
    random_state: Any = None,
    svd_lapack_driver: Literal["gesdd", "gesvd"] = "gesdd",
) -> tuple[Any, Any, Any]:
    """Truncated SVD with the signature and conventions of `sklearn.utils.extmath.randomized_svd`.

    Parameters
    ----------
    M : (n, m) array-like, sparse matrix or anything that `svd` takes
    n_components : int
        Triplets wanted; where it is more than min(n, m), that many are returned.
    n_oversamples : int
        More columns in the blocks (n_iter a number) or in the basis ("auto").
    n_iter : int or "auto"
        "auto" goes on until every residual is below 1e-3 of its value. A number q does what q power iterations do with
        blocks of n_components + n_oversamples, and keeps all blocks in the basis, where scikit-learn keeps the last:
        from the same start block never less accurate. Where all blocks together would be more than min(n, m) columns,
        only the last is kept.
    power_iteration_normalizer : {"auto", "QR", "LU", "none"}
        Checked; nothing depends on it, since every block is orthonormalised against the whole basis anyway.
    transpose : bool or "auto"
        Whether to work on the transposed matrix; "auto": where n < m.
    flip_sign : bool
        True: the entry of largest magnitude of each left vector is positive. False: of each left vector of the matrix
        worked on, which is the right one where it was transposed.
    random_state : int, RandomState, Generator or None
        None draws a seed from NumPy's global state, as scikit-learn does.
    svd_lapack_driver : {"gesdd", "gesvd"}
        Checked; nothing depends on it: the small SVD is LAPACK's gesdd, of a triangular factor, where the two agree.

    Returns
    -------
    U : (n, k) ndarray
    s : (k,) ndarray, descending
    Vh : (k, m) ndarray

    Warns
    -----
    ConvergenceWarning
        n_iter="auto" and not all converged.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> a = np.array([[1, 2, 3, 5], [3, 4, 5, 6], [7, 8, 9, 10]])
    >>> U, s, Vh = ec.randomized_svd(a, n_components=2, random_state=0)
    >>> U.shape, s.shape, Vh.shape
    ((3, 2), (2,), (2, 4))
    """
    k = check_integer(n_components, "n_components", 1)
    spare = check_integer(n_oversamples, "n_oversamples", 0)
    if isinstance(n_iter, str):
        check_choice(n_iter, "n_iter", ("auto",))
    else:
        check_integer(n_iter, "n_iter", 0)
    check_choice(power_iteration_normalizer, "power_iteration_normalizer", ("auto", "QR", "LU", "none"))
    if isinstance(transpose, str):
        check_choice(transpose, "transpose", ("auto",))
    else:
        check_flag(transpose, "transpose")
    check_flag(flip_sign, "flip_sign")
    check_choice(svd_lapack_driver, "svd_lapack_driver", ("gesdd", "gesvd"))
    seed = seed_from(np.random if random_state is None else random_state, "random_state")
    op = _on_cpu(as_operator(M, "M"), "M")
    k = min(k, *op.shape)
    turned = op.shape[0] < op.shape[1] if isinstance(transpose, str) else bool(transpose)
    work = transposed(op) if turned else op
    if n_iter == "auto":
        options = choose(work, k, symmetric=False, spare=spare)
        answer = _run("svd", work, options, True, seed, None)
    else:
        answer = _power(work, k, min(k + spare, min(op.shape)), int(n_iter), seed)
    left, s, right = answer["left"], answer["values"].astype(op.dtype, copy=False), answer["right"]
    if turned:
        left, right = right, left
        if flip_sign:
            signs = _signs(left)
            left, right = left * signs, right * signs
    like = output_like(M)
    return like(left), like(s), like(right.T)


class _Default(str):
    """A default that is told apart from the same string given by the user."""


_ENGINE = _Default("arpack")


def svds(
    A: Any,
    k: int = 6,
    ncv: int | None = None,
    tol: float = 0,
    which: str = "LM",
    v0: Any = None,
    maxiter: int | None = None,
    return_singular_vectors: bool | Literal["u", "vh"] = True,
    solver: str = _ENGINE,
    rng: Any = None,
    options: dict | None = None,
    *,
    random_state: Any = None,
) -> Any:
    """Partial SVD with the signature and conventions of `scipy.sparse.linalg.svds`: ascending values.

    What the engine does not do is handed to SciPy unchanged: ``which="SM"``, complex matrices, a solver asked for by
    name, `options` of a solver, and an `ncv` below k + 3.

    Parameters
    ----------
    A : (n, m) array-like, sparse matrix or LinearOperator
    k : int
        1 <= k <= min(n, m) (SciPy's solvers stop at min(n, m) - 1).
    ncv : int, optional
        Columns of the basis before it restarts.
    tol : float
        As `tol` of `svd`; 0 goes to the floor of rounding.
    which : {"LM", "SM"}
    v0 : (min(n, m),) array, optional
        First column of the start block: a left singular vector where n < m, a right one otherwise.
    maxiter : int, optional
        Restarts.
    return_singular_vectors : {True, False, "u", "vh"}
        False returns the values alone; "u" and "vh" return None for the other side.
    solver : {"arpack", "lobpcg", "propack"}
        Naming one asks for SciPy's.
    rng, random_state : int, Generator, RandomState or None
        Either, not both.
    options : dict, optional

    Returns
    -------
    u : (n, k) ndarray
    s : (k,) ndarray, ascending
    vh : (k, m) ndarray

    Warns
    -----
    ConvergenceWarning
        Not all k converged (SciPy raises ArpackNoConvergence here).

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> u, s, vh = ec.svds(np.diag([1.0, 5.0, 3.0]), k=2)
    >>> np.round(s, 6)
    array([3., 5.])
    """
    if not isinstance(which, str) or which.upper() not in ("LM", "SM"):
        raise ValueError(f"which: got {which!r}; allowed: 'LM', 'SM'")
    if rng is not None and random_state is not None:
        raise TypeError("rng, random_state: got both; allowed: one of them")
    if hasattr(A, "conditional") and hasattr(A, "operator"):
        as_operator(A, "A")  # raises, and says what to call
    by_name = solver is not _ENGINE or options is not None
    short = ncv is not None and isinstance(ncv, (int, np.integer)) and isinstance(k, (int, np.integer)) and ncv < k + 3
    if by_name or short or which.upper() == "SM" or _is_complex(A) or (v0 is not None and np.iscomplexobj(v0)):
        return _scipy_svds(A, k, ncv, tol, which, v0, maxiter, return_singular_vectors, solver, rng, options,
                           random_state)  # fmt: skip

    vectors = return_singular_vectors
    if not (isinstance(vectors, (bool, np.bool_)) or (isinstance(vectors, str) and vectors in ("u", "vh"))):
        raise ValueError(f"return_singular_vectors: got {vectors!r}; allowed: True, False, 'u', 'vh'")
    tol = check_number(tol, "tol", 0)
    seed = seed_from(rng, "rng") if random_state is None else seed_from(random_state, "random_state")
    op = _on_cpu(as_operator(A, "A"), "A")
    k = check_rank(k, op.shape)
    basis = None if ncv is None else min(check_integer(ncv, "ncv", k + 3), *op.shape)
    if maxiter is not None:
        maxiter = check_integer(maxiter, "maxiter", 1)
    turned = v0 is not None and op.shape[0] < op.shape[1]
    start: Any = [] if v0 is None else vector(v0, "v0", min(op.shape))
    work = transposed(op) if turned else op
    plan = choose(work, k, symmetric=False, tol=tol, max_basis=basis if basis and basis >= k + 3 else None)
    if maxiter is not None and plan.basis:
        plan = choose(
            work, k, symmetric=False, tol=tol, max_basis=plan.basis, block_size=plan.block_size,
            max_sweeps=maxiter * math.ceil((plan.basis - k) / plan.block_size),
        )  # fmt: skip
    answer = _run("svd", work, plan, True, seed, None, start=start)
    left, s, right = answer["left"], answer["values"].astype(op.dtype, copy=False), answer["right"]
    if turned:
        left, right = right, left
        signs = _signs(left)
        left, right = left * signs, right * signs
    like = output_like(A)
    s = like(s[::-1].copy())
    if isinstance(vectors, (bool, np.bool_)) and not vectors:
        return s
    u = None if vectors == "vh" else like(left[:, ::-1])
    vh = None if vectors == "u" else like(right.T[::-1])
    return u, s, vh


# -- one way into the engine -------------------------------------------------------------------------------------------


def _run(
    solve: str, op: Operator, plan: Plan, verify, seed, callback, *, precision="exact", start=(), warn=True, above=0
) -> dict:
    """Runs `plan`, turns what the engine reports into warnings, and returns its dict. `above`: how many frames lie
    between this one and that of the function the user called."""
    arguments = dict(
        method=plan.method,
        tol=plan.tol,
        block_size=plan.block_size,
        max_basis=plan.basis if plan.method in ("krylov", "rpcholesky") else 0,
        max_sweeps=plan.max_sweeps,
        verify=check_flag(verify, "verify"),
        squared=plan.squared,
        keep_sweeps=False,
        seed=check_seed(seed),
        start=start,
        callback=_for_engine(check_callback(callback)),
    )
    if check_choice(precision, "precision", ("exact", "tf32")) == "tf32":
        if op.device != "cuda":
            raise ValueError("precision: got 'tf32'; allowed: 'exact', the CPU has no other")
        arguments["tf32"] = True
    try:
        answer = getattr(_device.engine(op.device), solve)(keeping_tiles(op, plan.tiles)._engine, plan.k, **arguments)
    except MemoryError as error:
        if op.device == "cpu" or not isinstance(error, _device.engine("cuda").DeviceMemoryError):
            raise
        raise _out_of_memory(error, op, plan, solve == "eigh") from None
    except ValueError:  # a product with NaN or inf in it: say which entry it comes from
        require_finite(op)
        raise
    answer["reason"] = plan.reason
    if streams(op):
        answer["reason"] += "; the rows of A visit the device"
    if answer["method"] != plan.method:
        answer["reason"] += f"; {plan.method!r} did not suffice, {answer['method']!r} took over"
    limited = answer["stop_reason"] == "max_basis" or (answer["stop_reason"] == "max_sweeps" and not plan.max_sweeps)
    if plan.memory_bound and limited:
        answer["stop_reason"] = "max_memory"
    if warn:
        _warn(answer, plan, 4 + above)
    return answer


def _warn(answer: dict, plan: Plan, stacklevel: int) -> None:
    missing = int(np.count_nonzero(~answer["converged"]))
    if missing:
        worst = float(np.max(answer["residuals"][~answer["converged"]]))
        warnings.warn(
            f"{missing} of {plan.k} did not converge to tol={plan.tol:g} in {answer['sweeps']} sweeps (stopped by "
            f"{answer['stop_reason']}; largest residual {worst:.3g}): see .converged and .residuals",
            ConvergenceWarning,
            stacklevel=stacklevel,
        )
    # where the last one did not converge, that it is close to the next says nothing more
    for text in answer["warnings"] if answer["converged"][-1] else ():
        warnings.warn(text, ClusterWarning, stacklevel=stacklevel)


def _on_cpu(op: Operator, argument: str) -> Operator:
    if op.device != "cpu":
        raise TypeError(f"{argument}: got one on a CUDA device; allowed: arrays and operators on the CPU (use ec.svd)")
    return op


def _on_device(solve: Callable[[Operator], Any], op: Operator, device, whole: bool) -> Any:
    """`solve` of the operator on the device; where its memory does not suffice, unless all of it must be there
    (`whole`), of one whose dense arrays stay on the host and visit it."""
    if device != "cuda" or op.device == "cuda":
        return solve(op if device is None else op.to(device))
    try:
        return solve(moved(op, stream=False if whole else None))
    except MemoryError as error:
        ours = isinstance(error, _device.engine("cuda").DeviceMemoryError)
        if whole or not ours or not can_stream(op):
            raise
    # Outside of the handler: the traceback would keep what the first attempt had allocated.
    return solve(moved(op, stream=True))


def _out_of_memory(error: MemoryError, op: Operator, plan: Plan, symmetric: bool) -> MemoryError:
    """What would fit beside what lives on the device now: the operator's arrays and what others have there."""
    if plan.method != "krylov":
        return type(error)(f"{error}; method={plan.method!r} takes about {plan.memory} bytes beside the matrix")
    free = _device.engine("cuda").free_memory()
    most = largest_basis(op, plan, free, symmetric)
    least = plan.k + 3  # what max_basis allows
    fits = f"a basis of at most {most} vectors (max_basis=, a smaller k)" if most >= least else "nothing of this shape"
    wanted = f"k = {plan.k} with a basis of {plan.basis} vectors takes about {plan.memory} bytes"
    return type(error)(f"{error}; {wanted} beside the matrix; would fit in {free} bytes: {fits}")


def _for_engine(callback):
    if callback is None:
        return None

    def call(sweep, basis_size, residuals, elapsed):
        return bool(callback(Progress(int(sweep), int(basis_size), np.asarray(residuals), float(elapsed))))

    return call


def _as_svd(answer: dict, dtype, like) -> SvdResult:
    s = answer["values"].astype(dtype, copy=False)
    result = SvdResult(like(answer["left"]), like(s), like(answer["right"]).T)
    return result._certify(answer)


def _power(op: Operator, k: int, block: int, n_iter: int, seed: int) -> dict:
    """What `n_iter` power iterations find, or better.

    Halko-Martinsson-Tropp project A on range(A (A^T A)^q Omega), q = n_iter. Here A is restricted to a space of right
    vectors that contains (A^T A)^(q+1) Omega, hence q + 2 blocks: the restriction's error is never the larger one,
    since Q^T A has its row space in A^T Q.
    """
    small, blocks = min(op.shape), n_iter + 2
    if block >= small:
        plan = choose(op, k, symmetric=False, method="full")
        return _run("svd", op, plan, True, seed, None, warn=False)
    kept = (blocks + 1) * block + 2 * min(block, 16) <= small
    return _device.engine(op.device).svd(
        op._engine, k, method="krylov" if kept else "subspace", tol=1e-3, block_size=block,
        max_sweeps=blocks - 1 if kept else blocks, verify=False, keep_sweeps=True, seed=seed,
    )  # fmt: skip


def _signs(left: np.ndarray) -> np.ndarray:
    """+-1 for each column: the sign of its entry of largest magnitude, on ties of the first within 1e-6 of it."""
    size = np.abs(left)
    rows = np.argmax(size >= (1 - 1e-6) * size.max(axis=0), axis=0)
    return np.where(left[rows, np.arange(left.shape[1])] < 0, -1, 1).astype(left.dtype)


def _is_complex(A) -> bool:
    dtype = getattr(A, "dtype", None)
    if dtype is None and not hasattr(A, "matmat"):
        try:
            dtype = np.asarray(A).dtype
        except (TypeError, ValueError):
            return False  # as_operator says what is wrong with it
    return "complex" in str(dtype)


def _scipy_svds(A, k, ncv, tol, which, v0, maxiter, vectors, solver, rng, options, random_state):
    import scipy.sparse.linalg

    if not (is_sparse(A) or isinstance(A, LinearOperator) or hasattr(A, "matmat")):
        A = np.asarray(A)
    if hasattr(A, "dtype") and not isinstance(A, LinearOperator) and np.dtype(A.dtype).kind in "iub":
        A = A.astype(np.float64)  # ARPACK knows no integers
    if random_state is not None:
        rng = random_state
    seeds = "rng" if _takes_rng(scipy.sparse.linalg.svds) else "random_state"  # SciPy 1.15 renamed it
    return scipy.sparse.linalg.svds(
        A, k=k, ncv=ncv, tol=tol, which=which, v0=v0, maxiter=maxiter, return_singular_vectors=vectors,
        solver=str(solver), options=options, **{seeds: rng},
    )  # fmt: skip


def _takes_rng(function) -> bool:
    import inspect

    return "rng" in inspect.signature(function).parameters


# -- symmetry ----------------------------------------------------------------------------------------------------------


def _symmetric(a, method):
    """`a` as it will be used, after the check that a stored matrix is symmetric."""
    if hasattr(a, "operator") and hasattr(a, "conditional"):
        return a  # refused by as_operator, which says what to call
    if isinstance(a, Operator):
        _check_square(a)
        return a
    if is_sparse(a):
        C = sparse_array(a, "a")
        _check_square(C)
        difference = abs(C - C.T)
        largest = float(np.abs(C.data).max(initial=0))
        excess = float(difference.max()) if difference.nnz else 0.0
        if excess > _rounding(C.dtype) * largest:
            i, j = np.unravel_index(int(difference.tocsr().argmax()), C.shape)
            raise ValueError(_not_symmetric(i, j, C[i, j], C[j, i]))
        return C
    if isinstance(a, LinearOperator) or (hasattr(a, "matmat") and hasattr(a, "shape")):
        op = as_operator(a, "a", symmetric=True)
        _check_square(op)
        if not is_rpcholesky(method):  # which takes no such operators: refused later, without a product
            _probe_symmetry(op, 0)
        return op
    if _device.is_on_device(a) or _device.is_on_device(getattr(a, "indptr", None)):
        op = as_operator(a, "a", symmetric=True)
        _check_square(op)
        _probe_symmetry(op, 0)
        return op
    array = real_array(a, "a", 2)
    _check_square(array)
    _check_entries(array)
    return dense(array, symmetric=True)


def _check_square(a):
    if len(a.shape) != 2 or a.shape[0] != a.shape[1]:
        raise ValueError(
            f"a: got shape {tuple(a.shape)}; allowed: square and symmetric (other methods of ec.svd take any shape)"
        )


def _check_entries(array: np.ndarray, side: int = 512) -> None:
    """Compares a tile with its mirror image, so that no transposed copy is made."""
    n = array.shape[0]
    largest = max(float(np.abs(array[i : i + side]).max()) for i in range(0, n, side))
    for i in range(0, n, side):
        for j in range(0, i + side, side):
            below, above = array[i : i + side, j : j + side], array[j : j + side, i : i + side].T
            difference = np.abs(below - above)
            if difference.size and float(difference.max()) > _rounding(array.dtype) * largest:
                worst = np.unravel_index(int(difference.argmax()), difference.shape)
                row, column = int(worst[0]) + i, int(worst[1]) + j
                raise ValueError(_not_symmetric(row, column, array[row, column], array[column, row]))


def _rounding(dtype) -> float:
    return 100 * float(np.finfo(dtype).eps)


def _not_symmetric(i, j, a, b) -> str:
    return f"a: not symmetric, entries [{i}, {j}] = {a:g} and [{j}, {i}] = {b:g}; allowed: a symmetric matrix"


def _probe_symmetry(op: Operator, seed) -> None:
    """x^T A y against y^T A x for random x, y: equal up to the rounding of one product, eps ||A y|| sqrt(n), which is
    random to x: its length does not matter."""
    n = op.shape[0]
    block = _device.engine(op.device).gaussian(check_seed(seed) ^ 0x5EED, n, 2, dtype=op.dtype.name)
    X, Y = (_device.on_host(part).astype(np.float64) for part in (block, op._engine.matmat(block)))
    Y /= np.abs(Y).max(initial=0.0) or 1.0  # norms beyond 1e154 overflow
    G = X.T @ Y
    if abs(G[0, 1] - G[1, 0]) > 30 * float(np.finfo(op.dtype).eps) * math.sqrt(n) * float(np.linalg.norm(Y)):
        raise ValueError(
            f"a: not symmetric, x^T A y = {G[0, 1]:g} and y^T A x = {G[1, 0]:g} (relative to A) for random x and y; "
            "allowed: a symmetric operator"
        )
