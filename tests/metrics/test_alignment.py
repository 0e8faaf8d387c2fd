"""Alignment with a context: known spans, plain twins, scikit-learn's neighbours, degenerate and bad input."""

import warnings

import numpy as np
import pytest
from metric_oracles import (
    bits,
    both_covariances,
    canonical_correlations,
    functions,
    marginals,
    random_joint,
)

import eigencontext as ec

alignment = ec.metrics.alignment


def exact(P, k=None, **options):
    ctx = ec.contexts.counts(P)
    return ctx, ec.spectrum(ctx, k=min(P.shape) - 1 if k is None else k, tol=1e-12, **options)


@pytest.mark.parametrize("seed", range(3))
def test_a_rotated_contexture_is_aligned(seed):
    P = random_joint(seed, 30, 20)
    ctx, spec = exact(P, 12)
    rng = np.random.default_rng(seed)
    mu = functions(P)[1]
    phi = mu[:, :5] @ rng.normal(size=(5, 5)) + rng.normal(size=5)
    result = alignment(phi, spec, context=ctx)
    for value in (result.cca, result.captured, result.knn):
        assert abs(value - 1) < 1e-10
    np.testing.assert_allclose(result.shares, [1] * 5 + [0] * 7, atol=1e-10)
    assert (result.d, result.rank, result.exact) == (5, 5, True)
    # the next functions: nothing of the span, and what they hold of the energy
    s = functions(P)[0]
    other = alignment(mu[:, 5:10], spec, context=ctx)
    assert other.cca < 1e-20
    np.testing.assert_allclose(other.captured, np.sum(s[5:10] ** 2) / np.sum(s[:5] ** 2), rtol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_random_encoders_against_the_definitions(seed):
    P = random_joint(seed, 30, 20)
    p = marginals(P)[0]
    ctx, spec = exact(P)
    s, mu, _ = functions(P)
    phi = np.random.default_rng(seed).normal(size=(30, 4))
    result = alignment(phi, spec, context=ctx)
    correlations = canonical_correlations(phi, mu[:, :4], p)
    np.testing.assert_allclose(result.correlations, correlations, atol=1e-9)
    np.testing.assert_allclose(result.cca, np.mean(correlations**2), atol=1e-9)
    B, C = both_covariances(phi, P)
    ratio_trace = np.trace(np.linalg.solve(C, B))
    np.testing.assert_allclose(result.ratio_trace, ratio_trace, rtol=1e-10)
    np.testing.assert_allclose(result.captured, ratio_trace / np.sum(s[:4] ** 2), rtol=1e-10)
    # all functions are known, so the sum over them is the same
    np.testing.assert_allclose(alignment(phi, spec).captured, result.captured, rtol=1e-9)
    np.testing.assert_allclose(np.sum(ec.metrics.posthoc_spectrum(phi, context=ctx).singular_values ** 2), ratio_trace)


def test_without_the_context_a_lower_bound():
    P = random_joint(0, 30, 20)
    ctx = ec.contexts.counts(P)
    spec = ec.spectrum(ctx, k=6, tol=1e-12)
    phi = np.random.default_rng(0).normal(size=(30, 4))
    lower, true = alignment(phi, spec), alignment(phi, spec, context=ctx)
    assert not lower.exact and true.exact and not spec.exhausted
    assert lower.ratio_trace < true.ratio_trace
    assert lower.cca == true.cca and lower.knn == true.knn


def test_a_random_encoder_meets_d_over_n_of_the_span():
    """A uniformly random d-dimensional subspace of n - 1: the mean squared cosine has mean d / (n - 1)."""
    P = random_joint(1, 40, 40)
    _, spec = exact(P)
    rng = np.random.default_rng(0)
    mass = np.sqrt(marginals(P)[0])[:, None]
    values = [alignment(rng.normal(size=(40, 5)) / mass, spec, n_neighbors=None).cca for _ in range(200)]
    assert abs(np.mean(values) - 5 / 39) < 4 * np.std(values) / np.sqrt(200)


@pytest.mark.parametrize("seed", range(2))
def test_invariant_to_invertible_linear_maps(seed):
    P = random_joint(seed, 30, 20)
    ctx, spec = exact(P)
    rng = np.random.default_rng(seed)
    phi = rng.normal(size=(30, 4))
    before = alignment(phi, spec, context=ctx)
    after = alignment((phi @ rng.normal(size=(4, 4)) + 2.0) * [1e-12, 1.0, 1e12, 5.0], spec, context=ctx)
    for name in ("cca", "knn", "captured"):
        assert abs(getattr(before, name) - getattr(after, name)) < 1e-9


def test_neighbours_as_scikit_learn_finds_them():
    neighbors = pytest.importorskip("sklearn.neighbors")
    X = np.random.default_rng(0).normal(size=(300, 3))
    ctx = ec.contexts.neighbors(X, 20)
    spec = ec.spectrum(ctx, k=6, tol=1e-9)
    phi = np.random.default_rng(1).normal(size=(300, 5)) + X[:, :1]
    white = np.linalg.qr(phi - phi.mean(0))[0]
    sets = [
        neighbors.NearestNeighbors(n_neighbors=7).fit(F).kneighbors(return_distance=False)
        for F in (white, np.asarray(spec.left[:, :5]))
    ]
    expected = np.mean([len(set(a) & set(b)) / len(set(a) | set(b)) for a, b in zip(*sets, strict=True)])
    result = alignment(phi, spec, n_neighbors=7)
    assert 0 < expected < 1
    np.testing.assert_allclose(result.knn, expected, rtol=1e-12)


def test_labels_are_learned_by_their_indicators():
    y = np.repeat([0, 1, 2], [4, 5, 6])
    ctx = ec.contexts.labels(y)
    spec = ec.spectrum(ctx, k=2)
    result = alignment(np.eye(3)[y], spec, context=ctx)  # three features that span two dimensions
    assert result.d == 2 and result.rank == 2
    assert abs(result.cca - 1) < 1e-12 and abs(result.captured - 1) < 1e-12
    one = alignment(np.eye(3)[y][:, :1], spec, n_functions=2, context=ctx)
    np.testing.assert_allclose([one.cca, one.captured], 0.5, rtol=1e-12)


def test_an_arbitrary_span_is_warned_of():
    ctx, spec = exact(bits(3, 0.1))
    parities = np.array([[(-1) ** (i >> b & 1) for b in range(3)] for i in range(8)], dtype=float)
    with pytest.warns(UserWarning, match="s_2 = 0.8 and s_3 are equal"):
        result = alignment(parities[:, :2], spec, context=ctx, n_neighbors=2)
    assert abs(result.captured - 1) < 1e-12
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert abs(alignment(parities, spec, n_neighbors=2).cca - 1) < 1e-12


def test_more_features_than_inputs_prove_nothing():
    P = random_joint(0, 15, 12)
    ctx, spec = exact(P)
    phi = np.random.default_rng(0).normal(size=(15, 20))
    with pytest.warns(UserWarning, match="whatever was learned"):
        result = alignment(phi, spec, context=ctx)
    assert result.rank == 14 and abs(result.cca - 1) < 1e-9 and result.captured == 1.0


def test_collapsed_encoder():
    P = random_joint(0, 30, 20)
    ctx, spec = exact(P)
    mu = functions(P)[1]
    s = functions(P)[0]
    phi = mu[:, :1] @ np.ones((1, 4)) + 1.0
    result = alignment(phi, spec, context=ctx)
    assert result.rank == 1
    np.testing.assert_allclose([result.cca, result.captured], [0.25, s[0] ** 2 / np.sum(s[:4] ** 2)], rtol=1e-9)


def test_an_independent_context_has_nothing_to_learn():
    ctx, spec = exact(np.full((20, 15), 1 / 300))
    with pytest.warns(UserWarning, match="not determined"):
        result = alignment(np.random.default_rng(0).normal(size=(20, 2)), spec, context=ctx)
    assert result.captured == 1.0 and result.ratio_trace < 1e-20


def test_inputs_without_mass_count_for_nothing():
    P = random_joint(0, 25, 12)
    padded = np.zeros((27, 12))
    kept = np.delete(np.arange(27), [3, 20])
    padded[kept] = P
    phi = np.random.default_rng(0).normal(size=(27, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ctx, spec = exact(padded, 11)
    plain_ctx, plain = exact(P)
    phi[[3, 20]] = 1e6
    a, b = alignment(phi, spec, context=ctx), alignment(phi[kept], plain, context=plain_ctx)
    for name in ("cca", "knn", "captured"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-7)


def test_float32_contexts():
    P = random_joint(0, 30, 20)
    ctx, spec = exact(P.astype(np.float32), 8)
    phi = functions(P)[1][:, :3].astype(np.float32)
    result = alignment(phi, spec, context=ctx)
    assert abs(result.cca - 1) < 1e-4 and abs(result.captured - 1) < 1e-5


@pytest.mark.torch
def test_tensors():
    torch = pytest.importorskip("torch")
    _, spec = exact(random_joint(0, 30, 20))
    phi = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    assert alignment(torch.from_numpy(phi).requires_grad_(), spec).cca == alignment(phi, spec).cca


P = random_joint(0, 30, 20)
CONTEXT, SPEC = exact(P, 5)
PHI = np.random.default_rng(0).normal(size=(30, 3))


@pytest.mark.parametrize(
    "arguments, options, error, message",
    [
        ((PHI[:20], SPEC), {}, ValueError, r"phi: got shape \(20, 3\); allowed: 30 rows"),
        ((PHI[:, :0], SPEC), {}, ValueError, "phi: got shape"),
        ((np.full((30, 3), 0.3), SPEC), {}, ValueError, "phi: got constant features only"),
        ((np.where(PHI > 1, np.inf, PHI), SPEC), {}, ValueError, "phi: got inf"),
        ((PHI.astype(int), SPEC), {}, TypeError, "phi: got dtype int64"),
        ((PHI, P), {}, TypeError, "spec: got ndarray"),
        ((np.hstack([PHI, PHI]), SPEC), {}, ValueError, "spec: got 5 functions; allowed: at least the 6"),
        ((PHI, SPEC), {"n_functions": 6}, ValueError, "n_functions: got 6"),
        ((PHI, SPEC), {"n_functions": 0}, ValueError, "n_functions: got 0"),
        ((PHI, SPEC), {"n_neighbors": 30}, ValueError, "n_neighbors: got 30"),
        ((PHI, SPEC), {"context": P}, TypeError, "context: got ndarray"),
        ((PHI, SPEC), {"context": ec.contexts.counts(P[:20])}, ValueError, "context: got 20 inputs"),
        ((PHI, SPEC), {"context": ec.contexts.counts(P + 0.1)}, ValueError, "context: its p_x differs"),
    ],
)
def test_bad_input(arguments, options, error, message):
    with pytest.raises(error, match=message):
        alignment(*arguments, **options)
