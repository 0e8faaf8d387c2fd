"""Kernel contexts: W_ij = k(x_i, a_j) / sum_j k(x_i, a_j), nothing n x m ever stored."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

import numpy as np

from .. import _device
from .._arguments import check_choice
from ..operators import Kernel, Operator, kernel_arguments, origin, pairwise, scaled
from . import _checks
from ._base import Conditional, Context

#: up to this many kernel evaluations times features, row sums of float32 data are taken from a float64 kernel
_SMALL = 1 << 33


class KernelRows(Conditional):
    """New inputs are points; P(.|x) is proportional to k(x, a_j)."""

    kind = "kernel"

    def __init__(
        self, A: np.ndarray, centre: np.ndarray | None, kernel: str, bandwidth: float, degree: int, coef0: float
    ) -> None:
        self.A = A
        self.centre = centre
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.degree = degree
        self.coef0 = coef0

    def raw(self, X: np.ndarray, A: np.ndarray | None) -> Operator:
        there, a = (x if x is None or self.like is None else _device.Moved(x, self.like) for x in (X, A))
        return pairwise(there, a, self.kernel, self.bandwidth, self.degree, self.coef0)

    def points(self, X_new: Any) -> np.ndarray:
        """New points as the operator takes them."""
        X = shifted(_checks.points(X_new, "X_new", self.A), self.centre)
        if self.kernel == "rbf":
            require_squares("X_new", X, self.bandwidth)
        return X

    def __call__(self, X_new: Any) -> Operator:
        X = self.points(X_new)
        sums = kernel_sums(self, X, self.A)
        require_mass("X_new", sums)
        return scaled(self.raw(X, self.A), 1.0 / sums, None)

    def state(self) -> dict[str, np.ndarray]:
        state = {
            "A": self.A,
            "kernel": np.asarray(self.kernel),
            "bandwidth": np.asarray(self.bandwidth, dtype=np.float64),
            "degree": np.asarray(self.degree),
            "coef0": np.asarray(self.coef0, dtype=np.float64),
        }
        return state if self.centre is None else {**state, "centre": self.centre}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> KernelRows:
        return cls(
            state["A"],
            state.get("centre"),
            str(state["kernel"]),
            float(state["bandwidth"]),
            int(state["degree"]),
            float(state["coef0"]),
        )


def kernel(
    X: Any,
    A: Any = None,
    kernel: Kernel = "rbf",
    bandwidth: float | str | None = "median",
    degree: int = 3,
    coef0: float = 1.0,
    marginal: Literal["uniform", "stationary"] = "uniform",
) -> Context:
    """The context that sends a point to points that a kernel calls similar: W_ij = k(x_i, a_j) / sum_j k(x_i, a_j).

    Parameters
    ----------
    X : array-like, n x d
        Inputs.
    A : array-like, m x d, optional
        Context values; X itself by default.
    kernel : {"rbf", "laplacian", "cosine", "polynomial"}
        exp(-|x-a|^2 / (2 h^2)); exp(-|x-a|_1 / h); (1 + cos(x, a))/2; max(0, x.a/d + coef0)^degree.
    bandwidth : float or "median"
        h of rbf and laplacian. "median": the median distance (L2, L1) over pairs of at most 1000 rows. The value used
        is the attribute `bandwidth`. cosine and polynomial have none and refuse a number.
    degree, coef0
        Of the polynomial kernel.
    marginal : {"uniform", "stationary"}
        p_x: every input weighs 1/n (M is then not symmetric), or in proportion to its row sum of the kernel
        (A = X only; M = D_r^{-1/2} K D_r^{-1/2} is symmetric).

    Returns
    -------
    Context
        `conditional` takes new points.

    Notes
    -----
    Cost: a pass over the n m entries of the kernel for the row sums, one for the column sums ("uniform"), and one with
    every product; 2 d + 20 flops an entry or so. Memory: the points three times (of rbf the centred ones, and twice as
    the tiles want them), and a tile for each thread.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> X = np.linspace(0, 1, 50)[:, None]
    >>> ctx = ec.contexts.kernel(X, bandwidth=0.3)
    >>> ctx.shape, ctx.bandwidth
    ((50, 50), 0.3)
    """
    _checks.on_one_device({"X": X, "A": A})
    X, output = _checks.received(X, "X")
    A = _checks.received(A, "A")[0]
    check_choice(marginal, "marginal", ("uniform", "stationary"))
    if A is not None and marginal == "stationary":
        raise ValueError("marginal: got 'stationary' together with A; allowed: 'uniform', or A = X by leaving A out")
    X, A, h, degree, coef0 = kernel_arguments(X, A, kernel, bandwidth, degree, coef0)
    # one origin for both: |x|^2 + |a|^2 - 2 x.a cancels less the closer the data are to it
    centre = origin(X) if kernel == "rbf" else None
    X = shifted(X, centre)
    A = None if A is None else shifted(A, centre)
    rule = KernelRows(X if A is None else A, centre, kernel, 1.0 if h is None else h, degree, coef0)
    rule.like = getattr(output, "like", None)
    make = _stationary if marginal == "stationary" else _uniform
    return make(rule, X, A, output=output, kernel=kernel, bandwidth=h, marginal=marginal)


def _stationary(rule: KernelRows, X: np.ndarray, A: None, **attributes: Any) -> Context:
    """p = r / sum(r), M = D_r^{-1/2} K D_r^{-1/2}."""
    sums = kernel_sums(rule, X, None)
    require_mass("X", sums)
    root = 1.0 / np.sqrt(sums)
    p = sums / sums.sum()
    operator = scaled(rule.raw(X, None), root, root)
    return Context("kernel", operator, p, p, rule, **attributes)


def _uniform(rule: KernelRows, X: np.ndarray, A: np.ndarray | None, **attributes: Any) -> Context:
    """p = 1/n, q = K^T (1/(n r)), M = D_p^{1/2} D_r^{-1} K D_q^{-1/2}."""
    n = len(X)
    sums = kernel_sums(rule, X, A)
    require_mass("X", sums)
    weights = 1.0 / (n * sums)
    q = kernel_sums(rule, X, A, weights)
    q = q / q.sum()
    n_columns = len(q)
    columns = np.flatnonzero(q > np.finfo(X.dtype).tiny)
    if len(columns) < n_columns:
        warnings.warn(
            f"A: {n_columns - len(columns)} point(s) are similar to no input: left out of the operator, function value "
            "0 there (see empty_columns of the context)",
            UserWarning,
            stacklevel=3,
        )
        A = (X if A is None else A)[columns]
        q = q[columns]
        rule.A = A
    operator = scaled(rule.raw(X, A), 1.0 / (np.sqrt(n) * sums), 1.0 / np.sqrt(q))
    return Context(
        "kernel",
        operator,
        np.full(n, 1.0 / n),
        q,
        rule,
        columns=columns,
        n_columns=n_columns,
        **attributes,
    )


def kernel_sums(rule: KernelRows, X: np.ndarray, A: np.ndarray | None, weights: np.ndarray | None = None) -> np.ndarray:
    """K 1, or K^T weights: one product, with a float64 kernel unless that would be long."""
    m = len(X) if A is None else len(A)
    if X.dtype == np.float32 and len(X) * m * X.shape[1] <= _SMALL:
        X, A = X.astype(np.float64), None if A is None else A.astype(np.float64)
    raw = rule.raw(X, A)
    if weights is None:
        return raw.on_host(np.ones((m, 1), dtype=X.dtype))[:, 0].astype(np.float64)
    return raw.on_host(weights[:, None].astype(X.dtype), transposed=True)[:, 0].astype(np.float64)


def shifted(X: np.ndarray, centre: np.ndarray | None) -> np.ndarray:
    return X if centre is None else np.subtract(X, centre, dtype=np.float64).astype(X.dtype)


def require_squares(name: str, X: np.ndarray, scale: float) -> None:
    """That |x / scale|^2 is a number, at new inputs: the engine would blame the scale."""
    top = float(np.abs(X).max()) / scale
    if not math.isfinite(4 * top * top * X.shape[1]):
        raise ValueError(
            f"{name}: got entries up to {top:.3g} times the bandwidth (or sigma) from the data; allowed: points whose "
            "squared distances do not overflow"
        )


def require_mass(name: str, sums: np.ndarray) -> None:
    if not np.isfinite(sums).all():
        rows = np.flatnonzero(~np.isfinite(sums))
        raise ValueError(
            f"{name}: the kernel values of row(s) {_checks.listed(rows)} overflow; allowed: smaller entries (or a "
            "smaller degree or coef0)"
        )
    if not (sums > 0).all():
        rows = np.flatnonzero(~(sums > 0))
        raise ValueError(
            f"{name}: row(s) {_checks.listed(rows)} have kernel value 0 with every context point: P(.|x) is undefined; "
            "allowed: rows with a positive sum (a larger bandwidth or coef0 helps)"
        )
