"""Sample weights of the pairwise losses: formulas, central differences, repetition, rows that are read by slices."""

import numpy as np
import pytest
from scipy.special import logsumexp

from eigencontext import objectives

N, D = 23, 4


def inputs():
    rng = np.random.default_rng(4)
    w = rng.random(N)
    w[3] = w[11] = 0
    return rng.standard_normal((N, D)) * 0.7, rng.standard_normal((N, D)) * 0.7, w


def info_nce(phi, psi, w, temperature=0.3):
    Z = phi @ psi.T / temperature
    rows, columns = (logsumexp(Z, axis=axis) - np.diag(Z) for axis in (1, 0))
    return w @ (rows + columns) / (2 * w.sum())


def sigmoid(phi, psi, w, t=2.0, b=-1.0):
    Z = t * phi @ psi.T + b
    losses = np.logaddexp(0, np.where(np.eye(len(w)), -Z, Z))
    return (losses * (w[:, None] + w) / 2).sum() / w.sum()


def exponential_low_rank(phi, psi, w, temperature=0.9, form="dot"):
    exponents = phi @ psi.T if form == "dot" else -np.square(phi[:, None] - psi).sum(-1)
    f, n = np.exp(exponents / temperature), len(w)
    return -2 * w @ np.diag(f) / w.sum() + ((f * f).sum() - (np.diag(f) ** 2).sum()) / (n * (n - 1))


def exponential_views(views, w, temperature=0.9, form="dot"):
    (n, r, _), flat = views.shape, views.reshape(-1, views.shape[-1])
    exponents = flat @ flat.T if form == "dot" else -np.square(flat[:, None] - flat).sum(-1)
    f = np.exp(exponents / temperature).reshape(n, r, n, r)
    own = f[np.arange(n), :, np.arange(n)] * (1 - np.eye(r))
    between = f * (1 - np.eye(n))[:, None, :, None]
    return -2 * w @ own.sum((1, 2)) / (w.sum() * r * (r - 1)) + (between**2).sum() / (n * (n - 1) * r * r)


CASES = [
    (info_nce, objectives.info_nce, {"temperature": 0.3}),
    (info_nce, objectives.info_nce, {"temperature": 0.004}),  # log-sum-exps that cannot share one exponential
    (sigmoid, objectives.sigmoid, {"t": 2.0, "b": -1.0}),
    (exponential_low_rank, objectives.exponential_low_rank, {"temperature": 0.9}),
    (exponential_low_rank, objectives.exponential_low_rank, {"temperature": 0.9, "form": "distance"}),
    (exponential_views, objectives.exponential_spectral_contrastive, {"temperature": 0.9}),
    (exponential_views, objectives.exponential_spectral_contrastive, {"temperature": 0.9, "form": "distance"}),
]


@pytest.mark.parametrize(("formula", "loss", "options"), CASES)
def test_formulas_and_central_differences(formula, loss, options):
    phi, psi, w = inputs()
    arrays = (np.stack([phi, psi, phi + psi], 1),) if formula is exponential_views else (phi, psi)
    result = loss(*arrays, weights=w, **options)
    np.testing.assert_allclose(result.loss, formula(*arrays, w, **options), rtol=1e-12)
    assert loss(*arrays, weights=np.full(N, 3.0), **options).loss == pytest.approx(loss(*arrays, **options).loss)
    names = ("views",) if len(arrays) == 1 else ("phi", "psi")
    step, rng = 1e-6 * min(1, options.get("temperature", 1)), np.random.default_rng(5)
    for k, name in enumerate(names):
        direction = rng.standard_normal(arrays[k].shape)
        moved = [[a + s * step * direction if j == k else a for j, a in enumerate(arrays)] for s in (1, -1)]
        up, down = (loss(*a, weights=w, grad=(), **options).loss for a in moved)
        np.testing.assert_allclose((result.grads[name] * direction).sum(), (up - down) / (2 * step), rtol=1e-6)
    for number in {"temperature", "t", "b"} & set(result.grads):
        up, down = (
            loss(*arrays, weights=w, **options | {number: options[number] * (1 + s)}).loss for s in (1e-6, -1e-6)
        )
        slope = (up - down) / (2e-6 * options[number])
        np.testing.assert_allclose(result.grads[number], slope, rtol=1e-6)


class Sliced:
    """Rows of no array: len and slicing alone."""

    def __init__(self, rows):
        self._rows = rows

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, rows):
        return self._rows[rows].copy()


@pytest.mark.parametrize("loss", [objectives.info_nce, objectives.sigmoid, objectives.exponential_low_rank])
def test_weights_and_slices(loss):
    rng = np.random.default_rng(6)
    phi, psi, w = rng.standard_normal((4500, 3)), rng.standard_normal((4500, 3)), rng.random(4500)
    expected, result = loss(phi, psi, weights=w), loss(Sliced(phi), Sliced(psi), weights=w)
    np.testing.assert_allclose(result.loss, expected.loss, rtol=1e-12)
    for name in ("phi", "psi"):
        grad = expected.grads[name]
        np.testing.assert_allclose(result.grads[name], grad, rtol=0, atol=1e-11 * np.abs(grad).max())


@pytest.mark.parametrize("form", ["dot", "distance"])
@pytest.mark.parametrize("r", [2, 3])
def test_views_that_are_read_by_slices(r, form):
    """3 views: an input lies across two blocks of 4096 rows."""
    rng = np.random.default_rng(7)
    views, w = rng.standard_normal((3000, r, 3)) * 0.5, rng.random(3000)
    options = {"form": form, "weights": w}
    expected = objectives.exponential_spectral_contrastive(views, **options)
    result = objectives.exponential_spectral_contrastive(Sliced(views), **options)
    np.testing.assert_allclose(result.loss, expected.loss, rtol=1e-12)
    atol = 1e-11 * np.abs(expected.grad_views).max()
    np.testing.assert_allclose(result.grad_views, expected.grad_views, rtol=0, atol=atol)
    with pytest.raises(TypeError, match="views: got a generator, which can be read once"):
        objectives.exponential_spectral_contrastive(x for x in views)


@pytest.mark.parametrize("loss", [objectives.info_nce, objectives.sigmoid, objectives.exponential_low_rank])
def test_bad_weights(loss):
    phi, psi, w = inputs()
    for bad, words in [(-w, "weights: got -"), (0 * w, "weights: got zeros only"), (w[1:], "weights: got length 22")]:
        with pytest.raises(ValueError, match=words):
            loss(phi, psi, weights=bad)
