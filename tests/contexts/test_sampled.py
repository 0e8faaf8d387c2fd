"""Sampled contexts: every entry against plain NumPy in logarithms, spectra against closed forms, draws against laws."""

import functools
import os
import pickle
import platform
import subprocess
import sys
import warnings
from itertools import combinations

import context_oracles as oracles
import numpy as np
import pytest
from scipy.special import logsumexp, ndtri
from scipy.stats import norm

import eigencontext as ec
from eigencontext._expression import parse
from eigencontext._read import Input
from eigencontext.contexts import _sampled
from eigencontext.contexts._bins import NOISES, Bins, binned

RNG = np.random.default_rng(0)
MIXED = np.column_stack([RNG.integers(0, 3, 70), RNG.normal(size=70), RNG.gamma(1.0, size=70), RNG.integers(0, 2, 70)])
NEW = np.column_stack([RNG.integers(0, 3, 9), RNG.normal(size=9), RNG.gamma(1.0, size=9), RNG.integers(0, 2, 9)])

MAKERS = {
    "gaussian_noise": lambda X, **o: ec.contexts.gaussian_noise(X, 0.8, **o),
    "corruption": lambda X, **o: ec.contexts.corruption(X, 0.4, bins=5, **o),
    "uniform": lambda X, **o: ec.contexts.corruption(X, 0.4, bins=5, noise="uniform", **o),
    "masking": lambda X, **o: ec.contexts.masking(X, 0.4, bins=5, **o),
    "cutmix": lambda X, **o: ec.contexts.cutmix(X, 0.4, bins=5, **o),
}


def made(name, X, **options):
    """With warnings of strength left out: small data are always nearly the identity."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*context values, near m/n")
        return MAKERS[name](X, **options)


def plain_scores(ctx, fitted, X):
    """log p(a_j|x) up to terms of a alone, from `ctx.values` and the definition."""
    a, X = ctx.values.astype(np.float64), X.astype(np.float64)
    if ctx.name == "gaussian_noise":
        return -((X[:, None] - a) ** 2).sum(-1) / (2 * ctx.sigma**2)
    cut = Bins(fitted, ctx.bins)
    x = binned(X, cut.edges).astype(int)
    if ctx.name == "masking":
        hidden = np.isnan(a)
        agree = (binned(np.where(hidden, 0, a), cut.edges) == x[:, None]) | hidden
        return np.where(agree.all(-1), 0.0, -np.inf)
    codes = binned(a, cut.edges).astype(int)
    q = cut.masses(getattr(ctx, "noise", "empirical"))
    total = np.zeros((len(X), len(a)))
    for f in range(X.shape[1]):
        keep = (x[:, f][:, None] == codes[:, f]) * (1 - ctx.rate)
        total += np.log(keep + ctx.rate * q[f, codes[:, f]]) - np.log(q[f, codes[:, f]])
    return total


def plain_conditional(ctx, fitted, X):
    log_pbar = logsumexp(plain_scores(ctx, fitted, fitted), axis=0) - np.log(len(fitted))
    ratio = plain_scores(ctx, fitted, X) - log_pbar
    return np.exp(ratio - logsumexp(ratio, axis=1, keepdims=True))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("m", [70, 333])
@pytest.mark.parametrize("name", MAKERS)
def test_every_entry(name, m, dtype):
    X = MIXED.astype(dtype)
    ctx = made(name, X, n_contexts=m, seed=4)
    limit = oracles.tolerance(ctx)
    W = plain_conditional(ctx, X, X)
    P = W / len(X)
    assert ctx.shape == (70, m) and ctx.dtype == dtype and ctx.values.dtype == dtype
    np.testing.assert_allclose(ctx.p_a, P.sum(0), rtol=limit)
    np.testing.assert_allclose(ctx.operator @ np.eye(m, dtype=dtype), oracles.normalized(P), atol=limit)
    np.testing.assert_allclose(ctx.operator.T @ np.eye(70, dtype=dtype), oracles.normalized(P).T, atol=limit)
    np.testing.assert_allclose(ctx.ess, 1 / (W**2).sum(1), rtol=limit)
    assert ctx.ess_min == ctx.ess.min() and ctx.ess_median == np.median(ctx.ess)
    new = NEW.astype(dtype)
    np.testing.assert_allclose(
        ctx.conditional(new) @ np.eye(m, dtype=dtype), plain_conditional(ctx, X, new), atol=limit
    )
    spec = oracles.check_spectrum(ctx, oracles.reference(P), k=4)
    error = np.abs(spec.transform(X) - spec.left) / np.sqrt(len(X))
    assert (error <= (spec.residuals + limit) / spec.singular_values).all()


@pytest.mark.parametrize("name", MAKERS)
def test_784_features(name):
    """Densities of e^-1000 and ratios of e^500; float32 data get float64 scores."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(3, 784))
    X = (centres[rng.integers(3, size=60)] + 0.3 * rng.normal(size=(60, 784))).astype(np.float32)
    function = getattr(ec.contexts, "corruption" if name == "uniform" else name)
    options = {"uniform": {"noise": "uniform"}, "masking": {"bins": 2}}.get(name, {})
    strength = {"gaussian_noise": 6.0, "masking": 0.997}.get(name, 0.985)
    ctx = function(X, strength, n_contexts=300, **options)
    M = oracles.normalized(plain_conditional(ctx, X, X) / 60)
    np.testing.assert_allclose(ctx.operator @ np.eye(300, dtype=np.float32), M, atol=2e-4 * M.max())
    np.testing.assert_allclose(ctx.operator @ np.sqrt(ctx.p_a), np.sqrt(ctx.p_x), atol=1e-5)
    assert 1 < ctx.ess_median < 300


def grid(levels, repeats):
    """All combinations of levels, each repeated."""
    cells = np.stack(np.meshgrid(*[np.arange(level) for level in levels], indexing="ij"), -1).reshape(-1, len(levels))
    return np.repeat(cells, repeats, axis=0).astype(np.float64)


def product_values(levels, rate, power):
    """(1 - rate)^{power |S|}, each prod_S (levels - 1) times (masking: the same functions)."""
    values = []
    for size in range(1, len(levels) + 1):
        for S in combinations(levels, size):
            values += [(1 - rate) ** (power * size)] * int(np.prod(np.array(S) - 1))
    return np.sort(values)[::-1]


@pytest.mark.parametrize("name, power", [("corruption", 1), ("cutmix", 1), ("masking", 0.5)])
def test_product_grid(name, power):
    levels, rate = (2, 3, 2), 0.4
    X = grid(levels, 15)  # n = 180, m = 36 000 >= 20 n
    ctx = getattr(ec.contexts, name)(X, rate, n_contexts=200 * len(X), seed=1)
    expected = product_values(levels, rate, power)
    spec = ec.spectrum(ctx, k=len(expected))
    np.testing.assert_allclose(spec.singular_values, expected, atol=0.02, err_msg=f"n, m = {ctx.shape}")
    # held-out inputs meet the known functions: the span of indicators of the single features
    one = product_values(levels, rate, power)[: sum(level - 1 for level in levels)]
    functions = spec.transform(grid(levels, 1))[:, : len(one)]
    indicators = np.column_stack([grid(levels, 1)[:, [f]] == np.arange(level) for f, level in enumerate(levels)])
    left, s, _ = np.linalg.svd(indicators - indicators.mean(0), full_matrices=False)
    basis = left[:, s > 1e-9]
    inside = np.linalg.norm(basis.T @ functions, axis=0) / np.linalg.norm(functions, axis=0)
    assert basis.shape[1] == len(one) and (inside > 0.99).all()


@pytest.mark.parametrize("noise", NOISES)
def test_noises_on_a_grid_with_their_law(noise):
    """Only the noise that is the features' own law has product values; the others are another spectrum, the exact one
    of the finite channel."""
    X = grid((3, 2), 40)
    ctx = ec.contexts.corruption(X, 0.5, noise=noise, n_contexts=100 * len(X))
    q = Bins(X, 16).masses(noise)
    cells = grid((3, 2), 1).astype(int)
    P = np.ones((6, 6)) / 6
    for f in range(2):
        P *= 0.5 * (cells[:, f][:, None] == cells[:, f]) + 0.5 * q[f][cells[:, f]]
    values = ec.spectrum(ctx, k=5).singular_values
    np.testing.assert_allclose(values, oracles.reference(P), atol=0.02, err_msg=f"n, m = {ctx.shape}")


def test_error_falls_with_the_number_of_values():
    """O(m^{-1/2}) over four seeds: sixteen times as many values, an error at least twice smaller."""
    X, expected = grid((2, 2, 2), 8), product_values((2, 2, 2), 0.5, 1)

    def error(m):
        runs = [ec.spectrum(ec.contexts.corruption(X, 0.5, n_contexts=m, seed=seed), k=7) for seed in range(4)]
        return np.mean([np.abs(spec.singular_values - expected).mean() for spec in runs])

    few, some, many = error(128), error(2048), error(32768)
    assert some < few / 2 and many < some / 2


def gaussian_channel(n, m, seed=0):
    X = ndtri((np.arange(n) + 0.5) / n)[:, None]
    ctx = ec.contexts.gaussian_noise(X, 1.0, n_contexts=m, seed=seed)
    return ec.spectrum(ctx, k=5), 0.5 ** (np.arange(1, 6) / 2)


def test_gaussian_channel():
    spec, expected = gaussian_channel(3000, 9000)
    assert (np.abs(spec.singular_values - expected) <= [0.01, 0.01, 0.01, 0.015, 0.03]).all()
    x = np.linspace(-2, 2, 41)
    functions = spec.transform(x[:, None])
    for i, hermite in enumerate([x, (x**2 - 1) / np.sqrt(2)]):
        sign = np.sign(functions[:, i] @ hermite)
        np.testing.assert_allclose(sign * functions[:, i], hermite, atol=0.15)


@pytest.mark.slow
def test_gaussian_channel_with_20000_values():
    # s_5 lives in the tails: -0.012 on average over seeds, with a standard deviation of 0.01
    spec, expected = gaussian_channel(20_000, 20_000, seed=1)
    np.testing.assert_allclose(spec.singular_values, expected, atol=0.02)


@pytest.mark.parametrize("name", MAKERS)
def test_samples_follow_the_channel(name):
    ctx = made(name, MIXED)
    draws = ctx.sample([3, 20], 4000, seed=5)
    assert draws.shape == (2, 4000, 4) and draws.dtype == ctx.dtype
    np.testing.assert_array_equal(draws, ctx.sample([3, 20], 4000, seed=5))
    assert not np.array_equal(draws[0, :70], ctx.values[:70])
    if name == "gaussian_noise":
        assert np.abs(draws.mean(1) - MIXED[[3, 20]]).max() < 5 * 0.8 / np.sqrt(4000)
        assert np.abs(draws.std(1) / 0.8 - 1).max() < 0.06
        return
    cut = Bins(MIXED, 5)
    own = cut.values[np.arange(4), binned(MIXED[[3, 20]], cut.edges)]
    same = draws == own[:, None]
    if name == "masking":
        assert (same == ~np.isnan(draws)).all()
        assert np.abs(same.mean(1) - 0.6).max() < 5 * np.sqrt(0.24 / 4000)
        return
    q = cut.masses("uniform" if name == "uniform" else "empirical")
    for row in range(2):
        for f in range(4):
            for level in np.flatnonzero(q[f]):
                value = cut.values[f, level]
                expected = 0.6 * (own[row, f] == value) + 0.4 * q[f, level]
                assert abs((draws[row, :, f] == value).mean() - expected) < 5 * np.sqrt(0.25 / 4000)


def test_masses_are_differences_of_the_distribution():
    x = np.concatenate([np.linspace(0, 8, 101) ** 1.3])[:, None]
    cut = Bins(x, 6)
    bounds = np.concatenate([[-np.inf], cut.edges[0], [np.inf]])
    low, high = x.min(), x.max()

    def uniform(t):
        return np.clip((t - low + 1e-6) / (high - low + 2e-6), 0, 1)

    def bimodal(t):
        return (norm.cdf(t, low, (high - low) / 8) + norm.cdf(t, high, (high - low) / 8)) / 2

    laws = {
        "uniform": uniform,
        "gaussian": norm((low + high) / 2, (high - low) / 4).cdf,
        "bimodal": bimodal,
    }
    for noise, law in laws.items():
        np.testing.assert_allclose(cut.masses(noise)[0], np.diff(law(bounds)), atol=1e-12)
    np.testing.assert_allclose(cut.masses("empirical")[0], 1 / 6, atol=0.01)
    assert binned(x, cut.edges)[:, 0].tolist() == np.searchsorted(cut.edges[0], x[:, 0], side="right").tolist()


def test_features_with_few_values_are_taken_as_they_are():
    X = np.array([[0.0, 5.0], [1.0, 5.0], [1.0, 7.5], [3.0, 5.0]])
    cut = Bins(X, 3)
    np.testing.assert_array_equal(cut.edges, [[0.5, 2.0], [6.25, np.inf]])
    np.testing.assert_array_equal(cut.values, [[0, 1, 3], [5, 7.5, np.nan]])
    np.testing.assert_array_equal(binned(X, cut.edges), [[0, 0], [1, 0], [1, 1], [2, 0]])
    close = np.array([1.0, np.nextafter(1.0, 2.0)])[:, None]
    np.testing.assert_array_equal(binned(close, Bins(close, 2).edges), [[0], [1]])


@pytest.mark.parametrize("name", MAKERS)
def test_pickle_file_seed_and_threads(name, tmp_path):
    ctx = made(name, MIXED, seed=3)
    block = np.random.default_rng(0).normal(size=(ctx.shape[1], 3))
    product = ctx.operator @ block
    again = pickle.loads(pickle.dumps(ctx))
    np.testing.assert_array_equal(again.operator @ block, product)
    np.testing.assert_array_equal(again.sample([1]), ctx.sample([1]))
    threads = ec.get_num_threads()
    ec.set_num_threads(1)
    alone = made(name, MIXED, seed=3)
    np.testing.assert_array_equal(alone.operator @ block, product)
    np.testing.assert_array_equal(alone.p_a, ctx.p_a)
    ec.set_num_threads(threads)
    assert not np.array_equal(made(name, MIXED, seed=4).values, ctx.values, equal_nan=True)
    spec = ec.spectrum(ctx, k=3)
    spec.save(tmp_path / "s")
    np.testing.assert_array_equal(ec.load_spectrum(tmp_path / "s").transform(NEW), spec.transform(NEW))


def test_contexts_come_from_every_input_equally_often():
    with pytest.warns(UserWarning, match="near m/n = 2.5"):
        ctx = ec.contexts.gaussian_noise(1e6 * np.arange(10.0)[:, None], 1.0, n_contexts=25)
    counts = np.bincount(np.rint(ctx.values[:, 0] / 1e6).astype(int), minlength=10)
    assert counts.sum() == 25 and set(counts) == {2, 3}


def test_four_values_an_input_up_to_a_limit(monkeypatch):
    assert _sampled._DEFAULT_CONTEXTS == 40_000
    monkeypatch.setattr(_sampled, "_DEFAULT_CONTEXTS", 100)
    for n, m in ((7, 28), (25, 100), (40, 100), (130, 130)):
        assert made("corruption", np.arange(n)[:, None] % 3.0).shape == (n, m)


@pytest.mark.parametrize("name", ("corruption", "uniform", "masking", "cutmix", "gaussian", "bimodal"))
def test_constant_features_can_be_ignored(name):
    """Their context is that of the other features: whatever they draw, it multiplies every entry by the same."""
    steps = np.where(np.arange(70) < 64, 0.0, np.arange(70))  # more than 5 values, of which the smallest fills all bins
    flat = np.c_[MIXED[:, 0], np.full(70, 7.0), MIXED[:, 1:], steps]
    noise = {"noise": name} if name in NOISES else {}
    maker = functools.partial(getattr(ec.contexts, "corruption" if noise else name), rate=0.6, bins=5, **noise)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(
            ValueError, match=r"X: feature\(s\) 1, 5 \(2 in all\) are .*; allowed: .* constant='ignore'"
        ):
            maker(flat)
        ctx = maker(flat, n_contexts=300, constant="ignore")
        maker(np.c_[MIXED, np.r_[np.zeros(69), 1e3]])  # two values: two bins, though one of them holds a single row
        with pytest.raises(ValueError, match="every feature is constant after binning"):
            maker(flat[:, [1, 5]], constant="ignore")
        with pytest.raises(ValueError, match="constant: got 'drop'; allowed: 'error', 'ignore'"):
            maker(flat, constant="drop")
        few = maker(MIXED, n_contexts=300)
    # the same drawn values without the flat columns: exactly the same context
    drawn = tuple(np.delete(part, [1, 5], axis=1) for part in ctx._drawn)
    rule = type(few._conditional)(drawn[0], _table(ctx, few, drawn), few._conditional.edges, np.float64)
    same = _sampled._context(few.name, rule, few._channel, few._x, drawn, lambda a: a)
    np.testing.assert_allclose(ctx.operator @ np.eye(300), same.operator @ np.eye(300), rtol=1e-9, atol=1e-15)
    values = ctx.sample([0, 1], n_samples=5)
    assert set(np.unique(values[..., 1][~np.isnan(values[..., 1])])) <= {7.0}
    np.testing.assert_allclose(ctx.conditional(flat) @ np.ones(300), 1.0)


def _table(ctx, few, drawn):
    """The weights of agreeing, or of masking what is visible."""
    return drawn[1] if few.name == "masking" else np.delete(ctx._conditional.table, [1, 5], axis=0)


def test_mixing_with_other_contexts():
    sampled = made("corruption", MIXED)
    kernel = ec.contexts.kernel(MIXED, bandwidth=1.0)
    mixed = ec.contexts.mixture([sampled, kernel], [0.5, 0.5])
    spec = ec.spectrum(mixed, k=3, tol=1e-8)
    np.testing.assert_allclose(spec.transform(MIXED), spec.left, atol=1e-6)
    chain = kernel @ sampled
    np.testing.assert_allclose(chain.operator @ np.sqrt(chain.p_a), np.sqrt(chain.p_x), atol=1e-10)
    squares = ec.spectrum(sampled, k=2, tol=1e-8).singular_values ** 2
    np.testing.assert_allclose(ec.spectrum(sampled.walk(), k=2, tol=1e-8).singular_values, squares, atol=1e-8)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_far_points_keep_their_noise(offset):
    X = (MIXED + offset).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ctx = ec.contexts.gaussian_noise(X, 0.8)
    W = plain_conditional(ctx, X, X)
    limit = oracles.tolerance(ctx) if offset == 0 else 0.01  # `values` are rounded to 1e-3 there, the operator is not
    np.testing.assert_allclose(ctx.operator @ np.eye(280, dtype=np.float32), oracles.normalized(W / 70), atol=limit)


def test_a_density_too_narrow_for_products():
    """|x - a|^2 / (2 sigma^2) from differences: in float64 |x|^2 + |a|^2 - 2 x.a would lose everything."""
    X = np.array([0.0, 1.0, 1.0 + 2e-7])[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ctx = ec.contexts.gaussian_noise(X, 1e-7, n_contexts=600)
    W = plain_conditional(ctx, X, X)
    np.testing.assert_allclose(ctx.conditional(X) @ np.eye(600), W, atol=1e-3)
    assert W[1, :].max() < 0.02 and (W[0] * W[1]).max() == 0


@pytest.mark.parametrize(
    "text, name",
    [
        ("gaussian_noise:sigma=1", "gaussian_noise"),
        ("corruption:rate=0.3:noise=uniform:bins=4", "corruption"),
        ("masking:rate=0.3", "masking"),
        ("cutmix:rate=0.3:n_contexts=100:seed=2", "cutmix"),
    ],
)
def test_command_line_names(text, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ctx = parse(text)[0][1].build(Input(MIXED, "neighbors"))
    assert ctx.name == name


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda c: c.gaussian_noise(MIXED, 0.0), "sigma: got 0; allowed: a finite number > 0 .half the median distan"),
        (
            lambda c: c.gaussian_noise(MIXED, 1.0).conditional(1e200 * NEW),
            "X_new: got entries up to .* do not overflow",
        ),
        (lambda c: c.gaussian_noise(MIXED, 1e-300), "sigma: got 1e-300; allowed: one that does not overflow"),
        (lambda c: c.gaussian_noise(MIXED, 1.0, n_contexts=0), "n_contexts: got 0; allowed"),
        (lambda c: c.gaussian_noise(MIXED, 1.0).conditional(NEW[:, :2]), "X_new: got 2 columns; allowed: 4"),
        (lambda c: c.corruption(MIXED, 0.0), "rate: got 0; allowed: a finite number > 0 and < 1 .0.9 is a start"),
        (lambda c: c.masking(MIXED, 1), "rate: got 1; allowed"),
        (lambda c: c.cutmix(MIXED, 1.5), "rate: got 1.5; allowed"),
        (lambda c: c.corruption(MIXED, 0.5, bins=1), "bins: got 1; allowed: an integer in 2 .. 256"),
        (lambda c: c.masking(MIXED, 0.5, bins=257), "bins: got 257; allowed"),
        (lambda c: c.corruption(MIXED, 0.5, noise="normal"), "noise: got 'normal'; allowed: 'empirical'"),
        (lambda c: c.masking(np.c_[MIXED, np.ones(70)], 0.5), r"X: feature\(s\) 4 \(1 in all\) are constant after"),
        (lambda c: c.cutmix(np.r_[np.zeros(90), np.arange(10.0)][:, None], 0.5, bins=3), "constant after binning"),
        (lambda c: c.corruption(MIXED, 0.5, seed=-1), "seed: got -1; allowed"),
        (lambda c: c.corruption([[np.nan]], 0.5), r"X: got nan at \[0, 0\]; allowed"),
        (lambda c: c.masking(MIXED, 0.01, bins=64, n_contexts=3), r"X: row\(s\) .* agree with no drawn context value"),
        (lambda c: c.masking(MIXED, 0.01, bins=64).conditional(NEW), r"X_new: row\(s\) .* agree with no drawn"),
        (lambda c: c.masking(MIXED, 0.4).conditional(NEW[:, :1]), "X_new: got 1 columns; allowed: 4"),
    ],
)
def test_bad_input(call, message):
    with warnings.catch_warnings(), pytest.raises(ValueError, match=message):
        warnings.simplefilter("ignore")
        call(ec.contexts)


def test_warnings_name_the_reason():
    with pytest.warns(UserWarning, match="n_contexts: 20 values for 70 inputs"):
        made("gaussian_noise", MIXED, n_contexts=20)
    with pytest.warns(UserWarning, match=r"gaussian_noise: .* near m/n = 4"):
        ec.contexts.gaussian_noise(MIXED, 1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ec.contexts.corruption(MIXED, 0.9, bins=3)


LEVELS = """
import sys, warnings
import numpy as np
import eigencontext as ec
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
results = {}
for p in (1, 17, 40):
    for dtype in ("float32", "float64"):
        X = (rng.integers(0, 4, size=(131, p)) + 0.1 * rng.normal(size=(131, p))).astype(dtype)
        for name, strength in (("gaussian_noise", 2.0), ("corruption", 0.9), ("masking", 0.9)):
            ctx = getattr(ec.contexts, name)(X, strength, n_contexts=277)
            results[f"{name} {p} {dtype}"] = ctx.operator @ np.eye(277, dtype=dtype)
np.savez(sys.argv[1], **results)
"""


def test_every_level_of_this_machine_agrees_to_rounding(tmp_path):
    levels = ["baseline", "avx2", "avx512"] if platform.machine() in ("x86_64", "AMD64") else ["baseline", "neon"]
    levels = levels[: levels.index(ec._core.simd_level()) + 1]
    found = []
    for level in levels:
        subprocess.run(
            [sys.executable, "-c", LEVELS, str(tmp_path / f"{level}.npz")],
            env={**os.environ, "EIGENCONTEXT_SIMD": level},
            check=True,
            timeout=120,
        )
        found.append(np.load(tmp_path / f"{level}.npz"))
    for key in found[0].files:
        limit = 1e-4 if "float32" in key else 1e-12
        for other in found[1:]:
            np.testing.assert_allclose(other[key], found[0][key], rtol=limit, atol=limit * found[0][key].max())


def test_little_noise_gives_values_of_1_without_a_false_alarm():
    """log p(a|x) is about -1e6 here: rounding makes the marginals of M differ from p_x and p_a by 1e-11 or so."""
    X = 100.0 * np.random.default_rng(0).normal(size=(178, 13))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        spec = ec.spectrum(ec.contexts.gaussian_noise(X, 1.0), k=3)
    assert not [w for w in caught if "above 1" in str(w.message)]
    assert (spec.singular_values == 1.0).all()
