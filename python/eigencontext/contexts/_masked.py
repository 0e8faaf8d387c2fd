"""Kernels and neighbours that see only some of the features: W is the mean of W_j over random masks, A = X."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

from .._arguments import check_choice, check_flag, check_integer, check_number, check_seed, real_array
from ..operators import Kernel, Operator, as_operator, kernel_arguments, origin, scaled, sparse, weighted_sum
from . import _checks
from ._base import Conditional, Context
from ._kernel import KernelRows, kernel_sums, require_mass, shifted
from ._neighbors import METRICS, checked_neighbors, from_choices, nearest


def random_masks(n_masks: int, mask_rate: float, d: int, seed: int) -> np.ndarray:
    """(n_masks, d) bool, True where a feature is visible; each hides the same number, at least one and not all."""
    n_masks = check_integer(n_masks, "n_masks", 1)
    rate = check_number(mask_rate, "mask_rate", 0.0, 1.0, open_low=True, open_high=True)
    check_seed(seed)
    if d < 2:
        raise ValueError("X: got 1 column; allowed: at least 2, of which some are hidden")
    hidden = min(max(round(rate * d), 1), d - 1)
    visible = np.ones((n_masks, d), dtype=bool)
    rng = np.random.default_rng(seed)
    for mask in visible:
        mask[rng.choice(d, hidden, replace=False)] = False
    return visible


class MaskedKernel:
    """mean over masks of D_j^{-1} K_j as an operator: one kernel is made at a time, so that no copy of the points is
    kept for each mask."""

    def __init__(self, rule: KernelRows, masks: np.ndarray, X: np.ndarray, A: np.ndarray | None, name: str) -> None:
        self.rule = rule
        self.masks = masks
        self.X = X
        self.A = A
        self.shape = (len(X), len(X) if A is None else len(A))
        self.dtype = X.dtype
        self.sums = [kernel_sums(rule, *points) for points in self._visible()]
        for sums in self.sums:
            require_mass(name, sums)

    def _visible(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        for mask in self.masks:
            yield self.X[:, mask], None if self.A is None else self.A[:, mask]

    def _kernels(self) -> Iterator[tuple[Operator, np.ndarray]]:
        for points, sums in zip(self._visible(), self.sums, strict=True):
            yield self.rule.raw(*points), (1.0 / (len(self.masks) * sums))[:, None]

    def operator(self) -> Operator:
        """On a CUDA device the kernels of all masks are kept, with copies of the points."""
        if self.rule.like is None:
            return as_operator(self)
        return weighted_sum([scaled(K, weights[:, 0]) for K, weights in self._kernels()], np.ones(len(self.masks)))

    def column_sums(self) -> np.ndarray:
        """1^T W, as exactly as the row sums."""
        parts = zip(self._visible(), self.sums, strict=True)
        return np.sum([kernel_sums(self.rule, *points, 1.0 / sums) for points, sums in parts], 0) / len(self.masks)

    def matmat(self, B: np.ndarray) -> np.ndarray:
        total = np.zeros((self.shape[0], B.shape[1]))
        for K, weights in self._kernels():
            total += weights * K.matmat(B)
        return total.astype(self.dtype, copy=False)

    def rmatmat(self, B: np.ndarray) -> np.ndarray:
        total = np.zeros((self.shape[1], B.shape[1]))
        for K, weights in self._kernels():
            total += K.rmatmat((weights * B).astype(self.dtype, copy=False))
        return total.astype(self.dtype, copy=False)


class MaskedKernelRows(Conditional):
    """New inputs are points; P(.|x) is the mean over the masks."""

    kind = "masked_kernel"

    def __init__(self, rule: KernelRows, masks: np.ndarray) -> None:
        self.rule = rule
        self.masks = masks

    def __call__(self, X_new: Any) -> Operator:
        X = self.rule.points(X_new)
        return MaskedKernel(self.rule, self.masks, X, self.rule.A, "X_new").operator()

    def state(self) -> dict[str, np.ndarray]:
        return {**self.rule.state(), "masks": self.masks}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> MaskedKernelRows:
        return cls(KernelRows.from_state(state), state["masks"])


def masked_kernel(
    X: Any,
    n_masks: int = 50,
    mask_rate: float = 0.2,
    kernel: Kernel = "rbf",
    bandwidth: float | str | None = "median",
    degree: int = 3,
    coef0: float = 1.0,
    seed: int = 0,
) -> Context:
    """The kernel context of points that show only some features: W = mean over random masks of W_j, A = X.

    Parameters
    ----------
    X : array-like, n x d
        Points, each of weight 1/n; at least 2 features.
    n_masks : int
    mask_rate : float in (0, 1)
        The share of the features that a mask hides: ``round(mask_rate * d)`` of them, at least one and not all.
    kernel, bandwidth, degree, coef0
        As in `kernel`, on the visible features; one bandwidth for all masks, "median" that of all features.
    seed : int
        Of the masks.

    Returns
    -------
    Context
        `masks` (n_masks, d) is True where a feature is visible. `conditional` takes new points. A product costs
        n_masks products with a kernel. Memory: two copies of the points, n_masks n float64, and two blocks (on a CUDA
        device n_masks copies of the visible features).

    Raises
    ------
    ValueError
        A rate outside (0, 1), one feature, and as `kernel`.

    References
    ----------
    Zhai et al., "Contextures: Representations from Contexts", ICML 2025, arXiv 2505.01557 (RBF_mask).

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> X = np.random.default_rng(0).normal(size=(60, 5))
    >>> ctx = ec.contexts.masked_kernel(X, n_masks=10, mask_rate=0.4)
    >>> ctx.shape, ctx.masks.sum(axis=1)
    ((60, 60), array([3, 3, 3, 3, 3, 3, 3, 3, 3, 3]))
    """
    X, output = _checks.received(X, "X")
    X, _, h, degree, coef0 = kernel_arguments(X, None, kernel, bandwidth, degree, coef0)
    masks = random_masks(n_masks, mask_rate, X.shape[1], seed)
    centre = origin(X) if kernel == "rbf" else None
    X = shifted(X, centre)
    rule = KernelRows(X, centre, kernel, 1.0 if h is None else h, degree, coef0)
    rule.like = getattr(output, "like", None)
    n = len(X)
    W = MaskedKernel(rule, masks, X, None, "X")
    q = W.column_sums()
    lonely = np.flatnonzero(~(q > np.finfo(X.dtype).tiny))
    if len(lonely):
        raise ValueError(f"X: row(s) {_checks.listed(lonely)} are similar to no row; allowed: a larger coef0")
    q /= q.sum()
    return Context(
        "masked_kernel",
        scaled(W.operator(), np.full(n, np.sqrt(1.0 / n)), 1.0 / np.sqrt(q)),
        np.full(n, 1.0 / n),
        q,
        MaskedKernelRows(rule, masks),
        output=output,
        masks=masks,
        mask_rate=float(mask_rate),
        kernel=kernel,
        bandwidth=h,
    )


class MaskedNeighborRows(Conditional):
    """New inputs are points; P(.|x) is the mean over the masks of the uniform distribution on the k nearest."""

    kind = "masked_neighbors"

    def __init__(self, A: np.ndarray, n_neighbors: int, metric: str, masks: np.ndarray) -> None:
        self.A = A
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.masks = masks

    def __call__(self, X_new: Any) -> Operator:
        X = _checks.points(X_new, "X_new", self.A)
        k = min(self.n_neighbors, len(self.A))
        C = chosen(X, self.A, k, self.metric, False, self.masks)
        return scaled(sparse(C), np.full(len(X), 1.0 / (k * len(self.masks))))

    def state(self) -> dict[str, np.ndarray]:
        k, metric = np.asarray(self.n_neighbors), np.asarray(self.metric)
        return {"A": self.A, "n_neighbors": k, "metric": metric, "masks": self.masks}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> MaskedNeighborRows:
        return cls(state["A"], int(state["n_neighbors"]), str(state["metric"]), state["masks"])


def chosen(X: np.ndarray, A: np.ndarray, k: int, metric: str, exclude_self: bool, masks: np.ndarray) -> sp.csr_array:
    """How many masks make a_j one of the k nearest of x_i, len(X) x len(A)."""
    n, m = len(X), len(A)
    indices = np.empty((n, len(masks), k), np.int32 if m < 2**31 else np.int64)
    for j, mask in enumerate(masks):
        indices[:, j] = nearest(X[:, mask], A[:, mask], k, metric, exclude_self)
    each = k * len(masks)
    indptr = np.arange(0, n * each + 1, each, dtype=np.int64)
    C = sp.csr_array((np.ones(n * each, X.dtype), indices.reshape(-1), indptr), shape=(n, m))
    C.sum_duplicates()
    return C


def masked_neighbors(
    X: Any,
    n_masks: int = 50,
    mask_rate: float = 0.2,
    n_neighbors: int = 30,
    metric: Literal["euclidean", "cosine"] = "euclidean",
    include_self: bool = True,
    seed: int = 0,
) -> Context:
    """The neighbour context of points that show only some features: W = mean over random masks of W_j, A = X.

    Parameters
    ----------
    X : array-like, n x d
        Points, each of weight 1/n; at least 2 features.
    n_masks, mask_rate, seed
        As in `masked_kernel`.
    n_neighbors, metric, include_self
        As in `neighbors`, by the visible features.

    Returns
    -------
    Context
        `masks` (n_masks, d) is True where a feature is visible. `conditional` takes new points. W is stored: at most
        n n_masks n_neighbors entries, and while it is made twice that.

    Raises
    ------
    ValueError
        A rate outside (0, 1), one feature, and as `neighbors`.

    References
    ----------
    Zhai et al., "Contextures: Representations from Contexts", ICML 2025, arXiv 2505.01557 (KNN_mask).

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> X = np.random.default_rng(0).normal(size=(60, 5))
    >>> ctx = ec.contexts.masked_neighbors(X, n_masks=10, n_neighbors=3)
    >>> W = ctx.conditional(X) @ np.eye(60)
    >>> bool(np.allclose(W.sum(axis=1), 1)), float(round(W.min(), 4)), float(round(W.max(), 4))
    (True, 0.0, 0.3333)
    """
    X, output = _checks.received(X, "X")
    X = real_array(X, "X", 2)
    check_choice(metric, "metric", METRICS)
    include_self = check_flag(include_self, "include_self")
    k = checked_neighbors(n_neighbors, len(X), include_self)
    masks = random_masks(n_masks, mask_rate, X.shape[1], seed)
    return from_choices(
        "masked_neighbors",
        chosen(X, X, k, metric, not include_self, masks),
        k * n_masks,
        lambda columns: MaskedNeighborRows(X[columns], k, metric, masks),
        output=output,
        masks=masks,
        mask_rate=float(mask_rate),
        n_neighbors=k,
        metric=metric,
        include_self=include_self,
    )
