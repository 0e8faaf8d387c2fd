"""pairs and lagged: against dense W_X W_A, Gaussian variables (Hermite functions), AR(1) series and a double well."""

import math

import context_oracles as oracles
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import norm

import eigencontext as ec


def smoothing(points, h):
    K = np.exp(-cdist(points, points, "sqeuclidean") / (2 * h**2))
    return K / K.sum(1, keepdims=True)


def hermite(x, degree):
    """He_i(x) / sqrt(i!), i = 1 .. degree: orthonormal under N(0, 1)."""
    values = [np.polynomial.hermite_e.hermeval(x, np.eye(degree + 1)[i]) for i in range(1, degree + 1)]
    return np.transpose(values) / np.sqrt([math.factorial(i) for i in range(1, degree + 1)])


def autoregressive(rho, n, seed):
    rng = np.random.default_rng(seed)
    x = [rng.standard_normal()]
    for noise in rng.standard_normal(n - 1):
        x.append(rho * x[-1] + math.sqrt(1 - rho**2) * noise)
    return np.array(x)[:, None]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pairs_are_the_convolution_of_two_kernels(dtype):
    rng = np.random.default_rng(0)
    X, A = rng.normal(size=(40, 2)).astype(dtype), rng.normal(size=(40, 3)).astype(dtype)
    ctx = ec.contexts.pairs(X, A, bandwidth=(0.8, 1.1))
    W = smoothing(X, 0.8) @ smoothing(A, 1.1)
    limit = oracles.tolerance(ctx)
    np.testing.assert_allclose(ctx.p_x, 1 / 40)
    np.testing.assert_allclose(ctx.p_a, W.mean(0), atol=limit)
    np.testing.assert_allclose(ctx.operator @ np.eye(40, dtype=dtype), oracles.normalized(W), atol=limit)
    spec = oracles.check_spectrum(ctx, oracles.reference(W), k=4)
    assert ctx.bandwidth == (0.8, 1.1) and ctx.null is None and ctx.dtype == dtype and ctx.name == "pairs"
    error = np.abs(spec.transform(X) - spec.left) / np.sqrt(40)
    assert (error <= (spec.residuals + limit) / spec.singular_values).all()
    new = rng.normal(size=(5, 2)).astype(dtype)
    near = np.exp(-cdist(new, X, "sqeuclidean") / (2 * 0.8**2))
    rows = near / near.sum(1, keepdims=True) @ smoothing(A, 1.1)
    np.testing.assert_allclose(ctx.conditional(new) @ np.eye(40, dtype=dtype), rows, atol=limit)


@pytest.mark.parametrize("n, d", [(30, 1), (300, 1), (300, 4), (1500, 2)])
def test_the_effective_bandwidth(n, d):
    """The median effective sample size is n^0.7, by plain NumPy over all rows (at n = 1500 we look at 1000 of them)."""
    X = np.random.default_rng(n + d).standard_t(4, size=(n, d)) + 50
    h = ec.contexts.pairs(X, X).bandwidth[0]
    ess = np.median(1 / (smoothing(X, h) ** 2).sum(1))
    assert abs(ess / n**0.7 - 1) <= (0.01 if n <= 1000 else 0.1)
    assert ec.contexts.lagged(X).bandwidth != ec.contexts.lagged(X, bandwidth="median").bandwidth


def test_gaussian_pairs_have_hermite_functions():
    """x at the normal quantiles, a = x, bandwidth h on both sides. x -> sample is a Gaussian channel of correlation
    1/sqrt(1 + h^2 + h^4) onto samples of variance v, and sample -> a one of correlation sqrt(v / (v + h^2 + h^4))."""
    n, h = 1500, 0.5
    x = norm.ppf((np.arange(n) + 0.5) / n)[:, None]
    v = (1 + h**2 + h**4) / (1 + h**2) ** 2
    rho = 1 / math.sqrt(1 + h**2 + h**4) * math.sqrt(v / (v + h**2 + h**4))
    spec = ec.spectrum(ec.contexts.pairs(x, x, bandwidth=h), k=3, tol=1e-6)
    np.testing.assert_allclose(spec.singular_values, rho ** np.arange(1, 4), atol=0.01)
    new = np.linspace(-1.7, 1.7, 23)  # held out
    expected = hermite(new, 3)
    signs = np.sign(np.sum(hermite(x[:, 0], 3) * spec.left, axis=0))
    np.testing.assert_allclose(spec.transform(new[:, None]) * signs, expected, atol=0.1)


@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_autoregressive_series(rho):
    """h = 0.5 sigma n^{-1/5}: the error of s_1 is within 0.035, in the median over series (a sample that is far from
    all others, and so is its successor, is a component nearly of its own: see the next test)."""
    errors, like_x = [], []
    for seed in range(9):
        x = autoregressive(rho, 1000, seed)
        seen = np.corrcoef(x[1:, 0], x[:-1, 0])[0, 1]
        ctx = ec.contexts.lagged(x, bandwidth=0.5 * x.std() * len(x) ** -0.2)
        assert ctx.shape == (999, 999) and ctx.lag == 1 and ctx.name == "lagged"
        spec = ec.spectrum(ctx, k=1, tol=1e-5)
        errors.append(abs(spec.singular_values[0] - seen))
        like_x.append(abs(np.corrcoef(spec.left[:, 0], x[:-1, 0])[0, 1]))
    assert np.median(errors) <= 0.035 and np.median(like_x) >= 0.9  # the slow mode is x itself
    default = ec.contexts.lagged(x, null=True)
    s = ec.spectrum(default, k=1).singular_values[0]
    assert abs(s - seen) <= 0.07 and 0 < default.null < s


def test_an_isolated_pair_is_a_component_of_its_own():
    x = autoregressive(0.5, 1000, 0)
    x[500], x[501] = 9.0, -8.0
    spec = ec.spectrum(ec.contexts.lagged(x), k=1)
    assert spec.singular_values[0] > 0.99
    np.testing.assert_allclose(spec.left[500, 0] ** 2, 998, rtol=0.01)  # the indicator of one of 999, standardised


def test_lags():
    x = autoregressive(0.9, 1500, 7)
    for lag in (2, 5):
        ctx = ec.contexts.lagged(x, lag, bandwidth=0.5 * x.std() * len(x) ** -0.2)
        seen = np.corrcoef(x[lag:, 0], x[:-lag, 0])[0, 1]
        assert abs(ec.spectrum(ctx, k=1).singular_values[0] - seen) <= 0.05
        assert ctx.shape == (1500 - lag, 1500 - lag)
    same = ec.contexts.pairs(x[:-5], x[5:], bandwidth=ctx.bandwidth)
    np.testing.assert_array_equal(same.operator @ np.ones(1495), ctx.operator @ np.ones(1495))


def double_well(n, every, seed):
    """x' = x - V'(x) dt + sqrt(2 dt T) z, V = (x^2 - 1)^2: the series, and its operator on a grid (p, W^every)."""
    dt, temperature = 0.05, 0.35
    deviation = math.sqrt(2 * dt * temperature)

    def drift(x):
        return x - dt * 4 * x * (x**2 - 1)

    rng = np.random.default_rng(seed)
    x, series = 1.0, []
    for noise in rng.standard_normal(n * every) * deviation:
        x = drift(x) + noise
        series.append(x)
    grid = np.linspace(-2.6, 2.6, 261)
    W = norm.pdf(grid, drift(grid)[:, None], deviation)
    W = np.linalg.matrix_power(W / W.sum(1, keepdims=True), every)
    p = np.linalg.matrix_power(W, 1 << 12)[130]
    return np.array(series[::every])[:, None], grid, p[:, None] * W


def test_the_slow_mode_of_a_double_well():
    """s_1 and the committor-like first function, against the chain's own operator on a fine grid."""
    x, grid, P = double_well(2500, 10, 3)
    exact = ec.spectrum(ec.contexts.counts(P), k=2, tol=1e-10)
    assert exact.singular_values[0] > 0.8 and exact.singular_values[1] < 0.2  # one slow mode
    spec = ec.spectrum(ec.contexts.lagged(x), k=2)
    assert abs(spec.singular_values[0] - exact.singular_values[0]) <= 0.05
    inside = np.abs(grid) < 1.5
    found, known = spec.transform(grid[inside, None])[:, 0], exact.left[inside, 0]
    assert abs(np.corrcoef(found, known)[0, 1]) >= 0.98
    assert found[0] * found[-1] < 0


def test_independent_pairs_do_not_exceed_the_null():
    rng = np.random.default_rng(5)
    ctx = ec.contexts.pairs(rng.normal(size=(800, 1)), rng.normal(size=(800, 2)), null=True, seed=1)
    s = ec.spectrum(ctx, k=1).singular_values[0]
    assert 0.1 < ctx.null < 0.35 and abs(s - ctx.null) <= 0.15
    x = rng.normal(size=(800, 1))
    seen = ec.contexts.pairs(x, np.hstack([np.sin(3 * x), rng.normal(size=(800, 1))]), null=True)
    assert ec.spectrum(seen, k=1).singular_values[0] > 1.5 * seen.null  # no linear correlation is needed


def test_files_and_samples(tmp_path):
    x = autoregressive(0.8, 200, 0)
    ctx = ec.contexts.lagged(x, 3)
    spec = ec.spectrum(ctx, k=3)
    spec.save(tmp_path / "s")
    np.testing.assert_allclose(ec.load_spectrum(tmp_path / "s").transform(x), spec.transform(x), rtol=1e-9, atol=1e-9)
    W = ctx.conditional(x[:1]) @ np.eye(197)
    share = np.bincount(ctx.sample([0], 20000)[0], minlength=197) / 20000
    assert (np.abs(share - W[0]) <= 5 * np.sqrt(W[0] / 20000) + 1e-4).all()


@pytest.mark.parametrize("width", (1e-3, 1e-10))
def test_effective_bandwidth_of_narrow_clusters(width):
    """n^0.7 is less than a cluster, so the bandwidth is one within a cluster, however narrow that is."""
    z = np.random.default_rng(0).normal(size=200)
    x = np.r_[width * z, 1 + width * z][:, None]
    found = ec.contexts.pairs(x, x).bandwidth[0] / width
    wide = ec.contexts.pairs(*[np.r_[z, 1e9 + z][:, None]] * 2).bandwidth[0]
    assert abs(found / wide - 1) < 0.01


@pytest.mark.parametrize("scale", (1e-200, 1e200))
def test_effective_bandwidth_has_the_units_of_the_data(scale):
    x = np.random.default_rng(0).normal(size=(60, 2))
    np.testing.assert_allclose(
        ec.contexts.pairs(scale * x, x).bandwidth[0] / scale, ec.contexts.pairs(x, x).bandwidth[0]
    )


def test_bad_input():
    pairs, lagged = ec.contexts.pairs, ec.contexts.lagged
    x = autoregressive(0.5, 20, 0)
    with pytest.raises(ValueError, match="A: got 19 rows; allowed: 20"):
        pairs(x, x[1:])
    for bandwidth in (0.0, -1.0, np.inf, "silverman"):
        with pytest.raises(ValueError, match="bandwidth: got"):
            pairs(x, x, bandwidth)
    with pytest.raises(ValueError, match="bandwidth: got 3 of them"):
        pairs(x, x, (1.0, 1.0, 1.0))
    with pytest.raises(TypeError, match="bandwidth"):
        pairs(x, x, None)
    with pytest.raises(ValueError, match=r"lag: got 0; allowed: an integer in 1 \.\. n - 2 = 18"):
        lagged(x, 0)
    with pytest.raises(ValueError, match="lag: got 19"):
        lagged(x, 19)
    with pytest.raises(ValueError, match="X: got 2 row"):
        lagged(x[:2])
    with pytest.raises(ValueError, match="X: got shape"):
        lagged(x[:, 0])
    with pytest.raises(TypeError, match="null"):
        pairs(x, x, null=1)
    with pytest.raises(ValueError, match="bandwidth: got 'effective' for one row of X"):
        pairs(x[:1], x[:1])
    with pytest.raises(ValueError, match="most rows of X are repeated"):
        pairs(np.ones((20, 1)), x)
    coarse = np.repeat([[0.0], [1.0], [2.0]], 30, axis=0)
    with pytest.raises(ValueError, match=r"'effective', but most rows of A are repeated more than n\^0.7 = 23 times"):
        pairs(np.arange(90.0)[:, None], coarse)
    assert pairs(np.arange(90.0)[:, None], coarse, (5.0, 1.0)).bandwidth == (5.0, 1.0)
