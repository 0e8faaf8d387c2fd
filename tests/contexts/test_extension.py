"""Spectra at unseen inputs: at the fitted ones `transform` gives `left`; held out, it meets functions known in closed
form; files keep what it needs."""

import math
import warnings

import context_oracles as oracles
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import norm

import eigencontext as ec

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = np.arange(40) % 4
C = oracles.random_counts(2, 40, 9)
C /= C.sum(1, keepdims=True)  # uniform p, as that of points
RING = oracles.cycle(9)
contexts = ec.contexts


def near():
    return contexts.neighbors(X, 6)


#: (context, what transform takes to give `left` back)
FITTED = {
    "counts": lambda: (contexts.counts(C), C),
    "sparse counts": lambda: (contexts.counts(sp.csr_array(C)), sp.csr_array(C)),
    "graph": lambda: (contexts.graph(RING + np.eye(9)), RING + np.eye(9)),
    "directed graph": lambda: (contexts.graph(C[:9]), C[:9]),
    "lazy graph": lambda: (contexts.graph(RING, lazy=0.3), RING),
    "sparse lazy graph": lambda: (contexts.graph(sp.csr_array(RING), lazy=0.5), sp.csr_array(RING)),
    "kernel": lambda: (contexts.kernel(X, bandwidth=1.0), X),
    "stationary": lambda: (contexts.kernel(X, bandwidth=1.0, marginal="stationary"), X),
    "laplacian": lambda: (contexts.kernel(X, X[:15], kernel="laplacian"), X),
    "cosine": lambda: (contexts.kernel(X, kernel="cosine"), X),
    "polynomial": lambda: (contexts.kernel(X, kernel="polynomial"), X),
    "neighbors": lambda: (near(), X),
    "masked kernel": lambda: (contexts.masked_kernel(X, 5), X),
    "masked neighbors": lambda: (contexts.masked_neighbors(X, 5, n_neighbors=6), X),
    "gaussian_noise": lambda: (contexts.gaussian_noise(X, 2.0), X),
    "corruption": lambda: (contexts.corruption(X, 0.7, noise="gaussian"), X),
    "masking": lambda: (contexts.masking(X, 0.7, bins=4), X),
    "cutmix": lambda: (contexts.cutmix(X, 0.7), X),
    "ignored feature": lambda: (
        contexts.cutmix(np.c_[X, np.ones(40)], 0.7, constant="ignore"),
        np.c_[X, np.arange(40)],
    ),
    "noise @ neighbors": lambda: (contexts.gaussian_noise(X, 2.0, n_contexts=40) @ near(), X),
    "labels": lambda: (contexts.labels(Y), Y),
    "teacher": lambda: (contexts.teacher(X), X),
    "targets": lambda: (contexts.targets(X), X),
    "pairs": lambda: (contexts.pairs(X, C), X),
    "lagged": lambda: (contexts.lagged(X), X[:-1]),
    "operator": lambda: (contexts.operator(C, np.full(40, 1 / 40)), C),
    "walk": lambda: (near().walk(), X),
    "convolution": lambda: (near() @ contexts.kernel(X, bandwidth=1.0), X),
    "walk @ labels": lambda: (near().walk() @ contexts.labels(Y), X),
    "mixture, one for all": lambda: (contexts.mixture([near(), contexts.masked_kernel(X, 3)], [0.4, 0.6]), X),
    "mixture, one each": lambda: (
        contexts.mixture([near(), contexts.labels(Y), contexts.counts(C)], [0.5, 0.3, 0.2]),
        [X, Y, C],
    ),
    "nested mixture": lambda: (
        contexts.mixture(
            [contexts.mixture([near(), contexts.labels(Y)], [0.4, 0.6]), contexts.pairs(X, C) @ contexts.labels(Y)],
            [0.5, 0.5],
        ),
        [[X, Y], X],
    ),
    "mixture @ labels": lambda: (
        contexts.mixture([near(), contexts.counts(C)], [0.5, 0.5]) @ contexts.labels(np.arange(49) % 5),
        [X, C],
    ),
}


def in_float32(data):
    if isinstance(data, list):
        return [in_float32(item) for item in data]
    return data if data.dtype.kind == "i" else data.astype(np.float32)


@pytest.mark.filterwarnings("ignore::eigencontext.ClusterWarning")  # of a ring: pairs of equal values
@pytest.mark.parametrize("name", FITTED)
def test_the_fitted_inputs_give_the_fitted_functions(name, tmp_path):
    ctx, data = FITTED[name]()
    spec = ec.spectrum(ctx, k=3, tol=1e-8)
    got = spec.transform(data)
    limit = 1e3 * np.finfo(float).eps * np.sqrt(max(*ctx.shape, 1))
    error = np.sqrt(spec.p_x @ np.square(got - spec.left))
    assert (error <= (spec.residuals + limit) / np.abs(smallest_divisor(ctx, spec))).all()
    spec.save(tmp_path / "with")
    again = ec.load_spectrum(tmp_path / "with")
    np.testing.assert_allclose(again.transform(data), got, atol=1e-10)
    again.save(tmp_path / "twice")
    np.testing.assert_allclose(ec.load_spectrum(tmp_path / "twice").transform(data), got, atol=1e-10)
    spec.save(tmp_path / "without", context=False)
    without = ec.load_spectrum(tmp_path / "without")
    np.testing.assert_array_equal(without.left, spec.left)
    with pytest.raises(ValueError, match="context=False"):
        without.transform(data)


def smallest_divisor(ctx, spec):
    """s_i, or the smaller of the walk's eigenvalues that |(1 - t) lambda + t| = s_i may come from."""
    if not getattr(ctx, "lazy", 0.0):
        return spec.singular_values
    return np.minimum(np.abs(spec.singular_values - ctx.lazy), spec.singular_values + ctx.lazy)


@pytest.mark.filterwarnings("ignore::eigencontext.ClusterWarning")  # labels: all values are 1
@pytest.mark.parametrize("name", [name for name in FITTED if "graph" not in name])
def test_float32(name):
    """New inputs of another type are taken as the fitted ones are."""
    ctx, data = FITTED[name]()
    spec = ec.spectrum(ctx, k=2)
    error = np.sqrt(spec.p_x @ np.square(spec.transform(in_float32(data)) - spec.left))
    assert (error <= 1e-5 / spec.singular_values).all()


# -- held out --------------------------------------------------------------------------------------------------------


def hermite(x, degree):
    values = [np.polynomial.hermite_e.hermeval(x, np.eye(degree + 1)[i]) for i in range(1, degree + 1)]
    return np.transpose(values) / np.sqrt([math.factorial(i) for i in range(1, degree + 1)])


def check_held_out(spec, new, expected, fitted, atol):
    """`expected` and `fitted` are the known functions at the new and at the fitted inputs."""
    signs = np.sign(np.sum(fitted * spec.left * spec.p_x[:, None], axis=0))
    np.testing.assert_allclose(spec.transform(new) * signs, expected, atol=atol)


def channel_rows(x, rho):
    """P(a|x) of the Gaussian channel on the Gauss-Hermite nodes, for any x."""
    a, w = np.polynomial.hermite_e.hermegauss(40)
    density = w * np.exp(-(rho**2 * (x[:, None] ** 2 + a**2) - 2 * rho * x[:, None] * a) / (2 * (1 - rho**2)))
    return density / density.sum(1, keepdims=True)


NODES = np.polynomial.hermite_e.hermegauss(40)[0]
HELD_OUT = np.linspace(-2.5, 2.5, 21)


def channel(rho, how):
    P = oracles.gauss_hermite(rho)
    return contexts.counts(P) if how == "counts" else contexts.operator(P / P.sum(1, keepdims=True), P.sum(1))


@pytest.mark.parametrize("how", ["counts", "operator"])
def test_gaussian_channel(how):
    spec = ec.spectrum(channel(0.6, how), k=4, tol=0)
    check_held_out(spec, channel_rows(HELD_OUT, 0.6), hermite(HELD_OUT, 4), hermite(NODES, 4), 1e-6)


def test_mixture_and_convolution_of_gaussian_channels():
    """Both have Hermite functions again; s_i^2 = sum_j w_j rho_j^2i and s_i = (rho_1 rho_2)^i."""
    first, second = channel(0.7, "counts"), channel(0.4, "counts")
    degrees = np.arange(1, 4)
    mixed = ec.spectrum(contexts.mixture([first, second], [0.3, 0.7]), k=3, tol=0)
    np.testing.assert_allclose(
        mixed.singular_values**2, 0.3 * 0.7 ** (2 * degrees) + 0.7 * 0.4 ** (2 * degrees), atol=1e-8
    )
    new = [channel_rows(HELD_OUT, 0.7), channel_rows(HELD_OUT, 0.4)]
    check_held_out(mixed, new, hermite(HELD_OUT, 3), hermite(NODES, 3), 1e-6)
    both = ec.spectrum(first @ second, k=3, tol=0)
    np.testing.assert_allclose(both.singular_values, 0.28**degrees, atol=1e-8)
    check_held_out(both, new[0], hermite(HELD_OUT, 3), hermite(NODES, 3), 1e-6)
    walk = ec.spectrum(second.walk(), k=2, tol=0)
    np.testing.assert_allclose(walk.singular_values, 0.16 ** degrees[:2], atol=1e-8)
    check_held_out(walk, new[1], hermite(HELD_OUT, 2), hermite(NODES, 2), 1e-6)


def test_kernel_of_a_gaussian_variable():
    """x at the normal quantiles: a|x ~ N(x/(1 + h^2), h^2/(1 + h^2)), of correlation 1/sqrt(1 + h^2 + h^4)."""
    n, h = 2000, 1.0
    x = norm.ppf((np.arange(n) + 0.5) / n)
    spec = ec.spectrum(contexts.kernel(x[:, None], bandwidth=h), k=3, tol=1e-8)
    np.testing.assert_allclose(spec.singular_values, 3.0 ** (-np.arange(1, 4) / 2), atol=0.005)
    new = np.linspace(-1.9, 1.9, 12)
    check_held_out(spec, new[:, None], hermite(new, 3), hermite(x, 3), 0.1)


def circle(angle):
    return np.column_stack([np.cos(angle), np.sin(angle)])


@pytest.mark.parametrize("make", ["kernel", "stationary", "neighbors"])
def test_points_on_a_circle(make):
    """Invariant under rotation: the functions of the pair m are sqrt(2) cos and sin of m times the angle."""
    n = 360
    grid = circle(2 * np.pi * np.arange(n) / n)
    # kernels are smooth: 360 points integrate them exactly; 41 neighbours of a new point lie askew by half a step
    ctx, atol = {
        "kernel": lambda: (contexts.kernel(grid, bandwidth=0.5), 1e-10),
        "stationary": lambda: (contexts.kernel(grid, bandwidth=0.5, marginal="stationary"), 1e-10),
        "neighbors": lambda: (contexts.neighbors(grid, 41), 4 * np.pi / n),
    }[make]()
    spec = ec.spectrum(ctx, k=4, tol=1e-12)
    angle = np.random.default_rng(3).uniform(0, 2 * np.pi, 25)  # held out
    values = spec.transform(circle(angle))
    for pair in (0, 1):
        # in the basis that the solver chose: cos and sin up to a rotation, given by the values at the fitted points
        turns = 2 * np.pi * (pair + 1) * np.arange(n) / n
        known = np.sqrt(2) * np.column_stack([np.cos(turns), np.sin(turns)])
        rotation = known.T @ spec.left[:, 2 * pair : 2 * pair + 2] / n
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(2), atol=1e-8)
        expected = np.sqrt(2) * circle((pair + 1) * angle) @ rotation
        np.testing.assert_allclose(values[:, 2 * pair : 2 * pair + 2], expected, atol=np.sqrt(2) * atol)


@pytest.mark.parametrize("lazy", [0.0, 0.2, 0.5, 0.8])
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_a_new_node_of_a_ring(lazy, form):
    """A node joined to j and j + 1 gets the mean of cos and sin there, divided by the eigenvalue cos(2 pi m / n) of the
    walk without the lazy step, whatever the laziness (0.2 has values that come from both signs: |0.8 lambda + 0.2|)."""
    n = 10
    spec = ec.spectrum(contexts.graph(oracles.cycle(n), lazy=lazy), k=9, tol=0)
    new = np.zeros((2, n))
    new[0, [3, 4]], new[1, [1, 3]] = 1.0, 2.0  # the second is node 2 once more
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lambda = -1 has s = 0 where lazy = 0.5
        values = spec.transform(form(new))
    good = np.isfinite(values).all(0)
    assert good.sum() == (8 if lazy == 0.5 else 9)
    # every eigenfunction f of the walk, with f(new) known, as a combination of the mu_i: f = sum_i <f, mu_i> mu_i
    for m in range(1, n // 2 + (lazy != 0.5)):
        wave = np.exp(2j * np.pi * m * np.arange(n) / n)
        known = np.array([(wave[3] + wave[4]) / 2 / np.cos(2 * np.pi * m / n), wave[2]])
        got = values[:, good] @ (spec.left[:, good].T @ wave / n)
        np.testing.assert_allclose(got, known, atol=1e-9)


def test_lazy_functions_that_cannot_be_extended():
    """The complete bipartite graph has lambda = 0: there the walk without the lazy step says nothing."""
    B = np.zeros((6, 6))
    B[:2, 2:] = B[2:, :2] = 1
    ctx = contexts.graph(B, lazy=0.25)
    spec = ec.spectrum(ctx, k=5, tol=0)
    np.testing.assert_allclose(spec.singular_values, [0.5, 0.25, 0.25, 0.25, 0.25], atol=1e-12)
    with pytest.warns(UserWarning, match="4 of 5 .*of a lazy graph, the eigenvalue of its walk"):
        values = spec.transform(B)
    np.testing.assert_allclose(values[:, 0], spec.left[:, 0], atol=1e-12)
    assert np.isnan(values[:, 1:]).all() and list(spec.extendable) == [True] + [False] * 4


def test_lazy_graphs_that_refuse_new_nodes(tmp_path):
    directed = contexts.graph(C[:9], lazy=0.5)
    undirected = contexts.graph(RING, lazy=0.5)
    labels = contexts.labels(np.arange(9) % 3)
    np.testing.assert_allclose(undirected.conditional(RING) @ np.eye(9), RING / 2)  # without the lazy step
    for ctx, message in (
        (directed, "lazy directed graph"),
        (undirected @ labels, "lazy graph inside a mixture or a convolution"),
        (undirected.walk(), "lazy graph inside a mixture or a convolution"),
        (contexts.mixture([labels, undirected], [0.5, 0.5]), "lazy graph inside a mixture or a convolution"),
    ):
        spec = ec.spectrum(ctx, k=2)
        spec.save(tmp_path / "s")
        new = [np.arange(9) % 3, RING] if ctx.name == "mixture" else RING
        for refusing in (ctx.conditional, spec.transform, ec.load_spectrum(tmp_path / "s").transform):
            with pytest.raises(ValueError, match=f"X_new: got new nodes for a {message}.*allowed: .*lazy=0"):
                refusing(new)
    empty = sp.csr_array(RING)
    empty[0, 1] = 2.0  # one weight differs: directed
    with pytest.raises(ValueError, match="lazy directed graph"):
        contexts.graph(empty, lazy=0.5).conditional(RING)


# -- users x items ---------------------------------------------------------------------------------------------------


def test_new_users_of_rated_items():
    """Users of 3 groups rate 12 items in proportion to their group's taste: two functions, constant on groups. A new
    user of a group gets its values; one between two groups, the mean of theirs."""
    taste = np.random.default_rng(1).dirichlet(np.ones(12), 3)
    group = np.repeat([0, 1, 2], [20, 35, 5])
    activity = np.random.default_rng(2).integers(1, 50, 60)
    ratings = activity[:, None] * taste[group]
    for form in (np.asarray, sp.csr_array):
        ctx = contexts.counts(form(ratings))
        assert ctx.shape == (60, 12)
        spec = ec.spectrum(ctx, k=2, tol=0)
        mass = np.bincount(group, activity)
        np.testing.assert_allclose(spec.singular_values, oracles.reference(mass[:, None] * taste)[:2], atol=1e-10)
        of_group = np.array([spec.left[group == g][0] for g in range(3)])
        np.testing.assert_allclose(spec.left, of_group[group], atol=1e-9)
        new = np.vstack([7 * taste, (taste[0] + taste[1]) / 2])
        expected = np.vstack([of_group, (of_group[0] + of_group[1]) / 2])
        np.testing.assert_allclose(spec.transform(form(new)), expected, atol=1e-9)


def test_users_of_a_sparse_table():
    """A new user who rated what two others did together gets the mean of their values, by their activity."""
    ratings = sp.random_array((300, 40), density=0.1, rng=np.random.default_rng(4), format="csr")
    ratings.data = np.ceil(5 * ratings.data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ctx = contexts.counts(ratings)
    spec = ec.spectrum(ctx, k=5, tol=1e-10)
    some = ctx.rows[:2]
    activity = np.asarray(ratings[some].sum(axis=1)).ravel()
    together = sp.csr_array(ratings[some].sum(axis=0)[None])
    expected = activity @ spec.left[some] / activity.sum()
    np.testing.assert_allclose(spec.transform(together)[0], expected, atol=1e-8)
    transposed = contexts.counts(sp.csr_array(ratings[:, ctx.columns].T)[:, ctx.rows])
    items = ec.spectrum(transposed, k=5, tol=1e-10)  # items x users: the same pairs
    np.testing.assert_allclose(items.singular_values, spec.singular_values, atol=1e-8)
    np.testing.assert_allclose(np.abs(items.left), np.abs(spec.right[ctx.columns]), atol=1e-5)
