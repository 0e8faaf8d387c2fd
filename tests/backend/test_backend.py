"""The primitives of the host device: exp, gram, instruction sets."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from eigencontext import _core

DTYPES = [np.float32, np.float64]


def ulps(got, x):
    """Errors of exp in units of the last place of the exact result; denormal results have the smallest number's."""
    exact = np.exp(x.astype(np.longdouble))
    info = np.finfo(got.dtype)
    rounded = np.maximum(exact, info.tiny).astype(got.dtype)
    return np.abs(got.astype(np.longdouble) - exact) / np.spacing(rounded).astype(np.longdouble)


needs_long_double = pytest.mark.skipif(
    np.finfo(np.longdouble).eps >= np.finfo(np.float64).eps, reason="long double is float64 here: no oracle"
)


@needs_long_double
@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        (np.float32, -87.3, 88.7),
        (np.float32, -1, 1),
        (np.float32, -104, -87),
        (np.float64, -708, 709.7),
        (np.float64, -1, 1),
        (np.float64, -745.2, -708),
    ],
)
def test_exp_within_two_ulps(dtype, low, high):
    x = np.random.default_rng(0).uniform(low, high, 400_003).astype(dtype)
    assert ulps(_core.exp(x), x).max() <= 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_special_values(dtype):
    info = np.finfo(dtype)
    x = np.array([-np.inf, np.inf, np.nan, 0, -0.0, info.max, -info.max, info.smallest_subnormal], dtype=dtype)
    np.testing.assert_array_equal(_core.exp(x), np.array([0, np.inf, np.nan, 1, 1, np.inf, 0, 1], dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_at_the_edges_of_the_range(dtype):
    info = np.finfo(dtype)
    largest = dtype(np.log(np.longdouble(info.max)))
    below, above = np.nextafter(largest, dtype(0)), np.nextafter(np.nextafter(largest, dtype(1000)), dtype(1000))
    got = _core.exp(np.array([below, above], dtype=dtype))
    assert np.isfinite(got[0]) and got[0] > 0.99 * info.max and np.isinf(got[1])
    # Down to the smallest subnormal number, gradually.
    x = np.linspace(np.log(np.longdouble(info.smallest_subnormal)), np.log(np.longdouble(info.tiny)), 1000).astype(
        dtype
    )
    got = _core.exp(x)
    assert np.all(np.diff(got) >= 0) and np.all(got[5:] > 0) and got[0] <= info.smallest_subnormal


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 3, 15, 16, 17, 33])
def test_exp_of_any_length_is_the_same_element_by_element(n, dtype):
    x = np.linspace(-20, 20, 40).astype(dtype)[:n]
    one_by_one = [_core.exp(x[i : i + 1])[0] for i in range(n)]
    np.testing.assert_array_equal(_core.exp(x), np.array(one_by_one, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 511, 513, 1025, 40_000])
@pytest.mark.parametrize(("p", "q"), [(1, 1), (7, 3), (32, 33)])
def test_gram(n, p, q, dtype):
    x, y = _core.gaussian(1, n, p, 0, 0, dtype.__name__), _core.gaussian(2, n, q, 0, 0, dtype.__name__)
    wide_x, wide_y = x.astype(np.float64), y.astype(np.float64)
    # Rounding of random partial sums, of size sqrt(r) after r rows: eps * sqrt(sum of r) in one run of rows.
    scale = np.finfo(dtype).eps * (1 + np.sqrt(n * min(n, 1024)))
    got = _core.gram(x, y)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, wide_x.T @ wide_y, rtol=0, atol=2 * scale)
    symmetric = _core.gram(x, x)
    np.testing.assert_allclose(symmetric, wide_x.T @ wide_x, rtol=16 * np.finfo(dtype).eps, atol=2 * scale)
    np.testing.assert_array_equal(symmetric, symmetric.T)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gram_in_tiles(dtype):
    x, y = _core.gaussian(1, 700, 800, 0, 0, dtype.__name__), _core.gaussian(2, 700, 390, 0, 0, dtype.__name__)
    wide_x, wide_y = x.astype(np.float64), y.astype(np.float64)
    atol = 10 * 700 * np.finfo(dtype).eps
    np.testing.assert_allclose(_core.gram(x, y), wide_x.T @ wide_y, rtol=0, atol=atol)
    np.testing.assert_allclose(_core.gram(x, x), wide_x.T @ wide_x, rtol=0, atol=atol)
    np.testing.assert_allclose(_core.gram(y, x), wide_y.T @ wide_x, rtol=0, atol=atol)


@pytest.mark.parametrize("scale", [1e-30, 1e-25, 1e25, 1e30])
def test_gram_of_float32_beyond_its_range(scale):
    """Squares of 1e25 and of 1e-25 leave float32; the result is float64 and must not."""
    x = _core.gaussian(1, 3000, 6, 0, 0, "float32") * np.float32(scale)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(_core.gram(x, x) / scale**2, wide.T @ wide / scale**2, rtol=0, atol=1e-2)
    mixed = x.copy()
    mixed[:, 0] /= np.float32(scale)  # one column of size 1 among the others
    wide = mixed.astype(np.float64)
    np.testing.assert_allclose(np.diag(_core.gram(mixed, mixed)), (wide**2).sum(0), rtol=1e-5)


def test_gram_keeps_nan():
    x = np.ones((2000, 3))
    x[1500, 1] = np.nan
    got = _core.gram(x, x)
    assert np.isnan(got[1]).all() and np.isnan(got[:, 1]).all() and got[0, 2] == 2000


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [200, 511, 2049, 40_000])
@pytest.mark.parametrize(("p", "b"), [(1, 1), (37, 5), (64, 16), (48, 33), (20, 100)])
def test_subtract(n, p, b, dtype):
    rng = np.random.default_rng(3)
    V = np.linalg.qr(rng.standard_normal((n, p))).Q.astype(dtype)
    X, S, C = rng.standard_normal((n, b)).astype(dtype), rng.standard_normal((b, b)), rng.standard_normal((p, b))
    wide = X.astype(np.float64) @ S - V.astype(np.float64) @ C
    trusted, left, cross, own = _core.subtract(V, C, X, S)
    eps = np.finfo(dtype).eps
    assert trusted and left.dtype == dtype
    np.testing.assert_allclose(left, wide, rtol=0, atol=20 * eps * np.abs(wide).max())
    exact = left.astype(np.float64)
    size = np.linalg.norm(exact, axis=0)
    np.testing.assert_allclose(cross / size, V.astype(np.float64).T @ exact / size, rtol=0, atol=20 * eps)
    np.testing.assert_allclose(
        own / np.outer(size, size), exact.T @ exact / np.outer(size, size), rtol=0, atol=20 * eps
    )
    np.testing.assert_array_equal(own, own.T)


@pytest.mark.parametrize("value", [0, 1e-20, 1e20, np.inf, np.nan])
def test_subtract_says_where_sums_leave_the_range(value):
    V, X = np.zeros((600, 3), np.float32), np.ones((600, 4), np.float32)
    X[:, 2] = value
    assert not _core.subtract(V, np.zeros((3, 4)), X, np.eye(4))[0]


LEVELS = """
import sys
import numpy as np
from eigencontext import _core
results = {}
for dtype in ("float32", "float64"):
    x, y = _core.gaussian(1, 700, 60, 0, 0, dtype), _core.gaussian(2, 60, 13, 0, 0, dtype)
    op = _core.dense(x)
    results["gaussian " + dtype] = x
    results["exp " + dtype] = _core.exp(np.linspace(-80, 80, 10_001, dtype=dtype))
    results["multiply " + dtype] = op.matmat(y)
    results["transposed " + dtype] = op.rmatmat(op.matmat(y))
    results["fused " + dtype] = op.fused(None, y)
np.savez(sys.argv[1], **results)
print(_core.simd_level())
"""


def run_at_level(level, path):
    return subprocess.run(
        [sys.executable, "-c", LEVELS, str(path)],
        env={**os.environ, "EIGENCONTEXT_SIMD": level},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_level_is_one_we_know():
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    assert _core.simd_level() in (("baseline", "avx2", "avx512") if x86 else ("baseline", "neon"))


def test_every_level_of_this_machine_agrees_to_rounding(tmp_path):
    best = run_at_level("", tmp_path / "best.npz")
    assert best.returncode == 0, best.stderr
    allowed = ["baseline", "avx2", "avx512"] if platform.machine() in ("x86_64", "AMD64") else ["baseline", "neon"]
    allowed = allowed[: allowed.index(best.stdout.strip()) + 1]
    expected = np.load(tmp_path / "best.npz")
    for level in allowed:
        run = run_at_level(level, tmp_path / f"{level}.npz")
        assert run.returncode == 0, run.stderr
        assert run.stdout.strip() == level
        got = np.load(tmp_path / f"{level}.npz")
        for key in expected.files:
            eps = np.finfo(expected[key].dtype).eps
            if key.startswith("exp"):
                np.testing.assert_allclose(got[key], expected[key], rtol=4 * eps, err_msg=f"{level}: {key}")
            else:
                atol = 16 * eps * np.sqrt(700) * np.abs(expected[key]).max()
                np.testing.assert_allclose(got[key], expected[key], rtol=0, atol=atol, err_msg=f"{level}: {key}")


@pytest.mark.parametrize("level", ["sse9", "neon" if platform.machine() in ("x86_64", "AMD64") else "avx2"])
def test_a_level_that_this_machine_lacks_is_an_error_that_lists_what_there_is(level, tmp_path):
    run = run_at_level(level, tmp_path / "x.npz")
    assert run.returncode != 0
    assert "ValueError" in run.stderr and "EIGENCONTEXT_SIMD" in run.stderr and "baseline" in run.stderr


def test_blas_says_its_name():
    assert "BLAS" in _core.blas_version()
