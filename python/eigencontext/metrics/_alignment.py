"""How much of a contexture an encoder has learned."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from .._arguments import check_integer
from ..contexts._base import Context
from ._embeddings import Whitening, check_context, embeddings, image, product

if TYPE_CHECKING:
    from .._spectrum import Spectrum


@dataclass(frozen=True, eq=False)
class Alignment:
    """How an encoder agrees with the top functions of a context; every number is in [0, 1], 1 the best.

    Attributes
    ----------
    cca : float
        Mean squared canonical correlation with mu_1 .. mu_d: the fraction of their span that was learned.
    knn : float
        Mutual nearest-neighbour overlap, intersection over union, mean under p_x (NaN where not asked for).
    captured : float
        RT / (s_1^2 + ... + s_d^2); 1 iff the encoder learns the contexture (0/0 counts as 1).
    ratio_trace : float
        RT = Tr(C^{-1} B) = sum_i s_i^2 ||proj_Phi mu_i||^2.
    exact : bool
        Whether RT is over all i (a context was given, or the spectrum has all that are not 0); else over the computed
        ones, so that RT and `captured` are lower bounds.
    correlations : ndarray, (d,)
        The canonical correlations, descending.
    shares : ndarray, (k,)
        ||proj_Phi mu_i||^2 of each computed function.
    d : int
        The number of functions compared with.
    rank : int
        The dimensions that the centred features of Phi span.
    """

    cca: float
    knn: float
    captured: float
    ratio_trace: float
    exact: bool
    correlations: np.ndarray = field(repr=False)
    shares: np.ndarray = field(repr=False)
    d: int
    rank: int


def alignment(
    phi: Any,
    spec: Spectrum,
    *,
    context: Context | None = None,
    n_functions: int | None = None,
    n_neighbors: int | None = 10,
) -> Alignment:
    """How an encoder agrees with the top d singular functions of a context: three measures, invariant to linear maps.

    *CCA*: canonical correlations between centred Phi and mu_1 .. mu_d under p_x. *Mutual kNN*: for every input the
    `n_neighbors` nearest other inputs by centred and whitened Phi, and by mu_1 .. mu_d. *Captured energy*: the ratio
    trace RT = Tr(C^{-1} B), C = Cov_p(Phi), B = Cov_q(T* Phi), of the largest that d functions can have.

    Parameters
    ----------
    phi : array (n, d)
        Floating point embeddings of the context's inputs, in their order.
    spec : Spectrum
        Of the context (`ec.spectrum`), with at least d functions unless there are no more.
    context : Context, optional
        The same context: RT then comes from T* Phi, one product with d columns, and is exact.
    n_functions : int, optional
        Compare with so many functions in place of d.
    n_neighbors : int or None
        None leaves the overlap out.

    Returns
    -------
    Alignment

    Raises
    ------
    ValueError
        Shapes that do not agree, NaN, only constant features, fewer functions than d.
    TypeError
        Integer embeddings; something else than a spectrum, or than a context.

    Warns
    -----
    UserWarning
        s_d = s_{d+1} to rounding: the span of the first d functions, `cca` and `knn` are a matter of choice, only
        `captured` is not. Or Phi spans so many dimensions that it must meet mu_1 .. mu_d whatever was learned.

    Notes
    -----
    Neighbours are sought exactly among the inputs with mass, in float64, ties to the lower index: 2 n^2 d flops each.
    The rest: 4 n d^2 + 2 n d k flops. Memory (n + m) d float64 beyond the arguments.

    References
    ----------
    Zhai et al., "Contextures: Representations from Contexts", ICML 2025, arXiv 2505.01557 (alignment by CCA
    and mutual kNN); R. Zhai, dissertation, 2025, arXiv 2504.19792 (ratio trace). Mutual kNN: Huh et al., "The Platonic
    Representation Hypothesis", ICML 2024.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> ctx = ec.contexts.neighbors(X, 20)
    >>> spec = ec.spectrum(ctx, k=9, tol=1e-8)
    >>> learned = spec.left[:, :4] @ np.random.default_rng(1).normal(size=(4, 4)) - 3.0
    >>> result = ec.metrics.alignment(learned, spec, context=ctx)
    >>> round(result.cca, 6), round(result.knn, 6), round(result.captured, 6)
    (1.0, 1.0, 1.0)
    >>> ec.metrics.alignment(X, spec, context=ctx).captured < 0.99
    True
    """
    from .._spectrum import Spectrum

    if not isinstance(spec, Spectrum):
        raise TypeError(f"spec: got {type(spec).__name__}; allowed: a spectrum (ec.spectrum)")
    array = embeddings(phi, "phi", len(spec.p_x), "the spectrum has inputs")
    d = _functions(array.shape[1], n_functions, spec)
    if context is not None:
        same_inputs(check_context(context), spec)
    massive = np.flatnonzero(spec.p_x)
    if n_neighbors is not None:
        check_integer(n_neighbors, "n_neighbors", 1, len(massive) - 1, "inputs with mass - 1")
    encoder = Whitening(array, spec.p_x, "phi")
    Q, mu = encoder.columns(), np.asarray(spec.left, dtype=np.float64)
    K = product(Q, mu * np.sqrt(spec.p_x)[:, None])
    shares = np.minimum(np.sum(K * K, axis=0), 1.0)
    correlations = np.minimum(np.linalg.svd(K[:, :d], compute_uv=False), 1.0)
    correlations = np.concatenate([correlations, np.zeros(d - len(correlations))])
    squares = spec.singular_values**2
    if context is None:
        ratio_trace = float(np.sum(squares * shares))
    else:
        G = image(context, Q)
        ratio_trace = float(np.sum(G * G))
    largest = float(np.sum(squares[:d]))
    _warn(spec, d, encoder.rank, len(massive))
    overlap = float("nan")
    if n_neighbors is not None:
        ours = encoder.columns(weighted=False)
        overlap = mutual_neighbors(ours[massive], mu[massive, :d], n_neighbors, spec.p_x[massive])
    return Alignment(
        cca=float(np.mean(correlations**2)),
        knn=overlap,
        captured=min(ratio_trace / largest, 1.0) if largest > 0 else 1.0,
        ratio_trace=ratio_trace,
        exact=context is not None or spec.exhausted,
        correlations=correlations,
        shares=shares,
        d=d,
        rank=encoder.rank,
    )


def mutual_neighbors(first: np.ndarray, second: np.ndarray, k: int, p: np.ndarray) -> float:
    """Mean under p of intersection over union of the k nearest other rows, by one and by the other set of features."""
    sets = (np.ascontiguousarray(first), np.ascontiguousarray(second))
    a, b = (_core.top_k(X, X, k, "euclidean", True)[0] for X in sets)
    common = np.zeros(len(a), dtype=np.int64)
    for j in range(k):
        common += np.count_nonzero(a == b[:, j : j + 1], axis=1)
    return float(np.sum(p * common / (2 * k - common)))


def same_inputs(context: Context, spec: Spectrum) -> None:
    """ValueError where a context and a spectrum do not have the same inputs and weights."""
    if context.n_rows != len(spec.p_x):
        raise ValueError(f"context: got {context.n_rows} inputs; allowed: {len(spec.p_x)}, as the spectrum has")
    worst = float(np.abs(context.p_x - spec.p_x[context.rows]).max())
    if worst > np.sqrt(np.finfo(context.dtype).eps) * context.p_x.max():
        raise ValueError(
            f"context: its p_x differs from the spectrum's by up to {worst:.3g}; allowed: the same context"
        )


def _functions(width: int, n_functions: int | None, spec: Spectrum) -> int:
    """How many functions to compare with: an exhausted spectrum has no more than its own."""
    if n_functions is not None:
        return check_integer(n_functions, "n_functions", 1, spec.k, "functions of the spectrum")
    if spec.k == 0:
        raise ValueError("spec: got no functions; allowed: at least 1")
    if width > spec.k and not spec.exhausted:
        raise ValueError(
            f"spec: got {spec.k} functions; allowed: at least the {width} features of phi (a larger k, or n_functions=)"
        )
    return min(width, spec.k)


def _warn(spec: Spectrum, d: int, rank: int, n: int) -> None:
    s, uncertain = spec.singular_values, np.maximum(spec.residuals, spec.floor)
    if d < spec.k and s[d - 1] - s[d] <= uncertain[d - 1] + uncertain[d]:
        warnings.warn(
            f"alignment: s_{d} = {s[d - 1]:.6g} and s_{d + 1} are equal within their residuals: the span of the first "
            f"{d} functions is not determined, nor are cca and knn",
            UserWarning,
            stacklevel=3,
        )
    if rank + d > n - 1:
        warnings.warn(
            f"alignment: phi spans {rank} of the {n - 1} dimensions of functions of {n} inputs: it meets the span of "
            f"{d} functions whatever was learned",
            UserWarning,
            stacklevel=3,
        )
