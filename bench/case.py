"""The three things a benchmark is made of: a case (what is computed), a method (who computes it), a goal."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


class Answer(NamedTuple):
    """What a method computed (`values` is what gets checked) and what it says of the work that took."""

    values: np.ndarray
    details: dict = {}


def always(data: dict) -> bool:
    return True


@dataclass(frozen=True)
class Method:
    """One way to solve the cases of a task.

    `run(data, setting)` is timed (unless its details have "seconds", by a clock of its own). `settings` go from cheap
    to dear; the cheapest that meets the case's accuracy is taken. `prepare(data)` is not timed: what a caller does once
    for many runs. `isolated`: in a process of its own, because it brings its own threads or may have to be stopped.
    `as_is`: timed even where it misses the accuracy. `like` names the method whose chosen setting is taken over.
    `suits(data)`: whether it solves this case.
    """

    name: str
    package: str
    task: str
    run: Callable[[Any, Any], Answer]
    settings: tuple = (None,)
    prepare: Callable[[dict], Any] = dict
    isolated: bool = False
    as_is: bool = False
    like: str = ""
    suits: Callable[[dict], bool] = always

    def version(self) -> str | None:
        """The package's version; None where it is not installed."""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None


@dataclass
class Case:
    """One input with an accuracy to reach, checked against a float64 computation that shares nothing with ours.

    `error(values)` must be at most `accuracy`. `work(details)` is (flops, bytes), or None where it is not known.
    `memory`: whether the growth of the resident set is measured, in a fresh process for each method.
    """

    task: str
    name: str
    data: dict
    accuracy: float
    error: Callable[[np.ndarray], float]
    work: Callable[[dict], tuple[float, float] | None] = lambda details: None
    memory: bool = False
    rounds: int = 5


class Unavailable(Exception):
    """A method that can't run here; the text becomes its row."""


@dataclass
class Goal:
    """A figure to reach: `got` against `wanted`, at least or (`most`) at most; got is None where it wasn't measured."""

    text: str
    wanted: float
    got: float | None
    most: bool = False
    unit: str = "x"
    reached: bool | None = field(init=False)

    def __post_init__(self):
        if self.got is None:
            self.reached = None
        else:
            self.reached = bool(self.got <= self.wanted if self.most else self.got >= self.wanted)


def relative_error(reference: np.ndarray) -> Callable[[np.ndarray], float]:
    """Largest relative error of values in decreasing order; infinite where some are missing."""

    def error(values):
        values = np.sort(np.asarray(values, np.float64))[::-1]
        if values.shape != reference.shape or not np.isfinite(values).all():
            return np.inf
        return float(np.max(np.abs(values - reference) / reference))

    return error


def largest_error(reference: np.ndarray, rows=slice(None)) -> Callable[[np.ndarray], float]:
    """Largest error of an array (of some of its rows) over the reference's largest entry."""

    def error(values):
        values = np.asarray(values)[rows]
        if values.shape != reference.shape or not np.isfinite(values).all():
            return np.inf
        return float(np.abs(values - reference).max() / np.abs(reference).max())

    return error


def field_of(results: dict, case: str, method: str, name: str):
    """One field of one row; None where the case, the row or the field is not there."""
    return results.get(case, {}).get("rows", {}).get(method, {}).get(name)


def ratio(results: dict, case: str, slow: str, fast: str) -> float | None:
    """Median time of `slow` over that of `fast` in one case; None where one of them has no time."""
    times = [field_of(results, case, name, "median") for name in (slow, fast)]
    return times[0] / times[1] if None not in times else None


def ratio_of_cases(results: dict, first: str, second: str) -> float | None:
    """Median time of ours in one case over that in another; None where one of them has no time."""
    times = [field_of(results, case, "eigencontext", "median") for case in (first, second)]
    return times[0] / times[1] if None not in times else None


def second_thread(results: dict, case: str, what: str, limit: str) -> Goal:
    """What all threads gain us over one, as a share of what they gain the machine's large GEMM or its copying."""
    gain = ratio(results, case, "eigencontext on 1 thread", "eigencontext")
    limits = results.get(case, {}).get("limits")
    got = gain * limits[f"{limit} on 1 thread"] / limits[limit] if gain and limits else None
    return Goal(f"{what}: gain of all threads over one, as a share of what {limit} gains", 0.85, got, unit="")
