"""References in float64 that share nothing with our code, kept in results/ under the hash of their input."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results"


def cached(what: str, arrays: list[np.ndarray], compute: Callable[[], np.ndarray]) -> np.ndarray:
    """compute(), or what it returned the last time for these arrays."""
    digest = hashlib.blake2b(what.encode(), digest_size=12)
    for array in arrays:
        digest.update(str((array.shape, array.dtype)).encode())
        digest.update(np.ascontiguousarray(array))
    path = RESULTS / f"reference-{digest.hexdigest()}.npz"
    if path.exists():
        with np.load(path) as file:
            return file["values"]
    values = compute()
    RESULTS.mkdir(exist_ok=True)
    np.savez(path, values=values)
    return values


def symmetric_values(multiply: Callable[[np.ndarray], np.ndarray], n: int, k: int, basis: int) -> np.ndarray:
    """The k largest eigenvalues of a float64 product by ARPACK, each with a residual below 1e-9 of the largest."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    operator = LinearOperator((n, n), matvec=multiply, dtype=np.float64)
    start = np.random.default_rng(1).standard_normal(n)
    w, V = eigsh(operator, k, ncv=min(n, basis), which="LA", tol=1e-10, v0=start)
    for value, vector in zip(w, V.T, strict=True):
        residual = np.linalg.norm(multiply(vector) - value * vector)
        if not residual <= 1e-9 * w.max():
            raise ArithmeticError(f"reference: residual {residual:.1e} of eigenvalue {value:.6g}")
    return w[::-1]
