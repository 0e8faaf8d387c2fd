"""ec.torch on tensors that say they are on a CUDA device: their rows are copied to the emulated one when they are read.
The value and gradients against plain torch, as on the CPU."""

import pathlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "torch_modules"))

from emulated import FakeCupy, core  # noqa: E402
from torch_cases import NAMES, cases  # noqa: E402

import eigencontext as ec  # noqa: E402
from eigencontext import _device  # noqa: E402

pytestmark = pytest.mark.torch

STREAM = 9


class CudaTensor(torch.Tensor):
    """A tensor of the CPU that acts as one of a CUDA device, whatever is computed from it too."""

    place = "cuda:0"

    @property
    def device(self):
        return torch.device(self.place)

    @property
    def is_cuda(self):
        return True

    def numpy(self, *arguments, **options):
        raise TypeError("can't convert cuda:0 device type tensor to numpy.")

    __array__ = numpy

    @property
    def __cuda_array_interface__(self):
        if self.requires_grad:
            raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad.")
        if not hasattr(self, "moved"):
            self.moved = FakeCupy(np.atleast_1d(on_cpu(self).numpy()))
        interface = self.moved.__cuda_array_interface__
        return {**interface, "shape": tuple(self.shape), "strides": None, "version": 2, "stream": None}


def on_cuda(tensor):
    return tensor.detach().clone().as_subclass(CudaTensor)


def on_cpu(tensor):
    return tensor.as_subclass(torch.Tensor)


@pytest.fixture(autouse=True)
def emulated_engine(monkeypatch):
    made = []

    def factory(result, like):
        assert like.is_cuda
        made.append(torch.from_numpy(_device.on_host(result)).as_subclass(CudaTensor))
        return made[-1]

    monkeypatch.setattr(_device, "_MODULE", "_cuda_emulated")
    monkeypatch.setitem(_device.FACTORIES, "torch", factory)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=STREAM))
    return made


def leaves(inputs):
    return {name: on_cuda(tensor).requires_grad_() for name, tensor in inputs.items()}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", NAMES)
def test_formula(name, dtype):
    case = cases(n=60, d=4)[name]
    ours = leaves({key: tensor.to(dtype) for key, tensor in case.inputs.items()})
    theirs = {key: tensor.clone().requires_grad_() for key, tensor in case.inputs.items()}
    constants = {key: on_cuda(value) for key, value in case.constants.items()}
    value, expected = case.call(ours, constants=constants), case.call(theirs, case.reference)
    assert isinstance(value, CudaTensor) and value.dtype == dtype and value.shape == ()
    tolerance = 1e-9 if dtype == torch.float64 else 2e-5
    torch.testing.assert_close(on_cpu(value).double(), expected, rtol=tolerance, atol=tolerance)
    (3 * value).backward()
    (3 * expected).backward()
    for key, tensor in ours.items():
        grad, wanted = on_cpu(tensor.grad).double(), theirs[key].grad
        assert tensor.grad.dtype == dtype
        assert (grad - wanted).abs().max() <= tolerance * wanted.abs().max()


@pytest.mark.parametrize("ends", ["kernel", "sampler"])
def test_chain(ends):
    x_0 = torch.randn(40, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    kernels = {"kernel": "rbf", "bandwidth": 1.0}, {"kernel": "cosine"}
    links = [torch.tanh, *kernels, torch.tanh] + ([torch.cos] if ends == "sampler" else [kernels[0]])
    encoders = [torch.nn.Linear(3, 4).double() for _ in range(2 if ends == "sampler" else 1)]

    def run(x):
        for encoder in encoders:
            encoder.zero_grad()
        value = ec.torch.ChainLoss(links, alpha=0.5)(encoders[0], x, *encoders[1:])
        value.backward()
        return value, [on_cpu(p.grad).clone() for e in encoders for p in e.parameters()]

    (value, grads), (expected, wanted) = run(on_cuda(x_0)), run(x_0)
    assert isinstance(value, CudaTensor)
    torch.testing.assert_close(on_cpu(value), expected, rtol=1e-10, atol=1e-12)
    for one, two in zip(grads, wanted, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_inputs(dtype, emulated_engine):
    """Computed in float32; gradients are scaled before they are rounded to the input's dtype."""
    phi, psi = (torch.randn(60, 4, generator=torch.Generator().manual_seed(k)).to(dtype) for k in (1, 2))
    given = leaves({"phi": phi, "psi": psi})
    value = ec.torch.VICRegLoss()(**given)
    assert value.dtype == torch.float32
    (2.0**16 * value).backward()
    wide = {name: on_cpu(tensor.detach()).float().requires_grad_() for name, tensor in given.items()}
    (2.0**16 * ec.torch.VICRegLoss()(**wide)).backward()
    for name, tensor in given.items():
        assert tensor.grad.dtype == dtype and [grad.dtype for grad in emulated_engine] == [torch.float32] * 2
        torch.testing.assert_close(on_cpu(tensor.grad).float(), wide[name].grad.to(dtype).float(), rtol=1e-2, atol=1e-2)
    result = ec.objectives.svme(on_cuda(phi), on_cuda(psi))  # and in the functions
    assert isinstance(result.grad_phi, CudaTensor)
    assert abs(result.loss - ec.objectives.svme(phi.float(), psi.float()).loss) < 1e-6


@pytest.mark.parametrize(("current", "waited"), [(STREAM, STREAM), (0, 1)])
def test_the_current_stream_of_torch_is_waited_for(settings, monkeypatch, current, waited):
    asked = []

    def current_stream(device):
        asked.append(device)
        return SimpleNamespace(cuda_stream=current)

    monkeypatch.setattr(torch.cuda, "current_stream", current_stream)
    seen, real = [], core.moments
    monkeypatch.setattr(core, "moments", lambda phi, *rest: seen.append(phi.stream) or real(phi, *rest))
    phi = on_cuda(torch.randn(20, 3))
    ec.torch.SVMELoss()(phi, phi)
    assert set(asked) == {torch.device("cuda:0")}
    assert seen == [waited] and settings.waited_for == waited


@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_numbers_may_be_parameters_anywhere(where):
    phi, psi = torch.randn(2, 30, 3, generator=torch.Generator().manual_seed(0)).unbind()
    make = torch.tensor if where == "cpu" else lambda x: on_cuda(torch.tensor(x))
    t, b = make(0.5).requires_grad_(), make(-1.0).requires_grad_()
    ec.torch.SigmoidLoss()(on_cuda(phi).requires_grad_(), on_cuda(psi), t=t, b=b).backward()
    plain = ec.objectives.sigmoid(phi, psi, t=0.5, b=-1.0)
    np.testing.assert_allclose([float(t.grad), float(b.grad)], [plain.grad_t, plain.grad_b], rtol=1e-5)


@pytest.mark.parametrize("name", ["svme, weights", "info_nce", "kise", "kise, labels", "supervised"])
def test_with_a_process_group(name, tmp_path):
    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    try:
        case, grouped = cases(n=60, d=4)[name], cases(n=60, d=4, group=dist.group.WORLD)[name]
        ours, theirs = leaves(case.inputs), leaves(case.inputs)
        constants = {key: on_cuda(value) for key, value in case.constants.items()}
        value, expected = grouped.call(ours, constants=constants), case.call(theirs, constants=constants)
        value.backward()
        expected.backward()
        assert isinstance(value, CudaTensor)
        torch.testing.assert_close(on_cpu(value), on_cpu(expected), rtol=1e-12, atol=1e-14)
        for key, tensor in ours.items():
            torch.testing.assert_close(on_cpu(tensor.grad), on_cpu(theirs[key].grad), rtol=1e-9, atol=1e-13)
    finally:
        dist.destroy_process_group()


class Metal(CudaTensor):
    place = "mps"
    is_cuda = False


class SecondDevice(CudaTensor):
    place = "cuda:1"

    @property
    def __cuda_array_interface__(self):
        core.emulation.current = 1
        interface = super().__cuda_array_interface__
        core.emulation.current = 0
        return interface


def test_what_is_wrong_is_said(settings):
    phi, psi = torch.randn(2, 20, 3).unbind()
    mixed = "^phi, psi: got parts on the CPU and on a CUDA device; allowed: all on one device"
    with pytest.raises(ValueError, match=mixed):
        ec.torch.SVMELoss()(on_cuda(phi), psi)
    with pytest.raises(ValueError, match=mixed):
        ec.torch.InfoNCELoss()(phi, on_cuda(psi))
    with pytest.raises(ValueError, match="^phi, X: got parts on the CPU and on a CUDA device"):
        ec.torch.KISELoss(bandwidth=1.0)(on_cuda(phi), psi)
    for tensor, where in ((psi.as_subclass(Metal), "mps"), (torch.zeros(20, 3, device="meta"), "meta")):
        said = rf"got a (torch )?tensor on {where}; allowed: "
        for call in (
            lambda x: ec.torch.SVMELoss()(phi, x), lambda x: ec.torch.KISELoss(bandwidth=1.0)(phi, x),
            lambda x: ec.objectives.svme(x, psi),
        ):  # fmt: skip
            with pytest.raises(TypeError, match=said) as info:
                call(tensor)
            assert "use .cpu()" in str(info.value) and "CUDA device" in str(info.value)
    settings.devices = 2
    there = psi.as_subclass(SecondDevice)
    with pytest.raises(ValueError, match="^psi: got an array on CUDA device 1; allowed: .*the current device, 0"):
        ec.torch.SVMELoss()(on_cuda(phi), there)
    settings.devices = 0
    with pytest.raises(TypeError, match="^phi: got a CudaTensor on a GPU; allowed: .*no device"):
        ec.torch.SVMELoss()(on_cuda(phi), on_cuda(psi))
