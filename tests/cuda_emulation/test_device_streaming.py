"""Matrices larger than the emulated device's memory: their rows visit it, a few KiB at a time here."""

import numpy as np
import pytest
import scipy.sparse
from emulated import core, given

import eigencontext as ec
from eigencontext import _device
from eigencontext.operators import dense, moved, scaled

DTYPES = [np.float32, np.float64]
LAYOUTS = {
    "rows": lambda a: a,
    "columns": np.asfortranarray,
    "every other": lambda a: a[::2, ::3],
    "backwards": lambda a: a[::-1, ::-1],
    "one row again and again": lambda a: np.broadcast_to(a[0], a.shape),
}


@pytest.fixture(autouse=True)
def emulated_engine(monkeypatch):
    monkeypatch.setattr(_device, "_MODULE", "_cuda_emulated")


def matrix(n=400, m=250, dtype=np.float64):
    return (np.random.default_rng(0).standard_normal((n, m)) * 0.9 ** np.arange(m)).astype(dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "m"), [(1, 1), (31, 33), (257, 130), (3, 4001)])
def test_products(n, m, dtype, layout):
    a = LAYOUTS[layout](matrix(n, m, dtype))
    op, rng = core.streamed(a), np.random.default_rng(1)
    X, Y = (rng.standard_normal((size, 5)).astype(dtype) for size in a.shape[::-1])
    w, wide = rng.random(len(a)), a.astype(np.float64)
    atol = 30 * np.finfo(dtype).eps * np.sqrt(n * m) * 4
    np.testing.assert_allclose(op.matmat(given(X)).get(), wide @ X, rtol=0, atol=atol)
    np.testing.assert_allclose(op.rmatmat(given(Y)).get(), wide.T @ Y, rtol=0, atol=atol)
    np.testing.assert_allclose(op.fused(None, given(X)).get(), wide.T @ (wide @ X), rtol=0, atol=4 * atol)
    np.testing.assert_allclose(op.fused(w, given(X)).get(), wide.T @ (w[:, None] * (wide @ X)), rtol=0, atol=4 * atol)
    assert op.reads == 4 and op.shape == a.shape


def test_a_matrix_that_does_not_fit_stays_on_the_host(settings, tmp_path):
    a = matrix()
    file = np.memmap(tmp_path / "a.bin", np.float64, "w+", shape=a.shape)
    file[:] = a
    settings.memory = a.nbytes // 2
    wanted = np.linalg.svd(a, compute_uv=False)[:3]
    for array in (a, file, a.T, np.asfortranarray(a)):
        result = ec.svd(array, 3, method="krylov", device="cuda")
        assert "the rows of A visit the device" in result.reason and result.converged.all()
        assert all(isinstance(part, np.ndarray) for part in result)
        np.testing.assert_allclose(result.s, wanted, rtol=1e-5)
        residuals = np.linalg.norm(array.T @ result.U - result.Vh.T * result.s, axis=0)
        np.testing.assert_allclose(residuals, result.residuals, rtol=0, atol=1e-9)


def test_where_the_basis_does_not_fit_beside_the_matrix(settings):
    """Noticed in the run, which begins again with the matrix on the host."""
    a = matrix()
    settings.memory = a.nbytes * 4 // 3 + 4000
    result = ec.svd(a, 20, method="krylov", device="cuda")
    assert "visit the device" in result.reason and result.converged.all()
    np.testing.assert_allclose(result.s, np.linalg.svd(a, compute_uv=False)[:20], rtol=1e-4)
    settings.memory *= 4
    assert "visit" not in ec.svd(a, 20, method="krylov", device="cuda").reason


def test_symmetric_matrices_and_contexts(settings):
    a = matrix(260, 260)
    a = a @ a.T
    C = np.random.default_rng(0).random((300, 200)) ** 8
    settings.memory = C.nbytes
    w = ec.eigh(a, 3, method="krylov", device="cuda").w
    np.testing.assert_allclose(w, np.linalg.eigvalsh(a)[::-1][:3], rtol=1e-5)
    got, wanted = (ec.spectrum(ec.contexts.counts(C), 3, method="krylov", device=d) for d in ("cuda", "cpu"))
    assert "visit the device" in got.reason
    np.testing.assert_allclose(got.singular_values, wanted.singular_values, rtol=1e-4)


def test_a_streamed_operator_goes_into_contexts(settings):
    W = np.random.default_rng(0).random((300, 200)) ** 8
    W /= W.sum(axis=1, keepdims=True)
    there = moved(dense(W), stream=True)
    X = np.ones((200, 2))
    assert isinstance(there.output()(given(X)), np.ndarray)
    one = ec.contexts.operator(there, np.full(300, 1 / 300))
    other = ec.contexts.operator(dense(W[:, ::-1].copy()).to("cuda"), np.full(300, 1 / 300))
    both = ec.contexts.mixture([one, other], [0.5, 0.5])
    wanted = [ec.contexts.operator(a, np.full(300, 1 / 300)) for a in (W, W[:, ::-1].copy())]
    spectra = ec.spectrum(both, 3, tol=1e-6), ec.spectrum(ec.contexts.mixture(wanted, [0.5, 0.5]), 3, tol=1e-6)
    np.testing.assert_allclose(spectra[0].singular_values, spectra[1].singular_values, rtol=1e-6)
    got, on_cpu = (ec.spectrum(ctx, 3, tol=1e-8) for ctx in (one, wanted[0]))
    assert isinstance(got.left, np.ndarray)
    np.testing.assert_allclose(abs(got.transform(W[:7])), abs(on_cpu.transform(W[:7])), rtol=0, atol=1e-5)


def test_parts_of_a_composition_visit_the_device():
    a = matrix(60, 40)
    op = moved(scaled(dense(a), np.arange(1.0, 61.0), None).astype(np.float32), stream=True)
    X = np.ones((40, 2), np.float32)
    np.testing.assert_allclose(op.on_host(X), np.arange(1.0, 61.0)[:, None] * (a @ X), rtol=0, atol=1e-3)


def test_same_bits_whatever_the_memory_and_what_it_held(settings):
    a, seen = matrix(dtype=np.float32), set()
    for memory, poison in ((a.nbytes, 0x3C), (a.nbytes * 5 // 4, 0xFF)):
        settings.memory, settings.poison = memory, poison
        parts = ec.svd(a, 3, method="krylov", block_size=8, max_basis=30, device="cuda")
        seen.add(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))
    assert len(seen) == 1


# -- bad input


def test_what_would_fit_is_said(settings):
    a = matrix()
    settings.memory = 100_000
    with pytest.raises(
        MemoryError, match="k = 3 with a basis of .* would fit in [0-9]+ bytes: (a basis of at most|noth)"
    ):
        ec.svd(a, 3, method="krylov", device="cuda")
    settings.memory = 1 << 32
    assert ec.svd(a, 3, device="cuda").converged.all()


def test_the_basis_that_would_fit_does(settings):
    a = matrix()
    settings.memory = 520_000
    with pytest.raises(core.DeviceMemoryError, match="a basis of at most") as caught:
        ec.svd(a, 20, method="krylov", block_size=16, tol=0, device="cuda")
    most = int(str(caught.value).split("a basis of at most ")[1].split()[0])
    del caught  # and what its frames hold
    assert most >= 23
    with pytest.warns(ec.ConvergenceWarning):
        ec.svd(a, 20, method="krylov", max_basis=most, max_sweeps=1, device="cuda")


@pytest.mark.parametrize("method", ["full", "gram"])
def test_methods_without_a_basis_say_what_they_take(method, settings):
    settings.memory = 10_000
    with pytest.raises(MemoryError, match=f"; method='{method}' takes about [0-9]+ bytes beside the matrix$"):
        ec.svd(matrix(), 3, method=method, device="cuda")


def test_pivoted_cholesky_needs_all_of_the_matrix(settings):
    a = matrix(200, 200)
    settings.memory = a.nbytes // 2
    with pytest.raises(MemoryError, match="^cudaMallocAsync: [0-9]+ bytes asked for"):
        ec.eigh(a @ a.T, 3, method="rpcholesky", device="cuda")


def test_an_error_of_the_host_is_no_reason_to_begin_again():
    calls = []

    def callback(progress):
        calls.append(progress.sweep)
        raise MemoryError("of the callback")

    with pytest.raises(MemoryError, match="^of the callback$"):
        ec.svd(matrix(), 3, method="krylov", device="cuda", callback=callback)
    assert len(calls) == 1


def test_the_workspace_holds_the_rows_and_what_they_give():
    for a, together in ((matrix(400, 250), 4), (matrix(3, 4001), 1), (matrix(2, 3), 2)):
        assert core.streamed(a).cost(5)["workspace"] == 8 * together * (2 * a.shape[1] + 5)


def test_without_page_locked_memory(settings):
    a = matrix()
    settings.memory, settings.page_locked = a.nbytes // 2, 1000
    with pytest.raises(MemoryError, match="^cudaMallocHost: [0-9]+ bytes of page-locked memory asked for"):
        ec.svd(a, 3, method="krylov", device="cuda")


def test_sparse_matrices_do_not_visit(settings):
    settings.memory = 20_000
    C = scipy.sparse.random_array((300, 300), density=0.1, random_state=np.random.default_rng(0))
    with pytest.raises(MemoryError, match="^cudaMallocAsync: "):
        ec.svd(C, 2, method="krylov", device="cuda")


def test_nan_is_found_where_it_is(settings):
    a = matrix()
    a[7, 9] = np.nan
    settings.memory = a.nbytes // 2
    with pytest.raises(ValueError, match=r"^a: got nan at \[7, 9\]"):
        ec.svd(a, 3, method="krylov", device="cuda")


def test_an_exception_between_groups_leaves_nothing_behind(settings):
    op = core.streamed(matrix())
    X = given(np.ones((250, 2)))
    settings.memory = core.live()[1] + 400 * 2 * 8 + 9000  # the result and one of the two buffers
    with pytest.raises(MemoryError):
        op.matmat(X)
    settings.memory = 1 << 32
    np.testing.assert_allclose(op.matmat(X).get(), matrix() @ np.ones((250, 2)))


def test_only_arrays_of_numpy_that_are_whole_visit():
    with pytest.raises(TypeError):
        core.streamed(np.ones((3, 3), np.int32))
    with pytest.raises(TypeError, match="2-d"):
        core.streamed(np.ones(3))
