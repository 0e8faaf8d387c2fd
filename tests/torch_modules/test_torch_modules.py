"""What torch expects of a module: gradients only where they are asked for, no_grad, dtypes, devices, errors."""

import copy
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.autograd import forward_ad  # noqa: E402

import eigencontext as ec  # noqa: E402
from eigencontext import _core  # noqa: E402

pytestmark = pytest.mark.torch


def pair(n=50, d=4, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(n, d, generator=g, dtype=torch.float64).to(dtype) for _ in range(2))


def rows_calls(monkeypatch):
    """The arguments of every call of the engine that makes gradients."""
    calls, real = [], _core.gradient_rows

    def spy(*arguments):
        calls.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(_core, "gradient_rows", spy)
    return calls


def test_gradients_only_where_they_are_wanted(monkeypatch):
    calls = rows_calls(monkeypatch)
    phi, psi = pair()
    loss = ec.torch.SVMELoss()
    plain = loss(phi, psi)
    assert not calls and not plain.requires_grad
    phi.requires_grad_()
    with torch.no_grad():
        silent = loss(phi, psi)
    with torch.inference_mode():
        inferred = loss(phi, psi)
    assert not calls and not silent.requires_grad and not inferred.requires_grad
    assert plain == silent == inferred == loss(phi, psi)
    assert len(calls) == 1 and calls[0][-3] is not None and calls[0][-2] is None  # phi alone


def test_no_copy(monkeypatch):
    calls = rows_calls(monkeypatch)
    for dtype in (torch.float32, torch.float64):
        phi, psi = pair(dtype=dtype)
        phi = phi.requires_grad_()
        ec.torch.SVMELoss()(phi, psi[:, :])
        for array, tensor in zip(calls[-1][:2], (phi, psi), strict=True):
            assert array.__array_interface__["data"][0] == tensor.data_ptr()


def test_strides():
    phi, psi = pair(60, 8)
    views = [(phi[::2, 1::2], psi[::2, ::2]), (phi.T[:4].T, psi.T[4:].T), (phi[:1].expand(60, 8), psi)]
    for a, b in views:
        left, right = a.detach().requires_grad_(), a.detach().clone().requires_grad_()
        ec.torch.VICRegLoss()(left, b).backward()
        ec.torch.VICRegLoss()(right, b.clone()).backward()
        torch.testing.assert_close(left.grad, right.grad, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_inputs(dtype):
    """Computed in float32; gradients are scaled before they are rounded to the input's dtype."""
    phi, psi = (x.requires_grad_() for x in pair(400, dtype=dtype))
    wide = [x.detach().float().requires_grad_() for x in (phi, psi)]
    value, expected = ec.torch.SVMELoss()(phi, psi), ec.torch.SVMELoss()(*wide)
    assert value.dtype == torch.float32 and value == expected
    scale = 2.0**16
    (scale * value).backward()
    (scale * expected).backward()
    for x, y in zip((phi, psi), wide, strict=True):
        assert x.grad.dtype == dtype
        assert torch.equal(x.grad, y.grad.to(dtype))
    tiny = phi.detach().clone().requires_grad_()
    (2.0**-10 * ec.torch.SVMELoss()(tiny, psi)).backward()  # at 1e-8 half would have rounded to 0 first
    assert (phi.grad.float() != 0).float().mean() > 0.99


def test_mixed_dtypes():
    phi, psi = pair()
    half = psi.half().requires_grad_()
    value = ec.torch.InfoNCELoss()(phi.float(), half)
    value.backward()
    assert value.dtype == torch.float32 and half.grad.dtype == torch.float16
    assert ec.torch.SVMELoss()(phi, psi.float()).dtype == torch.float64


def test_one_tensor_twice():
    phi, _ = pair()
    x, y = phi.clone().requires_grad_(), phi.clone().requires_grad_()
    ec.torch.BarlowTwinsLoss()(x, x + 0).backward()
    first, second = y + 0, y + 0
    ec.torch.BarlowTwinsLoss()(first, second).backward()
    torch.testing.assert_close(x.grad, y.grad)


def test_backward_twice():
    phi, psi = pair()
    phi.requires_grad_()
    value = ec.torch.SVMELoss()(phi, psi)
    once = torch.autograd.grad(value, phi, retain_graph=True)[0]
    value.backward(retain_graph=True)
    phi.grad.mul_(0)  # must not reach what is kept for the next pass
    value.backward()
    torch.testing.assert_close(phi.grad, once)
    with pytest.raises(RuntimeError, match="second time"):
        value.backward()


def test_no_double_backward():
    phi, psi = pair()
    phi.requires_grad_()
    for value in (ec.torch.SVMELoss()(phi, psi), ec.torch.SigmoidLoss()(phi, psi)):
        with pytest.raises(RuntimeError, match="create_graph=True; allowed: first derivatives"):
            torch.autograd.grad(value, phi, create_graph=True)


def test_no_forward_mode():
    """A tangent must not be dropped in silence."""
    phi, psi = pair()
    with forward_ad.dual_level(), pytest.raises(RuntimeError, match="jvp|forward mode"):
        ec.torch.SVMELoss()(forward_ad.make_dual(phi, torch.ones_like(phi)), psi)


def test_overflow_of_the_value():
    """A value beyond float32 whose gradient float32 holds: an error, not inf; in float64 it is there."""
    phi, psi = pair(dtype=torch.float32)
    phi.mul_(1e20).requires_grad_()
    loss = ec.torch.SVMELoss(alpha=0.0, beta=0.0)
    for values in (phi, phi.detach()):
        with pytest.raises(
            OverflowError, match=r"loss: does not fit float32 at the scale .*max \|phi\| = \d\.\d+e\+20"
        ):
            loss(values, psi)
    assert loss(phi.double(), psi.double()) > 1e39


def test_numbers_may_be_parameters():
    phi, psi = pair()
    log_t, b = torch.nn.Parameter(torch.tensor(0.5)), torch.nn.Parameter(torch.tensor(-1.0))
    loss = ec.torch.SigmoidLoss(b=b)
    loss(phi, psi, t=log_t.exp()).backward()
    assert [name for name, _ in loss.named_parameters()] == ["b"]
    plain = ec.objectives.sigmoid(phi, psi, t=float(log_t.detach().exp()), b=-1.0)
    np.testing.assert_allclose(float(log_t.grad), plain.grad_t * float(log_t.detach().exp()), rtol=1e-6)
    np.testing.assert_allclose(float(b.grad), plain.grad_b, rtol=1e-6)
    number = ec.torch.InfoNCELoss(temperature=0.5)
    assert not number(phi, psi).requires_grad and number(phi, psi) == number(phi, psi, temperature=torch.tensor(0.5))


def test_terms_copies_and_text():
    phi, psi = pair()
    loss = ec.torch.LowRankLoss(centered=True, estimator="plugin")
    assert loss.terms == {} and repr(loss) == "LowRankLoss(centered=True, estimator='plugin')"
    value = copy.deepcopy(loss)(phi, psi)
    assert loss.terms == {} and value == loss(phi, psi)
    np.testing.assert_allclose(float(value), -2 * loss.terms["data"] + loss.terms["pairs"])


def test_labels_of_a_context():
    y = torch.arange(90) % 3
    context, rows = ec.contexts.labels(y.numpy()), torch.arange(10, 40)
    phi, _ = pair(30)
    phi.requires_grad_()
    value = ec.torch.KISELoss()(phi, labels=(context, rows))
    value.backward()
    expected = ec.objectives.kise(phi.detach(), labels=(context, rows.numpy()))
    assert value.item() == expected.loss and torch.equal(phi.grad, expected.grad_phi)


def test_bad_input():
    phi, psi = pair()
    t = ec.torch
    grad = psi.clone().requires_grad_()
    on_meta = torch.zeros(50, 4, device="meta")
    for call, error, message in (
        (lambda: t.SVMELoss(alhpa=1.0), TypeError, "SVMELoss: got option 'alhpa'; allowed: alpha, beta, eps, ddof"),
        (lambda: t.SVMELoss(weights=1.0), TypeError, "SVMELoss: got option 'weights'"),
        (lambda: t.SVMELoss(alpha=-1), ValueError, "alpha: got -1"),
        (lambda: t.KISELoss(kernel="gauss"), ValueError, "kernel: got 'gauss'"),
        (lambda: t.KISELoss(threshold=-1.0), ValueError, "threshold: got -1"),
        (lambda: t.KISELoss(threshold=2.0, relative=True), ValueError, "threshold: got 2; allowed: at most 1"),
        (lambda: t.NestedLowRankLoss(level_weights=[1.0, -1.0, 1.0]), ValueError, "level_weights: got -1"),
        (lambda: t.RayleighLoss(estimator="u"), ValueError, "estimator: got 'u'"),
        (lambda: t.SupervisedMSELoss(ridge=-1.0), ValueError, "ridge: got -1"),
        (lambda: t.ExponentialSpectralContrastiveLoss(form="cos"), ValueError, "form: got 'cos'"),
        (lambda: t.SigmoidLoss(b="low"), TypeError, "b: got 'low'"),
        (lambda: t.SpectralContrastiveLoss()(phi, psi), TypeError, r"got 2 arrays; allowed: .*torch.stack\(\[phi, psi"),
        (lambda: t.ChainLoss([{"kernel": "rbf"}]), ValueError, "bandwidth: got None"),
        (lambda: t.ChainLoss([lambda x: x, {"width": 1}]), ValueError, r"links\[1\]: got option 'width'"),
        (lambda: t.ChainLoss([lambda x: x], ddof=-1), ValueError, "ddof: got -1"),
        (lambda: t.SVMELoss()(on_meta, psi), TypeError, r"phi: got a tensor on meta; allowed: the CPU \(use .cpu"),
        (lambda: t.KISELoss(bandwidth=1.0)(phi, on_meta), TypeError, "X: got a tensor on meta"),
        (lambda: t.SVMELoss()(phi.numpy(), psi), TypeError, "phi: got ndarray; allowed: a torch tensor"),
        (lambda: t.SVMELoss()(phi, psi[:9]), ValueError, r"psi: got shape \(9, 4\)"),
        (lambda: t.SVMELoss()(phi.long(), psi), TypeError, "phi: got dtype int64"),
        (lambda: t.SVMELoss()(phi, psi, weights=grad[:, 0]), ValueError, "weights: got a tensor that requires grad"),
        (lambda: t.KISELoss(bandwidth=1.0)(phi, grad), ValueError, r"X: got a tensor that requires grad; .*detach"),
        (lambda: t.ExponentialLowRankLoss(temperature=grad[0, 0]), ValueError, "temperature: got a tensor that req"),
        (lambda: t.InfoNCELoss(temperature=0.0), ValueError, "temperature: got 0"),
        (lambda: t.ChainLoss([]), ValueError, "links: got"),
        (lambda: t.ChainLoss([3]), TypeError, r"links\[0\]: got int"),
        (lambda: t.ChainLoss([lambda x: x])(lambda x: x, phi), ValueError, "context_encoder: got None"),
        (lambda: t.ChainLoss([{"kernel": "cosine"}])(lambda x: x, phi, lambda x: x), ValueError, "allowed: None"),
    ):
        with pytest.raises(error, match=message):
            call()
    bad = phi.clone()
    bad[3, 1] = float("nan")
    with pytest.raises(ValueError, match=r"phi: got nan at \[3, 1\]"):
        t.SVMELoss()(bad.requires_grad_(), psi)


def test_options_that_only_a_batch_can_refuse_wait_for_it():
    phi, psi = pair()
    late = ec.torch.SVMELoss(ddof=50)  # as many as the rows
    with pytest.raises(ValueError, match="phi: got N = 50"):
        late(phi, psi)
    assert ec.torch.KISELoss()(phi, labels=torch.arange(50) % 3).ndim == 0  # no bandwidth, and no kernel that needs one
    assert ec.torch.KISELoss(threshold=1e6).options == {"threshold": 1e6}
    assert ec.torch.SupervisedMSELoss(balanced=True).options == {"balanced": True}
    assert ec.torch.NestedLowRankLoss(level_weights=np.ones(4))(phi, psi).ndim == 0


def test_without_torch():
    program = """
import sys
sys.modules["torch"] = None
import eigencontext as ec
try:
    ec.torch
except ImportError as error:
    assert "pip install 'eigencontext[torch]'" in str(error), error
    print("clear")
assert "torch" not in ec.__all__
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "clear\n"
