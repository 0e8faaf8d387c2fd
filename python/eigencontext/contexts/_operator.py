"""Bring your own context: any linear operator that is W, P or M, with its marginals checked by one product each."""

from __future__ import annotations

import warnings
from typing import Any, Literal, get_args

import numpy as np
import scipy.sparse as sp

from .. import _device
from .._arguments import check_choice, is_sparse, unchanged, vector
from ..operators import Operator, as_operator, dense, product, scaled, sparse
from . import _checks
from ._base import Conditional, Context

Form = Literal["conditional", "joint", "normalized"]
_FORMS: tuple[str, ...] = get_args(Form)


class GivenRows(Conditional):
    """New inputs are rows of P(.|x) over the context values."""

    kind = "operator"

    def __init__(self, columns: np.ndarray, n_columns: int) -> None:
        self.columns = columns
        self.n_columns = n_columns

    def __call__(self, X_new: Any) -> Operator:
        matrix = _checks.real_matrix(X_new, "X_new")
        if matrix.shape[1] != self.n_columns:
            raise ValueError(f"X_new: got {matrix.shape[1]} columns; allowed: {self.n_columns}, one a context value")
        _checks.close_to_one(_checks.row_sums(matrix), "X_new: row sums differ from 1", matrix.dtype)
        if len(self.columns) < self.n_columns:
            matrix = matrix[:, self.columns]
        return sparse(matrix) if is_sparse(matrix) else dense(matrix)

    def state(self) -> dict[str, np.ndarray]:
        return {"columns": self.columns, "n_columns": np.asarray(self.n_columns)}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> GivenRows:
        return cls(state["columns"], int(state["n_columns"]))


def operator(L: Any, p_x: Any, p_a: Any = None, form: Form = "conditional") -> Context:
    """A context from any linear operator.

    Parameters
    ----------
    L : array-like, scipy.sparse matrix, LinearOperator or object with matmat and rmatmat, n x m
    p_x : array-like, (n,)
        Weights of the inputs: positive, sum 1.
    p_a : array-like, (m,), optional
        Weights of the context values; computed from L and p_x where not given, compared with that where given.
    form : {"conditional", "joint", "normalized"}
        What L is: W = P(a|x), whose rows sum to 1; P; or M = D_p^{-1/2} P D_q^{-1/2}.

    Returns
    -------
    Context
        `conditional` takes rows of P(.|x). The sums are checked to sqrt(eps) of the operator's type, and where L is
        stored, its entries too: negative ones beyond rounding are a ValueError. (Where it is not, `ec.spectrum` warns
        of singular values above 1, which no joint distribution has.)

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> W = np.array([[0.9, 0.1], [0.1, 0.9]])
    >>> ctx = ec.contexts.operator(W, [0.5, 0.5])
    >>> ctx.p_a
    array([0.5, 0.5])
    """
    check_choice(form, "form", _FORMS)
    if isinstance(L, Operator):
        output = L.output() if L.device == "cuda" else unchanged
    else:
        _checks.on_one_device({"L": L, "p_x": p_x, "p_a": p_a})
        L, output = _checks.received(L, "L")
    p_x, p_a = (_checks.received(weights, name)[0] for weights, name in ((p_x, "p_x"), (p_a, "p_a")))
    op = as_operator(L, "L")
    _no_negative_entries(op)
    n, m = op.shape
    dtype = np.dtype(op.dtype)
    p = _weights(p_x, "p_x", n, dtype)
    if (p <= 0).any():
        raise ValueError(f"p_x: got 0 at {_checks.listed(np.flatnonzero(p <= 0))}; allowed: positive weights")
    left, right_of, q = {"conditional": _conditional, "joint": _joint, "normalized": _normalized}[form](op, p)
    if (q < 0).any():
        raise ValueError(f"L: column(s) {_checks.listed(np.flatnonzero(q < 0))} get negative weights; allowed: >= 0")
    if p_a is not None:
        given = _weights(p_a, "p_a", m, dtype)
        apart = 1.0 + np.abs(q - given).sum()  # of a total of 1, so that small weights count by what they are
        _checks.close_to_one(apart, "p_a: differs from the marginal that L and p_x give (sum of differences)", dtype)
    q = q / q.sum()
    columns = np.flatnonzero(q)
    if len(columns) < m:
        warnings.warn(
            f"L has {m - len(columns)} context value(s) without mass: left out of the operator, function value 0 there "
            "(see empty_columns of the context)",
            UserWarning,
            stacklevel=2,
        )
        pick = sp.csr_array(
            (np.ones(len(columns), dtype=dtype), (columns, np.arange(len(columns)))), shape=(m, len(columns))
        )
        picked = sparse(pick)
        op = product(op, picked if op.device == "cpu" else picked.to("cuda"))
        q = q[columns]
    if form == "normalized":
        M = op
    else:
        M = scaled(op, left, right_of(q))
    rule = GivenRows(columns, m)
    return Context("operator", M, p, q, rule, columns=columns, n_columns=m, output=output, form=form)


def _no_negative_entries(op: Operator) -> None:
    """Of a stored matrix: what is negative beyond rounding is no probability."""
    recipe, arguments = op._recipe[:2]
    if recipe not in ("dense", "csr"):
        return
    entries = _device.on_host(arguments[0] if recipe == "dense" else arguments[2])
    lowest, highest = float(entries.min(initial=0.0)), float(entries.max(initial=0.0))
    if lowest < -100 * float(np.finfo(op.dtype).eps) * highest:
        raise ValueError(f"L: got negative entries, the smallest {lowest:g}; allowed: probabilities >= 0")


def _conditional(op: Operator, p: np.ndarray) -> tuple[np.ndarray, Any, np.ndarray]:
    """W 1 = 1; the rows are divided by their sums, so that q = W^T p is exact."""
    sums = _times_ones(op)
    _checks.close_to_one(sums, "L: row sums of a conditional differ from 1", op.dtype)
    return np.sqrt(p) / sums, lambda q: 1.0 / np.sqrt(q), _transposed_times(op, p / sums)


def _joint(op: Operator, p: np.ndarray) -> tuple[np.ndarray, Any, np.ndarray]:
    """P 1 = p, q = P^T 1."""
    sums = _times_ones(op)
    _checks.close_to_one(sums / p, "L: row sums of a joint distribution differ from p_x (relative)", op.dtype)
    return np.sqrt(p) / sums, lambda q: 1.0 / np.sqrt(q), _transposed_times(op, p / sums)


def _normalized(op: Operator, p: np.ndarray) -> tuple[None, None, np.ndarray]:
    """M^T sqrt(p) = sqrt(q), M sqrt(q) = sqrt(p)."""
    root = _transposed_times(op, np.sqrt(p))
    if np.linalg.norm(np.minimum(root, 0.0)) > np.sqrt(np.finfo(op.dtype).eps):  # of a total of 1
        raise ValueError("L: L^T sqrt(p_x) has negative entries; allowed: the operator of a joint distribution")
    root = np.maximum(root, 0.0)
    back = op.on_host(root[:, None].astype(op.dtype))[:, 0].astype(np.float64)
    _checks.close_to_one(back / np.sqrt(p), "L: L sqrt(p_a) differs from sqrt(p_x) (relative)", op.dtype)
    return None, None, root**2


def _times_ones(op: Operator) -> np.ndarray:
    return op.on_host(np.ones((op.shape[1], 1), dtype=op.dtype))[:, 0].astype(np.float64)


def _transposed_times(op: Operator, v: np.ndarray) -> np.ndarray:
    return op.on_host(v[:, None].astype(op.dtype), transposed=True)[:, 0].astype(np.float64)


def _weights(value: Any, name: str, length: int, dtype: np.dtype) -> np.ndarray:
    if getattr(value, "dtype", None) == np.float32:
        dtype = np.dtype(np.float32)
    weights = vector(value, name, length)
    if (weights < 0).any():
        raise ValueError(f"{name}: got negative entries, the smallest {weights.min():g}; allowed: weights >= 0")
    _checks.close_to_one(np.atleast_1d(weights.sum()), f"{name}: the sum differs from 1", dtype)
    return weights / weights.sum()
