"""The primitives of the CUDA backend against the CPU's and against closed forms."""

import numpy as np
import pytest
from emulated import core, given

from eigencontext import _core as cpu

DTYPES = [np.float32, np.float64]
SIZES = [1, 31, 33, 257]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("m", "row0", "col0"), [(1, 0, 0), (5, 7, 3), (33, 2**33, 2**32 + 1)])
def test_gaussians_are_those_of_the_host(n, m, row0, col0, dtype):
    got = core.gaussian(2**40 + 17, n, m, row0, col0, dtype.__name__).get()
    np.testing.assert_array_equal(got, cpu.gaussian(2**40 + 17, n, m, row0, col0, dtype.__name__))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "p", "q"), [(1, 70, 65), (257, 70, 65), (2049, 32, 33)])
def test_gram(n, p, q, dtype):
    x, y = cpu.gaussian(1, n, p, 0, 0, dtype.__name__), cpu.gaussian(2, n, q, 0, 0, dtype.__name__)
    wide_x, wide_y = x.astype(np.float64), y.astype(np.float64)
    on_device = given(x)
    np.testing.assert_allclose(core.gram(on_device, given(y)), wide_x.T @ wide_y, rtol=0, atol=1e-13 * n)
    symmetric = core.gram(on_device, on_device)
    np.testing.assert_allclose(symmetric, wide_x.T @ wide_x, rtol=0, atol=1e-13 * n)
    np.testing.assert_array_equal(symmetric, symmetric.T)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_finite_is_found_anywhere(bad, dtype):
    for n, m in [(1, 1), (31, 33), (257, 3)]:
        x = np.ones((n, m), dtype)
        assert core.all_finite(given(x))
        x[n - 1, m // 2] = bad
        assert not core.all_finite(given(x))


@pytest.mark.parametrize("kernel", ["rbf", "laplacian", "cosine", "polynomial"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "m"), [(1, 0), (31, 0), (257, 0), (33, 257), (257, 31)])
def test_kernels_are_those_of_the_host(n, m, kernel, dtype):
    rng = np.random.default_rng(n + m)
    X, A = rng.standard_normal((n, 5)).astype(dtype), rng.standard_normal((m, 5)).astype(dtype) if m else None
    X[0] = 0  # a zero vector has no cosine
    options = (kernel, 1.3, 3, 0.5)
    host = cpu.pairwise(X, A, *options)
    device = core.pairwise(given(X), None if A is None else given(A), *options)
    wide = cpu.gaussian(5, m or n, 9, 0, 0, dtype.__name__)
    high = cpu.gaussian(6, n, 9, 0, 0, dtype.__name__)
    atol = 40 * np.finfo(dtype).eps * np.sqrt(n + m) * 30
    np.testing.assert_allclose(device.matmat(given(wide)).get(), host.matmat(wide), rtol=0, atol=atol)
    np.testing.assert_allclose(device.rmatmat(given(high)).get(), host.rmatmat(high), rtol=0, atol=atol)
    assert device.has_entries == host.has_entries
    if device.has_entries:
        columns = [0, n // 2, n - 1]
        np.testing.assert_allclose(device.entries(None, columns).get(), host.entries(None, columns), rtol=0, atol=atol)
        np.testing.assert_array_equal(device.diagonal()[0], host.diagonal()[0])


@pytest.mark.parametrize("bandwidth", [1e-2, 1e-4, 1e-9])
def test_kernels_of_points_far_apart_in_units_of_the_bandwidth(bandwidth):
    """Scores in float64, and then squared differences, take over where float32 cancels."""
    X = np.random.default_rng(0).standard_normal((100, 3)).astype(np.float32)
    host = cpu.pairwise(X, None, "rbf", bandwidth, 3, 1.0)
    device = core.pairwise(given(X), None, "rbf", bandwidth, 3, 1.0)
    B = np.eye(100, dtype=np.float32)
    np.testing.assert_allclose(device.matmat(given(B)).get(), host.matmat(B), rtol=0, atol=1e-4)


def sampled(score, n, m, p, dtype, rows, columns, scale=1.0):
    """The same operator of a sampled context on the host and on the device."""
    rng = np.random.default_rng(n + m + p)
    name = f"{score}{np.dtype(dtype).itemsize * 8}"
    if score == "gaussian":
        arrays, numbers = [scale * rng.standard_normal((size, p)).astype(dtype) for size in (n, m)], [0.9]
    else:
        arrays, numbers = [rng.integers(0, 3, (size, p), dtype=np.uint8) for size in (n, m)], []
        if score == "matches":
            arrays.append(rng.random((p, 256)))
        else:
            arrays.append(rng.integers(0, 3, (m, p), dtype=np.uint8) * (rng.random((m, p)) < 0.5).astype(np.uint8))
    offsets = [-rng.random(n) - 3.0 if rows else None, -rng.random(m) - 2.0 if columns else None]
    host = getattr(cpu, name)(*arrays, *numbers, *offsets, 0.0)
    return host, getattr(core, name)(*given(*arrays), *numbers, *offsets, 0.0)


@pytest.mark.parametrize("score", ["gaussian", "matches", "agreement"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "m", "p"), [(1, 1, 1), (31, 33, 4), (33, 130, 5), (130, 257, 18)])
@pytest.mark.parametrize(("rows", "columns"), [(True, True), (False, True), (False, False)])
def test_sampled_operators_are_those_of_the_host(n, m, p, rows, columns, dtype, score):
    host, device = sampled(score, n, m, p, dtype, rows, columns)
    X, Y = cpu.gaussian(1, m, 5, 0, 0, dtype.__name__), cpu.gaussian(2, n, 5, 0, 0, dtype.__name__)
    atol = 40 * np.finfo(dtype).eps * (n + m) ** 0.5 * (1 + p)
    np.testing.assert_allclose(device.matmat(given(X)).get(), host.matmat(X), rtol=0, atol=atol)
    np.testing.assert_allclose(device.rmatmat(given(Y)).get(), host.rmatmat(Y), rtol=0, atol=atol)
    with np.errstate(divide="ignore"):
        wanted, got = host.log_sums_of_rows(), device.log_sums_of_rows()
    np.testing.assert_allclose(got[0], wanted[0], rtol=0, atol=atol)
    np.testing.assert_allclose(got[1], wanted[1], rtol=100 * np.finfo(dtype).eps * (1 + p))
    np.testing.assert_allclose(device.log_sums_of_columns(), host.log_sums_of_columns(), rtol=0, atol=atol)


@pytest.mark.parametrize("score", ["matches", "agreement"])
def test_matches_in_closed_form(score):
    x = np.array([[0, 1, 2, 3, 255], [0, 0, 0, 0, 0]], np.uint8)
    a = np.array([[0, 1, 2, 3, 255], [0, 9, 2, 9, 255], [9, 9, 9, 9, 9]], np.uint8)
    if score == "matches":  # weight f + 1, whatever the value
        table = np.repeat(np.arange(1.0, 6.0)[:, None], 256, axis=1)
        scores = np.array([[15.0, 9.0, 0.0], [1.0, 1.0, 0.0]])
    else:
        table = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0]], np.uint8)
        scores = np.array([[0, 0, 0], [-np.inf, -np.inf, 0]])
    op = getattr(core, f"{score}64")(*given(x, a, table), np.full(2, -10.0), np.full(3, -10.0), 0.0)
    np.testing.assert_allclose(op.matmat(given(np.eye(3))).get(), np.exp(scores - 20), rtol=1e-12)


@pytest.mark.parametrize("scale", [1e6, 1e8])
def test_gaussian_noise_of_points_far_apart_in_units_of_sigma(scale):
    """Scores in float64, and then squared differences, take over where float32 cancels."""
    host, device = sampled("gaussian", 33, 50, 3, np.float64, False, True, scale)
    np.testing.assert_allclose(device.log_sums_of_rows()[0], host.log_sums_of_rows()[0], rtol=1e-10)
    np.testing.assert_allclose(device.log_sums_of_columns(), host.log_sums_of_columns(), rtol=1e-10)


def sparse(n, m, dtype, index, seed=0):
    rng = np.random.default_rng(seed)
    dense = rng.standard_normal((n, m)) * (rng.random((n, m)) < 0.2)
    import scipy.sparse

    csr = scipy.sparse.csr_array(dense.astype(dtype))
    return csr.indptr.astype(index), csr.indices.astype(index), csr.data, dense.astype(dtype)


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "m"), [(1, 1), (31, 33), (33, 257), (257, 31)])
@pytest.mark.parametrize("b", [1, 3, 16, 33])
def test_sparse_products(n, m, b, dtype, index):
    indptr, indices, data, dense = sparse(n, m, dtype, index)
    op = core.csr(*given(indptr, indices, data), n, m)
    X, Y = cpu.gaussian(1, m, b, 0, 0, dtype.__name__), cpu.gaussian(2, n, b, 0, 0, dtype.__name__)
    wide = dense.astype(np.float64)
    tolerance = dict(rtol=0, atol=4 * np.finfo(dtype).eps * 30)
    np.testing.assert_allclose(op.matmat(given(X)).get(), wide @ X, **tolerance)
    np.testing.assert_allclose(op.rmatmat(given(Y)).get(), wide.T @ Y, **tolerance)


@pytest.mark.parametrize(
    ("indptr", "indices", "argument"),
    [([1, 2, 3], [0, 1, 0], "indptr"), ([0, 2, 1], [0, 1, 0], "indptr"), ([0, 1, 9], [0, 1, 0], "indptr"),
     ([0, 1, 3], [0, 5, 0], "indices"), ([0, 1, 3], [0, -1, 0], "indices")],
)  # fmt: skip
def test_a_sparse_structure_that_is_wrong_is_an_error(indptr, indices, argument):
    with pytest.raises(ValueError, match=f"^{argument}: "):
        core.csr(*given(np.array(indptr, np.int32), np.array(indices, np.int32), np.ones(3)), 2, 3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "m"), [(1, 1), (31, 33), (257, 31)])
def test_dense_products_with_weights(n, m, dtype):
    a, x = cpu.gaussian(1, n, m, 0, 0, dtype.__name__), cpu.gaussian(2, m, 5, 0, 0, dtype.__name__)
    w = np.linspace(0.5, 2, n)
    op = core.dense(given(a))
    wide = a.astype(np.float64)
    atol = 30 * np.finfo(dtype).eps * np.sqrt(n * m) * 4
    np.testing.assert_allclose(op.matmat(given(x)).get(), wide @ x, rtol=0, atol=atol)
    np.testing.assert_allclose(op.fused(None, given(x)).get(), wide.T @ (wide @ x), rtol=0, atol=atol)
    np.testing.assert_allclose(op.fused(w, given(x)).get(), wide.T @ (w[:, None] * (wide @ x)), rtol=0, atol=atol)
