"""The losses of THEORY 4 in plain torch, every pair written out, differentiated by autograd."""

import torch


def centred(X):
    return X - X.mean(dim=0)


def off(S):
    return S - torch.diag(torch.diagonal(S))


def shares(weights, n):
    return torch.full((n,), 1 / n, dtype=torch.float64) if weights is None else weights / weights.sum()


def distance(B, C, weights):
    return (shares(weights, len(B)) * ((B - C) ** 2).sum(1)).sum() / B.shape[1]


def regulariser(B, eps=1e-4, ddof=1):
    d = B.shape[1]
    S = B.T @ B / (len(B) - ddof)
    std = torch.relu(1 - torch.sqrt(torch.diagonal(S) + eps)).mean()
    return std, (off(S) ** 2).sum() / (d * (d - 1))


def svme(phi, psi, weights=None, alpha=1.0, beta=1.0):
    B, C = centred(phi), centred(psi)
    std, cov = regulariser(B)
    return (distance(B, C, weights) + alpha * std + beta * cov) / (1 + alpha + beta)


def spectral_noncontrastive(phi, psi, weights=None, alpha=1.0, beta=1.0):
    return (svme(phi, psi, weights, alpha, beta) + svme(psi, phi, weights, alpha, beta)) / 2


def vicreg(phi, psi, weights=None):
    loss = 25 * distance(phi, psi, weights)
    for X in (phi, psi):
        std, cov = regulariser(centred(X))
        loss = loss + 25 * std / 2 + (X.shape[1] - 1) * cov
    return loss


def barlow_twins(phi, psi):
    z = [centred(X) / torch.sqrt((centred(X) ** 2).mean(0) + 1e-5) for X in (phi, psi)]
    c = z[0].T @ z[1] / len(phi)
    return ((torch.diagonal(c) - 1) ** 2).sum() + 0.0051 * (off(c) ** 2).sum()


def rayleigh(phi, psi, weights=None, estimator="plugin"):
    n, d = phi.shape
    loss = distance(centred(phi), centred(psi), weights)
    halves = [phi, phi] if estimator == "plugin" else [phi[: n // 2], phi[n // 2 :]]
    less = 0 if estimator == "plugin" else 1
    E = [centred(half).T @ centred(half) / (len(half) - less) for half in halves]
    on = (torch.diagonal(E[0]) - 1) * (torch.diagonal(E[1]) - 1)
    return loss + on.mean() + (off(E[0]) * off(E[1])).sum() / (d * (d - 1))


def low_rank(phi, psi, weights=None, centered=False, estimator="u"):
    n = len(phi)
    psi = psi if psi.ndim == 3 else psi[:, None]
    if centered:
        phi, psi = centred(phi), psi - psi.mean((0, 1))
    loss = -2 * (shares(weights, n)[:, None] * torch.einsum("id,ird->ir", phi, psi)).sum(0).mean()
    squares = (torch.einsum("id,jrd->ijr", phi, psi) ** 2).mean(2)
    return loss + (off(squares).sum() / (n * (n - 1)) if estimator == "u" else squares.mean())


def nested_low_rank(phi, psi, weights=None, centered=False, estimator="u", first_mode="none"):
    if centered:
        phi, psi = centred(phi), centred(psi)
    d, lead = phi.shape[1], 0
    if first_mode == "constant":
        one = torch.ones(len(phi), 1, dtype=phi.dtype)
        phi, psi, lead = torch.cat([one, phi], 1), torch.cat([one, psi], 1), 1
    levels = [low_rank(phi[:, : lead + k], psi[:, : lead + k], weights, False, estimator) for k in range(1, d + 1)]
    return sum(levels) / d


def spectral_contrastive(views, weights=None):
    n, r, _ = views.shape
    products = torch.einsum("ijd,lkd->iljk", views, views)
    own = products[torch.arange(n), torch.arange(n)]
    first = (shares(weights, n) * (own.sum((1, 2)) - torch.diagonal(own, dim1=1, dim2=2).sum(1))).sum() / (r * (r - 1))
    return -2 * first + ((products**2).sum() - (own**2).sum()) / (n * (n - 1) * r * r)


def exponential(products, squares_left, squares_right, T, form):
    if form == "dot":
        return torch.exp(products / T)
    return torch.exp(-(squares_left + squares_right - 2 * products) / T)


def exponential_low_rank(phi, psi, temperature=1.0, form="dot"):
    n = len(phi)
    f = exponential(phi @ psi.T, (phi**2).sum(1)[:, None], (psi**2).sum(1), temperature, form)
    return -2 * torch.diagonal(f).mean() + off(f**2).sum() / (n * (n - 1))


def exponential_spectral_contrastive(views, temperature=1.0, form="dot"):
    n, r, d = views.shape
    flat = views.reshape(n * r, d)
    squares = (flat**2).sum(1)
    f = exponential(flat @ flat.T, squares[:, None], squares, temperature, form).reshape(n, r, n, r)
    own = f[torch.arange(n), :, torch.arange(n)]
    first = (own.sum() - torch.diagonal(own, dim1=1, dim2=2).sum()) / (n * r * (r - 1))
    return -2 * first + ((f**2).sum() - (own**2).sum()) / (n * (n - 1) * r * r)


def info_nce(phi, psi, temperature):
    logits, target = phi @ psi.T / temperature, torch.arange(len(phi))
    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2


def sigmoid(phi, psi, t, b):
    z = 2 * torch.eye(len(phi), dtype=phi.dtype) - 1
    return torch.nn.functional.softplus(-z * (t * phi @ psi.T + b)).sum() / len(phi)


def kise_with(phi, K, diagonal=True, alpha=1.0, beta=1.0):
    n, d = phi.shape
    B = centred(phi)
    if not diagonal:
        K = off(K)
    std, cov = regulariser(B)
    data = ((B * B).sum() - (B * (K @ B)).sum() / (n - (not diagonal))) / (n * d)
    return (data + alpha * std + beta * cov) / (1 + alpha + beta)


def rbf(x, a, h):
    return torch.exp(-(torch.cdist(x, a) ** 2) / (2 * h * h))


def walk(k):
    W = k / k.sum(1, keepdim=True)
    return W / W.mean(0) @ W.T


def label_kernel(y):
    same = (y[:, None] == y).double()
    return same * len(y) / same.sum(1)


def teacher_kernel(Z):
    U, s, _ = torch.linalg.svd(centred(Z), full_matrices=False)
    F = U * len(Z) ** 0.5 * s / s[0]
    return 1 + F @ F.T


def correlation(phi, psi, ridge=0.0):
    n = len(phi)
    B, C = centred(phi), centred(psi)
    P, Q = (X.T @ X / n + ridge * torch.eye(X.shape[1], dtype=X.dtype) for X in (B, C))
    K = B.T @ C / n
    return -torch.trace(torch.linalg.solve(P, K) @ torch.linalg.solve(Q, K.T))


def supervised_mse(phi, Y, ridge=0.0):
    n, d = phi.shape
    B, Y = centred(phi), centred(Y)
    S_xy = B.T @ Y / n
    W = torch.linalg.solve(B.T @ B / n + ridge * torch.eye(d, dtype=phi.dtype), S_xy)
    return (Y**2).sum() / n - (S_xy * W).sum()


def one_hot(y, balanced):
    Y = torch.nn.functional.one_hot(y).double()
    return Y / Y.mean(0).sqrt() if balanced else Y
