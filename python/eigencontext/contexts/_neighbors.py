"""The k-nearest-neighbour context: W_ij = 1/k on the neighbours of x_i, found exactly by the tile engine."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

from .. import _core
from .._arguments import check_choice, check_flag, check_integer, real_array
from ..operators import Operator, scaled, sparse
from . import _checks
from ._base import Conditional, Context

METRICS = ("euclidean", "cosine")


def nearest(X: np.ndarray, A: np.ndarray, k: int, metric: str, exclude_self: bool) -> np.ndarray:
    """Indices (n, k) of the nearest rows of A, nearest first, ties to the lower index."""
    indices, _ = _core.top_k(np.ascontiguousarray(X), np.ascontiguousarray(A), k, metric, exclude_self)
    return np.asarray(indices, dtype=np.int64)


def choice(indices: np.ndarray, m: int, dtype: np.dtype) -> sp.csr_array:
    """The sparse n x m matrix with ones at the given columns."""
    n, k = indices.shape
    columns = np.sort(indices, axis=1)
    data = np.ones(n * k, dtype=dtype)
    indptr = np.arange(0, n * k + 1, k, dtype=np.int64)
    return sp.csr_array((data, columns.ravel(), indptr), shape=(n, m))


class NeighborRows(Conditional):
    """New inputs are points; P(.|x) is uniform on the k fitted points nearest to x."""

    kind = "neighbors"

    def __init__(self, A: np.ndarray, n_neighbors: int, metric: str) -> None:
        self.A = A
        self.n_neighbors = n_neighbors
        self.metric = metric

    def __call__(self, X_new: Any) -> Operator:
        X = _checks.points(X_new, "X_new", self.A)
        k = min(self.n_neighbors, len(self.A))
        C = choice(nearest(X, self.A, k, self.metric, False), len(self.A), self.A.dtype)
        return scaled(sparse(C), np.full(len(X), 1.0 / k))

    def state(self) -> dict[str, np.ndarray]:
        return {"A": self.A, "n_neighbors": np.asarray(self.n_neighbors), "metric": np.asarray(self.metric)}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> NeighborRows:
        return cls(state["A"], int(state["n_neighbors"]), str(state["metric"]))


def neighbors(
    X: Any, n_neighbors: int = 30, metric: Literal["euclidean", "cosine"] = "euclidean", include_self: bool = True
) -> Context:
    """The context that sends a point to one of its nearest neighbours, each with probability 1 / n_neighbors.

    Parameters
    ----------
    X : array-like, n x d
        Points; every one weighs 1/n.
    n_neighbors : int
        At most n (n - 1 without the point itself).
    metric : {"euclidean", "cosine"}
        Ties go to the lower index.
    include_self : bool
        Whether a point may be its own neighbour (at distance 0 it is among the nearest).

    Returns
    -------
    Context
        Points that are nobody's neighbour are no context values (reported). `conditional` takes new points, whose
        neighbours are sought among the fitted ones, whatever `include_self`.

    Notes
    -----
    Cost: 2 n^2 d flops, by tiles; nothing n x n is stored. Memory: ``n * n_neighbors * (24 + itemsize)`` bytes (half of
    that once it is made) and two copies of the points.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> X = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> ctx = ec.contexts.neighbors(X, n_neighbors=2)
    >>> np.round(ec.spectrum(ctx, k=3).singular_values, 6) + 0.0
    array([1., 0., 0.])
    """
    X, output = _checks.received(X, "X")
    X = real_array(X, "X", 2)
    check_choice(metric, "metric", METRICS)
    include_self = check_flag(include_self, "include_self")
    n = len(X)
    k = checked_neighbors(n_neighbors, n, include_self)
    return from_choices(
        "neighbors",
        choice(nearest(X, X, k, metric, not include_self), n, X.dtype),
        k,
        lambda columns: NeighborRows(X if len(columns) == n else X[columns], k, metric),
        output=output,
        n_neighbors=k,
        metric=metric,
        include_self=include_self,
    )


def checked_neighbors(n_neighbors: int, n: int, include_self: bool) -> int:
    most = n if include_self else n - 1
    if most < 1:
        raise ValueError("X: got 1 row; allowed: at least 2 where include_self is False")
    k = check_integer(n_neighbors, "n_neighbors", 1)
    if k > most:
        raise ValueError(f"n_neighbors: got {k}; allowed: 1 .. {most} (X has {n} rows, include_self={include_self})")
    return k


def from_choices(
    name: str, C: sp.csr_array, each: int, rule: Callable[[np.ndarray], Conditional], **attributes: Any
) -> Context:
    """Of points that choose `each` points, C_ij times j: W = C / each, p uniform. `rule` is that of given columns."""
    n = C.shape[0]
    popularity = _checks.column_sums(C)
    columns = np.flatnonzero(popularity)
    if len(columns) < n:
        warnings.warn(
            f"X: {n - len(columns)} point(s) are nobody's neighbour: no context values, function value 0 there "
            "(see empty_columns of the context)",
            UserWarning,
            stacklevel=3,
        )
        C = C[:, columns]
    q = popularity[columns] / (n * each)
    return Context(
        name,
        scaled(sparse(C), np.full(n, np.sqrt(1.0 / n) / each), 1.0 / np.sqrt(q)),
        np.full(n, 1.0 / n),
        q,
        rule(columns),
        columns=columns,
        n_columns=n,
        **attributes,
    )
