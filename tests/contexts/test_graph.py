"""Random walks whose spectra are known."""

import context_oracles as oracles
import numpy as np
import pytest
import scipy.sparse as sp

import eigencontext as ec


@pytest.fixture(params=[np.asarray, sp.csr_array, lambda B: np.asarray(B, dtype=np.float32)])
def to(request):
    return request.param


@pytest.mark.parametrize("n", [3, 8, 13])
def test_ring(to, n):
    expected = np.sort(np.abs(np.cos(2 * np.pi * np.arange(1, n) / n)))
    oracles.check_spectrum(ec.contexts.graph(to(oracles.cycle(n))), expected)


def test_torus(to):
    n, m = 5, 4
    waves = [np.cos(2 * np.pi * np.arange(size) / size) for size in (n, m)]
    expected = (np.abs(waves[0][:, None] + waves[1]) / 2).ravel()[1:]
    oracles.check_spectrum(ec.contexts.graph(to(oracles.torus(n, m))), expected)


def test_hypercube(to):
    length = 4
    expected = [abs(1 - 2 * bin(j).count("1") / length) for j in range(1, 2**length)]
    oracles.check_spectrum(ec.contexts.graph(to(oracles.hypercube(length))), expected)


def test_complete(to):
    n = 9
    oracles.check_spectrum(ec.contexts.graph(to(np.ones((n, n)) - np.eye(n))), np.full(n - 1, 1 / (n - 1)))


def test_complete_bipartite_and_star(to):
    for a, b in ((3, 5), (1, 6)):
        B = np.zeros((a + b, a + b))
        B[:a, a:] = B[a:, :a] = 1
        oracles.check_spectrum(ec.contexts.graph(to(B)), np.append(1.0, np.zeros(a + b - 2)))


@pytest.mark.parametrize("lazy", [0.2, 0.5])
def test_lazy_undirected(to, lazy):
    n = 10
    eigenvalues = np.cos(2 * np.pi * np.arange(1, n) / n)
    ctx = ec.contexts.graph(to(oracles.cycle(n)), lazy=lazy)
    oracles.check_spectrum(ctx, np.abs((1 - lazy) * eigenvalues + lazy))
    np.testing.assert_allclose(ctx.p_x, 1 / n)


def test_lazy_directed(to):
    rng = np.random.default_rng(0)
    B = rng.random((7, 7)) * (rng.random((7, 7)) < 0.5) + 0.1 * np.roll(np.eye(7), 1, axis=1)
    P = oracles.joint(B)
    lazy = 0.3
    Q = (1 - lazy) * P + lazy * np.diag(P.sum(1))
    ctx = ec.contexts.graph(to(B), lazy=lazy)
    oracles.check_spectrum(ctx, oracles.reference(Q))
    np.testing.assert_allclose(ctx.p_x, P.sum(1), atol=1e-7)
    np.testing.assert_allclose(ctx.p_a, (1 - lazy) * P.sum(0) + lazy * P.sum(1), atol=1e-7)


def test_components_repeat_one(to):
    B = np.kron(np.eye(4), np.ones((3, 3)) - np.eye(3))
    oracles.check_spectrum(ec.contexts.graph(to(B)), np.append(np.ones(3), np.full(8, 0.5)))


@pytest.mark.filterwarnings("ignore::eigencontext.ClusterWarning")  # k ends inside the cluster at 0.5
def test_many_components_beyond_a_block(to):
    B = np.kron(np.eye(40), np.ones((3, 3)) - np.eye(3))
    oracles.check_spectrum(ec.contexts.graph(to(B)), np.append(np.ones(39), np.full(80, 0.5)), k=45, tol=1e-6)


def test_isolated_nodes_are_reported(to):
    B = np.zeros((7, 7))
    B[:6, :6] = oracles.cycle(6)
    with pytest.warns(UserWarning, match="1 empty row.*1 empty column"):
        ctx = ec.contexts.graph(to(B))
    assert list(ctx.isolated) == [6]
    spec = oracles.check_spectrum(ctx, np.abs(np.cos(2 * np.pi * np.arange(1, 6) / 6)))
    assert spec.left.shape == (7, 5) and not spec.left[6].any()


def test_directed_sinks_and_sources(to):
    B = np.array([[0, 1, 1], [0, 0, 1], [0, 0, 0.0]])
    with pytest.warns(UserWarning, match="empty"):
        ctx = ec.contexts.graph(to(B))
    assert list(ctx.rows) == [0, 1] and list(ctx.columns) == [1, 2] and len(ctx.isolated) == 0
    with pytest.raises(ValueError, match="no outgoing edge"):
        ec.contexts.graph(to(B), lazy=0.5)


def test_bad_arguments():
    with pytest.raises(ValueError, match="square"):
        ec.contexts.graph(np.ones((2, 3)))
    for lazy in (-0.1, 1.0, np.nan):
        with pytest.raises(ValueError, match="lazy"):
            ec.contexts.graph(np.ones((2, 2)), lazy=lazy)
    with pytest.raises(ValueError, match="adjacency: got negative"):
        ec.contexts.graph([[0, -1], [1, 0]])
