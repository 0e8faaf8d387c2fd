"""Words near each other: pairs counted, against a Counter loop, and a text from its characters to its spectrum."""

import functools

import numpy as np
import scipy.sparse as sp

from ..case import Case, Goal, field_of, largest_error, ratio, relative_error
from ..reference import cached, symmetric_values

WINDOW, MIN_COUNT = 5, 5
COUNTING, READING, ALL = "pairs of {} tokens", "{} tokens, tokenised and counted", "{} tokens, from text to k = {}"


@functools.lru_cache(maxsize=2)
def zipf(tokens: int) -> np.ndarray:
    """Word numbers, word w with probability proportional to 1 / (w + 1)."""
    weights = np.cumsum(1.0 / np.arange(1, 100_001))
    return np.searchsorted(weights / weights[-1], np.random.default_rng(0).random(tokens)).astype(np.int32)


def pair_matrix(numbers: np.ndarray, words: int) -> sp.csr_array:
    """Symmetric counts by SciPy, a distance at a time; numbers beyond the vocabulary are no words."""
    total = sp.csr_array((words, words))
    for distance in range(1, WINDOW + 1):
        left, right = numbers[:-distance], numbers[distance:]
        known = (left < words) & (right < words)
        ones = np.ones(np.count_nonzero(known))
        total = total + sp.coo_array((ones, (left[known], right[known])), shape=(words, words)).tocsr()
    return sp.csr_array(total + total.T)


def in_vocabulary(numbers: np.ndarray) -> tuple[np.ndarray, int]:
    """The same words renumbered by falling frequency, and how many appear MIN_COUNT times."""
    frequency = np.bincount(numbers)
    order = np.argsort(-frequency, kind="stable")
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return rank[numbers], int(np.count_nonzero(frequency >= MIN_COUNT))


def exact_values(numbers: np.ndarray, k: int) -> np.ndarray:
    ranks, words = in_vocabulary(numbers)

    def compute():
        counts = pair_matrix(ranks, words)
        root = np.sqrt(counts.sum(axis=1))
        M = sp.csr_array(counts / root[:, None] / root)
        squares = symmetric_values(lambda x: M @ (M @ x), words, k + 1, 2 * k + 20)
        return np.sqrt(squares[1:])  # without the trivial pair

    return cached(f"cooccurrence {k}", [numbers], compute)


def text_of(numbers: np.ndarray) -> str:
    return " ".join(map("w{}".format, numbers.tolist()))


def sizes(quick: bool) -> tuple[int, int, int]:
    """Tokens counted and taken to their spectrum, tokens read, k."""
    return (20_000, 50_000, 5) if quick else (1_000_000, 10_000_000, 100)


def cases(quick):
    some, many, k = sizes(quick)
    numbers = zipf(some)
    words = int(numbers.max()) + 1
    yield Case(
        task="cooccurrence",
        name=COUNTING.format(some),
        data={
            "step": "count",
            "tokens": numbers,
            "n_words": words,
            "words": text_of(numbers).split(),
            "window": WINDOW,
        },
        accuracy=0.0,
        error=largest_error(pair_matrix(numbers, words).sum(axis=1)),
    )
    ranks, known = in_vocabulary(zipf(many))
    yield Case(
        task="cooccurrence",
        name=READING.format(many),
        data={"step": "read", "text": text_of(zipf(many)), "window": WINDOW, "min_count": MIN_COUNT},
        accuracy=1e-6,
        error=largest_error(np.sort(pair_matrix(ranks, known).sum(axis=1))),
        memory=True,
        rounds=2,
    )
    yield Case(
        task="cooccurrence",
        name=ALL.format(some, k),
        data={"step": "spectrum", "text": text_of(numbers), "window": WINDOW, "min_count": MIN_COUNT, "k": k},
        accuracy=1e-3,
        error=relative_error(exact_values(numbers, k)),
        memory=True,
        rounds=3,
    )


def goals(results):
    some, many, k = sizes(quick=False)
    counting = ratio(results, COUNTING.format(some), "Counter loop", "eigencontext")
    yield Goal("pairs of words against a Counter loop", 20, counting)
    for name, wanted in ((READING.format(many), 20), (ALL.format(some, k), 30)):
        yield Goal(name, wanted, field_of(results, name, "eigencontext", "median"), most=True, unit="s")
