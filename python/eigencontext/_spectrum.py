"""The spectrum of a context: singular functions of M with the trivial pair removed exactly."""

from __future__ import annotations

import hashlib
import os
import tempfile
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from . import _device, metrics
from ._arguments import check_flag, check_integer, check_seed, output_like
from ._linalg import svd
from ._plan import SvdMethod
from ._results import Callback, ClusterWarning, ConvergenceWarning, SvdResult
from .contexts._base import Conditional, Context
from .contexts._teacher import SignedKernel
from .operators import Operator, deflated

__all__ = ["Spectrum", "load_spectrum", "spectrum"]

#: of the files that `Spectrum.save` writes; raised when a reader could not understand the other
FORMAT_VERSION = 2

#: values asked for where the user gives no number
DEFAULT_K = 128
_FORMAT_NAME = "eigencontext spectrum"


def rounding_floor(dtype: Any, n: int, m: int) -> float:
    """10 eps s_0 sqrt(max(n, m)), s_0 = 1: a singular value of a context below it can't be told from 0."""
    return 10.0 * float(np.finfo(dtype).eps) * np.sqrt(max(n, m))


@dataclass(eq=False)
class Spectrum:
    """Singular values and functions of a context, each with its residual.

    Attributes
    ----------
    singular_values : ndarray, (k,)
        Descending, in [0, 1]; the trivial s = 1 of the constant functions is not among them.
    left, right : ndarray, (n, k) and (m, k)
        The values mu_i(x) and nu_i(a): orthonormal under p_x and p_a, with mean 0. 0 where the input or the context
        value has no mass. Torch tensors where the data of the context are one, arrays on a CUDA device where those
        are (NumPy again in a loaded spectrum).
        Of teacher and targets `right` has no rows.
    residuals : ndarray, (k,)
        ||M^T u_i - s_i v_i||, computed: each s_i is within it of a singular value. (teacher, targets: that of the
        embeddings Z, divided by S_1, or by S_i where r_i is 1 or 0.)
    converged : ndarray of bool, (k,)
    p_x, p_a : ndarray
        The marginals, 0 where there is no mass.
    missed : float
        Estimate of sum s^2 beyond the k values.
    method, reason, stop_reason, sweeps, matvecs
        As in `ec.svd`.
    k_asked : int
        The k of the call; more than k where the context has no more functions.
    exhausted : bool
        Whether it is known that all other singular values are 0.
    floor : float
        10 eps sqrt(max(n, m)) of the context's type: below it a singular value can't be told from 0.
    columns : ndarray of int
        Numbers of the context values that have mass.
    name : str
        Of the context; what plots and the command line call it.
    conditional : the rule P(.|x) that `transform` uses, or None (saved with ``context=False``)
    folded_right : ndarray or None
        What that rule is multiplied with in place of `right`: in a loaded spectrum of a convolution, of a lazy graph
        (a column of zeros can't be extended), of teacher and targets.
    """

    singular_values: np.ndarray
    left: np.ndarray
    right: np.ndarray
    residuals: np.ndarray
    converged: np.ndarray
    p_x: np.ndarray
    p_a: np.ndarray
    missed: float
    method: str
    reason: str
    stop_reason: str
    sweeps: int
    matvecs: int
    k_asked: int
    exhausted: bool
    columns: np.ndarray
    floor: float
    name: str = "context"
    conditional: Conditional | None = None
    folded_right: np.ndarray | None = None

    @property
    def k(self) -> int:
        return len(self.singular_values)

    @property
    def extendable(self) -> np.ndarray:
        """Which functions `transform` can extend: those whose s_i is above the residual floor, (k,) bool. (Of a lazy
        graph also the eigenvalue of the walk without the lazy step.)"""
        above = self.singular_values > np.maximum(self.floor, self.residuals)
        return above if self.folded_right is None else above & self.folded_right.any(axis=0)

    def transform(self, X_new: Any) -> np.ndarray:
        """Singular functions at new inputs, mu_i(x) = (1/s_i) sum_a P(a|x) nu_i(a).

        Parameters
        ----------
        X_new
            What `Context.conditional` of the context takes.

        Returns
        -------
        ndarray, (n_new, k)
            A column whose s_i is below the residual floor can't be extended: NaN, and a UserWarning. A torch tensor
            where X_new is one; where the spectrum is on a CUDA device, so must X_new be, and the result is.

        Examples
        --------
        >>> import numpy as np, eigencontext as ec
        >>> C = np.array([[9.0, 1.0], [1.0, 9.0]])
        >>> spec = ec.spectrum(ec.contexts.counts(C), k=1)
        >>> bool(np.allclose(spec.transform(C), spec.left))
        True
        """
        if self.conditional is None:
            raise ValueError("transform: this spectrum was saved with context=False; allowed: one that has its context")
        rows = self.conditional.at(X_new)
        right = np.ascontiguousarray(self._extended_from().astype(rows.dtype, copy=False))
        extended = np.array(rows.on_host(right)) if self.k else np.empty((rows.shape[0], 0), rows.dtype)
        s = self.singular_values
        lost = ~self.extendable
        if lost.any():
            warnings.warn(
                f"transform: {int(lost.sum())} of {self.k} singular values are below their residual floor "
                f"({self.floor:.1e}), or, of a lazy graph, the eigenvalue of its walk is; these functions can't be "
                "extended and are NaN",
                UserWarning,
                stacklevel=2,
            )
        extended /= np.where(lost, 1.0, s).astype(extended.dtype)
        extended[:, lost] = np.nan
        like = self.conditional.like
        return (output_like(X_new) if like is None else _device.output_like(like))(extended)

    def _extended_from(self) -> np.ndarray:
        return _device.on_host(self.right)[self.columns] if self.folded_right is None else self.folded_right

    def usefulness(self, d0: int | None = None, beta: float = 1.0) -> metrics.Usefulness:
        """The usefulness of the context; see `ec.metrics.usefulness`.

        Parameters
        ----------
        d0 : int, optional
            min(512, the k asked for) by default. A spectrum that is known to be exhausted goes on with exact zeros, so
            contexts asked for one k compare; any other has no more than its k values.
        beta : float

        Notes
        -----
        A singular value within the rounding floor of 1 counts as 1.
        """
        asked = min(metrics.D0, self.k_asked) if d0 is None else check_integer(d0, "d0", 1)
        if asked > self.k and not self.exhausted:
            raise ValueError(f"d0: got {asked}; allowed: at most {self.k}, the number of singular values computed")
        values = np.concatenate([self.singular_values[:asked], np.zeros(max(0, asked - self.k))])
        return metrics.usefulness_from(values, asked, beta, self.floor)

    def plot(self, path: str | os.PathLike | None = None) -> Any:
        """The decay and the usefulness curve as a matplotlib Figure (extra [demo]), written to `path` where one is
        given; its ending says in which format."""
        from ._plot import plot_spectra

        return plot_spectra({self.name: self}, path)

    def save(self, path: str | os.PathLike, *, context: bool = True) -> None:
        """Write one .npz file, read again by `ec.load_spectrum`.

        Parameters
        ----------
        path
            Written under exactly this name: first beside it, then moved there, so that a full disk leaves nothing.
        context : bool
            Keep what `transform` needs (for kernel and neighbors: the fitted points; for a convolution: those of the
            first context and W_2 `right`).
        """
        arrays = self._arrays()
        if check_flag(context, "context") and self.conditional is not None:
            rule, folded = self.conditional.folded(self._extended_from())
            arrays["context_kind"] = np.asarray(rule.kind)
            if rule is not self.conditional or self.folded_right is not None:
                arrays["folded_right"] = folded
            arrays |= {f"context_{key}": np.asarray(value) for key, value in rule.state().items()}
        arrays["checksum"] = np.asarray(_checksum(arrays))
        _write_whole(os.fspath(path), arrays)

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {"format": np.asarray(_FORMAT_NAME), "format_version": np.asarray(FORMAT_VERSION)}
        arrays.update({key: _device.on_host(getattr(self, key)) for key in _FIELDS})
        return arrays

    def __repr__(self) -> str:
        top = ", ".join(f"{s:.4g}" for s in self.singular_values[:4]) + (", ..." if self.k > 4 else "")
        good = int(np.count_nonzero(self.converged))
        return f"<Spectrum of {self.name!r}: k = {self.k} ({good} converged), s = [{top}], method {self.method!r}>"


_FIELDS = tuple(name for name in Spectrum.__dataclass_fields__ if name not in ("conditional", "folded_right"))


def spectrum(
    ctx: Context,
    k: int | None = None,
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
) -> Spectrum:
    """The top k singular values and functions of a context, without the trivial pair.

    Parameters
    ----------
    ctx : Context
        From ``ec.contexts``.
    k : int, optional
        At most min(n, m) - 1 exist (teacher, targets: min(n - 1, d)); asking for more warns and gives those. By default
        128, or all if there are fewer.
    tol, method, block_size, max_basis, max_sweeps, verify, max_memory, seed, callback, precision
        As in `ec.svd`.
    device : {None, "cpu", "cuda"}
        None: where the context is. "cuda" copies the arrays of a context on the CPU to the device and solves there;
        the result is on the CPU.

    Returns
    -------
    Spectrum

    Notes
    -----
    Cost: that of `ec.svd` on the context's operator with the trivial pair removed; ``ec.plan(ctx, k)`` says it before
    the run. Memory: what the plan says, and ``2 * itemsize * (n + m) * k`` bytes for the functions and the vectors that
    they are made of. Source: Zhai (2025), the contexture theory: s_i and mu_i are those of ``T: g -> E[g(A) | x]``.

    Examples
    --------
    >>> import eigencontext as ec
    >>> spec = ec.spectrum(ec.contexts.labels([0, 0, 1, 2]), k=2)
    >>> spec.singular_values.round(6)
    array([1., 1.])
    """
    if not isinstance(ctx, Context):
        raise TypeError(f"ctx: got {type(ctx).__name__}; allowed: a context (ec.contexts; of a matrix: ec.svd)")
    asked = DEFAULT_K if k is None else check_integer(k, "k", 1)
    check_seed(seed)
    n, m = ctx.shape
    given, k = k, min(asked, ctx.rank_bound)
    if given is not None and k < asked:
        warnings.warn(
            f"k: got {asked}; a context of shape {n} x {m} has at most {k} nontrivial functions; computing those {k}",
            UserWarning,
            stacklevel=2,
        )
    if k == 0:
        return _nothing(ctx, asked)
    M_0 = ctx.features if isinstance(ctx, SignedKernel) else deflated_operator(ctx)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = svd(
            M_0,
            k,
            tol=tol,
            method=method,
            block_size=block_size,
            max_basis=max_basis,
            max_sweeps=max_sweeps,
            verify=verify,
            max_memory=max_memory,
            seed=seed,
            callback=callback,
            device=device,
            precision=precision,
        )
    if isinstance(ctx, SignedKernel):
        spec = _of_signed_kernel(ctx, result, asked, seed)
        _warn_again(caught, all_converged=bool(spec.converged.all()), ends_in_zeros=spec.exhausted)
        return spec
    root_p, root_q = np.sqrt(ctx.p_x), np.sqrt(ctx.p_a)
    U, s, Vh = (_device.on_host(part) for part in result)
    s = s.astype(np.float64)
    floor = rounding_floor(ctx.dtype, n, m)
    # beside s_0 = 1, what deflation leaves below the floor is rounding
    zero = s <= floor
    # the tolerance of marginals elsewhere: logarithms far from 0 round a sampled context by more than the floor
    one = 1.0 + max(floor, float(np.sqrt(np.finfo(ctx.dtype).eps)))
    if s[0] > one + result.residuals[0]:
        warnings.warn(
            f"a singular value of {s[0]:.6g}, above 1: the operator of {ctx.name!r} is not that of a joint "
            "distribution with the marginals p_x and p_a",
            UserWarning,
            stacklevel=2,
        )
    s = np.where(zero, 0.0, np.where(s <= one, np.minimum(s, 1.0), s))
    U, V = _without_constant(U, zero, root_p, seed), _without_constant(Vh.T, zero, root_q, seed + 1)
    residuals = np.array(result.residuals, dtype=np.float64)
    if zero.any():
        image = M_0.on_host(np.ascontiguousarray(U[:, zero], dtype=ctx.dtype), transposed=True)
        residuals[zero] = np.linalg.norm(image.astype(np.float64), axis=0)
    converged = (np.asarray(result.converged) & ~zero) | (residuals <= floor)
    _warn_again(caught, all_converged=bool(converged.all()), ends_in_zeros=bool(zero[-1]))
    left, right = U / root_p[:, None], V / root_q[:, None]
    extension = ctx._conditional.extension(left, right, s, np.maximum(floor, residuals), ctx.p_x)
    return Spectrum(
        singular_values=s,
        left=ctx._output(_spread(left, ctx.rows, ctx.n_rows, ctx.dtype)),
        right=ctx._output(_spread(right, ctx.columns, ctx.n_columns, ctx.dtype)),
        residuals=residuals,
        converged=converged,
        missed=float(result.missed),
        method=result.method,
        reason=result.reason,
        stop_reason=result.stop_reason,
        sweeps=int(result.sweeps),
        matvecs=int(result.matvecs),
        exhausted=k == ctx.rank_bound or bool(zero[-1] and converged[-1]),
        floor=floor,
        folded_right=None if extension is None else extension.astype(ctx.dtype),
        **_of_context(ctx, asked),
    )


def _of_signed_kernel(ctx: SignedKernel, result: SvdResult, asked: int, seed: int) -> Spectrum:
    """mu_i = sqrt(n) U_i and r_i from the triplets of Z centred = U S V^T; those with r_i = 0 are left out."""
    U, S, Vh = (_device.on_host(part) for part in result)
    S = S.astype(np.float64)
    r = ctx.strengths(S)
    kept = (r > 0) & (S > 0)
    if not kept[0]:
        raise ValueError(f"threshold: got {ctx.threshold:g}; allowed: at most S_1 = {S[0]:g}")
    n, last = ctx.n_rows, len(S) == ctx.rank_bound
    exhausted = last or not kept[-1]
    U, S, V, r = U[:, kept], S[kept], Vh[kept].T, r[kept]
    root = np.sqrt(ctx.p_x)
    if ctx.threshold is None:
        missed = result.missed / S[0] / S[0]
    else:  # at most so many more reach the threshold
        rest = 0.0 if exhausted else float(ctx.rank_bound - len(S))
        square = ctx.smallest(S[0]) ** 2  # 0 where the threshold is 0 or nearly so
        missed = min(rest, result.missed / square) if square > 0 else rest
    left = _without_constant(U, np.zeros(len(S), dtype=bool), root, seed) / root[:, None]
    return Spectrum(
        singular_values=r,
        left=ctx._output(np.ascontiguousarray(left, dtype=ctx.dtype)),
        right=ctx._output(np.empty((0, len(S)), ctx.dtype)),
        residuals=np.asarray(result.residuals, dtype=np.float64)[kept] * r / S,
        converged=np.asarray(result.converged)[kept],
        missed=float(missed),
        method=result.method,
        reason=result.reason,
        stop_reason=result.stop_reason,
        sweeps=int(result.sweeps),
        matvecs=int(result.matvecs),
        exhausted=exhausted,
        floor=rounding_floor(ctx.dtype, *ctx.shape),
        folded_right=(np.sqrt(n) * V * (r / S)).astype(ctx.dtype),
        **_of_context(ctx, asked),
    )


def deflated_operator(ctx: Context) -> Operator:
    """M_0 = M - sqrt(p) sqrt(q)^T, what the solver works on."""
    return deflated(ctx.operator, np.sqrt(ctx.p_x), np.sqrt(ctx.p_a))


def _warn_again(caught: list[Any], all_converged: bool, ends_in_zeros: bool) -> None:
    """What the solver warned of, except where it concerns values that beside s_0 = 1 are zeros."""
    for warning in caught:
        settled = issubclass(warning.category, ConvergenceWarning) and all_converged
        arbitrary = issubclass(warning.category, ClusterWarning) and ends_in_zeros
        if not (settled or arbitrary):
            warnings.warn(str(warning.message), warning.category, stacklevel=3)


def load_spectrum(path: str | os.PathLike) -> Spectrum:
    """Read what `Spectrum.save` wrote.

    Raises
    ------
    ValueError
        The file is not one of ours, is damaged (a checksum of everything in it is kept), or is of another format.
    FileNotFoundError, PermissionError

    Examples
    --------
    >>> import os, tempfile, eigencontext as ec
    >>> spec = ec.spectrum(ec.contexts.counts([[9, 1], [1, 9]]), k=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     spec.save(os.path.join(folder, "s.npz"))
    ...     ec.load_spectrum(os.path.join(folder, "s.npz")).singular_values.round(6)
    array([0.8])
    """
    arrays = _read_whole(os.fspath(path))
    fields: dict[str, Any] = {key: arrays[key] if arrays[key].ndim else arrays[key].item() for key in _FIELDS}
    if "context_kind" not in arrays:
        return Spectrum(**fields)
    kind = str(arrays.pop("context_kind"))
    if kind not in Conditional.kinds:
        raise ValueError(f"path: {os.fspath(path)} has context {kind!r}; allowed: {sorted(Conditional.kinds)}")
    state = {key.removeprefix("context_"): value for key, value in arrays.items() if key.startswith("context_")}
    rule = Conditional.kinds[kind].from_state(state)
    return Spectrum(**fields, conditional=rule, folded_right=arrays.get("folded_right"))


def _of_context(ctx: Context, asked: int) -> dict[str, Any]:
    return {
        "p_x": _spread(ctx.p_x, ctx.rows, ctx.n_rows, np.float64),
        "p_a": _spread(ctx.p_a, ctx.columns, ctx.n_columns, np.float64),
        "k_asked": asked,
        "columns": ctx.columns,
        "name": ctx.name,
        "conditional": ctx._conditional,
    }


def _nothing(ctx: Context, asked: int) -> Spectrum:
    """One input or one context value: the constant functions are all there are."""
    return Spectrum(
        singular_values=np.empty(0),
        left=ctx._output(np.empty((ctx.n_rows, 0), ctx.dtype)),
        right=ctx._output(np.empty((ctx.n_columns, 0), ctx.dtype)),
        residuals=np.empty(0),
        converged=np.empty(0, dtype=bool),
        missed=0.0,
        method="none",
        reason="the context has only constant functions",
        stop_reason="converged",
        sweeps=0,
        matvecs=0,
        exhausted=True,
        floor=rounding_floor(ctx.dtype, *ctx.shape),
        **_of_context(ctx, asked),
    )


def _spread(values: np.ndarray, kept: np.ndarray, size: int, dtype: Any) -> np.ndarray:
    """`values` at the kept indices, 0 at those without mass."""
    if len(kept) == size:
        return np.ascontiguousarray(values, dtype=dtype)
    full = np.zeros((size, *values.shape[1:]), dtype=dtype)
    full[kept] = values
    return full


def _without_constant(U: np.ndarray, zero: np.ndarray, root: np.ndarray, seed: int) -> np.ndarray:
    """Unit columns orthogonal to `root`, in float64. Rounding leaves about eps / s_i of it in a vector. Where s_i = 0
    any orthonormal completion is a singular vector of M_0, the trivial one too: take one without it."""
    rounding, U = 100 * np.finfo(U.dtype).eps, U.astype(np.float64)
    if zero.any() and np.abs(root @ U[:, zero]).max() > rounding:
        basis = np.column_stack([root, U[:, ~zero]])
        block = np.random.Generator(np.random.Philox(seed)).standard_normal((len(root), np.count_nonzero(zero)))
        for _ in range(2):
            block -= basis @ (basis.T @ block)
            block = np.linalg.qr(block)[0]
        U[:, zero] = block
    for j in range(U.shape[1]):  # sums of NumPy's own: those of its BLAS depend on the number of threads
        u = U[:, j] - np.sum(root * U[:, j]) * root
        U[:, j] = u / np.sqrt(np.sum(u * u))
    return U


def _write_whole(path: str, arrays: dict[str, np.ndarray]) -> None:
    """All of the file or none of it: written beside `path`, then renamed."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        handle, temporary = tempfile.mkstemp(prefix=".eigencontext-", suffix=".npz", dir=folder)
    except OSError as error:
        raise _about(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError):
            raise _about(path, error) from error
        raise


def _about(path: str, error: OSError) -> OSError:
    """The same error, naming the user's file in place of the temporary one."""
    return OSError(error.errno, error.strerror or str(error), path)


def _read_whole(path: str) -> dict[str, np.ndarray]:
    """The arrays of a file whose name, version and checksum are right; nothing in it is ever unpickled."""
    with open(path, "rb") as stream:
        if stream.read(2) != b"PK":  # NumPy takes anything it does not know for a pickle
            raise ValueError(f"path: {path} is no saved spectrum, or is damaged (no .npz archive; no checksum)")
        stream.seek(0)
        try:
            with np.load(stream, allow_pickle=False) as file:
                arrays = {key: file[key] for key in file.files}
        except Exception as error:  # a damaged archive fails in whatever way its bytes lead to
            raise ValueError(
                f"path: {path} is no saved spectrum, or is damaged (a checksum or the structure is wrong: {error})"
            ) from error
    if str(arrays.get("format", "")) != _FORMAT_NAME:
        raise ValueError(f"path: {path} is no saved spectrum; allowed: files of Spectrum.save")
    version = arrays.get("format_version")
    if version is None or version != FORMAT_VERSION:
        raise ValueError(f"path: {path} has format {version}; allowed: {FORMAT_VERSION}, which this version writes")
    if str(arrays.pop("checksum", "")) != _checksum(arrays):
        raise ValueError(f"path: {path} is damaged: its checksum does not match its contents")
    return arrays


def _checksum(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of all names, types, shapes and values. (The archive's own CRC does not cover its directory.)"""
    digest = hashlib.sha256()
    for key in sorted(arrays):
        array = arrays[key]
        digest.update(f"{key} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
