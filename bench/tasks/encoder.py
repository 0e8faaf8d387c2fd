"""ContextureEncoder (neighbors) on 10000 x 784 float32, 30 neighbours, k = 64, beside scikit-learn's SpectralEmbedding.

The two decompose different matrices of the same neighbours: M, and the normalised adjacency of the symmetrised graph.
Each is held to the eigenvalues of its own: those that its embedding's span has as Ritz values.
"""

import numpy as np
import scipy.sparse as sp

from ..case import Case, Goal, field_of, ratio, second_thread
from ..reference import cached, symmetric_values

WANTED, LIMIT = 5, 300  # times, MB


def surface(n, p):
    """n points of a smooth surface of 3 dimensions in p, and noise: float32, one connected graph."""
    rng = np.random.default_rng(0)
    latent = rng.random((n, 3)) @ rng.standard_normal((3, p))
    X = np.cos(3 * latent + rng.uniform(0, 2 * np.pi, p)) + 0.1 * rng.standard_normal((n, p))
    return X.astype(np.float32)


def nearest(X, k):
    from scipy.spatial.distance import cdist

    exact = X.astype(np.float64)
    parts = np.array_split(np.arange(len(X)), max(1, len(X) // 500))
    return np.concatenate([np.argpartition(cdist(exact[part], exact), k - 1, axis=1)[:, :k] for part in parts])


def choices(X, k):
    """The sparse matrix of ones at the k nearest, the point itself included, in float64."""
    indices = cached(f"nearest {k}", [X], lambda: nearest(X, k))
    n = len(X)
    return sp.csr_array((np.ones(n * k), indices.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))


def context_matrix(W):
    """M M^T and the factor that makes its eigenvectors of the functions."""
    M = W / np.sqrt(W.sum(axis=0)) / np.sqrt(W.sum(axis=1))[:, None]
    M = sp.csr_array(M)
    return lambda x: M @ (M.T @ x), np.ones(W.shape[0])


def graph_matrix(W):
    """D^{-1/2} (W + W^T) D^{-1/2} without loops, likewise."""
    A = sp.csr_array(W + W.T)
    A = A - sp.diags_array(A.diagonal())
    root = np.sqrt(A.sum(axis=1))
    A = sp.csr_array(A / root / root[:, None])
    return lambda x: A @ x, root


def worst_ritz_value(multiply, factor, exact, embedding):
    """The largest relative error of the Ritz values of the span of the constants and the embedding."""
    Q = np.linalg.qr(np.column_stack([factor, embedding * factor[:, None]]))[0]
    values = np.linalg.eigvalsh(Q.T @ multiply(Q))[::-1]
    return float(np.abs(values / exact - 1).max())


def own_eigenvalues(X, k, n_neighbors):
    W = choices(X, n_neighbors)
    problems = []
    for name, make in (("context", context_matrix), ("graph", graph_matrix)):
        multiply, factor = make(W)
        exact = cached(
            f"encoder {name} {k} {n_neighbors}", [X], lambda f=multiply: symmetric_values(f, len(X), k + 1, 4 * k)
        )
        problems.append((multiply, factor, exact))

    def error(values):
        values = np.asarray(values, np.float64)
        if values.shape != (len(X), k) or not np.isfinite(values).all():
            return np.inf
        return min(worst_ritz_value(*problem, values) for problem in problems)

    return error


def cases(quick):
    n, p, k, n_neighbors = (400, 16, 4, 10) if quick else (10000, 784, 64, 30)
    X = surface(n, p)
    yield Case(
        task="encoder",
        name=f"{n} x {p}, {n_neighbors} neighbours, k = {k}",
        data={"X": X, "k": k, "n_neighbors": n_neighbors},
        accuracy=1e-3,
        error=own_eigenvalues(X, k, n_neighbors),
        work=lambda _: (2.0 * n * n * p, X.nbytes),
        memory=True,
    )


def goals(results):
    for case in results:
        gain = ratio(results, case, "sklearn SpectralEmbedding", "eigencontext")
        yield Goal(f"ContextureEncoder, {case}, against SpectralEmbedding", WANTED, gain)
        growth = field_of(results, case, "eigencontext", "growth")
        yield Goal("ContextureEncoder: growth of RSS", LIMIT, growth and growth / 1e6, most=True, unit=" MB")
        yield second_thread(results, case, "ContextureEncoder", "gemm")
