"""The engine's own products, nearest neighbours and exp, drawn at random, against float64 and long double."""

import numpy as np
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from test_operators import check_products
from test_pairwise import KERNELS, assert_product, distances, operator, points, reference, tolerance

from eigencontext import _core

SEEDS = st.integers(0, 2**32 - 1)
DTYPES = st.sampled_from([np.float32, np.float64])
WIDTHS = st.one_of(st.integers(1, 20), st.sampled_from([31, 32, 33, 64, 65, 130]))


@given(n=st.integers(1, 90), m=st.integers(1, 90), width=WIDTHS, dtype=DTYPES, seed=SEEDS,
       steps=st.tuples(*[st.sampled_from([-3, -1, 0, 1, 2])] * 2), turned=st.booleans())  # fmt: skip
def test_dense_products(n, m, width, dtype, seed, steps, turned):
    """Any strides: steps of either sign, 0 (one row or column repeated), either order."""
    big = np.random.default_rng(seed).standard_normal((3 * n, 3 * m)).astype(dtype)
    index = [slice(None, None, step) if step else slice(0, 1) for step in steps]
    a = big[tuple(index)][:n, :m]
    a = np.broadcast_to(a, (n if steps[0] == 0 else a.shape[0], m if steps[1] == 0 else a.shape[1]))
    a = a.T if turned else a
    check_products(_core.dense(a), a.astype(np.float64), dtype, width)


@given(n=st.integers(1, 90), m=st.integers(1, 90), width=WIDTHS, dtype=DTYPES, seed=SEEDS,
       density=st.sampled_from([0.0, 0.02, 0.3, 1.5]), index=st.sampled_from([np.int32, np.int64]),
       transpose_copy=st.booleans())  # fmt: skip
def test_csr_products(n, m, width, dtype, seed, density, index, transpose_copy):
    """Rows unsorted, entries repeated, rows empty; the bound takes the repeated entries' own sizes."""
    rng = np.random.default_rng(seed)
    lengths = rng.poisson(density * m, n) * (rng.random(n) < 0.8)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(index)
    indices = rng.integers(0, m, indptr[-1]).astype(index)
    data = np.abs(rng.standard_normal(indptr[-1])).astype(dtype)  # no cancellation among repeated entries
    A = sp.coo_array((data.astype(np.float64), (np.repeat(np.arange(n), lengths), indices)), shape=(n, m)).toarray()
    check_products(_core.csr(indptr, indices, data, n, m, transpose_copy), A, dtype, width)


@given(n=st.integers(1, 150), m=st.integers(0, 150), p=st.integers(1, 9), width=st.integers(1, 20), dtype=DTYPES,
       kernel=st.sampled_from(KERNELS), seed=SEEDS)  # fmt: skip
def test_pairwise_products(n, m, p, width, dtype, kernel, seed):
    X, A = points(n, m, p, dtype, seed)
    op, K = operator(X, A, kernel), reference(X, A, kernel)
    rng = np.random.default_rng(seed)
    V, U = (rng.standard_normal((size, width)).astype(dtype) for size in (K.shape[1], n))
    assert_product(op.matmat(V), K, V, tolerance(dtype))
    assert_product(op.rmatmat(U), K.T, U, tolerance(dtype))


@given(n=st.integers(1, 120), m=st.integers(0, 120), p=st.integers(1, 4), k=st.integers(1, 40), dtype=DTYPES,
       metric=st.sampled_from(["euclidean", "cosine"]), levels=st.integers(1, 4), seed=SEEDS)  # fmt: skip
def test_nearest_neighbours_with_ties(n, m, p, k, dtype, metric, levels, seed):
    """Points of a small grid, where ties are exact, against a stable sort of all distances."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, levels, (n, p)).astype(dtype)
    A = rng.integers(0, levels, (m, p)).astype(dtype) if m else None
    D = distances(X, A, metric)
    exclude_self = A is None and n > 1 and bool(seed % 2)
    if exclude_self:
        np.fill_diagonal(D, np.inf)
    k = min(k, D.shape[1] - exclude_self)
    indices, values = _core.top_k(X, A, k, metric, exclude_self)
    expected = np.argsort(D, axis=1, kind="stable")[:, :k]
    nearest = np.take_along_axis(D, expected, 1)
    assert (np.abs(values - nearest) <= 4 * np.finfo(dtype).eps * nearest + 1e-15).all()
    if metric == "euclidean":  # cosines of equal angles differ by rounding in the reference itself
        assert np.array_equal(indices, expected)
    else:
        assert (np.abs(np.take_along_axis(D, indices, 1) - nearest) <= 1e-14).all()


@given(low=st.floats(-750, 720), span=st.floats(0, 100), n=st.integers(1, 300), dtype=DTYPES, seed=SEEDS)
def test_exp_is_within_two_ulps(low, span, n, dtype, seed):
    x = (low + span * np.random.default_rng(seed).random(n)).astype(dtype)
    got = _core.exp(x).astype(np.longdouble)
    exact = np.exp(x.astype(np.longdouble))
    overflows = exact > np.finfo(dtype).max
    assert np.isinf(got[overflows & (exact > np.longdouble(np.finfo(dtype).max) * (1 + 4 * np.finfo(dtype).eps))]).all()
    unit = np.spacing(exact[~overflows].astype(dtype)).astype(np.longdouble)
    finite = got[~overflows]
    assert (np.abs(finite - exact[~overflows]) <= 2 * unit).all()
