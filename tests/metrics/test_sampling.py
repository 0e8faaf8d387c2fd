"""The statistical error of a spectrum against what fresh data really do."""

import numpy as np
import pytest
import scipy.sparse as sp
from metric_oracles import bits, functions

import eigencontext as ec

sampling_error = ec.metrics.sampling_error


def joint(seed, n=6, m=5):
    P = np.random.default_rng(seed).gamma(0.5, size=(n, m)) + 0.05
    return P / P.sum()


def span_distance(mu, left, p):
    """For every d: 1 - mean squared cosine between the first d of both."""
    root = np.sqrt(p)[:, None]
    A, B = (np.linalg.qr(root * (X - p @ X))[0] for X in (mu, left))
    C = (A.T @ B) ** 2
    return np.array([1 - C[:d, :d].sum() / d for d in range(1, C.shape[0] + 1)])


def test_a_binary_channel_has_the_delta_method_s_error():
    """s_1 = |1 - 2e|, estimated from N uses of the channel: 2 sqrt(e (1-e) / N)."""
    N, e = 4000, 0.1
    rng = np.random.default_rng(0)
    options = {"resample": "counts", "n_resamples": 60}
    tables = [rng.multinomial(N, bits(1, e).ravel()).reshape(2, 2) for _ in range(12)]
    errors = [sampling_error(ec.contexts.counts, C, 1, **options).standard_error[0] for C in tables]
    # known to 1/sqrt(2 * 60 * 12) = 2.6 percent
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(errors))), 2 * np.sqrt(e * (1 - e) / N), rtol=0.12)


@pytest.mark.parametrize("resample", ["counts", "rows"])
def test_fresh_data_move_as_far_as_is_estimated(resample):
    P = joint(1)
    s, mu, _ = functions(P)
    N, k = 3000, 2
    rng = np.random.default_rng(0)
    values, spans, estimates = [], [], []

    def table(pairs):
        return ec.contexts.counts(np.histogram2d(pairs[:, 0], pairs[:, 1], bins=(6, 5), range=((0, 6), (0, 5)))[0])

    for trial in range(150):
        C = rng.multinomial(N, P.ravel()).reshape(P.shape)
        spec = ec.spectrum(ec.contexts.counts(C), k=k, tol=1e-9)
        values.append(spec.singular_values)
        spans.append(span_distance(mu[:, :k], spec.left, P.sum(1)))
        if trial < 8:
            pairs = np.repeat(np.argwhere(C), C[C > 0], axis=0)
            given = (ec.contexts.counts, C) if resample == "counts" else (table, rng.permutation(pairs))
            estimates.append(sampling_error(*given, k, resample=resample, n_resamples=30, tol=1e-9))
            np.testing.assert_allclose(estimates[-1].singular_values, values[-1], atol=1e-9)
    true = np.std(values, axis=0)
    found = np.sqrt(np.mean([e.standard_error**2 for e in estimates], axis=0))
    np.testing.assert_allclose(found, true, rtol=0.25)  # 8 estimates, each 13 percent; 150 truths, 6 percent
    np.testing.assert_allclose(np.mean([e.span for e in estimates], axis=0), np.mean(spans, axis=0), rtol=0.4)
    bias = np.mean(values, axis=0) - s[:k]
    assert (np.abs(np.mean([e.bias for e in estimates], axis=0) - bias) < 0.5 * true).all()


def test_points_whose_context_is_made_of_them():
    """More points, less movement: the span's distance is of order 1/n."""

    def make(X):
        return ec.contexts.kernel(X, bandwidth=0.2)

    rng = np.random.default_rng(0)
    few, many = (sampling_error(make, rng.random((n, 2)) * [2, 1], 3, n_resamples=10) for n in (150, 1200))
    assert (few.standard_error > 1.5 * many.standard_error).all()
    assert few.span[0] > 3 * many.span[0] > 0
    assert ((0 <= many.span) & (many.span <= 1)).all()
    assert few.values.shape == (10, 3)


def test_seeds_and_forms():
    C = np.random.default_rng(0).poisson(20.0, size=(7, 6))
    first = sampling_error(ec.contexts.counts, C, 2, resample="counts", seed=1)
    again = sampling_error(ec.contexts.counts, C, 2, resample="counts", seed=1)
    other = sampling_error(ec.contexts.counts, C, 2, resample="counts", seed=2)
    np.testing.assert_array_equal(first.values, again.values)
    assert (first.values != other.values).all()
    sparse = sampling_error(ec.contexts.counts, sp.coo_array(C), 2, resample="counts", seed=1)
    assert ((sparse.standard_error > 0) & (sparse.standard_error < 0.2)).all()


def test_certain_values_do_not_move():
    """Labels have s = 1 whatever the sample."""
    y = np.repeat([0, 1, 2], 30)
    found = sampling_error(ec.contexts.labels, y, 2)
    assert found.standard_error.max() < 1e-7 and np.abs(found.bias).max() < 1e-7 and found.span[1] < 1e-7


X = np.random.default_rng(0).normal(size=(20, 2))


def neighbors(X):
    return ec.contexts.neighbors(X, 4)


@pytest.mark.parametrize(
    "arguments, options, error, message",
    [
        ((X, X, 2), {}, TypeError, "make_context: got ndarray"),
        ((lambda X: X, X, 2), {}, TypeError, "make_context: returned a ndarray"),
        ((neighbors, X[:3], 2), {}, ValueError, r"data: got shape \(3, 2\)"),
        ((neighbors, X, 0), {}, ValueError, "k: got 0"),
        ((neighbors, X, 2), {"n_resamples": 1}, ValueError, "n_resamples: got 1"),
        ((neighbors, X, 2), {"resample": "bootstrap"}, ValueError, "resample: got 'bootstrap'"),
        ((ec.contexts.counts, np.abs(X), 1), {"resample": "counts"}, ValueError, "data: got negative or fractional"),
        ((lambda X: neighbors(X[: len(X) - 5]), X, 2), {}, ValueError, "make_context: gives 15 inputs of all"),
        ((neighbors, X, 2), {"seed": 0.5}, TypeError, "seed: got 0.5"),
    ],
)
def test_bad_input(arguments, options, error, message):
    with pytest.raises(error, match=message):
        sampling_error(*arguments, **options)
