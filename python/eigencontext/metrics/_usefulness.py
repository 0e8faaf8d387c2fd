"""Numbers that say how good a context is."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arguments import check_integer, check_number, real_array

__all__ = ["Usefulness", "usefulness"]

#: Zhai et al.'s d_0: how many singular values a spectrum is judged by
D0 = 512

#: within this distance of 1 + beta the context is extremely weak or strong, and tau says nothing
EXTREME = 1e-2


@dataclass(frozen=True, eq=False)
class Usefulness:
    """The usefulness tau of a context: lower is better. ``float(result)`` is tau.

    Attributes
    ----------
    tau : float
        min over d of `curve`.
    d : int
        The number of functions where it is reached (0 where all singular values are 0).
    curve : ndarray
        tau_d for d = 1 ... d0 - 1.
    d0 : int
        How many singular values were looked at. Contexts compare only at equal d0.
    beta : float
        The weight of the second term.
    """

    tau: float
    d: int
    curve: np.ndarray
    d0: int
    beta: float

    def __float__(self) -> float:
        return self.tau

    def __repr__(self) -> str:
        return f"Usefulness(tau={self.tau:.6g}, d={self.d}, d0={self.d0}, beta={self.beta:g})"


def usefulness(s: Any, d0: int | None = None, beta: float = 1.0) -> Usefulness:
    """How useful a context with the singular values `s` is; lower is better.

    tau_d = 1 / (1 - s_{d+1}^2) + beta * sum_{i<=d} s_i^2 / sum_{i<=d0} s_i^2,  tau = min over 1 <= d < d0.

    The first term grows where s stays near 1 (a context that is too strong); the second is the share of sum s_i^2 that
    d functions hold, large at once where s decays fast (too weak). tau > 1: near 1 a few functions get below 1 while
    much of the sum is still to come, near 1 + beta it takes nearly all of the sum. Where all s are small only their
    ratios count, and a weak context with a flat spectrum has a tau near 1: hence a warning.

    Parameters
    ----------
    s : array-like, (k,)
        Singular values in descending order, without the trivial one, in [0, 1]. Within 4 eps of 1 (eps of their type)
        they count as 1, as do those of a `Spectrum`, in its own `usefulness`, within its rounding floor.
    d0 : int, optional
        How many of them count; min(512, k) by default. Contexts compare only at equal d0.
    beta : float
        Weight of the second term, positive.

    Returns
    -------
    Usefulness
        All s = 0 gives 1 + beta; s_{d+1} = 1 gives tau_d = inf.

    Warns
    -----
    UserWarning
        tau is infinite or within 1e-2 of 1 + beta: the context is extremely weak or strong, where the paper advises
        not to use tau. Or 1/(1 - s_1^2) <= 1.01, s_1 <= 0.0995: the first term is 1 within those 1e-2 for every d, so
        that tau compares shapes only; and no task keeps more than s_1 of its norm under T*: there is little to learn.

    References
    ----------
    Zhai et al., "Contextures: Representations from Contexts", ICML 2025, arXiv 2505.01557, equation 4; R. Zhai,
    "Contextures: The Mechanism of Representation Learning", dissertation, 2025, arXiv 2504.19792.

    Examples
    --------
    >>> import eigencontext as ec
    >>> result = ec.metrics.usefulness([0.9, 0.6, 0.3])
    >>> result.d, round(float(result), 4)
    (2, 2.0275)
    """
    if hasattr(s, "singular_values"):
        raise TypeError(f"s: got a {type(s).__name__}; allowed: its .singular_values (or call its method usefulness)")
    array = real_array(s, "s", 1)
    return usefulness_from(array.astype(np.float64), d0, beta, 4 * float(np.finfo(array.dtype).eps))


def usefulness_from(s: np.ndarray, d0: int | None, beta: float, floor: float) -> Usefulness:
    """`usefulness` of float64 values, of which those within `floor` of 1 count as 1."""
    beta = check_number(beta, "beta", 0.0, open_low=True)
    if s.min() < 0 or s.max() > 1 + 1e-6:
        raise ValueError(f"s: got values in {s.min():g} .. {s.max():g}; allowed: singular values in [0, 1]")
    if (np.diff(s) > 1e-12 * s[:-1].max(initial=0.0)).any():
        raise ValueError("s: the values are not in descending order; allowed: s[0] >= s[1] >= ...")
    d0 = min(D0, len(s)) if d0 is None else check_integer(d0, "d0", 1, len(s), "len(s)")
    squares = np.where(1.0 - s[:d0] <= floor, 1.0, s[:d0]) ** 2
    captured = np.cumsum(squares)
    if captured[-1] == 0.0:
        result = Usefulness(1.0 + beta, 0, np.full(d0 - 1, 1.0 + beta), d0, beta)
    elif d0 < 2:
        raise ValueError("d0: got 1; allowed: at least 2 singular values, as tau_d looks at s_{d+1}")
    else:
        with np.errstate(divide="ignore"):
            curve = 1.0 / (1.0 - squares[1:]) + beta * captured[:-1] / captured[-1]
        best = int(np.argmin(curve))
        result = Usefulness(float(curve[best]), best + 1, curve, d0, beta)
    if np.isinf(result.tau) or abs(result.tau - (1.0 + beta)) <= EXTREME:
        near = f"= {result.tau:.4g} is within {EXTREME:g} of 1 + beta = {1.0 + beta:g}"
        where = "is infinite" if np.isinf(result.tau) else near
        warnings.warn(
            f"usefulness: tau {where}: the context is extremely weak or strong, and tau should "
            "not be used to compare it",
            UserWarning,
            stacklevel=3,
        )
    elif squares[0] <= EXTREME / (1.0 + EXTREME):
        warnings.warn(
            f"usefulness: s_1 = {s[0]:.4g}: 1/(1 - s^2) is 1 within {EXTREME:g} for every d, so tau = {result.tau:.4g} "
            "says how flat the spectrum is, not that the context says anything of X; do not use it to compare",
            UserWarning,
            stacklevel=3,
        )
    return result
