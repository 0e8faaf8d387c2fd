"""U diag(s) V^T with chosen s (THEORY 6, 10) through every kind of operator that can be such a matrix."""

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg

import eigencontext as ec
from eigencontext import operators as o

N, M, K = 90, 70, 6
SPECTRA = {
    "exponential": 0.8 ** np.arange(M),
    "polynomial": 1.0 / (1 + np.arange(M)),
    "step": np.where(np.arange(M) < 10, 1.0, 0.01),
    "clustered": np.concatenate([[1.0], 0.9 - 1e-10 * np.arange(8), 0.5 ** np.arange(1, M - 8)]),
    "rank-deficient": np.where(np.arange(M) < 4, 0.9 ** np.arange(M), 0.0),
    "zero": np.zeros(M),
    "condition 1e12": np.logspace(0, -12, M),
    "scaled to 1e-25": 1e-25 * 0.8 ** np.arange(M),
    "scaled to 1e25": 1e25 * 0.8 ** np.arange(M),
}


def factors():
    rng = np.random.default_rng(0)
    return (np.linalg.qr(rng.standard_normal((size, M)))[0] for size in (N, M))


def kinds(s, dtype):
    """Operators of U diag(s) V^T."""
    U, V = factors()
    a = ((U * s) @ V.T).astype(dtype)
    u, v = np.linspace(0, 1, N), np.linspace(1, 2, M) * s[0]
    left, right = 2.0 ** (np.arange(N) % 5 - 2), 2.0 ** (np.arange(M) % 3)  # powers of two scale without rounding
    apart = (a / left[:, None] / right).astype(dtype)
    return {
        "dense": o.dense(a),
        "Fortran": o.dense(np.asfortranarray(a)),
        "csr": o.sparse(sp.csr_array(a)),
        "csr, no transpose kept": o.sparse(sp.csr_array(a), max_memory=1),
        "callback": o.as_operator(scipy.sparse.linalg.aslinearoperator(a), "a"),
        "product": o.dense((U * s).astype(dtype)) @ o.dense(V.T.astype(dtype)),
        "scaled": o.scaled(o.dense(apart), left, right),
        "scaled csr": o.scaled(o.sparse(sp.csr_array(apart), max_memory=1), left, right),
        "deflated": o.deflated(o.dense((a + np.outer(u, v)).astype(dtype)), u, v),
        "stacked": o.stacked([o.dense(a[:40]), o.sparse(sp.csr_array(a[40:]))], 0),
        "side by side": o.stacked([o.dense(a[:, :40]), o.sparse(sp.csr_array(a[:, 40:]))], 1),
        "sum": o.weighted_sum([o.dense(a), o.sparse(sp.csr_array(a))], [0.25, 0.75]),
        "transposed": o.dense(np.ascontiguousarray(a.T)).T,
    }


@pytest.mark.filterwarnings("ignore::eigencontext.ClusterWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", ["auto", "krylov", "subspace", "gram"])
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_chosen_singular_values(spectrum, method, dtype):
    """The rounding of the matrix itself, and of the sums that a deflation takes away again, is eps s_1 sqrt(max) too:
    |u v^T| is at most 1.4 sqrt(N M / 3) s_1."""
    s = SPECTRA[spectrum]
    U, V = factors()
    exact = (U * s) @ V.T
    for kind, op in kinds(s, dtype).items():
        left, found, right = result = ec.svd(op, K, method=method, tol=1e-4)
        floor = 10 * np.finfo(dtype).eps * s[0] * np.sqrt(N) * (12 if kind == "deflated" else 1)
        assert result.converged.all(), kind
        assert np.abs(found - s[:K]).max() <= np.linalg.norm(np.maximum(1e-4 * found, floor)) + floor, kind
        left, found, right = left.astype(float), found.astype(float), right.astype(float)
        true = np.linalg.norm(exact.T @ left - right.T * found, axis=0)
        assert (true <= result.residuals + floor).all(), kind
        assert (np.linalg.norm(exact @ right.T - left * found, axis=0) <= 3 * floor).all(), kind
