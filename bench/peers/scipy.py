"""SciPy: svds with each of its solvers, and sparse products."""

from ..case import Answer, Method


def svds(data, setting):
    from scipy.sparse.linalg import svds

    solver, tol = setting
    return Answer(svds(data["a"], data["k"], solver=solver, tol=tol, rng=0)[1][::-1])


def product(data, _):
    C = data["a"] if data["product"] == "A X" else data["a"].T
    return Answer(C @ data["block"])


METHODS = [
    Method(
        f"scipy svds {solver}",
        "scipy",
        task,
        svds,
        tuple((solver, tol) for tol in (1e-1, 1e-2, 1e-3, 1e-4)),
        isolated=True,
    )
    for task in ("dense_svd", "sparse_svd")
    for solver in ("arpack", "propack", "lobpcg")
] + [Method("SciPy", "scipy", "csr_products", product)]
