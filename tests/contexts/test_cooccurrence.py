"""Counts of words near each other against a plain loop, what a word is, and words as new inputs."""

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import eigencontext as ec
from eigencontext import _core
from eigencontext.contexts import _cooccurrence

pytestmark = pytest.mark.filterwarnings("ignore:text has .* empty row:UserWarning")


def cooccurrence(text, window=5, min_count=1, **options):
    return ec.contexts.cooccurrence(text, window, min_count, **options)


def zipf(tokens=20000, words=2000, seed=0):
    rng = np.random.default_rng(seed)
    share = 1.0 / np.arange(1, words + 1)
    return [f"w{i}" for i in rng.choice(words, size=tokens, p=share / share.sum())]


def counted(documents, window):
    """(word, neighbour) -> how often, by a plain loop over the windows."""
    pairs = Counter()
    for words in documents:
        for i, word in enumerate(words):
            for j in range(max(0, i - window), min(len(words), i + window + 1)):
                if i != j:
                    pairs[word, words[j]] += 1
    return pairs


def dense(ctx):
    """P from M and the marginals, in float64."""
    M = np.asarray(ctx.operator @ np.eye(ctx.shape[1], dtype=ctx.dtype), dtype=np.float64)
    return np.sqrt(ctx.p_x)[:, None] * M * np.sqrt(ctx.p_a)


def expected(vocabulary, pairs):
    table = np.array([[pairs[v, w] for w in vocabulary] for v in vocabulary], dtype=np.float64)
    return table / table.sum()


# -- counts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 2, 5, 10**6])
def test_counts_are_those_of_a_plain_loop(window):
    documents = [zipf(300, 40, seed) for seed in range(4)] + [[], ["alone"], ["w0", "w1"]]
    ctx = cooccurrence(documents, window)
    kept = ctx.vocabulary[ctx.rows]  # "alone" has no neighbour
    np.testing.assert_allclose(dense(ctx), expected(kept, counted(documents, window)), rtol=1e-5, atol=1e-12)
    assert list(ctx.vocabulary[ctx.empty_rows]) == ["alone"]


def test_the_empty_rows_are_reported():
    with pytest.warns(UserWarning, match=r"text has 1 empty row\(s\)"):
        cooccurrence(["a b", "alone"])


@given(
    st.lists(st.lists(st.sampled_from("abcdef"), max_size=12), min_size=1, max_size=5),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_counts_of_any_documents(documents, window, min_count):
    frequency = Counter(word for words in documents for word in words)
    vocabulary = sorted((w for w, n in frequency.items() if n >= min_count), key=lambda w: (-frequency[w], w))
    pairs = counted(documents, window)
    total = sum(pairs[v, w] for v in vocabulary for w in vocabulary)
    if len(vocabulary) < 2 or total == 0:
        with pytest.raises(ValueError, match="^(text|min_count): "):
            cooccurrence(documents, window, min_count)
        return
    tokens, words = _cooccurrence.numbered(documents)
    found, word_counts = _cooccurrence._renumber(tokens, words, min_count, None)
    assert list(found) == vocabulary and list(word_counts) == [frequency[word] for word in vocabulary]
    counts = _cooccurrence.pair_counts(tokens, len(found), window)
    assert counts.has_canonical_format
    np.testing.assert_array_equal(counts.toarray().astype(np.float64) / total, expected(vocabulary, pairs))


def test_rare_words_keep_their_places():
    """a x b: with x left out, a and b still stand at distance 2."""
    ctx = cooccurrence(["a b x a b a x b"], window=1, min_count=3)
    assert list(ctx.vocabulary) == ["a", "b"]
    np.testing.assert_allclose(dense(ctx), [[0, 0.5], [0.5, 0]], atol=1e-7)  # ab ab ba, and never a x b


def test_documents_do_not_leak():
    together, apart = cooccurrence("a b c d", window=1), cooccurrence(["a b", "c d"], window=1)
    index = {word: i for i, word in enumerate(apart.vocabulary)}
    assert dense(together)[index["b"], index["c"]] > 0 and dense(apart)[index["b"], index["c"]] == 0
    np.testing.assert_allclose(ec.spectrum(apart, k=3).singular_values, [1, 1, 1], atol=1e-6)


def test_pieces_of_a_long_document_are_one_text(monkeypatch):
    text = " ".join(zipf(500, 60))
    whole = cooccurrence(text)
    monkeypatch.setattr(_cooccurrence, "_PIECE", 37)
    cut = cooccurrence(text)
    assert list(cut.vocabulary) == list(whole.vocabulary) and (cut.word_counts == whole.word_counts).all()
    np.testing.assert_array_equal(dense(cut), dense(whole))


def test_the_vocabulary_is_in_order_and_limited():
    words = ["c"] * 5 + ["b"] * 5 + ["a"] * 7 + ["d"]
    ctx = cooccurrence([words], max_words=3)
    assert list(ctx.vocabulary) == ["a", "b", "c"] and list(ctx.word_counts) == [7, 5, 5]
    assert list(cooccurrence([words], min_count=6 - 1).vocabulary) == ["a", "b", "c"]


def test_generators_strings_and_lists_of_words_are_the_same_text():
    documents = [zipf(200, 30, seed) for seed in range(3)]
    lists, texts = cooccurrence(documents), cooccurrence(" ".join(words) for words in documents)
    np.testing.assert_array_equal(dense(lists), dense(texts))
    assert list(lists.vocabulary) == list(texts.vocabulary)


def test_bits_do_not_depend_on_the_threads():
    program = """
import numpy as np, hashlib
from eigencontext import _core
tokens = (np.random.default_rng(0).pareto(1.0, 50000) * 3).astype(np.int32) % 5000
starts, columns, counts = _core.count_pairs(tokens, 5000, 5)
print(hashlib.sha256(starts.tobytes() + columns.tobytes() + counts.tobytes()).hexdigest(), counts.sum())"""
    out = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "EIGENCONTEXT_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "5")
    }
    assert len(out) == 1 and float(out.pop().split()[1]) == 2 * (5 * 50000 - 15)


def test_more_words_than_a_word_of_the_bitmaps():
    """Every word once, in order: a band of width 2; 64 * 64 words fill one mark."""
    n = 3 * 4096 + 1
    starts, columns, counts = _core.count_pairs(np.arange(n, dtype=np.int32), n, 1)
    band = sp.csr_array((counts, columns, starts), shape=(n, n))
    assert (band != sp.diags_array([np.ones(n - 1), np.ones(n - 1)], offsets=[-1, 1], format="csr")).nnz == 0


# -- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, words",
    [
        ("Don't stop, DON\u2019T!", ["don't", "stop", "don't"]),
        ("na\u00efve nai\u0308ve", ["na\u00efve", "na\u00efve"]),  # composed and not
        ("\u0939\u093f\u0928\u094d\u0926\u0940 \u092d\u093e\u0937\u093e", ["हिन्दी", "भाषा"]),  # vowel signs are marks
        ("\u0421\u043b\u043e\u0432\u043e, \u03bb\u03cc\u03b3\u03bf\u03c2; 2 \u00d7 3", ["слово", "λόγος", "2", "3"]),
        ("_emphasis_ snake_case 'quoted' rock'n'roll", ["emphasis", "snake", "case", "quoted", "rock'n'roll"]),
        (" \n\t.,;", []),
    ],
)
def test_what_a_word_is(text, words):
    assert [word for piece in _cooccurrence._pieces(text) for word in piece] == words


@pytest.mark.parametrize(
    "text, error, message",
    [
        ("", ValueError, "text: got no words; allowed: at least two different words"),
        ([], ValueError, "text: got no words"),
        (" ... ", ValueError, "text: got no words"),
        ("word", ValueError, "text: got one word ('word'); allowed"),
        ("word, Word: word", ValueError, "text: got one word ('word')"),
        (["one", "two", "two", "one"], ValueError, "text: no two of the 2 words in the vocabulary stand within 5"),
        (b"bytes", TypeError, "text: got bytes; allowed: a str, or an iterable of documents (of a file: its read_te"),
        (3, TypeError, "text: got int"),
        (["a b", 3], TypeError, "text: document 1 is a int; allowed: str, or a list of str"),
        ([["a", 3]], TypeError, "text: document 0 is a list"),
    ],
)
def test_bad_texts(text, error, message):
    with pytest.raises(error) as caught:
        cooccurrence(text)
    assert str(caught.value).startswith(message)


def test_a_table_is_no_text():
    """Iteration over it would give the names of its columns."""
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"first name": ["a rose is a rose"], "second name": ["a rose"]})
    with pytest.raises(TypeError, match="text: got a DataFrame; allowed: one of its columns"):
        cooccurrence(table, min_count=1)
    assert set(cooccurrence(table["first name"], min_count=1).vocabulary) == {"a", "rose", "is"}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"min_count": 4}, "min_count: got 4, which fewer than two words of the text reach; allowed: 1 .. 2"),
        ({"min_count": 0}, "min_count: got 0"),
        ({"window": 0}, "window: got 0; allowed: an integer >= 1"),
        ({"max_words": 1}, "max_words: got 1; allowed: an integer >= 2"),
        ({"exponent": -1.0}, "exponent: got -1; allowed: a finite number >= 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError) as caught:
        cooccurrence("a b a b a c", **options)
    assert str(caught.value).startswith(message)


# -- the exponent, new inputs, files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [0.0, 0.75, 1.0])
def test_the_exponent_acts_on_the_context_marginal_and_leaves_p_of_x_given_a(exponent):
    documents = [zipf(3000, 50)]
    plain, ctx = cooccurrence(documents), cooccurrence(documents, exponent=exponent)
    q = plain.p_a**exponent
    np.testing.assert_allclose(ctx.p_a, q / q.sum(), rtol=1e-5)
    np.testing.assert_allclose(dense(ctx) / ctx.p_a, dense(plain) / plain.p_a, rtol=1e-4, atol=1e-7)
    M = ctx.operator
    np.testing.assert_allclose(M @ np.sqrt(ctx.p_a), np.sqrt(ctx.p_x), atol=1e-6)
    np.testing.assert_allclose(M.T @ np.sqrt(ctx.p_x), np.sqrt(ctx.p_a), atol=1e-6)


@pytest.mark.parametrize("exponent", [0.75, 1.0])
def test_transform_of_words_and_of_counts(exponent, tmp_path):
    documents = [zipf(5000, 60), ["alone"]]
    ctx = cooccurrence(documents, exponent=exponent)
    spec = ec.spectrum(ctx, k=5, tol=1e-6)
    words = list(ctx.vocabulary[ctx.rows][::-1])
    pairs = counted(documents, 5)
    rows = np.array([[pairs[v, w] for w in ctx.vocabulary] for v in words], dtype=np.float32)
    spec.save(tmp_path / "words.npz")
    loaded = ec.load_spectrum(tmp_path / "words.npz")
    assert list(loaded.conditional.vocabulary) == list(ctx.vocabulary)
    error = 1e-4 + 2 * spec.residuals / spec.singular_values / np.sqrt(ctx.p_x.min())
    for each in (spec, loaded):
        for X_new in (words, np.array(words), rows, sp.csr_array(rows)):
            assert (np.abs(each.transform(X_new) - spec.left[ctx.rows][::-1]) <= error).all()
    np.testing.assert_allclose(loaded.transform(words[0]), spec.transform(words[:1]), rtol=1e-6)


def test_bad_new_inputs():
    ctx = cooccurrence(["a b a b c a", "alone"])
    for X_new, error, message in [
        ("z", ValueError, "X_new: 'z' is not in the vocabulary (1 such word(s)); allowed: its 4 words, or rows of co"),
        (["a", "y", "z"], ValueError, "X_new: 'y' is not in the vocabulary (2 such word(s))"),
        ("alone", ValueError, "X_new: row(s) 0 have no mass"),
        (np.ones((1, 3)), ValueError, "X_new: got 3 columns; allowed: 4"),
        (np.array(["a", 3], dtype=object), TypeError, "X_new: got objects that are no words"),
    ]:
        with pytest.raises(error) as caught:
            ctx.conditional(X_new)
        assert str(caught.value).startswith(message)


def test_mixtures_and_convolutions_of_texts(tmp_path):
    documents = [zipf(3000, 40)]
    near, far = cooccurrence(documents, window=2), cooccurrence(documents, window=9)
    words = list(near.vocabulary[:7])
    for ctx in (ec.contexts.mixture([near, far], [0.5, 0.5], p=near.p_x), near @ far, near.walk()):
        spec = ec.spectrum(ctx, k=4, tol=1e-6)
        spec.save(tmp_path / "s.npz")
        loaded = ec.load_spectrum(tmp_path / "s.npz")
        for each in (spec, loaded):
            np.testing.assert_allclose(each.transform(words), spec.left[:7], atol=2e-3)


def test_a_latent_class_of_words_is_found():
    """Two topics whose documents share no word: s_1 = 1, and its function tells the topics apart."""
    a, b = zipf(4000, 50, 1), ["x" + word for word in zipf(4000, 50, 2)]
    documents = [words[i : i + 40] for words in (a, b) for i in range(0, 4000, 40)]
    ctx = cooccurrence(documents)
    spec = ec.spectrum(ctx, k=2)
    np.testing.assert_allclose(spec.singular_values[0], 1.0, atol=1e-5)
    sides = np.sign(spec.left[:, 0])
    assert len({sides[i] for i, word in enumerate(ctx.vocabulary) if word.startswith("x")}) == 1
    assert abs(sides.sum()) < len(sides)
