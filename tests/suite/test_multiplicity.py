"""Values that repeat, or almost: over 1000 seeds the answer is right, or a warning says that it may not be.

The solver draws its start from the seed alone, so every seed is another run of the same trap. Matrices are small, and
blocks far smaller than the multiplicities: with blocks of one column a single Krylov space never sees a second copy.
"""

import warnings

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
from hypothesis import settings

import eigencontext as ec

SEEDS = range(5 * settings().max_examples)  # 1000; fewer where properties draw fewer examples
COPIES = np.r_[1, np.full(12, 0.9), 0.8 * 0.7 ** np.arange(27)]
CLUSTER = np.r_[1, 0.9 - 1e-5 * np.arange(12), 0.8 * 0.7 ** np.arange(27)]


def rotated(s, n, m):
    rng = np.random.default_rng(len(s))
    U, V = (np.linalg.qr(rng.standard_normal((size, len(s))))[0] for size in (n, m))
    return (U * s) @ V.T


def symmetric(w):
    Q = np.linalg.qr(np.random.default_rng(1).standard_normal((len(w), len(w))))[0]
    a = (Q * w) @ Q.T
    return (a + a.T) / 2


def components(sizes):
    """Complete graphs that do not touch: one eigenvalue 1 for each."""
    return sp.csr_array(scipy.linalg.block_diag(*(np.ones((n, n)) - np.eye(n) for n in sizes)))


CASES = {  # matrix, solver, options, the values
    "12 copies": (rotated(COPIES, 60, 50), ec.svd, dict(k=8), COPIES),
    "12 copies, tol 1e-8": (rotated(COPIES, 60, 50), ec.svd, dict(k=8, tol=1e-8), COPIES),
    "12 copies, all wanted": (rotated(COPIES, 60, 50), ec.svd, dict(k=13, tol=1e-6), COPIES),
    "cluster of gap 1e-5": (rotated(CLUSTER, 60, 50), ec.svd, dict(k=8), CLUSTER),
    "cluster of gap 1e-5, tol 1e-8": (rotated(CLUSTER, 50, 60), ec.svd, dict(k=8, tol=1e-8), CLUSTER),
    "eigenvalues, 12 copies": (symmetric(np.r_[COPIES, -COPIES[::-1]]), ec.eigh, dict(k=8, tol=1e-6), COPIES),
    "identity": (sp.eye_array(60, format="csr"), ec.svd, dict(k=5), np.ones(60)),
    "identity, eigenvalues": (np.eye(60), ec.eigh, dict(k=5), np.ones(60)),
}


def wrong_and_silent(solve, exact):
    """Seeds whose values are not the k largest to within their own residuals (jointly, THEORY 3) and rounding, or not
    all converged, though no warning said so."""
    rounding = 10 * np.finfo(float).eps * exact[0] * np.sqrt(200)
    wrong = {}
    for seed in SEEDS:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            values, result = solve(seed)
        error = np.abs(values - exact[: len(values)]).max()
        right = error <= np.linalg.norm(result.residuals) + rounding and result.converged.all()
        if not right and not any(issubclass(w.category, (ec.ClusterWarning, ec.ConvergenceWarning)) for w in caught):
            wrong[seed] = error
    return wrong


@pytest.mark.parametrize("name", CASES)
def test_right_or_warned_of(name):
    a, solver, options, exact = CASES[name]

    def solve(seed):
        result = solver(a, method="krylov", block_size=1 + seed % 4, seed=seed, **options)
        return result[len(result) == 3], result

    assert not wrong_and_silent(solve, exact)


def test_graph_with_50_components():
    """49 nontrivial values of 1; the constant, the 50th, is removed."""
    sizes = 2 + np.arange(50) % 3
    context = ec.contexts.graph(components(sizes))

    def solve(seed):
        spectrum = ec.spectrum(context, k=5, method="krylov", block_size=1 + seed % 4, seed=seed)
        return spectrum.singular_values, spectrum

    assert not wrong_and_silent(solve, np.ones(49))


@pytest.mark.parametrize("block", [1, 2, 4])
@pytest.mark.parametrize("solver", [ec.svd, ec.eigh])
def test_a_cut_through_equal_values_is_always_warned_of(solver, block):
    """With blocks of one column the basis holds no value after the k-th: the verification's does."""
    for seed in range(100):
        with pytest.warns(ec.ClusterWarning):
            solver(np.eye(60), 5, method="krylov", block_size=block, seed=seed)


def test_the_comparison_bites():
    """Without verification and with blocks of one column, copies are missed and nobody is told."""
    a, _, _, exact = CASES["12 copies"]

    def solve(seed):
        result = ec.svd(a, 8, method="krylov", block_size=1, verify=False, seed=seed)
        return result.s, result

    assert len(wrong_and_silent(solve, exact)) > 0.9 * len(SEEDS)


@pytest.mark.filterwarnings("ignore::eigencontext.ClusterWarning")
def test_the_whole_eigenspace_of_a_graph_with_50_components():
    """All 49 and the 50th value, below 1, with blocks of 4: that many copies need that many blocks."""
    sizes = np.full(50, 4)
    context = ec.contexts.graph(components(sizes))
    for seed in range(20):
        spectrum = ec.spectrum(context, k=50, method="krylov", block_size=4, seed=seed)
        np.testing.assert_allclose(spectrum.singular_values, np.r_[np.ones(49), 1 / 3], atol=1e-3 * np.sqrt(50))
