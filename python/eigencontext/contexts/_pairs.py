"""Observed pairs of two modalities, and time series: x -> sample -> a, smoothed by a kernel on each side."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _device
from .._arguments import check_choice, check_flag, check_integer, check_number, check_seed, real_array, unchanged
from ..operators import MEDIAN_ROWS, median_bandwidth, origin, pairwise
from . import _checks
from ._base import Context
from ._convolution import convolution
from ._kernel import kernel, shifted

#: the median row averages over n to this power
_EXPONENT = 0.7

#: relative accuracy of the bandwidth that is searched for
_ACCURACY = 1e-3


def pairs(
    X: Any,
    A: Any,
    bandwidth: float | str | tuple[float | str, float | str] = "effective",
    null: bool = False,
    seed: int = 0,
) -> Context:
    """The context of n observed pairs (x_i, a_i) of any two modalities: x -> a sample near x -> an a near its own.

    W = W_X W_A, both row-normalised rbf kernels over the n samples; every x weighs 1/n. Smoothing shrinks singular
    values: in one dimension of unit variance each side takes s_1 times about 1 / sqrt(1 + h^2 + h^4).
    A pair that is far from all others on both sides is nearly a component of its own, with s near 1, and comes first
    where the bandwidth is too small to reach it: look whether a function lives on single samples (`Spectrum.left`).

    Parameters
    ----------
    X : array-like, n x d
        Inputs.
    A : array-like, n x e
        Row i was seen together with row i of X.
    bandwidth : "effective", "median", float, or a pair of these for X and A
        "effective": the h at which the median row averages over n^0.7 samples, by its effective sample size
        1 / sum_j W_ij^2 (bisection to 0.1 %, over at most 1000 rows). "median" as in `kernel`. The two numbers used
        are the attribute `bandwidth`.
    null : bool
        Compute s_1 of the shuffled pairs too, where X and A are independent: the attribute `null`, None where it was
        not asked for. What does not exceed it was not found.
    seed : int
        Of the rows that the bandwidth is taken from, and of the shuffle.

    Returns
    -------
    Context
        `conditional` takes new x, `sample` returns row numbers of A. Nothing n x n is stored: memory O(n (d + e)). A
        product costs one with each of the two kernels, making it two or three of these; "effective" about 30 times the
        product of 1000 rows of each kernel.

    Raises
    ------
    ValueError
        Unequal numbers of rows; a bandwidth that is no such number; "effective" where most points are repeated more
        than n^0.7 times.

    References
    ----------
    R. Zhai, "Contextures: The Mechanism of Representation Learning" (2025), on contexts and their convolution.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(500, 1))
    >>> a = 0.9 * x + np.sqrt(1 - 0.9**2) * rng.normal(size=(500, 1))
    >>> ctx = ec.contexts.pairs(x, a, null=True)
    >>> bool(ec.spectrum(ctx, k=1).singular_values[0] > 2 * ctx.null)
    True
    """
    _checks.on_one_device({"X": X, "A": A})
    X, output = _checks.received(X, "X")
    return _paired("pairs", X, _checks.received(A, "A")[0], bandwidth, null, seed, output)


def lagged(X: Any, lag: int = 1, bandwidth: float | str = "effective", null: bool = False, seed: int = 0) -> Context:
    """The context of a time series, x_t -> x_{t + lag}: its transfer (Koopman) operator.

    `pairs` of ``X[:-lag]`` and ``X[lag:]``. The singular functions are the slow modes of the series.
    Repeated frames (pauses, a recording sampled faster than it changes, frames that were copied to fill gaps) look like
    slow modes: they raise the singular values, and where most frames are repeated "effective" finds no bandwidth. Leave
    repetitions out, or take a longer lag, before a mode near 1 is believed; `null` does not show them, since shuffling
    takes repetitions apart.

    Parameters
    ----------
    X : array-like, n x d
        One row a step of time, evenly spaced.
    lag : int
        Steps, at least 1; at least two pairs must be left.
    bandwidth, null, seed
        As in `pairs`; one bandwidth for both sides, "effective" is searched for on each.

    Returns
    -------
    Context
        Its inputs are rows 0 .. n - lag - 1, its context values rows lag .. n - 1. `conditional` takes new x.

    Raises
    ------
    ValueError
        A lag outside 1 .. n - 2, and as `pairs`.

    References
    ----------
    H. Wu and F. Noe, "Variational approach for learning Markov processes from time series data", J. Nonlinear Sci.
    2020: singular functions of the Koopman operator.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> x = [0.0]
    >>> for step in np.random.default_rng(0).normal(size=999):
    ...     x.append(0.9 * x[-1] + step)
    >>> s = ec.spectrum(ec.contexts.lagged(np.reshape(x, (-1, 1))), k=1).singular_values
    >>> bool(0.8 < s[0] < 0.95)
    True
    """
    X, output = _checks.received(X, "X")
    X = real_array(X, "X", 2)
    if len(X) < 3:
        raise ValueError(f"X: got {len(X)} row(s); allowed: at least 3, for two pairs")
    lag = check_integer(lag, "lag", 1, len(X) - 2, "n - 2")
    return _paired("lagged", X[:-lag], X[lag:], bandwidth, null, seed, output, lag=lag)


def _paired(
    name: str, X: Any, A: Any, bandwidth: Any, null: bool, seed: int, output: Any, **attributes: Any
) -> Context:
    check_flag(null, "null")
    check_seed(seed)
    X, A = real_array(X, "X", 2), real_array(A, "A", 2)
    if len(X) != len(A):
        raise ValueError(f"A: got {len(A)} rows; allowed: {len(X)}, as X has: row i of both is a pair")
    both = bandwidth if isinstance(bandwidth, (tuple, list)) else (bandwidth, bandwidth)
    if len(both) != 2:
        raise ValueError(f"bandwidth: got {len(both)} of them; allowed: one, or one for X and one for A")
    widths = (_width(both[0], X, "X", seed), _width(both[1], A, "A", seed))
    like = getattr(output, "like", None)
    placed = unchanged if like is None else lambda points: _device.Moved(points, like)
    first = kernel(placed(X), bandwidth=widths[0])
    level = None
    if null:  # s_1 with every x paired with the a of another sample
        from .._spectrum import spectrum

        shuffled = kernel(placed(A[np.random.default_rng(seed).permutation(len(A))]), bandwidth=widths[1])
        level = float(spectrum(first @ shuffled, k=1, seed=seed).singular_values[0])
    first._output = output
    second = kernel(placed(A), bandwidth=widths[1])
    return convolution(first, second, name=name, bandwidth=widths, null=level, **attributes)


def _width(bandwidth: float | str, X: np.ndarray, name: str, seed: int) -> float:
    if not isinstance(bandwidth, str):
        return check_number(bandwidth, "bandwidth", 0.0, open_low=True)
    check_choice(bandwidth, "bandwidth", ("effective", "median"))
    return effective_bandwidth(X, name, seed) if bandwidth == "effective" else median_bandwidth(X, "rbf", seed, name)


def effective_bandwidth(X: np.ndarray, name: str, seed: int = 0) -> float:
    """The h of rbf at which the median effective sample size of at most 1000 rows is n^0.7.

    It is (sum_j k_ij)^2 / sum_j k_ij^2, and k^2 is the kernel of bandwidth h / sqrt(2); it grows with h.
    """
    n = len(X)
    if n < 2:
        raise ValueError(f"bandwidth: got 'effective' for one row of {name}; allowed: a number > 0, or two rows")
    X = shifted(X, origin(X))
    some = X if n <= MEDIAN_ROWS else X[np.sort(np.random.default_rng(seed).choice(n, MEDIAN_ROWS, replace=False))]
    ones = np.ones((n, 1), X.dtype)

    def excess(h: float) -> float:
        sums, squares = (pairwise(some, X, "rbf", width).matmat(ones).astype(np.float64) for width in (h, h / 2**0.5))
        return float(np.median(sums**2 / squares)) - n**_EXPONENT

    low = high = size = float(np.median(np.abs(X).max(axis=1)))
    while size and excess(high) < 0:
        high *= 2
    while size == 0 or excess(low) > 0:
        low /= 2
        if low <= np.finfo(X.dtype).eps * size:  # nearer points are equal to rounding
            raise ValueError(
                f"bandwidth: got 'effective', but most rows of {name} are repeated more than n^{_EXPONENT} = "
                f"{n**_EXPONENT:.0f} times; allowed: a number > 0"
            )
    while high > low * (1 + _ACCURACY):
        middle = low * (high / low) ** 0.5
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return low * (high / low) ** 0.5
