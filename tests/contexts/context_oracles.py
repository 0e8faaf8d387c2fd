"""Contexts whose spectra are known in closed form (THEORY 6), and a plain dense reference."""

from itertools import combinations

import numpy as np
import scipy.sparse as sp

import eigencontext as ec


class Callback:
    """The least that counts as an operator: shape, matmat, rmatmat."""

    def __init__(self, matrix):
        self.matrix = np.asarray(matrix, dtype=np.float64)
        self.shape = self.matrix.shape
        self.dtype = self.matrix.dtype

    def matmat(self, X):
        return self.matrix @ X

    def rmatmat(self, Y):
        return self.matrix.T @ Y


#: every way in which a joint distribution (no empty row or column) can be handed over
FORMS = {
    "dense": lambda P: ec.contexts.counts(P),
    "float32": lambda P: ec.contexts.counts(np.asarray(P, dtype=np.float32)),
    "fortran": lambda P: ec.contexts.counts(np.asfortranarray(P)),
    "sparse": lambda P: ec.contexts.counts(sp.csr_array(P)),
    "coo": lambda P: ec.contexts.counts(sp.coo_matrix(P)),
    "joint": lambda P: ec.contexts.operator(Callback(P), P.sum(1), form="joint"),
    "conditional": lambda P: ec.contexts.operator(Callback(P / P.sum(1, keepdims=True)), P.sum(1)),
    "normalized": lambda P: ec.contexts.operator(normalized(P), P.sum(1), form="normalized"),
    "composed": lambda P: ec.contexts.operator(composed(P), P.sum(1), form="joint"),
}


def composed(P):
    """P as a weighted sum of a stack (a row of its own, sparse; the others, scaled) and a deflated product."""
    o, (n, m) = ec.operators, P.shape
    below = o.scaled(o.dense(P[1:] * 2), np.full(n - 1, 0.5), None)
    stack = o.stacked([o.sparse(sp.csr_array(P[:1])), below], 0)
    shifted = o.product(o.dense(P + 1 / (n * m)), o.sparse(sp.csr_array(np.eye(m))))
    return o.weighted_sum([stack, o.deflated(shifted, np.full(n, 1 / n), np.full(m, 1 / m))], [0.25, 0.75])


def joint(C):
    C = np.asarray(C, dtype=np.float64)
    return C / C.sum()


def normalized(P):
    P = joint(P)
    return P / np.sqrt(P.sum(1)[:, None]) / np.sqrt(P.sum(0))


def reference(P):
    """All nontrivial singular values, by LAPACK."""
    P = joint(P)
    p, q = P.sum(1), P.sum(0)
    return np.linalg.svd(normalized(P) - np.sqrt(np.outer(p, q)), compute_uv=False)[: min(P.shape) - 1]


def tolerance(ctx):
    """Of a value whose residual is at the floor, 10 eps sqrt(max(n, m)), as s <= 1; its error is at most the residual.
    Ten of these: marginals and entries of M are rounded too."""
    return 100 * np.finfo(ctx.dtype).eps * np.sqrt(max(ctx.shape))


def check_spectrum(ctx, expected, k=None, tol=None):
    """Values against the oracle; functions orthonormal with mean 0; T nu = s mu; residuals honest."""
    expected = np.sort(np.asarray(expected, dtype=np.float64))[::-1]
    k = len(expected) if k is None else k
    limit = tolerance(ctx)
    spec = ec.spectrum(ctx, k=k, tol=limit if tol is None else tol)
    np.testing.assert_allclose(spec.singular_values, expected[:k], atol=limit)
    assert spec.converged.all()
    check_functions(ctx, spec, limit)
    return spec


def check_functions(ctx, spec, limit):
    left, right = spec.left.astype(np.float64), spec.right.astype(np.float64)
    for values, weights in ((left, spec.p_x), (right, spec.p_a)):
        np.testing.assert_allclose(values.T @ (weights[:, None] * values), np.eye(spec.k), atol=limit)
        np.testing.assert_allclose(weights @ values, 0, atol=limit)
    M = ctx.operator.astype(np.float64) @ np.eye(ctx.shape[1])
    U = left[ctx.rows] * np.sqrt(ctx.p_x)[:, None]
    V = right[ctx.columns] * np.sqrt(ctx.p_a)[:, None]
    np.testing.assert_allclose(M @ V, U * spec.singular_values, atol=limit)
    true = np.linalg.norm(M.T @ U - V * spec.singular_values, axis=0)
    assert (true <= spec.residuals + limit).all()


def bits(length, flip):
    """Joint distribution of `length` independent uniform bits and their flipped copies."""
    one = np.array([[1 - flip, flip], [flip, 1 - flip]]) / 2
    P = np.ones((1, 1))
    for _ in range(length):
        P = np.kron(P, one)
    return P


def bits_spectrum(length, flip):
    values = [abs(1 - 2 * flip) ** size for size in range(1, length + 1) for _ in combinations(range(length), size)]
    return np.array(values)


def cycle(n):
    return np.roll(np.eye(n), 1, axis=1) + np.roll(np.eye(n), -1, axis=1)


def torus(n, m):
    return np.kron(cycle(n), np.eye(m)) + np.kron(np.eye(n), cycle(m))


def hypercube(length):
    nodes = np.arange(2**length)
    distance = np.array([[bin(i ^ j).count("1") for j in nodes] for i in nodes])
    return (distance == 1).astype(np.float64)


def gauss_hermite(rho, nodes=40):
    """The Gaussian channel A = rho X + sqrt(1 - rho^2) Z on Gauss-Hermite nodes of both sides (Mehler's kernel)."""
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    w = w / w.sum()
    X, A = np.meshgrid(x, x, indexing="ij")
    density = np.exp(-(rho**2 * (X**2 + A**2) - 2 * rho * X * A) / (2 * (1 - rho**2))) / np.sqrt(1 - rho**2)
    return w[:, None] * density * w


def random_counts(seed, n=17, m=11):
    return np.random.default_rng(seed).gamma(0.5, size=(n, m)) + 1e-3
