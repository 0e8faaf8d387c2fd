"""Raw rbf kernel, up to 1 000 000 points in 16 dimensions, randomly pivoted Cholesky of rank 500, float32."""

import numpy as np

from ..case import Case, Goal, field_of, second_thread
from .rbf_product import exact_rows

SIZES = (62_500, 250_000, 1_000_000)
RANK, K = 500, 32


def residual_over_certificate(X, h, k):
    """||K v - w v|| in float64, estimated from sampled rows, over the certificate that comes with the pair."""
    rows = np.random.default_rng(5).choice(len(X), min(len(X), 128), replace=False)

    def error(values):
        values = np.asarray(values, np.float64)
        (w, certificate), V = values[:2], values[2:]
        if values.shape != (len(X) + 2, k) or not np.isfinite(values).all():
            return np.inf
        if abs(np.linalg.norm(V, axis=0) - 1).max() > 1e-3:
            return np.inf
        image = np.concatenate([exact_rows(X, h, part) @ V for part in np.array_split(rows, max(1, len(rows) // 8))])
        residual = np.linalg.norm(image - w * V[rows], axis=0) * np.sqrt(len(X) / len(rows))
        return float((residual / certificate).max())

    return error


def cases(quick):
    for n in (600,) if quick else SIZES:
        X = np.random.default_rng(6).standard_normal((n, 16), dtype=np.float32)
        rank, h = (30, 6.0) if quick else (RANK, 6.0)
        k = 4 if quick else K
        yield Case(
            task="rpcholesky",
            name=f"n = {n}",
            data={"X": X, "k": k, "rank": rank, "bandwidth": h},
            accuracy=1.0,
            error=residual_over_certificate(X, h, k),
            work=lambda _, n=n, rank=rank: (float(n) * rank * (2 * 16 + 3 * rank), 4.0 * n * rank),
            memory=True,
            rounds=3,
        )


def goals(results):
    first, last = (f"n = {n}" for n in (SIZES[0], SIZES[-1]))
    seconds = [field_of(results, case, "eigencontext", "median") for case in (first, last)]
    change = abs(seconds[1] / SIZES[-1] * SIZES[0] / seconds[0] - 1) if None not in seconds else None
    yield Goal("rpcholesky: change of the time per point, n = 62 500 to 1 000 000", 0.2, change, most=True, unit="")
    growth = field_of(results, last, "eigencontext", "growth")
    yield Goal("rpcholesky: growth of RSS over 4 n r bytes", 3, growth and growth / (4.0 * SIZES[-1] * RANK), most=True)
    yield second_thread(results, first, "rpcholesky", "gemm")
