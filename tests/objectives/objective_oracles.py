"""The losses of THEORY 4 in plain NumPy, as they are written there: sums over all pairs, nothing in moment form."""

import numpy as np


def centred(X):
    return X - X.mean(axis=tuple(range(X.ndim - 1)))


def shares(weights, n):
    return np.full(n, 1 / n) if weights is None else np.asarray(weights) / np.sum(weights)


def off(S):
    return S - np.diag(np.diag(S))


def regulariser(B, eps, ddof):
    d = B.shape[1]
    S = B.T @ B / (len(B) - ddof)
    std = np.mean(np.maximum(0, 1 - np.sqrt(np.diag(S) + eps)))
    return std, np.sum(off(S) ** 2) / (d * (d - 1)) if d > 1 else 0.0


def agreement(phi, psi, alpha, beta, eps, ddof, weights, both):
    B, C = centred(phi), centred(psi)
    data = np.sum(shares(weights, len(B)) * np.sum((B - C) ** 2, axis=1)) / B.shape[1]
    parts = [regulariser(X, eps, ddof) for X in ((B, C) if both else (B,))]
    std, cov = np.mean(parts, axis=0)
    return (data + alpha * std + beta * cov) / (1 + alpha + beta)


def svme(phi, psi, alpha=1.0, beta=1.0, eps=1e-4, ddof=1, weights=None):
    return agreement(phi, psi, alpha, beta, eps, ddof, weights, False)


def spectral_noncontrastive(phi, psi, alpha=1.0, beta=1.0, eps=1e-4, ddof=1, weights=None):
    return agreement(phi, psi, alpha, beta, eps, ddof, weights, True)


def vicreg(phi, psi, sim=25.0, std=25.0, cov=1.0, eps=1e-4, ddof=1, halve_std=True, weights=None):
    n, d = phi.shape
    loss = sim * np.sum(shares(weights, n) * np.sum((phi - psi) ** 2, axis=1)) / d
    for X in (phi, psi):
        S = centred(X).T @ centred(X) / (n - ddof)
        loss += std * np.mean(np.maximum(0, 1 - np.sqrt(np.diag(S) + eps))) / (2 if halve_std else 1)
        loss += cov * np.sum(off(S) ** 2) / d
    return loss


def barlow_twins(phi, psi, lambd=0.0051, eps=1e-5):
    z = [centred(X) / np.sqrt(X.var(axis=0) + eps) for X in (phi, psi)]
    c = z[0].T @ z[1] / len(phi)
    return np.sum((np.diag(c) - 1) ** 2) + lambd * np.sum(off(c) ** 2)


def rayleigh(phi, psi, alpha=1.0, beta=1.0, estimator="plugin", weights=None):
    n, d = phi.shape
    B, C = centred(phi), centred(psi)
    loss = np.sum(shares(weights, n) * np.sum((B - C) ** 2, axis=1)) / d
    if estimator == "plugin":
        E = [B.T @ B / n] * 2
    else:
        E = [centred(half).T @ centred(half) / (len(half) - 1) for half in (phi[: n // 2], phi[n // 2 :])]
    loss += alpha / d * np.sum((np.diag(E[0]) - 1) * (np.diag(E[1]) - 1))
    return loss + beta / max(d * (d - 1), 1) * np.sum(off(E[0]) * off(E[1]))


def low_rank(phi, psi, centered=False, estimator="u", weights=None):
    n = len(phi)
    psi = psi if psi.ndim == 3 else psi[:, None]
    if centered:
        phi, psi = centred(phi), centred(psi)
    p = shares(weights, n)
    loss = -2 * np.einsum("i,id,iad->", p, phi, psi) / psi.shape[1]
    squares = np.mean(np.einsum("id,jad->ija", phi, psi) ** 2, axis=2)
    if estimator == "u":
        return loss + (squares.sum() - np.trace(squares)) / (n * (n - 1))
    return loss + squares.mean()


def nested_low_rank(phi, psi, level_weights=None, first_mode="none", centered=False, estimator="u", weights=None):
    d = phi.shape[1]
    w = np.full(d, 1 / d) if level_weights is None else level_weights
    if centered:
        phi, psi = centred(phi), centred(psi)
    lead = 0
    if first_mode == "constant":
        phi, psi, lead = (np.hstack([np.ones((len(X), 1)), X]) for X in (phi, psi)), None, 1
        phi, psi = phi
    levels = [low_rank(phi[:, : lead + k], psi[:, : lead + k], False, estimator, weights) for k in range(1, d + 1)]
    return float(np.dot(w, levels))


def spectral_contrastive(views, weights=None):
    n, r, _ = views.shape
    p = shares(weights, n)
    loss = 0.0
    for j in range(r):
        for k in range(r):
            if j != k:
                loss -= 2 * np.sum(p * np.sum(views[:, j] * views[:, k], axis=1)) / (r * (r - 1))
            G = (views[:, j] @ views[:, k].T) ** 2
            loss += (G.sum() - np.trace(G)) / (n * (n - 1) * r * r)
    return loss


def root(S):
    w, V = np.linalg.eigh(S)
    return V / np.sqrt(w) @ V.T


def correlation(phi, psi, ridge=0.0):
    n = len(phi)
    B, C = centred(phi), centred(psi)
    P = root(B.T @ B / n + ridge * np.eye(B.shape[1]))
    Q = root(C.T @ C / n + ridge * np.eye(C.shape[1]))
    return -np.sum((P @ (B.T @ C / n) @ Q) ** 2)


def supervised_mse(phi, targets, ridge=0.0):
    """The regularised least squares problem itself, at its solution."""
    n, d = phi.shape
    B, Y = centred(phi), centred(targets)
    W = np.linalg.lstsq(np.vstack([B, np.sqrt(n * ridge) * np.eye(d)]), np.vstack([Y, np.zeros((d, Y.shape[1]))]))[0]
    return np.sum((Y - B @ W) ** 2) / n + ridge * np.sum(W**2)


def class_targets(labels, balanced):
    classes, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    Y = (np.asarray(labels)[:, None] == classes).astype(float)
    return Y / np.sqrt(counts / len(labels)) if balanced else Y


def numerical_gradient(loss, x, step=1e-5):
    gradient = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        moved = x.copy()
        moved[index] += step
        above = loss(moved)
        moved[index] = x[index] - step
        gradient[index] = (above - loss(moved)) / (2 * step)
    return gradient
