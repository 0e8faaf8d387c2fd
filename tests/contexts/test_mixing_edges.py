"""Mixing at its edges: losses of any size, everything mixed with everything, and the memory that a product takes."""

import subprocess
import sys
import warnings

import context_oracles as oracles
import numpy as np
import pytest

import eigencontext as ec

X = np.random.default_rng(0).normal(size=(30, 3))


def dense(ctx):
    return ctx.operator @ np.eye(ctx.shape[1])


def conditional(ctx):
    return dense(ctx) / np.sqrt(ctx.p_x)[:, None] * np.sqrt(ctx.p_a)


@pytest.mark.parametrize("scale", [1e308, 1e-300, 5e-324])
def test_losses_of_any_size(scale):
    """Standardising forgets scale and origin: -s, s, s is -1, 1, 1."""
    expected = ec.contexts.minmax_weights([0.2, 0.3, 0.5], [-1.0, 1.0, 1.0], 0.7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = ec.contexts.minmax_weights([0.2, 0.3, 0.5], np.array([-1.0, 1.0, 1.0]) * scale, 0.7)
        np.testing.assert_allclose(got, expected, rtol=1e-12)
        # 1e308 and -1e308 alone: z = 1 and -1, weights 0.5 e^{+-eta}
        pair = ec.contexts.minmax_weights([0.5, 0.5], [-1e308, 1e308], 1.0)
    np.testing.assert_allclose(pair, np.array([np.exp(-1), np.exp(1)]) / (2 * np.cosh(1)), rtol=1e-12)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e308, 0.0, -7.3])
def test_equal_losses_change_nothing(value):
    """Three times 0.1 has a mean that is not 0.1: its rounding must not be standardised."""
    w = np.array([0.2, 0.3, 0.5])
    np.testing.assert_array_equal(ec.contexts.minmax_weights(w, [value] * 3, 5.0), w)


def test_a_step_of_any_size():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(ec.contexts.minmax_weights([0.5, 0.25, 0.25], [1, 2, 2], 1e308), [0, 0.5, 0.5])
        # the worst has no weight, so the next gets all of it
        np.testing.assert_array_equal(ec.contexts.minmax_weights([0.5, 0.5, 0.0], [1, 2, 3], 1e6), [0, 1, 0])
        np.testing.assert_array_equal(ec.contexts.minmax_weights([0.3, 0.7], [1, 2], 0.0), [0.3, 0.7])


def test_everything_in_everything():
    """A mixture of a convolution, a mixture and the walk of a mixture; then that, convolved and walked."""
    rbf, near = ec.contexts.kernel(X, bandwidth=1.0), ec.contexts.neighbors(X, 5)
    labels = ec.contexts.labels(np.arange(30) % 4)
    masked, paired = ec.contexts.masked_kernel(X, 4), ec.contexts.pairs(X, X[:, ::-1])
    inner = ec.contexts.mixture([rbf, masked], [0.3, 0.7])
    chain = near @ paired
    outer = ec.contexts.mixture([chain, inner, inner.walk(), labels], [0.4, 0.3, 0.2, 0.1])
    W = [conditional(c) for c in (rbf, near, labels, masked, paired)]
    inner_W = np.hstack([0.3 * W[0], 0.7 * W[3]])
    back = inner_W.T / inner_W.sum(0)[:, None]
    outer_W = np.hstack([0.4 * W[1] @ W[4], 0.3 * inner_W, 0.2 * inner_W @ back, 0.1 * W[2]])
    np.testing.assert_allclose(dense(outer), oracles.normalized(outer_W), atol=1e-12)
    assert list(outer.offsets) == [0, 30, 90, 120] and outer.shape == (30, 124)
    oracles.check_spectrum(outer, oracles.reference(outer_W), k=5)
    to_labels = outer @ ec.contexts.labels(np.arange(124) % 7)
    joint = outer_W @ np.eye(7)[np.arange(124) % 7]
    spec = oracles.check_spectrum(to_labels, oracles.reference(joint))
    np.testing.assert_allclose(spec.transform([X, X, X, np.arange(30) % 4]), spec.left, atol=1e-8)
    walk = outer.walk()
    s = oracles.reference(outer_W)
    np.testing.assert_allclose(ec.spectrum(walk, k=4, tol=0).singular_values, s[:4] ** 2, atol=1e-12)


def test_which_member_does_not_match():
    uniform, other = ec.contexts.labels(np.arange(30) % 4), ec.contexts.kernel(X, marginal="stationary")
    with pytest.raises(ValueError, match=r"p_x of member 2 \(kernel\) differs from that of member 0 \(labels\) by"):
        ec.contexts.mixture([uniform, uniform, other], [0.2, 0.3, 0.5])
    mixed = ec.contexts.mixture([uniform, other], [0.5, 0.5], p=np.full(30, 1 / 30))
    W = np.hstack([0.5 * conditional(uniform), 0.5 * conditional(other)])
    np.testing.assert_allclose(dense(mixed), oracles.normalized(W), atol=1e-12)


def test_spaces_that_differ():
    three, pairs = ec.contexts.labels(np.arange(30) % 3), ec.contexts.pairs(X, X)
    for first, second, sizes in ((three, pairs, "3 .* 30 inputs"), (pairs, ec.contexts.lagged(X), "30 .* 29 inputs")):
        with pytest.raises(ValueError, match=f"c1 @ c2: c1 .* has {sizes}; allowed: equal numbers"):
            first @ second


@pytest.mark.parametrize("make", ["pairs(X, X)", "masked_kernel(X, 3)", "mixture([pairs(X, X)] * 2, [0.5, 0.5])"])
def test_nothing_of_size_n_squared_is_stored(make):
    """Making it and a product: less than half of one n x n matrix in float32, beyond what n = 200 takes."""
    program = (
        "import sys, resource, numpy as np, eigencontext as ec\n"
        "from eigencontext.contexts import *\n"
        "X = np.random.default_rng(0).normal(size=(int(sys.argv[1]), 3)).astype(np.float32)\n"
        f"ctx = {make}\n"
        "ctx.operator.rmatmat(ctx.operator.matmat(np.ones((ctx.shape[1], 4), np.float32)))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    small, large = (
        int(subprocess.run([sys.executable, "-c", program, n], capture_output=True, check=True, text=True).stdout)
        for n in ("200", "6000")
    )
    assert 1024 * (large - small) < 6000**2 * 4 / 2
