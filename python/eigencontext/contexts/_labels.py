"""The label context A = y: C classes, s = 1 with multiplicity C - 1 after the trivial pair."""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..operators import Operator, scaled, sparse
from . import _checks
from ._base import Conditional, Context

#: so many distinct floats, and more than a quarter of the inputs, are hardly labels
_MANY = 20


def label_vector(name: str, value: Any) -> np.ndarray:
    labels = np.asarray(value) if not isinstance(value, (list, tuple)) else _from_sequence(value)
    if labels.ndim != 1:
        raise ValueError(f"{name}: got shape {labels.shape}; allowed: an array with 1 axis, a label for each input")
    if labels.size == 0:
        raise ValueError(f"{name}: got no labels; allowed: at least one")
    if labels.dtype.kind in "fc" and not np.isfinite(labels).all():
        raise ValueError(f"{name}: got NaN or inf; allowed: a label for each input")
    if labels.dtype.kind == "O" and any(label is None or label != label for label in labels):
        raise ValueError(f"{name}: got None or NaN; allowed: a label for each input")
    if labels.dtype.kind == "O" and not all(isinstance(label, Hashable) for label in labels):
        kinds = {type(label).__name__ for label in labels if not isinstance(label, Hashable)}
        raise TypeError(f"{name}: got labels of type {', '.join(sorted(kinds))}; allowed: hashable ones")
    return labels


def _from_sequence(value: list | tuple) -> np.ndarray:
    """A list of mixed types or of tuples stays what it is: NumPy would turn 1 and "1" into the same label."""
    if len({type(label) for label in value}) <= 1 and not (len(value) and isinstance(value[0], tuple)):
        return np.asarray(value)
    labels = np.empty(len(value), dtype=object)
    for i, label in enumerate(value):
        labels[i] = label
    return labels


def class_numbers(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct labels, sorted where they can be, in order of appearance where not; and the number of each label."""
    try:
        classes, numbers = np.unique(labels, return_inverse=True)
        return classes, numbers.reshape(-1)
    except TypeError:
        seen: dict[Any, int] = {}
        numbers = np.array([seen.setdefault(label, len(seen)) for label in labels], dtype=np.int64)
        return _from_sequence_of_objects(list(seen)), numbers


def _from_sequence_of_objects(values: list) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array


def one_hot(numbers: np.ndarray, m: int) -> sp.csr_array:
    n = len(numbers)
    return sp.csr_array((np.ones(n), numbers.astype(np.int64), np.arange(n + 1, dtype=np.int64)), shape=(n, m))


class LabelRows(Conditional):
    """New inputs are known by their label, which must have been seen."""

    kind = "labels"
    axes = 1

    def __init__(self, classes: np.ndarray) -> None:
        self.classes = classes

    def __call__(self, X_new: Any) -> Operator:
        labels = label_vector("X_new", X_new)
        known = {label: number for number, label in enumerate(self.classes.tolist())}
        numbers = np.array([known.get(label, -1) for label in labels.tolist()], dtype=np.int64)
        if (numbers < 0).any():
            unseen = labels[numbers < 0].tolist()
            known_ones = ", ".join(map(repr, self.classes[:5].tolist())) + (", ..." if len(self.classes) > 5 else "")
            raise ValueError(f"X_new: got label {unseen[0]!r}, which was not fitted; allowed: {known_ones}")
        return sparse(one_hot(numbers, len(self.classes)))

    def state(self) -> dict[str, np.ndarray]:
        classes = self.classes
        if classes.dtype.kind == "O":
            if not all(isinstance(label, str) for label in classes):
                raise TypeError("labels: got objects; allowed in a file: numbers, strings, or context=False")
            classes = classes.astype(str)
        return {"classes": classes}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> LabelRows:
        return cls(state["classes"])


def labels(y: Any) -> Context:
    """The context that sends an input to its label.

    Parameters
    ----------
    y : array-like, (n,)
        Labels of any hashable type, without None and NaN; every input weighs 1/n. Many distinct floats (more than 20
        and than n/4) are taken for measurements: a UserWarning.

    Returns
    -------
    Context
        `classes` holds the distinct labels; `sample` returns their numbers. `conditional` takes labels seen before.

    Examples
    --------
    >>> import eigencontext as ec
    >>> ctx = ec.contexts.labels(["cat", "dog", "cat", "owl"])
    >>> ctx.shape, ctx.p_a
    ((4, 3), array([0.5 , 0.25, 0.25]))
    """
    y, output = _checks.received(y, "y")
    values = label_vector("y", y)
    classes, numbers = class_numbers(values)
    n = len(values)
    if values.dtype.kind == "f" and len(classes) > max(_MANY, n / 4):
        warnings.warn(
            f"y: {len(classes)} distinct floating point numbers of {n}, each a class of its own; measurements are "
            "better binned first (numpy.digitize), and class numbers given as integers",
            UserWarning,
            stacklevel=2,
        )
    q = np.bincount(numbers, minlength=len(classes)) / n
    operator = scaled(sparse(one_hot(numbers, len(classes))), np.full(n, np.sqrt(1.0 / n)), 1.0 / np.sqrt(q))
    rule = LabelRows(classes)
    return Context("labels", operator, np.full(n, 1.0 / n), q, rule, output=output, classes=classes)
