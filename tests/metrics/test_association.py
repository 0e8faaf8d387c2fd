"""Association, complexity, effective dimension, compatibility: closed forms, plain twins, bad input."""

import warnings

import numpy as np
import pytest
from metric_oracles import bits, functions, gauss_hermite, marginals, random_joint

import eigencontext as ec

metrics = ec.metrics


def exact(P, k=None):
    ctx = ec.contexts.counts(P)
    return ctx, ec.spectrum(ctx, k=min(P.shape) - 1 if k is None else k, tol=1e-12)


def dual_kernel(P):
    p, q = marginals(P)
    W = P / p[:, None]
    return (W / q) @ W.T


# -- association -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_against_the_joint_distribution(seed):
    P = random_joint(seed)
    p, q = marginals(P)
    ctx, spec = exact(P)
    chi_squared = np.sum(P**2 / np.outer(p, q)) - 1
    deviation = p @ np.abs(dual_kernel(P) - 1) @ p
    for found in (metrics.association(spec), metrics.association(spec, context=ctx)):
        np.testing.assert_allclose(found.chi_squared, chi_squared, rtol=1e-10)
        np.testing.assert_allclose(found.deviation, deviation, rtol=1e-9)
        assert found.exact and found.deviation_error == 0.0
    # Jensen: E|k - 1| <= root of E(k - 1)^2 = root of the sum of s^4
    assert found.deviation <= np.sqrt(np.sum(spec.singular_values**4)) + 1e-12


def test_a_binary_channel():
    """k_X is 1 + s^2 or 1 - s^2: every deviation is s^2."""
    found = metrics.association(exact(bits(1, 0.2))[1])
    np.testing.assert_allclose([found.chi_squared, found.deviation], 0.36, rtol=1e-12)
    np.testing.assert_allclose(found.decay_rate, -2 * np.log(0.6), rtol=1e-12)


def test_gaussian_channel_decays_exponentially():
    ctx = ec.contexts.operator(gauss_hermite(0.7), gauss_hermite(0.7).sum(1), form="joint")
    spec = ec.spectrum(ctx, k=8, tol=1e-10)
    np.testing.assert_allclose(metrics.decay_rate(spec), -2 * np.log(0.7), rtol=1e-6)
    # sum of rho^2i = rho^2 / (1 - rho^2), of which 8 values hold all but rho^18 / (1 - rho^2)
    np.testing.assert_allclose(np.sum(spec.singular_values**2), (0.49 - 0.7**18) / 0.51, rtol=1e-6)
    np.testing.assert_allclose(metrics.association(spec).chi_squared, 0.49 / 0.51, rtol=1e-3)


def test_decay_rate_is_least_squares_without_an_intercept():
    s = np.array([0.9, 0.5, 0.3, 0.05])
    i = np.arange(1.0, 5.0)
    expected = -np.linalg.lstsq(i[:, None], np.log(s**2))[0][0]
    np.testing.assert_allclose(metrics.decay_rate(s), expected, rtol=1e-12)
    np.testing.assert_allclose(metrics.decay_rate(np.append(s, 0.0)), expected, rtol=1e-12)
    assert metrics.decay_rate([0.0, 0.0]) == np.inf and metrics.decay_rate([1.0, 1.0]) == 0.0


def test_independence_and_identity():
    _, nothing = exact(np.full((8, 6), 1 / 48))
    found = metrics.association(nothing)
    assert found.chi_squared == 0.0 and found.deviation < 1e-12 and found.decay_rate == np.inf
    _, all_of_it = exact(np.eye(6) / 6)
    found = metrics.association(all_of_it)
    np.testing.assert_allclose([found.chi_squared, found.deviation], [5.0, 5 / 6 + 5 / 6], rtol=1e-12)
    assert abs(found.decay_rate) < 1e-12


def test_drawn_inputs_are_within_their_error():
    X = np.random.default_rng(0).normal(size=(900, 2))
    ctx = ec.contexts.kernel(X, bandwidth=0.7)
    spec = ec.spectrum(ctx, k=40, tol=1e-6)
    every = metrics.association(spec, context=ctx, n_rows=900)
    drawn = metrics.association(spec, context=ctx, n_rows=100, seed=3)
    assert every.deviation_error == 0.0 < drawn.deviation_error < 0.1 * every.deviation
    assert abs(drawn.deviation - every.deviation) < 4 * drawn.deviation_error
    assert metrics.association(spec, context=ctx, n_rows=100, seed=3).deviation == drawn.deviation
    assert not metrics.association(spec, n_rows=900).exact
    W = np.exp(-((X[:, None] - X) ** 2).sum(2) / (2 * 0.49))
    W /= W.sum(1, keepdims=True)
    expected = np.mean(np.abs((W / W.mean(0)) @ W.T - 1))
    np.testing.assert_allclose(every.deviation, expected, rtol=1e-9)


# -- complexity and effective dimension ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_complexity_is_the_largest_diagonal_entry(seed):
    P = random_joint(seed)
    diagonal = np.diag(dual_kernel(P))
    ctx, spec = exact(P)
    for found in (metrics.context_complexity(spec), metrics.context_complexity(spec, context=ctx)):
        np.testing.assert_allclose(found.with_constant, diagonal.max(), rtol=1e-9)
        np.testing.assert_allclose(found.kappa2, diagonal.max() - 1, rtol=1e-9)
        assert found.row == diagonal.argmax() and found.exact
    _, few = exact(P, 3)
    lower = metrics.context_complexity(few)
    assert not lower.exact and lower.kappa2 < diagonal.max() - 1
    assert metrics.context_complexity(few, context=ctx).kappa2 >= metrics.association(spec).chi_squared


def test_complexity_of_bits():
    """Parities are +-1: kappa^2 is the sum of all s^2, (1 + (1-2e)^2)^L - 1."""
    found = metrics.context_complexity(exact(bits(3, 0.1))[1])
    np.testing.assert_allclose(found.with_constant, (1 + 0.64) ** 3, rtol=1e-12)


def test_rows_without_mass_have_no_complexity():
    P = np.zeros((9, 5))
    P[1:] = random_joint(0, 8, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ctx, spec = exact(P, 4)
    plain = metrics.context_complexity(exact(P[1:])[1])
    found = metrics.context_complexity(spec, context=ctx)
    assert found.row == plain.row + 1
    np.testing.assert_allclose(found.kappa2, plain.kappa2, rtol=1e-9)


def test_effective_dimension():
    s = 0.8 ** np.arange(1, 6)
    np.testing.assert_allclose(metrics.effective_dimension(s, 0.1), sum(x**2 / (x**2 + 0.1) for x in s))
    assert metrics.effective_dimension(np.ones(7), 1e-12) == pytest.approx(7)


# -- compatibility ---------------------------------------------------------------------------------------------------


def test_a_constant_task_of_many_inputs_is_constant():
    """The mean of 5000 equal numbers, summed in order, differs from them by several ulps."""
    spec = ec.spectrum(ec.contexts.labels(np.arange(5000) % 3), k=2)
    with pytest.raises(ValueError, match="f: task 0 is constant"):
        metrics.compatibility(np.full((5000, 2), 0.3), spec)


@pytest.mark.parametrize("seed", range(3))
def test_compatibility_is_the_ratio_of_norms(seed):
    P = random_joint(seed)
    p, q = marginals(P)
    ctx, spec = exact(P)
    f = np.random.default_rng(seed).normal(size=(17, 3)) + 5.0
    centred = f - p @ f
    back = P.T @ centred / q[:, None]
    rho = np.sqrt((q @ back**2) / (p @ centred**2))
    mu = functions(P)[1]
    profile = (mu.T @ (p[:, None] * centred)) ** 2 / (p @ centred**2)
    for found in (metrics.compatibility(f, spec), metrics.compatibility(f, spec, context=ctx)):
        np.testing.assert_allclose(found.rho, rho, rtol=1e-9)
        np.testing.assert_allclose(found.profile, profile, atol=1e-9)
        np.testing.assert_allclose(found.rest, 1 - profile.sum(0), atol=1e-9)
    one = metrics.compatibility(f[:, 1], spec)
    assert isinstance(one.rho, float) and one.profile.shape == (10,)
    np.testing.assert_allclose(one.rho, rho[1], rtol=1e-9)
    assert (found.rho <= spec.singular_values[0]).all()


def test_the_functions_themselves():
    P = random_joint(0)
    ctx, spec = exact(P, 4)
    found = metrics.compatibility(functions(P)[1][:, :6], spec, context=ctx)
    np.testing.assert_allclose(found.rho, functions(P)[0][:6], rtol=1e-9)
    np.testing.assert_allclose(found.profile, np.eye(4, 6), atol=1e-9)
    assert not metrics.compatibility(np.arange(17), spec).exact


@pytest.mark.torch
def test_tensors():
    torch = pytest.importorskip("torch")
    _, spec = exact(random_joint(0))
    f = np.random.default_rng(0).normal(size=17)
    assert metrics.compatibility(torch.from_numpy(f), spec).rho == metrics.compatibility(f, spec).rho


P = random_joint(0)
CONTEXT, SPEC = exact(P)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: metrics.association([0.9, 0.5]), TypeError, "spec: got list"),
        (lambda: metrics.association(SPEC, context=P), TypeError, "context: got ndarray"),
        (lambda: metrics.association(SPEC, context=exact(P[:9])[0]), ValueError, "context: got 9 inputs"),
        (lambda: metrics.association(SPEC, n_rows=1), ValueError, "n_rows: got 1"),
        (lambda: metrics.association(SPEC, seed=-1), ValueError, "seed: got -1"),
        (lambda: metrics.decay_rate([0.5, 0.9]), ValueError, "s: the values are not in descending order"),
        (lambda: metrics.context_complexity(P), TypeError, "spec: got ndarray"),
        (lambda: metrics.effective_dimension([0.5], 0.0), ValueError, "regularisation: got 0"),
        (lambda: metrics.effective_dimension([2.0], 0.1), ValueError, "s: got values"),
        (lambda: metrics.compatibility(np.ones(17), SPEC), ValueError, "f: task 0 is constant"),
        (lambda: metrics.compatibility(np.full((17, 2), 0.1), SPEC), ValueError, "f: task 0 is constant"),
        (lambda: metrics.compatibility(np.arange(16), SPEC), ValueError, r"f: got shape \(16,\); allowed: 17"),
        (lambda: metrics.compatibility(np.full(17, np.nan), SPEC), ValueError, "f: got nan"),
        (lambda: metrics.compatibility(np.ones((17, 2, 2)), SPEC), ValueError, "f: got shape"),
        (lambda: metrics.compatibility(["a"] * 17, SPEC), TypeError, "f: got dtype"),
        (lambda: metrics.compatibility(np.arange(17), P), TypeError, "spec: got ndarray"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


# -- usefulness: what tau can't say ----------------------------------------------------------------------------------


def test_weak_flat_spectra_rank_well_and_are_warned_of():
    weak = np.full(100, 0.09)
    with pytest.warns(UserWarning, match="s_1 = 0.09: .* how flat the spectrum is"):
        result = metrics.usefulness(weak)
    assert result.tau < 1.02
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics.usefulness(np.full(100, 0.11))
        metrics.usefulness([1.0, 0.7, 0.4, 0.3])
