"""Named matrices with what is hard about each in its name. `python -m tests.suite.matrices` lists them.

12 spectra x 5 shapes x 2 dtypes, the same spectra in float32 at 1e-25 and 1e25, matrices that are degenerate in one way
or another, and small versions of what users of other packages stumbled over.
"""

from functools import cache

import numpy as np
import scipy.linalg

N, M = 120, 80
SHAPES = [(N, M), (M, N), (90, 90), (400, 60), (60, 400)]


SPECTRA = {  # the r singular values, in any order
    "exponential": lambda r: 0.8 ** np.arange(r),
    "steep": lambda r: 0.2 ** np.arange(r),
    "polynomial": lambda r: 1 / (1.0 + np.arange(r)),
    "flat tail": lambda r: (1.0 + np.arange(r)) ** -0.3,
    "linear": lambda r: np.arange(r, 0.0, -1),
    "step": lambda r: np.where(np.arange(r) < 10, 1, 0.01),
    "12 copies": lambda r: np.concatenate([[1], np.full(12, 0.9), 0.8 * 0.7 ** np.arange(r - 13)]),
    "cluster of gap 1e-5": lambda r: np.concatenate([[1], 0.9 - 1e-5 * np.arange(12), 0.5 ** np.arange(1, r - 12)]),
    "all equal": lambda r: np.ones(r),
    "rank 4": lambda r: np.where(np.arange(r) < 4, 0.9 ** np.arange(r), 0),
    "condition 1e12": lambda r: np.logspace(0, -12, r),
    "signal and noise": lambda r: np.where(np.arange(r) < 8, 0.85 ** np.arange(r), 1e-2 * np.linspace(1, 0.5, r)),
}


@cache
def _factors(n, m):
    rng = np.random.default_rng(n * 1000 + m)
    return tuple(np.linalg.qr(rng.standard_normal((size, min(n, m))))[0] for size in (n, m))


def with_spectrum(s, n, m):
    """U diag(s) V^T in float64."""
    U, V = _factors(n, m)
    return (U * s) @ V.T


def _degenerate():
    rng = np.random.default_rng(7)
    eye, noise = np.eye(M), rng.standard_normal((N, M))
    yield "1 x 1", np.array([[-3.0]])
    yield "1 x 1 zero", np.zeros((1, 1))
    yield "one row", rng.standard_normal((1, 90))
    yield "one column", rng.standard_normal((90, 1))
    yield "2 x 2", np.array([[0.0, 0], [0, 1]])
    yield "zero", np.zeros((N, M))
    yield "one entry", np.where(np.add.outer(np.arange(N), np.arange(M)) == 0, -2.0, 0)
    yield "constant", np.full((N, M), 0.1)
    yield "rank 1", np.outer(np.arange(1.0, N + 1), np.arange(M))
    yield "identity", eye
    yield "minus the identity", -eye
    yield "tall identity", np.eye(N, M)
    yield "permutation", eye[rng.permutation(M)]
    yield "signed permutation", eye[rng.permutation(M)] * rng.choice([-1, 1], M)
    yield "Hadamard", scipy.linalg.hadamard(64).astype(float)
    yield "shift", np.eye(M, k=1)
    yield "upper triangle of ones", np.triu(np.ones((M, M)))
    yield "Hilbert", scipy.linalg.hilbert(M)
    yield "Vandermonde", np.vander(np.linspace(-1, 1, N), M)
    yield "circulant", scipy.linalg.circulant(np.exp(-np.arange(M) / 5.0))
    yield "arrow", np.diag(np.linspace(1, 2, M)) + np.where(np.arange(M) == 0, 1.0, 0)[:, None]
    yield "diagonal with zeros", np.diag(np.where(np.arange(M) % 2, np.arange(M), 0.0))
    yield "two blocks", scipy.linalg.block_diag(noise[:60, :40], noise[60:, 40:])
    yield "two equal blocks", scipy.linalg.block_diag(noise[:60, :40], noise[:60, :40])
    yield "equal rows", noise[np.arange(N) % 7]
    yield "equal columns", noise[:, np.arange(M) % 7]
    yield "zero rows", noise * (np.arange(N)[:, None] % 3 == 0)
    yield "zero columns", noise * (np.arange(M) % 3 == 0)
    yield "only the last row", noise * (np.arange(N)[:, None] == N - 1)
    yield "graded rows", noise * 10.0 ** -np.linspace(0, 30, N)[:, None]
    yield "graded columns", noise * 10.0 ** -np.linspace(0, 30, M)
    yield "one huge entry", noise + 1e8 * (np.add.outer(np.arange(N), np.arange(M)) == 50)
    yield "zeros and ones", (rng.random((N, M)) < 0.3).astype(float)
    yield "one entry a row", (rng.integers(0, M, N)[:, None] == np.arange(M)) * 1.0


def _regressions():
    rng = np.random.default_rng(11)
    yield "noise with 20 features", rng.standard_normal((2000, 20))
    yield "linear spectrum, half of it zero", with_spectrum(np.maximum(np.arange(M, 0.0, -1) - M // 2, 0), N, M)
    yield "slow decay", with_spectrum(np.exp(-np.arange(M) / 60), N, M)
    yield "wide counts", (rng.random((40, 1500)) < 0.01).astype(float)
    yield "product of low rank", (lambda x: x @ x.T)(rng.random((90, 3)))
    yield (
        "triple within 7e-5",
        with_spectrum(np.r_[2, 1.5, 1 + 7e-5, 1 + 1e-6, 1, 0.95, np.linspace(0.9, 0, M - 6)], N, M),
    )
    yield "noise on a constant", 1 + 0.1 * rng.standard_normal((50, 100))


def _all():
    for dtype in (np.float32, np.float64):
        kind = np.dtype(dtype).name
        for name, spectrum in SPECTRA.items():
            for n, m in SHAPES:
                yield f"{name}, {n} x {m}, {kind}", with_spectrum(spectrum(min(n, m)), n, m).astype(dtype)
        for name, a in [*_degenerate(), *_regressions()]:
            yield f"{name}, {a.shape[0]} x {a.shape[1]}, {kind}", a.astype(dtype)
    for scale in (1e-25, 1e25):
        for name, spectrum in SPECTRA.items():
            a = with_spectrum(spectrum(M), N, M) * scale
            yield f"{name}, {N} x {M}, float32 at {scale:g}", a.astype(np.float32)


MATRICES = dict(_all())

if __name__ == "__main__":
    print(*MATRICES, f"{len(MATRICES)} matrices", sep="\n")
