"""The context word -> word nearby, of a text: words found, numbered and counted in one pass over the documents."""

from __future__ import annotations

import array
import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from .. import _core
from .._arguments import check_integer, check_number, is_sparse
from ..operators import Operator
from . import _checks
from ._base import Conditional, Context
from ._counts import CountRows, from_counts

#: characters of a document, or tokens, that are worked on together
_PIECE = 1 << 20
_BLANK = re.compile(r"\s")
#: in csrc/operators/cooccurrence.hpp
_UNKNOWN, _END_OF_DOCUMENT = -1, -2


class WordRows(Conditional):
    """New inputs are words of the vocabulary, or rows of counts over it; P(.|x) is the row's, columns weighted."""

    kind = "cooccurrence"
    axes = 1  # of words

    def __init__(self, vocabulary: np.ndarray, counts: sp.csr_array, weights: np.ndarray, columns: np.ndarray) -> None:
        self.vocabulary = vocabulary
        self.counts = counts
        self.weights = weights
        self.rows = CountRows(columns, len(vocabulary))

    def __call__(self, X_new: Any) -> Operator:
        words = _words_of(X_new)
        matrix = _checks.real_matrix(X_new, "X_new") if words is None else self.counts[self._numbers(words)]
        return self.rows(weighted(matrix, self.weights))

    def _numbers(self, words: list[str]) -> list[int]:
        number = {word: i for i, word in enumerate(self.vocabulary)}
        unknown = [word for word in words if word not in number]
        if unknown:
            raise ValueError(
                f"X_new: {unknown[0]!r} is not in the vocabulary ({len(unknown)} such word(s)); allowed: its "
                f"{len(number)} words, or rows of counts over them"
            )
        return [number[word] for word in words]

    def state(self) -> dict[str, np.ndarray]:
        encoded = [word.encode("utf-8", "surrogatepass") for word in self.vocabulary]
        return {
            "words": np.frombuffer(b"".join(encoded), dtype=np.uint8),
            "lengths": np.array([len(word) for word in encoded], dtype=np.int64),
            "data": self.counts.data,
            "indices": self.counts.indices,
            "indptr": self.counts.indptr,
            "weights": self.weights,
            "columns": self.rows.columns,
        }

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> WordRows:
        ends = np.cumsum(state["lengths"])
        parts = np.split(state["words"], ends[:-1])
        vocabulary = array_of([part.tobytes().decode("utf-8", "surrogatepass") for part in parts])
        shape = (len(vocabulary), len(vocabulary))
        counts = sp.csr_array((state["data"], state["indices"], state["indptr"]), shape=shape)
        return cls(vocabulary, counts, state["weights"], state["columns"])


def cooccurrence(
    text: str | Iterable[str] | Iterable[Sequence[str]],
    window: int = 5,
    min_count: int = 5,
    max_words: int | None = None,
    exponent: float = 1.0,
) -> Context:
    """The context word -> word nearby: P is proportional to how often two words stand within `window` of each other.

    Parameters
    ----------
    text : str, or iterable of documents
        A string is one document; a document is a string or a sequence of words (of a tokeniser of your own). The
        iterable is read once and may be a generator. No pair reaches from one document into the next.
    window : int
        Neighbours are the words at distance 1 .. window, on both sides, all with weight 1.
    min_count : int
        Rarer words are not in the vocabulary. They keep their places: distances are those of the text.
    max_words : int, optional
        Only so many words, the most frequent ones (of equally frequent ones those first in code point order).
    exponent : float, >= 0
        alpha: column a of the counts is multiplied by c_a^(alpha - 1), c_a its sum, so that p_a is proportional to
        c_a^alpha and P(x|a) stays (below 1, rare context words gain).

    Returns
    -------
    Context
        `vocabulary`: the words in order of falling frequency, an array of str; row and column i belong to word i.
        `word_counts`: how often each stands in the text. `conditional` takes words of the vocabulary (a str or a list
        of them), or rows of counts over it (n_new x V), to which the weights of `exponent` are applied.

    Raises
    ------
    TypeError
        `text` is neither a string nor made of strings (of a file: pass its contents).
    ValueError
        Fewer than two words are left, or no two of them are neighbours: said before anything is counted.

    Notes
    -----
    A word is a run of letters, digits and combining marks of any script, with single apostrophes inside (don't, l'an),
    in lower case and composed form (NFC). Texts without blanks between words (Chinese, Thai) need a tokeniser.

    For N tokens, T distinct ones and C with z nonzeros (z <= V^2 and z <= 2 window N), at most 12 N + 150 T + 8 z bytes
    are in use beside the documents while counting (16 V more a thread), and 8 z stay. `max_words` bounds z by its
    square; the numbers of rare words are needed until the text has been read, since only then are they known to be
    rare. Time grows with N window. Counts are float32: exact up to 2^24.

    References
    ----------
    Levy, Goldberg, Dagan, "Improving distributional similarity with lessons learned from word embeddings" (TACL 2015),
    on the exponent.

    Examples
    --------
    >>> import eigencontext as ec
    >>> ctx = ec.contexts.cooccurrence("a rose is a rose is a rose", window=1, min_count=1)
    >>> list(ctx.vocabulary), ctx.word_counts
    (['a', 'rose', 'is'], array([3, 3, 2]))
    >>> ctx.conditional("rose").matmat([[1.0], [0.0], [0.0]]).item()  # 3 of the 5 neighbours of rose are a
    0.6000000238418579
    """
    window = check_integer(window, "window", 1)
    min_count = check_integer(min_count, "min_count", 1)
    max_words = None if max_words is None else check_integer(max_words, "max_words", 2)
    exponent = check_number(exponent, "exponent", 0.0)
    tokens, words = numbered(_documents(text))
    vocabulary, word_counts = _renumber(tokens, words, min_count, max_words)
    counts = pair_counts(tokens, len(vocabulary), window)
    if counts.nnz == 0:
        raise ValueError(
            f"text: no two of the {len(vocabulary)} words in the vocabulary stand within {window} of each other; "
            "allowed: documents with at least two words, a larger window, a smaller min_count"
        )
    weights = column_weights(counts, exponent)
    context = from_counts(
        "cooccurrence",
        "text",
        weighted(counts, weights),
        vocabulary=vocabulary,
        word_counts=word_counts,
        window=window,
        min_count=min_count,
        exponent=exponent,
    )
    context._conditional = WordRows(vocabulary, counts, weights, context.columns)
    return context


# -- words -----------------------------------------------------------------------------------------------------------


class _Numbers(dict):
    """Words as they come get the numbers 0, 1, 2, ..."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


def numbered(documents: Iterable[str | Sequence[str]]) -> tuple[np.ndarray, list[str]]:
    """The numbers of all words, -1 after each document; and the words."""
    numbers = _Numbers()
    tokens = array.array("i")
    for document in documents:
        for words in _pieces(document):
            tokens.extend(map(numbers.__getitem__, words))
        tokens.append(-1)
    return np.frombuffer(tokens, dtype=np.int32), list(numbers)


def _documents(text: Any) -> Iterator[str | Sequence[str]]:
    if isinstance(text, str):
        yield text
        return
    if isinstance(text, (bytes, bytearray)) or not isinstance(text, Iterable):
        raise TypeError(
            f"text: got {type(text).__name__}; allowed: a str, or an iterable of documents (of a file: its read_text())"
        )
    if hasattr(text, "columns"):  # iteration over a table gives the names of its columns
        raise TypeError(f"text: got a {type(text).__name__}; allowed: one of its columns, an iterable of documents")
    for i, document in enumerate(text):
        words = isinstance(document, (list, tuple, np.ndarray)) and all(isinstance(word, str) for word in document)
        if not words and not isinstance(document, str):
            raise TypeError(f"text: document {i} is a {type(document).__name__}; allowed: str, or a list of str")
        yield document


def _pieces(document: str | Sequence[str]) -> Iterator[Sequence[str]]:
    """The words of a document, so many at a time that they need little memory; cut at blanks."""
    if not isinstance(document, str):
        yield document
        return
    find = _word_pattern().findall
    start = 0
    while start < len(document):
        blank = _BLANK.search(document, start + _PIECE)
        end = blank.start() if blank else len(document)
        piece = unicodedata.normalize("NFC", document[start:end]).lower()
        yield find(piece.replace("\u2019", "'").replace("_", " "))
        start = end


@functools.cache
def _word_pattern() -> re.Pattern[str]:
    r"""\w of `re`, and combining marks, which it leaves out: they are parts of words in many scripts."""
    marks = "".join(chr(i) for i in range(0x300, 0x20000) if unicodedata.category(chr(i)).startswith("M"))
    return re.compile(rf"\w[\w{marks}]*(?:'\w[\w{marks}]*)*")


def _renumber(
    tokens: np.ndarray, words: list[str], min_count: int, max_words: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """The vocabulary in order, and its frequencies; `tokens` then has its numbers, and is changed in place."""
    if len(words) < 2:
        found = f"one word ({words[0]!r})" if words else "no words"
        raise ValueError(f"text: got {found}; allowed: at least two different words")
    parts = [tokens[start : start + _PIECE] for start in range(0, len(tokens), _PIECE)]
    frequency = np.zeros(len(words), dtype=np.int64)
    for part in parts:
        frequency += np.bincount(part + 1, minlength=len(words) + 1)[1:]
    order = np.lexsort((_ranks(words), -frequency))
    if frequency[order[1]] < min_count:
        raise ValueError(
            f"min_count: got {min_count}, which fewer than two words of the text reach; allowed: 1 .. "
            f"{frequency[order[1]]}"
        )
    order = order[: np.count_nonzero(frequency >= min_count)][:max_words]
    number = np.full(len(words) + 1, _UNKNOWN, dtype=np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    number[-1] = _END_OF_DOCUMENT
    for part in parts:
        part[:] = number[part]
    return array_of([words[i] for i in order]), frequency[order]


def _ranks(words: list[str]) -> np.ndarray:
    ranks = np.empty(len(words), dtype=np.int64)
    ranks[sorted(range(len(words)), key=words.__getitem__)] = np.arange(len(words))
    return ranks


def array_of(words: list[str]) -> np.ndarray:
    """An array of Python's strings: NumPy's own would all be as long as the longest."""
    result = np.empty(len(words), dtype=object)
    result[:] = words
    return result


def _words_of(X_new: Any) -> list[str] | None:
    """The words, where X_new is a word or a list of them."""
    if isinstance(X_new, str):
        return [X_new]
    if is_sparse(X_new) or np.asarray(X_new).dtype.kind not in "UTO":
        return None
    words = np.asarray(X_new, dtype=object)
    if words.ndim != 1 or not all(isinstance(word, str) for word in words):
        raise TypeError("X_new: got objects that are no words; allowed: a word, a list of words, or rows of counts")
    return words.tolist()


# -- counts ----------------------------------------------------------------------------------------------------------


def pair_counts(tokens: np.ndarray, words: int, window: int) -> sp.csr_array:
    """The symmetric matrix of how often two words stand within the window of each other."""
    starts, columns, counts = _core.count_pairs(tokens, words, window)
    if len(columns) <= np.iinfo(np.int32).max:
        starts = starts.astype(np.int32)
    return sp.csr_array((counts, columns, starts), shape=(words, words))


def column_weights(counts: sp.csr_array, exponent: float) -> np.ndarray:
    """c_a^(exponent - 1); 1 where c_a = 0."""
    sums = _checks.column_sums(counts)
    return np.where(sums > 0, sums, 1.0) ** (exponent - 1.0)


def weighted(matrix: Any, weights: np.ndarray) -> np.ndarray | sp.csr_array:
    """Columns times weights; a matrix of another shape is left to those who check it."""
    if (weights == 1.0).all() or matrix.shape[1] != len(weights):
        return matrix
    if not is_sparse(matrix):
        return (matrix * weights).astype(matrix.dtype)
    data = (matrix.data * weights[matrix.indices]).astype(matrix.dtype)
    return sp.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
