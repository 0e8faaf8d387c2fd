"""The engine's products of a sparse float32 matrix with 32 vectors, from both sides."""

import numpy as np

from ..case import Case, Goal, largest_error, ratio
from ..inputs import cooccurrence


def cases(quick):
    C = cooccurrence(quick)
    n, m = C.shape
    rng = np.random.default_rng(1)
    exact = C.astype(np.float64)
    b = 32
    traffic = C.data.nbytes + C.indices.nbytes + C.indptr.nbytes + 4 * b * (n + m)
    for product, matrix, size in (("A X", exact, m), ("A^T Y", exact.T, n)):
        block = rng.standard_normal((size, b), dtype=np.float32)
        yield Case(
            task="csr_products",
            name=f"{product}, b = {b}",
            data={"a": C, "block": block, "product": product},
            accuracy=1e-5,
            error=largest_error(matrix @ block),
            work=lambda _: (2.0 * C.nnz * b, traffic),
        )


def goals(results):
    yield Goal("CSR C X, 32 vectors, against SciPy", 8, ratio(results, "A X, b = 32", "SciPy", "eigencontext"))
    yield Goal("CSR C^T Y, 32 vectors, against SciPy", 5, ratio(results, "A^T Y, b = 32", "SciPy", "eigencontext"))
