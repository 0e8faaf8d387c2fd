"""Operators of sampled contexts beside rbf: 8192 x 16384, 32 features, times 16 vectors, float32, nothing kept."""

import numpy as np

from ..case import Case, Goal, largest_error, ratio_of_cases

RBF, GAUSSIAN, CORRUPTION, MASKING = "rbf", "gaussian_noise", "corruption", "masking"


def cases(quick):
    n, m, p, b, levels, h = (256, 512, 8, 4, 16, 3.0) if quick else (8192, 16384, 32, 16, 16, 6.0)
    rng = np.random.default_rng(4)
    X, A = (rng.standard_normal((rows, p), dtype=np.float32) for rows in (n, m))
    x, a = (rng.integers(0, levels, (rows, p), dtype=np.uint8) for rows in (n, m))
    visible = (rng.random((m, p)) < 0.1).astype(np.uint8)
    weights = np.zeros((p, 256))
    weights[:, :levels] = rng.uniform(0.1, 0.4, (p, levels))
    r, c, block = -rng.random(n), -rng.random(m), rng.standard_normal((m, b), dtype=np.float32)
    full = weights[np.arange(p), x].sum(1)  # all features match
    rows = slice(None, None, max(1, n // 64))

    def squares():
        return -((X[rows, None].astype(np.float64) - A.astype(np.float64)) ** 2).sum(-1) / (2 * h**2)

    def mismatches():
        return -sum(weights[f, x[rows, f]][:, None] * (x[rows, f][:, None] != a[:, f]) for f in range(p))

    def agreement():
        agrees = np.ones((len(x[rows]), m), bool)
        for f in range(p):
            agrees &= (x[rows, f][:, None] == a[:, f]) | (visible[:, f] == 0)
        return np.where(agrees, 0.0, -np.inf)

    for name, arguments, left, exponents in (
        (RBF, ("rbf", X, A, h), None, squares),
        (GAUSSIAN, ("gaussian", X, A, h), r, squares),
        (CORRUPTION, ("matches", x, a, weights), r - full, mismatches),
        (MASKING, ("agreement", x, a, visible), r, agreement),
    ):
        z = exponents() if left is None else exponents() + r[rows, None] + c
        yield Case(
            task="sampled_products",
            name=name,
            data={"arguments": arguments, "left": left, "right": None if left is None else c, "block": block},
            accuracy=1e-5,
            error=largest_error(np.exp(z) @ block.astype(np.float64), rows),
            work=lambda _: (float(n) * m * 2 * (p + b), float(n + m) * p),
        )


def goals(results):
    yield Goal("corruption: share of the rbf tile rate", 0.3, ratio_of_cases(results, RBF, CORRUPTION), unit="")
    yield Goal("gaussian_noise: share of the rbf tile rate", 0.6, ratio_of_cases(results, RBF, GAUSSIAN), unit="")
