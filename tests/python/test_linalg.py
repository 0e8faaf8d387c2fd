"""svd, eigh, randomized_svd and svds against LAPACK in float64, through every kind of input, and one another."""

import copy
import pickle
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
from comparators import (
    check_eigh,
    check_entry_points,
    check_orthonormal,
    check_svd,
    every_operator,
    layouts,
    matrix,
    symmetric,
)

import eigencontext as ec

DTYPES = (np.float32, np.float64)


# -- the comparator ----------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def quiet_clusters():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ec.ClusterWarning)
        warnings.simplefilter("ignore", PendingDeprecationWarning)  # numpy.matrix
        yield


# -- inputs ------------------------------------------------------------------------------------------------------------


def test_the_comparator_bites():
    a = matrix(30, 20)
    good = ec.svd(a, 3)
    check_svd(a, good, 3, 1e-3)
    wrong = ec.SvdResult(good.U, good.s * 1.01, good.Vh)
    wrong.__dict__.update(good.__dict__)
    with pytest.raises(AssertionError):
        check_svd(a, wrong, 3, 1e-3)
    lying = ec.SvdResult(good.U, good.s, np.roll(good.Vh, 1, axis=1))
    lying.__dict__.update(good.__dict__)
    with pytest.raises(AssertionError):
        check_svd(a, lying, 3, 1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["auto", "krylov", "subspace", "gram", "full"])
@pytest.mark.parametrize("shape", [(300, 220), (220, 300)])
def test_methods_agree_with_lapack(dtype, method, shape):
    a = matrix(*shape, dtype=dtype, decay=0.9)
    result = ec.svd(a, 6, method=method, tol=1e-3)
    check_svd(a, result, 6, 1e-3)
    assert result.converged.all() and result.stop_reason == "converged"
    assert result.method == method if method != "auto" else result.reason


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tol", [1e-2, 1e-6, 0])
def test_tolerances(dtype, tol):
    a = matrix(500, 400, dtype=dtype, decay=0.95)
    result = ec.svd(a, 10, tol=tol, method="krylov")
    check_svd(a, result, 10, tol)
    assert result.converged.all()


@pytest.mark.parametrize("given, used", [
    (np.float16, np.float32), (np.float32, np.float32), (np.float64, np.float64), (np.longdouble, np.float64),
    (np.int8, np.float64), (np.uint16, np.float64), (np.int64, np.float64), (bool, np.float64),
])  # fmt: skip
def test_dtypes(given, used):
    a = (np.random.default_rng(1).random((40, 30)) * 3).astype(given)
    result = ec.svd(a, 4)
    assert result.s.dtype == used
    check_svd(a.astype(used), result, 4, 1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts(dtype):
    a = matrix(320, 260, dtype=dtype, decay=0.9)
    for name, array in layouts(a).items():
        result = ec.svd(array, 5, method="krylov")
        check_svd(a if name != "list" else a.astype(np.float64), result, 5, 1e-3)


def test_unaligned_fields():
    record = np.zeros((50, 40), dtype=[("flag", np.int8), ("value", np.float64)])
    record["value"] = matrix(50, 40)
    check_svd(record["value"], ec.svd(record["value"], 3), 3, 1e-3)


def test_memory_mapped(tmp_path):
    a = matrix(300, 250, dtype=np.float32)
    np.save(tmp_path / "a.npy", a)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    check_svd(a, ec.svd(mapped, 4), 4, 1e-3)


@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
@pytest.mark.parametrize("format", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [scipy.sparse.random, scipy.sparse.random_array])
def test_sparse_formats(format, dtype, kind):
    shape = (400, 300)
    C = kind(*shape, density=0.05, random_state=0) if kind is scipy.sparse.random else kind(shape, density=0.05, rng=0)
    C = C.asformat(format).astype(dtype)
    result = ec.svd(C, 5, tol=1e-4)
    assert result.s.dtype == dtype
    check_svd(C.toarray(), result, 5, 1e-4)


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("max_memory", [None, 2_000_000])
def test_sparse_index_types_and_transposed_copy(index, max_memory):
    C = scipy.sparse.random(500, 300, density=0.2, random_state=1, format="csr")
    C.indices, C.indptr = C.indices.astype(index), C.indptr.astype(index)
    check_svd(C.toarray(), ec.svd(C, 4, method="krylov", max_memory=max_memory), 4, 1e-3)


def test_sparse_duplicates_are_summed_and_left_alone():
    C = scipy.sparse.csr_matrix((np.ones(4), np.array([1, 1, 0, 2]), np.array([0, 3, 4])), shape=(2, 3))
    before = C.data.copy()
    check_svd(np.array([[1.0, 2, 0], [0, 0, 1]]), ec.svd(C, 2), 2, 1e-3)
    assert len(C.data) == 4 and (C.data == before).all()


def test_linear_operators():
    a = matrix(400, 300, decay=0.9)
    check_svd(a, ec.svd(scipy.sparse.linalg.aslinearoperator(a), 5), 5, 1e-3)

    class Products:
        shape = a.shape

        def matmat(self, X):
            return a @ X

        def rmatmat(self, Y):
            return (a.T @ Y).tolist()  # anything that NumPy understands

    result = ec.svd(Products(), 5)
    check_svd(a, result, 5, 1e-3)
    assert result.s.dtype == np.float64
    vectors = scipy.sparse.linalg.LinearOperator(
        a.shape, matvec=lambda x: a @ x, rmatvec=lambda y: a.T @ y, dtype=np.float32
    )
    check_svd(a.astype(np.float32), ec.svd(vectors, 5), 5, 1e-3)


def test_objects_with_array_interface():
    a = matrix(60, 50)

    class Wrapped:
        def __array__(self, dtype=None, copy=None):
            return a if dtype is None else a.astype(dtype)

    check_svd(a, ec.svd(Wrapped(), 3), 3, 1e-3)


@pytest.mark.torch
def test_torch_in_torch_out():
    torch = pytest.importorskip("torch")
    a = matrix(60, 50, dtype=np.float32)
    U, s, Vh = ec.svd(torch.from_numpy(a).requires_grad_(), 3)
    assert all(isinstance(part, torch.Tensor) for part in (U, s, Vh)) and s.dtype == torch.float32
    assert np.allclose(s.numpy(), np.linalg.svd(a, compute_uv=False)[:3], atol=1e-3)


# -- hard spectra ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_scales(dtype, scale):
    a = (matrix(300, 260, decay=0.7) * scale).astype(dtype)
    check_svd(a, ec.svd(a, 5, method="krylov"), 5, 1e-3)


@pytest.mark.parametrize("method", ["auto", "krylov", "full", "gram", "subspace"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_and_rank_deficient(method, dtype):
    zero = ec.svd(np.zeros((260, 240), dtype), 3, method=method)
    assert (zero.s == 0).all() and zero.converged.all() and zero.missed == 0
    check_orthonormal(zero)
    a = matrix(260, 240, dtype=dtype, rank=3)
    result = ec.svd(a, 6, method=method)
    check_svd(a, result, 6, 1e-3)
    assert result.converged.all()


def test_multiplicity_above_the_block():
    values = np.concatenate([[1.0], np.full(12, 0.9), 0.8 * 0.7 ** np.arange(200)])
    rng = np.random.default_rng(3)
    U = np.linalg.qr(rng.standard_normal((700, len(values))))[0]
    V = np.linalg.qr(rng.standard_normal((500, len(values))))[0]
    a = (U * values) @ V.T
    result = ec.svd(a, 10, block_size=4, method="krylov", tol=1e-6)
    check_svd(a, result, 10, 1e-6, exact=values)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2), (3, 500), (500, 3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_small_shapes_and_all_triplets(shape, dtype):
    a = np.random.default_rng(2).standard_normal(shape).astype(dtype)
    for k in range(1, min(shape) + 1):
        check_svd(a, ec.svd(a, k, tol=1e-5), k, 1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(600, 350), (350, 600)])
def test_equivalent_entry_points_when_iterating(dtype, shape):
    check_entry_points(matrix(*shape, dtype=dtype, decay=0.9), 8)


# -- eigh --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["auto", "krylov", "subspace", "full"])
def test_eigh_takes_the_largest_algebraic(dtype, method):
    a = symmetric(300, dtype)
    result = ec.eigh(a, 5, method=method, tol=1e-3)
    check_eigh(a, result, 5, 1e-3)
    assert result.converged.all() and result.w.dtype == dtype


def test_eigh_of_other_inputs():
    a = symmetric(300)
    sparse = scipy.sparse.csc_array(np.where(np.abs(a) > 0.01, a, 0))
    check_eigh(sparse.toarray(), ec.eigh(sparse, 4), 4, 1e-3)
    vectors = scipy.sparse.linalg.LinearOperator(a.shape, matvec=lambda x: a @ x, dtype=a.dtype)  # no rmatvec
    check_eigh(a, ec.eigh(vectors, 4), 4, 1e-3)
    X = np.random.default_rng(0).standard_normal((400, 3))
    K = ec.operators.kernel(X, bandwidth=1.0)
    check_eigh(K @ np.eye(400), ec.eigh(K, 4), 4, 1e-3)
    centred = ec.operators.kernel(X, bandwidth=1.0, centered=True)
    H = np.eye(400) - 1 / 400
    dense = H @ (K @ np.eye(400)) @ H
    assert np.abs(centred @ np.eye(400) - dense).max() < 1e-12 * 400
    assert centred.symmetric
    check_eigh(dense, ec.eigh(centred, 4), 4, 1e-3)


def test_eigh_negative_and_small():
    check_eigh(-np.eye(3), ec.eigh(-np.eye(3), 2), 2, 1e-3)
    check_eigh(np.array([[-2.0]]), ec.eigh([[-2.0]], 1), 1, 1e-3)
    a = symmetric(260, values=-np.linspace(1, 2, 260))
    check_eigh(a, ec.eigh(a, 3), 3, 1e-3)


# -- operators ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_operators_multiply_pickle_and_transpose(dtype):
    for name, op, full in every_operator(dtype):
        full = np.asarray(full, np.float64)
        bound = 50 * np.finfo(dtype).eps * max(full.shape) * np.abs(full).max()
        assert op.shape == full.shape and op.dtype == dtype, name
        for other in (op, pickle.loads(pickle.dumps(op)), copy.deepcopy(op), op.T.T):
            assert np.abs(other @ np.eye(op.shape[1]) - full).max() <= bound, name
        assert np.abs(op.T @ np.eye(op.shape[0]) - full.T).max() <= bound, name
        assert np.abs(op.rmatmat(np.eye(op.shape[0])) - full.T).max() <= bound, name
        assert np.abs(op.matvec(np.arange(op.shape[1])) - full @ np.arange(op.shape[1])).max() <= bound * 400, name
        assert (op @ np.zeros((op.shape[1], 0))).shape == (op.shape[0], 0)
        assert np.abs(op @ (1j * np.ones(op.shape[1])) - 1j * full.sum(axis=1)).max() <= bound * 20, name
        check_svd((op @ np.eye(op.shape[1])), ec.svd(op, 3), 3, 1e-2 if dtype == np.float32 else 1e-3)
        assert op.cost(4)["flops"] >= 0


def test_operator_dtype_can_be_changed():
    X = np.random.default_rng(0).standard_normal((30, 3)).astype(np.float32)
    K = ec.operators.kernel(X)
    wide = K.astype(np.float64)
    assert wide.dtype == np.float64 and wide.bandwidth == K.bandwidth
    assert np.abs(wide @ np.ones(30) - K @ np.ones(30)).max() < 1e-4
    assert (K @ ec.operators.dense(np.eye(30))).dtype == np.float64


def test_scipy_solvers_take_our_operators():
    K = ec.operators.kernel(np.random.default_rng(0).standard_normal((80, 3)))
    w = scipy.sparse.linalg.eigsh(K, 3, return_eigenvectors=False, v0=np.ones(80))
    assert np.allclose(np.sort(w)[::-1], ec.eigh(K, 3, tol=1e-8).w)


@pytest.mark.parametrize("kernel, metric", [("rbf", "euclidean"), ("laplacian", "cityblock")])
def test_median_bandwidth(kernel, metric):
    from scipy.spatial.distance import pdist

    X = np.random.default_rng(1).standard_normal((200, 5))
    assert np.isclose(ec.operators.kernel(X, kernel=kernel).bandwidth, np.median(pdist(X, metric)))
    big = np.random.default_rng(1).standard_normal((3000, 5))
    h = ec.operators.kernel(big, kernel=kernel).bandwidth
    assert h == ec.operators.kernel(big, kernel=kernel).bandwidth and abs(h / np.median(pdist(big, metric)) - 1) < 0.05
    assert ec.operators.kernel(X, kernel="cosine").bandwidth is None


# -- options, certificates, plans --------------------------------------------------------------------------------------


def test_callback_sees_progress_and_stops():
    a = np.random.default_rng(0).standard_normal((600, 500))
    seen = []

    def callback(info):
        seen.append((info.sweep, info.basis_size, len(info.residuals), info.elapsed))
        return info.sweep == 3

    with pytest.warns(ec.ConvergenceWarning):
        result = ec.svd(a, 5, tol=0, method="krylov", callback=callback)
    assert result.stop_reason == "callback" and result.sweeps == 3 == len(seen)
    assert [row[0] for row in seen] == [1, 2, 3] and all(row[2] <= 5 for row in seen)
    assert seen[0][1] < seen[2][1] and seen[0][3] <= seen[2][3]


def test_not_converged_returns_what_there_is():
    a = np.random.default_rng(0).standard_normal((500, 400))
    with pytest.warns(ec.ConvergenceWarning, match="did not converge to tol=0 in 2 sweeps"):
        result = ec.svd(a, 5, tol=0, max_sweeps=2)
    assert result.stop_reason == "max_sweeps" and not result.converged.all()
    check_svd(a, result, 5, 0)


def test_restarts_and_max_memory():
    a = matrix(1200, 400, decay=0.97)
    small = ec.svd(a, 5, max_basis=30, block_size=5, tol=1e-4)
    check_svd(a, small, 5, 1e-4)
    limit = 8 * 1600 * 60
    plan = ec.plan(a, 5, max_memory=limit, tol=1e-4)
    assert plan.method == "krylov" and plan.memory <= limit * 1.2 and plan.memory_bound
    result = ec.svd(a, 5, max_memory=limit, tol=1e-4)
    check_svd(a, result, 5, 1e-4)
    assert result.stop_reason in ("converged", "max_memory")


def test_missed_mass():
    a = matrix(700, 600, decay=0.9)
    result = ec.svd(a, 5, method="krylov")
    exact = np.linalg.norm(a) ** 2 - (result.s**2).sum()
    assert 0.3 * exact < result.missed < 3 * exact


def test_results_unpack_pickle_and_print():
    result = ec.svd(matrix(40, 30), 3)
    U, s, Vh = result
    again = pickle.loads(pickle.dumps(result))
    assert (again.U == U).all() and (again.residuals == result.residuals).all() and again.method == result.method
    assert "SvdResult 40x30, k = 3: converged 3/3" in repr(result)
    assert "EighResult n = 3" in repr(ec.eigh(np.eye(3), 1))


def test_plan_says_what_svd_does():
    a = matrix(900, 700, dtype=np.float32)
    for k in (1, 5, 100, 400):
        plan = ec.plan(a, k)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ec.ConvergenceWarning)
            result = ec.svd(a, k)
        assert (result.method, result.reason) == (plan.method, plan.reason)
        assert plan.passes >= 1 and plan.flops > 0 and plan.bytes > 0 and plan.memory > 0
        for word in (plan.method, "passes", "flop", "memory"):
            assert word in str(plan)
    assert ec.plan(np.ones((50, 40)), 3).method == "full"


def test_same_seed_same_bits_and_seeds_differ():
    a = np.random.default_rng(0).standard_normal((400, 300)).astype(np.float32)
    first, second, other = (ec.svd(a, 4, method="krylov", seed=seed) for seed in (1, 1, 2))
    assert (first.U == second.U).all() and (first.s == second.s).all() and (first.residuals == second.residuals).all()
    assert (first.U != other.U).any()


# -- drop-in signatures ------------------------------------------------------------------------------------------------


def test_randomized_svd_is_never_less_accurate_than_sklearn():
    extmath = pytest.importorskip("sklearn.utils.extmath")
    rng = np.random.default_rng(0)
    for n, m in ((500, 300), (300, 500)):
        U = np.linalg.qr(rng.standard_normal((n, 300)))[0]
        V = np.linalg.qr(rng.standard_normal((m, 300)))[0]
        a = (U * (1 / (1 + np.arange(300)) ** 0.5)) @ V.T
        for n_iter in (0, 1, 2, 4):
            ours = ec.randomized_svd(a, 10, n_iter=n_iter, random_state=0)
            theirs = extmath.randomized_svd(a, 10, n_iter=n_iter, random_state=0)
            error = [np.linalg.norm(a - (u * s) @ vh) for u, s, vh in (ours, theirs)]
            assert error[0] <= error[1]
            assert ours[1][0] >= theirs[1][0] * (1 - 1e-12)


def test_randomized_svd_conventions():
    a = matrix(80, 120, decay=0.7)
    for transpose in (True, False, "auto"):
        for n_iter in (4, "auto"):
            U, s, Vh = ec.randomized_svd(a, 6, transpose=transpose, n_iter=n_iter, random_state=0)
            assert U.shape == (80, 6) and Vh.shape == (6, 120) and (np.diff(s) <= 0).all()
            assert np.linalg.norm(a - (U * s) @ Vh) <= 1.01 * np.linalg.norm(0.7 ** np.arange(6, 80))
            assert (U[np.argmax(np.abs(U), axis=0), np.arange(6)] > 0).all()
            flipped = ec.randomized_svd(a, 6, transpose=transpose, n_iter=n_iter, random_state=0, flip_sign=False)
            assert np.allclose((flipped[0] * flipped[1]) @ flipped[2], (U * s) @ Vh)
    U, s, Vh = ec.randomized_svd(a[:5], 9, random_state=0)
    assert U.shape == (5, 5) and Vh.shape == (5, 120)
    np.random.seed(3)
    first = ec.randomized_svd(a, 2, n_iter=1)[0]
    np.random.seed(3)
    assert (ec.randomized_svd(a, 2, n_iter=1)[0] == first).all()
    assert ec.randomized_svd(a.astype(np.float32), 2, random_state=np.random.RandomState(1))[1].dtype == np.float32
    assert ec.randomized_svd(scipy.sparse.csr_matrix(a), 2, random_state=0)[1].shape == (2,)


@pytest.mark.parametrize("shape", [(300, 250), (250, 300)])
def test_svds_conventions(shape):
    a = matrix(*shape, decay=0.9)
    exact = np.linalg.svd(a, compute_uv=False)[:6][::-1]
    u, s, vh = ec.svds(a, rng=0)
    assert np.abs(s - exact).max() < 1e-12 and (np.diff(s) >= 0).all()
    assert np.abs(a.T @ u - vh.T * s).max() < 1e-11
    assert np.abs(ec.svds(a, 3, return_singular_vectors=False, rng=0) - exact[3:]).max() < 1e-12
    assert ec.svds(a, 3, return_singular_vectors="u", rng=0)[2] is None
    assert ec.svds(a, 3, return_singular_vectors="vh", rng=0)[0] is None
    v0 = np.random.default_rng(0).standard_normal(min(shape))
    for options in ({"v0": v0}, {"ncv": 40}, {"ncv": 7}, {"maxiter": 50}, {"tol": 1e-6}, {"random_state": 3}):
        assert np.abs(ec.svds(a, 3, **options)[1] - exact[3:]).max() < 1e-5, options


def test_svds_hands_to_scipy():
    a = matrix(40, 30, decay=0.9)
    exact = np.linalg.svd(a, compute_uv=False)
    assert np.allclose(ec.svds(a, 2, which="SM", rng=0)[1], exact[::-1][:2], atol=1e-6)
    assert np.allclose(ec.svds(a, 2, solver="arpack", rng=0)[1], exact[:2][::-1])
    assert np.allclose(ec.svds(a, 2, solver="propack", rng=0)[1], exact[:2][::-1])
    z = a + 1j * matrix(40, 30, seed=1)
    assert np.allclose(ec.svds(z, 2, rng=0)[1], np.linalg.svd(z, compute_uv=False)[:2][::-1])
    assert np.allclose(ec.svds(a, 2, ncv=4, rng=0)[1], exact[:2][::-1])
    import inspect

    assert inspect.signature(ec.svds).parameters["solver"].default == "arpack"


# -- threads, forks, signals, imports ----------------------------------------------------------------------------------

_RUN = """
import sys, hashlib
import numpy as np, scipy.sparse
import eigencontext as ec
from eigencontext import _core
ec.set_num_threads(int(sys.argv[1]))
rng = np.random.default_rng(0)
digest = hashlib.sha256()
X = rng.standard_normal((2000, 8)).astype(np.float32)
C = scipy.sparse.random(3000, 2000, density=0.01, random_state=0)
A = rng.standard_normal((4000, 300)).astype(np.float32)
for a in (A, C, ec.operators.kernel(X), rng.standard_normal((900, 400))):
    for method in ("krylov", "subspace"):
        result = ec.svd(a, 6, method=method, tol=1e-2, max_sweeps=3)
        for part in (*result, result.residuals):
            digest.update(np.ascontiguousarray(part).tobytes())
working = sum(_core.chunks_run_by(i) > 0 for i in range(_core.num_threads()))
print(digest.hexdigest(), working)
"""


def run_python(code, *arguments, **options):
    return subprocess.run([sys.executable, "-W", "ignore", "-c", code, *arguments], capture_output=True, text=True,
                          timeout=120, **options)  # fmt: skip


def test_bits_do_not_depend_on_the_number_of_threads():
    answers = {}
    for threads in (1, 2, 3, 5):
        out = run_python(_RUN, str(threads))
        assert out.returncode == 0, out.stderr
        answers[threads], working = out.stdout.split()
        assert int(working) == threads  # every thread had something to do
    assert len(set(answers.values())) == 1, answers


_FORK = """
import os, sys
import numpy as np
import eigencontext as ec
ec.set_num_threads(2)
a = np.random.default_rng(0).standard_normal((4000, 300)).astype(np.float32)
before = ec.svd(a, 4, method="krylov", tol=1e-2)
child = os.fork()
if child == 0:
    after = ec.svd(a, 4, method="krylov", tol=1e-2)
    os._exit(0 if (after.U == before.U).all() else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork here")
def test_a_forked_child_computes_the_same():
    out = run_python(_FORK)
    assert out.stdout.strip() == "0", out.stderr


_ENDLESS = """
import sys
import numpy as np
import eigencontext as ec
X = np.random.default_rng(0).standard_normal((60000, 30)).astype(np.float32)
K = ec.operators.kernel(X, bandwidth=3.0)
print("started", flush=True)
try:
    ec.svd(K, 50, tol=0, method="krylov")
except KeyboardInterrupt:
    small = ec.svd(np.diag([2.0, 1.0]), 1)
    print("interrupted", float(small.s[0]), flush=True)
    raise SystemExit(130)
"""


def test_ctrl_c_ends_a_long_run():
    process = subprocess.Popen([sys.executable, "-c", _ENDLESS], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline().strip() == "started"
        time.sleep(1.5)
        assert process.poll() is None
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(timeout=20) == 130
        assert time.monotonic() - begin < 5  # about a second; other jobs share the machine
        assert rest.strip() == "interrupted 2.0"
    finally:
        process.kill()


def test_import_is_light():
    code = """
import time, numpy, scipy.sparse.linalg
t = time.perf_counter(); import eigencontext; t = time.perf_counter() - t
import sys
print(t, *(name for name in ("sklearn", "matplotlib", "rich", "pandas", "torch") if name in sys.modules))
"""
    times = []
    for _ in range(3):
        seconds, *modules = run_python(code).stdout.split()
        times.append(float(seconds))
        assert not modules
    assert min(times) < 0.3


def test_threads_and_config(capsys):
    before = ec.get_num_threads()
    try:
        ec.set_num_threads(2)
        assert ec.get_num_threads() == 2
    finally:
        ec.set_num_threads(before)
    ec.show_config()
    printed = capsys.readouterr().out
    config = ec.show_config(mode="dicts")
    for key in ("blas", "simd", "threads", "cuda"):
        assert key in printed and key in config
    assert config["simd"] in ("baseline", "avx2", "avx512", "neon") and config["cuda"] is False
    assert "SIMD level" in f"SIMD level {config['simd']}"


def test_kernel_tiles_are_kept_within_max_memory():
    X = np.random.default_rng(0).standard_normal((3000, 4)).astype(np.float32)
    K = ec.operators.kernel(X, bandwidth=1.0, centered=True)
    results = []
    for max_memory in (6_000_000, 20_000_000, 40_000_000, None):
        plan = ec.plan(K, 8, max_memory=max_memory)
        assert 0 < plan.tiles and plan.memory <= (max_memory or 2**31)
        results.append(ec.eigh(K, 8, max_memory=max_memory, block_size=8, max_basis=60))
    assert plan.tiles == 3000 * 3512 // 2 * 4  # all of them
    for result in results[1:]:
        assert np.array_equal(result[0], results[0][0]) and np.array_equal(result[1], results[0][1])
