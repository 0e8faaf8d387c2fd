"""Masked kernels and neighbours: against dense means, and on the cube, where parities are the functions."""

import itertools
import pickle

import context_oracles as oracles
import numpy as np
import pytest
from scipy.spatial.distance import cdist

import eigencontext as ec

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 5)) + 2.0
NEW = RNG.normal(size=(6, 5)) + 2.0
CUBE = np.array(list(itertools.product([-1.0, 1.0], repeat=5)))
SUBSETS = [list(S) for size in range(1, 6) for S in itertools.combinations(range(5), size)]


def plain_kernel(name, x, a, h):
    if name == "rbf":
        return np.exp(-cdist(x, a, "sqeuclidean") / (2 * h**2))
    if name == "laplacian":
        return np.exp(-cdist(x, a, "cityblock") / h)
    if name == "cosine":
        return (1 + (x / np.linalg.norm(x, axis=1)[:, None]) @ (a / np.linalg.norm(a, axis=1)[:, None]).T) / 2
    return np.maximum(0, x @ a.T / x.shape[1] + 1.0) ** 3


def mean_kernel(name, x, a, h, masks):
    parts = [plain_kernel(name, x[:, mask], a[:, mask], h) for mask in masks]
    return np.mean([K / K.sum(1, keepdims=True) for K in parts], axis=0)


def mean_neighbors(x, a, k, metric, masks, exclude_self=False):
    W = np.zeros((len(x), len(a)))
    for mask in masks:
        distance = cdist(x[:, mask], a[:, mask], metric)
        if exclude_self:
            np.fill_diagonal(distance, np.inf)
        nearest = np.argsort(distance, axis=1, kind="stable")[:, :k]
        np.add.at(W, (np.arange(len(x))[:, None], nearest), 1 / (k * len(masks)))
    return W


def check_rows(ctx, spec, W, limit):
    """The context is W, transform gives the fitted functions back."""
    dtype = ctx.dtype
    np.testing.assert_allclose(ctx.p_x, 1 / len(W))
    np.testing.assert_allclose(ctx.p_a, W.mean(0), atol=limit)
    np.testing.assert_allclose(ctx.operator @ np.eye(len(W.T), dtype=dtype), oracles.normalized(W), atol=limit)
    error = np.abs(spec.transform(X.astype(dtype)) - spec.left) / np.sqrt(len(W))
    assert (error <= (spec.residuals + limit) / spec.singular_values).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["rbf", "laplacian", "cosine", "polynomial"])
def test_masked_kernel_is_the_mean_over_masks(name, dtype):
    h = {"rbf": 1.2, "laplacian": 2.0}.get(name)
    ctx = ec.contexts.masked_kernel(
        X.astype(dtype), n_masks=7, mask_rate=0.4, kernel=name, bandwidth="median" if h is None else h, seed=3
    )
    assert ctx.masks.shape == (7, 5) and (ctx.masks.sum(1) == 3).all() and ctx.dtype == dtype and ctx.bandwidth == h
    W = mean_kernel(name, X, X, h, ctx.masks)
    limit = oracles.tolerance(ctx)
    check_rows(ctx, oracles.check_spectrum(ctx, oracles.reference(W), k=3), W, limit)
    rows = ctx.conditional(NEW.astype(dtype)) @ np.eye(40, dtype=dtype)
    np.testing.assert_allclose(rows, mean_kernel(name, NEW, X, h, ctx.masks), atol=limit)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_masked_neighbors_are_the_mean_over_masks(metric, dtype):
    points = X.astype(dtype)
    ctx = ec.contexts.masked_neighbors(points, 7, 0.4, n_neighbors=6, metric=metric, seed=3)
    W = mean_neighbors(points, points, 6, metric, ctx.masks)
    check_rows(ctx, oracles.check_spectrum(ctx, oracles.reference(W), k=3), W, oracles.tolerance(ctx))
    rows = ctx.conditional(NEW.astype(dtype)) @ np.eye(40, dtype=dtype)
    expected = mean_neighbors(NEW.astype(dtype), points, 6, metric, ctx.masks)
    np.testing.assert_allclose(rows, expected, atol=oracles.tolerance(ctx))


def test_without_the_point_itself():
    lonely = np.vstack([X, X[:1] + 100])
    with pytest.warns(UserWarning, match="2 point.*nobody's neighbour"):
        ctx = ec.contexts.masked_neighbors(lonely, 4, 0.2, n_neighbors=3, include_self=False)
    W = mean_neighbors(lonely, lonely, 3, "euclidean", ctx.masks, exclude_self=True)
    assert list(ctx.empty_columns) == list(np.flatnonzero(W.sum(0) == 0)) and 40 in ctx.empty_columns
    oracles.check_spectrum(ctx, oracles.reference(W[:, ctx.columns]), k=4)
    assert not np.diag(W).any() and (ctx.sample(range(41), 50) != np.arange(41)[:, None]).all()


def shares(masks):
    """Of each set of features, the share of masks that show all of it."""
    return np.array([masks[:, S].all(axis=1).mean() for S in SUBSETS])


@pytest.mark.parametrize("h", [0.7, 1.5])
def test_masked_kernel_on_the_cube(h):
    """All vertices: W_j is a tensor product, a factor for each feature, [1, t; t, 1] / (1 + t) where it is visible and
    uniform where not: the parity over S has the value share(S) ((1 - t)/(1 + t))^|S|."""
    ctx = ec.contexts.masked_kernel(CUBE, n_masks=20, mask_rate=0.4, bandwidth=h)
    t = np.exp(-(2.0**2) / (2 * h**2))
    expected = shares(ctx.masks) * ((1 - t) / (1 + t)) ** [len(S) for S in SUBSETS]
    oracles.check_spectrum(ctx, expected)


def test_masked_neighbors_on_the_cube():
    """With the 4 vertices nearest that agree where 3 of 5 features are visible, the parity over S has share(S)."""
    ctx = ec.contexts.masked_neighbors(CUBE, n_masks=20, mask_rate=0.4, n_neighbors=4)
    spec = oracles.check_spectrum(ctx, shares(ctx.masks))
    good = spec.singular_values > 0.01
    with pytest.warns(UserWarning, match="can't be extended"):
        inside = spec.transform(0.9 * CUBE + 0.01)  # held out, with the same visible corner nearest
    np.testing.assert_allclose(inside[:, good], spec.left[:, good], atol=1e-10)


def test_masks():
    for rate, d, hidden in ((0.2, 5, 1), (0.2, 2, 1), (0.01, 5, 1), (0.99, 5, 4), (0.5, 9, 4), (0.3, 10, 3)):
        masks = ec.contexts.masked_kernel(RNG.normal(size=(6, d)), 4, rate).masks
        assert ((~masks).sum(1) == hidden).all()
    first, again, other = (ec.contexts.masked_neighbors(X, n_neighbors=5, seed=seed).masks for seed in (0, 0, 1))
    assert first.shape == (50, 5) and (first == again).all() and (first != other).any()
    assert 0 < (~first).mean(0).min() and (~first).mean(0).max() < 0.5  # every feature is hidden now and then


def test_files_and_pickles(tmp_path):
    for ctx in (ec.contexts.masked_kernel(X, 5), ec.contexts.masked_neighbors(X, 5, n_neighbors=4)):
        spec = ec.spectrum(pickle.loads(pickle.dumps(ctx)), k=3)
        np.testing.assert_array_equal(spec.left, ec.spectrum(ctx, k=3).left)
        spec.save(tmp_path / "s")
        np.testing.assert_array_equal(ec.load_spectrum(tmp_path / "s").transform(NEW), spec.transform(NEW))


def test_bad_input():
    for make in (ec.contexts.masked_kernel, ec.contexts.masked_neighbors):
        for rate in (0.0, 1.0, -0.1, np.nan):
            with pytest.raises(ValueError, match="mask_rate: got .*allowed: a finite number > 0 and < 1"):
                make(X, mask_rate=rate)
        with pytest.raises(ValueError, match="n_masks: got 0"):
            make(X, n_masks=0)
        with pytest.raises(ValueError, match="X: got 1 column"):
            make(np.arange(40.0)[:, None])
        with pytest.raises(ValueError, match="finite"):
            make(np.full((40, 2), np.nan))
        with pytest.raises(ValueError, match="seed"):
            make(X, seed=-1)
        with pytest.raises(ValueError, match="X_new: got 2 columns"):
            make(X, n_masks=2).conditional(X[:, :2])
    with pytest.raises(ValueError, match="n_neighbors: got 41"):
        ec.contexts.masked_neighbors(X, n_neighbors=41)
    with pytest.raises(ValueError, match="metric"):
        ec.contexts.masked_neighbors(X, metric="manhattan")
    with pytest.raises(ValueError, match="no bandwidth"):
        ec.contexts.masked_kernel(X, kernel="cosine", bandwidth=1.0)
    with pytest.raises(ValueError, match="kernel value 0"):
        ec.contexts.masked_kernel(-np.abs(X) * np.arange(1, 6), 3, kernel="polynomial", coef0=-100.0)
    far = ec.contexts.masked_kernel(X, 3, bandwidth=0.5)
    with pytest.raises(ValueError, match="X_new: row.*kernel value 0"):
        far.conditional(NEW + 1e4)
