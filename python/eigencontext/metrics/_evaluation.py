"""How well an encoder does on every task that is compatible with the context."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._arguments import check_integer, check_number
from ._values import singular_values

#: so far below 1 - s_1 an eps still is 1 - s_1: 1 - 0.7 is more than 0.3
_ROUNDING = 4 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class TraceGap:
    """How far an encoder is from the contexture, and what that costs.

    Attributes
    ----------
    t : float
        Square root of the trace gap.
    d : int
        The number of functions where the minimum is reached.
    curve : ndarray
        s_1^2 + ... + s_{d'+1}^2 - RT_{d'} for d' = 1, 2, ...
    s_1 : float
    """

    t: float
    d: int
    curve: np.ndarray = field(repr=False)
    s_1: float

    @property
    def trace_gap(self) -> float:
        """t^2, the smallest of `curve`."""
        return self.t**2

    def bound(self, eps: float) -> float:
        """No task with ||T* f|| >= (1 - eps) ||f|| has an error above this: least squares on the encoder, ||f|| = 1.

        (s_1^2 - (1 - eps)^2 + s_1 t) / (s_1^2 - t^2) where t < s_1, else inf.

        Parameters
        ----------
        eps : float
            In [1 - s_1, 1]: below, there is no such task.
        """
        eps = max(check_number(eps, "eps", max(0.0, 1.0 - self.s_1 - _ROUNDING), 1.0), 1.0 - self.s_1)
        if self.t >= self.s_1:
            return float("inf")
        return (self.s_1**2 - (1.0 - eps) ** 2 + self.s_1 * self.t) / (self.s_1**2 - self.t**2)


def trace_gap(posthoc: Any, s: Any) -> TraceGap:
    """The trace gap of an encoder, and with it a bound of its error on every task compatible with the context.

    t^2 = min over d' of s_1^2 + ... + s_{d'+1}^2 - RT_{d'}, RT_{d'} the sum of the d' largest squared values that the
    encoder has found.

    Parameters
    ----------
    posthoc : PosthocSpectrum or array-like (d,)
        Of one encoder and its context. Values of two encoders are smaller: the bound is larger, and holds too.
    s : Spectrum or array-like
        The context's singular values: at least d + 1, or a spectrum that is known to have no more.

    Returns
    -------
    TraceGap

    Raises
    ------
    ValueError
        Fewer than d + 1 values; values not descending or not in [0, 1].

    References
    ----------
    Zhai et al., "Contextures: Representations from Contexts", ICML 2025, arXiv 2505.01557 (trace gap; what is printed
    there as the gap in the bound is t^2, and its proof needs t).

    Examples
    --------
    >>> import eigencontext as ec
    >>> gap = ec.metrics.trace_gap([0.89, 0.55], [0.9, 0.6, 0.1])
    >>> gap.d, round(gap.trace_gap, 4)
    (2, 0.0854)
    >>> round(gap.bound(0.1), 4)
    0.363
    """
    found, _ = singular_values(posthoc, "posthoc")
    values, exhausted = singular_values(s, "s")
    d = len(found)
    if exhausted:
        values = np.concatenate([values, np.zeros(max(0, d + 1 - len(values)))])
    if len(values) < d + 1:
        raise ValueError(f"s: got {len(values)} values; allowed: at least {d + 1}, one more than posthoc has")
    curve = np.cumsum(values**2)[1 : d + 1] - np.cumsum(found**2)
    best = int(np.argmin(curve))
    return TraceGap(float(np.sqrt(max(curve[best], 0.0))), best + 1, curve, float(values[0]))


def fisher_discriminant(posthoc: Any) -> float:
    """2 Tr[(C - B)^{-1} B] of an encoder, B = Cov_q(T* phi), C = Cov_p(phi): the sum of 2 s_i^2 / (1 - s_i^2).

    For the label context B and C - B are the covariances between and within the classes.

    Parameters
    ----------
    posthoc : PosthocSpectrum or array-like (d,)
        Of one encoder and its context (of two encoders: a lower bound).

    Returns
    -------
    float
        inf where a value is 1 to rounding (4 eps).

    References
    ----------
    R. Zhai, "Contextures: The Mechanism of Representation Learning", dissertation, 2025, arXiv 2504.19792.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> ctx = ec.contexts.labels([0, 0, 1, 1])
    >>> found = ec.metrics.posthoc_spectrum(np.array([[0.0], [1.0], [2.0], [3.0]]), context=ctx)
    >>> round(ec.metrics.fisher_discriminant(found), 6)  # between classes 1, within 1/4
    8.0
    """
    squares = singular_values(posthoc, "posthoc")[0] ** 2
    rest = 1.0 - squares
    rest[rest <= 4 * np.finfo(float).eps] = 0.0
    with np.errstate(divide="ignore"):
        return float(2.0 * np.sum(squares / rest))


def worst_case_error(s: Any, d: int, eps: float) -> float:
    """The error of the best d-dimensional encoder on the worst task with ||T* f|| >= (1 - eps) ||f||.

    (s_1^2 - (1 - eps)^2) / (s_1^2 - s_{d+1}^2): the best encoder is the span of mu_1 .. mu_d, the worst task lies
    between mu_1 and mu_{d+1}; least squares, ||f|| = 1.

    Parameters
    ----------
    s : Spectrum or array-like
        Singular values, at least d + 1 (and 2), or a spectrum that is known to have no more.
    d : int
    eps : float
        1 - s_1 <= eps <= 1 - sqrt((s_1^2 + s_2^2) / 2), where the formula holds.

    Returns
    -------
    float
        In [0, 1]; 1 where s_{d+1} = s_1.

    References
    ----------
    Zhai et al., "Contextures: Representations from Contexts", ICML 2025, arXiv 2505.01557.

    Examples
    --------
    >>> import eigencontext as ec
    >>> round(ec.metrics.worst_case_error([0.9, 0.6, 0.3], d=2, eps=0.15), 6)
    0.121528
    """
    values, exhausted = singular_values(s, "s")
    d = check_integer(d, "d", 1)
    needed = max(d + 1, 2)
    if exhausted:
        values = np.concatenate([values, np.zeros(max(0, needed - len(values)))])
    if len(values) < needed:
        raise ValueError(f"s: got {len(values)} values; allowed: at least d + 1 = {needed}")
    low, high = 1.0 - values[0], 1.0 - np.sqrt((values[0] ** 2 + values[1] ** 2) / 2)
    eps = max(check_number(eps, "eps", max(0.0, low - _ROUNDING), max(low, high)), low)
    top, next_one = values[0] ** 2, values[d] ** 2
    if top - next_one <= 4 * np.finfo(float).eps * top:
        return 1.0
    return float((top - (1.0 - eps) ** 2) / (top - next_one))
