"""kernel, neighbors and labels against plain NumPy."""

import pickle
import warnings

import context_oracles as oracles
import numpy as np
import pytest
from scipy.spatial.distance import cdist

import eigencontext as ec

X = np.random.default_rng(0).normal(size=(60, 3))
A = np.random.default_rng(1).normal(size=(25, 3))
NEW = np.random.default_rng(2).normal(size=(8, 3))
KERNELS = ("rbf", "laplacian", "cosine", "polynomial")
OPTIONS = {"rbf": {"bandwidth": 0.7}, "laplacian": {"bandwidth": 1.5}, "cosine": {}, "polynomial": {"coef0": 2.0}}


def plain_kernel(name, x, a, bandwidth=None, degree=3, coef0=1.0):
    if name == "rbf":
        return np.exp(-cdist(x, a, "sqeuclidean") / (2 * bandwidth**2))
    if name == "laplacian":
        return np.exp(-cdist(x, a, "cityblock") / bandwidth)
    if name == "cosine":
        return (1 + (x / np.linalg.norm(x, axis=1)[:, None]) @ (a / np.linalg.norm(a, axis=1)[:, None]).T) / 2
    return np.maximum(0, x @ a.T / x.shape[1] + coef0) ** degree


def plain_joint(K):
    return K / K.sum(1, keepdims=True) / len(K)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("other", [None, A])
@pytest.mark.parametrize("name", KERNELS)
def test_kernel_uniform(name, other, dtype):
    a = X if other is None else other
    ctx = ec.contexts.kernel(X.astype(dtype), None if other is None else a.astype(dtype), kernel=name, **OPTIONS[name])
    P = plain_joint(plain_kernel(name, X, a, **OPTIONS[name]))
    assert ctx.dtype == dtype and ctx.shape == P.shape
    spec = oracles.check_spectrum(ctx, oracles.reference(P), k=3)
    np.testing.assert_allclose(ctx.p_a, P.sum(0), atol=oracles.tolerance(ctx))
    W = plain_kernel(name, NEW, a, **OPTIONS[name])
    W /= W.sum(1, keepdims=True)
    conditional = ctx.conditional(NEW)
    np.testing.assert_allclose(conditional @ np.eye(len(a), dtype=dtype), W, atol=oracles.tolerance(ctx))
    np.testing.assert_allclose(conditional @ np.ones(len(a), dtype=dtype), 1, atol=oracles.tolerance(ctx))
    error = np.abs(spec.transform(X) - spec.left) / np.sqrt(len(X))
    assert (error <= (spec.residuals + oracles.tolerance(ctx)) / spec.singular_values).all()


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_stationary(name):
    ctx = ec.contexts.kernel(X, kernel=name, marginal="stationary", **OPTIONS[name])
    K = plain_kernel(name, X, X, **OPTIONS[name])
    spec = oracles.check_spectrum(ctx, oracles.reference(K), k=3)  # the cosine kernel of 3 features has rank 4
    np.testing.assert_allclose(ctx.p_x, K.sum(1) / K.sum(), rtol=1e-12)
    np.testing.assert_allclose(spec.transform(X), spec.left, atol=1e-8)


@pytest.mark.parametrize("name, metric", [("rbf", "euclidean"), ("laplacian", "cityblock")])
def test_median_bandwidth(name, metric):
    ctx = ec.contexts.kernel(X, kernel=name)
    pairs = cdist(X, X, metric)[np.triu_indices(len(X), 1)]
    assert abs(ctx.bandwidth - np.median(pairs)) < 1e-12


def test_centring_keeps_far_points_exact():
    far = (X + 1e4).astype(np.float32)
    ctx = ec.contexts.kernel(far, bandwidth=0.7)
    s = ec.spectrum(ctx, k=4, tol=0).singular_values
    P = plain_joint(plain_kernel("rbf", far.astype(float), far.astype(float), 0.7))
    np.testing.assert_allclose(s, oracles.reference(P)[:4], atol=oracles.tolerance(ctx))


def test_kernel_samples_its_rows():
    ctx = ec.contexts.kernel(X, A, bandwidth=0.7)
    W = ctx.conditional(X[:1]) @ np.eye(25)
    share = np.bincount(ctx.sample([0], 20000)[0], minlength=25) / 20000
    assert (np.abs(share - W[0]) <= 5 * np.sqrt(W[0] / 20000) + 1e-4).all()


def test_duplicated_points_and_constant_features():
    twice = np.repeat(X[:10], 2, axis=0)
    twice = np.hstack([twice, np.ones((20, 1))])
    P = plain_joint(plain_kernel("rbf", twice, twice, 0.7))
    oracles.check_spectrum(ec.contexts.kernel(twice, bandwidth=0.7), oracles.reference(P))


@pytest.mark.parametrize("marginal", ["uniform", "stationary"])
@pytest.mark.parametrize("name", ["rbf", "laplacian"])
def test_kernels_with_closed_forms(name, marginal):
    """Points so far apart that the kernel is the identity; clusters of equal points, a block model; a grid, a tensor
    product."""

    def values(points, bandwidth, k):
        ctx = ec.contexts.kernel(points, kernel=name, bandwidth=bandwidth, marginal=marginal)
        return ec.spectrum(ctx, k=k, tol=0).singular_values, oracles.tolerance(ctx)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ec.ClusterWarning)
        s, limit = values(1e3 * np.arange(9.0)[:, None], 1.0, 8)
        np.testing.assert_allclose(s, 1, atol=limit)
        sizes, centres = [4, 7, 2], np.array([[0.0], [1.0], [2.5]])
        s, limit = values(np.repeat(centres, sizes, axis=0), 1.0, 5)
        K = plain_kernel(name, centres, centres, 1.0) * sizes
        B = (K / K.sum(1, keepdims=True) if marginal == "uniform" else K) * np.array(sizes)[:, None]
        np.testing.assert_allclose(s, [*oracles.reference(B), 0, 0, 0], atol=limit)
        s, limit = values(np.concatenate([X[:10], X[:10] + 32]), 1.0, 19)
        limit += 4 * np.finfo(float).eps * 3 * 16**2  # |x|^2 + |a|^2 - 2 x.a: the clusters are 16 from their mean
        one = plain_kernel(name, X[:10], X[:10], 1.0)
        half = oracles.reference(plain_joint(one) if marginal == "uniform" else one)
        np.testing.assert_allclose(s, np.sort([1, *half, *half])[::-1], atol=limit)
        x, y = X[:5, :1], X[5:9, 1:2]
        s, limit = values(np.array([[a[0], b[0]] for a in x for b in y]), 1.0, 8)
        parts = [plain_kernel(name, z, z, 1.0) for z in (x, y)]
        parts = [np.append(1.0, oracles.reference(plain_joint(K) if marginal == "uniform" else K)) for K in parts]
        np.testing.assert_allclose(s, np.sort(np.outer(*parts).ravel())[::-1][1:9], atol=limit)


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
def test_an_outlier_costs_the_others_nothing(dtype):
    """Points are taken relative to their median: relative to their mean, all would lose what 1e12/n swallows."""
    near = np.random.default_rng(0).normal(size=(60, 3)).astype(dtype)
    far = np.r_[near, np.full((1, 3), 1e12, dtype)]
    for make in (
        lambda points: ec.contexts.kernel(points, bandwidth=1.0),
        lambda points: ec.contexts.kernel(points, bandwidth=1.0, marginal="stationary"),
        lambda points: ec.contexts.masked_kernel(points, 4, bandwidth=1.0),
    ):
        alone = make(near).conditional(near) @ np.eye(60, dtype=dtype)
        beside = (make(far).conditional(near) @ np.eye(61, dtype=dtype))[:, :60]
        np.testing.assert_allclose(beside, alone, atol=64 * np.finfo(dtype).eps)


def test_bad_kernels():
    kernel = ec.contexts.kernel
    with pytest.raises(ValueError, match="bandwidth"):
        kernel(X, bandwidth=0.0)
    for use in (lambda A: kernel(A, kernel="polynomial"), kernel(X, kernel="polynomial").conditional):
        with pytest.raises(
            ValueError, match=r"X(_new)?: the kernel values of row\(s\) 0, .* overflow; allowed: smaller"
        ):
            use(1e200 * np.abs(X) + 1e200)
    with pytest.raises(ValueError, match="X_new: got entries up to .* times the bandwidth .or sigma. from the data"):
        kernel(X).conditional(1e200 * X)
    with pytest.raises(ValueError, match="median distance in X is 0"):
        kernel(np.ones((5, 2)))
    with pytest.raises(ValueError, match="no bandwidth"):
        kernel(X, kernel="cosine", bandwidth=1.0)
    with pytest.raises(ValueError, match="kernel"):
        kernel(X, kernel="other")
    with pytest.raises(ValueError, match="marginal"):
        kernel(X, marginal="other")
    with pytest.raises(ValueError, match="marginal"):
        kernel(X, A, marginal="stationary")
    with pytest.raises(ValueError, match="columns"):
        kernel(X, A[:, :2])
    with pytest.raises(ValueError, match="finite"):
        kernel(np.where(X > 2, np.nan, X))
    with pytest.raises(ValueError, match="kernel value 0"):
        kernel(np.vstack([X, [[1e3, 0, 0]]]), A, bandwidth=0.1)
    with pytest.raises(ValueError, match="kernel value 0"):
        kernel(np.array([[1.0], [-5.0]]), np.array([[1.0], [2.0]]), kernel="polynomial")
    ctx = kernel(X, bandwidth=0.5)
    with pytest.raises(ValueError, match="X_new: got 2 columns"):
        ctx.conditional(NEW[:, :2])
    with pytest.raises(ValueError, match="X_new.*kernel value 0"):
        ctx.conditional(NEW + 1e4)


def test_context_points_that_nobody_reaches():
    with pytest.warns(UserWarning, match="similar to no input"):
        ctx = ec.contexts.kernel(X, np.vstack([A, [[1e4, 0, 0]]]), bandwidth=1.0)
    assert ctx.shape == (60, 25) and list(ctx.empty_columns) == [25]
    spec = ec.spectrum(ctx, k=3)
    assert spec.right.shape == (26, 3) and not spec.right[25].any()
    np.testing.assert_allclose(spec.transform(X), spec.left, atol=1e-6)


# -- neighbors -------------------------------------------------------------------------------------------------------


def plain_neighbors(x, a, k, metric, exclude_self=False):
    distance = cdist(x, a, metric)
    if exclude_self:
        np.fill_diagonal(distance, np.inf)
    order = np.argsort(distance, axis=1, kind="stable")[:, :k]
    W = np.zeros(distance.shape)
    np.put_along_axis(W, order, 1 / k, axis=1)
    return W


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_neighbors(metric, include_self, dtype):
    points = X.astype(dtype)
    W = plain_neighbors(points, points, 7, metric, not include_self)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some points are nobody's neighbour
        ctx = ec.contexts.neighbors(points, 7, metric=metric, include_self=include_self)
    assert list(ctx.empty_columns) == list(np.flatnonzero(W.sum(0) == 0)) and ctx.dtype == dtype
    M = (W / 60)[:, ctx.columns] * np.sqrt(60) / np.sqrt(ctx.p_a)
    np.testing.assert_allclose(ctx.operator @ np.eye(ctx.shape[1], dtype=dtype), M, atol=1e-6)
    spec = oracles.check_spectrum(ctx, oracles.reference(W[:, ctx.columns]), k=5)
    expected = plain_neighbors(NEW.astype(dtype), points[ctx.columns], 7, metric)
    np.testing.assert_allclose(ctx.conditional(NEW) @ np.eye(ctx.shape[1], dtype=dtype), expected, atol=1e-6)
    if include_self:
        error = np.abs(spec.transform(points) - spec.left) / np.sqrt(60)
        assert (error <= (spec.residuals + oracles.tolerance(ctx)) / spec.singular_values).all()


def test_neighbors_ties_go_to_the_lower_index():
    x = np.array([[0.0], [1.0], [2.0], [3.0]])
    W = np.rint(2 * (ec.contexts.neighbors(x, 2).conditional(x) @ np.eye(4)))
    assert W.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]


@pytest.mark.filterwarnings("ignore::eigencontext.ClusterWarning")
def test_points_that_are_nobodys_neighbour():
    x = np.array([[0.0], [1.0], [2.0], [50.0]])
    with pytest.warns(UserWarning, match="nobody's neighbour"):
        ctx = ec.contexts.neighbors(x, 1, include_self=False)
    assert 3 in ctx.empty_columns and ctx.shape == (4, 4 - len(ctx.empty_columns))
    spec = ec.spectrum(ctx, k=1)
    assert spec.left.shape == (4, 1) and not spec.right[3].any()


def test_bad_neighbors():
    neighbors = ec.contexts.neighbors
    with pytest.raises(ValueError, match="n_neighbors"):
        neighbors(X, 61)
    with pytest.raises(ValueError, match="n_neighbors"):
        neighbors(X, 60, include_self=False)
    with pytest.raises(ValueError, match="n_neighbors"):
        neighbors(X, 0)
    with pytest.raises(TypeError, match="n_neighbors"):
        neighbors(X, 2.5)
    with pytest.raises(ValueError, match="metric"):
        neighbors(X, 3, metric="manhattan")
    with pytest.raises(TypeError, match="include_self"):
        neighbors(X, 3, include_self=1)
    with pytest.raises(ValueError, match="finite"):
        neighbors(np.full((4, 2), np.inf), 2)
    with pytest.raises(ValueError, match="include_self"):
        neighbors(X[:1], 1, include_self=False)


# -- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "y",
    [
        [2, 0, 1, 0, 2, 2],
        ["c", "a", "b", "a", "c", "c"],
        np.array(["c", "a", "b", "a", "c", "c"], dtype=object),
        [1.5, 0.5, 1.0, 0.5, 1.5, 1.5],
        [("c", 1), ("a", 1), ("b", 1), ("a", 1), ("c", 1), ("c", 1)],
        [1, "1", (2,), "1", 1, 1],
    ],
)
def test_labels(y):
    ctx = ec.contexts.labels(y)
    assert ctx.shape == (6, 3) and len(ctx.classes) == 3
    np.testing.assert_allclose(np.sort(ctx.p_a), np.array([1, 2, 3]) / 6)
    spec = oracles.check_spectrum(ctx, [1, 1])
    same = np.array([[a == b for b in y] for a in y])
    kernel = 1 + spec.left * spec.singular_values**2 @ spec.left.T
    np.testing.assert_allclose(kernel, same / same.mean(0), atol=1e-12)  # [y = y'] n / n_y
    np.testing.assert_allclose(spec.transform(y), spec.left, atol=1e-12)
    assert (ctx.classes[ctx.sample(np.arange(6))[:, 0]] == ctx.classes[ctx.sample(np.arange(6), seed=5)[:, 0]]).all()


def test_more_functions_than_classes():
    y = np.repeat([0, 1, 2], 4)
    with pytest.warns(UserWarning, match="at most 2"):
        spec = ec.spectrum(ec.contexts.labels(y), k=10)
    np.testing.assert_allclose(spec.singular_values, [1, 1])


def test_bad_labels():
    with pytest.raises(ValueError, match="y: got no labels"):
        ec.contexts.labels([])
    with pytest.raises(ValueError, match="NaN"):
        ec.contexts.labels([0.0, np.nan])
    with pytest.raises(ValueError, match=r"y: got shape \(3, 2\); allowed: an array with 1 axis"):
        ec.contexts.labels(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="X_new: got label 2, which was not fitted; allowed: 0, 1$"):
        ec.contexts.labels([0, 1]).conditional([2])


# -- all -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: ec.contexts.kernel(X, A, bandwidth=0.7),
        lambda: ec.contexts.neighbors(X, 5),
        lambda: ec.contexts.labels([0, 1, 1, 2]),
        lambda: ec.contexts.counts(oracles.random_counts(0)),
        lambda: ec.contexts.graph(oracles.cycle(5), lazy=0.5),
        lambda: ec.contexts.operator(np.full((4, 3), 1 / 3), np.full(4, 0.25)),
    ],
)
def test_contexts_pickle(make):
    ctx = make()
    again = pickle.loads(pickle.dumps(ctx))
    assert again.shape == ctx.shape and again.name == ctx.name and repr(again) == repr(ctx)
    first, second = ec.spectrum(ctx, k=2), ec.spectrum(again, k=2)
    assert (first.left == second.left).all() and (first.singular_values == second.singular_values).all()


def test_a_context_is_no_matrix():
    ctx = ec.contexts.labels([0, 1, 1])
    with pytest.raises(TypeError, match="spectrum"):
        ec.svd(ctx, 1)
