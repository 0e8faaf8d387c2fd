"""Contexts of arrays on the emulated device: operator, spectrum and transform there, the values those of the CPU."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
from emulated import FakeCupy, core

import eigencontext as ec
from eigencontext import _device

DTYPES = [np.float32, np.float64]


@pytest.fixture(autouse=True)
def emulated_engine(monkeypatch):
    monkeypatch.setattr(_device, "_MODULE", "_cuda_emulated")


def points(dtype=np.float64, n=97, d=3):
    return np.random.default_rng(2).standard_normal((n, d)).astype(dtype)


def csr_on_device(matrix):
    """As cupyx.scipy.sparse describes one."""
    C = scipy.sparse.csr_array(matrix)
    return SimpleNamespace(data=FakeCupy(C.data), indices=FakeCupy(C.indices), indptr=FakeCupy(C.indptr), shape=C.shape,
                           format="csr")  # fmt: skip


def ring(n, dtype):
    return (np.roll(np.eye(n), 1, axis=1) + np.roll(np.eye(n), -1, axis=1)).astype(dtype)


#: (name, what makes the context from arrays that `given` puts somewhere, new inputs)
CONTEXTS = {
    "counts": (lambda X, given: ec.contexts.counts(given(np.abs(X))), np.abs),
    "counts with an empty row": (lambda X, given: ec.contexts.counts(given(np.abs(X) * (X != X[5]))), np.abs),
    "graph": (lambda X, given: ec.contexts.graph(given(np.exp(X @ X.T))), lambda X: np.exp(X @ X.T)),
    "lazy graph": (lambda X, given: ec.contexts.graph(given(ring(len(X), X.dtype)), lazy=0.3),
                   lambda X: ring(len(X), X.dtype)),
    "kernel": (lambda X, given: ec.contexts.kernel(given(X)), lambda X: X),
    "kernel with A": (lambda X, given: ec.contexts.kernel(given(X), given(X[:31]), "laplacian"), lambda X: X),
    "stationary kernel": (lambda X, given: ec.contexts.kernel(given(X), bandwidth=1.0, marginal="stationary"),
                          lambda X: X),
    "neighbors": (lambda X, given: ec.contexts.neighbors(given(X), 5), lambda X: X),
    "masked kernel": (lambda X, given: ec.contexts.masked_kernel(given(X), 3, 0.4, bandwidth=1.0), lambda X: X),
    "masked neighbors": (lambda X, given: ec.contexts.masked_neighbors(given(X), 4, 0.4, 5), lambda X: X),
    "gaussian noise": (lambda X, given: ec.contexts.gaussian_noise(given(X), 1.0, n_contexts=130), lambda X: X),
    "gaussian noise far from 0": (lambda X, given: ec.contexts.gaussian_noise(given(X * 1e7), 1e7), lambda X: X * 1e7),
    "corruption": (lambda X, given: ec.contexts.corruption(given(X), 0.5, bins=3), lambda X: X),
    "masking": (lambda X, given: ec.contexts.masking(given(X), 0.6, bins=3), lambda X: X),
    "cutmix": (lambda X, given: ec.contexts.cutmix(given(X), 0.5, bins=3), lambda X: X),
    "labels": (lambda X, given: ec.contexts.labels(given(np.arange(len(X), dtype=np.int32) % 4)),
               lambda X: np.arange(len(X), dtype=np.int32) % 4),
    "boolean labels": (lambda X, given: ec.contexts.labels(given(X[:, 0] > 0)), lambda X: X[:, 0] > 0),
    "targets": (lambda X, given: ec.contexts.targets(given(X)), lambda X: X),
    "teacher": (lambda X, given: ec.contexts.teacher(given(X)), lambda X: X),
    "operator": (lambda X, given: ec.contexts.operator(given(np.full((len(X), 7), 1 / 7, X.dtype)),
                                                       given(np.full(len(X), 1 / len(X)))),
                 lambda X: np.full((len(X), 7), 1 / 7, X.dtype)),
    "pairs": (lambda X, given: ec.contexts.pairs(given(X), given(X[:, ::-1]), null=True), lambda X: X),
    "lagged": (lambda X, given: ec.contexts.lagged(given(np.cumsum(X, axis=0))), lambda X: X[:-1]),
    "convolution": (lambda X, given: ec.contexts.neighbors(given(X), 5) @ ec.contexts.kernel(given(X), bandwidth=1.0),
                    lambda X: X),
    "walk": (lambda X, given: ec.contexts.neighbors(given(X), 5).walk(), lambda X: X),
    "mixture": (lambda X, given: ec.contexts.mixture([ec.contexts.neighbors(given(X), 5),
                                                      ec.contexts.kernel(given(X), bandwidth=1.0)], [0.5, 0.5]),
                lambda X: X),
}  # fmt: skip


def close(got, wanted, atol):
    np.testing.assert_allclose(_device.on_host(got), wanted, rtol=0, atol=atol)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CONTEXTS)
def test_a_context_of_device_arrays_is_that_of_the_host(name, dtype):
    make, new = CONTEXTS[name]
    X = points(dtype)
    ctx, host = make(X, FakeCupy), make(X, lambda a: a)
    np.testing.assert_allclose(ctx.p_x, host.p_x, rtol=1e-5)
    np.testing.assert_allclose(ctx.p_a, host.p_a, rtol=1e-5)
    k = min(3, host.rank_bound)
    got, wanted = ec.spectrum(ctx, k), ec.spectrum(host, k)
    atol = 30 * np.sqrt(np.finfo(dtype).eps)
    np.testing.assert_allclose(got.singular_values, wanted.singular_values, rtol=0, atol=atol)
    for mine, other in ((got.left, wanted.left), (got.right, wanted.right)):
        assert type(mine) is core.DeviceArray and mine.dtype == other.dtype and mine.shape == other.shape
    image, other = got.transform(FakeCupy(new(X))), wanted.transform(new(X))
    assert type(image) is core.DeviceArray and image.shape == other.shape
    gaps = np.diff(wanted.singular_values[::-1], append=1.0)
    if gaps.min() > 1e-2:  # functions of equal values are any basis of their space: nothing can be said of one alone
        left = _device.on_host(got.left) * wanted.p_x[:, None]
        close(np.abs(left.T @ wanted.left), np.eye(k), 3e-3)
        good = got.extendable & wanted.extendable
        close(np.abs(_device.on_host(image)[:, good]), np.abs(other[:, good]), 0.05 * np.abs(other[:, good]).max())


@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_extend_to_the_inputs_themselves(dtype):
    X = FakeCupy(points(dtype))
    for ctx in (ec.contexts.kernel(X, bandwidth=1.0), ec.contexts.neighbors(X, 9)):
        spec = ec.spectrum(ctx, 3, tol=1e-5 if dtype == np.float64 else 1e-3)
        close(spec.transform(X), _device.on_host(spec.left), 3e-2 if dtype == np.float32 else 1e-3)
        loaded = ctx.conditional(X)
        assert loaded.device == "cuda" and ctx.operator.device == "cuda"


def test_the_operator_of_a_context_multiplies_device_arrays():
    X = points()
    ctx, host = ec.contexts.kernel(FakeCupy(X)), ec.contexts.kernel(X)
    B = np.random.default_rng(0).standard_normal((len(X), 5))
    image = ctx.operator @ FakeCupy(B)
    assert type(image) is core.DeviceArray
    close(image, host.operator @ B, 1e-12)
    assert type(ec.svd(ctx.operator, 2).U) is core.DeviceArray
    np.testing.assert_array_equal(ctx.sample([0, 5], 4), host.sample([0, 5], 4))


def test_what_a_sampled_context_draws_is_on_the_device():
    X = points(np.float32)
    ctx, host = (ec.contexts.corruption(given(X), 0.5, bins=3) for given in (FakeCupy, np.asarray))
    np.testing.assert_allclose(ctx.ess, host.ess, rtol=1e-9)
    np.testing.assert_array_equal(_device.on_host(ctx.values), host.values)
    drawn = ctx.sample([0, 5], 3)
    assert drawn.shape == (2, 3, 3) and _device.is_on_device(drawn)
    np.testing.assert_array_equal(_device.on_host(drawn), host.sample([0, 5], 3))


def test_sparse_counts_of_the_device():
    C = scipy.sparse.random_array((60, 40), density=0.3, random_state=np.random.default_rng(0)) + scipy.sparse.eye(
        60, 40
    )
    got, wanted = (ec.spectrum(ec.contexts.counts(c), 3) for c in (csr_on_device(C), scipy.sparse.csr_array(C)))
    np.testing.assert_allclose(got.singular_values, wanted.singular_values, rtol=0, atol=1e-6)
    close(np.abs(_device.on_host(got.left)), np.abs(wanted.left), 1e-2)
    bad = csr_on_device(C)
    bad.format = "coo"
    with pytest.raises(TypeError, match="^C: got format 'coo' on a CUDA device"):
        ec.contexts.counts(bad)


def test_what_is_made_of_an_operator_on_the_device():
    X = points()
    base = ec.contexts.kernel(FakeCupy(X), bandwidth=1.0)
    again = ec.contexts.operator(base.operator, base.p_x, base.p_a, "normalized")
    got, wanted = ec.spectrum(again, 3), ec.spectrum(ec.contexts.kernel(X, bandwidth=1.0), 3)
    assert type(got.left) is core.DeviceArray
    np.testing.assert_allclose(got.singular_values, wanted.singular_values, rtol=0, atol=1e-6)
    joined = ec.concatenate([got, ec.spectrum(base, 2)])
    assert type(joined.left) is core.DeviceArray and joined.left.shape[0] == len(X)


def test_spectra_on_the_device_are_saved_and_contexts_pickle(tmp_path):
    X = points()
    ctx = ec.contexts.kernel(X, bandwidth=1.0)
    moved = pickle.loads(pickle.dumps(ctx.operator.to("cuda")))
    B = np.ones((len(X), 2))
    np.testing.assert_allclose(moved.on_host(B), ctx.operator @ B, rtol=1e-12)
    spec = ec.spectrum(ec.contexts.kernel(FakeCupy(X), bandwidth=1.0), 3)
    spec.save(tmp_path / "s.npz")
    loaded = ec.load_spectrum(tmp_path / "s.npz")
    np.testing.assert_array_equal(loaded.left, _device.on_host(spec.left))
    close(spec.transform(FakeCupy(X[:7])), loaded.transform(X[:7]), 1e-12)
    assert copy.copy(spec).left is spec.left


def test_any_strides_and_types_are_read():
    X = points(np.float32, 40, 6)
    strided = FakeCupy.strided(X, (20, 3), (12, 2))
    np.testing.assert_array_equal(_device.on_host(strided), X[::2, ::2])
    for array in (np.arange(6, dtype=np.int8).reshape(2, 3), np.array([True, False]), np.zeros((3, 0)), X.T,
                  np.arange(24.0).reshape(2, 3, 4)):  # fmt: skip
        got = _device.on_host(FakeCupy(array) if array.size else array)
        assert got.dtype == array.dtype
        np.testing.assert_array_equal(got, array)


# -- bad input


def test_mixing_devices_is_an_error_that_says_so():
    X = points()
    there = FakeCupy(X)
    mixed = "got parts on the CPU and on a CUDA device; allowed: all on one device"
    with pytest.raises(ValueError, match=f"^X, A: {mixed}"):
        ec.contexts.kernel(there, X[:10])
    with pytest.raises(ValueError, match=f"^X, A: {mixed}"):
        ec.contexts.pairs(X, there)
    with pytest.raises(ValueError, match=f"^L, p_x, p_a: {mixed}"):
        ec.contexts.operator(FakeCupy(np.eye(4)), np.full(4, 0.25))
    near, kernel = ec.contexts.neighbors(there, 5), ec.contexts.kernel(X)
    with pytest.raises(ValueError, match=mixed):
        near @ kernel
    with pytest.raises(ValueError, match=mixed):
        ec.contexts.mixture([near, kernel], [0.5, 0.5])
    with pytest.raises(ValueError, match="^device: got 'cpu' for an operator on a CUDA device"):
        ec.spectrum(near, 2, device="cpu")
    with pytest.raises(ValueError, match="^X_new: got arrays on the CPU for a context on a CUDA device"):
        near.conditional(X)
    with pytest.raises(ValueError, match="^X_new: got arrays on a CUDA device for a context on the CPU"):
        ec.spectrum(kernel, 2).transform(there)


def test_bad_arrays_on_the_device_are_refused_as_those_of_the_host():
    X = points()
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"^X: got nan at \[3, 1\]"):
        ec.contexts.kernel(FakeCupy(X))
    with pytest.raises(ValueError, match="^C: got negative entries"):
        ec.contexts.counts(FakeCupy(-np.ones((3, 2))))
    with pytest.raises(ValueError, match="^L: got negative entries"):
        ec.contexts.operator(FakeCupy(np.array([[1.5, -0.5], [0.5, 0.5]])), FakeCupy(np.full(2, 0.5)))


def test_arrays_of_a_device_that_is_not_there(settings):
    X = FakeCupy(points())
    settings.devices = 0
    with pytest.raises(TypeError, match="^X: got a FakeCupy on a GPU; allowed: arrays on the CPU .*no device"):
        ec.contexts.neighbors(X, 5)
