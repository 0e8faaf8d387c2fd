"""The rbf kernel of 16384 points in 32 dimensions times 128 vectors, float32, its tiles made and forgotten."""

import numpy as np

from ..case import Case, Goal, field_of, largest_error, ratio

NAME = "K X, 128 vectors"


def cases(quick):
    n, p, b, h = (512, 8, 16, 3.0) if quick else (16384, 32, 128, 6.0)
    rng = np.random.default_rng(2)
    X, block = rng.standard_normal((n, p), dtype=np.float32), rng.standard_normal((n, b), dtype=np.float32)
    rows = slice(None, None, 16)
    yield Case(
        task="rbf_product",
        name=NAME,
        data={"X": X, "block": block, "bandwidth": h, "product": "A X"},
        accuracy=1e-5,
        error=largest_error(exact_rows(X, h, rows) @ block.astype(np.float64), rows),
        work=lambda _: (float(n) * n * (p + 2 * b), X.nbytes),  # scores once a pair, products with both; not exp
    )


def exact_rows(X, h, rows):
    """Some rows of the kernel matrix in float64."""
    from scipy.spatial.distance import cdist

    X = X.astype(np.float64)
    return np.exp(cdist(X[rows], X, "sqeuclidean") * (-0.5 / h**2))


def goals(results):
    share = field_of(results, NAME, "eigencontext", "fraction")
    yield Goal("rbf product: share of the GEMM bound", 0.75, share, unit="")
    yield Goal("rbf product against chunked NumPy", 2.3, ratio(results, NAME, "NumPy in chunks", "eigencontext"))
    yield Goal("rbf product against pykeops", 10, ratio(results, NAME, "pykeops", "eigencontext"))
