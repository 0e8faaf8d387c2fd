"""Trace gap, error bounds and Fisher discriminant: bounds against the worst task itself, closed forms, bad input."""

import numpy as np
import pytest
import scipy.optimize
from metric_oracles import both_covariances, centred, functions, marginals, one_encoder, random_joint

import eigencontext as ec

metrics = ec.metrics


def worst_error(phi, P, eps):
    """max ||f - proj_Phi f||^2 over ||f|| = 1, E f = 0, ||T* f|| >= 1 - eps, by its dual, which has no gap."""
    p, q = marginals(P)
    root = np.sqrt(p)
    M = P / np.sqrt(np.outer(p, q)) - np.outer(root, np.sqrt(q))
    inputs = np.linalg.svd(np.eye(len(p)) - np.outer(root, root))[0][:, :-1]  # functions with mean 0
    Q = np.linalg.qr(root[:, None] * centred(phi, p))[0]
    A = inputs.T @ (np.eye(len(p)) - Q @ Q.T) @ inputs
    S = inputs.T @ (M @ M.T) @ inputs - (1 - eps) ** 2 * np.eye(len(p) - 1)
    found = scipy.optimize.minimize_scalar(
        lambda log: np.linalg.eigvalsh(A + np.exp(log) * S)[-1], bounds=(-12, 12), method="bounded"
    )
    return min(found.fun, 1.0)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("noise", [0.02, 0.1, 0.3])
def test_no_task_has_an_error_above_the_bound(seed, noise):
    rng = np.random.default_rng(seed)
    P = random_joint(seed, 14, 12) + np.eye(14, 12) * 0.15
    P /= P.sum()
    s, mu, _ = functions(P)
    phi = mu[:, :4] + noise * rng.normal(size=(14, 4))
    gap = metrics.trace_gap(one_encoder(phi, P), s)
    tight = 0
    for eps in 1 - s[0] + np.array([1e-3, 0.02, 0.05, 0.1]) * s[0]:
        worst = worst_error(phi, P, eps)
        assert worst <= gap.bound(eps) + 1e-6
        tight += worst > 0.05 * gap.bound(eps)
    assert tight or gap.t > 0.9 * s[0], "the worst errors are far below the bound: this test could not fail"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("d", [1, 2, 4])
def test_the_worst_task_of_the_contexture(seed, d):
    P = random_joint(seed, 14, 12) + np.eye(14, 12) * 0.15
    P /= P.sum()
    s, mu, _ = functions(P)
    high = 1 - np.sqrt((s[0] ** 2 + s[1] ** 2) / 2)
    for eps in np.linspace(1 - s[0], high, 4)[1:]:
        formula = metrics.worst_case_error(s, d, eps)
        np.testing.assert_allclose(formula, worst_error(mu[:, :d], P, eps), atol=1e-5)
        # and no other encoder of that width is better
        other = mu[:, :d] + 0.2 * np.random.default_rng(seed).normal(size=(14, d))
        assert worst_error(other, P, eps) >= formula - 1e-6


@pytest.mark.parametrize("theta", [0.05, 0.2])
def test_the_bound_needs_t_and_not_its_square(theta):
    """One function, s_1 = 0.8. The encoder is turned away from it by theta, the task by theta the other way: the error
    is sin^2(2 theta), above what t^2 in place of s_1 t would allow."""
    P = np.array([[9, 1], [9, 1], [1, 9], [1, 9]]) / 40
    mu, g = np.array([[1.0], [1], [-1], [-1]]), np.array([[1.0], [-1], [1], [-1]])
    ctx = ec.contexts.counts(P)
    found = metrics.posthoc_spectrum(np.cos(theta) * mu + np.sin(theta) * g, context=ctx)
    gap = metrics.trace_gap(found, [0.8, 0.0])
    np.testing.assert_allclose(gap.t, 0.8 * np.sin(theta), rtol=1e-9)
    spec = ec.spectrum(ctx, k=1)
    eps = 1 - metrics.compatibility((np.cos(theta) * mu - np.sin(theta) * g)[:, 0], spec, context=ctx).rho
    np.testing.assert_allclose(eps, 1 - 0.8 * np.cos(theta), rtol=1e-9)
    error = np.sin(2 * theta) ** 2
    assert (0.64 - (1 - eps) ** 2 + gap.t**2) / (0.64 - gap.t**2) < error < gap.bound(eps)


def test_trace_gap_of_the_contexture_is_the_next_value():
    s = 0.9 ** np.arange(1, 8)
    gap = metrics.trace_gap(s[:5], s)
    np.testing.assert_allclose(gap.curve, s[1:6] ** 2, rtol=1e-12)
    assert gap.d == 5
    np.testing.assert_allclose([gap.t, gap.trace_gap], [s[5], s[5] ** 2])


def test_trace_gap_of_nothing_learned():
    gap = metrics.trace_gap([0.0, 0.0], [0.9, 0.5, 0.1])
    assert gap.t > gap.s_1 and gap.bound(0.5) == np.inf and gap.d == 1
    assert metrics.trace_gap([1.0, 1.0], [1.0, 1.0, 1e-9]).bound(0.0) < 1e-8


def test_exhausted_spectra_go_on_with_zeros():
    y = np.repeat([0, 1, 2], 5)
    ctx = ec.contexts.labels(y)
    spec = ec.spectrum(ctx, k=2)
    found = metrics.posthoc_spectrum(np.eye(3)[y], context=ctx)
    gap = metrics.trace_gap(found, spec)
    assert gap.t < 1e-7 and gap.bound(0.0) < 1e-6
    assert metrics.worst_case_error(spec, 2, 0.0) == 0.0
    assert metrics.worst_case_error(spec, 1, 0.0) == 1.0  # s_2 = s_1: a task that one function does not see


def test_two_encoders_give_the_weaker_bound():
    P = random_joint(0)
    rng = np.random.default_rng(0)
    ctx = ec.contexts.counts(P)
    phi, psi = rng.normal(size=(17, 3)), rng.normal(size=(11, 3))
    s = functions(P)[0]
    one, two = metrics.posthoc_spectrum(phi, context=ctx), metrics.posthoc_spectrum(phi, psi, context=ctx)
    assert metrics.trace_gap(two, s).t >= metrics.trace_gap(one, s).t


@pytest.mark.parametrize("seed", range(3))
def test_fisher_discriminant_is_the_trace(seed):
    P = random_joint(seed)
    phi = np.random.default_rng(seed).normal(size=(17, 4))
    B, C = both_covariances(phi, P)
    found = metrics.posthoc_spectrum(phi, context=ec.contexts.counts(P))
    np.testing.assert_allclose(metrics.fisher_discriminant(found), 2 * np.trace(np.linalg.solve(C - B, B)), rtol=1e-10)


def test_fisher_discriminant_of_classes_is_the_textbook_one():
    """Twice the trace of S_w^{-1} S_b, the scatter within and between classes."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [20, 30, 50])
    phi = rng.normal(size=(100, 4)) + rng.normal(size=(3, 4))[y]
    within, between = np.zeros((4, 4)), np.zeros((4, 4))
    for c in range(3):
        X, away = phi[y == c] - phi[y == c].mean(0), phi[y == c].mean(0) - phi.mean(0)
        within += X.T @ X
        between += len(X) * np.outer(away, away)
    found = metrics.posthoc_spectrum(phi, context=ec.contexts.labels(y))
    expected = 2 * np.trace(np.linalg.solve(within, between))
    np.testing.assert_allclose(metrics.fisher_discriminant(found), expected, rtol=1e-10)
    assert metrics.fisher_discriminant(metrics.posthoc_spectrum(np.eye(3)[y], context=ec.contexts.labels(y))) == np.inf
    assert metrics.fisher_discriminant([0.0, 0.0]) == 0.0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: metrics.trace_gap([0.9, 0.5], [0.9, 0.5]), "s: got 2 values; allowed: at least 3"),
        (lambda: metrics.trace_gap([0.5, 0.9], [0.9, 0.5, 0.1]), "posthoc: the values are not in descending order"),
        (lambda: metrics.trace_gap([0.5], [1.5, 0.5]), r"s: got values in 0.5 .. 1.5"),
        (lambda: metrics.trace_gap([np.nan], [0.9, 0.5]), "posthoc: got nan"),
        (lambda: metrics.trace_gap([], [0.9, 0.5]), "posthoc: got shape"),
        (lambda: metrics.trace_gap([0.5], [0.9, 0.5]).bound(0.05), "eps: got 0.05; allowed: a finite number >= 0.1"),
        (lambda: metrics.worst_case_error([0.9, 0.5], 2, 0.2), "s: got 2 values; allowed: at least d . 1 = 3"),
        (lambda: metrics.worst_case_error([0.9, 0.5], 0, 0.2), "d: got 0"),
        (lambda: metrics.worst_case_error([0.9, 0.5], 1, 0.05), "eps: got 0.05"),
        (lambda: metrics.worst_case_error([0.9, 0.5], 1, 0.5), "eps: got 0.5; allowed: .* <= 0.27"),
        (lambda: metrics.fisher_discriminant([-0.1]), "posthoc: got values"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
