"""KISE against the formulas of THEORY 4 written out with the whole kernel matrix, in float64."""

import numpy as np
import pytest

import eigencontext as ec
from eigencontext.objectives import kise

KERNELS = {
    "rbf": lambda X: np.exp(-np.square(X[:, None] - X[None]).sum(-1) / (2 * 1.3**2)),
    "laplacian": lambda X: np.exp(-np.abs(X[:, None] - X[None]).sum(-1) / 1.3),
    "cosine": lambda X: (1 + unit(X) @ unit(X).T) / 2,
    "polynomial": lambda X: np.maximum(0, X @ X.T / X.shape[1] + 0.7) ** 2,
}


ROWS = 700


def unit(X):
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(norms == 0, 1, norms)


def options(kernel):
    if kernel == "polynomial":
        return {"kernel": kernel, "degree": 2, "coef0": 0.7, "dual": "walk"}
    return {"kernel": kernel, **({} if kernel == "cosine" else {"bandwidth": 1.3})}


def walk(K):
    W = K / K.sum(1, keepdims=True)
    return W / W.mean(0) @ W.T


def reference(phi, K, diagonal=True, alpha=1.0, beta=1.0, eps=1e-4, ddof=1):
    """(loss, dPhi) as THEORY 4 prints them."""
    phi, (n, d) = phi.astype(np.float64), phi.shape
    divisor = n
    if not diagonal:
        K, divisor = K - np.diag(np.diag(K)), n - 1
    B = phi - phi.mean(0)
    S = B.T @ B / (n - ddof)
    sigma = np.sqrt(np.diag(S) + eps)
    off = S - np.diag(np.diag(S))
    pairs = max(d * (d - 1), 1)
    data = ((B * B).sum() - (B * (K @ B)).sum() / divisor) / (n * d)
    loss = (data + alpha * np.maximum(0, 1 - sigma).mean() + beta * (off**2).sum() / pairs) / (1 + alpha + beta)
    G = alpha * np.diag(-1.0 * (sigma < 1) / (d * (n - ddof) * sigma)) + 4 * beta * off / (pairs * (n - ddof))
    grad = 2 * (B - (K + K.T) @ B / (2 * divisor)) / (n * d) + B @ G
    return loss, (grad - grad.mean(0)) / (1 + alpha + beta)


def batch(n, p, d, dtype, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    X[0] = 0  # a zero vector: cos = 0
    phi = 0.6 * np.tanh(X @ rng.standard_normal((p, d))) + 0.1 * rng.standard_normal((n, d)) + 3
    return X.astype(dtype), phi.astype(dtype)


def assert_same(result, loss, grad, dtype):
    tolerance = 1e-11 if dtype == np.float64 else 2e-5
    assert result.grad_phi.dtype == dtype
    np.testing.assert_allclose(result.loss, loss, rtol=tolerance, atol=tolerance)
    assert np.abs(result.grad_phi - grad).max() <= tolerance * np.abs(grad).max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize(
    ("kernel", "dual"),
    [(kernel, dual) for kernel in KERNELS for dual in ("raw", "walk") if (kernel, dual) != ("polynomial", "raw")],
)
def test_formula(kernel, dual, diagonal, dtype):
    X, phi = batch(ROWS, 5, 6, dtype)
    K = KERNELS[kernel](X.astype(np.float64))
    loss, grad = reference(phi, walk(K) if dual == "walk" else K, diagonal, 0.7, 0.3, 1e-3, 0)
    result = kise(
        phi, X=X, **{**options(kernel), "dual": dual}, diagonal=diagonal, alpha=0.7, beta=0.3, eps=1e-3, ddof=0
    )
    assert_same(result, loss, grad, dtype)


@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("case", ["rbf", "walk", "polynomial", "labels", "teacher"])
def test_central_differences(case, diagonal):
    X, phi = batch(23, 3, 4, np.float64)
    rng = np.random.default_rng(1)
    given = {
        "rbf": {"X": X, "bandwidth": 1.3},
        "walk": {"X": X, "bandwidth": 1.3, "dual": "walk"},
        "polynomial": {"X": X, "kernel": "polynomial", "dual": "walk"},
        "labels": {"labels": np.arange(23) % 3},
        "teacher": {"teacher": rng.standard_normal((23, 5))},
    }[case]

    def loss(values):
        return kise(values, diagonal=diagonal, grad=(), **given).loss

    grad, step = kise(phi, diagonal=diagonal, **given).grad_phi, 1e-5
    for _ in range(5):
        direction = rng.standard_normal(phi.shape)
        slope = (loss(phi + step * direction) - loss(phi - step * direction)) / (2 * step)
        np.testing.assert_allclose((grad * direction).sum(), slope, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("diagonal", [True, False])
def test_labels(diagonal, dtype):
    _, phi = batch(300, 3, 5, dtype)
    y = np.random.default_rng(2).integers(0, 7, 300)
    K = (y[:, None] == y[None]) * (300 / np.bincount(y)[y])[:, None]
    assert_same(kise(phi, labels=y, diagonal=diagonal), *reference(phi, K, diagonal), dtype)
    names = np.array([f"class {label}" for label in y])
    assert kise(phi, labels=names, diagonal=diagonal).loss == kise(phi, labels=y, diagonal=diagonal).loss


def test_labels_of_all_the_data():
    """n and n_y are those of the fitted context, not of the batch."""
    y = np.random.default_rng(3).integers(0, 5, 400)
    rows = np.random.default_rng(4).choice(400, 60, replace=False)
    _, phi = batch(60, 3, 4, np.float64)
    K = (y[rows][:, None] == y[rows][None]) * (400 / np.bincount(y)[y[rows]])[:, None]
    assert_same(kise(phi, labels=(ec.contexts.labels(y), rows)), *reference(phi, K), np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("how", [{}, {"threshold": 0.5, "relative": True}, {"threshold": 12.5}])
@pytest.mark.parametrize("diagonal", [True, False])
def test_teacher(diagonal, how, dtype):
    _, phi = batch(200, 3, 5, dtype)
    Z = np.random.default_rng(5).standard_normal((200, 4)) * [1, 0.8, 0.3, 1e-17] + 5
    U, s, _ = np.linalg.svd(Z - Z.mean(0), full_matrices=False)
    keep = s > 1e-10 * s[0]
    r = (s / s[0])[keep]
    if how:
        r = ((r if how.get("relative") else s[keep]) >= how["threshold"]).astype(float)
        assert 0 < r.sum() < len(r)
    F = np.sqrt(200) * U[:, keep] * r
    assert_same(kise(phi, teacher=Z, diagonal=diagonal, **how), *reference(phi, 1 + F @ F.T, diagonal), dtype)


def test_optimum_of_a_walk():
    """THEORY 6.11: with a context's dual kernel and Phi any rotation of its first d functions the loss is
    (d - sum s_i^2)/d, and the gradient along the constraint is 0."""
    X, _ = batch(400, 3, 1, np.float64)
    n, d = 400, 5
    K = walk(KERNELS["rbf"](X))
    values, vectors = np.linalg.eigh(K / n)
    order = np.argsort(values)[::-1][1 : d + 1]  # without the constant
    assert abs(values.max() - 1) < 1e-12
    Q = np.linalg.qr(np.random.default_rng(6).standard_normal((d, d)))[0]
    phi = np.sqrt(n) * vectors[:, order] @ Q
    result = kise(phi, X=X, bandwidth=1.3, dual="walk", alpha=0, beta=0)
    np.testing.assert_allclose(result.loss, (d - values[order].sum()) / d, rtol=1e-10)
    projected = result.grad_phi - phi @ (phi.T @ result.grad_phi) / n
    assert np.abs(projected).max() <= 1e-10 * np.abs(result.grad_phi).max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_strides_and_out(dtype):
    X, phi = batch(150, 4, 6, dtype)
    expected = kise(phi, X=X, bandwidth=1.3)
    big = np.zeros((300, 20), dtype)
    big[::2, 4:16:2] = phi
    views = [np.asfortranarray(phi), big[::2, 4:16:2], phi[::-1][::-1], np.ascontiguousarray(phi[:, ::-1])[:, ::-1]]
    for view in views:
        assert np.array_equal(kise(view, X=np.asfortranarray(X), bandwidth=1.3).grad_phi, expected.grad_phi)
    out = np.full((150, 12), 7, dtype)
    result = kise(phi, X=X, bandwidth=1.3, out=out[:, ::2])
    assert np.array_equal(out[:, ::2], expected.grad_phi) and (out[:, 1::2] == 7).all()
    assert np.shares_memory(result.grad_phi, out)
    assert kise(phi, X=X, bandwidth=1.3, grad=()).grad_phi is None


@pytest.mark.parametrize("given", ["rbf", "walk", "labels", "teacher"])
def test_threads_do_not_change_a_bit(given):
    X, phi = batch(1500, 4, 7, np.float32)
    arguments = {
        "rbf": {"X": X, "bandwidth": 1.3},
        "walk": {"X": X, "bandwidth": 1.3, "dual": "walk"},
        "labels": {"labels": np.arange(1500) % 7},
        "teacher": {"teacher": X},
    }[given]
    before, results = ec.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            ec.set_num_threads(threads)
            results.append(kise(phi, **arguments))
    finally:
        ec.set_num_threads(before)
    for other in results[1:]:
        assert other.loss == results[0].loss and np.array_equal(other.grad_phi, results[0].grad_phi)


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_scales(scale):
    """float32 at scales whose squares leave it: finite where the value fits."""
    X, phi = batch(200, 3, 4, np.float64)
    small = (phi * scale).astype(np.float32)
    loss, grad = reference(small, KERNELS["rbf"](X), alpha=1, beta=0)
    result = kise(small, X=X, bandwidth=1.3, beta=0)
    np.testing.assert_allclose(result.loss, loss, rtol=1e-4)
    assert np.abs(result.grad_phi - grad).max() <= 1e-4 * np.abs(grad).max()


def test_overflow_names_the_scale():
    X, phi = batch(50, 3, 4, np.float32)
    with pytest.raises(OverflowError, match="phi"):
        kise(phi * np.float32(1e20), X=X, bandwidth=1.3)  # the covariance term's gradient is 1e60


def test_collapsed_and_small():
    X, _ = batch(40, 3, 4, np.float64)
    result = kise(np.full((40, 4), 2.5), X=X, bandwidth=1.3)
    np.testing.assert_allclose(result.loss, (1 - 0.01) / 3, rtol=1e-12)
    assert (result.grad_phi == 0).all()
    for n, d in [(2, 3), (5, 9), (9, 1)]:
        X, phi = batch(n, 2, d, np.float64)
        assert_same(kise(phi, X=X, bandwidth=1.3), *reference(phi, KERNELS["rbf"](X)), np.float64)


def test_bad_input():
    X, phi = batch(20, 3, 4, np.float64)
    bad = phi.copy()
    bad[3, 1] = np.nan
    for arguments, error, words in [
        ({"phi": phi}, ValueError, "X, labels, teacher: got none"),
        ({"phi": phi, "X": X, "labels": np.zeros(20, int)}, ValueError, "exactly one"),
        ({"phi": phi, "X": X}, ValueError, "bandwidth"),
        ({"phi": phi, "X": X, "bandwidth": "median"}, ValueError, "bandwidth"),
        ({"phi": phi, "X": X, "bandwidth": 0.0}, ValueError, "bandwidth"),
        ({"phi": phi, "X": X[:9], "bandwidth": 1.0}, ValueError, "X: got 9 rows; allowed: 20"),
        ({"phi": phi, "X": X, "kernel": "polynomial"}, ValueError, "allowed: 'walk'"),
        ({"phi": phi, "X": X, "kernel": "cosine", "bandwidth": 1.0}, ValueError, "bandwidth"),
        ({"phi": phi, "X": X, "bandwidth": 1.0, "dual": "both"}, ValueError, "dual"),
        ({"phi": phi, "X": X, "kernel": "sigmoid"}, ValueError, "kernel"),
        ({"phi": bad, "X": X, "bandwidth": 1.0}, ValueError, r"phi: got nan at \[3, 1\]"),
        ({"phi": phi, "X": bad, "bandwidth": 1.0}, ValueError, "X: got nan"),
        ({"phi": phi[:1], "X": X[:1], "bandwidth": 1.0}, ValueError, "N = 1"),
        ({"phi": phi[:1], "X": X[:1], "bandwidth": 1.0, "ddof": 0, "diagonal": False}, ValueError, "N = 1"),
        ({"phi": phi.astype(int), "X": X, "bandwidth": 1.0}, TypeError, "floating point"),
        ({"phi": phi, "labels": [0] * 19 + [1]}, ValueError, "once"),
        ({"phi": phi, "teacher": np.ones((20, 3))}, ValueError, "teacher"),
        ({"phi": phi, "X": -np.ones((20, 1)) * [[1.0]], "kernel": "polynomial", "coef0": -2.0, "dual": "walk"},
         ValueError, "all 0"),
    ]:  # fmt: skip
        with pytest.raises(error, match=words):
            kise(**arguments)
