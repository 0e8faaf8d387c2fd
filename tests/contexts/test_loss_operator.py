"""Supervised loss operators against dense formulas, known spectra, and the losses that they come from."""

import context_oracles as oracles
import numpy as np
import pytest

import eigencontext as ec

RNG = np.random.default_rng(0)
C = oracles.random_counts(1, 9, 6)
Y = RNG.normal(size=(6, 3)) + 4.0
X = RNG.normal(size=(9, 2)) - 3.0

#: k includes zeros, any of which may come first
ZEROS = pytest.mark.filterwarnings("ignore::eigencontext.ClusterWarning")


def dense_formula(ctx, loss, values, centered):
    M = ctx.operator.astype(np.float64) @ np.eye(ctx.shape[1])
    p, q = ctx.p_x, ctx.p_a
    if centered:
        M = M - np.sqrt(np.outer(p, q))
    if loss == "class_balanced":
        return M @ M.T
    if loss == "denoising":
        K = np.sqrt(p)[:, None] * (values @ values.T) * np.sqrt(p)
        return M.T @ K @ M
    K = np.eye(len(q)) if loss == "one_hot" else values @ values.T
    return M @ (np.sqrt(q)[:, None] * K * np.sqrt(q)) @ M.T


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize(
    "loss, values", [("one_hot", None), ("class_balanced", None), ("regression", Y), ("denoising", X)]
)
def test_dense_formulas(loss, values, centered, dtype):
    ctx = ec.contexts.counts(C.astype(dtype))
    op = ec.contexts.loss_operator(ctx, loss, values, centered)
    expected = dense_formula(ctx, loss, values, centered)
    assert op.shape == expected.shape and op.symmetric and op.dtype == dtype
    limit = oracles.tolerance(ctx) * (1 if values is None else np.square(values).sum(1).max())
    np.testing.assert_allclose(op @ np.eye(len(expected), dtype=dtype), expected, atol=limit)
    result = ec.eigh(op, 2, tol=0)
    np.testing.assert_allclose(result[0], np.linalg.eigvalsh(expected)[::-1][:2], atol=limit)
    if centered:
        weights = ctx.p_a if loss == "denoising" else ctx.p_x
        np.testing.assert_allclose(op @ np.sqrt(weights).astype(dtype), 0, atol=limit)


@ZEROS
def test_one_hot_of_labels_sees_the_shares_of_the_classes():
    ctx = ec.contexts.labels(np.repeat([0, 1, 2], [6, 3, 1]))
    w, V = ec.eigh(ec.contexts.loss_operator(ctx, "one_hot", centered=False), 4, tol=0)
    np.testing.assert_allclose(w, [0.6, 0.3, 0.1, 0], atol=1e-12)
    np.testing.assert_allclose(np.abs(V[:, 1]) * np.sqrt(3), np.repeat([0, 1, 0], [6, 3, 1]), atol=1e-12)
    w, _ = ec.eigh(ec.contexts.loss_operator(ctx, "class_balanced"), 3, tol=0)
    np.testing.assert_allclose(w, [1, 1, 0], atol=1e-12)  # every class the same, the constant taken out
    same = ec.contexts.loss_operator(ctx, "class_balanced", centered=False) @ np.eye(10)
    y = np.repeat([0, 1, 2], [6, 3, 1])
    np.testing.assert_allclose(10 * same, (y[:, None] == y) * 10 / np.bincount(y)[y], atol=1e-12)  # k_X = [y=y'] n/n_y


@ZEROS
def test_regression_is_the_covariance_of_the_targets():
    """A = y, each input with a context value of its own: eigenvalues of Cov(y), functions its principal components."""
    targets = RNG.normal(size=(20, 3)) @ np.diag([3.0, 2.0, 1.0]) + 7
    op = ec.contexts.loss_operator(ec.contexts.labels(range(20)), "regression", targets)
    w, V = ec.eigh(op, 4, tol=0)
    np.testing.assert_allclose(w, [*np.linalg.eigvalsh(np.cov(targets.T, bias=True))[::-1], 0], atol=1e-12)
    S = ec.spectrum(ec.contexts.teacher(targets), tol=0)
    np.testing.assert_allclose(np.abs(V[:, :3].T @ S.left / np.sqrt(20)), np.eye(3), atol=1e-10)


@ZEROS
def test_denoising_of_a_gaussian_channel():
    """E[x|a] = rho a: T* Lambda T has the one eigenvalue rho^2, the function a; T of it is rho^2 x."""
    rho = 0.7
    x, _ = np.polynomial.hermite_e.hermegauss(40)
    ctx = ec.contexts.counts(oracles.gauss_hermite(rho))
    w, V = ec.eigh(ec.contexts.loss_operator(ctx, "denoising", x[:, None]), 2, tol=0)
    np.testing.assert_allclose(w, [rho**2, 0], atol=1e-8)
    psi = V[:, 0] / np.sqrt(ctx.p_a)
    inside = np.abs(x) < 5  # beyond, the nodes weigh less than rounding
    np.testing.assert_allclose(psi[inside] * np.sign(psi[-1]), x[inside], atol=1e-6)
    phi = (ctx.operator @ V)[:, 0] / np.sqrt(ctx.p_x)
    np.testing.assert_allclose(phi[inside] * np.sign(psi[-1]), rho * x[inside], atol=1e-6)


@pytest.mark.parametrize("loss", ["one_hot", "class_balanced", "regression"])
def test_the_best_encoder_is_the_top_of_the_operator(loss):
    """The least squared error of d orthonormal functions and a linear head is the trace less the top d eigenvalues, and
    no other d functions reach it."""
    ctx = ec.contexts.counts(C)
    p, q = ctx.p_x, ctx.p_a
    W = (C / C.sum(1, keepdims=True)) @ (Y if loss == "regression" else np.eye(6))
    W = W / np.sqrt(q) if loss == "class_balanced" else W  # error of component a times 1/q(a)
    W = W - p @ W  # the bias

    def error(functions):
        head = np.linalg.lstsq(np.sqrt(p)[:, None] * functions, np.sqrt(p)[:, None] * W, rcond=None)[0]
        return p @ np.square(W - functions @ head).sum(1)

    op = ec.contexts.loss_operator(ctx, loss, Y if loss == "regression" else None)
    w, V = ec.eigh(op, 2, tol=0)
    best = error(V / np.sqrt(p)[:, None])
    np.testing.assert_allclose(best, np.trace(op @ np.eye(9)) - w.sum(), atol=1e-12)
    assert all(error(RNG.normal(size=(9, 2))) > best for _ in range(20))


def test_empty_inputs_and_context_values():
    holed = np.zeros((11, 7))
    rows, columns = np.delete(np.arange(11), [0, 4]), np.delete(np.arange(7), 2)
    holed[np.ix_(rows, columns)] = C
    with pytest.warns(UserWarning, match="empty"):
        ctx = ec.contexts.counts(holed)
    values = np.full((7, 3), 1e9)
    values[columns] = Y
    op = ec.contexts.loss_operator(ctx, "regression", values)
    np.testing.assert_allclose(op @ np.eye(9), dense_formula(ctx, "regression", Y, True), atol=1e-12)


def test_bad_input():
    ctx, loss_operator = ec.contexts.counts(C), ec.contexts.loss_operator
    with pytest.raises(TypeError, match="ctx: got ndarray; allowed: a context"):
        loss_operator(C, "one_hot")
    with pytest.raises(ValueError, match="loss: got 'hinge'"):
        loss_operator(ctx, "hinge")
    with pytest.raises(TypeError, match="centered"):
        loss_operator(ctx, "one_hot", centered=1)
    with pytest.raises(ValueError, match="values: got some for loss='one_hot'"):
        loss_operator(ctx, "one_hot", Y)
    for loss, side, size in (("regression", "context value", 6), ("denoising", "input", 9)):
        with pytest.raises(ValueError, match=f"values: got None for loss='{loss}'; allowed: one row for every {side}"):
            loss_operator(ctx, loss)
        with pytest.raises(ValueError, match=f"values: got 4 rows; allowed: {size}, one for every {side}"):
            loss_operator(ctx, loss, Y[:4])
    with pytest.raises(ValueError, match=r"values: got entries up to .*e\+200; allowed: entries whose squares float64"):
        loss_operator(ctx, "regression", 1e200 * Y)
    with pytest.raises(ValueError, match="values: got nan"):
        loss_operator(ctx, "regression", np.full((6, 1), np.nan))
