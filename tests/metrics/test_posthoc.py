"""Spectra recovered from embeddings: closed forms, plain twins, degenerate and bad input."""

import warnings

import numpy as np
import pytest
from metric_oracles import (
    bits,
    functions,
    gauss_hermite,
    marginals,
    one_encoder,
    random_joint,
    two_encoders,
)

import eigencontext as ec

posthoc = ec.metrics.posthoc_spectrum
EPS = np.finfo(float).eps


def pairs(counts):
    """(x, a) of every observation."""
    return np.repeat(np.argwhere(counts), counts[counts > 0], axis=0).T


@pytest.mark.parametrize("seed", range(3))
def test_random_encoders_are_the_generalised_eigenproblem(seed):
    P = random_joint(seed)
    rng = np.random.default_rng(seed)
    phi, psi = rng.normal(size=(17, 4)), rng.normal(size=(11, 3))
    ctx = ec.contexts.counts(P)
    one, two = posthoc(phi, context=ctx), posthoc(phi, psi, context=ctx)
    np.testing.assert_allclose(one.singular_values, one_encoder(phi, P), atol=1e-13)
    np.testing.assert_allclose(two.singular_values, two_encoders(phi, psi, P), atol=1e-13)
    # lower bounds; a second encoder can't do better than T* phi
    s = functions(P)[0]
    assert (one.singular_values <= s[:4] + 1e-13).all()
    assert (two.singular_values <= one.singular_values[:3] + 1e-13).all()


def test_pairs_with_weights_are_the_joint_distribution():
    counts = np.random.default_rng(0).poisson(3.0, size=(9, 8)) + 1
    P = counts / counts.sum()
    rng = np.random.default_rng(1)
    phi, psi = rng.normal(size=(9, 3)), rng.normal(size=(8, 2))
    expected = two_encoders(phi, psi, P)
    x, a = pairs(counts)
    np.testing.assert_allclose(posthoc(phi[x], psi[a]).singular_values, expected, atol=1e-13)
    x, a = np.argwhere(counts).T
    found = posthoc(phi[x], psi[a], weights=7.0 * counts[x, a])
    np.testing.assert_allclose(found.singular_values, expected, atol=1e-13)
    # the rotated encoders: orthonormal, diagonal cross covariance, transform gives them again
    w = counts[x, a] / counts.sum()
    np.testing.assert_allclose(found.left.T @ (w[:, None] * found.left), np.eye(2), atol=1e-13)
    np.testing.assert_allclose(found.right.T @ (w[:, None] * found.right), np.eye(2), atol=1e-13)
    np.testing.assert_allclose(found.left.T @ (w[:, None] * found.right), np.diag(expected), atol=1e-13)
    np.testing.assert_allclose(found.transform(phi)[x], found.left, atol=1e-14)
    np.testing.assert_allclose(found.transform_context(psi)[a], found.right, atol=1e-14)


@pytest.mark.parametrize("rho", [0.5, 0.7])
def test_gaussian_channel_hermite_functions_in_order(rho):
    """Powers x, x^2, .. span the Hermite polynomials: both encoders recover rho^i and He_i / sqrt(i!)."""
    P = gauss_hermite(rho)
    x = np.polynomial.hermite_e.hermegauss(40)[0]
    powers = x[:, None] ** np.arange(1, 5)
    ctx = ec.contexts.operator(P, P.sum(1), form="joint")
    norms = np.sqrt([1, 2, 6, 24])
    hermite = np.polynomial.hermite_e.hermevander(x, 4)[:, 1:] / norms
    for found in (posthoc(powers, context=ctx), posthoc(powers, powers, context=ctx)):
        np.testing.assert_allclose(found.singular_values, rho ** np.arange(1, 5), atol=1e-9)
        p = P.sum(1)
        cosines = np.sum(p[:, None] * found.left * hermite, axis=0)
        np.testing.assert_allclose(np.abs(cosines), 1.0, atol=1e-9)
        np.testing.assert_allclose(found.right * np.sign(cosines), hermite, atol=1e-6 * np.abs(hermite).max())


def test_binary_channel_and_labels():
    found = posthoc(np.array([[0.0], [1.0]]), context=ec.contexts.counts(bits(1, 0.1)))
    np.testing.assert_allclose(found.singular_values, [0.8], atol=1e-15)
    np.testing.assert_allclose(np.abs(found.left), 1.0)
    y = np.repeat([0, 1, 2], [2, 3, 5])
    one_hot = np.eye(3)[y]  # rank 2 after centring
    found = posthoc(one_hot, context=ec.contexts.labels(y))
    np.testing.assert_allclose(found.singular_values, [1.0, 1.0], atol=1e-14)
    assert found.rank == (2,)


@pytest.mark.parametrize("seed", range(3))
def test_invariant_to_invertible_linear_maps(seed):
    rng = np.random.default_rng(seed)
    P = random_joint(seed)
    ctx = ec.contexts.counts(P)
    phi, psi = rng.normal(size=(17, 4)), rng.normal(size=(11, 3))
    A, B = rng.normal(size=(4, 4)), rng.normal(size=(3, 3))
    scales = np.array([1e-20, 1.0, 1e20, 1e-3])
    moved, other = (phi @ A) * scales + 3.0 * scales, psi @ B - 100.0
    for arguments, changed in (((phi,), (moved,)), ((phi, psi), (moved, other))):
        before, after = posthoc(*arguments, context=ctx), posthoc(*changed, context=ctx)
        np.testing.assert_allclose(after.singular_values, before.singular_values, atol=1e-10)
        np.testing.assert_allclose(after.left, before.left, atol=1e-9)
        np.testing.assert_allclose(after.right, before.right, atol=1e-8)


def test_values_far_below_the_root_of_the_rounding_unit():
    """s from 1e-2 to 1e-9: an eigenvalue is known to 1e-20, so the last s to a hundredth; as a norm, to rounding."""
    s = 10.0 ** -np.arange(2, 10)
    rng = np.random.default_rng(0)
    n = 40
    root = np.full(n, np.sqrt(1 / n))
    U = np.linalg.qr(np.column_stack([root, rng.normal(size=(n, 8))]))[0][:, 1:]
    V = np.linalg.qr(np.column_stack([root, rng.normal(size=(n, 8))]))[0][:, 1:]
    ctx = ec.contexts.operator(np.outer(root, root) + (U * s) @ V.T, np.full(n, 1 / n), form="normalized")
    found = posthoc(U @ rng.normal(size=(8, 8)), context=ctx)
    np.testing.assert_allclose(found.singular_values, s, rtol=1e-5, atol=1e-16)


def test_collapsed_encoders():
    P = random_joint(3)
    ctx = ec.contexts.counts(P)
    rng = np.random.default_rng(0)
    phi = rng.normal(size=(17, 2))
    expected = one_encoder(phi, P)
    for dtype, offset, tol in ((np.float64, 1e3, 1e-9), (np.float32, 10.0, 1e-4)):
        wide = np.column_stack([phi, phi @ rng.normal(size=(2, 3)), np.full((17, 2), 0.1)]) + offset
        found = posthoc(wide.astype(dtype), context=ctx)
        assert found.rank == (2,) and found.left.dtype == dtype
        np.testing.assert_allclose(found.singular_values, expected, atol=tol)


@pytest.mark.parametrize(("n", "value"), [(178, 1.0), (5000, 0.3), (5000, 1e3)])
def test_a_constant_feature_of_many_rows_is_constant(n, value):
    """The mean of n equal numbers, summed in order, differs from them by several ulps."""
    constant, x = np.full((n, 1), value), np.random.default_rng(0).normal(size=(n, 1))
    assert posthoc(np.hstack([constant, x]), x).rank == (1, 1)
    with pytest.raises(ValueError, match="phi: got constant features only"):
        posthoc(constant, x)


def test_more_features_than_inputs():
    P = random_joint(4)
    found = posthoc(np.random.default_rng(0).normal(size=(17, 30)), context=ec.contexts.counts(P))
    assert found.rank == (16,)
    s = functions(P)[0]
    np.testing.assert_allclose(found.singular_values, np.concatenate([s, np.zeros(16 - len(s))]), atol=1e-12)
    assert np.isnan(found.right[:, found.singular_values == 0]).all()
    assert np.isfinite(found.right[:, found.singular_values > 0]).all()


def test_few_pairs_are_warned_of():
    rng = np.random.default_rng(0)
    phi, psi = rng.normal(size=(10, 6)), rng.normal(size=(10, 6))
    with pytest.warns(UserWarning, match="some correlations are 1 whatever was learned"):
        found = posthoc(phi, psi)
    assert (found.singular_values[:3] > 1 - 1e-12).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        posthoc(phi[:, :4], psi[:, :5])


def test_independent_pairs_give_values_of_the_order_of_the_noise():
    """Marchenko-Pastur: the largest canonical correlation of independent Gaussians, d = d' = 10, n = 40 000."""
    rng = np.random.default_rng(0)
    n, d = 40_000, 10
    found = posthoc(rng.normal(size=(n, d)), rng.normal(size=(n, d)))
    assert found.singular_values[0] < 3 * np.sqrt(d / n)


def test_empty_rows_and_columns():
    P = random_joint(5, 6, 5)
    padded = np.zeros((8, 6))
    kept_rows, kept_columns = [0, 1, 3, 4, 5, 7], [0, 2, 3, 4, 5]
    padded[np.ix_(kept_rows, kept_columns)] = P
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ctx = ec.contexts.counts(padded)
    rng = np.random.default_rng(0)
    phi, psi = rng.normal(size=(8, 2)), rng.normal(size=(6, 2))
    one, two = posthoc(phi, context=ctx), posthoc(phi, psi, context=ctx)
    np.testing.assert_allclose(one.singular_values, one_encoder(phi[kept_rows], P), atol=1e-13)
    np.testing.assert_allclose(two.singular_values, two_encoders(phi[kept_rows], psi[kept_columns], P), atol=1e-13)
    assert one.left.shape == (8, 2) and one.right.shape == (6, 2) and (one.right[1] == 0).all()
    q = marginals(P)[1]
    right = one.right[kept_columns]
    np.testing.assert_allclose(right.T @ (q[:, None] * right), np.eye(2), atol=1e-12)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    phi, psi = rng.normal(size=(3000, 4)).astype(np.float32), rng.normal(size=(3000, 3))
    whole = posthoc(phi, psi)
    monkeypatch.setattr("eigencontext.metrics._embeddings._BLOCK", 1000)
    parts = posthoc(phi[::-1][::-1], psi)
    np.testing.assert_allclose(parts.singular_values, whole.singular_values, atol=1e-13)
    np.testing.assert_allclose(parts.left, whole.left, atol=1e-5)


@pytest.mark.torch
def test_tensors():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    phi, psi = rng.normal(size=(50, 3)).astype(np.float32), rng.normal(size=(50, 2)).astype(np.float32)
    plain = posthoc(phi, psi)
    found = posthoc(torch.from_numpy(phi).requires_grad_(), torch.from_numpy(psi))
    assert isinstance(found.left, torch.Tensor) and found.left.dtype == torch.float32
    np.testing.assert_array_equal(found.left.numpy(), plain.left)
    assert isinstance(found.transform(torch.from_numpy(phi)), torch.Tensor)
    half = posthoc(torch.from_numpy(phi).to(torch.bfloat16), torch.from_numpy(psi))
    np.testing.assert_allclose(half.singular_values, plain.singular_values, atol=0.01)


GOOD = np.random.default_rng(0).normal(size=(6, 2))
CONTEXT = ec.contexts.counts(random_joint(0, 6, 5))


@pytest.mark.parametrize(
    "arguments, options, error, message",
    [
        ((GOOD,), {}, TypeError, "psi: got None"),
        ((GOOD, CONTEXT), {}, TypeError, r"psi: got a Context; .* \(a context goes to context=\)"),
        ((GOOD, GOOD[:4]), {}, ValueError, r"psi: got shape \(4, 2\); allowed: 6 rows"),
        ((GOOD[:, 0], GOOD), {}, ValueError, "phi: got shape"),
        ((GOOD[:, :0], GOOD), {}, ValueError, "phi: got shape"),
        ((GOOD, np.full((6, 2), 3.0)), {}, ValueError, "psi: got constant features only"),
        ((np.full((6, 2), 0.1), GOOD), {}, ValueError, "phi: got constant features only"),
        ((np.zeros((6, 2)), GOOD), {}, ValueError, "phi: got constant features only"),
        ((GOOD, np.where(GOOD > 1, np.nan, GOOD)), {}, ValueError, "psi: got nan"),
        ((np.ones((6, 2), int), GOOD), {}, TypeError, "phi: got dtype int64"),
        ((GOOD[:1], GOOD[:1]), {}, ValueError, "phi: got 1 row"),
        ((GOOD, GOOD), {"weights": -np.ones(6)}, ValueError, "weights: got -1"),
        ((GOOD, GOOD), {"weights": np.eye(6)[0]}, ValueError, "phi: got 1 row with weight"),
        ((GOOD[:5],), {"context": CONTEXT}, ValueError, "phi: got shape .*; allowed: 6 rows"),
        ((GOOD, GOOD), {"context": CONTEXT}, ValueError, "psi: got shape .*; allowed: 5 rows"),
        ((GOOD,), {"context": np.eye(6)}, TypeError, "context: got ndarray"),
        ((GOOD,), {"context": CONTEXT, "weights": np.ones(6)}, TypeError, "weights: got weights beside a context"),
    ],
)
def test_bad_input(arguments, options, error, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(error, match=message):
            posthoc(*arguments, **options)


def test_bad_transform():
    found = posthoc(GOOD, context=CONTEXT)
    with pytest.raises(ValueError, match=r"phi: got shape \(6, 1\); allowed: 2 features"):
        found.transform(GOOD[:, :1])
    with pytest.raises(ValueError, match="of one encoder"):
        found.transform_context(GOOD)
