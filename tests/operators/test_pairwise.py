"""Kernel operators and nearest neighbours made tile by tile, against float64 references that form the whole matrix."""

import numpy as np
import pytest

import eigencontext as ec
from eigencontext import _core

KERNELS = ["rbf", "laplacian", "cosine", "polynomial"]
DTYPES = [np.float32, np.float64]
# (n, m, p); m = 0: the symmetric operator. Sizes at 1, at the panel, block and tile borders, and around them.
SHAPES = [
    (1, 0, 3), (2, 0, 1), (1, 1, 4), (1, 700, 5), (700, 1, 5), (63, 0, 7), (64, 0, 3), (65, 0, 2), (255, 257, 9),
    (256, 0, 4), (257, 0, 4), (513, 0, 3), (511, 1025, 3), (1100, 0, 6), (1030, 513, 17),
]  # fmt: skip


def operator(X, A=None, kernel="rbf", bandwidth=1.5, degree=3, coef0=1.0):
    return _core.pairwise(X, A, kernel, bandwidth, degree, coef0)


def normalised(X):
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(norms == 0, 1, norms)


def reference(X, A=None, kernel="rbf", bandwidth=1.5, degree=3, coef0=1.0):
    X = X.astype(np.float64)
    A = X if A is None else A.astype(np.float64)
    difference = X[:, None] - A[None]
    if kernel == "rbf":
        return np.exp(-np.square(difference).sum(-1) / (2 * bandwidth**2))
    if kernel == "laplacian":
        return np.exp(-np.abs(difference).sum(-1) / bandwidth)
    if kernel == "cosine":
        return (1 + normalised(X) @ normalised(A).T) / 2
    return np.maximum(0, X @ A.T / X.shape[1] + coef0) ** degree


def assert_product(result, K, V, tolerance):
    """|result - K V| <= tolerance |K| |V|, entry by entry."""
    expected, scale = K @ V.astype(np.float64), np.abs(K) @ np.abs(V.astype(np.float64))
    assert result.dtype == V.dtype and result.shape == expected.shape
    assert (np.abs(result - expected) <= tolerance * (scale + np.abs(K).max() * np.abs(V).max())).all()


def tolerance(dtype):
    return 200 * np.finfo(dtype).eps


def points(n, m, p, dtype, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)).astype(dtype)
    X[0] = 0
    return X, rng.standard_normal((m, p)).astype(dtype) if m else None


@pytest.fixture
def restore_threads():
    before = _core.num_threads()
    yield
    _core.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", SHAPES)
def test_products_match_the_whole_matrix(shape, kernel, dtype):
    X, A = points(*shape, dtype)
    op, K = operator(X, A, kernel), reference(X, A, kernel)
    assert tuple(op.shape) == K.shape and op.symmetric == (A is None)
    rng = np.random.default_rng(1)
    for width in (1, 5):
        V = rng.standard_normal((K.shape[1], width)).astype(dtype)
        U = rng.standard_normal((K.shape[0], width)).astype(dtype)
        assert_product(op.matmat(V), K, V, tolerance(dtype))
        assert_product(op.rmatmat(U), K.T, U, tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_symmetric_operator_is_symmetric_to_the_bit(kernel, dtype):
    X, _ = points(600, 0, 8, dtype)
    X[300:] = X[:300]
    K = operator(X, None, kernel).matmat(np.eye(600, dtype=dtype))
    assert np.array_equal(K, K.T)
    if kernel in ("rbf", "laplacian"):
        assert (np.diag(K) == 1).all() and K.max() == 1
    if kernel == "cosine":
        assert np.diag(K)[0] == 0.5 and (np.delete(np.diag(K), [0, 300]) == 1).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data", ["offset", "clusters", "outlier"])
@pytest.mark.parametrize("kernel", ["rbf", "laplacian", "cosine"])
def test_cancellation_does_not_reach_the_entries(kernel, data, dtype):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((500, 8))
    if data == "offset":
        X += 1e4
    elif data == "clusters":
        X += np.where(rng.random((500, 1)) < 0.5, 1e4, -1e4)
    else:
        X[17] = 1e5
    X = X.astype(dtype)
    V = rng.standard_normal((500, 4)).astype(dtype)
    # float64 has no wider type to fall back on: |x|^2 / h^2 = 1e9 costs it nine digits.
    allowed = tolerance(np.float32) if dtype == np.float32 else 1e-6
    for A in (None, X[:77].copy()):
        K = reference(X, A, kernel)
        assert_product(operator(X, A, kernel).matmat(V[: K.shape[1]]), K, V[: K.shape[1]], allowed)


@pytest.mark.parametrize("degree", [0, 1, 2, 5, 8])
def test_polynomial_degrees(degree):
    X, A = points(90, 70, 5, np.float64)
    options = dict(kernel="polynomial", degree=degree, coef0=0.3)
    V = np.eye(70)
    assert_product(operator(X, A, **options).matmat(V), reference(X, A, **options), V, 1e-13)


@pytest.mark.parametrize("layout", ["fortran", "strided", "reversed", "read-only", "one row repeated"])
def test_any_memory_layout(layout):
    base = np.random.default_rng(4).standard_normal((300, 12))
    X = {
        "fortran": np.asfortranarray(base),
        "strided": np.repeat(base, 2, axis=1)[:, ::2],
        "reversed": base[::-1, ::-1],
        "read-only": base.copy(),
        "one row repeated": np.broadcast_to(base[0], base.shape),
    }[layout]
    if layout == "read-only":
        X.flags.writeable = False
    V = np.random.default_rng(5).standard_normal((300, 3))
    for kernel in KERNELS:
        assert_product(operator(X, None, kernel).matmat(V), reference(X, None, kernel), V, 1e-12)
    indices, _ = _core.top_k(X, None, 5, "euclidean", False)
    assert np.array_equal(indices, _core.top_k(X.copy(), None, 5, "euclidean", False)[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
def test_extreme_bandwidths(kernel, dtype):
    X, _ = points(300, 0, 4, dtype)
    eye = np.eye(300, dtype=dtype)
    assert np.array_equal(operator(X, None, kernel, bandwidth=1e-45).matmat(eye), eye)
    assert (operator(X, None, kernel, bandwidth=1e30).matmat(eye) == 1).all()


def test_wide_blocks():
    X, _ = points(700, 0, 4, np.float32)
    V = np.random.default_rng(6).standard_normal((700, 300)).astype(np.float32)
    assert_product(operator(X).matmat(V), reference(X), V, tolerance(np.float32))


@pytest.mark.parametrize("kernel", KERNELS)
def test_bits_do_not_depend_on_threads(kernel, restore_threads):
    X, A = points(1500, 900, 6, np.float32)
    V = np.random.default_rng(7).standard_normal((1500, 17)).astype(np.float32)
    results = []
    for threads in (1, 2, 3):
        _core.set_num_threads(threads)
        results.append([operator(X, None, kernel).matmat(V), operator(X, A, kernel).matmat(V[:900]),
                        operator(X, A, kernel).rmatmat(V), *_core.top_k(X, A, 9, "euclidean", False)])  # fmt: skip
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_cost():
    X, A = points(1000, 500, 10, np.float32)
    assert operator(X, A).cost(8)["flops"] == 1000 * 500 * (2 * 10 + 2 * 8)
    assert operator(X).cost(8)["flops"] == 1000 * 1000 * (10 + 2 * 8)
    assert operator(X).cost(8)["bytes"] == 1000 * 10 * 4 and operator(X).cost(8)["workspace"] > 0


@pytest.mark.parametrize(
    "options",
    [dict(bandwidth=0.0), dict(bandwidth=-1.0), dict(bandwidth=float("nan")), dict(bandwidth=1e-300),
     dict(kernel="polynomial", degree=-1)],
)  # fmt: skip
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError):
        operator(np.arange(12.0).reshape(4, 3), **options)


# Nearest neighbours


def distances(X, A, metric):
    X, A = X.astype(np.float64), (X if A is None else A).astype(np.float64)
    if metric == "euclidean":
        return np.sqrt(np.square(X[:, None] - A[None]).sum(-1))
    # 1 - cos without cancellation: |x / |x| - a / |a||^2 / 2, so that equal directions are ties.
    scale = [1 / np.where(norm == 0, np.inf, norm) for norm in (np.linalg.norm(Z, axis=1) for Z in (X, A))]
    D = np.square((X * scale[0][:, None])[:, None] - (A * scale[1][:, None])[None]).sum(-1) / 2
    D[scale[0] == 0] = 1
    D[:, scale[1] == 0] = 1
    return D


def assert_nearest(X, A, k, metric, exclude_self=False):
    D = distances(X, A, metric)
    if exclude_self:
        np.fill_diagonal(D, np.inf)
    indices, values = _core.top_k(X, A, k, metric, exclude_self)
    assert indices.dtype == np.int64 and values.dtype == X.dtype and indices.shape == values.shape == (len(X), k)
    rounding = 4 * np.finfo(X.dtype).eps
    nearest = np.sort(D, axis=1)[:, :k]
    assert (np.abs(values - nearest) <= rounding * nearest + 1e-15).all()
    assert (np.abs(np.take_along_axis(D, indices, 1) - nearest) <= 1e-14 * nearest + 1e-15).all()
    assert (np.diff(np.sort(indices, axis=1), axis=1) > 0).all()  # k different ones
    if exclude_self:
        assert (indices != np.arange(len(X))[:, None]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize(
    ("n", "m", "p", "k"),
    [(1, 0, 3, 1), (2, 0, 1, 2), (1, 1, 4, 1), (1, 700, 5, 30), (700, 1, 5, 1), (129, 0, 7, 128), (257, 513, 9, 5),
     (1100, 0, 6, 30), (600, 513, 17, 513), (300, 1200, 100, 10)],
)  # fmt: skip
def test_nearest(n, m, p, k, metric, dtype):
    X, A = points(n, m, p, dtype)
    assert_nearest(X, A, k, metric)
    if A is None and k < n:
        assert_nearest(X, A, k, metric, exclude_self=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data", ["offset", "clusters", "huge", "tiny", "duplicates"])
def test_nearest_is_exact_where_products_cancel(data, dtype):
    rng = np.random.default_rng(8)
    X = rng.standard_normal((900, 8))
    if data == "offset":
        X += 1e4
    elif data == "clusters":
        X += np.where(rng.random((900, 1)) < 0.5, 1e4, -1e4)
    elif data == "duplicates":
        X[450:] = X[:450]
    else:
        X *= {"huge": 1e30, "tiny": 1e-30}[data]
    assert_nearest(X.astype(dtype), None, 10, "euclidean", exclude_self=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_ties_go_to_the_lower_index(metric, dtype):
    # Points of a small grid: every distance occurs many times, and in float64 it is the same number each time.
    X = np.random.default_rng(9).integers(0, 3, (1300, 3)).astype(dtype)
    expected = np.argsort(distances(X, None, metric), axis=1, kind="stable")[:, :40]
    assert np.array_equal(_core.top_k(X, None, 40, metric, False)[0], expected)
    same = np.ones((700, 4), dtype)
    indices, values = _core.top_k(same, None, 6, metric, False)
    assert (indices == np.arange(6)).all() and (values == 0).all()


def test_zero_vectors_have_cosine_zero():
    X = np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [2.0, 0.0]])
    indices, values = _core.top_k(X, None, 4, "cosine", False)
    assert (values[0] == 1).all() and indices[0].tolist() == [0, 1, 2, 3]
    assert indices[1].tolist() == [1, 3, 0, 2] and values[1].tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize(("k", "exclude_self"), [(0, False), (11, False), (10, True)])
def test_impossible_numbers_of_neighbours_are_refused(k, exclude_self):
    with pytest.raises(ValueError):
        _core.top_k(np.eye(10), None, k, "euclidean", exclude_self)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 0), (700, 0), (1500, 0), (300, 900), (3000, 40)])
def test_kept_tiles_change_no_bit(shape, dtype):
    rng = np.random.default_rng(7)
    n, m = shape
    for offset in (0, 300):  # 300: float64 scores for float32 data
        X, A = points(n, m, 5, dtype)
        X, A = X + dtype(offset), None if A is None else A + dtype(offset)
        V, W = rng.standard_normal((m or n, 7)).astype(dtype), rng.standard_normal((n, 7)).astype(dtype)
        forgetful = operator(X, A)
        for budget in (1e5, 1e6, 1e9):  # none, some, all
            op = _core.pairwise(X, A, "rbf", 1.5, 3, 1.0, budget)
            assert op.cost(7)["workspace"] - forgetful.cost(7)["workspace"] <= budget
            for _ in range(3):
                assert np.array_equal(op.matmat(V), forgetful.matmat(V))
                assert np.array_equal(op.rmatmat(W), forgetful.rmatmat(W))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("far", [1e6, 1e8, 1e9])
@pytest.mark.parametrize("rectangular", [False, True])
def test_rbf_of_clusters_far_apart(dtype, far, rectangular):
    """|x|^2 + |a|^2 - 2 x.a cancels even in float64: distances are summed from differences."""
    step = max(0.1, 4 * far * float(np.finfo(dtype).eps))
    X = np.r_[-far - step * np.arange(70), far + step * np.arange(70)][:, None] * np.ones(3)
    X = X.astype(dtype)
    h = 5.0 * step
    a = X[::-1].copy() if rectangular else X
    wide = X.astype(np.longdouble), a.astype(np.longdouble)
    expected = np.exp(-np.square(wide[0][:, None] - wide[1]).sum(axis=2) / (2 * h * h)).astype(float)
    K = ec.operators.kernel(X, a if rectangular else None, bandwidth=h)
    got = K @ np.eye(140, dtype=dtype)
    np.testing.assert_allclose(got, expected, rtol=0, atol=10 * np.finfo(dtype).eps)
    np.testing.assert_allclose(K.T @ np.eye(140, dtype=dtype), got.T, rtol=0, atol=1e-15)


def test_polynomial_of_long_vectors_in_float32():
    """Scores of 1e5 that nearly cancel coef0, or one another: small entries are right to rounding."""
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((200, 30)) * 300).astype(np.float32)
    X[100:] = (1500 * np.linalg.qr(rng.standard_normal((100, 30)))[0]).astype(np.float32)
    wide = X.astype(float)
    exact = np.maximum(0, wide @ wide.T / 30 + 1) ** 3
    got = ec.operators.kernel(X, kernel="polynomial") @ np.eye(200, dtype=np.float32)
    small = (exact > 0) & (exact < 1e3)
    assert small.sum() > 10
    np.testing.assert_allclose(got[small], exact[small], rtol=1e-5, atol=1e-6)
    a = wide[::-1].astype(np.float32)
    rectangular = ec.operators.kernel(X, a, kernel="polynomial") @ np.eye(200, dtype=np.float32)
    np.testing.assert_allclose(rectangular[:, ::-1][small], exact[small], rtol=1e-5, atol=1e-6)
