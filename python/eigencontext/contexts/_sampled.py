"""Contexts with more values than anyone could list: Gaussian noise, corruption, masking, cutmix.

Values a_1 .. a_m are drawn once; entries W_ij, in proportion to p(a_j|x_i) / pbar(a_j), are made a tile at a time and
in logarithms, so that neither density is ever formed.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from .. import _device
from .._arguments import check_choice, check_integer, check_number, check_seed, real_array
from ..operators import Operator, log_sums_of_columns, log_sums_of_rows, origin, sampled
from . import _checks
from ._base import Conditional, Context
from ._bins import MOST_BINS, NOISES, Bins, binned
from ._kernel import require_squares, shifted

Constant = Literal["error", "ignore"]

#: values to begin with, for messages
STARTS = {
    "rate": "0.9 is a start, 0.5 for a few features",
    "sigma": "half the median distance between inputs is a start, 0.7 sqrt(d) for d features of deviation 1",
}
#: context values by default: four for each input up to this many, then as many as inputs
_DEFAULT_CONTEXTS = 40_000
#: entries that are drawn at a time
_DRAWN = 1 << 22
#: rows with fewer effective context values than this many times m / n see hardly any but their own
_IDENTITY = 1.5

# -- the rules P(.|x) of the fitted values -----------------------------------------------------------------------------


class SampledRows(Conditional):
    """New inputs are points; P(a_j|x) is in proportion to p(a_j|x) / pbar(a_j) of the drawn values."""

    score: ClassVar[str]
    dtype: np.dtype
    log_pbar: np.ndarray

    def encoded(self, X_new: Any) -> np.ndarray:
        """Inputs as the operator takes them."""
        raise NotImplementedError

    def arguments(self) -> tuple:
        """Of the operator, after the inputs."""
        raise NotImplementedError

    def operator(
        self, x: np.ndarray, rows: np.ndarray | None, columns: np.ndarray | None, dtype: Any = np.float64
    ) -> Operator:
        arguments = (x, *self.arguments())
        if self.like is not None:
            arguments = tuple(
                _device.Moved(argument, self.like) if isinstance(argument, np.ndarray) else argument
                for argument in arguments
            )
        return sampled(self.score, arguments, rows, columns, np.dtype(dtype))

    def __call__(self, X_new: Any) -> Operator:
        x = self.encoded(X_new)
        totals, _ = log_sums_of_rows(self.operator(x, None, -self.log_pbar))
        _require_agreement("X_new", totals)
        return self.operator(x, -totals, -self.log_pbar, self.dtype)


class GaussianRows(SampledRows):
    kind = "gaussian_noise"
    score = "gaussian"

    def __init__(self, A: np.ndarray, centre: np.ndarray, sigma: float) -> None:
        self.A = A
        self.centre = centre
        self.sigma = sigma
        self.dtype = A.dtype

    def encoded(self, X_new: Any) -> np.ndarray:
        x = shifted(_checks.points(X_new, "X_new", self.A), self.centre)
        require_squares("X_new", x, self.sigma)
        return x

    def arguments(self) -> tuple:
        return self.A, self.sigma

    def state(self) -> dict[str, np.ndarray]:
        return {"A": self.A, "centre": self.centre, "sigma": np.asarray(self.sigma), "log_pbar": self.log_pbar}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> GaussianRows:
        rule = cls(state["A"], state["centre"], float(state["sigma"]))
        rule.log_pbar = state["log_pbar"]
        return rule


class CodeRows(SampledRows):
    """Features are compared bin by bin. `table`: the weights of agreeing (matches), or what is visible (agreement)."""

    def __init__(self, A: np.ndarray, table: np.ndarray, edges: np.ndarray, dtype: Any) -> None:
        self.A = A
        self.table = table
        self.edges = edges
        self.dtype = np.dtype(dtype)

    def encoded(self, X_new: Any) -> np.ndarray:
        X = real_array(X_new, "X_new", 2, self.dtype)
        if X.shape[1] != len(self.edges):
            raise ValueError(f"X_new: got {X.shape[1]} columns; allowed: {len(self.edges)}, as the fitted points have")
        return binned(X, self.edges)

    def arguments(self) -> tuple:
        return self.A, self.table

    def state(self) -> dict[str, np.ndarray]:
        return {
            "A": self.A,
            "table": self.table,
            "edges": self.edges,
            "dtype": np.asarray(self.dtype.name),
            "log_pbar": self.log_pbar,
        }

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> CodeRows:
        rule = cls(state["A"], state["table"], state["edges"], str(state["dtype"]))
        rule.log_pbar = state["log_pbar"]
        return rule


class CorruptionRows(CodeRows):
    kind = "corruption"
    score = "matches"


class MaskingRows(CodeRows):
    kind = "masking"
    score = "agreement"


# -- how values are drawn, and what an encoder of A is fed -------------------------------------------------------------


class GaussianChannel:
    def __init__(self, centre: np.ndarray, sigma: float) -> None:
        self.centre = centre
        self.sigma = sigma

    def draw(self, x: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        return ((x + self.sigma * rng.standard_normal(x.shape)).astype(x.dtype),)

    def values(self, a: np.ndarray) -> np.ndarray:
        return (a + self.centre).astype(a.dtype)


class CorruptionChannel:
    """Each feature stays with probability 1 - rate, else it is redrawn from its masses."""

    def __init__(self, bins: Bins, masses: np.ndarray, rate: float) -> None:
        self.bins = bins
        self.rate = rate
        last = self.bins.counts.shape[1] - 1 - np.argmax(self.bins.counts[:, ::-1] > 0, axis=1)
        self.cumulated = np.cumsum(masses, axis=1)
        self.cumulated[np.arange(len(last)), last] = 1.0

    def draw(self, x: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        uniform = rng.random(x.shape)
        drawn = np.empty_like(x)
        for f, steps in enumerate(self.cumulated):  # uniform / rate is uniform again where uniform < rate
            drawn[:, f] = np.searchsorted(steps, np.minimum(uniform[:, f] / self.rate, 1 - 2**-53), side="right")
        return (np.where(uniform < self.rate, drawn, x),)

    def values(self, a: np.ndarray) -> np.ndarray:
        return self.bins.values[np.arange(a.shape[1]), a]


class MaskingChannel:
    """Each feature is hidden with probability rate."""

    def __init__(self, bins: Bins, rate: float) -> None:
        self.bins = bins
        self.rate = rate

    def draw(self, x: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        return x, (rng.random(x.shape) >= self.rate).astype(np.uint8)

    def values(self, a: np.ndarray, visible: np.ndarray) -> np.ndarray:
        return np.where(visible, self.bins.values[np.arange(a.shape[1]), a], np.nan).astype(self.bins.values.dtype)


Channel = GaussianChannel | CorruptionChannel | MaskingChannel


class SampledContext(Context):
    """A context whose m values were drawn.

    Attributes
    ----------
    ess : ndarray of float64, (n,)
        1 / sum_j W_ij^2: how many of the m values P(.|x_i) is spread over. Near m / n the context is the identity.
    ess_min, ess_median : float
    """

    ess: np.ndarray
    _x: np.ndarray
    _drawn: tuple[np.ndarray, ...]
    _channel: Channel

    @property
    def values(self) -> np.ndarray:
        """The m context values, (m, d), in the units of X: row j belongs to row j of `Spectrum.right`."""
        return self._output(self._channel.values(*self._drawn))

    def sample(self, rows: Any, n_samples: int = 1, seed: int = 0) -> np.ndarray:
        """Draw a ~ P(.|x_row) afresh, not from the m values of the operator.

        Parameters
        ----------
        rows : array of int
            Which of the fitted inputs.
        n_samples : int
            Independent draws for each.
        seed : int

        Returns
        -------
        ndarray, (len(rows), n_samples, d)
            What an encoder of A is fed, in the units of X. Binned features have the mean of the data in their bin;
            what masking hides is NaN.

        Examples
        --------
        >>> import numpy as np, eigencontext as ec
        >>> X = np.random.default_rng(0).integers(0, 2, size=(60, 3))
        >>> ec.contexts.corruption(X, 0.5).sample([0, 7], n_samples=4).shape
        (2, 4, 3)
        """
        n_samples = check_integer(n_samples, "n_samples", 1)
        rng = np.random.Generator(np.random.Philox(check_seed(seed)))
        inner = self._inner_rows(rows)
        drawn = _draw(self._channel, self._x, np.repeat(inner, n_samples), rng)
        return self._output(self._channel.values(*drawn).reshape(len(inner), n_samples, -1))


# -- the contexts ------------------------------------------------------------------------------------------------------


def gaussian_noise(X: Any, sigma: float, n_contexts: int | None = None, seed: int = 0) -> SampledContext:
    """The context A = X + sigma Z, Z standard normal.

    m values a_j = x_i(j) + sigma z_j are drawn, and W_ij is in proportion to p(a_j|x_i) / pbar(a_j), where pbar is the
    mean of p(a_j|x_i) over the inputs. As m grows this is the context itself; bias and deviation are O(m^{-1/2}).

    Parameters
    ----------
    X : array-like, n x d
        Inputs; each weighs 1/n.
    sigma : float
        In the units of X, > 0. Half the median distance between inputs is a start (that distance is the `bandwidth` of
        `kernel`), for d features of standard deviation 1 about 0.7 sqrt(d).
    n_contexts : int, optional
        m, the number of values drawn: by default 4 n up to 40 000, then n. Each input gives as many (the rest of a
        division goes to inputs at random).
    seed : int
        The same seed gives the same context.

    Returns
    -------
    SampledContext
        `values` has the m context values, `ess` for each input 1 / sum_j W_ij^2. `conditional` takes new points;
        `sample` draws new values, arrays of (n_rows, n_samples, d).

    Warns
    -----
    UserWarning
        m < n; or the median of `ess` is near m / n: the context is the identity at this strength.

    Notes
    -----
    Cost: three sweeps over the n m entries in float64, each (2 d + 20) n m flops or so. Memory: (n + m) d numbers of
    the data's type, and of float64 while the sweeps last, each twice.

    References
    ----------
    R. Zhai, "Contextures: The Mechanism of Representation Learning" (2025), on denoising contexts.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> from scipy.special import ndtri
    >>> X = ndtri((np.arange(500) + 0.5) / 500)[:, None]  # standard normal: s_i = 2^{-i/2} where sigma = 1
    >>> s = ec.spectrum(ec.contexts.gaussian_noise(X, 1.0), k=2).singular_values
    >>> bool(np.allclose(s, [2**-0.5, 2**-1.0], atol=0.05))
    True
    """
    X, output = _checks.received(X, "X")
    X = real_array(X, "X", 2)
    sigma = check_number(sigma, "sigma", 0, open_low=True, start=STARTS["sigma"])
    centre = origin(X)
    x = shifted(X, centre)
    top = max(float(np.abs(x).max()), sigma)
    if not math.isfinite(top / sigma * (top / sigma) * X.shape[1]) or not math.isfinite(1 / sigma):
        raise ValueError(f"sigma: got {sigma:g}; allowed: one that does not overflow for these data")
    channel = GaussianChannel(centre, sigma)
    drawn = _drawn_contexts(channel, x, n_contexts, seed)
    rule = GaussianRows(drawn[0], centre, sigma)
    return _context("gaussian_noise", rule, channel, x, drawn, output, sigma=sigma, seed=seed)


def corruption(
    X: Any,
    rate: float,
    bins: int = 16,
    noise: Literal["empirical", "uniform", "gaussian", "bimodal"] = "empirical",
    n_contexts: int | None = None,
    seed: int = 0,
    constant: Constant = "error",
) -> SampledContext:
    """The context that keeps each feature with probability 1 - rate and else redraws it: random feature corruption.

    log p(a|x) = sum_f [a_f = x_f] log(1 + (1 - rate) / (rate q_f(a_f))) + terms of a alone.

    Parameters
    ----------
    X : array-like, n x d
        Inputs; each weighs 1/n. Features are binned.
    rate : float
        0 < rate < 1 (0 were the identity, 1 independence). 0.9 is a start for tens of features, 0.5 for a few: the more
        there are, the more a copy still says of its original. `ess` tells whether it is the identity.
    bins : int
        2 .. 256, at most so many for each feature, cut at quantiles, half way between two values. A feature with at
        most `bins` distinct values is taken as it is.
    noise : {"empirical", "uniform", "gaussian", "bimodal"}
        q_f, from which features are redrawn: the feature's own distribution over the data; uniform on [low - 1e-6,
        high + 1e-6]; N((low + high)/2, ((high - low)/4)^2); N(low, s^2) or N(high, s^2), s = (high - low)/8, by a fair
        coin for every entry. low and high are the feature's range. A density gives each bin its mass.
    n_contexts, seed
        As in `gaussian_noise`.
    constant : {"error", "ignore"}
        What is done with a feature that is constant after binning: one of a single value, or one of more than `bins`
        values of which all but a share of 1 / bins or less are equal to its smallest. "ignore": it has a single bin,
        and the context is that of the other features.

    Returns
    -------
    SampledContext
        `values`, `ess`, `conditional` and `sample` as in `gaussian_noise`. What is drawn are bins, and the value of a
        bin is the mean of the data in it (the value itself of a feature that is taken as it is). A new input belongs to
        the bins that its features fall into, whether or not such a value was seen.

    Raises
    ------
    ValueError
        rate outside (0, 1), bins outside 2 .. 256, a feature that is constant after binning (which; with
        constant="ignore" only where all are).

    Warns
    -----
    UserWarning
        As `gaussian_noise`.

    Notes
    -----
    Cost: three sweeps over the n m entries in float64, each n m d comparisons and additions or so. Memory: n d numbers
    and (n + m) d bytes, each twice.

    References
    ----------
    Bahri, Jiang, Tay, Metzler, "SCARF: Self-Supervised Contrastive Learning using Random Feature Corruption" (ICLR
    2022). R. Zhai, "Contextures: The Mechanism of Representation Learning" (2025).

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> X = np.tile([[0, 0], [0, 1], [1, 0], [1, 1]], (50, 1))  # independent features: s_S = (1 - rate)^|S|
    >>> ctx = ec.contexts.corruption(X, rate=0.5, n_contexts=8000)
    >>> bool(np.allclose(ec.spectrum(ctx, k=3).singular_values, [0.5, 0.5, 0.25], atol=0.05))
    True
    """
    check_choice(noise, "noise", NOISES)
    return _corrupted("corruption", X, rate, bins, noise, n_contexts, seed, constant, noise=noise)


def cutmix(
    X: Any,
    rate: float,
    bins: int = 16,
    n_contexts: int | None = None,
    seed: int = 0,
    constant: Constant = "error",
) -> SampledContext:
    """The context that replaces each feature, with probability `rate`, by that of a random row (the row itself
    included), a new one for each feature: `corruption` with the empirical noise.

    Parameters
    ----------
    X : array-like, n x d
    rate : float
    bins : int
    n_contexts, seed, constant
        As in `corruption`, like what is returned, raised and warned of, cost and memory.

    Returns
    -------
    SampledContext

    References
    ----------
    R. Zhai, "Contextures: The Mechanism of Representation Learning" (2025). Yun et al., "CutMix: Regularization
    Strategy to Train Strong Classifiers with Localizable Features" (ICCV 2019), whose regions are single features here.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> X = np.random.default_rng(0).integers(0, 3, size=(200, 2))
    >>> ec.contexts.cutmix(X, rate=0.3).shape
    (200, 800)
    """
    return _corrupted("cutmix", X, rate, bins, "empirical", n_contexts, seed, constant)


def masking(
    X: Any,
    rate: float,
    bins: int = 16,
    n_contexts: int | None = None,
    seed: int = 0,
    constant: Constant = "error",
) -> SampledContext:
    """The context A = (mask, visible features): each feature is hidden with probability `rate`.

    p(a|x) = [x agrees with a wherever a is visible] times terms of a alone.

    Parameters
    ----------
    X : array-like, n x d
        Inputs; each weighs 1/n. Features are binned as in `corruption`.
    rate : float
        0 < rate < 1; 0.9 is a start for tens of features, 0.5 for a few.
    bins : int
        2 .. 256.
    n_contexts, seed
        As in `gaussian_noise`.
    constant : {"error", "ignore"}
        As in `corruption`.

    Returns
    -------
    SampledContext
        As of `corruption`; in `values` and `sample` a hidden feature is NaN, so that ``np.isnan`` is the mask.
        `conditional` refuses a new input that agrees with none of the m values: its P(.|x) is not known.

    Raises
    ------
    ValueError
        As `corruption`; an input that agrees with no drawn value (possible where n_contexts < n).

    Warns
    -----
    UserWarning
        As `gaussian_noise`.

    Notes
    -----
    Cost: three sweeps over the n m entries, each n m d comparisons of bytes at most (32 values at a time are left once
    none agrees). Memory: (n + 2 m) d bytes, twice.

    References
    ----------
    R. Zhai, "Contextures: The Mechanism of Representation Learning" (2025), on masked contexts.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> X = np.tile([[0, 0], [0, 1], [1, 0], [1, 1]], (50, 1))  # s_S = (1 - rate)^{|S|/2}
    >>> ctx = ec.contexts.masking(X, rate=0.5, n_contexts=8000)
    >>> bool(np.allclose(ec.spectrum(ctx, k=3).singular_values, [0.5**0.5, 0.5**0.5, 0.5], atol=0.05))
    True
    """
    output, X, rate, cut = _binned_inputs(X, rate, bins, constant)
    channel = MaskingChannel(cut, rate)
    x = binned(X, cut.edges)
    drawn = _drawn_contexts(channel, x, n_contexts, seed)
    rule = MaskingRows(drawn[0], drawn[1], cut.edges, X.dtype)
    return _context("masking", rule, channel, x, drawn, output, rate=rate, bins=bins, seed=seed)


def _corrupted(
    name: str,
    X: Any,
    rate: float,
    bins: int,
    law: str,
    n_contexts: int | None,
    seed: int,
    constant: str,
    **attributes: Any,
) -> SampledContext:
    output, X, rate, cut = _binned_inputs(X, rate, bins, constant)
    masses = cut.masses(law)
    weights = np.zeros((X.shape[1], MOST_BINS))
    real = masses > 0
    # in logarithms: the mass of a narrow bin may be next to nothing
    log_odds = math.log1p(-rate) - math.log(rate) - np.log(masses[real])
    weights[:, : masses.shape[1]][real] = np.logaddexp(0, log_odds)
    channel = CorruptionChannel(cut, masses, rate)
    x = binned(X, cut.edges)
    drawn = _drawn_contexts(channel, x, n_contexts, seed)
    rule = CorruptionRows(drawn[0], weights, cut.edges, X.dtype)
    return _context(name, rule, channel, x, drawn, output, rate=rate, bins=bins, **attributes, seed=seed)


def _binned_inputs(X: Any, rate: float, bins: int, constant: str) -> tuple[Any, np.ndarray, float, Bins]:
    X, output = _checks.received(X, "X")
    X = real_array(X, "X", 2)
    rate = check_number(rate, "rate", 0, 1, open_low=True, open_high=True, start=STARTS["rate"])
    check_choice(constant, "constant", get_args(Constant))
    return output, X, rate, Bins(X, check_integer(bins, "bins", 2, MOST_BINS), constant)


def _drawn_contexts(channel: Channel, x: np.ndarray, n_contexts: int | None, seed: int) -> tuple[np.ndarray, ...]:
    """m values, from a shuffled repetition of the inputs."""
    n = len(x)
    m = max(n, min(4 * n, _DEFAULT_CONTEXTS)) if n_contexts is None else check_integer(n_contexts, "n_contexts", 1)
    if m < n:
        warnings.warn(
            f"n_contexts: {m} values for {n} inputs; with fewer values than inputs most inputs see hardly any of their "
            "own",
            UserWarning,
            stacklevel=4,
        )
    # a stream of its own: `sample` with the same seed must not draw the fitted values again
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(check_seed(seed), spawn_key=(1,))))
    rows = np.concatenate([rng.permutation(n) for _ in range(-(-m // n))])[:m]
    return _draw(channel, x, rows, rng)


def _draw(channel: Channel, x: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """One value for each of `rows`, a piece at a time."""
    step = max(1, _DRAWN // x.shape[1])
    parts = [channel.draw(x[rows[start : start + step]], rng) for start in range(0, max(len(rows), 1), step)]
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def _context(
    name: str,
    rule: SampledRows,
    channel: Channel,
    x: np.ndarray,
    drawn: tuple[np.ndarray, ...],
    output: Any,
    **attributes: Any,
) -> SampledContext:
    """log pbar (columns), row sums, then q: each a stream over the tiles, in float64."""
    n, m = len(x), len(drawn[0])
    rule.like = getattr(output, "like", None)
    rule.log_pbar = log_sums_of_columns(rule.operator(x, None, None)) - math.log(n)
    totals, ess = log_sums_of_rows(rule.operator(x, None, -rule.log_pbar))
    _require_agreement("X", totals)
    log_q = log_sums_of_columns(rule.operator(x, -totals, -rule.log_pbar)) - math.log(n)
    # no q_j vanishes: of the x_i with the largest p(a_j|x_i), W_ij >= 1/(n m)
    q = np.exp(log_q)
    log_q -= math.log(q.sum())
    q /= q.sum()
    operator = rule.operator(x, -totals - math.log(n) / 2, -rule.log_pbar - log_q / 2, rule.dtype)
    middle = float(np.median(ess))
    if middle < _IDENTITY * max(m / n, 1.0):
        warnings.warn(
            f"{name}: the median input is spread over {middle:.3g} of the m = {m} context values, near m/n = "
            f"{m / n:.3g}: it sees its own values alone, and all singular values are near 1 (more noise, fewer "
            "features or coarser bins help; more values do not)",
            UserWarning,
            stacklevel=3 if name in ("gaussian_noise", "masking") else 4,
        )
    return SampledContext(
        name,
        operator,
        np.full(n, 1.0 / n),
        q,
        rule,
        output=output,
        **attributes,
        ess=ess,
        ess_min=float(ess.min()),
        ess_median=middle,
        _x=x,
        _drawn=drawn,
        _channel=channel,
    )


def _require_agreement(name: str, totals: np.ndarray) -> None:
    none = np.flatnonzero(np.isneginf(totals))
    if len(none):
        raise ValueError(
            f"{name}: row(s) {_checks.listed(none)} ({len(none)} in all) agree with no drawn context value: P(.|x) is "
            "not known; allowed: rows that some value is possible for (more n_contexts or a higher rate helps)"
        )
