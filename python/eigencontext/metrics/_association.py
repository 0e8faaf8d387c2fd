"""How strong the association of X and A is, and how complex."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arguments import check_integer, check_number, check_seed
from ..contexts._base import Context
from ._alignment import same_inputs
from ._embeddings import check_context
from ._values import check_spectrum, singular_values

#: inputs of which the dual kernel is formed at a time
_COLUMNS = 64


@dataclass(frozen=True, eq=False)
class Association:
    """Measures of the association of X and A.

    Attributes
    ----------
    chi_squared : float
        Sum of all s_i^2 = sum P^2 / (p q) - 1: of the computed values, plus the estimate of what they miss.
    missed : float
        That estimate, as `Spectrum.missed` has it (0 where the spectrum is exhausted).
    decay_rate : float
        lambda of s_i^2 = exp(-lambda i): least squares of log s_i^2 through the origin, over the values above the
        spectrum's floor (inf if there is none).
    deviation : float
        E |k_X(x, x') - 1| of independent x and x'.
    deviation_error : float
        Its standard error: 0 where all inputs were looked at.
    exact : bool
        Whether `deviation` is of the whole kernel (a context was given, or the spectrum is exhausted), or of the sum of
        the computed functions.
    """

    chi_squared: float
    missed: float
    decay_rate: float
    deviation: float
    deviation_error: float
    exact: bool


def decay_rate(s: Any) -> float:
    """lambda of s_i^2 = exp(-lambda i), i = 1, 2, ..: log s_i^2 = -lambda i by least squares, no intercept.

    Parameters
    ----------
    s : Spectrum or array-like
        Zeros (of a Spectrum: what is below its rounding floor) have no logarithm and are left out.

    Returns
    -------
    float
        Large where the association decays fast; inf where all s_i are 0.

    References
    ----------
    R. Zhai, "Contextures: The Mechanism of Representation Learning", dissertation, 2025, arXiv 2504.19792.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> rate = ec.metrics.decay_rate(0.8 ** np.arange(1, 10))
    >>> bool(np.isclose(rate, -2 * np.log(0.8)))
    True
    """
    values, _ = singular_values(s, "s")
    i = np.arange(1, len(values) + 1)[values > getattr(s, "floor", 0.0)]
    if len(i) == 0:
        return float("inf")
    return float(0.0 - np.sum(i * 2 * np.log(values[: len(i)])) / np.sum(i.astype(np.float64) ** 2))


def association(spec: Any, *, context: Any = None, n_rows: int = 256, seed: int = 0) -> Association:
    """How strong the association of X and A is: chi-squared, decay rate, mean deviation of the dual kernel from 1.

    All are 0 (the decay rate: large) where A says nothing of X. A context with slow decay is a strong one.

    Parameters
    ----------
    spec : Spectrum
    context : Context, optional
        The same context: the deviation then takes the rows of the dual kernel from its operator, else from the
        computed functions alone.
    n_rows : int
        The deviation is a mean over so many inputs drawn by their weight, or over all if there are no more.
    seed : int
        Of the draw.

    Returns
    -------
    Association

    Notes
    -----
    With a context a product from each side for every 64 rows, and 64 (n + m) numbers of its type; without: 2 n k flops
    a row, and 64 n float64.

    References
    ----------
    R. Zhai, "Contextures: The Mechanism of Representation Learning", dissertation, 2025, arXiv 2504.19792 (measures of
    association).

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> ctx = ec.contexts.counts([[9.0, 1.0], [1.0, 9.0]])  # a binary symmetric channel: s_1 = 0.8
    >>> a = ec.metrics.association(ec.spectrum(ctx, k=1))
    >>> round(a.chi_squared, 6), round(a.deviation, 6)
    (0.64, 0.64)
    """
    check_spectrum(spec)
    n_rows = check_integer(n_rows, "n_rows", 2)
    rng = np.random.Generator(np.random.Philox(check_seed(seed)))
    if context is not None:
        same_inputs(check_context(context), spec)
    massive = np.flatnonzero(spec.p_x)
    p = spec.p_x[massive]
    every = len(massive) <= n_rows
    drawn = np.arange(len(massive)) if every else rng.choice(len(massive), n_rows, p=p / p.sum())
    rows = _rows_of_spectrum(spec, massive, drawn) if context is None else _rows_of_context(context, drawn)
    deviations = np.concatenate([np.sum(p[:, None] * np.abs(block), axis=0) for block in rows])
    missed = 0.0 if spec.exhausted else max(float(spec.missed), 0.0)
    return Association(
        chi_squared=float(np.sum(spec.singular_values**2)) + missed,
        missed=missed,
        decay_rate=decay_rate(spec),
        deviation=float(np.sum(p * deviations) if every else np.mean(deviations)),
        deviation_error=0.0 if every else float(np.std(deviations, ddof=1) / np.sqrt(n_rows)),
        exact=context is not None or spec.exhausted,
    )


@dataclass(frozen=True, eq=False)
class ContextComplexity:
    """The complexity kappa^2 of a context.

    Attributes
    ----------
    kappa2 : float
        max over x of sum_{i>=1} s_i^2 mu_i(x)^2 = max k_X(x, x) - 1.
    with_constant : float
        1 + kappa2 = max k_X(x, x).
    row : int
        The input where it is reached.
    exact : bool
        Whether all functions count (a context was given, or the spectrum is exhausted), or only the computed ones: a
        lower bound.
    """

    kappa2: float
    row: int
    exact: bool

    @property
    def with_constant(self) -> float:
        return 1.0 + self.kappa2


def context_complexity(spec: Any, *, context: Any = None) -> ContextComplexity:
    """kappa^2 = max_x sum_{i>=1} s_i^2 mu_i(x)^2: the fewer samples a context needs, the smaller it is.

    Parameters
    ----------
    spec : Spectrum
    context : Context, optional
        The same context: the diagonal of its dual kernel, by a product for every 64 inputs (n products' worth of rows:
        n^2 m / 64 times the cost of a column where the operator is not sparse), else of the computed functions.

    Returns
    -------
    ContextComplexity
        kappa2 is at least chi-squared, its mean under p_x.

    References
    ----------
    Zhai et al., "Contextures: Representations from Contexts", ICML 2025, arXiv 2505.01557; R. Zhai, dissertation, 2025,
    arXiv 2504.19792.

    Examples
    --------
    >>> import eigencontext as ec
    >>> spec = ec.spectrum(ec.contexts.labels([0, 0, 0, 1]), k=1)  # k_X(x, x) = n / n_y
    >>> found = ec.metrics.context_complexity(spec)
    >>> round(found.with_constant, 6), found.row
    (4.0, 3)
    """
    check_spectrum(spec)
    if context is None:
        left = np.asarray(spec.left)
        diagonal = np.sum(np.square(left * spec.singular_values, dtype=np.float64), axis=1)
    else:
        same_inputs(check_context(context), spec)
        diagonal = np.zeros(context.n_rows)
        for begin in range(0, context.shape[0], _COLUMNS):
            some = np.arange(begin, min(begin + _COLUMNS, context.shape[0]))
            rows = _columns_of_adjoint(context, some).astype(np.float64)
            diagonal[context.rows[some]] = np.sum(rows**2, axis=0) / context.p_x[some] - 1.0
    row = int(np.argmax(diagonal))
    return ContextComplexity(float(diagonal[row]), row, context is not None or spec.exhausted)


def effective_dimension(s: Any, regularisation: float) -> float:
    """sum s_i^2 / (s_i^2 + lambda): how many functions a ridge regression of that strength can use.

    Parameters
    ----------
    s : Spectrum or array-like
    regularisation : float
        lambda > 0.

    Returns
    -------
    float

    References
    ----------
    R. Zhai, "Contextures: The Mechanism of Representation Learning", dissertation, 2025, arXiv 2504.19792.

    Examples
    --------
    >>> import eigencontext as ec
    >>> ec.metrics.effective_dimension([1.0, 0.5, 0.0], 0.25)
    1.3
    """
    squares = singular_values(s, "s")[0] ** 2
    regularisation = check_number(regularisation, "regularisation", 0.0, open_low=True)
    return float(np.sum(squares / (squares + regularisation)))


def _columns_of_adjoint(context: Context, some: np.ndarray) -> np.ndarray:
    """M^T e_x of some of the operator's rows, (m, len(some))."""
    unit = np.zeros((context.shape[0], len(some)), dtype=context.dtype)
    unit[some, np.arange(len(some))] = 1.0
    return np.asarray(context.operator.rmatmat(unit))


def _rows_of_context(context: Context, drawn: np.ndarray) -> Iterator[np.ndarray]:
    """k_X(., x) - 1 of the drawn inputs, (n, at most 64) at a time."""
    for begin in range(0, len(drawn), _COLUMNS):
        some = drawn[begin : begin + _COLUMNS]
        kernel = np.asarray(context.operator.matmat(_columns_of_adjoint(context, some)), dtype=np.float64)
        yield kernel / np.sqrt(np.outer(context.p_x, context.p_x[some])) - 1.0


def _rows_of_spectrum(spec: Any, massive: np.ndarray, drawn: np.ndarray) -> Iterator[np.ndarray]:
    mu = np.asarray(spec.left)[massive]
    for begin in range(0, len(drawn), _COLUMNS):
        yield mu @ (spec.singular_values[:, None] ** 2 * mu[drawn[begin : begin + _COLUMNS]].T)
