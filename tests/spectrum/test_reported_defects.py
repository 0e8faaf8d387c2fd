"""Defects that a review found: each test failed before its fix."""

import os
import pathlib
import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

import eigencontext as ec
from eigencontext import _core
from eigencontext._plan import choose


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
from eigencontext._plan import choose
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


def test_a_krylov_space_without_room_is_called_what_takes_its_place():
    a = np.diag(np.arange(1.0, 21))
    options = {"method": "krylov", "block_size": 1}
    assert ec.svd(a, 1, **options).method == ec.plan(a, 1, **options).method == "full"


def test_the_engine_names_the_method_that_took_over():
    """Called with too few dimensions for its verification, the engine goes to LAPACK and says so."""
    answer = _core.svd(_core.dense(np.diag(np.arange(1.0, 21))), 1, method="krylov", block_size=1)
    assert answer["method"] == "full"


PEAK = """
import re, sys, warnings
import numpy as np, scipy.sparse as sp
import eigencontext as ec
from eigencontext import _core
from eigencontext._plan import choose
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
{setup}
ec.svd(rng.standard_normal((300, 250)), 2)  # the library's own pages
before = int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1])
open("/proc/self/clear_refs", "w").write("5")  # resets VmHWM
result = {call}
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
print((peak - before) * 1024, {plan})
"""


def peak_and_plan(setup, call, plan="0"):
    peak, planned = in_fresh_process(PEAK.format(setup=setup, call=call, plan=plan), timeout=300).split()
    return int(peak), int(planned)


@pytest.mark.memory
@pytest.mark.parametrize("method", ["full", "gram", "subspace", "krylov"])
def test_the_plan_counts_the_memory_that_is_used(method):
    rows = 60000 if method in ("full", "gram") else 300000
    cols, k = (300, 5) if method in ("full", "gram") else (100000, 20)
    setup = (
        f"a = rng.standard_normal(({rows}, {cols})).astype(np.float32)"
        if method in ("full", "gram")
        else f"a = sp.random({rows}, {cols}, 2e-5, format='csr', rng=1)"
    )
    options = f"{k}, method={method!r}" + (", max_sweeps=12" if method in ("subspace", "krylov") else "")
    peak, planned = peak_and_plan(setup, f"ec.svd(a, {options})", f"ec.plan(a, {options}).memory")
    copied = 0 if method in ("full", "gram") else int(2e-5 * rows * cols) * 12
    results = (rows + cols) * k * 8
    assert 0.4 * planned < peak < 1.1 * planned + copied + results + (16 << 20)


@pytest.mark.memory
def test_a_memory_mapped_matrix_is_not_copied(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.random.default_rng(0).standard_normal((20000, 1000)))
    peak, _ = peak_and_plan(
        f"a = np.load({str(path)!r}, mmap_mode='r')",
        "ec.svd(a, 5, method='krylov', max_sweeps=3)",
    )
    assert peak < 160e6 + 20000 * 8 * 150  # pages of the file count too, once


@pytest.mark.slow
@pytest.mark.memory
def test_a_broadcast_of_more_than_2_to_the_31_entries_needs_no_memory():
    setup = "a = np.broadcast_to(np.float32(0.5), (50_000, 50_000))"
    peak, right = peak_and_plan(
        setup, "ec.svd(a, 3, block_size=4)", "int(abs(result.s - [25000, 0, 0]).max() < 1 and result.converged.all())"
    )
    assert right == 1
    assert peak < 200e6


def test_sparse_indices_of_64_bits():
    a = sp.random(400, 300, 0.05, format="csr", rng=0)
    wide = a.copy()
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    np.testing.assert_array_equal(ec.svd(wide, 4).s, ec.svd(a, 4).s)


@pytest.mark.parametrize("symmetric", [False, True])
def test_lapack_is_not_chosen_beyond_its_32_bit_workspace(symmetric):
    n = 40_000
    op = ec.operators.as_operator(aslinearoperator(sp.eye_array(n, format="csr")), "a", symmetric=symmetric)
    assert choose(op, 12_000, symmetric=symmetric, max_memory=10**14).method == "krylov"


def test_a_mild_asymmetry_of_a_large_operator_is_noticed():
    n = 100_000
    skew = sp.csr_array((np.full(n - 1, 0.05, np.float32), (np.arange(n - 1), np.arange(1, n))), shape=(n, n))
    a = sp.eye_array(n, dtype=np.float32, format="csr")
    with pytest.raises(ValueError, match="not symmetric"):
        ec.eigh(aslinearoperator(a + skew), 1)
