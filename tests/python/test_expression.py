"""The grammar of contexts on the command line, and where its errors point."""

from typing import Any

import numpy as np
import pytest

import eigencontext as ec
from eigencontext._expression import Convolution, ExpressionError, Mixture, Single, known, parse
from eigencontext._read import Documents, Input

X = np.random.default_rng(0).normal(size=(30, 3))
SOURCE = Input(X, "neighbors", labels=np.arange(30) % 3)


def dense(ctx):
    return ctx.operator @ np.eye(ctx.shape[1])


def parse_one(text):
    [(shown, node)] = parse(text)
    assert shown == text.strip()
    return node


def test_trees():
    assert parse_one("rbf") == Single("rbf")
    assert parse_one(" rbf : bandwidth = 2 : marginal=stationary ") == Single(
        "rbf", {"bandwidth": 2, "marginal": "stationary"}
    )
    rbf, near = Single("rbf"), Single("neighbors", {"n_neighbors": 5})
    assert parse_one("0.7*rbf+0.3*neighbors:n_neighbors=5") == Mixture([0.7, 0.3], [rbf, near])
    assert parse_one("rbf + neighbors:n_neighbors=5") == Mixture([0.5, 0.5], [rbf, near])
    assert parse_one("rbf@rbf@neighbors:n_neighbors=5") == Convolution([rbf, rbf, near])
    assert parse_one("0.5*rbf@rbf+5e-1*rbf") == Mixture([0.5, 0.5], [Convolution([rbf, rbf]), rbf])
    assert parse_one("(0.5*rbf+0.5*rbf)@rbf") == Convolution([Mixture([0.5, 0.5], [rbf, rbf]), rbf])
    assert parse_one("1*rbf") == Mixture([1.0], [rbf])
    assert parse_one("((rbf))") == rbf
    assert [text for text, _ in parse("rbf, 0.5*rbf+0.5*cosine ,a@b".replace("a@b", "rbf@rbf"))] == [
        "rbf",
        "0.5*rbf+0.5*cosine",
        "rbf@rbf",
    ]


def test_values():
    node = parse_one("rbf:bandwidth=1e3:degree=-2:marginal=word:coef0=-0.5")
    assert node.options == {"bandwidth": 1000.0, "degree": -2, "marginal": "word", "coef0": -0.5}
    assert [type(value) for value in node.options.values()] == [float, int, str, float]
    assert parse_one("neighbors:include_self=False").options == {"include_self": False}
    assert parse_one("neighbors:include_self=none").options == {"include_self": None}


@pytest.mark.parametrize(
    "text, expected",
    [
        ("rbf:bandwidth=2", lambda: ec.contexts.kernel(X, bandwidth=2)),
        ("kernel:kernel=cosine", lambda: ec.contexts.kernel(X, kernel="cosine")),
        ("polynomial:degree=2", lambda: ec.contexts.kernel(X, kernel="polynomial", degree=2)),
        ("labels", lambda: ec.contexts.labels(SOURCE.labels)),
        (
            "0.7*rbf+0.3*(neighbors:n_neighbors=5@rbf)",
            lambda: ec.contexts.mixture(
                [ec.contexts.kernel(X), ec.contexts.neighbors(X, 5) @ ec.contexts.kernel(X)], [0.7, 0.3]
            ),
        ),
        ("rbf@labels", lambda: ec.contexts.kernel(X) @ ec.contexts.labels(SOURCE.labels)),
    ],
)
def test_contexts_are_those_of_the_api(text, expected):
    built, expected = parse_one(text).build(SOURCE), expected()
    np.testing.assert_array_equal(dense(built), dense(expected))
    np.testing.assert_array_equal(built.p_a, expected.p_a)


@pytest.mark.parametrize(
    "text, position, message",
    [
        ("other", 0, "got 'other' at position 1; allowed: rbf, laplacian, cosine, polynomial, "),
        ("rbf@other", 4, "got 'other' at position 5"),
        ("0.5*rbf+0.5*rbg", 12, "got 'rbg' at position 13"),
        ("rbf:width=2", 4, "got 'width' at position 5; allowed: keys of rbf: bandwidth=..., degree=..."),
        ("counts:a=1", 7, "got 'a' at position 8; allowed: keys of counts: none"),
        ("rbf:kernel=cosine", 4, "got 'kernel'"),
        ("kernel:A=3", 7, "got 'A'"),
        ("rbf:bandwidth", 13, "no value for bandwidth at position 14; allowed: bandwidth=..."),
        ("rbf:bandwidth=", 14, "the expression ends at position 15; allowed: a value of bandwidth"),
        ("rbf:bandwidth=1e+3", 17, "got '3' at position 18"),
        ("rbf:bandwidth=1:bandwidth=2", 16, "got 'bandwidth' again at position 17; allowed: each key once"),
        ("rbf:", 4, "the expression ends at position 5; allowed: keys of rbf"),
        ("", 0, "the expression ends at position 1; allowed: a name of a context: rbf, "),
        ("rbf,", 4, "the expression ends at position 5"),
        (",rbf", 0, "got ',' at position 1; allowed: a name"),
        ("rbf+", 4, "the expression ends"),
        ("rbf@@rbf", 4, "got '@' at position 5"),
        ("rbf rbf", 4, "got 'r' at position 5; allowed: +, @, ',' or the end"),
        ("rbf)", 3, "got ')' at position 4"),
        ("(rbf", 4, "an open parenthesis at position 5; allowed: +, @ or )"),
        ("half*rbf+rbf", 0, "got weight 'half' at position 1; allowed: a number"),
        ("-1*rbf+2*rbf", 0, "got weight -1 at position 1; allowed: a number >= 0"),
        ("nan*rbf", 0, "got weight nan"),
        ("rbf, 0.5*rbf+0.6*rbf", 5, "weights with sum 1.1 at position 6; allowed: sum 1"),
        ("rbf,0.5*teacher+0.5*rbf", 8, "teacher, which is no joint distribution at position 9; allowed: it alone, or"),
        ("rbf@targets", 4, "targets, which is no joint distribution at position 5"),
        (
            "rbf,corruption:bins=4",
            4,
            "corruption without rate at position 5; allowed: corruption:rate=... (0.9 is a start",
        ),
        (
            "gaussian_noise",
            0,
            "gaussian_noise without sigma at position 1; allowed: gaussian_noise:sigma=... (half the",
        ),
        ("0.5*rbf+rbf", 0, "a mixture with weights on some members at position 1; allowed: a weight on every member"),
    ],
)
def test_errors_point_at_the_place(text, position, message):
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert str(caught.value).startswith(f"context: {message}")
    assert caught.value.pointer() == f"  {text}\n  {' ' * position}^"


def test_labels_need_a_column_or_one_axis():
    with pytest.raises(ValueError, match="labels needs labels; allowed: --label COLUMN"):
        parse_one("labels").build(Input(X, "neighbors"))
    assert parse_one("labels").build(Input(np.array([1, 2, 1]), "neighbors")).shape == (3, 2)


def test_names_and_keys_come_from_the_signatures(monkeypatch, request):
    assert {"rbf", "laplacian", "cosine", "polynomial", "counts", "graph", "kernel", "labels", "neighbors"} <= set(
        known()
    )
    # these take several arrays, or contexts
    assert not {"operator", "mixture", "minmax_weights", "Context"} & set(known())

    def noisy(X: Any, sigma: float, n_contexts: int | None = None, other: Any = None) -> ec.contexts.Context:
        return ec.contexts.kernel(X, bandwidth=sigma)

    def two(X: Any, A: Any, bandwidth: float | str = "effective") -> ec.contexts.Context:
        return ec.contexts.kernel(X, A)

    def of_a_context(ctx: ec.contexts.Context, loss: str = "one") -> ec.contexts.Context:
        return ctx

    monkeypatch.setattr(ec.contexts, "two", two, raising=False)
    monkeypatch.setattr(ec.contexts, "of_a_context", of_a_context, raising=False)
    monkeypatch.setattr(ec.contexts, "noisy", noisy, raising=False)
    monkeypatch.setattr(ec.contexts, "__all__", [*ec.contexts.__all__, "noisy", "two", "of_a_context"])
    known.cache_clear()
    request.addfinalizer(known.cache_clear)
    assert known()["noisy"][1:] == ("X", {"sigma": True, "n_contexts": False})
    assert parse_one("noisy:sigma=2").build(SOURCE).bandwidth == 2
    with pytest.raises(ExpressionError, match="noisy without sigma at position 5; allowed: noisy:sigma=..."):
        parse("rbf@noisy".replace("rbf@", "rbf,"))
    assert not {"two", "of_a_context"} & set(known())
    with pytest.raises(ExpressionError, match="got 'two', which takes more than one input .* at position 1; allow"):
        parse("two")


@pytest.mark.parametrize(
    "text, position, message",
    [
        ("rbf:bandwidth=wide", 14, "context: bandwidth: got 'wide' at position 15; allowed: "),
        ("rbf , neighbors:n_neighbors = 31", 30, "context: n_neighbors: got 31 at position 31; allowed: 1 .. 30 "),
        ("0.5*rbf+0.5*rbf:marginal=none@rbf:bandwidth=0", 25, "context: marginal: got None"),
        ("neighbors@rbf:degree=2:bandwidth=-1", 33, "context: bandwidth: got -1 at position 34; allowed: "),
        (
            "cosine + cooccurrence:window=3",
            9,
            "context: cooccurrence, but INPUT is no text at position 10; allowed: ",
        ),
    ],
)
def test_errors_of_values_point_at_them(text, position, message):
    with pytest.raises(ExpressionError) as caught:
        for _, node in parse(text):
            node.build(SOURCE)
    assert str(caught.value).startswith(message)
    assert caught.value.pointer() == f"  {text}\n  {' ' * position}^"


def test_texts_are_for_contexts_of_text(tmp_path):
    (tmp_path / "a.txt").write_text("the cat and the dog and the cat")
    source = Input(Documents([str(tmp_path / "a.txt")]), "cooccurrence")
    context = parse_one("cooccurrence:min_count=1:window=2:exponent=0.5").build(source)
    assert list(context.vocabulary) == ["the", "and", "cat", "dog"] and context.exponent == 0.5
    with pytest.raises(ExpressionError, match="labels, but INPUT is a text at position 1; allowed: cooccurrence"):
        parse_one("labels").build(source)
