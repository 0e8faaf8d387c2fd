"""Closed-form minima on finite joint distributions (THEORY 6.12): the population as N rows of equal weight."""

import numpy as np
import pytest

import eigencontext as ec

objectives = ec.objectives


@pytest.fixture(scope="module")
def population():
    """Rows (x, a) of a joint distribution with rational probabilities; its singular values and functions there."""
    counts = np.array([[6, 1, 1, 2], [1, 5, 1, 1], [0, 2, 7, 1], [3, 1, 2, 8], [2, 2, 2, 0]])
    P = counts / counts.sum()
    p, q = P.sum(1), P.sum(0)
    U, s, Vt = np.linalg.svd(P / np.sqrt(np.outer(p, q)))
    x, a = np.repeat(np.argwhere(counts), counts[counts > 0], axis=0).T
    return s, (U[:, :4] / np.sqrt(p)[:, None])[x], (Vt.T / np.sqrt(q)[:, None])[a]


def is_flat(result, tol=1e-12):
    return all(np.abs(sums).max() < tol for sums in result)


def projected(gradient, functions):
    """The gradient with respect to values that rows of the same input share: summed over those rows."""
    _, which = np.unique(functions.round(9), axis=0, return_inverse=True)
    sums = np.zeros((which.max() + 1, gradient.shape[1]))
    np.add.at(sums, which.reshape(-1), gradient)
    return sums


def stationary(r, phi, psi):
    return is_flat([projected(r.grad_phi, phi), projected(r.grad_psi, psi)])


@pytest.mark.parametrize("d", [1, 2, 3])
def test_low_rank(population, d):
    s, mu, nu = population
    root = np.sqrt(s[1 : d + 1])
    phi, psi = mu[:, 1 : d + 1] * root, nu[:, 1 : d + 1] * root
    centred = objectives.low_rank(phi, psi, centered=True, estimator="plugin")
    assert np.isclose(centred.loss, -np.sum(s[1 : d + 1] ** 2))
    assert stationary(centred, mu, nu)
    uncentred = objectives.low_rank(phi, psi, estimator="plugin")  # a saddle: flat, but not the minimum
    assert stationary(uncentred, mu, nu)
    root = np.sqrt(s[: d + 1])
    best = objectives.low_rank(mu[:, : d + 1] * root, nu[:, : d + 1] * root, estimator="plugin")
    assert np.isclose(best.loss, -np.sum(s[: d + 1] ** 2))
    assert stationary(best, mu, nu)


@pytest.mark.parametrize("mode", ["joint", "sequential"])
def test_nested_low_rank_is_flat_only_in_order(population, mode):
    s, mu, nu = population
    root = np.sqrt(s[1:4])
    phi, psi = mu[:, 1:4] * root, nu[:, 1:4] * root
    for options in ({"centered": True}, {"first_mode": "constant"}):
        r = objectives.nested_low_rank(phi, psi, mode=mode, estimator="plugin", **options)
        assert stationary(r, mu, nu)
        energies = np.cumsum(s[1:4] ** 2) + (1 if "first_mode" in options else 0)
        assert np.isclose(r.loss, -energies.mean() if mode == "joint" else -energies[-1])
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    r = objectives.nested_low_rank(phi @ turn, psi @ turn, mode=mode, estimator="plugin", centered=True)
    assert not stationary(r, mu, nu)


def test_correlation(population):
    s, mu, nu = population
    turn = np.random.default_rng(0).standard_normal((2, 3, 3))
    r = objectives.correlation(mu[:, 1:4] @ turn[0], nu[:, 1:4] @ turn[1])
    assert np.isclose(r.loss, -np.sum(s[1:4] ** 2))
    assert stationary(r, mu, nu)


def test_spectral_contrastive():
    """Two views are two draws of P(.|x): each (x, a, a') as often as sum_x p P(a|x) P(a'|x) says, many times over."""
    counts = np.array([[2, 1, 1], [1, 2, 1], [1, 0, 3], [0, 1, 3]])  # every row sums to 4
    p, W = np.full(4, 0.25), counts / 4
    q = W.T @ p
    _, s, Vt = np.linalg.svd(np.sqrt(p)[:, None] * W / np.sqrt(q))
    nu = Vt.T / np.sqrt(q)[:, None]
    draws = [np.repeat(np.arange(3), row) for row in counts]
    pairs = np.array([(a, b) for values in draws for a in values for b in values] * 500)
    n = len(pairs)
    for d in (1, 2, 3):
        psi = nu[:, :d] * s[:d]
        r = objectives.spectral_contrastive(psi[pairs])
        # i = i' is left out: the rest is the population's value up to O(1/N)
        assert abs(r.loss + np.sum(s[:d] ** 4)) < 20 / n
        sums = sum(projected(r.grad_views[:, j], nu[pairs[:, j]]) for j in range(2))
        assert np.abs(sums).max() < 40 / n


@pytest.mark.parametrize("d", [1, 2, 3])
def test_svme_data_term(population, d):
    """With Cov[Phi] = I and Psi = T* Phi, E||Phi - Psi||^2 is d - sum s_i^2, for any rotation."""
    s, mu, nu = population
    turn = np.linalg.qr(np.random.default_rng(d).standard_normal((d, d)))[0]
    phi, psi = mu[:, 1 : d + 1] @ turn, (nu[:, 1 : d + 1] * s[1 : d + 1]) @ turn
    r = objectives.svme(phi, psi, alpha=0, beta=0)
    assert np.isclose(d * r.terms["data"], d - np.sum(s[1 : d + 1] ** 2))
    assert is_flat([projected(r.grad_psi, nu)])
    # along phi the gradient is normal to Cov = I: 2 (phi - T psi) = 2 phi (I - turn^T s^2 turn)
    normal = 2 * phi @ (np.eye(d) - turn.T @ np.diag(s[1 : d + 1] ** 2) @ turn) / (len(phi) * d)
    assert np.allclose(projected(r.grad_phi, mu), projected(normal, mu), atol=1e-12)


def test_supervised_learning_explains_the_top_of_the_loss_kernel(population):
    """Class-balanced one-hot targets: explained variance at Phi = mu_1..mu_d is sum s_i^2 of the labels' context."""
    s, mu, nu = population
    _, labels = np.unique(nu.round(9), axis=0, return_inverse=True)
    r = objectives.supervised_mse(mu[:, 1:3], labels=labels.reshape(-1), balanced=True)
    assert np.isclose(r.terms["explained"], np.sum(s[1:3] ** 2))
    assert is_flat([projected(r.grad_phi, mu)])
