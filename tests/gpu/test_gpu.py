"""On a machine with a CUDA device: the device's results against the CPU's, at sizes that fill it.

`python -m pytest -m gpu -rs` says why they are skipped elsewhere. The kernels themselves are tested by
tests/cuda_emulation.
"""

import numpy as np
import pytest
import scipy.sparse

import eigencontext as ec
from eigencontext import _device
from eigencontext.operators import dense, moved

REASON = _device.unavailable()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(REASON), reason=f"no CUDA: {REASON}")]
DTYPES = [np.float32, np.float64]


def decaying(n, m, dtype):
    rng = np.random.default_rng(0)
    return (rng.standard_normal((n, m)) * 0.9 ** np.arange(m)).astype(dtype)


def agree(got, wanted, dtype):
    assert got.converged.all()
    s = wanted[1] if len(wanted) == 3 else wanted[0]
    error = np.abs(got[-2] - s)
    # quadratic in the residuals, which are 1e-3 of a value at most, plus the rounding of sums of 3000 terms
    np.testing.assert_array_less(error, 1e-5 * s[0] + 100 * np.finfo(dtype).eps * np.sqrt(3000) * s[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_words_and_gaussians_are_those_of_the_host(dtype):
    core = _device.engine("cuda")
    got = core.gaussian(7, 3001, 257, 5, 3, dtype.__name__).get()
    np.testing.assert_array_equal(got, _device._core.gaussian(7, 3001, 257, 5, 3, dtype.__name__))


@pytest.mark.parametrize("dtype", DTYPES)
def test_svd_of_dense_and_sparse_matrices(dtype):
    a = decaying(5000, 700, dtype)
    agree(ec.svd(a, 10, device="cuda"), ec.svd(a, 10), dtype)
    C = scipy.sparse.random_array((8000, 3000), density=0.01, random_state=np.random.default_rng(0), dtype=dtype)
    agree(ec.svd(C, 5, device="cuda"), ec.svd(C, 5), dtype)


@pytest.mark.parametrize("kernel", ["rbf", "laplacian", "cosine", "polynomial"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_eigh_of_kernels_of_several_tiles(kernel, dtype):
    X = np.random.default_rng(1).standard_normal((5000, 7)).astype(dtype)
    K = ec.operators.kernel(X, kernel=kernel)
    agree(ec.eigh(K, 6, device="cuda"), ec.eigh(K, 6), dtype)


def test_the_same_bits_twice():
    X = np.random.default_rng(1).standard_normal((5000, 7)).astype(np.float32)
    K = ec.operators.kernel(X).to("cuda")
    first, second = ec.eigh(K, 6), ec.eigh(K, 6)
    np.testing.assert_array_equal(first.V, second.V)


@pytest.mark.parametrize("package", ["cupy", "torch"])
def test_arrays_of_other_packages_come_back_as_they_are(package):
    module = pytest.importorskip(package)
    a = decaying(3000, 200, np.float32)
    given = module.asarray(a) if package == "cupy" else module.as_tensor(a, device="cuda")
    assert all(type(part) is type(given) for part in ec.svd(given, 3))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_that_visit_the_device(dtype):
    """Several groups of 32 MiB."""
    a = decaying(40_000, 700, dtype)
    op = moved(dense(a), stream=True)
    X = np.random.default_rng(1).standard_normal((700, 9)).astype(dtype)
    image = a.astype(np.float64) @ X
    atol = 100 * np.finfo(dtype).eps * np.abs(image).max()
    np.testing.assert_allclose(op.on_host(X), image, rtol=0, atol=atol)
    agree(ec.svd(op, 10), ec.svd(a, 10), dtype)


@pytest.mark.parametrize("name", ["kernel", "corruption", "masking", "gaussian_noise"])
def test_contexts_of_device_arrays(name):
    X = np.random.default_rng(2).standard_normal((3000, 8)).astype(np.float32)
    options = {"kernel": {}, "gaussian_noise": {"sigma": 2.0}}.get(name, {"rate": 0.7, "bins": 4})
    make = getattr(ec.contexts, name)
    got, wanted = ec.spectrum(make(_device.Moved(X), **options), 5), ec.spectrum(make(X, **options), 5)
    np.testing.assert_allclose(got.singular_values, wanted.singular_values, rtol=0, atol=1e-4)
