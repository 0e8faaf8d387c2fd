"""Random numbers are a pure function of (seed, row, column): Philox4x32-10, then Box-Muller."""

import numpy as np
import pytest

from eigencontext import _core

MASK = np.uint64(0xFFFFFFFF)


def philox(counter, key):
    """Philox4x32-10 on arrays of shape (4, ...), written from the paper, independent of the engine."""
    c = [np.asarray(x, dtype=np.uint64) for x in counter]
    k = [int(x) for x in key]
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        shift = np.uint64(32)
        c = [
            (p1 >> shift) ^ c[1] ^ np.uint64(k[0]),
            p1 & MASK,
            (p0 >> shift) ^ c[3] ^ np.uint64(k[1]),
            p0 & MASK,
        ]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


def gaussian_oracle(seed, rows, cols):
    """Box-Muller in long double from the 52 low bits of each half of philox(row, column // 2)."""
    row, col = np.meshgrid(np.asarray(rows, np.uint64), np.asarray(cols, np.uint64), indexing="ij")
    pair, shift = col >> np.uint64(1), np.uint64(32)
    r = philox((row & MASK, row >> shift, pair & MASK, pair >> shift), (seed % 2**32, seed >> 32))
    k, m = ((r[i] | (r[i + 1] << shift)) & np.uint64(2**52 - 1) for i in (0, 2))
    u = (k.astype(np.longdouble) + 0.5) / 2**52
    angle = 8 * np.arctan(np.longdouble(1)) * m.astype(np.longdouble) / 2**52
    return np.sqrt(-2 * np.log(u)) * np.where(col % 2 == 0, np.cos(angle), np.sin(angle))


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ],
)
def test_the_oracle_gives_the_known_answers(counter, key, answer):
    assert tuple(int(x) for x in philox(counter, key)) == answer


@pytest.mark.parametrize("seed", [0, 1, 2**63 + 12345])
@pytest.mark.parametrize(("row0", "col0"), [(0, 0), (3, 5), (2**32 - 2, 2**33 - 3)])
def test_the_engine_agrees_with_the_oracle(seed, row0, col0):
    got = _core.gaussian(seed, 37, 11, row0, col0, "float64")
    want = gaussian_oracle(seed, row0 + np.arange(37), col0 + np.arange(11))
    np.testing.assert_allclose(got, want.astype(float), rtol=0, atol=5e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("i", "j", "n", "m"), [(0, 0, 1, 1), (5, 1, 40, 2), (100, 7, 3, 30), (199, 40, 1, 1), (64, 2, 100, 39)]
)
def test_a_sub_block_is_the_part_of_the_block(i, j, n, m, dtype):
    whole = _core.gaussian(9, 200, 41, 0, 0, dtype)
    part = _core.gaussian(9, n, m, i, j, dtype)
    np.testing.assert_array_equal(part, whole[i : i + n, j : j + m])


def test_float32_is_the_rounded_float64():
    a, b = (_core.gaussian(4, 500, 33, 0, 0, dtype) for dtype in ("float32", "float64"))
    np.testing.assert_array_equal(a, b.astype(np.float32))


def test_moments_and_tail():
    x = _core.gaussian(123, 200_000, 10, 0, 0, "float64")
    n = x.size  # standard errors of the moments 1..4 of N(0, 1): sqrt(1, 2, 15, 96) / sqrt(n)
    for power, moment, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert abs((x**power).mean() - moment) < 5 * np.sqrt(variance / n)
    assert np.mean(np.abs(x) > 3) == pytest.approx(0.0026998, abs=5 * np.sqrt(0.0027 / n))
    # Columns, also the two of one Box-Muller pair, and neighbouring rows are uncorrelated.
    correlation = np.corrcoef(x, rowvar=False) - np.eye(10)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(x))
    assert abs((x[1:] * x[:-1]).mean()) < 5 / np.sqrt(n)


def test_seeds_differ():
    a, b, c = (_core.gaussian(seed, 1000, 8, 0, 0, "float64") for seed in (0, 1, 2**32))
    for x, y in [(a, b), (a, c), (b, c)]:
        assert abs((x * y).mean()) < 5 / np.sqrt(x.size)


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
def test_empty_blocks(shape):
    assert _core.gaussian(0, *shape, 0, 0, "float64").shape == shape
