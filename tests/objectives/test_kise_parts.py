"""KISE with sample weights, from moments, and of rows that are read by slices."""

import subprocess
import sys

import numpy as np
import pytest

from eigencontext import objectives

kise = objectives.kise


def data(n=60, d=3):
    rng = np.random.default_rng(8)
    phi, X, y = rng.standard_normal((n, d)), rng.standard_normal((n, 2)), np.arange(n) % 4
    return phi, X, y, rng.random(n)


def data_term(phi, K, w, divisor):
    B = phi - phi.mean(0)
    return (w[:, None] * B * (B - K @ B / divisor)).sum() / (w.sum() * phi.shape[1])


@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("kind", ["raw", "walk", "labels", "teacher"])
def test_weights(kind, diagonal):
    phi, X, y, w = data()
    n = len(phi)
    options = {
        "raw": {"X": X, "bandwidth": 0.8},
        "walk": {"X": X, "bandwidth": 0.8, "dual": "walk"},
        "labels": {"labels": y},
        "teacher": {"teacher": X},
    }[kind] | {"diagonal": diagonal}
    result = kise(phi, weights=w, **options)
    k = np.exp(-np.square(X[:, None] - X).sum(-1) / (2 * 0.8**2))
    W = k / k.sum(1, keepdims=True)
    U, s, _ = np.linalg.svd(X - X.mean(0), full_matrices=False)
    K = {
        "raw": k,
        "walk": W / W.mean(0) @ W.T,
        "labels": (y[:, None] == y) * 4.0,
        "teacher": 1 + n * (U * (s / s[0]) ** 2) @ U.T,
    }[kind]
    if not diagonal:
        K = K - np.diag(np.diag(K))
    np.testing.assert_allclose(result.terms["data"], data_term(phi, K, w, n - (not diagonal)), rtol=1e-10)
    direction = np.random.default_rng(9).standard_normal(phi.shape)
    up, down = (kise(phi + s * direction, weights=w, grad=(), **options).loss for s in (1e-6, -1e-6))
    np.testing.assert_allclose((result.grad_phi * direction).sum(), (up - down) / 2e-6, rtol=1e-6)
    same = kise(phi, weights=np.full(n, 2.0), **options)
    np.testing.assert_allclose(same.grad_phi, kise(phi, **options).grad_phi, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("kernel", "options"),
    [("labels", {}), ("teacher", {}), ("teacher", {"threshold": 0.95, "relative": True}), ("linear", {})],
)
def test_from_moments(kernel, options, dtype):
    phi, Z, y, _ = data()
    phi, Z = phi.astype(dtype), (Z * [1, 3]).astype(dtype)
    psi = np.eye(4, dtype=dtype)[y] if kernel == "labels" else Z
    acc, other = (objectives.Moments(3, objective="kise", d_psi=psi.shape[1]) for _ in range(2))
    for rows in np.array_split(np.arange(60), 5):
        acc.update(phi[rows], psi[rows]) if rows[0] < 30 else other.update(phi[rows], psi[rows])
    acc.merge(objectives.Moments.from_bytes(other.to_bytes()))
    full = kise.from_moments(acc, kernel=kernel, **options)
    if kernel == "linear":
        B, C = (a.astype(float) - a.mean(0, dtype=float) for a in (phi, Z))
        loss = full.terms["data"]
        expected = data_term(phi.astype(float), C @ C.T, np.ones(60), 60)
        np.testing.assert_allclose(loss, expected, rtol=1e-5 if dtype == np.float32 else 1e-10)
        return
    one = kise(phi, **({"labels": y} if kernel == "labels" else {"teacher": Z, **options}))
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(full.loss, one.loss, rtol=tolerance)
    grad = np.concatenate([full.grad(phi[rows], psi[rows])[0] for rows in (slice(0, 7), slice(7, 60))])
    np.testing.assert_allclose(grad, one.grad_phi, rtol=0, atol=tolerance * np.abs(one.grad_phi).max())


def test_from_moments_refuses():
    phi, Z, y, _ = data()
    acc = objectives.Moments(3, objective="kise", d_psi=2)
    acc.update(phi, Z)
    with pytest.raises(ValueError, match="acc: got psi that are no indicators"):
        kise.from_moments(acc)
    with pytest.raises(ValueError, match="threshold: got 99"):
        kise.from_moments(acc, kernel="teacher", threshold=99)
    y[0] = 4
    once = objectives.Moments(3, objective="kise", d_psi=5)
    once.update(phi, np.eye(5)[y])
    with pytest.raises(ValueError, match="acc: got class 4 1 times; allowed: every class at least twice"):
        kise.from_moments(once)


class Sliced:
    """Rows of no array: len and slicing alone."""

    def __init__(self, rows):
        self._rows = rows

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return self._rows[rows].copy()


@pytest.mark.parametrize(
    "kernel", [{"bandwidth": 0.8}, {"kernel": "laplacian", "bandwidth": 2.0}, {"kernel": "cosine"}]
)
def test_slices(kernel):
    phi, X, _, _ = data(9000)
    expected = kise(phi, X=X, **kernel)
    for a, b in [(Sliced(phi), Sliced(X)), (Sliced(phi), X)]:
        result = kise(a, X=b, **kernel)
        np.testing.assert_allclose(result.loss, expected.loss, rtol=1e-11)
        atol = 1e-11 * np.abs(expected.grad_phi).max()
        np.testing.assert_allclose(result.grad_phi, expected.grad_phi, rtol=0, atol=atol)
    with pytest.raises(TypeError, match="phi: got a generator, which can be read once"):
        kise((row for row in phi), X=X, **kernel)
    few = slice(0, 300)
    for options in ({"diagonal": False}, {"dual": "walk"}, {"weights": np.arange(1.0, 301.0)}):
        options = {**kernel, **options}
        expected = kise(phi[few], X=X[few], **options)
        result = kise(Sliced(phi[few]), X=Sliced(X[few]), **options)
        assert result.loss == expected.loss
        np.testing.assert_array_equal(result.grad_phi, expected.grad_phi)


PROGRAM = """
import sys, numpy as np, eigencontext as ec

def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

class File:
    def __init__(self, path, n, d):
        self.path, self.n, self.d = path, n, d
    def __len__(self):
        return self.n
    def __getitem__(self, rows):
        begin, end, _ = rows.indices(self.n)
        count = (end - begin) * self.d
        return np.fromfile(self.path, np.float32, count, offset=begin * self.d * 4).reshape(-1, self.d)

path, n, d = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
phi, X = File(path, n, d), File(path + "x", n, 4)
ec.objectives.kise(File(path, 4096, d), X=File(path + "x", 4096, 4), bandwidth=2.0)
before = peak()
print(ec.objectives.kise(phi, X=X, bandwidth=2.0, grad=()).loss, peak() - before)
"""


@pytest.mark.memory
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_a_quarter_in_memory(tmp_path):
    """N = 16384: no more memory than a quarter of the rows take, whose own blocks are the largest there are."""
    n, d, rng = 16384, 256, np.random.default_rng(0)
    path = tmp_path / "rows"
    phi, X = rng.standard_normal((n, d), dtype=np.float32), rng.standard_normal((n, 4), dtype=np.float32)
    phi.tofile(path)
    X.tofile(str(path) + "x")
    run = [sys.executable, "-c", PROGRAM, str(path), str(n), str(d)]
    loss, grown = map(float, subprocess.run(run, capture_output=True, check=True).stdout.split())
    np.testing.assert_allclose(loss, kise(phi, X=X, bandwidth=2.0, grad=()).loss, rtol=1e-5)
    print(f"{grown:.1f} MiB more than for a quarter of the rows; all rows: {phi.nbytes / 2**20:.0f} MiB")
    assert grown < phi.nbytes / 2**20 / 4


def test_overflow_names_the_embeddings():
    """Their scale, not that of what was made of them; and no warning on the way."""
    phi, X, y, _ = data()
    huge = np.clip(phi, -1, 1).astype(np.float32) * np.float32(1e20)
    link = ({"kernel": "rbf", "bandwidth": 1.0}, X)
    for call in (
        lambda: kise(huge, labels=y),
        lambda: kise(huge, X=X, bandwidth=1.0),
        lambda: objectives.chain(huge, huge, [link]),
    ):
        with np.errstate(all="raise"), pytest.raises(OverflowError, match=r"max \|phi\| = 1e\+20[,)](?!.*psi)"):
            call()
