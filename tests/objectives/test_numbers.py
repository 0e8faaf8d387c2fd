"""What rounding, scales, shapes and memory layouts may do to the objectives."""

import numpy as np
import objective_oracles as oracle
import pytest

import eigencontext as ec

objectives = ec.objectives


def pair(n, d, dtype=np.float64, noise=1.0, mean=0.0):
    rng = np.random.default_rng([5, n, d])  # whatever other tests have run
    phi = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) / np.sqrt(d) + mean
    return phi.astype(dtype), (phi + noise * rng.standard_normal((n, d))).astype(dtype)


def views(n, r, d, dtype=np.float64):
    rng = np.random.default_rng([6, n, r, d])
    return (rng.standard_normal((n, 1, d)) + rng.standard_normal((n, r, d)) + 0.3).astype(dtype)


# every objective with its options, as a function of (phi, psi) or of views
CALLS = {
    "svme": lambda a, b, **k: objectives.svme(a, b, **k),
    "spectral_noncontrastive": lambda a, b, **k: objectives.spectral_noncontrastive(a, b, **k),
    "vicreg": lambda a, b, **k: objectives.vicreg(a, b, **k),
    "barlow_twins": lambda a, b, **k: objectives.barlow_twins(a, b, **k),
    "rayleigh": lambda a, b, **k: objectives.rayleigh(a, b, **k),
    "rayleigh split": lambda a, b, **k: objectives.rayleigh(a, b, estimator="split", **k),
    "correlation": lambda a, b, **k: objectives.correlation(a, b, **k),
    "low_rank": lambda a, b, **k: objectives.low_rank(a, b, **k),
    "low_rank centred": lambda a, b, **k: objectives.low_rank(a, b, centered=True, **k),
    "low_rank plugin": lambda a, b, **k: objectives.low_rank(a, b, estimator="plugin", **k),
    "nested": lambda a, b, **k: objectives.nested_low_rank(a, b, **k),
    "nested centred": lambda a, b, **k: objectives.nested_low_rank(a, b, centered=True, **k),
    "nested sequential": lambda a, b, **k: objectives.nested_low_rank(
        a, b, mode="sequential", first_mode="constant", **k
    ),
}


def error(got, wanted):
    return np.linalg.norm(got.astype(np.float64) - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize("name", CALLS)
def test_float32_is_accurate_for_many_rows(name):
    phi, psi = pair(100_000, 24, np.float32, mean=3.0 if "low" not in name and "nested" not in name else 0.1)
    assert np.linalg.cond(np.cov(phi, rowvar=False)) > 1e3  # what the inverse of a covariance multiplies rounding by
    single, double = CALLS[name](phi, psi), CALLS[name](phi.astype(np.float64), psi.astype(np.float64))
    assert np.isclose(single.loss, double.loss, rtol=1e-5)
    for which, gradient in double.grads.items():
        assert single.grads[which].dtype == np.float32
        assert error(single.grads[which], gradient) <= 1e-5


def test_float32_views_are_accurate_for_many_rows():
    a = views(40_000, 3, 16, np.float32)
    single, double = objectives.spectral_contrastive(a), objectives.spectral_contrastive(a.astype(np.float64))
    assert np.isclose(single.loss, double.loss, rtol=1e-5)
    assert error(single.grad_views, double.grad_views) <= 1e-5


@pytest.mark.parametrize("mean", [1e2, 1e3])
def test_large_means_do_not_cancel(mean):
    phi, psi = pair(20_000, 8, np.float32, mean=mean)
    single = objectives.svme(phi, psi)
    B = oracle.centred(phi.astype(np.float64)), oracle.centred(psi.astype(np.float64))
    assert np.isclose(single.loss, objectives.svme(*B).loss, rtol=1e-6)
    assert error(single.grad_phi, objectives.svme(*B).grad_phi) <= 1e-6


def test_sorted_rows_do_not_hurt():
    """Every tile has another mean, the first one far from all."""
    phi, psi = pair(20_000, 8, np.float32)
    phi[:512] += 1e4
    order = np.argsort(phi[:, 0])
    phi, psi = phi[order], psi[order]
    assert (
        error(
            objectives.rayleigh(phi, psi).grad_phi,
            objectives.rayleigh(phi.astype(np.float64), psi.astype(np.float64)).grad_phi,
        )
        <= 1e-6
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_change_no_bit(dtype):
    inputs = pair(9000, 33, dtype)
    results, before = [], ec.get_num_threads()
    try:
        for threads in (1, 2, 3, 7):
            ec.set_num_threads(threads)
            calls = [call(*inputs) for call in CALLS.values()]
            calls.append(objectives.spectral_contrastive(inputs[0].reshape(3000, 3, 33)))
            results.append([(r.loss, *(g.tobytes() for g in r.grads.values())) for r in calls])
    finally:
        ec.set_num_threads(before)
    assert all(other == results[0] for other in results[1:])


# -- scales ------------------------------------------------------------------------------------------------------------


def wide(call, phi, psi):
    return call(phi.astype(np.float64), psi.astype(np.float64))


@pytest.mark.parametrize("scale", [1e-20, 1e-8, 1e8, 1e20])
@pytest.mark.parametrize("name", CALLS)
def test_scales_of_float32(name, scale):
    """Finite and right wherever float32 can hold the gradient, else an OverflowError that names the scale."""
    phi, psi = (x * np.float32(scale) for x in pair(700, 5, np.float32))
    double = wide(CALLS[name], phi, psi)
    largest = max(np.abs(g).max() for g in double.grads.values())
    if largest > np.finfo(np.float32).max:
        with pytest.raises(OverflowError, match=r"gradient: does not fit float32 at the scale .*\(max \|phi\| = "):
            CALLS[name](phi, psi)
        return
    single = CALLS[name](phi, psi)
    tolerance = 8 * np.finfo(np.float32).eps
    assert np.isclose(single.loss, double.loss, rtol=tolerance)
    for which, gradient in double.grads.items():
        with np.errstate(under="ignore"):
            peak = np.abs(gradient).max()
            assert np.abs(single.grads[which] - gradient).max() <= tolerance * peak + 1e-44


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_scales_of_views(scale):
    a = views(200, 3, 4, np.float32) * np.float32(scale)
    double = objectives.spectral_contrastive(a.astype(np.float64))
    if scale > 1:
        with pytest.raises(OverflowError, match=r"gradient: .*\(max \|views\| = "):
            objectives.spectral_contrastive(a)
        return
    single = objectives.spectral_contrastive(a)
    assert np.isclose(single.loss, double.loss, rtol=1e-5)
    assert error(single.grad_views * 1e10, double.grad_views * 1e10) <= 1e-5


def test_columns_of_different_scales():
    """Correlation is invariant to them: each column's gradient is as accurate as that of the well-scaled problem."""
    scales = np.float32([1e-18, 1.0, 1e18, 1e-9])
    phi, psi = pair(2000, 4, np.float32)
    plain = objectives.correlation(phi.astype(np.float64), psi.astype(np.float64))
    scaled = objectives.correlation(phi * scales, psi)
    assert np.isclose(scaled.loss, plain.loss, rtol=1e-5)
    assert error(scaled.grad_phi.astype(np.float64) * scales, plain.grad_phi) <= 1e-5


def test_float64_beyond_its_squares():
    phi, psi = pair(50, 3)
    with pytest.raises(OverflowError, match="at the scale of the embeddings"):
        objectives.svme(phi * 1e200, psi)
    assert np.isfinite(objectives.svme(phi * 1e-200, psi * 1e-200).loss)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_collapsed_and_constant_embeddings(dtype):
    constant = np.full((600, 4), 3.7, dtype)
    for name, call in CALLS.items():
        if name == "correlation":
            with pytest.raises(ValueError, match="phi: got a singular covariance"):
                call(constant, constant)
            continue
        for inputs in ((constant, constant), (constant * 0, constant * 0)):
            result = call(*inputs)
            assert np.isfinite(result.loss) and all(np.isfinite(g).all() for g in result.grads.values())
    r = objectives.svme(constant, constant)
    assert r.terms["data"] == 0 and r.terms["cov"] == 0 and np.isclose(r.terms["std"], 0.99)
    assert np.abs(r.grad_phi).max() == 0
    with pytest.raises(ValueError, match="phi: got column 0 of variance 0"):
        objectives.barlow_twins(constant, constant, eps=0.0)
    line = np.outer(np.linspace(-1, 1, 600), [1.0, 2.0, 3.0, 4.0]).astype(dtype)  # rank 1
    with pytest.raises(ValueError, match="phi: got a singular covariance"):
        objectives.correlation(line, line)
    assert np.isclose(objectives.correlation(line, line, ridge=1e-4).loss, -1, atol=1e-3)


@pytest.mark.parametrize("n, d", [(1, 3), (2, 3), (2, 1), (3, 5), (30, 1), (4, 7), (513, 17)])
def test_few_rows_and_odd_widths(n, d):
    phi, psi = pair(n, d)
    for name in ("svme", "spectral_noncontrastive", "vicreg", "rayleigh", "low_rank", "nested_low_rank"):
        unbiased = name not in ("rayleigh",)
        if n == 1 and unbiased:
            with pytest.raises(ValueError, match="phi: got N = 1; allowed: N >= 2"):
                getattr(objectives, name)(phi, psi)
            continue
        result = getattr(objectives, name)(phi, psi)
        assert np.isclose(result.loss, getattr(oracle, name)(phi, psi), rtol=1e-10, atol=1e-12)
    for name in ("low_rank", "nested_low_rank"):
        options = {"estimator": "plugin", "centered": True}
        assert np.isclose(
            getattr(objectives, name)(phi, psi, **options).loss,
            getattr(oracle, name)(phi, psi, **options),
            rtol=1e-10,
            atol=1e-12,
        )
    for ridge in (0.0, 0.2):
        if ridge == 0 and n <= d:
            with pytest.raises(ValueError, match="singular covariance"):
                objectives.correlation(phi, psi)
        else:
            result = objectives.correlation(phi, psi, ridge=ridge)
            assert np.isclose(result.loss, oracle.correlation(phi, psi, ridge), rtol=1e-8, atol=1e-12)
    if n >= 2:
        a = views(n, 2, d)
        assert np.isclose(objectives.spectral_contrastive(a).loss, oracle.spectral_contrastive(a), rtol=1e-10)


# -- memory ------------------------------------------------------------------------------------------------------------


def layouts(x):
    """The same numbers in other memory: Fortran order, parts of a bigger array, negative strides, read-only."""
    n, d = x.shape
    big = np.zeros((2 * n, 3 * d), x.dtype)
    big[::2, 1::3] = x
    columns = np.zeros((n, d + 5), x.dtype)
    columns[:, 2 : 2 + d] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    return [np.asfortranarray(x), big[::2, 1::3], columns[:, 2 : 2 + d], x[::-1, ::-1].copy()[::-1, ::-1], frozen]


@pytest.mark.parametrize("name", CALLS)
def test_strides(name):
    phi, psi = pair(700, 6)
    plain = CALLS[name](phi, psi)
    for a in layouts(phi):
        for b in (layouts(psi)[0], layouts(psi)[1]):
            before = a.copy()
            result = CALLS[name](a, b)
            assert np.isclose(result.loss, plain.loss, rtol=1e-13)
            for which, gradient in plain.grads.items():
                assert np.abs(result.grads[which] - gradient).max() <= 1e-13 * np.abs(gradient).max()
            assert np.array_equal(a, before)


def test_strides_of_views():
    a = views(300, 3, 4)
    plain = objectives.spectral_contrastive(a)
    big = np.zeros((300, 6, 9))
    big[:, ::2, 1::2] = a
    others = [a.transpose(1, 0, 2).copy().transpose(1, 0, 2), np.asfortranarray(a), big[:, ::2, 1::2]]
    for other in others:
        out = np.zeros((300, 4, 3)).transpose(0, 2, 1)
        result = objectives.spectral_contrastive(other, out=out)
        assert result.grad_views is out
        assert np.abs(out - plain.grad_views).max() <= 1e-14 * np.abs(out).max()


@pytest.mark.parametrize("name", CALLS)
def test_out(name):
    phi, psi = pair(600, 6, np.float32)
    plain = CALLS[name](phi, psi)
    big = np.full((1200, 18), 7.0, np.float32)
    outs = {"phi": big[::2, ::3], "psi": np.full((6, 600), np.nan, np.float32).T}
    for out in (outs, tuple(outs.values())):
        result = CALLS[name](phi, psi, out=out)
        assert result.grad_phi is outs["phi"] and result.grad_psi is outs["psi"]
        for which in outs:
            assert np.array_equal(outs[which], plain.grads[which])
    assert np.all(big[1::2] == 7) and np.all(big[::2, 1::3] == 7)


def test_kinds_of_arrays():
    phi, psi = pair(64, 4, np.float32)
    half = objectives.svme(phi.astype(np.float16), psi.astype(np.float16))
    assert half.grad_phi.dtype == np.float32
    mixed = objectives.svme(phi, psi.astype(np.float64))
    assert mixed.grad_phi.dtype == np.float32 and mixed.grad_psi.dtype == np.float64
    exact = objectives.svme(phi.astype(np.float64), psi.astype(np.float64))
    assert np.allclose(mixed.grad_phi, exact.grad_phi, rtol=1e-6, atol=1e-9)
    assert np.array_equal(mixed.grad_psi, exact.grad_psi)
    assert np.isclose(
        objectives.svme([[1.0, 2.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 2.0]]).loss,
        oracle.svme(np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 2.0]])),
    )


@pytest.mark.torch
def test_torch_tensors_go_in_and_come_out():
    torch = pytest.importorskip("torch")
    phi, psi = pair(64, 4, np.float32)
    plain = objectives.svme(phi, psi)
    a, b = torch.from_numpy(phi).requires_grad_(), torch.from_numpy(psi)
    out = torch.zeros(64, 4)
    result = objectives.svme(a, b, out={"psi": out})
    assert isinstance(result.grad_phi, torch.Tensor) and result.grad_psi is out
    assert np.array_equal(result.grad_phi.numpy(), plain.grad_phi) and np.array_equal(out.numpy(), plain.grad_psi)
    low = objectives.svme(a.bfloat16(), b.bfloat16())
    assert low.grad_phi.dtype == torch.float32
    with pytest.raises(TypeError, match=r"phi: got a torch tensor on meta; allowed: .* \(use .cpu\(\)\)"):
        objectives.svme(a.to("meta"), b)
