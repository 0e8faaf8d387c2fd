"""The inputs that several tasks share, each a pure function of its sizes."""

import functools

import numpy as np
import scipy.sparse as sp


def topics(quick: bool) -> int:
    return 20 if quick else 200


@functools.lru_cache(maxsize=1)
def cooccurrence(quick: bool) -> sp.csr_array:
    """Counts of pairs (row, column), 200000 x 100000, 16.5 M nonzeros once duplicates are summed, float32.

    A pair has a topic, drawn uniformly. Its row is of that topic; its column is too with the topic's probability (from
    0.744 down to 0.7245), else of any. Item r belongs to topic r mod 200 and has weight (r + 1)^-0.7 there: Zipf.
    """
    n, m, pairs = (2000, 1000, 100_000) if quick else (200_000, 100_000, 23_540_000)
    count = topics(quick)
    rng = np.random.default_rng(0)
    topic = rng.integers(count, size=pairs)
    stays = rng.random(pairs) < np.linspace(0.744, 0.7245, count)[topic]
    other = np.where(stays, topic, rng.integers(count, size=pairs))
    rows, columns = _items(rng, n, count, topic), _items(rng, m, count, other)
    return sp.coo_array((np.ones(pairs, np.float32), (rows, columns)), shape=(n, m)).tocsr()


def _items(rng, size, count, topic):
    """An item of each given topic, drawn by its Zipf weight; items are in random order."""
    weights = (np.arange(1.0, size + 1) ** -0.7).reshape(-1, count).T
    cumulated = np.cumsum(weights, axis=1)
    cumulated /= cumulated[:, -1:]
    edges = (cumulated + np.arange(count)[:, None]).ravel()
    position = np.minimum(np.searchsorted(edges, topic + rng.random(len(topic)), side="right"), size - 1)
    of_topic, rank = np.divmod(position, size // count)
    return rng.permutation(size)[rank * count + of_topic]


@functools.lru_cache(maxsize=1)
def normalized_cooccurrence(quick: bool) -> sp.csr_array:
    """D_p^{-1/2} P D_q^{-1/2} of those counts: s = 1, then the topics' values, then noise below 0.2."""
    C = cooccurrence(quick)
    left, right = (1 / np.sqrt(np.maximum(1, C.sum(axis=axis, dtype=np.float64))) for axis in (1, 0))
    M = C.copy()
    M.data = (C.data * left.repeat(np.diff(C.indptr)) * right[C.indices]).astype(np.float32)
    return M


def clusters(n: int, p: int, count: int = 40) -> tuple[np.ndarray, float]:
    """n points in p dimensions, float32, and a bandwidth: the median distance of 1000 of them.

    They lie in N(0, I) around `count` centres that were drawn from N(0, 4 I)."""
    from scipy.spatial.distance import pdist

    rng = np.random.default_rng(7)
    centres = 2 * rng.standard_normal((count, p))
    X = (centres[rng.integers(count, size=n)] + rng.standard_normal((n, p))).astype(np.float32)
    return X, float(np.median(pdist(X[:1000].astype(np.float64))))


@functools.lru_cache(maxsize=1)
def embeddings(n: int, d: int, e: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sides that agree in part: N(0, I) in d and e dimensions, half of the second's variance from the first."""
    rng = np.random.default_rng(11)
    phi, psi = rng.standard_normal((n, d), dtype=np.float32), rng.standard_normal((n, e), dtype=np.float32)
    psi[:, : min(d, e)] += phi[:, : min(d, e)]
    psi *= np.float32(0.5**0.5)
    return phi, psi


def uniform_embeddings(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """The same with rows of norm 1."""
    phi, psi = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in embeddings(n, d, d))
    return phi, psi


def views_of(n: int, r: int, d: int) -> np.ndarray:
    """r views (n, r, d) of norm 1, with what the views of an input share."""
    rng = np.random.default_rng(12)
    views = rng.standard_normal((n, r, d), dtype=np.float32) + rng.standard_normal((n, 1, d), dtype=np.float32)
    return views / np.linalg.norm(views, axis=2, keepdims=True)
