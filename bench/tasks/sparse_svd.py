"""Normalised co-occurrence, 200000 x 100000, 16.5 M nonzeros, float32, k = 64: values crowd from 0.746 to 0.741."""

import numpy as np

from ..case import Case, Goal, ratio, relative_error, second_thread
from ..inputs import normalized_cooccurrence, topics
from ..reference import cached, symmetric_values


def exact_values(M, k, cluster):
    """ARPACK on M^T M in float64, past the cluster of topics to the gap below it, where a Krylov space is decisive."""

    def compute():
        exact = M.astype(np.float64)
        back = exact.T.tocsr()
        squares = symmetric_values(lambda x: back @ (exact @ x), M.shape[1], cluster, 2 * cluster)
        return np.sqrt(squares[:k])

    return cached(f"svds {k}", [M.indptr, M.indices, M.data], compute)


def cases(quick):
    M, k = normalized_cooccurrence(quick), 8 if quick else 64
    n, m = M.shape
    b = 16
    product = M.data.nbytes + M.indices.nbytes + M.indptr.nbytes + 4 * b * (n + m)
    yield Case(
        task="sparse_svd",
        name=f"{n} x {m}, {M.nnz / 1e6:.1f} M nonzeros, k = {k}",
        data={"a": M, "k": k},
        accuracy=1e-3,
        error=relative_error(exact_values(M, k, topics(quick))),
        work=lambda details: (
            (2.0 * M.nnz * details["matvecs"], product * details["matvecs"] / b) if "matvecs" in details else None
        ),
        memory=True,
    )


def goals(results):
    for case in results:
        for peer, wanted in (("sklearn randomized_svd, n_iter=7", 10), ("oneMKL mkl_sparse_s_svd", 2.5)):
            yield Goal(f"sparse SVD against {peer}", wanted, ratio(results, case, peer, "eigencontext"))
        yield second_thread(results, case, "sparse SVD", "copy")
