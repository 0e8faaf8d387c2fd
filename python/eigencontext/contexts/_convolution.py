"""Convolutions: the contexts of one are the inputs of the next. M = M_1 D_{q_1}^{1/2} W_2 D_q^{-1/2}, never formed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..operators import Operator, product, scaled, sparse, transposed
from . import _checks
from ._base import Conditional, Context, inside
from ._teacher import require_joint


class ConvolutionRows(Conditional):
    """New inputs are those of the first context; its P(.|x) goes through W_2."""

    kind = "convolution"

    def __init__(self, first: Conditional, link: Operator) -> None:
        self.first = first
        self.link = link
        self.axes = first.axes

    def __call__(self, X_new: Any) -> Operator:
        return product(self.placed(self.first(X_new)), self.link)

    def folded(self, right: np.ndarray) -> tuple[Conditional, np.ndarray]:
        """W_1 (W_2 right): the first context's rule and W_2 right, since W_2 may be what no file can hold."""
        return self.first.folded(self.link.on_host(np.ascontiguousarray(right, dtype=self.link.dtype)))


def convolution(first: Context, second: Context, name: str = "convolution", **attributes: Any) -> Context:
    """`first @ second`: x -> a by the first, a -> b by the second."""
    require_joint("c1 @ c2", second)
    if first.n_columns != second.n_rows:
        raise ValueError(
            f"c1 @ c2: c1 ({first.name}) has {first.n_columns} context values and c2 ({second.name}) {second.n_rows} "
            "inputs; allowed: equal numbers, since the context values of c1 are the inputs of c2"
        )
    lacking = np.setdiff1d(first.columns, second.rows)
    if len(lacking):
        raise ValueError(
            f"c1 @ c2: c1 ({first.name}) leads to state(s) {_checks.listed(lacking)}, which have no row in c2 "
            f"({second.name}); allowed: states with a positive row"
        )
    link, q, kept = reweighted(second, first.columns, first.p_a)
    report_lost("c1 @ c2", second, kept)
    formula = f"{inside(first)} @ {inside(second)}" if name == "convolution" else None
    return _chained(
        name,
        first,
        link,
        q,
        columns=second.columns[kept],
        n_columns=second.n_columns,
        formula=formula,
        **attributes,
    )


def walk(ctx: Context) -> Context:
    """x -> a -> x': M M^T."""
    link = transposed(ctx.operator)
    return _chained(
        "walk", ctx, link, ctx.p_x, columns=ctx.rows, n_columns=ctx.n_rows, formula=ctx._formula or ctx.name
    )


def _chained(name: str, first: Context, link: Operator, q: np.ndarray, **attributes: Any) -> Context:
    """`link` is D_{q_1}^{1/2} W_2 D_q^{-1/2}."""
    W = scaled(link, 1.0 / np.sqrt(first.p_a), np.sqrt(q))
    return Context(
        name,
        product(first.operator, link),
        first.p_x,
        q,
        ConvolutionRows(first._conditional.mixed(), W),
        rows=first.rows,
        n_rows=first.n_rows,
        output=first._output,
        **attributes,
    )


def reweighted(ctx: Context, rows: np.ndarray, p: np.ndarray) -> tuple[Operator, np.ndarray, np.ndarray]:
    """The conditional of `ctx` at `rows` (the user's numbers, each with mass) under the weights p, at a cost of one
    product: D_p^{1/2} W D_q^{-1/2}, q = W^T p, and which of its columns have mass."""
    M = ctx.operator
    every = np.arange(M.shape[1])
    inner = np.searchsorted(ctx.rows, rows)
    if len(inner) < len(ctx.rows):
        M = product(ctx._conditional.placed(sparse(selection(inner, len(ctx.rows), M.dtype))), M)
    elif np.array_equal(p, ctx.p_x):
        return M, ctx.p_a, every
    old = ctx.p_x[inner]
    q = M.on_host((p / np.sqrt(old))[:, None].astype(M.dtype), transposed=True)[:, 0].astype(np.float64)
    q *= np.sqrt(ctx.p_a)
    kept = np.flatnonzero(q > np.finfo(M.dtype).tiny)
    q = q[kept] / q[kept].sum()
    if len(kept) < len(every):
        M = product(M, ctx._conditional.placed(sparse(selection(kept, len(every), M.dtype).T)))
    return scaled(M, np.sqrt(p / old), np.sqrt(ctx.p_a[kept] / q)), q, kept


def report_lost(what: str, ctx: Context, kept: np.ndarray) -> None:
    lost = ctx.shape[1] - len(kept)
    if lost:
        warnings.warn(
            f"{what}: {lost} context value(s) of {ctx.name} are reached from no input: left out of the operator, "
            "function value 0 there (see empty_columns of the context)",
            UserWarning,
            stacklevel=4,
        )


def selection(index: np.ndarray, size: int, dtype: np.dtype) -> sp.csr_array:
    """The len(index) x size matrix that picks rows."""
    return sp.csr_array((np.ones(len(index), dtype), index, np.arange(len(index) + 1)), shape=(len(index), size))
