"""Contexts given by counts: a table of co-occurrences, or the adjacency matrix of a graph. P = C / sum(C)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from .._arguments import check_number, is_sparse
from ..operators import Operator, dense, scaled, sparse
from . import _checks
from ._base import Conditional, Context, Refused

#: counts whose largest entry is outside are divided by it, so that no sum or product can over- or underflow
_COMFORTABLE = {np.dtype(np.float32): (1e-12, 1e12), np.dtype(np.float64): (1e-100, 1e100)}


def stored(matrix: np.ndarray | sp.csr_array) -> Operator:
    return sparse(matrix) if is_sparse(matrix) else dense(matrix)


class CountRows(Conditional):
    """New inputs are rows of counts over the columns the context was fitted with."""

    kind = "counts"

    def __init__(self, columns: np.ndarray, n_columns: int) -> None:
        self.columns = columns
        self.n_columns = n_columns

    def __call__(self, X_new: Any) -> Operator:
        matrix = _checks.nonnegative(_checks.real_matrix(X_new, "X_new"), "X_new")
        if matrix.shape[1] != self.n_columns:
            raise ValueError(f"X_new: got {matrix.shape[1]} columns; allowed: {self.n_columns}, as were fitted")
        if len(self.columns) < self.n_columns:
            matrix = matrix[:, self.columns]
        sums = _checks.row_sums(matrix)
        if not sums.all():
            rows = np.flatnonzero(sums == 0)
            raise ValueError(
                f"X_new: row(s) {_checks.listed(rows)} have no mass on the fitted columns; allowed: rows with some"
            )
        return scaled(stored(matrix), 1.0 / sums, None)

    def state(self) -> dict[str, np.ndarray]:
        return {"columns": self.columns, "n_columns": np.asarray(self.n_columns)}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> CountRows:
        return cls(state["columns"], int(state["n_columns"]))


class LazyRows(CountRows):
    """New nodes of an undirected lazy graph: rows of the walk without the lazy step, whose loop no new node has.

    With the triplets (mu, s, nu) of the lazy walk, (mu + nu)/2 and (mu - nu)/2 are eigenfunctions of it, of eigenvalues
    s and -s, and hence of the walk itself, of eigenvalues (+-s - lazy)/(1 - lazy), by which they are extended.
    """

    kind = "lazy_graph"

    def __init__(self, columns: np.ndarray, n_columns: int, lazy: float) -> None:
        super().__init__(columns, n_columns)
        self.lazy = lazy

    def mixed(self) -> Conditional:
        return Refused(
            "got new nodes for a lazy graph inside a mixture or a convolution, which lead to themselves, no fitted "
            "context value; allowed: the graph by itself, or lazy=0"
        )

    def extension(
        self, left: np.ndarray, right: np.ndarray, s: np.ndarray, limit: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        R, extended = np.zeros_like(right), np.zeros(len(s))
        for sign in (1.0, -1.0):
            part = (left + sign * right) / 2
            square = weights @ part**2
            shifted = sign * s - self.lazy
            good = np.abs(shifted) * np.sqrt(square) > limit
            R += part * np.where(good, (1.0 - self.lazy) / np.where(good, shifted, 1.0), 0.0)
            extended += np.where(good, square, 0.0)
        return np.where(extended > 0.5, s * R, 0.0)

    def state(self) -> dict[str, np.ndarray]:
        return {**super().state(), "lazy": np.asarray(self.lazy)}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> LazyRows:
        return cls(state["columns"], int(state["n_columns"]), float(state["lazy"]))


def counts(C: Any) -> Context:
    """The context of co-occurrence counts, or of a joint distribution: P = C / sum(C).

    Parameters
    ----------
    C : array-like or scipy.sparse matrix, n x m
        Non-negative. Rows are inputs, columns context values. Multiples of C give the same context. A float32 or
        float64 array is viewed, not copied.

    Returns
    -------
    Context
        Empty rows and columns are left out of the operator (with a UserWarning); the singular functions are 0 there.
        `conditional` takes rows of counts over the same columns.

    Notes
    -----
    Cost: two passes over C. Memory: n + m float64 beyond C, and a copy where C is not float32 or float64 or (sparse)
    not CSR; of a sparse one a transposed copy too, where a quarter of the memory available holds it.

    Examples
    --------
    A binary symmetric channel with flip probability 0.1 has s_1 = 1 - 2 * 0.1:

    >>> import eigencontext as ec
    >>> ctx = ec.contexts.counts([[9, 1], [1, 9]])
    >>> float(round(ec.spectrum(ctx, k=1).singular_values[0], 6))
    0.8
    """
    C, output = _checks.received(C, "C")
    matrix = _checks.nonnegative(_checks.real_matrix(C, "C"), "C")
    return from_counts("counts", "C", matrix, output=output)


def graph(adjacency: Any, *, lazy: float = 0.0) -> Context:
    """The context node -> neighbour of a graph, weighted or not, directed or not.

    Parameters
    ----------
    adjacency : array-like or scipy.sparse matrix, n x n
        Entry (i, j) is the non-negative weight of the edge from i to j.
    lazy : float in [0, 1)
        The walk stays where it is with this probability: W becomes (1 - lazy) W + lazy I. Singular values of an
        undirected graph are |lambda| of its walk's eigenvalues: the parity of a bipartite graph, lambda = -1, has
        s = 1. With lazy=0.5 they are (1 + lambda)/2, which orders by the sign too. In a directed graph p stays what it
        is, p_a becomes (1 - lazy) p_a + lazy p_x, and every node needs an outgoing edge.

    Returns
    -------
    Context
        Nodes without an outgoing edge are no inputs, nodes without an incoming edge are no context values; both are
        reported, and the singular functions are 0 there. `isolated` lists the nodes without any edge. `conditional`
        takes rows of edge weights from a new node to the fitted ones. A new node has no loop to itself: of a lazy
        undirected graph (a symmetric matrix), `conditional` gives the walk without the lazy step, and
        `Spectrum.transform` divides by that walk's eigenvalues; a lazy directed graph, or a lazy graph inside a
        mixture or convolution, refuses new nodes.

    Examples
    --------
    The walk on a ring of 6 nodes has the singular values |cos(2 pi j / 6)|:

    >>> import numpy as np, eigencontext as ec
    >>> ring = np.roll(np.eye(6), 1, axis=1) + np.roll(np.eye(6), -1, axis=1)
    >>> np.round(ec.spectrum(ec.contexts.graph(ring), k=5).singular_values, 6) + 0.0
    array([1. , 0.5, 0.5, 0.5, 0.5])
    """
    if hasattr(adjacency, "nodes") and hasattr(adjacency, "edges"):
        raise TypeError(
            f"adjacency: got a {type(adjacency).__name__}; allowed: a matrix, as "
            "networkx.to_scipy_sparse_array(G) makes one"
        )
    adjacency, output = _checks.received(adjacency, "adjacency")
    matrix = _checks.nonnegative(_checks.real_matrix(adjacency, "adjacency"), "adjacency")
    n, m = matrix.shape
    if n != m:
        hint = " (of an edge list: scipy.sparse.coo_array((weights, (i, j)), shape=(n, n)))" if m in (2, 3) else ""
        raise ValueError(f"adjacency: got shape {matrix.shape}; allowed: a square matrix{hint}")
    lazy = check_number(lazy, "lazy", 0.0, 1.0, open_high=True)
    rule = _lazy_rule(matrix, lazy) if lazy else CountRows
    out, into = _checks.row_sums(matrix), _checks.column_sums(matrix)
    isolated = np.flatnonzero((out == 0) & (into == 0))
    if lazy:
        sinks = np.flatnonzero((out == 0) & (into > 0))
        if len(sinks):
            raise ValueError(f"adjacency: node(s) {_checks.listed(sinks)} have no outgoing edge, which lazy > 0 needs")
        # P' = (1 - t) P + t D_p, so p stays and q' = (1 - t) q + t p
        loops = (lazy * out).astype(matrix.dtype)
        if is_sparse(matrix):
            matrix = sp.csr_array((1.0 - lazy) * matrix + sp.diags_array(loops, format="csr")).astype(matrix.dtype)
        else:
            matrix = ((1.0 - lazy) * matrix + np.diag(loops)).astype(matrix.dtype)
    return from_counts("graph", "adjacency", matrix, output=output, isolated=isolated, lazy=lazy, rule=rule)


def _lazy_rule(matrix: np.ndarray | sp.csr_array, lazy: float) -> Callable[[np.ndarray, int], Conditional]:
    symmetric = (matrix != matrix.T).nnz == 0 if is_sparse(matrix) else np.array_equal(matrix, matrix.T)
    if symmetric:
        return lambda columns, size: LazyRows(columns, size, lazy)
    return lambda columns, size: Refused(
        "got new nodes for a lazy directed graph, which lead to themselves, no fitted context value; allowed: none, or "
        "lazy=0"
    )


def from_counts(
    name: str,
    argument: str,
    matrix: np.ndarray | sp.csr_array,
    rule: Callable[[np.ndarray, int], Conditional] = CountRows,
    **attributes: Any,
) -> Context:
    matrix = comfortable(argument, matrix)
    n, m = matrix.shape
    row_mass, column_mass = _checks.row_sums(matrix), _checks.column_sums(matrix)
    rows, columns = np.flatnonzero(row_mass), np.flatnonzero(column_mass)
    report_empty(argument, n - len(rows), m - len(columns))
    if len(rows) < n:
        matrix = matrix[rows]
    if len(columns) < m:
        matrix = matrix[:, columns]
    total = row_mass.sum()
    p = row_mass[rows] / total
    q = column_mass[columns] / total
    operator = scaled(stored(matrix), 1.0 / (np.sqrt(p) * total), 1.0 / np.sqrt(q))
    return Context(
        name,
        operator,
        p,
        q,
        rule(columns, m),
        rows=rows,
        columns=columns,
        n_rows=n,
        n_columns=m,
        **attributes,
    )


def comfortable(argument: str, matrix: Any) -> np.ndarray | sp.csr_array:
    values = _checks.stored_values(matrix)
    largest = float(values.max()) if values.size else 0.0
    if largest == 0.0:
        raise ValueError(f"{argument}: every entry is 0; allowed: at least one positive entry")
    low, high = _COMFORTABLE[np.dtype(matrix.dtype)]
    if low <= largest <= high:
        return matrix
    scaled_values = values / np.asarray(largest, dtype=values.dtype)
    if not is_sparse(matrix):
        return scaled_values
    return sp.csr_array((scaled_values, matrix.indices, matrix.indptr), shape=matrix.shape)


def report_empty(argument: str, n_rows: int, n_columns: int) -> None:
    parts = [f"{n} {what}" for n, what in ((n_rows, "empty row(s)"), (n_columns, "empty column(s)")) if n]
    if parts:
        warnings.warn(
            f"{argument} has {' and '.join(parts)}: left out of the operator, function value 0 there "
            "(see empty_rows and empty_columns of the context)",
            UserWarning,
            stacklevel=4,
        )
