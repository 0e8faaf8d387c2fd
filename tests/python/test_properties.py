"""svd and eigh of whatever can be handed in: any shape, dtype, stride, rank, seed, format, composition."""

import warnings

import numpy as np
import pytest
import scipy.sparse
from comparators import check_eigh, check_entry_points, check_svd, layouts, matrix, symmetric
from hypothesis import given
from hypothesis import strategies as st

import eigencontext as ec
from eigencontext import operators as ops

FLOATS = (np.float32, np.float64)
OTHERS = (np.float16, np.int8, np.uint8, np.int32, np.int64, bool)
METHODS = ("auto", "krylov", "gram", "full", "subspace")
SEEDS = st.integers(0, 2**64 - 1)
SIZES = st.integers(1, 40)


@pytest.fixture(autouse=True)
def quiet_clusters():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ec.ClusterWarning)
        yield


def usable(method, k, n, m):
    """krylov refuses shapes without room for k + 6 columns and says so."""
    return "auto" if method == "krylov" and k + 6 > min(n, m) else method


# -- svd ---------------------------------------------------------------------------------------------------------------


@given(
    n=SIZES, m=SIZES, k=st.integers(1, 12), rank=st.integers(0, 12), dtype=st.sampled_from(FLOATS + OTHERS),
    layout=st.sampled_from(["C", "Fortran", "steps", "reversed", "read-only", "columns", "swapped bytes", "list"]),
    method=st.sampled_from(METHODS), tol=st.sampled_from([1e-2, 1e-3, 1e-5]), seed=SEEDS,
)  # fmt: skip
def test_svd_of_dense(n, m, k, rank, dtype, layout, method, tol, seed):
    k, rank = min(k, n, m), min(rank, n, m)
    a = matrix(n, m, seed=seed % 1000, rank=rank) if rank else np.zeros((n, m))
    a = a.astype(dtype) if dtype in FLOATS else (np.abs(a) * 100).astype(dtype)
    used = np.float64 if layout == "list" or a.dtype.kind in "iub" else np.result_type(a.dtype, np.float32)
    result = ec.svd(layouts(a)[layout], k, tol=tol, method=usable(method, k, n, m), seed=seed)
    assert result.s.dtype == used
    check_svd(a.astype(used), result, k, tol)
    assert result.converged.all()


def messy_csr(n, m, density, dtype, index, seed):
    """Unsorted rows with repeated entries and empty rows."""
    rng = np.random.default_rng(seed % 2**32)
    lengths = rng.binomial(m, density, n) * (rng.random(n) < 0.8)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(index)
    indices = rng.integers(0, m, indptr[-1]).astype(index)
    return scipy.sparse.csr_matrix((rng.standard_normal(indptr[-1]).astype(dtype), indices, indptr), shape=(n, m))


@given(
    n=SIZES, m=SIZES, k=st.integers(1, 8), density=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    dtype=st.sampled_from(FLOATS), index=st.sampled_from([np.int32, np.int64]),
    format=st.sampled_from(["csr", "csc", "coo"]), copies=st.booleans(), method=st.sampled_from(METHODS), seed=SEEDS,
)  # fmt: skip
def test_svd_of_csr(n, m, k, density, dtype, index, format, copies, method, seed):
    k = min(k, n, m)
    C = messy_csr(n, m, density, dtype, index, seed)
    op = ops.sparse(C.asformat(format), max_memory=None if copies else 1)
    assert op.dtype == dtype and op._engine.prefers_fused != copies
    result = ec.svd(op, k, method=usable(method, k, n, m), seed=seed)
    exact = C.toarray().astype(np.float64)
    check_svd(exact.astype(dtype), result, k, 1e-3)
    assert result.converged.all()


def composed(rng, n, m, depth, dtype):
    """A random composition of n x m: the operator, the matrix in float64, and the size of what was added up."""
    kinds = ("dense", "sparse", "rbf", "polynomial", "callback")
    kind = rng.choice(kinds if depth == 0 else ("scaled", "deflated", "product", "stacked", "sum", "transposed"))
    if kind in ("dense", "callback"):
        a = rng.standard_normal((n, m)).astype(dtype)
        op = ops.dense(a) if kind == "dense" else ops.as_operator(scipy.sparse.linalg.aslinearoperator(a), "a")
        return op, a.astype(np.float64), np.abs(a).astype(np.float64)
    if kind == "sparse":
        C = messy_csr(n, m, 0.3, dtype, np.int32, int(rng.integers(2**32)))
        return ops.sparse(C), C.toarray().astype(np.float64), abs(C).toarray().astype(np.float64)
    if kind in ("rbf", "polynomial"):
        X, A = rng.standard_normal((n, 3)).astype(dtype), rng.standard_normal((m, 3)).astype(dtype)
        x, a = X.astype(np.float64), A.astype(np.float64)
        if kind == "rbf":
            K = np.exp(-((x[:, None] - a) ** 2).sum(-1) / 8)
            return ops.kernel(X, A, bandwidth=2.0), K, 10 * K  # exponents up to 10 are rounded in the dtype
        K = np.maximum(0, x @ a.T / 3 + 1) ** 2
        return ops.kernel(X, A, "polynomial", degree=2), K, (np.abs(x) @ np.abs(a).T / 3 + 1) ** 2
    if kind == "product":
        inner = int(rng.integers(1, 12))
        A, a, size_a = composed(rng, n, inner, depth - 1, dtype)
        B, b, size_b = composed(rng, inner, m, depth - 1, dtype)
        return A @ B, a @ b, size_a @ size_b
    if kind == "transposed":
        A, a, size = composed(rng, m, n, depth - 1, dtype)
        return A.T, a.T, size.T
    if kind == "stacked" and n > 1:
        top = int(rng.integers(1, n))
        A, a, size_a = composed(rng, top, m, depth - 1, dtype)
        B, b, size_b = composed(rng, n - top, m, depth - 1, dtype)
        return ops.stacked([A, B], 0), np.vstack([a, b]), np.vstack([size_a, size_b])
    A, a, size = composed(rng, n, m, depth - 1, dtype)
    left, right = rng.standard_normal(n), rng.standard_normal(m)
    if kind == "scaled":
        return ops.scaled(A, left, right), left[:, None] * a * right, np.abs(left)[:, None] * size * np.abs(right)
    if kind == "deflated":
        return ops.deflated(A, left, right), a - np.outer(left, right), size + np.abs(np.outer(left, right))
    B, b, size_b = composed(rng, n, m, depth - 1, dtype)
    return ops.weighted_sum([A, B], [2.0, -0.5]), 2 * a - 0.5 * b, 2 * size + 0.5 * size_b


@given(n=st.integers(1, 25), m=st.integers(1, 25), width=st.integers(1, 6), depth=st.integers(0, 3),
       dtype=st.sampled_from(FLOATS), seed=SEEDS)  # fmt: skip
def test_composed_products_adjoints_and_fusion(n, m, width, depth, dtype, seed):
    """A x, A^T y and A^T W A x of any composition, to rounding of sums of absolute values; <A x, y> = <x, A^T y>."""
    rng = np.random.default_rng(seed)
    op, a, size = composed(rng, n, m, depth, dtype)
    assert op.shape == a.shape and op.dtype == dtype
    x, y = (rng.standard_normal((length, width)).astype(dtype) for length in (m, n))
    # each level of a composition adds the rounding of its own sums, at most 25 terms, and rounds its output
    eps = (depth + 1) * (8 + np.sqrt(n + m)) * np.finfo(dtype).eps
    image, back = op.matmat(x).astype(np.float64), op.rmatmat(y).astype(np.float64)
    bound, bound_back = size @ np.abs(x), size.T @ np.abs(y)
    assert (np.abs(image - a @ x) <= eps * bound).all()
    assert (np.abs(back - a.T @ y) <= eps * bound_back).all()
    both = np.abs((image * y).sum(0) - (x * back).sum(0))
    assert (both <= 2 * eps * (bound * np.abs(y)).sum(0)).all()
    if op._engine.has_fused:
        w = rng.random(n)
        fused = op._engine.fused(w, x)
        assert (np.abs(fused - a.T @ (w[:, None] * (a @ x))) <= 2 * eps * (size.T @ (w[:, None] * bound))).all()


@given(n=st.integers(2, 25), m=st.integers(2, 25), k=st.integers(1, 5), depth=st.integers(0, 2),
       dtype=st.sampled_from(FLOATS), method=st.sampled_from(METHODS), seed=SEEDS)  # fmt: skip
def test_svd_of_composed(n, m, k, depth, dtype, method, seed):
    """Compared with LAPACK of what the operator's products say; rounding is relative to what they added up."""
    op, a, size = composed(np.random.default_rng(seed), n, m, depth, dtype)
    k = min(k, n, m)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ec.ConvergenceWarning)
        result = ec.svd(op, k, tol=1e-2, method=usable(method, k, n, m), seed=seed)
    exact = np.linalg.svd(a, compute_uv=False)
    rounding = (depth + 2) * (8 + np.sqrt(n + m)) * np.finfo(dtype).eps * np.linalg.norm(size)
    U, s, V = result.U.astype(np.float64), result.s.astype(np.float64), result.Vh.T.astype(np.float64)
    assert (np.linalg.norm(a @ V - U * s, axis=0) <= 3 * rounding).all()
    assert (np.linalg.norm(a.T @ U - V * s, axis=0) <= result.residuals + 3 * rounding).all()
    assert np.abs(s - exact[:k]).max() <= np.linalg.norm(1e-2 * s) + 3 * rounding


@given(n=SIZES, m=SIZES, k=st.integers(1, 8), seed=st.integers(0, 2**32), dtype=st.sampled_from(FLOATS))
def test_equivalent_entry_points(n, m, k, seed, dtype):
    check_entry_points(matrix(n, m, seed=seed % 1000, dtype=dtype), min(k, n, m), seed)


# -- eigh --------------------------------------------------------------------------------------------------------------


@given(
    n=SIZES, k=st.integers(1, 10), dtype=st.sampled_from(FLOATS),
    spectrum=st.sampled_from(["both signs", "positive", "negative", "few", "zero", "repeated"]),
    form=st.sampled_from(["dense", "Fortran", "csr", "callback", "scaled"]),
    method=st.sampled_from(["auto", "krylov", "full", "subspace"]), seed=SEEDS,
)  # fmt: skip
def test_eigh(n, k, dtype, spectrum, form, method, seed):
    k = min(k, n)
    values = {
        "both signs": None, "positive": 0.8 ** np.arange(n), "negative": -(0.9 ** np.arange(n)),
        "few": np.where(np.arange(n) < 3, 1.0, 0.0), "zero": np.zeros(n), "repeated": np.where(np.arange(n) % 2, 1, -1),
    }[spectrum]  # fmt: skip
    a = symmetric(n, dtype, seed % 1000, values)
    if form == "scaled":
        d = np.linspace(0.5, 1, n)
        given = ops.scaled(ops.dense(a, symmetric=True), d, d)
        a = (d[:, None] * a * d).astype(dtype)
    else:
        given = {"dense": a, "Fortran": np.asfortranarray(a), "csr": scipy.sparse.csr_array(a),
                 "callback": scipy.sparse.linalg.aslinearoperator(a)}[form]  # fmt: skip
    result = ec.eigh(given, k, method=usable(method, k, n, n), seed=seed)
    check_eigh(a, result, k, 1e-3)
    assert result.converged.all()


@given(n=st.integers(2, 60), p=st.integers(1, 4), k=st.integers(1, 5), seed=SEEDS, centered=st.booleans(),
       kernel=st.sampled_from(["rbf", "laplacian", "cosine", "polynomial"]),
       method=st.sampled_from(["auto", "krylov", "full", "subspace"]))  # fmt: skip
def test_eigh_of_kernels(n, p, k, seed, centered, kernel, method):
    k = min(k, n)
    X = np.random.default_rng(seed).standard_normal((n, p))
    options = {"bandwidth": 1.5} if kernel in ("rbf", "laplacian") else {}
    K = ec.operators.kernel(X, kernel=kernel, centered=centered, **options)
    distance = np.abs(X[:, None] - X)
    unit = X / np.linalg.norm(X, axis=1)[:, None]
    a = {"rbf": np.exp(-(distance**2).sum(-1) / 4.5), "laplacian": np.exp(-distance.sum(-1) / 1.5),
         "cosine": (1 + unit @ unit.T) / 2, "polynomial": np.maximum(0, X @ X.T / p + 1) ** 3}[kernel]  # fmt: skip
    # the reference adds the same numbers up in another order, before centring cancels them
    slack = 100 * n * np.finfo(float).eps * np.abs(a).max()
    if centered:
        a = a - a.mean(0) - a.mean(1)[:, None] + a.mean()
    result = ec.eigh(K, k, method=usable(method, k, n, n), seed=seed)
    check_eigh((a + a.T) / 2, result, k, 1e-3, slack)
