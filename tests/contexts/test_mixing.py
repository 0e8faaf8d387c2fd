"""Mixtures, convolutions and walks against dense small cases and the values that are known without computing."""

import pickle

import context_oracles as oracles
import numpy as np
import pytest
import scipy.sparse as sp

import eigencontext as ec

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 3))
W1, W2 = rng.dirichlet(np.ones(7), 6), rng.dirichlet(np.ones(5), 7)
P = np.full(6, 1 / 6)


def kernel(**options):
    return ec.contexts.kernel(X, bandwidth=1.0, **options)


def conditional(ctx):
    """W of a context without empty rows or columns, from its operator."""
    M = ctx.operator.astype(np.float64) @ np.eye(ctx.shape[1])
    return M / np.sqrt(ctx.p_x)[:, None] * np.sqrt(ctx.p_a)


# -- mixtures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [[1.0], [0.3, 0.7], [0.2, 0.3, 0.5], [0.5, 0.0, 0.5]])
def test_a_mixture_of_a_context_with_itself_has_the_same_values(weights):
    ctx = kernel()
    mixed = ec.contexts.mixture([ctx] * len(weights), weights)
    assert mixed.shape == (40, 40 * np.count_nonzero(weights))
    expected = ec.spectrum(ctx, k=8, tol=0)
    spec = oracles.check_spectrum(mixed, expected.singular_values[:6])
    np.testing.assert_allclose(np.abs(spec.left), np.abs(expected.left[:, :6]), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_mixture_is_its_members_side_by_side(dtype):
    first, second = oracles.random_counts(0, 9, 6), oracles.random_counts(1, 9, 8)
    first *= second.sum(1, keepdims=True) / first.sum(1, keepdims=True)  # the same p_x
    w = [0.25, 0.75]
    members = [ec.contexts.counts(C.astype(dtype)) for C in (first, second)]
    mixed = ec.contexts.mixture(members, w)
    joint = np.hstack([0.25 * oracles.joint(first), 0.75 * oracles.joint(second)])
    np.testing.assert_allclose(mixed.p_a, joint.sum(0), atol=oracles.tolerance(mixed))
    oracles.check_spectrum(mixed, oracles.reference(joint))
    np.testing.assert_allclose(mixed.operator @ np.eye(14), oracles.normalized(joint), atol=oracles.tolerance(mixed))
    assert list(mixed.offsets) == [0, 6] and mixed.dtype == dtype


def test_the_dual_kernel_of_a_mixture_is_the_mean():
    members = [kernel(), ec.contexts.neighbors(X, 6), ec.contexts.labels(np.arange(40) % 4)]
    w = np.array([0.5, 0.2, 0.3])

    def dual(ctx):
        M = ctx.operator @ np.eye(ctx.shape[1])
        return M @ M.T

    expected = sum(share * dual(ctx) for share, ctx in zip(w, members, strict=True))
    np.testing.assert_allclose(dual(ec.contexts.mixture(members, w)), expected, atol=1e-12)
    nested = ec.contexts.mixture([ec.contexts.mixture(members[:2], w[:2] / 0.7), members[2]], [0.7, 0.3])
    np.testing.assert_allclose(dual(nested), expected, atol=1e-12)
    oracles.check_spectrum(nested, np.sqrt(np.linalg.eigvalsh(expected)[::-1][1:11]))


@pytest.mark.parametrize("stored", [True, False])
def test_given_weights_of_the_inputs(stored):
    p = rng.dirichlet(np.ones(6))
    C = W1 * rng.uniform(1, 2, size=(6, 1))
    members = [ec.contexts.counts(C) if stored else ec.contexts.operator(W1, P), ec.contexts.labels([0, 1, 2, 2, 1, 0])]
    one_hot = np.eye(3)[[0, 1, 2, 2, 1, 0]]
    mixed = ec.contexts.mixture(members, [0.4, 0.6], p=p)
    joint = p[:, None] * np.hstack([0.4 * W1, 0.6 * one_hot])
    np.testing.assert_allclose(mixed.p_x, p, atol=1e-15)
    np.testing.assert_allclose(mixed.p_a, joint.sum(0), atol=1e-14)
    np.testing.assert_allclose(mixed.operator @ np.eye(10), oracles.normalized(joint), atol=1e-13)
    oracles.check_spectrum(mixed, oracles.reference(joint)[:4])


def test_an_input_without_weight_is_left_out():
    members = [ec.contexts.labels([0, 1, 2, 1]), ec.contexts.labels([0, 0, 1, 1])]
    with pytest.warns(UserWarning, match="1 context value.*of labels are reached from no input"):
        mixed = ec.contexts.mixture(members, [0.5, 0.5], p=[0.5, 0.25, 0.0, 0.25])
    assert list(mixed.empty_rows) == [2] and list(mixed.empty_columns) == [2]
    joint = np.array([[0.25, 0, 0.25, 0], [0, 0.125, 0.125, 0], [0, 0.125, 0, 0.125]])
    spec = oracles.check_spectrum(mixed, oracles.reference(joint))
    assert not spec.left[2].any() and not spec.right[2].any()
    nonzero = spec.singular_values > 1e-6
    for X_new in ([0, 1, 1], [np.array([0, 1, 1]), np.array([0, 0, 1])]):
        rows = mixed.conditional(X_new) @ np.eye(4)
        assert rows.shape == (3, 4)
    np.testing.assert_allclose(
        spec.transform([np.array([0, 1, 1]), np.array([0, 0, 1])])[:, nonzero],
        spec.left[[0, 1, 3]][:, nonzero],
        atol=1e-8,
    )
    assert set(np.unique(mixed.sample([0, 3], 50))) == {0, 1, 3, 4}


def test_new_inputs_of_a_mixture_one_for_all_or_one_each():
    near, labelled = ec.contexts.neighbors(X, 6), ec.contexts.labels(np.arange(40) % 4)
    mixed = ec.contexts.mixture([near, labelled], [0.4, 0.6])
    spec = ec.spectrum(mixed, k=4, tol=1e-8)
    np.testing.assert_allclose(spec.transform([X, np.arange(40) % 4]), spec.left, atol=1e-6)
    rows = mixed.conditional([X[:2].tolist(), [1, 3]]) @ np.eye(mixed.shape[1])
    np.testing.assert_allclose(rows, np.hstack([0.4 * conditional(near)[:2], 0.6 * np.eye(4)[[1, 3]]]), atol=1e-14)
    both = ec.contexts.mixture([near, kernel()], [0.5, 0.5])
    for two_rows in (X[:2], X[:2].tolist(), list(X[:2]), [X[:2], X[:2]], (X[:2], X[:2].tolist())):
        got = both.conditional(two_rows) @ np.eye(both.shape[1])
        np.testing.assert_allclose(got, 0.5 * np.hstack([conditional(near), conditional(kernel())])[:2], atol=1e-12)
    with pytest.raises(ValueError, match=r"X_new: got \[2, 3\] inputs for the members"):
        both.conditional([X[:2], X[:3]])


def test_sampling_a_mixture():
    w = np.array([0.25, 0.75])
    mixed = ec.contexts.mixture([ec.contexts.operator(W1, P), ec.contexts.labels(range(6))], w)
    drawn = mixed.sample([2], 20000, seed=1)[0]
    expected = np.concatenate([0.25 * W1[2], 0.75 * np.eye(6)[2]])
    share = np.bincount(drawn, minlength=13) / 20000
    assert (np.abs(share - expected) <= 5 * np.sqrt(expected / 20000) + 1e-12).all()


@pytest.mark.parametrize(
    "contexts, weights, p, error, message",
    [
        (lambda: [kernel(), kernel(marginal="stationary")], [0.5, 0.5], None, ValueError,
         r"p_x of member 1 \(kernel\) differs from that of member 0 \(kernel\) by up to 0\.\d+"),
        (lambda: [kernel(), ec.contexts.labels([0, 1])], [0.5, 0.5], None, ValueError, r"have \[40, 2\] inputs"),
        (lambda: [kernel()], [0.5, 0.5], None, ValueError, "weights: got length 2; allowed: length 1"),
        (lambda: [kernel()] * 2, [-0.5, 1.5], None, ValueError, "weights: got negative entries, the smallest -0.5"),
        (lambda: [kernel()] * 2, [0.5, 0.6], None, ValueError, "weights: got sum 1.1; allowed: sum 1"),
        (lambda: [kernel()] * 2, [0.5, np.nan], None, ValueError, "weights: got nan"),
        (lambda: [], [], None, ValueError, "contexts: got none"),
        (lambda: [kernel(), X], [0.5, 0.5], None, TypeError, "contexts: member 1 is a ndarray; allowed: contexts"),
        (lambda: kernel(), [1.0], None, TypeError, "contexts: got Context; allowed: a list"),
        (lambda: [kernel()], [1.0], np.ones(3) / 3, ValueError, "p: got length 3; allowed: length 40"),
        (lambda: [kernel()], [1.0], np.ones(40), ValueError, "p: got sum 40; allowed: sum 1"),
    ],
)  # fmt: skip
def test_bad_mixtures(contexts, weights, p, error, message):
    with pytest.raises(error, match=message):
        ec.contexts.mixture(contexts(), weights, p)


def test_members_with_different_empty_inputs():
    with pytest.warns(UserWarning, match="empty row"):
        holed = ec.contexts.counts(np.diag([0.0, 1, 1, 1]))
    whole = ec.contexts.labels([0, 0, 1, 1])
    with pytest.raises(ValueError, match="p_x of member 1 .counts. differs.*one has empty inputs.*or p= for all"):
        ec.contexts.mixture([whole, holed], [0.5, 0.5])
    with pytest.raises(ValueError, match=r"p: positive at input\(s\) 0, where member 1 \(counts\) has no conditional"):
        ec.contexts.mixture([whole, holed], [0.5, 0.5], p=np.ones(4) / 4)
    mixed = ec.contexts.mixture([whole, holed], [0.5, 0.5], p=[0, 1 / 3, 1 / 3, 1 / 3])
    half = np.hstack([np.array([[1, 0], [0, 1], [0, 1]]), np.eye(3)]) / 6
    oracles.check_spectrum(mixed, oracles.reference(half))


def test_minmax_weights():
    w, losses = np.array([0.2, 0.3, 0.5]), np.array([1.0, 2.0, 4.0])
    z = (losses - losses.mean()) / np.sqrt(np.mean((losses - losses.mean()) ** 2))
    expected = w * np.exp(0.7 * z)
    np.testing.assert_allclose(ec.contexts.minmax_weights(w, losses, 0.7), expected / expected.sum(), rtol=1e-13)
    np.testing.assert_array_equal(ec.contexts.minmax_weights(w, [3, 3, 3], 0.7), w)
    np.testing.assert_allclose(ec.contexts.minmax_weights([0.5, 0.5], [0, 1], 5000.0), [0, 1])  # no overflow
    for bad, message in (([-1, 2], "weights: got negative"), ([0.5, 0.6], "weights: got sum 1.1")):
        with pytest.raises(ValueError, match=message):
            ec.contexts.minmax_weights(bad, [1, 2], 1.0)
    with pytest.raises(ValueError, match="losses: got length 3"):
        ec.contexts.minmax_weights([0.5, 0.5], [1, 2, 3], 1.0)
    with pytest.raises(ValueError, match="eta: got -1"):
        ec.contexts.minmax_weights([0.5, 0.5], [1, 2], -1.0)


# -- convolutions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p_2", [np.full(7, 1 / 7), P @ W1, np.array([0.4] + [0.1] * 6)])
def test_a_convolution_is_the_product_of_the_conditionals(p_2):
    first, second = ec.contexts.operator(W1, P), ec.contexts.operator(W2, p_2)
    both = first @ second
    joint = P[:, None] * (W1 @ W2)
    np.testing.assert_allclose(both.p_x, P)
    np.testing.assert_allclose(both.p_a, joint.sum(0), atol=1e-14)
    np.testing.assert_allclose(both.operator @ np.eye(5), oracles.normalized(joint), atol=1e-13)
    oracles.check_spectrum(both, oracles.reference(joint))
    rows = rng.dirichlet(np.ones(7), 3)
    np.testing.assert_allclose(both.conditional(rows) @ np.eye(5), rows @ W2, atol=1e-13)
    again = pickle.loads(pickle.dumps(both))
    np.testing.assert_array_equal(again.operator @ np.eye(5), both.operator @ np.eye(5))


def test_convolution_with_the_identity():
    ctx = kernel()
    expected = ec.spectrum(ctx, k=6, tol=0).singular_values
    identity = ec.contexts.labels(range(40))
    oracles.check_spectrum(ctx @ identity, expected)
    oracles.check_spectrum(identity @ ctx, expected)


@pytest.mark.parametrize("make", [lambda: kernel(marginal="stationary"), lambda: ec.contexts.graph(oracles.cycle(11))])
def test_reversible_contexts_convolved_with_themselves_give_squares(make):
    ctx = make()
    s = ec.spectrum(ctx, k=8, tol=0).singular_values
    oracles.check_spectrum(ctx @ ctx, s[:6] ** 2)
    oracles.check_spectrum(ctx @ ctx @ ctx, s[:6] ** 3)
    np.testing.assert_allclose((ctx @ ctx).p_a, ctx.p_a, atol=1e-14)


def test_convolution_is_associative():
    W3 = rng.dirichlet(np.ones(4), 5)
    a, b, c = (ec.contexts.operator(W, np.full(len(W), 1 / len(W))) for W in (W1, W2, W3))
    joint = P[:, None] * (W1 @ W2 @ W3)
    for ctx in ((a @ b) @ c, a @ (b @ c)):
        np.testing.assert_allclose(ctx.operator @ np.eye(4), oracles.normalized(joint), atol=1e-13)


def test_convolving_contexts_with_values_and_states_without_mass():
    C1 = np.array([[2.0, 1, 0], [0, 3, 0]])
    C2 = np.array([[1.0, 0, 1, 0], [2, 1, 0, 0], [0, 0, 0, 1]])
    with pytest.warns(UserWarning, match="empty column"):
        first = ec.contexts.counts(C1)
    second = ec.contexts.counts(C2)
    with pytest.warns(UserWarning, match="c1 @ c2: 1 context value.*of counts are reached from no input"):
        both = first @ second
    assert list(both.empty_columns) == [3] and both.n_columns == 4
    W = C1 @ (C2 / C2.sum(1, keepdims=True))
    spec = oracles.check_spectrum(both, oracles.reference(W[:, :3]))
    np.testing.assert_allclose(spec.transform(C1), spec.left, atol=1e-10)
    with pytest.warns(UserWarning, match="empty row"):
        holed = ec.contexts.counts(np.array([[1.0, 1], [0, 0], [1, 0]]))
    with pytest.raises(ValueError, match=r"c1 \(counts\) leads to state\(s\) 1, which have no row in c2 \(counts\)"):
        first @ holed


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_walk(dtype):
    C = oracles.random_counts(3, 9, 6).astype(dtype)
    ctx = ec.contexts.counts(sp.csr_array(C))
    walk = ctx.walk()
    s = oracles.reference(C)
    oracles.check_spectrum(walk, np.concatenate([s**2, np.zeros(3)]))
    W = C / C.sum(1, keepdims=True)
    back = (C / C.sum(0)).T
    np.testing.assert_allclose(walk.conditional(C) @ np.eye(9), W @ back, atol=oracles.tolerance(walk))
    np.testing.assert_allclose(walk.p_a, ctx.p_x)
    # the chain of the dissertation: x -> a -> x' -> b
    chain = walk @ ec.contexts.labels(np.arange(9) % 3)
    joint = (C.sum(1) / C.sum())[:, None] * (W @ back @ np.eye(3)[np.arange(9) % 3])
    oracles.check_spectrum(chain, oracles.reference(joint))


def test_the_walk_leaves_empty_inputs_out():
    with pytest.warns(UserWarning, match="empty row"):
        ctx = ec.contexts.counts(np.array([[1.0, 2], [0, 0], [3, 1]]))
    walk = ctx.walk()
    assert list(walk.empty_rows) == list(walk.empty_columns) == [1]
    assert set(np.unique(walk.sample([0, 2], 200))) == {0, 2}


def test_bad_convolutions():
    with pytest.raises(ValueError, match=r"c1 \(operator\) has 7 context values and c2 \(labels\) 3 inputs"):
        ec.contexts.operator(W1, P) @ ec.contexts.labels([0, 1, 0])
    for other in (W2, sp.csr_array(W2), 3):
        with pytest.raises(TypeError, match="@: got .*; allowed: a context"):
            ec.contexts.operator(W1, P) @ other
    with pytest.raises(TypeError):
        W1 @ ec.contexts.operator(W1, P)


# -- concatenation ---------------------------------------------------------------------------------------------------


def spectra_of(*contexts, k=4):
    return [ec.spectrum(ctx, k=k, tol=1e-10) for ctx in contexts]


def test_concatenation_spans_the_union():
    spectra = spectra_of(kernel(), ec.contexts.neighbors(X, 6), ec.contexts.labels(np.arange(40) % 5))
    joined = ec.concatenate(spectra)
    assert joined.left.shape == (40, 12) and "12 functions of 40 inputs" in repr(joined)
    np.testing.assert_allclose(joined.left.T @ (joined.p_x[:, None] * joined.left), np.eye(12), atol=1e-10)
    np.testing.assert_allclose(joined.p_x @ joined.left, 0, atol=1e-10)
    for spectrum in spectra:
        projected = joined.left @ (joined.left.T @ (joined.p_x[:, None] * spectrum.left))
        np.testing.assert_allclose(projected, spectrum.left, atol=1e-8)
    np.testing.assert_allclose(joined.shares.sum(), 12, atol=1e-9)
    assert (np.diff(joined.shares) <= 0).all() and joined.shares[0] <= 3 + 1e-9
    np.testing.assert_allclose(joined.transform([X, X, np.arange(40) % 5]), joined.left, atol=1e-6)
    top = np.take_along_axis(joined.left, np.abs(joined.left).argmax(0)[None], 0)
    assert (top > 0).all()


def test_concatenation_of_a_spectrum_with_itself_adds_nothing():
    [spectrum] = spectra_of(kernel())
    joined = ec.concatenate([spectrum, spectrum])
    np.testing.assert_allclose(joined.shares, 2, atol=1e-9)
    p = joined.p_x[:, None]
    np.testing.assert_allclose(joined.left @ joined.left.T * p, spectrum.left @ spectrum.left.T * p, atol=1e-9)
    new = rng.normal(size=(5, 3))
    inside = spectrum.transform(new)
    coefficients, *_ = np.linalg.lstsq(spectrum.left, joined.left, rcond=None)
    np.testing.assert_allclose(joined.transform(new), inside @ coefficients, atol=1e-8)


def test_concatenation_leaves_out_what_cannot_be_extended():
    [labelled] = spectra_of(ec.contexts.labels(np.arange(40) % 3), k=2)
    independent = ec.spectrum(ec.contexts.counts(np.ones((40, 3))), k=2)
    assert ec.concatenate([labelled, independent]).left.shape == (40, 2)
    assert ec.concatenate([independent]).left.shape == (40, 0)


def test_new_labels_of_a_concatenation_are_one_input_or_one_for_each():
    first, second = spectra_of(ec.contexts.labels(["a", "b"] * 20), ec.contexts.labels(["b", "a"] * 20), k=1)
    joined = ec.concatenate([first, second])
    assert joined.transform(["a", "b"]).shape == joined.transform([["a", "b"], ["b", "a"]]).shape == (2, 1)
    np.testing.assert_allclose(joined.transform([["a", "b"], ["b", "a"]]), joined.left[:2], atol=1e-9)


def test_bad_concatenations():
    uniform, stationary, small = spectra_of(kernel(), kernel(marginal="stationary"), ec.contexts.labels(range(5)))
    with pytest.raises(ValueError, match="p_x of member 1 differs from that of member 0 by 0"):
        ec.concatenate([uniform, stationary])
    with pytest.raises(ValueError, match="member 1 has 5 inputs, member 0 has 40"):
        ec.concatenate([uniform, small])
    with pytest.raises(ValueError, match="spectra: got none"):
        ec.concatenate([])
    with pytest.raises(TypeError, match="spectra: got Spectrum; allowed: a list"):
        ec.concatenate(uniform)
    with pytest.raises(TypeError, match="member 1 is a ndarray"):
        ec.concatenate([uniform, X])


def test_repr_shows_the_parts():
    X = np.random.default_rng(0).normal(size=(30, 2))
    kernel, near = ec.contexts.kernel(X), ec.contexts.neighbors(X, 5)
    both = ec.contexts.mixture([kernel, near], [0.25, 0.75])
    for ctx, text in (
        (both, "mixture(0.25*kernel + 0.75*neighbors), 30 inputs x 60 context values"),
        (kernel @ near, "convolution(kernel @ neighbors), 30"),
        (kernel.walk() @ near, "convolution(walk(kernel) @ neighbors), 30"),
        (both.walk(), "walk(0.25*kernel + 0.75*neighbors), 30"),
        (
            ec.contexts.mixture([kernel @ near, kernel], [0.5, 0.5]),
            "mixture(0.5*(kernel @ neighbors) + 0.5*kernel), 30",
        ),
        (ec.contexts.pairs(X, X, (0.5, 2.0)), "pairs(bandwidth=(0.5, 2)), 30"),
    ):
        assert text in repr(ctx)
