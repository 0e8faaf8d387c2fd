"""The 30 nearest of 40000 points in 64 dimensions, exact, float32."""

import numpy as np

from ..case import Case, Goal, ratio, second_thread
from ..inputs import clusters

SAMPLED = 20  # every 20th row is checked


def same_neighbors(X, k):
    """By how much the farthest neighbour found is farther than the true k-th one, relatively: ties don't count."""
    from scipy.spatial.distance import cdist

    exact = X.astype(np.float64)
    rows = np.arange(0, len(X), SAMPLED)
    distances = np.concatenate([cdist(exact[part], exact) for part in np.array_split(rows, max(1, len(rows) // 200))])
    farthest = np.partition(distances, k - 1, axis=1)[:, k - 1]

    def error(indices):
        found = np.asarray(indices)[rows]
        if found.shape != (len(rows), k) or (np.diff(np.sort(found, axis=1), axis=1) == 0).any():
            return np.inf
        return float((np.take_along_axis(distances, found, axis=1).max(axis=1) / farthest - 1).max())

    return error


def cases(quick):
    n, k = (500, 5) if quick else (40000, 30)
    X, _ = clusters(n, 16 if quick else 64)
    yield Case(
        task="neighbors",
        name=f"{n} points, k = {k}",
        data={"X": X, "k": k},
        accuracy=1e-5,
        error=same_neighbors(X, k),
        work=lambda _: (2.0 * n * n * X.shape[1], X.nbytes),
        memory=True,
    )


def goals(results):
    for case in results:
        for peer, wanted in (("faiss IndexFlatL2", 1.2), ("sklearn brute force", 2.5)):
            yield Goal(f"{case} against {peer}", wanted, ratio(results, case, peer, "eigencontext"))
        yield second_thread(results, case, case, "gemm")
