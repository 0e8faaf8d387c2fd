"""Dense, CSR, composed and callback operators against float64 NumPy."""

import gc

import numpy as np
import pytest
import scipy.sparse as sp

import eigencontext as ec
from eigencontext import _core

DTYPES = [np.float32, np.float64]
WIDTHS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 129, 257]


def random(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def close(got, exact, scale, terms):
    """|got - exact| <= c eps scale, scale = the same product with absolute values."""
    assert got.shape == exact.shape
    bound = (8 + np.sqrt(terms)) * np.finfo(got.dtype).eps * scale + 1e-300
    assert np.all(np.abs(got - exact) <= bound), np.max(np.abs(got - exact) / bound)


def check_products(op, A, dtype, b=5, slack=1.0):
    """All products of op against those of the float64 matrix A."""
    n, m = A.shape
    X, Y, w = random((m, b), dtype, 1), random((n, b), dtype, 2), np.random.default_rng(3).random(n)
    size = slack * np.abs(A)
    assert op.shape == (n, m)
    close(op.matmat(X), A @ X, size @ np.abs(X), n + m)
    close(op.rmatmat(Y), A.T @ Y, size.T @ np.abs(Y), n + m)
    if op.has_fused:
        scale = size.T @ (size @ np.abs(X))
        close(op.fused(None, X), A.T @ (A @ X), scale, n + m)
        close(op.fused(w, X), A.T @ (w[:, None] * (A @ X)), scale, n + m)


def sparse(n, m, density, dtype, index=np.int32, seed=0):
    A = sp.random(n, m, density, format="csr", rng=np.random.default_rng(seed), dtype=np.float64).astype(dtype)
    return A.indptr.astype(index), A.indices.astype(index), A.data, A.toarray().astype(np.float64)


def dense(A, dtype, **options):
    return _core.dense(A.astype(dtype), **options)


# ---- dense


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "layout",
    [
        lambda a: a,
        lambda a: a.T,
        np.asfortranarray,
        lambda a: a[::-1],
        lambda a: a[:, ::-1],
        lambda a: a[::2, 1::3],
        lambda a: np.broadcast_to(a[:1], a.shape),
        lambda a: np.broadcast_to(a[:, :1], a.shape),
    ],
)
def test_dense_any_strides(dtype, layout):
    A = layout(random((60, 45), dtype))
    op = _core.dense(A)
    assert op.has_fused and op.prefers_fused and not op.symmetric
    check_products(op, A.astype(np.float64), dtype)


def test_dense_is_not_copied_and_keeps_its_array_alive():
    A = random((300, 200), np.float64)
    op, exact = _core.dense(A), A @ np.ones((200, 1))
    A *= 2
    np.testing.assert_allclose(op.matmat(np.ones((200, 1))), 2 * exact)
    del A
    gc.collect()
    np.testing.assert_allclose(op.matmat(np.ones((200, 1))), 2 * exact)


def test_read_only_arrays_are_accepted():
    A = random((6, 4), np.float64)
    A.flags.writeable = False
    check_products(_core.dense(A), A, np.float64)


# ---- csr


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("transpose_copy", [False, True])
def test_csr_every_width(dtype, index, transpose_copy):
    *arrays, A = sparse(180, 110, 0.1, dtype, index)
    op = _core.csr(*arrays, *A.shape, transpose_copy)
    assert op.has_fused and op.prefers_fused == (not transpose_copy)
    for b in WIDTHS:
        check_products(op, A, dtype, b)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape, density",
    [((1, 1), 1), ((1, 300), 0.5), ((300, 1), 0.5), ((40, 50), 0.0), ((5, 9000), 0.9), ((3000, 700), 0.05)],
)
@pytest.mark.parametrize("transpose_copy", [False, True])
def test_csr_shapes(dtype, shape, density, transpose_copy):
    *arrays, A = sparse(*shape, density, dtype)
    op = _core.csr(*arrays, *shape, transpose_copy)
    for b in (1, 17, 40):
        check_products(op, A, dtype, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_csr_tall_transpose_in_bands(dtype, index):
    """Tall enough for several bands (8 MiB of 32 columns), at widths whose last vector overlaps the one before."""
    *arrays, A = sparse(150_000, 11, 0.5, dtype, index)
    op = _core.csr(*arrays, *A.shape, True)
    bound = 1024 + 8  # additions of a segment, and of the bands
    exact = sp.csr_matrix((arrays[2].astype(float), arrays[1], arrays[0]), shape=A.shape).T
    for width in (1, 3, 16, 21, 40):
        y = np.random.default_rng(width).standard_normal((150_000, width)).astype(dtype)
        scale = abs(exact) @ abs(y.astype(float))
        assert np.all(abs(op.rmatmat(y) - exact @ y.astype(float)) <= bound * np.finfo(dtype).eps * scale)


def test_csr_repeated_and_unsorted_entries_add_up():
    indptr, indices = np.array([0, 3, 3, 5], np.int32), np.array([2, 0, 2, 1, 0], np.int32)
    data = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    A = np.array([[2.0, 0.0, 4.0], [0.0, 0.0, 0.0], [5.0, 4.0, 0.0]])
    for transpose_copy in (False, True):
        check_products(_core.csr(indptr, indices, data, 3, 3, transpose_copy), A, np.float64)


def test_csr_long_rows_are_summed_in_float64():
    m = 1 << 20
    op = _core.csr(np.array([0, m]), np.arange(m), np.ones(m, np.float32), 1, m, True)
    value = np.float32(0.1)
    got = op.matmat(np.full((m, 3), value, np.float32))
    np.testing.assert_allclose(got, np.float64(value) * m, rtol=1e-5)


def test_csr_same_bits_for_any_number_of_threads():
    *arrays, A = sparse(20000, 900, 0.01, np.float32)
    X, Y = random((900, 37), np.float32), random((20000, 37), np.float32)
    before, seen = _core.num_threads(), set()
    try:
        for threads in (1, 2, 5):
            _core.set_num_threads(threads)
            for_threads = []
            for transpose_copy in (False, True):
                op = _core.csr(*arrays, *A.shape, transpose_copy)
                for_threads += [op.matmat(X).tobytes(), op.rmatmat(Y).tobytes(), op.fused(None, X).tobytes()]
            seen.add(tuple(for_threads))
    finally:
        _core.set_num_threads(before)
    assert len(seen) == 1


@pytest.mark.parametrize(
    "indptr, indices, words",
    [
        ([0, 1, 2], [0, 3], "out of range"),
        ([0, 1, 2], [0, -1], "out of range"),
        ([0, 2, 1], [0, 1], "decrease"),
        ([1, 1, 2], [0, 1], "first entry"),
        ([0, 1, 3], [0, 1], "last entry"),
    ],
)
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_csr_bad_arrays_are_refused(indptr, indices, words, index):
    with pytest.raises(ValueError, match=words):
        _core.csr(np.array(indptr, index), np.array(indices, index), np.ones(len(indices)), 2, 3, False)


def test_csr_symmetric_uses_the_product_for_both_sides():
    *arrays, A = sparse(90, 90, 0.1, np.float64)
    S = sp.csr_matrix(A + A.T)
    op = _core.csr(S.indptr, S.indices, S.data, 90, 90, False, symmetric=True)
    assert op.symmetric and op.cost(4)["workspace"] == 0
    check_products(op, S.toarray(), np.float64)


# ---- compose


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("with_left", [False, True])
@pytest.mark.parametrize("with_right", [False, True])
def test_scaled(dtype, with_left, with_right):
    A = random((40, 30), dtype).astype(np.float64)
    left = np.linspace(0.5, 2, 40) if with_left else None
    right = np.linspace(-1, 3, 30) if with_right else None
    exact = (1 if left is None else left[:, None]) * A * (1 if right is None else right)
    op = _core.scaled(dense(A, dtype), left, right)
    assert op.prefers_fused
    check_products(op, exact, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_deflated(dtype):
    A = random((40, 30), dtype).astype(np.float64)
    u, v = random(40, dtype, 4).astype(np.float64), random(30, dtype, 5).astype(np.float64)
    op = _core.deflated(dense(A, dtype), u, v)
    assert op.prefers_fused
    cancellation = np.max((np.abs(A) + np.abs(np.outer(u, v))) / np.abs(A - np.outer(u, v)))
    check_products(op, A - np.outer(u, v), dtype, slack=cancellation)
    check_products(op, A - np.outer(u, v), dtype, slack=cancellation)  # the second time from what was remembered


def test_deflated_removes_a_singular_pair_exactly():
    A = random((50, 35), np.float64)
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    op = _core.deflated(_core.dense(A), s[0] * U[:, 0], Vt[0])
    assert np.linalg.norm(op.matmat(Vt[:1].T.copy())) < 1e-13 * s[0]
    assert np.linalg.norm(op.fused(None, Vt[:1].T.copy())) < 1e-13 * s[0] ** 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_product_of_dense_and_csr(dtype):
    A = random((30, 40), dtype).astype(np.float64)
    *arrays, B = sparse(40, 25, 0.3, dtype)
    op = _core.product(dense(A, dtype), _core.csr(*arrays, 40, 25, True))
    assert op.has_fused
    check_products(op, A @ B, dtype, slack=1 + np.max((np.abs(A) @ np.abs(B)) / (np.abs(A @ B) + 1e-12)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1])
def test_stacked(dtype, axis):
    parts = [random((20, 20), dtype, seed).astype(np.float64) for seed in range(3)]
    op = _core.stacked([dense(part, dtype) for part in parts], axis)
    assert op.has_fused == (axis == 0)
    check_products(op, np.concatenate(parts, axis), dtype)


def test_stacked_the_same_part_twice():
    A = random((6, 4), np.float64)
    op = _core.dense(A)
    check_products(_core.stacked([op, op], 0), np.vstack([A, A]), np.float64)
    check_products(_core.stacked([op, op], 1), np.hstack([A, A]), np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weighted_sum(dtype):
    parts = [np.abs(random((20, 12), dtype, seed)).astype(np.float64) for seed in range(3)]
    for weights in ([1.0, 1.0, 1.0], [0.25, 0.5, 2.0]):
        op = _core.weighted_sum([dense(part, dtype) for part in parts], weights)
        check_products(op, sum(w * part for w, part in zip(weights, parts, strict=True)), dtype)


def test_transposed():
    A = random((20, 12), np.float64)
    op = _core.transposed(_core.dense(A))
    assert not op.has_fused
    check_products(op, A.T, np.float64)
    assert _core.transposed(op).prefers_fused  # twice is the operator itself


def test_symmetry_is_passed_on_only_where_it_holds():
    A = random((10, 10), np.float64)
    op, d = _core.dense(A + A.T, symmetric=True), np.arange(1.0, 11.0)
    assert _core.scaled(op, d, d).symmetric and not _core.scaled(op, d, None).symmetric
    assert _core.deflated(op, d, d).symmetric and not _core.deflated(op, d, 2 * d).symmetric
    assert _core.weighted_sum([op, op], [1.0, 2.0]).symmetric
    assert not _core.weighted_sum([op, _core.dense(A)], [1.0, 2.0]).symmetric
    assert not _core.product(op, op).symmetric


def test_a_deep_composition():
    A, B = random((30, 20), np.float64), random((30, 20), np.float64, 1)
    u, v, left = np.full(30, 0.1), np.full(20, 0.2), np.linspace(1, 2, 30)
    inner = _core.deflated(_core.scaled(_core.dense(A), left, None), u, v)
    op = _core.stacked([inner, _core.dense(B)], 0)
    exact = np.vstack([left[:, None] * A - np.outer(u, v), B])
    assert op.prefers_fused
    check_products(op, exact, np.float64, slack=100)


# ---- callback


@pytest.mark.parametrize("dtype", DTYPES)
def test_callback(dtype):
    A = random((30, 20), dtype)
    calls = []

    def product(matrix):
        def apply(X):
            calls.append(X.shape)
            return matrix @ X

        return apply

    op = _core.callback(30, 20, np.dtype(dtype).name, product(A), product(A.T))
    assert not op.has_fused
    check_products(op, A.astype(np.float64), dtype)
    assert calls == [(20, 5), (30, 5)]


def test_callback_errors_pass_unchanged():
    class Own(Exception):
        pass

    def fails(X):
        raise Own("mine")

    op = _core.callback(3, 2, "float64", fails, lambda Y: np.full((2, Y.shape[1]), np.nan))
    with pytest.raises(Own, match="mine"):
        op.matmat(np.ones((2, 1)))
    with pytest.raises(ValueError, match="NaN"):
        op.rmatmat(np.ones((3, 1)))
    with pytest.raises(ValueError, match="shape"):
        _core.callback(3, 2, "float64", lambda X: X, fails).matmat(np.ones((2, 1)))


@pytest.mark.torch
def test_products_with_tensors_are_tensors():
    torch = pytest.importorskip("torch")
    X = np.random.default_rng(0).normal(size=(40, 3))
    K = ec.operators.kernel(torch.from_numpy(X), X[:30], bandwidth=1.0)
    right, left = torch.from_numpy(X[:30]), torch.from_numpy(X).requires_grad_()
    for got, expected in (
        (K @ right, K @ X[:30]),
        (K * right, K @ X[:30]),
        (K(right[:, 0]), K @ X[:30, 0]),
        (K.matmat(right), K @ X[:30]),
        (K.matvec(right[:, 0]), K @ X[:30, 0]),
        (K.rmatmat(left), K.T @ X),
        (K.rmatvec(left[:, 0]), K.T @ X[:, 0]),
        (K.T @ left, K.T @ X),
    ):
        assert isinstance(got, torch.Tensor) and isinstance(expected, np.ndarray)
        np.testing.assert_array_equal(got.numpy(), expected)
