"""DORO: sample weights that are robust to distribution shift and to outliers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._arguments import check_choice, check_number, vector
from ._base import on_host

__all__ = ["doro_weights"]


def doro_weights(losses: Any, *, alpha: float, eps: float = 0.0, divergence: str = "chi2") -> np.ndarray:
    """Sample weights of distributionally and outlier robust optimisation: constants for the gradient, with sum 1.

    The eps N largest losses are taken for outliers and left out; of the N' others the worst case over all
    distributions in which they have a share of at least alpha is weighted.

    Parameters
    ----------
    losses : array-like (N,)
        Losses of the samples.
    alpha : float
        In (0, 1]: the smallest share of a subpopulation; 1 weighs all that are kept equally.
    eps : float
        In [0, 1): the share of outliers.
    divergence : str
        "cvar": the mean of the worst; "chi2": the chi-squared ball.

    Returns
    -------
    ndarray (N,)
        Weights for the `weights` of any objective whose data term is a mean over samples.

    Raises
    ------
    ValueError
        eps leaves no sample; losses that are not finite.

    Notes
    -----
    CVaR: with the losses in decreasing order, n2 = floor(eps N), n1 = floor((eps + alpha (1 - eps)) N): equal on ranks
    n2 .. n1 - 1, where 1/(alpha (N - n2)) is normalised to sum 1. chi2: eta minimises
    C sqrt(mean relu(l - eta)^2) + eta, C = sqrt(1 + (1/alpha - 1)^2), and the weights are
    C relu(l - eta)/(N' sqrt(mean relu(l - eta)^2)). Cost: O(N log N).

    References
    ----------
    Zhai, Dan, Kolter, Ravikumar, *DORO: Distributional and outlier robust optimization*, ICML 2021.

    Examples
    --------
    >>> import eigencontext as ec
    >>> ec.objectives.doro_weights([1.0, 4.0, 2.0, 100.0], alpha=0.34, eps=0.25, divergence="cvar")
    array([0., 1., 0., 0.])
    """
    values = vector(on_host(losses), "losses")
    alpha = check_number(alpha, "alpha", 0.0, 1.0, open_low=True)
    eps = check_number(eps, "eps", 0.0, 1.0, open_high=True)
    check_choice(divergence, "divergence", ("cvar", "chi2"))
    n = len(values)
    order = np.argsort(-values, kind="stable")
    outliers = _floor(eps * n)
    kept = order[outliers:]
    weights = np.zeros(n)
    if divergence == "cvar":
        worst = order[outliers : max(_floor((eps + alpha * (1 - eps)) * n), outliers + 1)]
        weights[worst] = 1.0 / len(worst)
    else:
        weights[kept] = _chi_squared(values[kept], math.sqrt(1 + (1 / alpha - 1) ** 2))
    return weights


def _floor(x: float) -> int:
    """floor, where 0.29 * 100 is 29."""
    return math.floor(x * (1 + 1e-12) + 1e-12)


def _chi_squared(losses: np.ndarray, C: float) -> np.ndarray:
    """The weights for losses in decreasing order.

    The minimiser eta lies where C sum relu(l - eta) = n sqrt(mean relu(l - eta)^2). With j losses above eta, of mean m
    and variance v, that is C j t = sqrt(n j (v + t^2)), t = m - eta: t^2 (C^2 j - n) = n v.
    """
    n = len(losses)
    if C == 1.0:
        return np.full(n, 1.0 / n)
    ties = int((losses == losses[0]).sum())
    if n < C * C * ties:
        return np.where(losses == losses[0], 1.0 / ties, 0.0)
    shifted = losses - losses[0]
    j = np.arange(1, n + 1)
    mean = np.cumsum(shifted) / j
    variance = np.maximum(np.cumsum(shifted**2) / j - mean**2, 0.0)
    slope = C * C * j - n
    with np.errstate(divide="ignore", invalid="ignore"):
        eta = np.where(slope > 0, mean - np.sqrt(n * variance / slope), np.nan)
    below = np.append(shifted[1:], -np.inf)
    valid = (eta >= below) & (eta <= shifted)
    if not valid.any():
        return np.where(losses == losses[0], 1.0 / ties, 0.0)
    excess = np.maximum(shifted - eta[np.argmax(valid)], 0.0)
    total = excess.sum()
    return excess / total if total > 0 else np.where(losses == losses[0], 1.0 / ties, 0.0)
