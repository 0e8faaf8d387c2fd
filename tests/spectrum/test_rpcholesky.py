"""Accelerated randomly pivoted Cholesky: its law, its certificate, and where it ends."""

import contextlib
import itertools
import math
import signal
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import scipy.stats

import eigencontext as ec
from eigencontext import _core

DTYPES = (np.float32, np.float64)
KERNELS = ("rbf", "laplacian", "cosine")


def points(n, p, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal((n, p)).astype(dtype)


def exact(op):
    """The operator's matrix in float64, symmetric."""
    K = op.astype(np.float64) @ np.eye(op.shape[0])
    return (K + K.T) / 2


def floor_of(dtype, n, largest):
    return 10 * np.finfo(dtype).eps * largest * np.sqrt(n)


def check_certificate(op, result, k):
    """Every claim of an EighResult of rpcholesky, from the returned pairs in float64."""
    n = op.shape[0]
    K = exact(op)
    truth = np.linalg.eigvalsh(K)[::-1]
    eps = np.finfo(op.dtype).eps
    floor = floor_of(op.dtype, n, truth[0])
    w, V = result.w.astype(np.float64), result.V.astype(np.float64)
    bound = result.residuals[0]
    assert (result.residuals == bound).all() and bound >= 0
    assert w.shape == (k,) and V.shape == (n, k) and result.w.dtype == result.V.dtype == op.dtype
    assert (np.diff(w) <= 0).all() and (w >= 0).all()
    assert np.abs(V.T @ V - np.eye(k)).max() <= 20 * eps * np.sqrt(n)
    assert (w <= truth[:k] + floor).all()
    assert (truth[:k] <= w + bound + floor).all()
    residuals = np.linalg.norm(K @ V - V * w, axis=0)
    assert (residuals <= bound + floor).all()
    return w, residuals


# -- the law of the pivots ---------------------------------------------------------------------------------------------


def plain_law(A, r):
    """The probability of each sequence of r pivots in the plain form: one at a time, p(s) = R_ss / trace(R), then
    R <- R - R_:s R_s: / R_ss."""
    law = {}
    for pivots in itertools.permutations(range(len(A)), r):
        R, probability = A.copy(), 1.0
        for s in pivots:
            d = np.maximum(np.diag(R), 0)
            probability *= d[s] / d.sum()
            if probability <= 0:
                break
            R = R - np.outer(R[:, s], R[s]) / R[s, s]
        law[pivots] = max(probability, 0.0)
    assert math.isclose(sum(law.values()), 1, abs_tol=1e-9)
    return law


def chi_squared(counts, law, total):
    """The p-value of the counts under the law; cells with fewer than 5 expected are put together."""
    observed, expected, rest = [], [], [0, 0.0]
    for cell, probability in law.items():
        if probability * total >= 5:
            observed.append(counts.get(cell, 0))
            expected.append(probability * total)
        else:
            rest[0] += counts.get(cell, 0)
            rest[1] += probability * total
    if rest[1] >= 5:
        observed.append(rest[0])
        expected.append(rest[1])
    observed, expected = np.array(observed), np.array(expected)
    return scipy.stats.chi2.sf(((observed - expected) ** 2 / expected).sum(), len(observed) - 1)


def correlated_matrix():
    """Unequal diagonal, and two groups within which a pivot takes most of the others away."""
    x = np.array([[0.0], [0.3], [0.5], [2.0], [2.4], [4.0]])
    scale = np.array([1.0, 1.3, 0.7, 1.0, 0.9, 0.6])
    return np.exp(-((x - x.T) ** 2)) * np.outer(scale, scale)


@pytest.mark.parametrize("proposals", [1, 3, 8])
def test_pivots_have_the_law_of_the_plain_form(proposals):
    A, total = correlated_matrix(), 20000
    law, op = plain_law(A, 3), _core.dense(A, symmetric=True)
    counts = {}
    for seed in range(total):
        pivots = tuple(_core.rpcholesky(op, 3, proposals, seed)["pivots"])
        counts[pivots] = counts.get(pivots, 0) + 1
    assert sum(counts.values()) == total
    assert chi_squared(counts, law, total) > 1e-4
    # What a missing rejection would give, pivots in proportion to the diagonal as it was at the start, is told apart.
    assert chi_squared(counts, plain_law(np.diag(np.diag(A)), 3), total) < 1e-12


@pytest.mark.parametrize("n", [5000, 20000])
def test_pivots_of_large_operators_come_from_everywhere(n):
    """The first pivots are drawn in proportion to the diagonal, across the chunks that sums are cut into."""
    weights = np.linspace(0.5, 2.0, n)
    op = _core.scaled(_core.pairwise(points(n, 40), None, "laplacian", 0.01, 3, 1.0), weights, weights)
    pivots = np.concatenate([_core.rpcholesky(op, 400, 64, seed)["pivots"] for seed in range(5)])
    law = np.add.reduceat(weights**2, np.arange(0, n, n // 50))  # nearly diagonal: the residual stays what it was
    counts = np.bincount(pivots // (n // 50), minlength=len(law))
    expected = law / law.sum() * len(pivots)
    assert scipy.stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), len(law) - 1) > 1e-4


# -- the factor --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_trace_is_that_of_the_residual(kernel, dtype):
    op = ec.operators.kernel(points(300, 4, dtype), kernel=kernel)
    found = _core.rpcholesky(op._engine, 40, 16, 3)
    F, pivots = found["factor"].astype(np.float64), found["pivots"]
    residual = exact(op) - F @ F.T
    rounding = 32 * np.finfo(dtype).eps * 300
    assert abs(np.trace(residual) - found["trace"]) <= rounding
    assert len(set(pivots)) == len(pivots) == F.shape[1] <= 40
    assert np.abs(residual[:, pivots]).max() <= 100 * np.finfo(dtype).eps  # interpolates the chosen columns
    assert np.linalg.eigvalsh(residual)[0] >= -rounding


@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_at_full_rank(dtype):
    op = ec.operators.kernel(points(120, 5, dtype), kernel="laplacian")
    result = ec.eigh(op, 120, method="rpcholesky", max_basis=120)
    w, _ = check_certificate(op, result, 120)
    assert result.residuals[0] <= 32 * np.finfo(dtype).eps * 120
    assert result.matvecs == 120
    np.testing.assert_allclose(w, np.linalg.eigvalsh(exact(op))[::-1], atol=floor_of(dtype, 120, w[0]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_duplicated_points_end_it_early(kernel, dtype):
    distinct = 25
    X = np.repeat(points(distinct, 30, dtype), 20, axis=0)
    for seed in range(5):
        found = _core.rpcholesky(ec.operators.kernel(X, kernel=kernel)._engine, 100, 16, seed)
        assert len(found["pivots"]) == distinct
        assert len({pivot // 20 for pivot in found["pivots"]}) == distinct
        assert found["trace"] <= 32 * np.finfo(dtype).eps * len(X)


def test_far_outliers_with_duplicates_in_float32():
    """Exponents of far points are differences of large numbers: entries are off by more than eps, and the duplicates'
    leftovers must be taken neither for pivots without end nor for an indefinite matrix."""
    X = points(400, 6, np.float32)
    X[:40] *= 20
    X = np.repeat(X, 3, axis=0)
    op = ec.operators.kernel(X, bandwidth=2.0)
    for seed in range(10):
        result = ec.eigh(op, 30, method="rpcholesky", max_basis=600, seed=seed, tol=0.1)
        assert result.matvecs <= 400 + 40 and result.residuals[0] <= 0.01
    check_certificate(op, result, 30)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_certificate_bounds_values_and_residuals(kernel, dtype):
    op = ec.operators.kernel(points(250, 3, dtype, seed=7), kernel=kernel)
    for seed in range(20):
        for rank in (12, 60):
            with pytest.warns(ec.ConvergenceWarning) if kernel != "cosine" else contextlib.nullcontext():
                result = ec.eigh(op, 10, method="rpcholesky", max_basis=rank, seed=seed, tol=1e-7)
            check_certificate(op, result, 10)
            assert result.converged.all() == (kernel == "cosine")  # rank 4: all else is exact


@pytest.mark.parametrize("centered", [False, True])
def test_float32_is_as_good_as_its_rounding(centered):
    X = points(600, 2, np.float32)
    op = ec.operators.kernel(X, bandwidth=2.0, centered=centered)
    result = ec.eigh(op, 8, method="rpcholesky", max_basis=80)
    w, residuals = check_certificate(op, result, 8)
    assert result.converged.all()
    truth = np.linalg.eigvalsh(exact(op))[::-1][:8]
    np.testing.assert_allclose(w, truth, atol=floor_of(np.float32, 600, truth[0]))
    assert result.missed <= 1e-6 * truth[0] ** 2 + (truth[7] ** 2) * 600


def test_small_eigenvalues_are_not_lost_to_a_square():
    """Values of 1e-8 of the largest, of a float64 factor that holds them to full precision."""
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((200, 200)))[0]
    w = np.zeros(200)
    w[:9] = 10.0 ** -np.arange(9)
    a = (Q * w) @ Q.T
    result = ec.eigh((a + a.T) / 2, 9, method="rpcholesky", max_basis=30)
    np.testing.assert_allclose(result.w, w[:9], rtol=1e-6)
    assert np.abs(result.V.T @ result.V - np.eye(9)).max() <= 1e-13


def test_error_within_the_theorys_factor_of_the_best():
    """Chen et al. 2022: E trace(A - F F^T) <= (1 + eps) best_r for rank >= r / eps + r log(1 / (eps eta)),
    eta = best_r / trace(A), best_r the sum of the eigenvalues beyond r."""
    op = ec.operators.kernel(points(500, 2), bandwidth=1.0)
    values = np.linalg.eigvalsh(exact(op))[::-1]
    r = 8
    best = values[r:].sum()
    rank = math.ceil(r + r * math.log(500 / best))
    traces = [_core.rpcholesky(op._engine, rank, 8, seed)["trace"] for seed in range(100)]
    assert np.mean(traces) + 4 * np.std(traces) / 10 <= 2 * best
    assert min(traces) >= values[rank:].sum() * (1 - 1e-9)  # nothing of that rank does better


# -- special operators -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_k_above_the_rank(dtype):
    X = np.repeat(points(6, 40, dtype), 50, axis=0)
    op = ec.operators.kernel(X, bandwidth=1.0)
    result = ec.eigh(op, 15, method="rpcholesky")
    w, _ = check_certificate(op, result, 15)
    assert (w[6:] == 0).all() and (w[:6] > 1).all()
    assert result.stop_reason == "converged" and result.matvecs == 6


@pytest.mark.parametrize("n", [1, 2, 40])
def test_zero_matrix(n):
    result = ec.eigh(np.zeros((n, n)), min(n, 5), method="rpcholesky")
    assert (result.w == 0).all() and result.converged.all() and (result.residuals == 0).all()
    np.testing.assert_allclose(result.V.T @ result.V, np.eye(min(n, 5)), atol=1e-13)


def test_disconnected_clusters():
    X = np.concatenate([points(60, 3, seed=i) + 1000 * i for i in range(8)])
    op = ec.operators.kernel(X, bandwidth=3.0)
    with pytest.warns(ec.ConvergenceWarning):
        result = ec.eigh(op, 8, method="rpcholesky", max_basis=120, tol=1e-5)
    w, _ = check_certificate(op, result, 8)
    ctx = ec.contexts.kernel(X, bandwidth=3.0, marginal="stationary")
    spec = ec.spectrum(ctx, 7, method="rpcholesky", max_basis=160, tol=1e-2)
    np.testing.assert_allclose(spec.singular_values, 1, atol=spec.residuals[0] + 1e-10)


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_scale_beyond_the_range_of_squares(scale):
    a = exact(ec.operators.kernel(points(100, 3)))
    result = ec.eigh((scale * a).astype(np.float32), 5, method="rpcholesky", max_basis=80)
    assert result.converged.all()
    np.testing.assert_allclose(result.w, scale * np.linalg.eigvalsh(a)[::-1][:5], rtol=2e-3)


@pytest.mark.parametrize("layout", ["C", "F", "strided"])
def test_dense_layouts(layout):
    a = exact(ec.operators.kernel(points(90, 3)))
    wide = np.zeros((180, 270))
    wide[::2, ::3] = a
    view = {"C": a, "F": np.asfortranarray(a), "strided": wide[::2, ::3]}[layout]
    result, plain = (ec.eigh(m, 4, method="rpcholesky", max_basis=30, tol=1) for m in (view, a))
    np.testing.assert_allclose(result.w, plain.w, rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_spectrum_of_a_stationary_context(kernel, dtype):
    ctx = ec.contexts.kernel(points(300, 3, dtype), kernel=kernel, marginal="stationary")
    spec = ec.spectrum(ctx, 3, method="rpcholesky", max_basis=270, tol=0.2)
    reference = ec.spectrum(ctx, 3, method="full")
    assert spec.method == "rpcholesky" and spec.converged.all()
    floor = floor_of(dtype, 300, 1.0)
    assert (spec.singular_values <= reference.singular_values + floor).all()
    assert (reference.singular_values <= spec.singular_values + spec.residuals + floor).all()
    np.testing.assert_allclose(spec.p_x @ spec.left, 0, atol=100 * np.finfo(dtype).eps)  # no constant
    gram = spec.left.T.astype(float) @ (spec.p_x[:, None] * spec.left)
    np.testing.assert_allclose(gram, np.eye(3), atol=200 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(spec.left, spec.right)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_context_whose_points_coincide_has_no_spectrum(dtype):
    ctx = ec.contexts.kernel(np.ones((30, 2), dtype), bandwidth=1.0, marginal="stationary")
    spec = ec.spectrum(ctx, 5, method="rpcholesky")
    assert (spec.singular_values == 0).all() and spec.converged.all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_entries_of_kernels(kernel, dtype):
    X = points(600, 5, dtype)
    X[7] = 0
    X[11] = X[7]
    op = ec.operators.kernel(X + dtype(100) * (kernel != "cosine"), kernel=kernel)
    full, columns, rows = exact(op), [7, 599, 11, 0], [11, 300, 7]
    atol = 32 * np.finfo(dtype).eps
    np.testing.assert_allclose(op._engine.entries(None, columns), full[:, columns], atol=atol)
    np.testing.assert_allclose(op._engine.entries(rows, columns), full[np.ix_(rows, columns)], atol=atol)
    np.testing.assert_array_equal(op._engine.diagonal()[0], np.diag(full))


def test_entries_of_composed_operators():
    K = ec.operators.kernel(points(70, 3), centered=True)
    left = np.random.default_rng(1).uniform(0.5, 2, 70)
    op = ec.operators.scaled(K, left, left)
    full, some, others = op @ np.eye(70), [3, 69, 0], [5, 3, 3, 68]
    np.testing.assert_allclose(op._engine.entries(None, others), full[:, others], atol=1e-14)
    np.testing.assert_allclose(op._engine.entries(some, others), full[np.ix_(some, others)], atol=1e-14)
    diagonal, rounding = op._engine.diagonal()
    np.testing.assert_allclose(diagonal, np.diag(full), atol=1e-14)
    assert (rounding > 0).all() and (rounding < 1e-14).all()


# -- the call ----------------------------------------------------------------------------------------------------------


def test_defaults_and_what_the_result_says():
    op = ec.operators.kernel(points(400, 3))
    seen = []
    with pytest.warns(ec.ConvergenceWarning, match="max_basis"):
        result = ec.eigh(op, 30, method="rpcholesky", tol=1e-3, callback=seen.append)
    assert result.matvecs == 60 and result.stop_reason == "max_basis" and result.method == "rpcholesky"
    assert result.sweeps == len(seen) == seen[-1].sweep and seen[-1].basis_size == 60
    assert (np.diff([info.residuals[0] for info in seen]) < 0).all()
    assert seen[-1].residuals.shape == (30,) and seen[-1].residuals[0] == result.residuals[0]
    np.testing.assert_array_equal(result.converged, result.residuals <= 1e-3 * result.w)
    assert "60" in result.reason
    with pytest.warns(ec.ConvergenceWarning):
        U, s, Vh = ec.svd(op, 30, method="rpcholesky", tol=1e-3)
    np.testing.assert_array_equal(s, result.w)
    np.testing.assert_array_equal(U, Vh.T)
    assert not np.shares_memory(U, Vh)


def test_a_callback_stops_it():
    op = ec.operators.kernel(points(400, 3))
    with pytest.warns(ec.ConvergenceWarning):
        result = ec.eigh(op, 20, method="rpcholesky", block_size=4, callback=lambda info: info.sweep == 2)
    assert result.stop_reason == "callback" and result.sweeps == 2 and result.matvecs <= 8
    assert (result.w[result.matvecs :] == 0).all()
    check_certificate(op, result, 20)


def test_another_block_size_gives_another_run_of_the_same_quality():
    op = ec.operators.kernel(points(300, 3))
    traces = [
        np.mean([_core.rpcholesky(op._engine, 40, block, seed)["trace"] for seed in range(40)]) for block in (1, 7, 64)
    ]
    np.testing.assert_allclose(traces, traces[0], rtol=0.1)


def test_max_memory_holds_the_rank():
    op = ec.operators.kernel(points(3000, 3))
    with pytest.warns(ec.ConvergenceWarning, match="max_memory"):
        result = ec.eigh(op, 20, method="rpcholesky", max_basis=60, tol=1e-8, max_memory=8 * 3000 * 70)
    assert 20 <= result.matvecs < 60 and result.stop_reason == "max_memory" and "max_memory" in result.reason
    plan = ec.plan(op, 20, method="rpcholesky", max_basis=60, max_memory=8 * 3000 * 70)
    assert plan.basis == result.matvecs and plan.memory <= 8 * 3000 * 70


def test_plan():
    X = points(500, 3)
    plan = ec.plan(ec.operators.kernel(X), 10, method="rpcholesky", max_basis=50)
    assert plan.method == "rpcholesky" and plan.basis == 50 and plan.passes == 0 and "row sums" not in str(plan)
    assert "50 columns" in str(plan)
    ctx = ec.contexts.kernel(X, marginal="stationary")
    text = str(ec.plan(ctx, 10, method="rpcholesky"))
    assert "row sums" in text and "500^2 entries" in text
    assert ec.plan(np.eye(300), 10, method="rpcholesky").basis == 20
    with pytest.raises(ValueError, match="method"):
        ec.plan(ec.contexts.kernel(X), 10, method="rpcholesky")


X_BAD = points(40, 3)
REFUSED = {
    "polynomial": lambda: ec.operators.kernel(X_BAD, kernel="polynomial"),
    "polynomial context": lambda: ec.contexts.kernel(X_BAD, kernel="polynomial", marginal="stationary").operator,
    "uniform marginal": lambda: ec.contexts.kernel(X_BAD).operator,
    "A given": lambda: ec.operators.kernel(X_BAD, X_BAD),
    "rectangular": lambda: ec.operators.kernel(X_BAD, X_BAD[:30]),
    "sparse": lambda: scipy.sparse.eye(40, format="csr"),
    "callback": lambda: scipy.sparse.linalg.aslinearoperator(np.eye(40)),
    "not symmetric": lambda: np.triu(np.ones((40, 40))),
    "wide": lambda: np.ones((20, 40)),
    "negative": lambda: -np.eye(40),
    "indefinite": lambda: np.diag(np.r_[np.ones(39), -1e-3]),
    "zero diagonal": lambda: np.ones((40, 40)) - np.eye(40),
    "hidden": lambda: np.array([[1.0, 2.0, 0], [2, 1, 0], [0, 0, 1]]),
    "NaN": lambda: np.full((40, 40), np.nan),
}


@pytest.mark.parametrize("solve", [ec.eigh, ec.svd])
@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, solve):
    with pytest.raises(ValueError, match=r"^(a|method)[:.\[]"):
        solve(REFUSED[name](), 2, method="rpcholesky", max_basis=3)


@pytest.mark.parametrize(
    "options", [{"max_basis": 4}, {"max_basis": 41}, {"max_sweeps": 3}, {"max_memory": 100}, {"block_size": 0}]
)
def test_bad_options(options):
    with pytest.raises(ValueError, match=rf"^{next(iter(options))}: got"):
        ec.eigh(ec.operators.kernel(X_BAD), 5, method="rpcholesky", **options)


def test_auto_never_chooses_it():
    assert ec.eigh(ec.operators.kernel(points(1000, 3)), 5).method != "rpcholesky"


# -- threads, signals, memory ------------------------------------------------------------------------------------------

_BITS = """
import sys, hashlib
import numpy as np
import eigencontext as ec
from eigencontext import _core
ec.set_num_threads(int(sys.argv[1]))
rng = np.random.default_rng(0)
digest = hashlib.sha256()
X = rng.standard_normal((9000, 6)).astype(np.float32)
a = rng.standard_normal((1500, 80))
context = ec.contexts.kernel(X[:3000], marginal="stationary")
for op in (ec.operators.kernel(X), ec.operators.kernel(X, kernel="laplacian"), a @ a.T, context.operator):
    result = ec.eigh(op, 20, method="rpcholesky", max_basis=100)
    for part in (*result, result.residuals):
        digest.update(np.ascontiguousarray(part).tobytes())
working = sum(_core.chunks_run_by(i) > 0 for i in range(_core.num_threads()))
print(digest.hexdigest(), working)
"""


def run_python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments], capture_output=True, text=True, timeout=120
    )


def test_bits_do_not_depend_on_the_number_of_threads():
    answers = set()
    for threads in (1, 2, 5):
        out = run_python(_BITS, str(threads))
        assert out.returncode == 0, out.stderr
        digest, working = out.stdout.split()
        assert int(working) == threads
        answers.add(digest)
    assert len(answers) == 1


def test_ctrl_c_ends_it():
    op = ec.operators.kernel(points(30000, 10, np.float32))

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            ec.eigh(op, 20, method="rpcholesky", max_basis=2000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


_MEMORY = """
import numpy as np
import eigencontext as ec

def status(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

K = ec.operators.kernel(np.random.default_rng(0).standard_normal((120000, 16), dtype=np.float32))
ec.eigh(ec.operators.kernel(np.random.default_rng(0).standard_normal((2000, 16), dtype=np.float32)), 40,
        method="rpcholesky", max_basis=160)
before = status("VmRSS")
ec.eigh(K, 40, method="rpcholesky", max_basis=160)
print(status("VmHWM") - before, ec.plan(K, 40, method="rpcholesky", max_basis=160).memory)
"""


@pytest.mark.memory
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_peak_memory_is_that_of_the_docstring():
    out = run_python(_MEMORY)
    assert out.returncode == 0, out.stderr
    growth, planned = map(int, out.stdout.split())
    n, r, k = 120000, 160, 40
    assert planned == 4 * n * (r + k) + 24 * n + 100 * r * r
    assert growth <= planned + (8 << 20)  # and some rows' worth of products for each thread
    assert growth <= 3 * 4 * n * r
