"""Defects that a review found: each test failed before its fix."""

import os
import pathlib
import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.sparse as sp

import eigencontext as ec
from eigencontext import _core


def in_fresh_process(code, timeout=60):
    """What `code` prints, run by a Python of its own."""
    paths = [str(pathlib.Path(ec.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=True,
    ).stdout


TWO_THREADS = """
import threading, time, warnings
import numpy as np
from scipy.sparse.linalg import aslinearoperator
import eigencontext as ec
from eigencontext import _core
warnings.simplefilter("ignore")
ec.set_num_threads(4)
rng = np.random.default_rng(0)
dense = rng.standard_normal((20000, 500)).astype(np.float32)
called = aslinearoperator(rng.standard_normal((40000, 60)))
end = time.time() + 5
def repeat(a, k, **options):
    while time.time() < end:
        ec.svd(a, k, max_sweeps=6, **options)
threads = [
    threading.Thread(target=repeat, args=(dense, 10), kwargs={"tol": 1e-7}, daemon=True),
    threading.Thread(target=repeat, args=(called, 2), kwargs={"block_size": 4}, daemon=True),
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(30)
print([thread.is_alive() for thread in threads])
"""


def test_threads_with_and_without_python_products_do_not_wait_for_each_other():
    assert in_fresh_process(TWO_THREADS) == "[False, False]\n"


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_a_start_vector_in_the_null_space_does_not_make_the_operator_zero(kind):
    a = np.diag(np.r_[0.5 ** np.arange(30), np.zeros(280)])
    s = ec.svds(kind(a), k=3, ncv=6, v0=np.eye(310)[-1])[1]
    np.testing.assert_allclose(s, [0.25, 0.5, 1], rtol=1e-10)


@pytest.mark.parametrize("next_value", [-1.0, -2.0, 0.0])
def test_a_cluster_is_warned_of_whatever_its_value(next_value):
    with pytest.warns(ec.ClusterWarning):
        ec.eigh(np.diag([3.0, next_value, next_value]), 2)


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("shape", [(400, 300), (300, 400)])
def test_vectors_stay_orthonormal_through_many_restarts(shape, verify):
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.standard_normal((n, 300)))[0] for n in shape)
    flat = 1 - np.arange(300) * 1e-5
    options = {"block_size": 1, "max_basis": 5, "max_sweeps": 300, "tol": 1e-8, "verify": verify}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        left, _, right_h = ec.svd((u * flat) @ v.T, 2, **options)
        a = (v * flat) @ v.T
        vectors = ec.eigh((a + a.T) / 2, 2, **options).V
    for basis in (left, right_h.T, vectors):
        np.testing.assert_allclose(basis.T @ basis, np.eye(2), atol=8 * np.finfo(float).eps)


@pytest.mark.parametrize(("function", "n", "k", "options"), [
    (ec.eigh, 250, 100, {"method": "krylov"}), (ec.eigh, 300, 130, {"max_sweeps": 100}),
    (ec.eigh, 60, 3, {"method": "krylov"}), (ec.svd, 40, 1, {"method": "krylov", "block_size": 1}),
    (ec.svd, 250, 100, {"method": "krylov"}),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore::eigencontext.ClusterWarning")
def test_the_method_named_is_the_method_used(function, n, k, options):
    result = function(np.diag(np.arange(1.0, n + 1)), k, seed=1, **options)
    assert result.method == "krylov"
    assert result.matvecs != n + 1 + k  # the columns of the matrix, the scale and the residuals: LAPACK on all of it


def test_a_krylov_space_without_room_is_refused_by_the_same_numbers():
    with pytest.raises(ValueError, match=r"method: got 'krylov', which needs min\(n, m\) >= 21 .* got 20"):
        ec.svd(np.diag(np.arange(1.0, 21)), 1, method="krylov", block_size=1)


def test_the_engine_names_the_method_that_took_over():
    """Called with too few dimensions for its verification, the engine goes to LAPACK and says so."""
    answer = _core.svd(_core.dense(np.diag(np.arange(1.0, 21))), 1, method="krylov", block_size=1)
    assert answer["method"] == "full"
