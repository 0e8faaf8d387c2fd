"""Dual kernels on a batch: what KISE and chains multiply by. None is ever stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse

from .. import _device
from .._arguments import check_choice, check_flag, check_number, real_array
from ..operators import KERNELS, Operator, as_operator, kernel_arguments, origin, pairwise
from ._base import RowTerms, check_labels, device_of, empty_like, on_host, placed

KERNEL_OPTIONS = ("kernel", "bandwidth", "degree", "coef0")
_PIECE = 1 << 18  # rows of one call of the engine, which keeps a few vectors for every 512 of them


def engine_of(array: Any) -> Any:
    """What computes where `array` is."""
    return _device.engine(device_of(array))


def column_means(A: Any) -> np.ndarray:
    """The means of the columns, float64."""
    total = np.zeros(A.shape[1])
    for begin in range(0, A.shape[0], _PIECE):
        piece = A[begin : begin + _PIECE]
        total += engine_of(A).moments(piece, None, None, 0)["mean_phi"] * (piece.shape[0] / A.shape[0])
    return total


def combined(terms: RowTerms, b: Any, c: Any = None, means=(None, None), weights: np.ndarray | None = None) -> Any:
    """The rows that `terms` makes of the rows of b and c (csrc/objectives/rows.hpp), as a new array."""
    out = empty_like(b)
    written(out, terms, b, c, means, weights)
    return out


def written(
    out: Any, terms: RowTerms, b: Any, c: Any = None, means=(None, None), weights=None, accumulate: bool = False
) -> bool:
    """Writes them to `out`, or adds them there. Whether all that was written is finite."""
    c = b[:, :0] if c is None else c
    return engine_of(b).gradient_rows(b, c, *means, weights, None, True, vars(terms), {}, out, None, accumulate)


def centred(A: Any, mean: np.ndarray) -> Any:
    """A - mean, row-major and in the dtype of A."""
    return combined(RowTerms(phi=(1.0, 0.0, 0.0)), A, means=(mean, None))


def scaled_rows(A: Any, w: np.ndarray) -> Any:
    """w_i times row i, as a new array."""
    return combined(RowTerms(phi=(0.0, 1.0, 0.0)), A, weights=w)


def write_rows(A: Any, out: Any, accumulate: bool = False) -> bool:
    """out = A, or out += A, row after row; `out` may have views. Whether all of it is finite."""
    if out.ndim == 3:
        views = range(out.shape[1])
        return all([write_rows(A[j :: len(views)], out[:, j], accumulate) for j in views])
    return written(out, RowTerms(phi=(1.0, 0.0, 0.0)), A, accumulate=accumulate)


def matrix_of_views(views: _device.View) -> _device.View:
    """The rows (N r, d) of all views (N, r, d): where they are if they follow each other evenly, else a copy."""
    n, r, d = views.shape
    by_input, by_view, by_column = views.at.strides
    if by_input == r * by_view:
        at = np.lib.stride_tricks.as_strided(views.at, (n * r, d), (by_view, by_column))
        return _device.View(at, views.owner, views.stream)
    rows = _device.View.zeros((n * r, d), views.dtype)
    for j in range(r):
        write_rows(views[:, j], rows[j::r])
    return rows


def weighted_sum(A: Any, B: Any, w: np.ndarray) -> float:
    """sum_i w_i <a_i, b_i> in float64."""
    total = 0.0
    for begin in range(0, A.shape[0], _PIECE):
        rows = slice(begin, begin + _PIECE)
        m = engine_of(A).moments(A[rows], B[rows], w[rows], 16)  # moment_pairs: sums about the means
        a, b = m["mean_phi"], m["mean_psi"]
        about = m["products"] + a * m["weighted_psi"] + b * m["weighted_phi"] + m["weight"] * a * b
        total += float(about.sum())
    return total


def matvec(K: Operator, v: np.ndarray) -> np.ndarray:
    """K v, both on the host."""
    column = np.ascontiguousarray(v[:, None], K.dtype)
    return _device.on_host(K.matmat(placed(column, K.device)))[:, 0]


def kernel_operator(X: Any, A: Any, options: Mapping[str, Any], dtype: np.dtype, name: str = "X") -> Operator:
    """The tiles of k(x_i, a_j) in `dtype`; A None is X."""
    kernel = check_choice(options.get("kernel", "rbf"), "kernel", KERNELS)
    bandwidth = options.get("bandwidth")
    if kernel in ("rbf", "laplacian"):
        if bandwidth is None or isinstance(bandwidth, str):
            raise ValueError(
                f"bandwidth: got {bandwidth!r}; allowed: a number > 0 (the median of a batch would change from "
                "batch to batch)"
            )
    X, A, h, degree, coef0 = kernel_arguments(
        X, A, kernel, bandwidth, options.get("degree", 3), options.get("coef0", 1.0)
    )
    X, A = (_device.View.of(points) if _device.is_on_device(points) else points for points in (X, A))
    if dtype != X.dtype and kernel in ("rbf", "laplacian"):  # before digits are lost
        middle = column_means(X) if isinstance(X, _device.View) else origin(X)
        X, A = centred(X, middle), None if A is None else centred(A, middle)
    return pairwise(
        X.astype(dtype, copy=False),
        None if A is None else A.astype(dtype, copy=False),
        kernel,
        1.0 if h is None else h,
        degree,
        coef0,
    )


class RawKernel:
    """K_ij = k(x_i, x_j) of a kernel with values of at most 1."""

    def __init__(self, K: Operator):
        self.K = K

    def times(self, B: Any) -> Any:
        return self.K.matmat(B)

    def diagonal(self) -> np.ndarray:
        return self.K._engine.diagonal()[0]


class WalkKernel:
    """W D_q^{-1} W^T, W the kernel with rows of sum 1 and q the column means of W: the dual kernel of a random walk."""

    def __init__(self, K: Operator):
        self.K = K
        exact, n = K.astype(np.float64), K.shape[0]
        self.r = matvec(exact, np.ones(n))
        if not (self.r > 0).all():
            raise ValueError(f"X: got a row whose kernel values are all 0 ([{int(self.r.argmin())}]); allowed: none")
        self.q = matvec(exact, 1.0 / self.r) / n

    def times(self, B: Any) -> Any:
        middle = scaled_rows(self.K.matmat(scaled_rows(B, 1.0 / self.r)), 1.0 / self.q)
        return scaled_rows(self.K.matmat(middle), 1.0 / self.r)

    def diagonal(self) -> np.ndarray:
        return matvec(squared_kernel(self.K), 1.0 / self.q) / self.r / self.r


def squared_kernel(K: Operator) -> Operator:
    """The operator of k(x, a)^2, float64: again one of the four kernels."""
    X, A, kind, h, degree, coef0 = K._recipe[1][:6]
    X = X.astype(np.float64)
    if kind == "rbf":
        h = h / math.sqrt(2)
    elif kind == "laplacian":
        h = h / 2
    elif kind == "polynomial":
        degree = 2 * degree
    else:  # ((1 + cos)/2)^2 is a polynomial kernel of the normalised rows
        rows = _device.on_host(X)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        X = placed(rows / np.where(norms == 0, 1.0, norms) * math.sqrt(X.shape[1] / 2), K.device)
        kind, degree, coef0 = "polynomial", 2, 0.5
    return pairwise(X, A, kind, h, degree, coef0)


class LabelKernel:
    """k(i, j) = [y_i = y_j] n / n_y."""

    def __init__(self, numbers: np.ndarray, share: np.ndarray):
        self.numbers, self.share = numbers, share  # class of each row; n_y / n of each class

    def times(self, B: Any) -> Any:
        if device_of(B) != "cpu":  # by the sparse matrix of indicators
            n = len(self.numbers)
            ones = scipy.sparse.csr_array((np.ones(n, B.dtype), self.numbers, np.arange(n + 1)), (n, len(self.share)))
            indicators = as_operator(ones).to("cuda")
            return indicators.matmat(scaled_rows(indicators.rmatmat(B), 1 / self.share))
        order = np.argsort(self.numbers, kind="stable")
        ordered = self.numbers[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        present = ordered[starts]
        sums = np.zeros((len(self.share), B.shape[1]))
        sums[present] = np.add.reduceat(B[order], starts, axis=0, dtype=np.float64)
        return (sums / self.share[:, None]).astype(B.dtype)[self.numbers]

    def diagonal(self) -> np.ndarray:
        return 1.0 / self.share[self.numbers]


class TeacherKernel:
    """k = 1 + F F^T, F the functions mu_i of a teacher's embedding times r_i (centred; THEORY 2)."""

    def __init__(self, Z: Any, threshold: float | None, relative: bool, dtype: np.dtype):
        n = Z.shape[0]
        if device_of(Z) == "cpu":
            Z = np.asarray(Z, np.float64)
            U, s, _ = np.linalg.svd(Z - Z.mean(axis=0), full_matrices=False)
            r = _teacher_weights(s, np.finfo(np.float64).eps * max(Z.shape), threshold, relative)
            self.F = np.ascontiguousarray(U[:, r > 0] * (math.sqrt(n) * r[r > 0]), dtype)
            return
        # There by the Gram matrix, in float64: what it loses, directions below 1e-7 S_1, has no weight in the kernel.
        Z = _device.View.of(Z).astype(np.result_type(_device.dtype_of(Z), dtype))  # F is rounded to its dtype
        moments = engine_of(Z).moments(Z, None, None, 1)
        if not np.isfinite(moments["pp"]).all():
            _device.check_finite(Z, "teacher")
            raise OverflowError("teacher: got an embedding whose squares do not fit float64")
        squares, V = np.linalg.eigh(moments["pp"])
        s = np.sqrt(np.maximum(squares[::-1], 0.0))
        r = _teacher_weights(s, math.sqrt(np.finfo(np.float64).eps * max(Z.shape)), threshold, relative)
        P = V[:, ::-1] * (math.sqrt(n) * np.divide(r, s, out=np.zeros_like(s), where=r > 0))
        self.F = combined(RowTerms(P=np.ascontiguousarray(P)), Z, means=(moments["mean_phi"], None)).astype(dtype)

    def times(self, B: Any) -> Any:
        """For centred B, which the constant does not see."""
        product = np.zeros((self.F.shape[1], B.shape[1]))
        for begin in range(0, B.shape[0], _PIECE):
            rows = slice(begin, begin + _PIECE)
            part = engine_of(B).moments(self.F[rows], B[rows], None, 2)
            product += part["pq"] + B[rows].shape[0] * np.outer(part["mean_phi"], part["mean_psi"])
        return combined(RowTerms(Q=product), B, self.F)

    def diagonal(self) -> np.ndarray:
        F = _device.on_host(self.F)
        return 1.0 + np.einsum("ij,ij->i", F, F, dtype=np.float64)


def _teacher_weights(s: np.ndarray, least: float, threshold: float | None, relative: bool) -> np.ndarray:
    """r_i of the singular values s (descending); 0 where they are at most `least` of the first, which is rounding."""
    kept = s > least * s[0]
    if not kept.any():
        raise ValueError("teacher: got rows that are all equal; allowed: an embedding that varies")
    relative_s = s / s[0]
    r = relative_s if threshold is None else ((relative_s if relative else s) >= threshold).astype(np.float64)
    r = np.where(kept, r, 0.0)
    if not r.any():
        raise ValueError(f"threshold: got {threshold:g}; allowed: at most {1.0 if relative else s[0]:g}")
    return r


def dual_kernel(
    n: int, dtype: np.dtype, X: Any, labels: Any, teacher: Any, dual: str, options: Mapping[str, Any],
    threshold: float | None = None, relative: bool = False, device: str = "cpu",
):  # fmt: skip
    """The dual kernel on a batch of n rows, from one of X, labels and teacher."""
    given = {"X": X, "labels": labels, "teacher": teacher}
    names = [name for name, value in given.items() if value is not None]
    if len(names) != 1:
        raise ValueError(f"X, labels, teacher: got {', '.join(names) or 'none'}; allowed: exactly one of them")
    check_choice(dual, "dual", ("raw", "walk"))
    if names == ["X"]:
        K = kernel_operator(X, None, options, dtype)
        _agree(K.shape[0], n, "X")
        _device.one_device({K.device, device}, "phi, X")
        if dual == "walk":
            return WalkKernel(K)
        if options.get("kernel") == "polynomial":
            raise ValueError(
                "dual: got 'raw' with the polynomial kernel; allowed: 'walk' (its values exceed 1, so the loss would "
                "be unbounded below)"
            )
        return RawKernel(K)
    if names == ["labels"]:
        return LabelKernel(*_classes(labels, n))
    check_flag(relative, "relative")
    if threshold is not None:
        threshold = check_number(threshold, "threshold", 0, open_low=True)
    there = device != "cpu" and _device.is_on_device(teacher)
    Z = _device.array(teacher, "teacher", 2) if there else real_array(on_host(teacher), "teacher", 2)
    _agree(Z.shape[0], n, "teacher")
    return TeacherKernel(placed(Z, device), threshold, relative, dtype)


def _classes(labels: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The class of each row and the classes' shares: of the batch, or of the data of a fitted context."""
    if isinstance(labels, tuple) and len(labels) == 2 and hasattr(labels[0], "sample"):
        context, rows = labels
        if getattr(context, "kind", "labels") != "labels":
            raise TypeError(f"labels: got a context of kind {context.kind!r}; allowed: ec.contexts.labels(y)")
        rows = np.asarray(on_host(rows))
        if rows.shape != (n,):
            raise ValueError(f"labels: got row numbers of shape {rows.shape}; allowed: ({n},), one for each row of phi")
        return np.asarray(context.sample(rows)).reshape(-1), context.p_a
    numbers, counts = check_labels(labels, "labels", n)
    return numbers, counts / n


def _agree(rows: int, n: int, name: str) -> None:
    if rows != n:
        raise ValueError(f"{name}: got {rows} rows; allowed: {n}, as phi has")
