"""Losses and all their gradients, float32, against torch's autograd and what a careful user writes by hand."""

import numpy as np

from ..case import Case, Goal, field_of, largest_error, ratio
from ..inputs import embeddings, uniform_embeddings, views_of
from ..reference import cached

SVME, KISE, CONTRASTIVE, EXPONENTIAL, INFO_NCE, INFO_NCE_HALF, NESTED = (
    "svme, N = {n}, d = {d}",
    "kise rbf, N = {n}, {p} features, d = {d}",
    "spectral contrastive, N = {n}, r = 2, d = {d}",
    "exponential spectral contrastive, N = {n}, r = 2, d = {d}",
    "info_nce, N = {n}, d = {d}",
    "info_nce, half of that, N = {n}, d = {d}",
    "nested_low_rank, N = {n}, d = {d}",
)
SIZES = {
    SVME: ("svme", {"n": 400_000, "d": 256}),
    KISE: ("kise", {"n": 16_384, "p": 32, "d": 128, "bandwidth": 6.0}),
    CONTRASTIVE: ("spectral_contrastive", {"n": 4096, "d": 128}),
    EXPONENTIAL: ("exponential_spectral_contrastive", {"n": 4096, "d": 128}),
    INFO_NCE: ("info_nce", {"n": 32_768, "d": 256}),
    INFO_NCE_HALF: ("info_nce", {"n": 16_384, "d": 256}),  # torch's stored logits of 32768 rows would take 20 GB
    NESTED: ("nested_low_rank", {"n": 65_536, "d": 512}),
}


def cases(quick):
    return cases_of(SIZES, quick)


def cases_of(texts, quick=False):
    """The cases of these names, one after another."""
    for text in texts:
        objective, sizes = SIZES[text]
        sizes = {key: min(value, 300 if key == "n" else 16) for key, value in sizes.items()} if quick else sizes
        arrays = inputs(objective, sizes)
        yield Case(
            task="objectives",
            name=text.format(**SIZES[text][1]),
            data={"objective": objective, "sizes": sizes, "stored": text != INFO_NCE},
            accuracy=1e-5,
            error=by_sides(
                cached(objective, list(arrays), lambda o=objective, a=arrays, s=sizes: REFERENCES[o](*a, s))
            ),
            work=lambda _, o=objective, s=sizes: (FLOPS[o](**s), 0.0),
            memory=True,
        )


def inputs(objective, sizes):
    """The arrays of one case; every process draws its own."""
    n, d = sizes["n"], sizes["d"]
    if objective == "kise":
        phi, X = embeddings(n, d, sizes["p"])
        return phi, X
    if objective.endswith("contrastive"):
        return (views_of(n, 2, d),)
    return uniform_embeddings(n, d) if objective == "info_nce" else embeddings(n, d, d)


def sampled(grad):
    """The rows of a gradient that are checked: one in every 200, and the last."""
    rows = np.arange(0, len(grad), 200)
    rows[-1] = len(grad) - 1
    return np.asarray(grad[rows])


def answer(*grads):
    """The checked rows of each gradient, flat, one below the other."""
    return np.stack([sampled(grad).reshape(-1) for grad in grads])


def by_sides(reference):
    """The largest error of a side over that side's largest entry."""
    sides = [largest_error(side) for side in reference]

    def error(values):
        return max(side(value) for side, value in zip(sides, values, strict=True))

    return error


# Products alone: neither exponentials nor anything of size N d.
FLOPS = {
    "svme": lambda n, d: 3.0 * n * d * d,  # the symmetric moment, and one gradient with a matrix
    "kise": lambda n, p, d, bandwidth: float(n) * n * (p + 2 * d),  # scores once a pair
    "spectral_contrastive": lambda n, d: 3.0 * 2 * n * d * d,
    "exponential_spectral_contrastive": lambda n, d: 3.0 * (2 * n) ** 2 * d,  # scores once a pair
    "info_nce": lambda n, d: 8.0 * n * n * d,  # scores twice, a product for each gradient
    "nested_low_rank": lambda n, d: 6.0 * n * d * d,
}


# -- the same gradients in float64, by the formulas --------------------------------------------------------------------


def parts(n, step=2048):
    return [slice(begin, begin + step) for begin in range(0, n, step)]


def wide(*arrays):
    return [array.astype(np.float64) for array in arrays]


def regularised(S, rows):
    """The gradient's factor of the variance and covariance terms of S = B^T B / rows."""
    d = len(S)
    sigma = np.sqrt(np.diag(S) + 1e-4)
    std = np.where(sigma < 1, -1 / (d * rows * sigma), 0)
    return np.diag(std) + 4 * (S - np.diag(np.diag(S))) / (d * (d - 1) * rows)


def svme(phi, psi, sizes):
    n, d = phi.shape
    m, k = (a.mean(axis=0, dtype=np.float64) for a in (phi, psi))
    S = sum((phi[rows] - m).T @ (phi[rows] - m) for rows in parts(n)) / (n - 1)
    b, c = sampled(phi) - m, sampled(psi) - k
    agree = 2 * (b - c) / (n * d)
    return np.stack([((agree + b @ regularised(S, n - 1)) / 3).ravel(), (-agree / 3).ravel()])


def kise(phi, X, sizes):
    phi, X = wide(phi, X)
    (n, d), h = phi.shape, sizes["bandwidth"]
    B = phi - phi.mean(axis=0)
    squares = (X * X).sum(axis=1)
    KB = np.concatenate(
        [
            np.exp(np.minimum(0, 2 * X[rows] @ X.T - squares[rows, None] - squares) / (2 * h * h)) @ B
            for rows in parts(n)
        ]
    )
    grad = 2 * (B - KB / n) / (n * d) + B @ regularised(B.T @ B / (n - 1), n - 1)
    return sampled((grad - grad.mean(axis=0)) / 3).reshape(1, -1)


def spectral_contrastive(A, sizes):
    (A,) = wide(A)
    n, r, d = A.shape
    flat = A.reshape(-1, d)
    S = flat.T @ flat
    own = np.einsum("ijd,ikd->ijk", A, A)
    grad = -4 / (n * r * (r - 1)) * (A.sum(axis=1, keepdims=True) - A)
    grad += 4 / (n * (n - 1) * r * r) * (A @ S - own @ A)
    return sampled(grad).reshape(1, -1)


def exponential_spectral_contrastive(A, sizes):
    (A,) = wide(A)
    n, r, d = A.shape
    flat, grad = A.reshape(-1, d), np.empty((n * r, d))
    for rows in parts(n * r):
        f = np.exp(flat[rows] @ flat.T)
        at = np.arange(rows.start, rows.start + len(f))
        same = at[:, None] // r == np.arange(n * r) // r
        pair = same & (at[:, None] != np.arange(n * r))
        grad[rows] = (np.where(same, -4 / (n * r * (r - 1)) * pair * f, 4 / (n * (n - 1) * r * r) * f * f)) @ flat
    return sampled(grad.reshape(A.shape)).reshape(1, -1)


def info_nce(phi, psi, sizes, T=0.07):
    phi, psi = wide(phi, psi)
    n = len(phi)
    phi_sums, psi_sums = np.empty(n), np.zeros(n)
    for rows in parts(n):
        f = np.exp(phi[rows] @ psi.T / T)  # rows of norm 1: at most exp(1 / T), which float64 holds
        phi_sums[rows] = f.sum(axis=1)
        psi_sums += f.sum(axis=0)
    sides = []
    for x, y, x_sums, y_sums in ((phi, psi, phi_sums, psi_sums), (psi, phi, psi_sums, phi_sums)):
        f = np.exp(sampled(x) @ y.T / T)
        G = f / sampled(x_sums)[:, None] + f / y_sums
        sides.append(((G @ y - 2 * sampled(y)) / (2 * n * T)).ravel())
    return np.stack(sides)


def nested_low_rank(phi, psi, sizes):
    n, d = phi.shape
    W = np.cumsum(np.full(d, 1 / d))[::-1]
    M = W[np.maximum.outer(np.arange(d), np.arange(d))]
    sides = []
    for x, y in ((phi, psi), (psi, phi)):
        S = sum(part.T @ part for part in (y[rows].astype(np.float64) for rows in parts(n)))
        a, b = wide(sampled(x), sampled(y))
        grad = -2 / n * b * W + 2 / (n * (n - 1)) * (a @ (M * S) - ((a * b) @ M) * b)
        sides.append(grad.ravel())
    return np.stack(sides)


REFERENCES = {
    f.__name__: f
    for f in (svme, kise, spectral_contrastive, exponential_spectral_contrastive, info_nce, nested_low_rank)
}


def goals(results):
    def share(text, method="eigencontext"):
        return field_of(results, name(text), method, "fraction")

    def against(text, peer, method="eigencontext"):
        return ratio(results, name(text), peer, method)

    def growth(text):
        bytes_ = field_of(results, name(text), "eigencontext", "growth")
        return None if bytes_ is None else bytes_ / 1e6

    def name(text):
        return text.format(**SIZES[text][1])

    half = SIZES[INFO_NCE_HALF][1]
    gradients = 2 * 4 * SIZES[SVME][1]["n"] * SIZES[SVME][1]["d"] / 1e6
    reused = "eigencontext, out="
    yield Goal("svme against torch autograd, gradients into new memory", 6, against(SVME, "torch autograd"))
    yield Goal("svme against torch autograd, gradients into memory given", 6, against(SVME, "torch autograd", reused))
    yield Goal("svme: share of the GEMM bound, gradients into memory given", 0.6, share(SVME, reused), unit="")
    beyond = growth(SVME)
    yield Goal(
        "svme: memory beyond the gradients", 64, beyond if beyond is None else beyond - gradients, most=True, unit=" MB"
    )
    yield Goal("kise against torch, kernel matrix stored", 5, against(KISE, "torch autograd"))
    yield Goal("kise against torch in chunks", 2.2, against(KISE, "torch in chunks"))
    yield Goal("kise against pykeops", 10, against(KISE, "pykeops"))
    yield Goal("kise: share of the GEMM bound", 0.75, share(KISE), unit="")
    yield Goal("spectral contrastive against the N x N x r x r einsum", 200, against(CONTRASTIVE, "torch autograd"))
    yield Goal("exponential spectral contrastive against the einsum", 15, against(EXPONENTIAL, "torch autograd"))
    yield Goal(
        f"info_nce, N = {half['n']}, against torch, logits stored", 1.2, against(INFO_NCE_HALF, "torch autograd")
    )
    yield Goal("info_nce: share of the GEMM bound", 0.75, share(INFO_NCE), unit="")
    plain = ratio(results, name(NESTED), "eigencontext", "eigencontext, plain low_rank")
    yield Goal("nested_low_rank: time over that of low_rank", 1.3, plain, most=True)
