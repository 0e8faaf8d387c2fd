"""Plain NumPy twins of the metrics, from the joint distribution alone, and contexts with known spectra."""

import numpy as np
import scipy.linalg


def centred(phi, p):
    return phi - p @ phi


def root(S):
    w, V = np.linalg.eigh(S)
    return V / np.sqrt(w) @ V.T


def marginals(P):
    return P.sum(1), P.sum(0)


def functions(P):
    """s, mu, nu of all nontrivial triplets, by LAPACK."""
    p, q = marginals(P)
    M = P / np.sqrt(np.outer(p, q)) - np.sqrt(np.outer(p, q))
    U, s, Vt = np.linalg.svd(M)
    r = min(P.shape) - 1
    return s[:r], U[:, :r] / np.sqrt(p)[:, None], Vt[:r].T / np.sqrt(q)[:, None]


def both_covariances(phi, P):
    """B = Cov_q(T* phi) and C = Cov_p(phi)."""
    p, q = marginals(P)
    phi = centred(phi, p)
    back = P.T @ phi / q[:, None]
    return back.T @ (q[:, None] * back), phi.T @ (p[:, None] * phi)


def one_encoder(phi, P):
    B, C = both_covariances(phi, P)
    return np.sqrt(np.maximum(scipy.linalg.eigh(B, C, eigvals_only=True)[::-1], 0))


def two_encoders(phi, psi, P):
    p, q = marginals(P)
    phi, psi = centred(phi, p), centred(psi, q)
    C_pp, C_qq = phi.T @ (p[:, None] * phi), psi.T @ (q[:, None] * psi)
    return np.linalg.svd(root(C_pp) @ (phi.T @ P @ psi) @ root(C_qq), compute_uv=False)


def canonical_correlations(phi, mu, p):
    """Cosines of the principal angles between the spans, by QR."""
    A, B = (np.linalg.qr(np.sqrt(p)[:, None] * centred(X, p))[0] for X in (phi, mu))
    return np.linalg.svd(A.T @ B, compute_uv=False)


def random_joint(seed, n=17, m=11):
    P = np.random.default_rng(seed).gamma(0.5, size=(n, m)) + 1e-3
    return P / P.sum()


def bits(length, flip):
    """`length` uniform bits and their flipped copies: s_S = |1 - 2 flip|^|S|, the functions are the parities."""
    one = np.array([[1 - flip, flip], [flip, 1 - flip]]) / 2
    P = np.ones((1, 1))
    for _ in range(length):
        P = np.kron(P, one)
    return P


def gauss_hermite(rho, nodes=40):
    """A = rho X + sqrt(1 - rho^2) Z on quadrature nodes: s_i = rho^i with Hermite functions."""
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    w = w / w.sum()
    X, A = np.meshgrid(x, x, indexing="ij")
    density = np.exp(-(rho**2 * (X**2 + A**2) - 2 * rho * X * A) / (2 * (1 - rho**2))) / np.sqrt(1 - rho**2)
    return w[:, None] * density * w
