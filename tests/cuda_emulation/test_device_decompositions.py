"""The public interface on the emulated device: svd, eigh, spectrum, kernels, against the CPU and NumPy."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
from emulated import PROJECT, FakeCupy, build, core

import eigencontext as ec
from eigencontext import _device, _plan

DTYPES = [np.float32, np.float64]


@pytest.fixture(autouse=True)
def emulated_engine(monkeypatch):
    monkeypatch.setattr(_device, "_MODULE", "_cuda_emulated")


def matrix(n, m, dtype=np.float64, seed=0):
    """Singular values 1, 0.8, 0.64, ..."""
    rng = np.random.default_rng(seed)
    r = min(n, m)
    U, V = (np.linalg.qr(rng.standard_normal((size, r))).Q for size in (n, m))
    return ((U * 0.8 ** np.arange(r)) @ V.T).astype(dtype)


def check_svd(a, result, tol):
    U, s, Vh = (_device.on_host(part) if not isinstance(part, np.ndarray) else part for part in result)
    wide = a.astype(np.float64)
    # a value's error is quadratic in its residual, over a gap of 0.1 at least
    quadratic = 10 * result.residuals.max() ** 2
    np.testing.assert_allclose(s, np.linalg.svd(wide, compute_uv=False)[: len(s)], rtol=0, atol=tol + quadratic)
    np.testing.assert_allclose(wide @ Vh.T, U * s, rtol=0, atol=tol)
    np.testing.assert_allclose(U.T @ U, np.eye(len(s)), rtol=0, atol=tol)
    residuals = np.linalg.norm(wide.T @ U - Vh.T * s, axis=0)
    np.testing.assert_allclose(residuals, result.residuals, rtol=0, atol=tol)
    assert result.converged.all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["auto", "krylov", "subspace", "gram", "full"])
@pytest.mark.parametrize(("n", "m"), [(257, 160), (160, 257)])
def test_svd_of_a_dense_array(n, m, method, dtype):
    a = matrix(n, m, dtype)
    result = ec.svd(FakeCupy(a), 4, method=method, tol=1e-5 if dtype == np.float64 else 1e-3)
    assert type(result.U) is core.DeviceArray and result.U.dtype == dtype and result.s.shape == (4,)
    check_svd(a, result, 300 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "m", "k"), [(1, 1, 1), (1, 33, 1), (31, 1, 1), (31, 33, 5), (33, 31, 31)])
def test_svd_of_small_arrays(n, m, k, dtype):
    a = matrix(n, m, dtype)
    check_svd(a, ec.svd(a, k, device="cuda"), 300 * np.finfo(dtype).eps)


def test_numpy_goes_in_and_comes_out_with_device():
    a = matrix(100, 60)
    result, host = ec.svd(a, 3, device="cuda"), ec.svd(a, 3)
    assert all(isinstance(part, np.ndarray) for part in result)
    for got, wanted in zip(result, host, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)


def test_results_become_what_the_factory_makes(monkeypatch):
    made = []
    monkeypatch.setitem(_device.FACTORIES, "emulated", lambda result, like: made.append(like) or result)
    a = FakeCupy(matrix(40, 30))
    ec.svd(a, 2)
    assert made == [a] * 3


@pytest.mark.parametrize("strides", ["transposed", "every second", "repeated"])
def test_any_strides(strides):
    a = matrix(60, 40)
    if strides == "transposed":
        given, seen = FakeCupy.strided(a, (40, 60), (1, 40)), a.T
    elif strides == "every second":
        given, seen = FakeCupy.strided(a, (30, 20), (80, 2)), a[::2, ::2]
    else:
        given, seen = FakeCupy.strided(a, (60, 40), (0, 1)), np.broadcast_to(a[0], (60, 40))
    result = ec.svd(given, 1)
    np.testing.assert_allclose(result.s.get(), np.linalg.svd(seen, compute_uv=False)[:1], rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [33, 257])
def test_svd_of_a_sparse_matrix(n, dtype):
    a = scipy.sparse.random_array((n, 2 * n), density=0.1, random_state=np.random.default_rng(0), dtype=dtype)
    result = ec.svd(a, 3, device="cuda", tol=1e-4)
    check_svd(a.toarray(), result, 1e-3 if dtype == np.float32 else 2e-4 * result.s[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["auto", "krylov", "subspace", "full", "rpcholesky"])
def test_eigh_of_a_dense_array(method, dtype):
    a = matrix(257, 257)
    a = (a @ a.T).astype(dtype)
    options = {"max_basis": 60} if method == "rpcholesky" else {"tol": 1e-5 if dtype == np.float64 else 1e-3}
    result = ec.eigh(FakeCupy(a), 4, method=method, **options)
    w, V = (part.get() for part in result)
    tol = 300 * np.finfo(dtype).eps + (result.residuals.max() if method == "rpcholesky" else 0)
    quadratic = 10 * result.residuals.max() ** 2
    np.testing.assert_allclose(w, 0.64 ** np.arange(4), rtol=0, atol=tol + quadratic)
    np.testing.assert_allclose(a @ V, V * w, rtol=0, atol=tol + 2 * result.residuals.max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", ["rbf", "laplacian", "cosine", "polynomial"])
@pytest.mark.parametrize("centered", [False, True])
def test_eigh_of_a_kernel(kernel, centered, dtype):
    X = np.random.default_rng(1).standard_normal((257, 4)).astype(dtype)
    K = ec.operators.kernel(FakeCupy(X), kernel=kernel, centered=centered)
    host = ec.operators.kernel(X, kernel=kernel, centered=centered)
    assert K.device == "cuda" and K.bandwidth == host.bandwidth
    got, wanted = ec.eigh(K, 3, tol=1e-4), ec.eigh(host, 3, tol=1e-4)
    np.testing.assert_allclose(got.w.get(), wanted.w, rtol=0, atol=4e-6 * wanted.w[0])


@pytest.mark.parametrize(
    "context",
    [
        lambda X: ec.contexts.kernel(X, bandwidth=1.0),
        lambda X: ec.contexts.kernel(X, bandwidth=1.0, marginal="stationary"),
        lambda X: ec.contexts.neighbors(X, 5),
        lambda X: ec.contexts.neighbors(X, 5) @ ec.contexts.kernel(X, bandwidth=1.0),
        lambda X: ec.contexts.mixture([ec.contexts.neighbors(X, 5), ec.contexts.kernel(X, bandwidth=1.0)], [0.5, 0.5]),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_spectrum_of_a_context(context, dtype):
    X = np.random.default_rng(2).standard_normal((130, 3)).astype(dtype)
    ctx = context(X)
    got, wanted = ec.spectrum(ctx, 6, device="cuda"), ec.spectrum(ctx, 6)
    np.testing.assert_allclose(got.singular_values, wanted.singular_values, rtol=0, atol=2e-5)
    assert got.converged.all() and isinstance(got.left, np.ndarray)


def test_same_seed_same_bits_whatever_the_threads_order_and_what_memory_held(settings):
    a = matrix(130, 100, np.float32)
    X = np.random.default_rng(3).standard_normal((130, 3)).astype(np.float32)
    C = scipy.sparse.random_array((60, 90), density=0.1, random_state=np.random.default_rng(0), dtype=np.float32)
    seen = set()
    for poison in (0x3C, 0xFF):
        for order in core.Order.__members__.values():
            settings.order, settings.poison = order, poison
            parts = [*ec.svd(a, 3, method="krylov", device="cuda"), *ec.svd(C, 2, device="cuda")]
            for kernel in ("rbf", "laplacian"):
                parts += ec.eigh(ec.operators.kernel(X, kernel=kernel).to("cuda"), 2, method="krylov")
            seen.add(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))
    assert len(seen) == 1


# -- bad input


def test_mixing_devices_is_an_error_that_says_so():
    X = np.ones((20, 2))
    with pytest.raises(ValueError, match="^X, A: got parts on the CPU and on a CUDA device"):
        ec.operators.kernel(FakeCupy(X), X, bandwidth=1.0)
    K, host = ec.operators.kernel(FakeCupy(X), bandwidth=1.0), ec.operators.kernel(X, bandwidth=1.0)
    with pytest.raises(ValueError, match="CPU and on a CUDA device"):
        K @ host
    with pytest.raises(ValueError, match="^a product: got parts on the CPU and on a CUDA device"):
        K @ X
    with pytest.raises(ValueError, match="^a product: got parts on the CPU and on a CUDA device"):
        host @ FakeCupy(X)
    with pytest.raises(ValueError, match="^device: got 'cpu' for an operator on a CUDA device"):
        ec.svd(FakeCupy(X), 1, device="cpu")


def test_a_pointer_of_the_host_is_an_error_that_says_so():
    a = FakeCupy(np.ones((3, 3)))
    host = np.ones((3, 3))

    class Wrong:
        __cuda_array_interface__ = {**a.__cuda_array_interface__, "data": (host.ctypes.data, False)}

    with pytest.raises(ValueError, match="^a: got memory of the host; allowed: memory of a CUDA device"):
        ec.svd(Wrong(), 1)


@pytest.mark.parametrize("dtype", [np.int32, np.float16, np.complex64])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(TypeError, match="^a: got dtype .* on a CUDA device; allowed there: float32, float64"):
        ec.svd(FakeCupy(np.ones((4, 4), dtype)), 1)


def test_nan_is_found():
    a = np.ones((40, 30))
    a[3, 4] = np.nan
    with pytest.raises(ValueError, match="^a: contains NaN or inf"):
        ec.svd(FakeCupy(a), 1)


def test_an_array_that_is_not_symmetric_is_found():
    with pytest.raises(ValueError, match="^a: not symmetric"):
        ec.eigh(FakeCupy(np.triu(np.ones((40, 40)))), 1)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("driver", 35, "CUDA driver version is insufficient"),
        ("driver", 100, "no CUDA-capable device"),
        ("devices", 0, "no device"),
        ("capability", 75, "compute capability 7.5; allowed: 8.0 and later"),
    ],
)
def test_why_there_is_no_device(settings, name, value, reason):
    setattr(settings, name, value)
    config = ec.show_config(mode="dicts")
    assert config["cuda"] is False and reason in config["cuda_reason"]
    with pytest.raises(RuntimeError, match="^device: got 'cuda', which is not available here"):
        ec.svd(np.ones((3, 3)), 1, device="cuda")


#: everything that decomposes, of an array `a` (symmetric) and with options
CALLS = {
    "svd": lambda a, **options: ec.svd(a, 2, **options).s,
    "eigh": lambda a, **options: ec.eigh(a, 2, **options).w,
    "rpcholesky": lambda a, **options: ec.eigh(a, 2, method="rpcholesky", tol=0.1, max_basis=20, **options).w,
    "spectrum": lambda a, **options: ec.spectrum(ec.contexts.kernel(a, bandwidth=1.0), 2, **options).singular_values,
    "neighbors": lambda a, **options: ec.spectrum(ec.contexts.neighbors(a, 5), 2, **options).singular_values,
    "kernel": lambda a, **options: ec.eigh(ec.operators.kernel(a, bandwidth=1.0), 2, **options).w,
}


def positive(n=60):
    a = matrix(n, n)
    return a @ a.T


@pytest.mark.parametrize("call", CALLS)
def test_a_device_that_is_not_there(settings, call):
    there = FakeCupy(positive())
    settings.devices = 0
    with pytest.raises(RuntimeError, match="^device: got 'cuda', which is not available here: no device"):
        CALLS[call](positive(), device="cuda")
    with pytest.raises(TypeError, match="^[aX]: got a FakeCupy on a GPU; allowed: arrays on the CPU .*no device"):
        CALLS[call](there)
    assert len(CALLS[call](positive())) == 2  # the CPU stays usable


@pytest.mark.parametrize("call", CALLS)
def test_an_array_of_another_device(settings, call):
    a = FakeCupy(positive())
    settings.current = 1
    with pytest.raises(
        ValueError, match="^(a|X|array): got an array on CUDA device 0; allowed: arrays on the current device, 1"
    ):
        CALLS[call](a)
    settings.current = 0
    assert len(_device.on_host(CALLS[call](a))) == 2


@pytest.mark.parametrize("call", CALLS)
def test_an_error_that_is_pending_is_reported_once_and_names_a_call(settings, call):
    a = FakeCupy(positive())
    settings.pending = 719
    with pytest.raises(RuntimeError, match="^cuda[A-Za-z]*Synchronize: unspecified launch failure"):
        CALLS[call](a)
    assert len(_device.on_host(CALLS[call](a))) == 2


@pytest.mark.parametrize("call", CALLS)
def test_arrays_on_the_device_without_room_for_more(settings, call):
    a = FakeCupy(positive(90))
    settings.memory = core.live()[1] + 6000
    with pytest.raises(MemoryError, match="^cudaMallocAsync: [0-9]+ bytes asked for, [0-9]+ of [0-9]+ free"):
        CALLS[call](a)
    settings.memory = 1 << 32
    assert len(_device.on_host(CALLS[call](a))) == 2


def test_out_of_memory_leaves_everything_usable(settings):
    a = matrix(200, 150)
    settings.memory = 60_000  # too little for the basis even where the matrix stays on the host
    with pytest.raises(MemoryError, match="^cudaMallocAsync: "):
        ec.svd(a, 3, method="krylov", device="cuda")
    settings.memory = 1 << 32
    check_svd(a, ec.svd(a, 3, device="cuda"), 1e-11)


def test_functions_stay_on_the_host():
    from scipy.sparse.linalg import aslinearoperator

    with pytest.raises(ValueError, match="^device: got 'cuda' for an operator of functions"):
        ec.svd(aslinearoperator(np.ones((30, 30))), 1, device="cuda")
    with pytest.raises(TypeError, match="^M: got one on a CUDA device"):
        ec.randomized_svd(FakeCupy(np.ones((30, 30))), 1)


def test_products_give_the_kind_that_comes_in(monkeypatch):
    class Given(FakeCupy):
        __module__ = "cupy"

    monkeypatch.setitem(_device.FACTORIES, "cupy", lambda result, like: (type(like), result))
    op = ec.operators.as_operator(FakeCupy(matrix(5, 4, np.float32)))
    for X, multiply in ((np.ones((4, 2)), op.matmat), (np.ones((5, 2)), op.rmatmat)):
        kind, result = multiply(Given(X))
        assert kind is Given and result.dtype == np.float32


def test_the_matrices_of_lapack_count_against_the_memory_of_the_host(monkeypatch):
    op = ec.operators.as_operator(FakeCupy(matrix(300, 160)))
    assert _plan.choose(op, 3, symmetric=False).method == "full"
    monkeypatch.setattr(_plan, "available_memory", lambda: 1 << 20)
    assert _plan.choose(op, 3, symmetric=False).method == "krylov"


def test_the_device_has_a_name():
    assert ec.show_config(mode="dicts")["cuda"] == "emulated"


def test_tf32_rounds_the_products_and_nothing_else():
    a = matrix(257, 160, np.float32)
    exact, rounded = (ec.svd(a, 4, device="cuda", method="full", precision=p) for p in ("exact", "tf32"))
    difference = np.abs(exact.s - rounded.s).max()
    assert 1e-6 < difference < 1e-3  # 2^-11 a factor
    U = rounded.U.astype(np.float64)
    np.testing.assert_allclose(U.T @ U, np.eye(4), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="^precision: got 'tf32'; allowed: 'exact', the CPU has no other"):
        ec.svd(a, 4, precision="tf32")


def test_the_benchmark_runs_to_its_end():
    script = str(PROJECT / "bench" / "gpu.py")
    run = subprocess.run([sys.executable, script, "--emulated", str(build())], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("emulated\ndense") and "rbf of" in run.stdout
