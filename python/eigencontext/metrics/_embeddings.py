"""Embeddings as every metric takes them: checked, centred and whitened under the weights of their rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import _core
from .._arguments import check_finite
from ..contexts._base import Context
from ..objectives._base import check_weights, embedding

#: entries of a block of rows in float64, 8 MiB; beyond the outputs no more than a few of them exist at a time
_BLOCK = 1 << 20

_PP, _PQ = 1, 2  # moment_* of csrc/objectives/moments.hpp


def embeddings(value: Any, name: str, rows: int | None = None, owner: str = "") -> np.ndarray:
    """`value` as a finite (rows, d) array of float32 or float64, d >= 1."""
    array = embedding(value, name)
    if rows is not None and len(array) != rows:
        raise ValueError(f"{name}: got shape {array.shape}; allowed: {rows} rows, as many as {owner}")
    check_finite(array, name)
    return array


def shares(weights: Any, n: int) -> np.ndarray:
    """Weights of n rows, with sum 1."""
    if weights is None:
        return np.full(n, 1.0 / n)
    w = check_weights(weights, n)
    return w / w.sum()


def check_context(context: Any) -> Context:
    if not isinstance(context, Context):
        raise TypeError(f"context: got {type(context).__name__}; allowed: a context (ec.contexts)")
    return context


def spread(values: np.ndarray, kept: np.ndarray, size: int) -> np.ndarray:
    """`values` at the kept indices, 0 at the others."""
    full = np.zeros((size, *values.shape[1:]))
    full[kept] = values
    return full


def steps(array: np.ndarray) -> Iterator[slice]:
    """Rows of `array`, a block at a time."""
    step = max(1, _BLOCK // array.shape[1])
    return (slice(begin, begin + step) for begin in range(0, len(array), step))


def product(F: np.ndarray, G: np.ndarray | None = None) -> np.ndarray:
    """F^T G (F^T F without G) of float64 rows, by the engine: the same bits for any number of threads."""
    found = _core.moments(F, G, None, _PP if G is None else _PQ)
    if G is None:
        return found["pp"] + len(F) * np.outer(found["mean_phi"], found["mean_phi"])
    return found["pq"] + len(F) * np.outer(found["mean_phi"], found["mean_psi"])


def fix_signs(left: np.ndarray) -> np.ndarray:
    """+1 or -1 for each column: the entry of largest magnitude becomes positive, the first one where several tie."""
    size = np.abs(left)
    first = np.argmax(size >= (1 - 1e-6) * size.max(axis=0), axis=0)
    return np.where(np.take_along_axis(left, first[None], axis=0)[0] < 0, -1.0, 1.0)


class Whitening:
    """x -> (x - mean) transform: centred features, made orthonormal under the weights of their rows.

    Features that do not vary and directions that are linear combinations of others, both to the rounding of the data,
    are left out, so `rank` may be less than d. Done twice, as Cholesky QR is, for what squares lose.

    Cost 4 n d^2 flops, memory a few blocks of 8 MiB beyond d x d.
    """

    def __init__(self, array: np.ndarray, weights: np.ndarray, name: str) -> None:
        self.array, self.weights = array, weights
        d = array.shape[1]
        self.mean, largest = np.zeros(d), np.zeros(d)
        for rows in steps(array):
            block = array[rows].astype(np.float64, order="C")
            self.mean += np.sum(block * weights[rows, None], axis=0)
            np.maximum(largest, np.abs(block).max(axis=0), out=largest)
        correction = np.zeros(d)  # n terms are off by more than the last digits: a constant feature would seem to vary
        for rows in steps(array):
            correction += np.sum((array[rows].astype(np.float64, order="C") - self.mean) * weights[rows, None], axis=0)
        self.mean += correction
        scale = np.ldexp(1.0, -np.clip(np.frexp(largest)[1], -1000, 1000))
        self.transform = np.diag(scale)
        precision = float(np.finfo(array.dtype).eps)
        # about a mean, rounding alone looks like a deviation of no more than this
        self._divide(precision, 4 * precision * np.abs(self.mean) * scale)
        if self.rank:
            self._divide(precision, np.zeros(self.rank))
        if self.rank == 0:
            raise ValueError(f"{name}: got constant features only; allowed: at least one that varies")

    def _divide(self, precision: float, constant: np.ndarray) -> None:
        """Divides the features so far by the root of their covariance, where it has one."""
        d = len(constant)
        C = np.zeros((d, d))
        for rows in steps(self.array):
            C += product(self.block(rows))
        deviation = np.sqrt(np.diag(C))
        varies = deviation > constant
        scale = np.divide(1.0, deviation, out=np.zeros(d), where=varies)
        w, V = np.linalg.eigh(scale[:, None] * C * scale)
        lost = d * max(16 * precision**2, 8 * float(np.finfo(np.float64).eps))  # rounding of the data, or of squares
        kept = w > lost * max(w[-1], 1.0)
        self.transform = self.transform @ (scale[:, None] * V[:, kept] / np.sqrt(w[kept]))

    @property
    def rank(self) -> int:
        return self.transform.shape[1]

    def block(self, rows: slice) -> np.ndarray:
        """sqrt(w) times the whitened features of some rows."""
        return (self.centred(rows) @ self.transform) * np.sqrt(self.weights[rows, None])

    def centred(self, rows: slice) -> np.ndarray:
        """Row-major, so that products add in the same order whatever the layout of the whole."""
        return self.array[rows].astype(np.float64, order="C") - self.mean

    def columns(self, weighted: bool = True) -> np.ndarray:
        """The whitened features of all rows, (n, rank); times sqrt(w): orthonormal columns."""
        result = np.empty((len(self.array), self.rank))
        for rows in steps(self.array):
            result[rows] = self.block(rows) if weighted else self.centred(rows) @ self.transform
        return result


def functions(array: np.ndarray, mean: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """(array - mean) rotation in the type of the array, a block of rows at a time."""
    result = np.empty((len(array), rotation.shape[1]), array.dtype)
    for rows in steps(array):
        result[rows] = (array[rows].astype(np.float64, order="C") - mean) @ rotation
    return result


def image(context: Context, F: np.ndarray) -> np.ndarray:
    """M^T F, float64 (m, d), of columns over all inputs of the user; one product."""
    block = np.ascontiguousarray(F[context.rows], dtype=context.dtype)
    return np.asarray(context.operator.rmatmat(block), dtype=np.float64)
