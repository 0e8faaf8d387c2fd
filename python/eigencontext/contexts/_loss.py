"""What a supervised loss makes of a context: T Lambda T*, Lambda the integral operator of the loss's kernel."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from .._arguments import check_choice, check_flag, real_array
from ..operators import Operator, deflated, dense, product, scaled, transposed
from ._base import Context
from ._teacher import require_joint

Loss = Literal["one_hot", "class_balanced", "regression", "denoising"]
_LOSSES: tuple[str, ...] = get_args(Loss)

#: which side `values` belongs to, for the losses that need it
_VALUES_OF = {"regression": "context value", "denoising": "input"}


def loss_operator(ctx: Context, loss: Loss, values: Any = None, centered: bool = True) -> Operator:
    """The operator whose top eigenfunctions an encoder learns that is trained with a supervised loss.

    ================  ==============================================================================
    one_hot           squared error against the one-hot label: M D_q M^T (larger classes count more)
    class_balanced    the same with each component's error divided by its q(a): M M^T
    regression        squared error against the vector `values[a]`: M D_q^{1/2} Y Y^T D_q^{1/2} M^T
    denoising         squared error against the clean `values[x]` of an encoder of the corrupted a:
                      M^T D_p^{1/2} X X^T D_p^{1/2} M, m x m
    ================  ==============================================================================

    Parameters
    ----------
    ctx : Context
        x -> target (labels, or counts of labels for soft ones; any context for regression), x -> corrupted x for
        denoising.
    loss : {"one_hot", "class_balanced", "regression", "denoising"}
    values : array-like, (m, t) or (n, t), optional
        For regression the target vector of every context value, for denoising the clean vector of every input (as
        numbered by the user). The other losses have none.
    centered : bool
        The last layer has a bias, so that constants are learned by it: M is replaced by M_0 = M - sqrt(p) sqrt(q)^T
        (for regression and denoising, the same as centred values).

    Returns
    -------
    Operator
        Symmetric positive semidefinite, in orthonormal coordinates of the inputs (of the context values for denoising)
        that have mass; composed, never formed. ``w, V = ec.eigh(op, k)`` gives the functions ``V / sqrt(p_x)[:, None]``
        (denoising: ``V / sqrt(p_a)[:, None]``; ``ctx.operator @ V`` gives those of the average encoder, the
        top of T T* Lambda). Cost of a product: one with M and one with M^T, and 4 n t or 4 m t flops a column.

    Raises
    ------
    TypeError
        No context, or one that is no joint distribution.
    ValueError
        An unknown loss; `values` lacking, superfluous or with the wrong number of rows.

    References
    ----------
    Zhai et al., "Contextures: Representations from Contexts", ICML 2025, arXiv 2505.01557, sections 3.1 and 3.2.

    Examples
    --------
    Classes of 3, 2 and 1 of 6 inputs; a squared error without bias sees their shares:

    >>> import numpy as np, eigencontext as ec
    >>> ctx = ec.contexts.labels([0, 0, 0, 1, 1, 2])
    >>> w, V = ec.eigh(ec.contexts.loss_operator(ctx, "one_hot", centered=False), 3)
    >>> np.round(w, 4)
    array([0.5   , 0.3333, 0.1667])
    """
    if not isinstance(ctx, Context):
        raise TypeError(f"ctx: got {type(ctx).__name__}; allowed: a context (ec.contexts)")
    require_joint("ctx", ctx)
    check_choice(loss, "loss", _LOSSES)
    centered = check_flag(centered, "centered")
    vectors = _vectors(ctx, loss, values, centered)
    M = deflated(ctx.operator, np.sqrt(ctx.p_x), np.sqrt(ctx.p_a)) if centered else ctx.operator
    if loss == "one_hot":
        F = scaled(M, None, np.sqrt(ctx.p_a))
    elif vectors is None:
        F = M
    else:
        F = product(transposed(M) if loss == "denoising" else M, ctx._conditional.placed(dense(vectors)))
    return Operator("product", (F, transposed(F)), F.dtype, True)


def _vectors(ctx: Context, loss: str, values: Any, centered: bool) -> np.ndarray | None:
    """sqrt(weight) times the values at what has mass; None where the loss has no values."""
    side = _VALUES_OF.get(loss)
    if side is None:
        if values is not None:
            raise ValueError(f"values: got some for loss={loss!r}; allowed: None, it has no values")
        return None
    if values is None:
        raise ValueError(f"values: got None for loss={loss!r}; allowed: one row for every {side}")
    array = real_array(values, "values", 2)
    size, kept, weights = (
        (ctx.n_rows, ctx.rows, ctx.p_x) if loss == "denoising" else (ctx.n_columns, ctx.columns, ctx.p_a)
    )
    if len(array) != size:
        raise ValueError(f"values: got {len(array)} rows; allowed: {size}, one for every {side}")
    array = array[kept].astype(np.float64)
    if centered:  # what is left of the constant after M_0 would be rounding of large means
        array -= weights @ array
    vectors = np.sqrt(weights)[:, None] * array
    with np.errstate(over="ignore"):
        trace = np.sum(vectors**2)  # of the squares that a product forms
    if not trace <= np.finfo(ctx.dtype).max / 4:
        raise ValueError(
            f"values: got entries up to {np.abs(array).max():.3g}; allowed: entries whose squares {ctx.dtype} can hold"
        )
    return vectors.astype(ctx.dtype)
