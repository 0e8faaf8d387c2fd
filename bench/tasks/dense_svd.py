"""Dense 20000 x 4000 float32, k = 64: 400 singular values i^-0.7 and noise of 1e-3 / sqrt(20000)."""

import numpy as np

from ..case import Case, Goal, field_of, ratio, relative_error, second_thread
from ..reference import cached


def matrix(n, m, rank, seed=4):
    """U diag(i^-0.7) V^T with random orthonormal U and V, and noise in every entry."""
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.standard_normal((n, rank), dtype=np.float32)).Q
    V = np.linalg.qr(rng.standard_normal((m, rank), dtype=np.float32)).Q
    s = np.arange(1, rank + 1, dtype=np.float32) ** np.float32(-0.7)
    return (U * s) @ V.T + rng.standard_normal((n, m), dtype=np.float32) * np.float32(1e-3 / np.sqrt(n))


def gram_values(a, k):
    """LAPACK on the float64 Gram matrix: exact to eps (s_1 / s_k)^2, here 1e-13."""

    def compute():
        exact = a.astype(np.float64)
        return np.sqrt(np.linalg.eigvalsh(exact.T @ exact)[::-1][:k])

    return cached(f"gram {k}", [a], compute)


def cases(quick):
    n, m, rank, k = (400, 150, 60, 8) if quick else (20000, 4000, 400, 64)
    a = matrix(n, m, rank)
    yield Case(
        task="dense_svd",
        name=f"{n} x {m}, k = {k}",
        data={"a": a, "k": k},
        accuracy=1e-3,
        error=relative_error(gram_values(a, k)),
        work=lambda details: (2.0 * n * m * details["matvecs"], a.nbytes * details["sweeps"]) if details else None,
        memory=True,
    )


def goals(results):
    for case in results:
        for peer, wanted in (("sklearn randomized_svd", 12), ("scipy svds arpack", 5)):
            yield Goal(f"dense SVD against {peer}", wanted, ratio(results, case, peer, "eigencontext"))
        flops, seconds = (field_of(results, case, "eigencontext", field) for field in ("flops", "median"))
        share = seconds * results[case]["limits"]["gemm"] / flops if seconds else None
        yield Goal("dense SVD: time over the GEMM time of its products", 1.6, share, most=True)
        yield second_thread(results, case, "dense SVD", "gemm")
