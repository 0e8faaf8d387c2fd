"""How arrays come to the emulated device: DLPack, streams, other devices; and errors that were there before us."""

import gc

import numpy as np
import pytest
from dlpack_producer import DlpackArray
from emulated import FakeCupy, core

import eigencontext as ec
from eigencontext import _device, objectives

RNG = np.random.default_rng(3)
A, PHI, PSI = RNG.standard_normal((40, 12)), RNG.standard_normal((40, 3)), RNG.standard_normal((40, 3))


@pytest.fixture(autouse=True)
def emulated_engine(monkeypatch):
    monkeypatch.setattr(_device, "_MODULE", "_cuda_emulated")


# -- DLPack


@pytest.mark.parametrize("device", [(2, 0), (13, 0)])
@pytest.mark.parametrize("version", [None, (1, 0), (1, 1)])
def test_a_capsule_is_read_where_it_is_and_given_back(version, device):
    given = DlpackArray(PHI, version=version, device=device)
    view = _device.View.of(given)
    assert view.at.__array_interface__["data"] == given.memory.__cuda_array_interface__["data"]
    assert view.shape == PHI.shape and view.dtype == PHI.dtype and view.stream == 2 and given.lent() == 1
    assert given.streams == [2]  # ready on the stream that the engine works on
    np.testing.assert_array_equal(view.get(), PHI)
    part = view[3:5]
    del view
    gc.collect()
    assert given.lent()  # a slice still shows it
    del part
    gc.collect()
    assert not given.lent()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_strides_and_offsets_of_capsules(dtype):
    array = PHI.astype(dtype)
    for shape, strides, offset, seen in [
        ((13, 2), (9, 2), 3, array[1::3, ::2][:13]),
        ((3, 40), (1, 3), 0, array.T),
        ((40, 3), (-3, 1), 117, array[::-1]),
    ]:
        given = DlpackArray(array, shape, strides, offset)
        np.testing.assert_array_equal(_device.View.of(given).get(), seen)
        got, wanted = objectives.svme(given, given), objectives.svme(seen, seen)
        np.testing.assert_allclose(got.loss, wanted.loss, rtol=1e-5)
        np.testing.assert_allclose(got.grad_phi.get(), wanted.grad_phi, rtol=0, atol=1e-6)


def test_everything_takes_what_speaks_dlpack_alone():
    U, s, Vh = map(_device.on_host, ec.svd(DlpackArray(A), 4, tol=0))
    np.testing.assert_allclose(s, np.linalg.svd(A)[1][:4], rtol=1e-12)
    np.testing.assert_allclose(U.T @ A, s[:, None] * Vh, atol=1e-10)
    K = ec.operators.kernel(DlpackArray(A), bandwidth=3.0)
    product = K.matmat(DlpackArray(PHI))
    np.testing.assert_allclose(_device.on_host(product), ec.operators.kernel(A, bandwidth=3.0).matmat(PHI), atol=1e-12)
    w, y = RNG.random(40), np.arange(40) % 3
    got = objectives.vicreg(DlpackArray(PHI), DlpackArray(PSI), weights=DlpackArray(w))
    assert abs(got.loss - objectives.vicreg(PHI, PSI, weights=w).loss) < 1e-12
    got = objectives.kise(DlpackArray(PHI), labels=DlpackArray(y))
    assert abs(got.loss - objectives.kise(PHI, labels=y).loss) < 1e-12
    out = DlpackArray(np.zeros_like(PHI))
    assert objectives.svme(DlpackArray(PHI), DlpackArray(PSI), out={"phi": out}, grad="phi").grad_phi is out
    np.testing.assert_allclose(out.memory.get(), objectives.svme(PHI, PSI).grad_phi, rtol=0, atol=1e-14)
    gc.collect()
    assert not out.lent()


def test_capsules_that_can_not_be_read():
    with pytest.raises(TypeError, match="^phi: got dtype float16 on a CUDA device; allowed there: float32, float64"):
        objectives.svme(DlpackArray(PHI.astype(np.float16)), DlpackArray(PSI))
    with pytest.raises(TypeError, match="^phi: got dtype .V2 on a CUDA device"):  # bfloat16
        objectives.svme(DlpackArray(np.zeros((40, 3), "V2")), DlpackArray(PSI))
    with pytest.raises(TypeError, match="^dlpack: got version 2"):
        objectives.svme(DlpackArray(PHI, version=(2, 0)), DlpackArray(PSI))
    with pytest.raises(TypeError, match="^dlpack: got a capsule that was used"):
        capsule = DlpackArray(PHI).__dlpack__(stream=2)
        core.Dlpack(capsule)
        core.Dlpack(capsule)
    with pytest.raises(ValueError, match="^out.'phi'.: got read-only memory"):
        out = DlpackArray(np.zeros_like(PHI), version=(1, 0), read_only=True)
        objectives.svme(DlpackArray(PHI), DlpackArray(PSI), out={"phi": out})
    with pytest.raises(ValueError, match="^phi, psi: got parts on the CPU and on a CUDA device"):
        objectives.svme(DlpackArray(PHI), PSI)


# -- constants, streams, devices, errors


def test_what_others_get_is_complete():
    """Their streams do not wait for ours."""
    _device.Moved(A)
    assert not core.busy()
    for make in (ec.operators.as_operator, ec.operators.kernel):
        op = make(FakeCupy(A))
        assert not core.busy()
        op.astype(np.float32)
        assert not core.busy()
    ec.operators.kernel(A).to("cuda")
    assert not core.busy()
    like = FakeCupy(A)
    core.gaussian(1, 3, 2)
    assert core.busy()
    for result in (A, core.gaussian(1, 3, 2)):
        _device.output_like(like)(result)
        assert not core.busy()


def test_constants_of_a_loss_may_be_anywhere():
    y, rows = np.arange(40) % 4, np.arange(40)[::-1].copy()
    wanted = objectives.kise(PHI, labels=y).loss
    assert abs(objectives.kise(FakeCupy(PHI), labels=FakeCupy(y)).loss - wanted) < 1e-12
    assert abs(objectives.kise(PHI, labels=FakeCupy(y.astype(np.int32))).loss - wanted) < 1e-12
    context = ec.contexts.labels(y)
    wanted = objectives.kise(PHI, labels=(context, rows)).loss
    assert abs(objectives.kise(FakeCupy(PHI), labels=(context, FakeCupy(rows))).loss - wanted) < 1e-12
    losses = RNG.random(40)
    given = FakeCupy.strided(np.repeat(losses, 2), (40,), (2,))
    np.testing.assert_array_equal(objectives.doro_weights(given, alpha=0.3), objectives.doro_weights(losses, alpha=0.3))


class OnStream(FakeCupy):
    stream = 7

    @property
    def __cuda_array_interface__(self):
        return {**super().__cuda_array_interface__, "stream": self.stream}


def test_results_are_released_when_nobody_can_read_them(settings):
    for made in (objectives.svme(FakeCupy(PHI), FakeCupy(PSI)).grads, dict(enumerate(ec.svd(FakeCupy(A), 2)))):
        parts = [_device.View.of(made.pop(name))[:1] for name in list(made)]
        count, before = len(parts), settings.device_waits
        gc.collect()
        assert settings.device_waits == before  # a part keeps all of it
        parts.clear()
        assert settings.device_waits == before + count


CALLS = {
    "svme": lambda phi: objectives.svme(phi, phi),
    "info_nce": lambda phi: objectives.info_nce(phi, phi),
    "exponential views": lambda phi: objectives.exponential_low_rank(phi, phi, form="distance"),
    "kise": lambda phi: objectives.kise(phi, X=phi, bandwidth=1.0),
    "svd": lambda phi: ec.svd(phi, 2),
    "eigh": lambda phi: ec.eigh(ec.operators.kernel(phi, bandwidth=1.0), 2),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_stream_that_fills_an_array_is_waited_for(settings, call):
    call(OnStream(PHI))
    assert settings.waited_for in (7, 2)  # the last array may be one of the engine's own
    settings.broken = 7
    with pytest.raises(RuntimeError, match="^cudaEventRecord: invalid resource handle"):
        call(OnStream(PHI))
    call(FakeCupy(PHI))  # the device is as good as before


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_array_of_another_device_is_refused_by_name(settings, call):
    settings.devices, settings.current = 2, 1
    there = FakeCupy(PHI)
    settings.current = 0
    with pytest.raises(ValueError, match="^(phi|psi|a|X): got an array on CUDA device 1; allowed: .*current device, 0"):
        call(there)
    call(FakeCupy(PHI))
    settings.current = 1  # as torch.cuda.device and cupy.cuda.Device set it
    call(there)


@pytest.mark.parametrize("pending", ["pending", "pending_launch"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_error_that_was_there_before_is_an_exception_and_leaves_everything_usable(settings, call, pending):
    given = FakeCupy(PHI)
    expected = call(given)
    setattr(settings, pending, 719)  # of a kernel that somebody launched
    with pytest.raises(RuntimeError, match="^[a-zA-Z_]+: unspecified launch failure"):
        call(given)
    again = call(given)
    for one, two in zip(_values(again), _values(expected), strict=True):
        np.testing.assert_array_equal(_device.on_host(one), _device.on_host(two))


def _values(result):
    return list(result) if isinstance(result, tuple) else [result.loss, *result.grads.values()]
