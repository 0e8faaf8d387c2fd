"""counts and operator against closed forms, through every form in which a joint distribution can be given."""

import context_oracles as oracles
import numpy as np
import pytest
import scipy.sparse as sp

import eigencontext as ec


@pytest.fixture(params=oracles.FORMS)
def make(request):
    return oracles.FORMS[request.param]


@pytest.mark.parametrize("flip", [0.0, 0.1, 0.5, 0.9])
def test_binary_symmetric_channel(make, flip):
    P = oracles.bits(1, flip)
    spec = oracles.check_spectrum(make(P), [abs(1 - 2 * flip)])
    if 0 < flip < 0.5:
        np.testing.assert_allclose(np.abs(spec.left), 1, atol=1e-5)  # the parity of one bit


@pytest.mark.parametrize("length", [2, 5])
def test_independent_bits_are_products_with_multiplicity(make, length):
    P = oracles.bits(length, 0.1)
    oracles.check_spectrum(make(P), oracles.bits_spectrum(length, 0.1))


def test_parities_span_each_level():
    length = 4
    spec = ec.spectrum(ec.contexts.counts(oracles.bits(length, 0.1)), k=length, tol=0)
    signs = 1 - 2 * ((np.arange(2**length)[:, None] >> np.arange(length)) & 1)
    projector = spec.left @ spec.left.T / 2**length
    np.testing.assert_allclose(projector, signs @ signs.T / 2**length, atol=1e-12)


def test_independent_and_identical(make):
    p, q = np.array([0.2, 0.3, 0.5]), np.array([0.1, 0.2, 0.3, 0.4])
    oracles.check_spectrum(make(np.outer(p, q)), [0, 0])
    oracles.check_spectrum(make(np.diag(q)), [1, 1, 1])


@pytest.mark.parametrize("rho, atol", [(0.5, 1e-10), (0.7, 1e-9), (0.9, 1e-5)])
def test_gaussian_channel(rho, atol):
    P = oracles.gauss_hermite(rho)
    with np.errstate(under="ignore"):
        ctx = ec.contexts.counts(P)
    spec = ec.spectrum(ctx, k=6, tol=0)
    np.testing.assert_allclose(spec.singular_values, rho ** np.arange(1, 7), atol=max(atol, oracles.tolerance(ctx)))


def kron_power(one, length):
    P = np.ones((1, 1))
    for _ in range(length):
        P = np.kron(P, one)
    return P


@pytest.mark.parametrize("rate", [0.2, 0.75])
def test_binary_erasure(make, rate):
    P = kron_power(np.array([[1 - rate, 0, rate], [0, 1 - rate, rate]]) / 2, 3)
    expected = np.concatenate([np.repeat((1 - rate) ** (size / 2), count) for size, count in ((1, 3), (2, 3), (3, 1))])
    oracles.check_spectrum(make(P), expected)


def test_corruption_of_independent_features(make):
    rate, laws = 0.3, (np.array([0.2, 0.8]), np.array([0.1, 0.3, 0.6]))
    P = np.kron(*[(1 - rate) * np.diag(q) + rate * np.outer(q, q) for q in laws])
    oracles.check_spectrum(make(P), [0.7, 0.7, 0.7, 0.49, 0.49])


WALKS = {
    "ring": (oracles.cycle(7), np.abs(np.cos(2 * np.pi * np.arange(1, 7) / 7))),
    "hypercube": (oracles.hypercube(3), [1, *[1 / 3] * 6]),
    "complete": (np.ones((6, 6)) - np.eye(6), [1 / 5] * 5),
    "star": (np.pad(np.ones((1, 4)), ((0, 4), (1, 0))) + np.pad(np.ones((4, 1)), ((1, 0), (0, 4))), [1, 0, 0, 0]),
    "torus": (oracles.torus(4, 3), np.abs(np.add.outer(
        np.cos(2 * np.pi * np.arange(4) / 4), np.cos(2 * np.pi * np.arange(3) / 3)) / 2).ravel()[1:]),
}  # fmt: skip


@pytest.mark.parametrize("name", WALKS)
def test_walks_on_graphs(make, name):
    B, expected = WALKS[name]
    oracles.check_spectrum(make(oracles.joint(B)), expected)


def test_two_steps_of_a_reversible_walk_square_the_values(make):
    B = oracles.random_counts(3, 8, 8)
    P = oracles.joint(B + B.T)
    s = oracles.reference(P)
    M = make(P).operator
    limit = oracles.tolerance(make(P))
    twice = ec.contexts.operator(M @ M, P.sum(1) if M.dtype == float else P.sum(1).astype(M.dtype), form="normalized")
    np.testing.assert_allclose(ec.spectrum(twice, k=4, tol=0).singular_values, s[:4] ** 2, atol=limit)


def test_stochastic_block_model(make):
    sizes = np.array([5, 8, 13])
    B = np.array([[0.6, 0.1, 0.2], [0.1, 0.5, 0.1], [0.2, 0.1, 0.7]])
    which = np.repeat(np.arange(3), sizes)
    quotient = oracles.reference(B * np.outer(sizes, sizes))
    oracles.check_spectrum(make(oracles.joint(B[np.ix_(which, which)])), np.concatenate([quotient, np.zeros(5)]))


def test_union_of_blocks(make):
    first, second = oracles.random_counts(0, 6, 5), oracles.random_counts(1, 7, 9)
    P = oracles.joint(np.block([[first, np.zeros((6, 9))], [np.zeros((7, 5)), second]]))
    expected = np.concatenate([[1.0], oracles.reference(first), oracles.reference(second)])
    oracles.check_spectrum(make(P), expected)


def test_tensor_product(make):
    first, second = oracles.random_counts(0, 4, 5), oracles.random_counts(1, 6, 3)
    s, t = (np.append(1.0, oracles.reference(C)) for C in (first, second))
    expected = np.sort(np.outer(s, t).ravel())[::-1][1:]
    oracles.check_spectrum(make(oracles.joint(np.kron(first, second))), expected)


@pytest.mark.parametrize("seed", range(5))
def test_invariances(seed):
    rng = np.random.default_rng(seed)
    C = oracles.random_counts(seed)
    s = oracles.reference(C)
    split = np.vstack([C[:-1], 0.3 * C[-1], 0.7 * C[-1]])
    shuffled = C[rng.permutation(len(C))][:, rng.permutation(C.shape[1])]
    for variant in (C, shuffled, split, C * 1e-30, C * 1e200, np.hstack([C[:, 1:], 0.5 * C[:, :1], 0.5 * C[:, :1]])):
        for matrix in (variant, sp.csr_array(variant)):
            spec = ec.spectrum(ec.contexts.counts(matrix), k=8, tol=0)
            np.testing.assert_allclose(spec.singular_values, s[:8], atol=oracles.tolerance(ec.contexts.counts(matrix)))


@pytest.mark.parametrize("factor", [1e-25, 1e25])
def test_extreme_scales_in_float32(factor):
    C = oracles.random_counts(3)
    ctx = ec.contexts.counts((C * factor).astype(np.float32))
    assert ctx.dtype == np.float32
    spec = ec.spectrum(ctx, k=5, tol=0)
    np.testing.assert_allclose(spec.singular_values, oracles.reference(C)[:5], atol=oracles.tolerance(ctx))


def test_sum_of_squares_is_chi_squared(make):
    P = oracles.joint(oracles.random_counts(4))
    ctx = make(P)
    chi_squared = (P**2 / np.outer(P.sum(1), P.sum(0))).sum() - 1
    s = ec.spectrum(ctx, k=min(P.shape) - 1, tol=0).singular_values
    assert abs((s**2).sum() - chi_squared) <= 2 * len(s) * oracles.tolerance(ctx)


def test_trivial_pair_and_marginals(make):
    P = oracles.joint(oracles.random_counts(5))
    ctx = make(P)
    limit = oracles.tolerance(ctx)
    np.testing.assert_allclose(ctx.p_x, P.sum(1), atol=limit)
    np.testing.assert_allclose(ctx.p_a, P.sum(0), atol=limit)
    np.testing.assert_allclose(ctx.operator @ np.sqrt(ctx.p_a).astype(ctx.dtype), np.sqrt(ctx.p_x), atol=limit)
    np.testing.assert_allclose(ctx.operator.rmatvec(np.sqrt(ctx.p_x).astype(ctx.dtype)), np.sqrt(ctx.p_a), atol=limit)
    assert ctx.p_x.dtype == ctx.p_a.dtype == np.float64


@pytest.mark.parametrize("to", [np.asarray, sp.csr_array])
def test_empty_rows_and_columns_are_reported_and_get_zeros(to):
    C = oracles.random_counts(6)
    holed = np.zeros((C.shape[0] + 2, C.shape[1] + 1))
    rows, columns = np.delete(np.arange(len(holed)), [0, 7]), np.delete(np.arange(holed.shape[1]), 4)
    holed[np.ix_(rows, columns)] = C
    with pytest.warns(UserWarning, match="2 empty row.*1 empty column"):
        ctx = ec.contexts.counts(to(holed))
    assert ctx.shape == C.shape
    assert list(ctx.empty_rows) == [0, 7] and list(ctx.empty_columns) == [4]
    spec = oracles.check_spectrum(ctx, oracles.reference(C))
    assert spec.left.shape[0] == len(holed) and spec.right.shape[0] == holed.shape[1]
    assert not spec.left[[0, 7]].any() and not spec.right[4].any()
    assert not spec.p_x[[0, 7]].any() and abs(spec.p_x.sum() - 1) < 1e-12
    np.testing.assert_allclose(spec.transform(to(holed[rows])), spec.left[rows], atol=1e-8)
    with pytest.raises(ValueError, match="no mass on the fitted columns"):
        ctx.conditional(to(holed[:1]))
    with pytest.raises(ValueError, match="empty"):
        ctx.sample([0])
    assert set(np.unique(ctx.sample([1, 2], 200))) <= set(columns)


def test_integer_counts_and_duplicates():
    C = np.array([[3, 1], [1, 2], [0, 5]])
    row, column = np.nonzero(C)
    doubled = sp.coo_matrix((np.tile(C[row, column], 2), (np.tile(row, 2), np.tile(column, 2))), shape=C.shape)
    for form in (C, C.tolist(), C.astype(np.int8), sp.csr_matrix(C), doubled):
        ctx = ec.contexts.counts(form)
        assert ctx.dtype == np.float64
        oracles.check_spectrum(ctx, oracles.reference(C))


def test_conditional_extends_exactly(make):
    P = oracles.joint(oracles.random_counts(7))
    ctx = make(P)
    spec = ec.spectrum(ctx, k=4)
    rows = P / P.sum(1, keepdims=True)
    dense = ctx.conditional(rows) @ np.eye(ctx.shape[1])
    np.testing.assert_allclose(dense, rows, atol=1e-6)
    # mu_i = T nu_i / s_i by construction of the triplet, so only rounding is left, times 1 / (s sqrt(p))
    error = np.abs(spec.transform(rows) - spec.left) * np.sqrt(P.sum(1))[:, None]
    assert (error <= (spec.residuals + oracles.tolerance(ctx)) / spec.singular_values).all()


def test_sampling_follows_the_rows(make):
    P = oracles.joint(oracles.random_counts(8, 5, 4))
    ctx = make(P)
    n = 20000
    drawn = ctx.sample([3, 0], n, seed=1)
    assert drawn.shape == (2, n) and drawn.dtype == np.int64
    for i, row in enumerate([3, 0]):
        W = P[row] / P[row].sum()
        share = np.bincount(drawn[i], minlength=4) / n
        assert (np.abs(share - W) <= 5 * np.sqrt(W / n) + 1e-4).all()  # five standard deviations
    assert (ctx.sample([3, 0], n, seed=1) == drawn).all()
    assert (ctx.sample([3, 0], n, seed=2) != drawn).any()


@pytest.mark.parametrize(
    "C, message",
    [
        ([[1, -1], [0, 2]], "negative"),
        ([[0, 0], [0, 0]], "every entry is 0"),
        ([[1, np.nan], [0, 2]], "finite"),
        ([[1, np.inf], [0, 2]], "finite"),
        (np.zeros((0, 3)), "C"),
        (np.ones(3), "axes"),
        (sp.csr_array(np.array([[1.0, -1.0]])), "negative"),
        (sp.csr_array((2, 2)), "every entry is 0"),
        (sp.csr_array(np.array([[1.0, np.nan]])), "finite"),
    ],
)
def test_bad_counts(C, message):
    with pytest.raises(ValueError, match=message):
        ec.contexts.counts(C)


@pytest.mark.parametrize("C", [np.ones((2, 2), complex), np.array([["a", "b"]]), np.array([[object()]])])
def test_bad_types(C):
    with pytest.raises(TypeError, match="C"):
        ec.contexts.counts(C)


def test_bad_new_rows_and_samples():
    ctx = ec.contexts.counts(oracles.random_counts(0))
    with pytest.raises(ValueError, match="X_new: got 3 columns"):
        ctx.conditional(np.ones((2, 3)))
    with pytest.raises(ValueError, match="X_new: got negative"):
        ctx.conditional(-np.ones((2, 11)))
    with pytest.raises(IndexError, match="rows"):
        ctx.sample([17])
    with pytest.raises(TypeError, match="rows"):
        ctx.sample([0.5])
    with pytest.raises(ValueError, match="n_samples"):
        ctx.sample([0], 0)


def test_bad_operators():
    W = np.array([[0.9, 0.1], [0.2, 0.8]])
    with pytest.raises(ValueError, match="row sums"):
        ec.contexts.operator(W * 1.01, [0.5, 0.5])
    with pytest.raises(ValueError, match="p_x: the sum"):
        ec.contexts.operator(W, [0.5, 0.6])
    with pytest.raises(ValueError, match="p_x: got length 3"):
        ec.contexts.operator(W, [0.5, 0.25, 0.25])
    with pytest.raises(ValueError, match="p_x: got 0"):
        ec.contexts.operator(W, [1.0, 0.0])
    with pytest.raises(ValueError, match="p_a: differs"):
        ec.contexts.operator(W, [0.5, 0.5], [0.5, 0.5])
    with pytest.raises(ValueError, match="form"):
        ec.contexts.operator(W, [0.5, 0.5], form="other")
    with pytest.raises(ValueError, match="differ from p_x"):
        ec.contexts.operator(np.diag([0.4, 0.6]), [0.5, 0.5], form="joint")
    with pytest.raises(ValueError, match="L sqrt"):
        ec.contexts.operator(np.eye(2) * 0.9, [0.5, 0.5], form="normalized")
    with pytest.raises(TypeError, match="L"):
        ec.contexts.operator(object(), [0.5, 0.5])
    with pytest.raises(ValueError, match="X_new: row sums"):
        ec.contexts.operator(W, [0.5, 0.5]).conditional([[0.5, 0.6]])


def test_operator_with_values_without_mass():
    P = np.hstack([oracles.joint(oracles.random_counts(9)), np.zeros((17, 1))])
    with pytest.warns(UserWarning, match="without mass"):
        ctx = ec.contexts.operator(P / P.sum(1, keepdims=True), P.sum(1))
    spec = oracles.check_spectrum(ctx, oracles.reference(P[:, :-1]))
    assert spec.right.shape[0] == 12 and not spec.right[-1].any()
    given = ec.contexts.operator(P[:, :-1] / P.sum(1, keepdims=True), P.sum(1), P[:, :-1].sum(0))
    oracles.check_spectrum(given, oracles.reference(P[:, :-1]))


def test_a_wrong_marginal_of_many_small_weights_is_refused():
    rng = np.random.default_rng(0)
    W = rng.random((50, 8000)).astype(np.float32)
    W /= W.sum(1, keepdims=True)
    p = np.full(50, 0.02)
    q = p @ W.astype(float)
    assert ec.contexts.operator(W, p, q.astype(np.float32)).shape == (50, 8000)
    with pytest.raises(ValueError, match=r"p_a: differs from the marginal .* by up to"):
        ec.contexts.operator(W, p, q * np.repeat([0.0, 2.0], 4000) / (q @ np.repeat([0.0, 2.0], 4000)))


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_a_stored_negative_probability_is_refused(kind):
    with pytest.raises(ValueError, match=r"L: got negative entries, the smallest -0\.5; allowed: probabilities >= 0"):
        ec.contexts.operator(kind([[1.5, -0.5], [-0.5, 1.5]]), [0.5, 0.5])
    rounding = np.array([[1.0, -1e-16], [0.0, 1.0]])
    assert ec.contexts.operator(kind(rounding), [0.5, 0.5]).shape == (2, 2)


def test_values_above_1_are_warned_of_where_entries_are_not_seen():
    ctx = ec.contexts.operator(oracles.Callback(np.array([[1.5, -0.5], [-0.5, 1.5]])), [0.5, 0.5])
    with pytest.warns(UserWarning, match=r"a singular value of 2, above 1: .* not that of a joint distribution"):
        ec.spectrum(ctx, 1)
