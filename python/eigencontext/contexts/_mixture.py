"""Mixtures: A = (J, A_J) with J ~ w. M = [sqrt(w_1) M_1, ..., sqrt(w_r) M_r], side by side and never formed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._arguments import check_number, vector
from ..operators import Operator, product, scaled, sparse, stacked
from . import _checks
from ._base import Conditional, Context, inside
from ._convolution import report_lost, reweighted, selection
from ._teacher import require_joint


class MixtureRows(Conditional):
    """New inputs: one array for every member, or a list with one for each. P((j, a)|x) = w_j P_j(a|x).

    Member j's rule gives sizes[j] columns, of which kept[j] are context values of the mixture (None: all).
    """

    kind = "mixture"

    def __init__(
        self, weights: np.ndarray, rules: list[Conditional], sizes: list[int], kept: list[np.ndarray | None]
    ) -> None:
        self.weights = weights
        self.rules = rules
        self.sizes = sizes
        self.kept = kept
        self.axes = rules[0].axes

    def __call__(self, X_new: Any) -> Operator:
        parts = [
            self.placed(rule(X))
            for rule, X in zip(self.rules, one_for_each(X_new, [rule.axes for rule in self.rules]), strict=True)
        ]
        n_new = [part.shape[0] for part in parts]
        if len(set(n_new)) > 1:
            raise ValueError(f"X_new: got {n_new} inputs for the members; allowed: as many for each")
        for j, kept in enumerate(self.kept):
            if kept is not None:
                picked = self.placed(sparse(selection(kept, self.sizes[j], parts[j].dtype).T))
                parts[j] = product(parts[j], picked)
        weighted = [scaled(part, np.full(n_new[0], w)) for w, part in zip(self.weights, parts, strict=True)]
        return stacked(weighted, axis=1)

    def folded(self, right: np.ndarray) -> tuple[Conditional, np.ndarray]:
        ends = np.cumsum([s if kept is None else len(kept) for s, kept in zip(self.sizes, self.kept, strict=True)])
        rules, images = [], []
        for j, part in enumerate(np.split(right, ends[:-1])):
            whole = part
            if (kept := self.kept[j]) is not None:
                whole = np.zeros((self.sizes[j], right.shape[1]), right.dtype)
                whole[kept] = part
            rule, image = self.rules[j].folded(whole)
            rules.append(rule)
            images.append(image)
        sizes = [len(image) for image in images]
        return MixtureRows(self.weights, rules, sizes, [None] * len(rules)), np.concatenate(images)

    def state(self) -> dict[str, np.ndarray]:
        """Of a folded rule, which keeps all columns."""
        state = {"weights": self.weights, "sizes": np.asarray(self.sizes)}
        for j, rule in enumerate(self.rules):
            state[f"{j}.kind"] = np.asarray(rule.kind)
            state |= {f"{j}.{key}": value for key, value in rule.state().items()}
        return state

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> MixtureRows:
        rules = []
        for j in range(len(state["weights"])):
            own = {key.removeprefix(f"{j}."): value for key, value in state.items() if key.startswith(f"{j}.")}
            rules.append(Conditional.kinds[str(own.pop("kind"))].from_state(own))
        return cls(state["weights"], rules, [int(size) for size in state["sizes"]], [None] * len(rules))


def one_for_each(X_new: Any, axes: list[int]) -> Sequence[Any]:
    """X_new itself, where it is a list of one input array for every member, else X_new for each of them.

    A list of r rows is one array for all: what is meant for one member has all the axes of its inputs.
    """
    given = isinstance(X_new, (list, tuple)) and len(X_new) == len(axes)
    if given and all(_axes(X) >= wanted for X, wanted in zip(X_new, axes, strict=True)):
        return X_new
    return [X_new] * len(axes)


def mixture(contexts: Sequence[Context], weights: Any, p: Any = None) -> Context:
    """The context A = (J, A_J): a member J ~ weights, then a context value of that member.

    M = [sqrt(w_1) M_1, ..., sqrt(w_r) M_r], so that the dual kernel is k_X = sum_j w_j k_j. Nothing is formed: a
    product costs what the members' products cost.

    Parameters
    ----------
    contexts : sequence of Context
        Of the same inputs, with the same marginal p_x (to sqrt(eps) of their type, relative). Mixtures and
        convolutions may be members.
    weights : array-like, (r,)
        Not negative, sum 1. Members of weight 0 are left out altogether.
    p : array-like, (n,), optional
        Weights of the inputs, sum 1, in place of the members' own; their q_j = W_j^T p are recomputed (one product
        each). A member must have a conditional at every input with p > 0.

    Returns
    -------
    Context
        Its context values are numbered member after member; `offsets[j]` is the first of member j (of those of
        positive weight). `conditional` takes one X_new for all members, or a list with one for each of them.

    Raises
    ------
    TypeError
        A member is no context.
    ValueError
        Members of different inputs or marginals (which, and by how much); weights negative, of the wrong number or
        with another sum.

    References
    ----------
    R. Zhai, "Contextures: The Mechanism of Representation Learning" (2025), on mixing contexts.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> X = np.random.default_rng(0).normal(size=(50, 2))
    >>> rbf, near = ec.contexts.kernel(X, bandwidth=1.0), ec.contexts.neighbors(X, 5)
    >>> ec.contexts.mixture([rbf, near], [0.7, 0.3]).shape
    (50, 100)
    """
    members, w = _members(contexts, weights)
    if p is None:
        full = _on_all_rows(members[0])
        for j, member in enumerate(members[1:], 1):
            _require_same(members[0], member, j, full)
    else:
        full = _given_weights(p, members[0].n_rows)
    rows = np.flatnonzero(full)
    parts, kept = [], []
    for j, member in enumerate(members):
        lacking = np.setdiff1d(rows, member.rows)
        if len(lacking):
            raise ValueError(
                f"p: positive at input(s) {_checks.listed(lacking)}, where member {j} ({member.name}) has no "
                "conditional; allowed: 0 there"
            )
        parts.append(reweighted(member, rows, full[rows]))
        report_lost("mixture", member, parts[-1][2])
        kept.append(None if len(parts[-1][2]) == member.shape[1] else parts[-1][2])
    offsets = np.concatenate([[0], np.cumsum([member.n_columns for member in members])])
    columns = [
        start + member.columns[part[2]] for start, member, part in zip(offsets[:-1], members, parts, strict=True)
    ]
    rule = MixtureRows(
        w, [member._conditional.mixed() for member in members], [member.shape[1] for member in members], kept
    )
    blocks = [scaled(M, np.full(len(rows), np.sqrt(share))) for share, (M, _, _) in zip(w, parts, strict=True)]
    return Context(
        "mixture",
        stacked(blocks, axis=1),
        full[rows],
        np.concatenate([share * q for share, (_, q, _) in zip(w, parts, strict=True)]),
        rule,
        rows=rows,
        columns=np.concatenate(columns),
        n_rows=members[0].n_rows,
        n_columns=int(offsets[-1]),
        output=members[0]._output,
        formula=" + ".join(f"{share:.3g}*{inside(member)}" for share, member in zip(w, members, strict=True)),
        weights=w,
        offsets=offsets[:-1],
    )


def minmax_weights(weights: Any, losses: Any, eta: float) -> np.ndarray:
    """One step of the weights of a mixture towards its worst member: w_j exp(eta z_j), normalised.

    Parameters
    ----------
    weights : array-like, (r,)
        Not negative, sum 1.
    losses : array-like, (r,)
        Of the members; z are these, standardised by their mean and population standard deviation.
    eta : float
        The step, at least 0.

    Returns
    -------
    ndarray, (r,)
        Equal losses leave the weights as they are.

    References
    ----------
    R. Zhai, "Contextures: The Mechanism of Representation Learning" (2025), on mixing contexts.

    Examples
    --------
    >>> import eigencontext as ec
    >>> ec.contexts.minmax_weights([0.5, 0.5], [1.0, 3.0], eta=0.5).round(4)
    array([0.2689, 0.7311])
    """
    w = _given_weights(weights, None, "weights")
    loss = vector(losses, "losses", len(w))
    eta = check_number(eta, "eta", 0.0)
    if loss.min() == loss.max():  # their standard deviation may be rounding
        return w
    loss = loss / np.abs(loss).max()  # so that no sum overflows; standardising forgets the scale
    z = (loss - loss.mean()) / loss.std()
    with np.errstate(over="ignore"):  # exp(-inf) is 0
        w = w * np.exp(eta * np.minimum(z - z[w > 0].max(), 0.0))
    return w / w.sum()


def _members(contexts: Any, weights: Any) -> tuple[list[Context], np.ndarray]:
    """The members of positive weight, and their weights."""
    if isinstance(contexts, Context) or not isinstance(contexts, Sequence):
        raise TypeError(f"contexts: got {type(contexts).__name__}; allowed: a list of contexts")
    for j, ctx in enumerate(contexts):
        if not isinstance(ctx, Context):
            raise TypeError(f"contexts: member {j} is a {type(ctx).__name__}; allowed: contexts (ec.contexts)")
        require_joint(f"contexts: member {j}", ctx)
    if not contexts:
        raise ValueError("contexts: got none; allowed: at least one")
    w = _given_weights(weights, len(contexts), "weights")
    sizes = [ctx.n_rows for ctx in contexts]
    if len(set(sizes)) > 1:
        raise ValueError(f"contexts: the members have {sizes} inputs; allowed: the same inputs")
    return [ctx for ctx, share in zip(contexts, w, strict=True) if share > 0], w[w > 0]


def _given_weights(value: Any, length: int | None, name: str = "p") -> np.ndarray:
    weights = vector(value, name, length)
    if (weights < 0).any():
        raise ValueError(f"{name}: got negative entries, the smallest {weights.min():g}; allowed: >= 0")
    if not abs(weights.sum() - 1.0) <= 1e-6:
        raise ValueError(f"{name}: got sum {weights.sum():.9g}; allowed: sum 1")
    return weights / weights.sum()


def _on_all_rows(ctx: Context) -> np.ndarray:
    full = np.zeros(ctx.n_rows)
    full[ctx.rows] = ctx.p_x
    return full


def _require_same(first: Context, other: Context, j: int, full: np.ndarray) -> None:
    who = f"contexts: p_x of member {j} ({other.name}) differs from that of member 0 ({first.name})"
    allowed = "allowed: equal marginals, or p= for all of them"
    if not np.array_equal(first.rows, other.rows):
        raise ValueError(f"{who}: one has empty inputs where the other has none; {allowed}")
    worst = float(np.max(np.abs(other.p_x / full[other.rows] - 1.0)))
    if worst > np.sqrt(max(np.finfo(ctx.dtype).eps for ctx in (first, other))):
        raise ValueError(f"{who} by up to {worst:.3g} (relative); {allowed}")


def _axes(value: Any) -> int:
    shape = getattr(value, "shape", None)
    if shape is not None:
        return len(shape)
    return 1 + (_axes(value[0]) if len(value) else 0) if isinstance(value, (list, tuple)) else 0
