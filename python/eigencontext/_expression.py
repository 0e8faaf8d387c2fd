"""Contexts written as text: `rbf:bandwidth=2`, `0.7*rbf+0.3*neighbors`, `neighbors@rbf`, and lists of them.

    list     = mixture {"," mixture}
    mixture  = [number "*"] chain {"+" [number "*"] chain}
    chain    = context {"@" context}
    context  = "(" mixture ")"  |  name {":" key "=" value}

Names and keys are those of `ec.contexts`, read from its signatures; the four kernels are names too. Weights are given
to all members of a mixture or to none (then they are equal).
"""

from __future__ import annotations

import functools
import inspect
import operator
import re
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from . import contexts
from ._read import Input
from .contexts._sampled import STARTS
from .contexts._teacher import SignedKernel
from .operators import KERNELS

_WORD = re.compile(r"[^\s:=+*@,()]+")
_SCALARS = (int, float, str, bool, types.NoneType)


class ExpressionError(ValueError):
    """What is wrong, with the text and the position at which it is."""

    def __init__(self, message: str, text: str, position: int) -> None:
        super().__init__(message)
        self.text = text
        self.position = position

    def pointer(self) -> str:
        """The text, and a caret below the position."""
        return f"  {self.text}\n  {' ' * self.position}^"


@dataclass
class Single:
    """A context by its name. For messages: the whole expression, where the name begins, and where the values do."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    text: str = field(default="", compare=False)
    at: int = field(default=0, compare=False)
    places: dict[str, int] = field(default_factory=dict, compare=False)

    def build(self, source: Input) -> contexts.Context:
        function, first, _ = known()[self.name]
        data = self._data(first, source)
        try:
            return function(data, **self.options)
        except (TypeError, ValueError) as error:
            argument, found, rest = str(error).partition(":")
            if not found or argument not in self.places:
                raise
            got, *allowed = rest.split("; allowed:", 1)
            self._fail(f"{argument}:{got}", "".join(allowed).strip() or "another value", self.places[argument])

    def _data(self, first: str, source: Input) -> Any:
        """What of the input belongs to a first argument of this name."""
        if (first == "text") != source.is_text:
            kind, wanted = ("a text", "cooccurrence") if source.is_text else ("no text", "contexts of numbers")
            self._fail(f"{self.name}, but INPUT is {kind}", wanted, self.at)
        if first != "y":
            return source.data
        if source.labels is not None:
            return source.labels
        if source.data.ndim != 1:
            raise ValueError(f"context: {self.name} needs labels; allowed: --label COLUMN, or an array with one axis")
        return source.data

    def _fail(self, got: str, allowed: str, at: int) -> NoReturn:
        raise ExpressionError(f"context: {got} at position {at + 1}; allowed: {allowed}", self.text, at)


@dataclass
class Mixture:
    weights: list[float]
    members: list[Node]

    def build(self, source: Input) -> contexts.Context:
        return contexts.mixture([member.build(source) for member in self.members], self.weights)


@dataclass
class Convolution:
    links: list[Node]

    def build(self, source: Input) -> contexts.Context:
        return functools.reduce(operator.matmul, (link.build(source) for link in self.links))


Node = Single | Mixture | Convolution


@functools.cache
def known() -> dict[str, tuple[Callable[..., Any], str, dict[str, bool]]]:
    """Of each context that one input and numbers, words and flags make: the function, its first argument, and its keys
    (with whether they must be given)."""
    found: dict[str, tuple[Callable[..., Any], str, dict[str, bool]]] = {}
    for name in contexts.__all__:
        function = getattr(contexts, name)
        if not inspect.isfunction(function):
            continue
        hints = get_type_hints(function)
        kind = hints.get("return")
        if not (inspect.isclass(kind) and issubclass(kind, contexts.Context)):
            continue
        first, *others = inspect.signature(function).parameters.values()
        keys = {p.name: p.default is p.empty for p in others if _is_scalar(hints[p.name])}
        if hints[first.name] is not contexts.Context and all(
            p.name in keys or p.default is not p.empty for p in others
        ):
            found[name] = function, first.name, keys
    function, first_name, keys = found["kernel"]
    keys = {key: required for key, required in keys.items() if key != "kernel"}
    kernels = {name: (functools.partial(function, kernel=name), first_name, keys) for name in KERNELS}
    return {**kernels, **found}


@functools.cache
def signed_kernels() -> set[str]:
    """The names that can be no part of a mixture or a convolution."""
    return {
        name
        for name, (function, _, _) in known().items()
        if inspect.isfunction(function) and get_type_hints(function)["return"] is SignedKernel
    }


def start_of(key: str) -> str:
    """What to begin with, as a message says it."""
    return f" ({STARTS[key]})" if key in STARTS else ""


def _is_scalar(hint: Any) -> bool:
    """Whether the signature says that this is a number, a word or a flag, and no array."""
    if get_origin(hint) in (Union, types.UnionType):
        return all(_is_scalar(part) for part in get_args(hint))
    return hint in _SCALARS or get_origin(hint) is Literal


def parse(text: str) -> list[tuple[str, Node]]:
    """The contexts of a list, each with its own text.

    Raises
    ------
    ExpressionError
        With the position, and what is allowed there.
    """
    reader = _Reader(text)
    found = []
    while True:
        start = reader.skip()
        node = reader.mixture()
        found.append((text[start : reader.at].strip(), node))
        if not reader.take(","):
            break
    if reader.skip() < len(text):
        reader.fail(f"got {text[reader.at]!r}", "+, @, ',' or the end")
    return found


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def fail(self, got: str, allowed: str, at: int | None = None) -> NoReturn:
        at = self.at if at is None else at
        raise ExpressionError(f"context: {got} at position {at + 1}; allowed: {allowed}", self.text, at)

    def skip(self) -> int:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.at

    def take(self, sign: str) -> bool:
        self.skip()
        found = self.text.startswith(sign, self.at)
        self.at += found
        return found

    def word(self, allowed: str) -> str:
        self.skip()
        match = _WORD.match(self.text, self.at)
        if not match:
            rest = self.text[self.at : self.at + 1]
            self.fail(f"got {rest!r}" if rest else "the expression ends", allowed)
        self.at = match.end()
        return match[0]

    def mixture(self) -> Node:
        start = self.skip()
        weights, members = [], []
        while True:
            weights.append(self.weight())
            members.append(self.chain())
            if not self.take("+"):
                break
        if len(members) == 1 and weights[0] is None:
            return members[0]
        self.require_joint(members)
        given = [weight for weight in weights if weight is not None]
        if given and len(given) < len(weights):
            self.fail("a mixture with weights on some members", "a weight on every member, or on none", start)
        if not given:
            return Mixture([1.0 / len(members)] * len(members), members)
        if abs(sum(given) - 1.0) > 1e-6:
            self.fail(f"weights with sum {sum(given):.9g}", "sum 1", start)
        return Mixture(given, members)

    def weight(self) -> float | None:
        start = self.skip()
        match = _WORD.match(self.text, start)
        if not match or not self.text[match.end() :].lstrip().startswith("*"):
            return None
        try:
            value = float(match[0])
        except ValueError:
            self.fail(f"got weight {match[0]!r}", "a number")
        if not 0 <= value < float("inf"):
            self.fail(f"got weight {match[0]}", "a number >= 0")
        self.at = match.end()
        self.take("*")
        return value

    def chain(self) -> Node:
        links = [self.single()]
        while self.take("@"):
            links.append(self.single())
        if len(links) == 1:
            return links[0]
        self.require_joint(links)
        return Convolution(links)

    def require_joint(self, parts: list[Node]) -> None:
        for part in parts:
            if isinstance(part, Single) and part.name in signed_kernels():
                self.fail(f"{part.name}, which is no joint distribution", "it alone, or contexts that are one", part.at)

    def single(self) -> Node:
        if self.take("("):
            node = self.mixture()
            if not self.take(")"):
                self.fail("an open parenthesis", "+, @ or )")
            return node
        every = known()
        start = self.skip()
        name = self.word("a name of a context: " + ", ".join(every))
        if name in contexts.__all__ and name not in every:
            self.fail(f"got {name!r}, which takes more than one input (in Python)", ", ".join(every), start)
        if name not in every:
            self.fail(f"got {name!r}", ", ".join(every), start)
        keys = every[name][2]
        result = Single(name, text=self.text, at=start)
        while self.take(":"):
            self.option(keys, result)
        lacking = [key for key, required in keys.items() if required and key not in result.options]
        if lacking:
            self.fail(f"{name} without {lacking[0]}", f"{name}:{lacking[0]}=...{start_of(lacking[0])}", start)
        return result

    def option(self, keys: dict[str, bool], context: Single) -> None:
        allowed = f"keys of {context.name}: " + (", ".join(f"{key}=..." for key in keys) or "none")
        start = self.skip()
        key = self.word(allowed)
        if key not in keys:
            self.fail(f"got {key!r}", allowed, start)
        if key in context.options:
            self.fail(f"got {key!r} again", "each key once", start)
        if not self.take("="):
            self.fail(f"no value for {key}", f"{key}=...")
        context.places[key] = self.skip()
        context.options[key] = _value(self.word(f"a value of {key} (no sign in an exponent: 1e3, not 1e+3)"))


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.lower() == "none":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
