"""How far a spectrum would move with other data of the same size."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arguments import check_choice, check_integer, check_seed, is_sparse
from .._results import ConvergenceWarning
from ..contexts._base import Context

if TYPE_CHECKING:
    from .._spectrum import Spectrum


@dataclass(frozen=True, eq=False)
class SamplingError:
    """Estimates of the statistical error of a spectrum.

    Attributes
    ----------
    singular_values : ndarray, (k,)
        Of all the data.
    standard_error : ndarray, (k,)
        Of each, over data of this size.
    bias : ndarray, (k,)
        Mean of the halves minus all: what `singular_values` lie above the truth, where that is of order 1/n.
    span : ndarray, (k,)
        For d = 1 .. k: 1 - mean squared cosine of the angles between the span of the first d functions and that of the
        true ones, as it is to be expected; in [0, 1].
    values : ndarray, (n_resamples, k)
        The singular values of each half.
    spectrum : Spectrum
        Of all the data.
    """

    singular_values: np.ndarray
    standard_error: np.ndarray
    bias: np.ndarray
    span: np.ndarray
    values: np.ndarray = field(repr=False)
    spectrum: Spectrum = field(repr=False)


def sampling_error(
    make_context: Callable[[Any], Context],
    data: Any,
    k: int,
    *,
    resample: str = "rows",
    n_resamples: int = 20,
    seed: int = 0,
    **options: Any,
) -> SamplingError:
    """How far singular values and functions would move with other data of the same size, from refits to halves of it.

    The delete-half jackknife: for a statistic that is asymptotically linear in the empirical distribution, a half
    without replacement differs from the whole as the whole does from the truth, to first order. Halves in place of
    a bootstrap, whose repeated points would be each other's nearest neighbours.

    Parameters
    ----------
    make_context : function
        data -> Context, such as ``lambda X: ec.contexts.neighbors(X, 30)``. Its inputs are either the rows that it is
        given, or the same for any rows (a table counted from pairs).
    data : array, or sparse matrix of counts
        The observations.
    k : int
        Singular values wanted.
    resample : {"rows", "counts"}
        "rows": observations are independent rows; a half is floor(n/2) of them. "counts": `data` holds numbers of
        independent observations; each is kept with probability 1/2.
    n_resamples : int
        At least 2; each costs a refit. The standard errors are known to about 1/sqrt(2 n_resamples) of themselves.
    seed : int
    **options
        Of `ec.spectrum`.

    Returns
    -------
    SamplingError
        Rows that depend on each other (a time series, repeated measurements) make it too small. Where values are tied
        to within their error, single functions and the span of a part of them are not determined: `span` says so.

    Raises
    ------
    TypeError, ValueError
        make_context gives something else than contexts, or contexts whose inputs are neither its rows nor always the
        same; counts that are no integers; too few rows.

    Notes
    -----
    Asymptotics in n at a fixed context: a context that itself depends on n (a number of neighbours, an "effective"
    bandwidth) is another one for a half, which `bias` then shows. Cost: 1 + n_resamples spectra, one at a time.

    References
    ----------
    J. Shao and C. F. J. Wu, "A General Theory for Jackknife Variance Estimation", Annals of Statistics 17, 1989; D. N.
    Politis, J. P. Romano and M. Wolf, "Subsampling", 1999.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> C = np.array([[450, 50], [50, 450]])  # 1000 uses of a binary channel with s_1 = 0.8
    >>> found = ec.metrics.sampling_error(ec.contexts.counts, C, 1, resample="counts", n_resamples=50)
    >>> bool(0.5 < found.standard_error[0] / (2 * np.sqrt(0.1 * 0.9 / 1000)) < 2)
    True
    """
    from .._spectrum import spectrum

    check_choice(resample, "resample", ("rows", "counts"))
    k = check_integer(k, "k", 1)
    n_resamples = check_integer(n_resamples, "n_resamples", 2)
    rng = np.random.Generator(np.random.Philox(check_seed(seed)))
    data = _checked(data, resample)
    full = spectrum(_made(make_context, data), k, **options)
    k = full.k
    if k == 0:
        raise ValueError("data: gives a context with no functions but constants; allowed: one with at least 1")
    values, overlaps = np.zeros((n_resamples, k)), np.zeros((n_resamples, k))
    ratio = 1.0 if resample == "counts" else (data.shape[0] // 2) / (data.shape[0] - data.shape[0] // 2)
    for r in range(n_resamples):
        half, rows = _half(data, resample, rng)
        with warnings.catch_warnings():  # rows that a half leaves empty, a k that it caps
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("always", ConvergenceWarning)
            part = spectrum(_made(make_context, half), k, **options)
        values[r, : part.k] = part.singular_values
        overlaps[r] = _overlap(full, part, rows)
    return SamplingError(
        singular_values=full.singular_values,
        standard_error=np.sqrt(ratio) * np.std(values, axis=0, ddof=1),
        bias=values.mean(axis=0) - full.singular_values,
        span=ratio * np.maximum(1.0 - overlaps.mean(axis=0), 0.0),
        values=values,
        spectrum=full,
    )


def _checked(data: Any, resample: str) -> Any:
    if is_sparse(data):
        data = data.tocsr()
    elif not hasattr(data, "detach"):  # a tensor stays one
        data = np.asarray(data)
    if len(data.shape) == 0 or data.shape[0] < (4 if resample == "rows" else 2):
        raise ValueError(f"data: got shape {tuple(data.shape)}; allowed: at least 4 rows (of counts: 2)")
    if resample == "counts":
        counts = data if is_sparse(data) else np.asarray(data)
        entries = np.asarray(counts.data if is_sparse(counts) else counts)
        if not ((entries >= 0) & (entries < 2.0**63)).all() or (entries != np.floor(entries)).any():
            raise ValueError(
                'data: got negative or fractional entries, or some not below 2^63; allowed with resample="counts": '
                "counts"
            )
        return counts
    return data


def _made(make_context: Any, data: Any) -> Context:
    if not callable(make_context):
        raise TypeError(f"make_context: got {type(make_context).__name__}; allowed: a function data -> context")
    context = make_context(data)
    if not isinstance(context, Context):
        raise TypeError(f"make_context: returned a {type(context).__name__}; allowed: a context (ec.contexts)")
    return context


def _half(data: Any, resample: str, rng: np.random.Generator) -> tuple[Any, np.ndarray]:
    """Half of the observations, and which rows they are."""
    n = data.shape[0]
    if resample == "rows":
        rows = np.sort(rng.permutation(n)[: n // 2])
        return data[rows], rows
    if is_sparse(data):
        half = data.copy()
        half.data = rng.binomial(data.data.astype(np.int64), 0.5).astype(data.data.dtype)
        return half, np.arange(n)
    return rng.binomial(data.astype(np.int64), 0.5).astype(data.dtype), np.arange(n)


def _overlap(full: Spectrum, part: Spectrum, rows: np.ndarray) -> np.ndarray:
    """For d = 1 .. k the mean squared cosine between the first d functions of both, at the inputs of the part."""
    whole = np.asarray(full.left, dtype=np.float64)
    if len(part.p_x) != len(full.p_x):
        if len(part.p_x) != len(rows):
            raise ValueError(
                f"make_context: gives {len(full.p_x)} inputs of all the data and {len(part.p_x)} of {len(rows)} rows; "
                "allowed: inputs that are the rows, or the same for any rows"
            )
        whole = whole[rows]
    root = np.sqrt(part.p_x)[:, None]
    restricted = root * (whole - part.p_x @ whole)
    basis = np.linalg.qr(restricted)[0]  # keeps the span of the first d for every d
    squares = np.zeros((full.k, full.k))
    squares[: basis.shape[1], : part.k] = (basis.T @ (root * np.asarray(part.left, dtype=np.float64))) ** 2
    return np.diagonal(squares.cumsum(axis=0).cumsum(axis=1)) / np.arange(1, full.k + 1)
