"""Chains against THEORY 4 written out with every kernel matrix, in float64."""

import numpy as np
import pytest

import eigencontext as ec
from eigencontext.objectives import chain, kise, svme

RBF = {"kernel": "rbf", "bandwidth": 1.3}
LAPLACIAN = {"kernel": "laplacian", "bandwidth": 2.0}
COSINE = {"kernel": "cosine"}
POLYNOMIAL = {"kernel": "polynomial", "degree": 2, "coef0": 0.5}


def matrix(options, x, a):
    difference = x[:, None] - a[None]
    if options["kernel"] == "rbf":
        return np.exp(-np.square(difference).sum(-1) / (2 * options["bandwidth"] ** 2))
    if options["kernel"] == "laplacian":
        return np.exp(-np.abs(difference).sum(-1) / options["bandwidth"])
    if options["kernel"] == "cosine":
        return (1 + (x / np.linalg.norm(x, axis=1)[:, None]) @ (a / np.linalg.norm(a, axis=1)[:, None]).T) / 2
    return np.maximum(0, x @ a.T / x.shape[1] + options["coef0"]) ** options["degree"]


def reference(phi, phi_0, links, psi=None, alpha=1.0, beta=1.0):
    """The loss, step by step."""
    n, d = phi.shape
    B = phi - phi_0.mean(0)
    for options, x_0, x in links if psi is not None else links[:-1]:
        B = matrix(options, x_0, x).T @ B / n
    if psi is not None:
        C = psi - psi.mean(0)
        data = ((B * B).sum() + (C * C).sum() - 2 * (B * C).sum()) / (n * d)
    else:
        options, x_0 = links[-1]
        data = ((B * B).sum() - (B * (matrix(options, x_0, x_0) @ B)).sum() / n) / (n * d)
    S = B.T @ B / (n - 1)
    sigma = np.sqrt(B.var(axis=0, ddof=1) + 1e-4)
    covariance = ((S - np.diag(np.diag(S))) ** 2).sum() / max(d * (d - 1), 1)
    return (data + alpha * np.maximum(0, 1 - sigma).mean() + beta * covariance) / (1 + alpha + beta)


def inputs(n, d, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    x_0 = rng.standard_normal((n, 3)) + 1
    x_1, x_2 = (x_0 + 0.4 * rng.standard_normal((n, 3)) for _ in range(2))
    phi, phi_0, psi = (rng.standard_normal((n, d)) + [2] * d for _ in range(3))
    return [a.astype(dtype) for a in (x_0, x_1, x_2, phi, phi_0, psi)]


def chains(x_0, x_1, x_2, psi):
    return {
        "kernel": ([(RBF, x_0)], None),
        "sampler": ([], psi),
        "kernel, kernel": ([(RBF, x_0, x_0), (LAPLACIAN, x_0)], None),
        "kernel, sampler, kernel": ([(LAPLACIAN, x_0, x_1), (COSINE, x_0)], None),
        "kernel, sampler": ([(POLYNOMIAL, x_0, x_0)], psi),
        "kernel, sampler, kernel, sampler, sampler": ([(RBF, x_0, x_1), (COSINE, x_0, x_2)], psi),
    }


NAMES = list(chains(*[None] * 4))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_formula(name, dtype):
    x_0, x_1, x_2, phi, phi_0, psi = inputs(300, 5, dtype)
    links, end = chains(x_0, x_1, x_2, psi)[name]
    wide = [a.astype(np.float64) for a in (x_0, x_1, x_2, psi)]
    wide_links, wide_end = chains(*wide)[name]
    expected = reference(phi.astype(np.float64), phi_0.astype(np.float64), wide_links, wide_end, 0.7, 0.4)
    result = chain(phi, phi_0, links, psi=end, alpha=0.7, beta=0.4)
    np.testing.assert_allclose(result.loss, expected, rtol=1e-11 if dtype == np.float64 else 1e-5)
    exact = chain(phi.astype(np.float64), phi_0.astype(np.float64), wide_links, psi=wide_end, alpha=0.7, beta=0.4)
    for side, grad in exact.grads.items():
        assert result.grads[side].dtype == dtype
        assert np.abs(result.grads[side] - grad).max() <= 2e-5 * np.abs(grad).max()


@pytest.mark.parametrize("name", NAMES)
def test_central_differences(name):
    """Of the reference, so that value and gradient cannot be wrong together."""
    x_0, x_1, x_2, phi, phi_0, psi = inputs(19, 4)
    links, end = chains(x_0, x_1, x_2, psi)[name]
    result, step = chain(phi, phi_0, links, psi=end), 1e-5
    rng = np.random.default_rng(1)
    for side in result.grads:
        for _ in range(3):
            direction = rng.standard_normal(phi.shape)

            def loss(s, side=side, direction=direction):
                moved = {"phi": phi, "phi_0": phi_0, "psi": end}
                moved[side] = moved[side] + s * direction
                return reference(moved["phi"], moved["phi_0"], links, moved["psi"])

            slope = (loss(step) - loss(-step)) / (2 * step)
            np.testing.assert_allclose((result.grads[side] * direction).sum(), slope, rtol=1e-6, atol=1e-9)


def test_one_element_is_kise_or_svme():
    x_0, _, _, phi, _, psi = inputs(80, 4)
    kernel = chain(phi, phi, [(RBF, x_0)])
    expected = kise(phi, X=x_0, **RBF)
    np.testing.assert_allclose(kernel.loss, expected.loss, rtol=1e-12)
    np.testing.assert_allclose(kernel.grad_phi + kernel.grad_phi_0, expected.grad_phi, rtol=1e-9, atol=1e-15)
    sampler, expected = chain(phi, phi, [], psi=psi), svme(phi, psi)
    np.testing.assert_allclose(sampler.loss, expected.loss, rtol=1e-12)
    np.testing.assert_allclose(sampler.grad_phi + sampler.grad_phi_0, expected.grad_phi, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(sampler.grad_psi, expected.grad_psi, rtol=1e-9, atol=1e-15)


def test_strides_out_and_threads():
    x_0, x_1, x_2, phi, phi_0, psi = inputs(1200, 6, np.float32)
    links, _ = chains(x_0, x_1, x_2, psi)["kernel, sampler, kernel, sampler, sampler"]
    before, results = ec.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            ec.set_num_threads(threads)
            results.append(chain(phi, phi_0, links, psi=psi))
    finally:
        ec.set_num_threads(before)
    out = {"phi": np.zeros((1200, 12), np.float32)[:, ::2], "psi": np.zeros((1200, 6), np.float32)}
    results.append(chain(np.asfortranarray(phi), phi_0[:, ::-1].copy()[:, ::-1], links, psi=psi, out=out))
    assert results[-1].grad_phi is out["phi"]
    for other in results[1:]:
        assert other.loss == results[0].loss
        for side, grad in results[0].grads.items():
            assert np.array_equal(grad, other.grads[side])
    assert chain(phi, phi_0, links, psi=psi, grad=("phi_0",)).grad_phi is None


def test_bad_input():
    x_0, x_1, _, phi, phi_0, psi = inputs(12, 3)
    bad = phi_0.copy()
    bad[4, 0] = np.nan
    for arguments, options, error, words in [
        ((phi, phi_0, []), {}, ValueError, "links: got none and no psi"),
        ((phi, phi_0, [(RBF, x_0, x_1)]), {}, TypeError, r"links\[0\].*closes"),
        ((phi, phi_0, [(RBF, x_0)]), {"psi": psi}, TypeError, r"links\[0\]"),
        ((phi, phi_0, RBF), {}, TypeError, "links: got dict"),
        ((phi, phi_0, [({"bandwith": 1.0}, x_0)]), {}, ValueError, "bandwith"),
        ((phi, phi_0, [({"kernel": "rbf"}, x_0)]), {}, ValueError, "bandwidth"),
        ((phi, phi_0, [(POLYNOMIAL, x_0)]), {}, ValueError, "polynomial"),
        ((phi, phi_0, [(RBF, x_0[:5])]), {}, ValueError, r"links\[0\]: got 5 x 5"),
        ((phi, phi_0[:7], [(RBF, x_0)]), {}, ValueError, "phi_0"),
        ((phi, bad, [(RBF, x_0)]), {}, ValueError, r"phi_0: got nan at \[4, 0\]"),
    ]:
        with pytest.raises(error, match=words):
            chain(*arguments, **options)


class Sliced:
    """Rows that come by slices only."""

    def __init__(self, array):
        self.array = array

    def __len__(self):
        return len(self.array)

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return self.array[rows]


def test_rows_by_slices_and_rows_that_can_be_read_once():
    x_0, x_1, _, phi, phi_0, psi = inputs(40, 3)
    links = [(RBF, x_0, x_1)]
    expected = chain(phi, phi_0, links, psi=psi)
    result = chain(Sliced(phi), Sliced(phi_0), [(RBF, Sliced(x_0), Sliced(x_1))], psi=Sliced(psi))
    assert result.loss == expected.loss
    for name, gradient in expected.grads.items():
        np.testing.assert_array_equal(result.grads[name], gradient)
    with pytest.raises(TypeError, match="^phi: got a generator, which can be read once"):
        chain((row for row in phi), phi_0, links, psi=psi)
    with pytest.raises(TypeError, match=r"^links\[0\]\[2\]: got a generator, which can be read once"):
        chain(phi, phi_0, [(RBF, x_0, (row for row in x_1))], psi=psi)
