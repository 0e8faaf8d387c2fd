"""What the estimators that fit a context share: the context from parameters, its spectrum without lost functions."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags
from sklearn.utils.validation import validate_data

from .._arguments import check_integer, check_number, seed_from
from .._expression import Convolution, Mixture, Node, Single, known, parse, start_of
from .._read import Input
from .._spectrum import Spectrum, spectrum

#: what the contexts of `ec.contexts` call an input that is no table of points
_TABLES_OF_WEIGHTS = {"C", "adjacency"}


class ContextEstimator(BaseEstimator):
    """An estimator with the parameters `context`, `context_params`, `n_components`, `tol` and `random_state`."""

    context: str
    context_params: dict[str, Any] | None
    n_components: int
    tol: float
    random_state: Any

    def _points(self, X: Any, *, reset: bool) -> Any:
        sparse = get_tags(self).input_tags.sparse
        least = 2 if reset else 1
        return validate_data(
            self, X, reset=reset, accept_sparse=sparse, dtype=[np.float64, np.float32], ensure_min_samples=least
        )

    def _fit_spectrum(self, X: Any) -> Spectrum:
        """At most `n_components` functions of the context of X: those that extend to new inputs."""
        k = check_integer(self.n_components, "n_components", 1)
        tol = check_number(self.tol, "tol", 0.0)
        seed = seed_from(np.random if self.random_state is None else self.random_state, "random_state")
        node = self._node()
        for single in singles(node):
            other = {"y": "labels", "text": "texts"}.get(argument_of(single))
            if other:
                raise ValueError(f"context: got {single.name!r}, a context of {other}; allowed: contexts of X")
            if "seed" in inspect.signature(function_of(single)).parameters:
                single.options.setdefault("seed", seed)
        ctx = node.build(Input(X, "neighbors"))
        most = min(ctx.shape) - 1
        spec = spectrum(ctx, max(1, min(k, most)), tol=tol, seed=seed) if most else None
        if spec is None or not spec.extendable.any():
            raise ValueError(
                f"context: {self.context!r} with context_params={self.context_params!r} has only constant functions "
                f"on these {ctx.n_rows} samples; allowed: a context in which X and A depend on each other"
            )
        return _extendable(spec)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        try:
            weights = all(argument_of(single) in _TABLES_OF_WEIGHTS for single in singles(self._node()))
        except (TypeError, ValueError):  # `fit` says what is wrong with the parameters
            weights = False
        tags.input_tags.sparse = tags.input_tags.positive_only = weights
        return tags

    def _node(self) -> Node:
        return node_of(self.context, self.context_params)


def _extendable(spec: Spectrum) -> Spectrum:
    kept = spec.extendable
    if kept.all():
        return spec
    columns = {name: getattr(spec, name)[:, kept] for name in ("left", "right")}
    values = {name: getattr(spec, name)[kept] for name in ("singular_values", "residuals", "converged")}
    return replace(spec, **columns, **values)


def node_of(context: Any, params: dict[str, Any] | None) -> Node:
    """The expression, or the one context of that name with the keyword arguments `params`."""
    if not isinstance(context, str):
        raise TypeError(f"context: got {type(context).__name__}; allowed: a name of ec.contexts, or an expression")
    if params is None:
        [(_, node), *others] = parse(context)
        if others:
            raise ValueError(f"context: got the list {context!r}; allowed: one context (a mixture is a+b)")
        return node
    if not isinstance(params, dict):
        raise TypeError(f"context_params: got {type(params).__name__}; allowed: a dict, or None")
    if context not in known():
        raise ValueError(
            f"context: got {context!r} together with context_params; allowed: one of {', '.join(known())} "
            "(in an expression, parameters follow the names)"
        )
    node = Single(context, dict(params))
    _, *allowed = inspect.signature(function_of(node)).parameters
    if unknown := set(params) - set(allowed):
        raise ValueError(f"context_params: got {', '.join(map(repr, unknown))}; allowed: {', '.join(allowed)}")
    if lacking := [key for key, required in known()[context][2].items() if required and key not in params]:
        raise ValueError(f"context_params: got no {lacking[0]!r}; allowed: with it{start_of(lacking[0])}")
    return node


def singles(node: Node) -> list[Single]:
    """The contexts that an expression is put together from."""
    if isinstance(node, (Mixture, Convolution)):
        parts = node.members if isinstance(node, Mixture) else node.links
        return [single for part in parts for single in singles(part)]
    return [node]


def function_of(single: Single) -> Any:
    return known()[single.name][0]


def argument_of(single: Single) -> str:
    return known()[single.name][1]
