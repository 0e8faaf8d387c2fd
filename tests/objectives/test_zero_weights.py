"""Chunks whose rows all have weight 0 (those that DORO leaves out, say) belong to the batch like any others."""

import numpy as np
import pytest

from eigencontext import objectives

N = 900
RNG = np.random.default_rng(5)
PHI, PSI = RNG.standard_normal((2, N, 4)) + 1
VIEWS = RNG.standard_normal((N, 2, 4))
CHUNKS = [slice(0, 300), slice(300, 600), slice(600, N)]
CASES = [
    ("svme", (PHI, PSI), {}),
    ("vicreg", (PHI, PSI), {}),
    ("rayleigh", (PHI, PSI), {}),
    ("low_rank", (PHI, PSI), {"centered": True}),
    ("spectral_contrastive", (VIEWS,), {}),
]


@pytest.mark.parametrize(("name", "inputs", "options"), CASES)
def test_a_chunk_of_weight_zero(name, inputs, options):
    weights = RNG.random(N)
    weights[300:600] = 0
    objective = getattr(objectives, name)
    expected = objective(*inputs, weights=weights, **options)
    full = objective.from_moments(swept(name, inputs, options, weights), **options)
    np.testing.assert_allclose(full.loss, expected.loss, rtol=1e-12)
    for rows in CHUNKS:
        found = full.grad(*(x[rows] for x in inputs), weights=weights[rows])
        for grad, whole in zip(found if len(inputs) > 1 else [found], expected.grads.values(), strict=True):
            np.testing.assert_allclose(grad, whole[rows], rtol=0, atol=1e-12 * np.abs(whole).max())


@pytest.mark.parametrize(("name", "inputs", "options"), CASES)
def test_weights_that_are_all_zero(name, inputs, options):
    objective = getattr(objectives, name)
    with pytest.raises(ValueError, match="weights: got zeros only; allowed: at least one number > 0"):
        objective(*inputs, weights=np.zeros(N), **options)
    with pytest.raises(ValueError, match="weights: got zeros only; allowed: at least one number > 0"):
        objective.from_moments(swept(name, inputs, options, np.zeros(N)), **options)


def test_a_half_of_weight_zero():
    weights = np.r_[np.zeros(N // 2), np.ones(N // 2)]
    a, b = (objectives.rayleigh(PHI, PSI, estimator="split", weights=w) for w in (weights, 7 * weights))
    np.testing.assert_allclose(a.grad_phi, b.grad_phi, rtol=1e-12)
    difference = (PHI - PHI.mean(0) - PSI + PSI.mean(0))[N // 2 :]
    np.testing.assert_allclose(a.terms["data"], np.square(difference).mean(), rtol=1e-12)


def test_an_output_that_overlaps_itself():
    window = np.lib.stride_tricks.sliding_window_view(np.zeros(N + 3), 4, writeable=True)
    assert window.shape == PHI.shape
    with pytest.raises(ValueError, match="self-overlapping"):
        objectives.svme(PHI, PSI, out={"phi": window}, grad="phi")
    for out in (np.empty((4, N)).T, np.empty((2 * N, 9))[::-2, 1::2]):
        result = objectives.svme(PHI, PSI, out={"phi": out}, grad="phi")
        np.testing.assert_array_equal(result.grad_phi, objectives.svme(PHI, PSI).grad_phi)


def swept(name, inputs, options, weights):
    acc = objectives.Moments(4, name)
    feed(acc, inputs, weights)
    if options.get("centered"):
        acc = acc.centered()
        feed(acc, inputs, weights)
    return acc


def feed(acc, inputs, weights):
    for rows in CHUNKS:
        acc.update(*(x[rows] for x in inputs), weights=weights[rows])
