"""Features as bins: what corruption and masking compare, and the mass that a noise gives each bin."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from . import _checks

#: a bin's number is one byte
MOST_BINS = 256
NOISES = ("empirical", "uniform", "gaussian", "bimodal")


class Bins:
    """Bins of each of p features, at most L: cut at quantiles, or one for each value where there are at most `bins`.

    Attributes
    ----------
    edges : ndarray of float64, (p, L - 1)
        A value belongs to the bin whose number is how many of its feature's edges it reaches; filled up with inf.
    values : ndarray, (p, L)
        The mean of the data in each bin (the value itself where there is only one), filled up with NaN.
    counts : ndarray of int64, (p, L)
        How many of the data are in each bin: 0 only beyond a feature's last.
    low, high : ndarray of float64, (p,)
        The range of the data.
    """

    def __init__(self, X: np.ndarray, bins: int, constant: str = "error") -> None:
        cuts = [_cuts(np.sort(column), bins) for column in X.T]
        flat = np.flatnonzero([len(edges) == 0 for edges in cuts])
        if len(flat) == len(cuts):
            raise ValueError(f"X: every feature is constant after binning with bins={bins}; allowed: data that vary")
        if len(flat) and constant == "error":
            raise ValueError(
                f"X: feature(s) {_checks.listed(flat)} ({len(flat)} in all) are constant after binning with "
                f"bins={bins} and would say nothing; allowed: features with at least two bins: raise bins, leave these "
                "columns out, or have them left out by constant='ignore'"
            )
        levels = 1 + max(map(len, cuts))
        self.edges = np.full((len(cuts), levels - 1), np.inf)
        for row, edges in zip(self.edges, cuts, strict=True):
            row[: len(edges)] = edges
        codes = binned(X, self.edges)
        self.counts = np.stack([np.bincount(column, minlength=levels) for column in codes.T])
        self.values = np.stack([_means(c, x, levels) for c, x in zip(codes.T, X.T, strict=True)]).astype(X.dtype)
        self.low, self.high = X.min(axis=0).astype(np.float64), X.max(axis=0).astype(np.float64)

    def masses(self, noise: str) -> np.ndarray:
        """Q_f(bin) of a noise, (p, L): F(right edge) - F(left edge) of a density, outer edges at infinity. Positive for
        every bin, 0 beyond a feature's last."""
        if noise == "empirical":
            return self.counts / self.counts.sum(axis=1, keepdims=True)
        p = len(self.edges)
        bounds = np.hstack([np.full((p, 1), -np.inf), self.edges, np.full((p, 1), np.inf)])
        left, right = bounds[:, :-1], bounds[:, 1:]
        low, high = self.low[:, None], self.high[:, None]
        if noise == "uniform":
            start, width = low - 1e-6, high - low + 2e-6
            mass = np.clip((right - start) / width, 0, 1) - np.clip((left - start) / width, 0, 1)
        elif noise == "gaussian":
            mass = _normal(left, right, low + (high - low) / 2, (high - low) / 4)
        else:
            spread = (high - low) / 8
            mass = (_normal(left, right, low, spread) + _normal(left, right, high, spread)) / 2
        real = self.counts > 0
        mass = np.where(real, np.maximum(mass, np.finfo(np.float64).tiny), 0)  # the mass of a narrow bin may vanish
        return mass / mass.sum(axis=1, keepdims=True)


def binned(X: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The bin of every entry, (n, p) of uint8."""
    codes = np.empty(X.shape, dtype=np.uint8)
    for f, own in enumerate(edges):
        codes[:, f] = np.searchsorted(own, X[:, f], side="right")
    return codes


def _means(codes: np.ndarray, x: np.ndarray, levels: int) -> np.ndarray:
    """The mean of x in each bin, NaN where none is. From a member of the bin, so that a lone value stays what it is."""
    present, first = np.unique(codes, return_index=True)
    members = np.full(levels, np.nan)
    members[present] = x[first]
    counts = np.maximum(np.bincount(codes, minlength=levels), 1)
    return members + np.bincount(codes, x - members[codes], levels) / counts


def _cuts(x: np.ndarray, bins: int) -> np.ndarray:
    """The edges between the bins of a sorted feature, each half way between two of its values, so that what is rounded
    (new inputs in another type) stays in its bin."""
    distinct = x[np.append(True, x[1:] != x[:-1])]
    first = distinct[1:]  # the smallest value of each bin but the lowest
    if len(distinct) > bins:
        first = np.unique(x[len(x) * np.arange(1, bins) // bins])
        first = first[first > distinct[0]]
    below = distinct[np.searchsorted(distinct, first) - 1].astype(np.float64)
    middle = below / 2 + first.astype(np.float64) / 2
    return np.where(middle > below, middle, first)


def _normal(left: np.ndarray, right: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Mass of intervals, from the tail that is smaller: differences of numbers near 1 lose it."""
    a, b = (left - mean) / deviation, (right - mean) / deviation
    upper = a > 0
    return ndtr(np.where(upper, -a, b)) - ndtr(np.where(upper, -b, a))
