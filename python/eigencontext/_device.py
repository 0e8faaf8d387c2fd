"""The CUDA device: its engine, arrays that live there, and what comes out in their place."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import _core

DEVICES = ("cpu", "cuda")

_DLPACK_CUDA = (2, 13)  # kDLCUDA, kDLCUDAManaged
_OUR_STREAM = 2  # of the thread that asks: as DLPack and __cuda_array_interface__ number it

#: where the engine for the device is imported from; tests put another module in its place
_MODULE = "eigencontext._cuda"

#: how a result becomes an array of the package that the input's type is from; others get what the engine made
FACTORIES: dict[str, Callable[[Any, Any], Any]] = {
    "cupy": lambda result, like: sys.modules["cupy"].asarray(result),
    "torch": lambda result, like: sys.modules["torch"].as_tensor(result, device=like.device),
}


def unavailable() -> str:
    """Why CUDA can't be used here, or an empty string."""
    try:
        return importlib.import_module(_MODULE).unavailable()
    except ModuleNotFoundError as error:
        if error.name != _MODULE:
            return str(error)
        return "not built (no nvcc or cuBLAS was found, see README)"
    except ImportError as error:  # a library that the module needs
        return str(error)


def engine(device: str) -> Any:
    """The compiled module that computes on `device`; RuntimeError where there is none."""
    if device == "cpu":
        return _core
    reason = unavailable()
    if reason:
        raise RuntimeError(f"device: got 'cuda', which is not available here: {reason}")
    return importlib.import_module(_MODULE)


def is_on_device(a: Any) -> bool:
    """Whether `a` is an array in CUDA memory."""
    told = getattr(a, "is_cuda", None)  # a torch tensor's interface may raise
    if told is not None:
        return bool(told)
    return hasattr(a, "__cuda_array_interface__") or _by_dlpack_alone(a)


def _by_dlpack_alone(a: Any) -> bool:
    if isinstance(a, (np.ndarray, np.generic, type)) or not hasattr(a, "__dlpack_device__"):
        return False
    return a.__dlpack_device__()[0] in _DLPACK_CUDA


def shown(a: Any) -> Any:
    """`a`, or where it speaks DLPack alone its memory with a `__cuda_array_interface__`, ready on our stream."""
    if hasattr(a, "is_cuda") or hasattr(a, "__cuda_array_interface__"):
        return a
    try:
        capsule = a.__dlpack__(stream=_OUR_STREAM, max_version=(1, 0))
    except TypeError:  # from before there were versions
        capsule = a.__dlpack__(stream=_OUR_STREAM)
    return engine("cuda").Dlpack(capsule)


def package(a: Any) -> str:
    """Which of the packages that have a factory `a` comes from, perhaps by inheritance; "" for none."""
    names = (cls.__module__.partition(".")[0] for cls in type(a).__mro__)
    return next((name for name in names if name in FACTORIES), "")


class Moved:
    """A NumPy array that was copied to the device; results come back as NumPy, or as the kind of array that `like`
    is."""

    def __init__(self, array: np.ndarray, like: Any = None):
        self.array, self.like = engine("cuda").to_device(array), like
        self.shape, self.dtype = array.shape, array.dtype
        engine("cuda").synchronize()  # other threads, on streams of their own, may read it

    def __reduce__(self):
        return Moved, (self.array.get(), self.like)

    @property
    def __cuda_array_interface__(self) -> dict:
        return {**self.array.__cuda_array_interface__, "shape": self.shape}


def holds_device_array(a: Any) -> bool:
    """Whether `a` is an array on the device, or a CSR matrix or a list of such."""
    if isinstance(a, (list, tuple)):
        return any(map(holds_device_array, a))
    return is_on_device(a) or is_on_device(getattr(a, "indptr", None))


def is_on_cpu(a: Any) -> bool:
    """Whether `a` is an array, sparse or not, in the host's memory. (A list is neither here nor there.)"""
    known = ("__array_interface__", "__dlpack__", "indptr")
    return any(hasattr(a, name) for name in known) and not holds_device_array(a)


def dtype_of(a: Any) -> np.dtype:
    return np.dtype(shown(a).__cuda_array_interface__["typestr"])


def shape_of(a: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in shown(a).__cuda_array_interface__["shape"])


def axes_of(a: Any) -> int:
    """How many axes an array has, wherever it is."""
    return len(shape_of(a)) if is_on_device(a) and not hasattr(a, "ndim") else np.ndim(a)


class View:
    """An array in device memory that is sliced as NumPy slices.

    `at` has the device's addresses: NumPy's own arithmetic of shapes and strides serves there too, as long as no entry
    is looked at. `owner` keeps the memory.
    """

    def __init__(self, at: np.ndarray, owner: Any, stream: int | None = None):
        self.at, self.owner, self.stream = at, owner, stream
        self.shape, self.dtype, self.ndim = at.shape, at.dtype, at.ndim

    @classmethod
    def of(cls, a: Any) -> View:
        """All of `a`."""
        if isinstance(a, View):
            return a
        a = shown(a)
        interface = a.__cuda_array_interface__
        known = {key: interface.get(key) for key in ("shape", "typestr", "data", "strides")}
        at = np.asarray(SimpleNamespace(__array_interface__={**known, "version": 3}))
        return cls(at, a, interface.get("stream") or _current_stream(a))

    @classmethod
    def zeros(cls, shape: tuple[int, ...], dtype: Any) -> View:
        """Zeros in new memory of the engine."""
        owner = engine("cuda").zeros(math.prod(shape[:-1]), shape[-1], np.dtype(dtype).name)
        whole = cls.of(owner)
        return cls(whole.at.reshape(shape), owner)

    @property
    def __cuda_array_interface__(self) -> dict:
        known = {key: self.at.__array_interface__[key] for key in ("shape", "typestr", "data")}
        return {**known, "strides": self.at.strides, "version": 3, "stream": self.stream}

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, key: Any) -> View:
        return View(self.at[key], self.owner, self.stream)

    def astype(self, dtype: Any, copy: bool = True) -> View:
        """In another precision; what has the right one is not copied."""
        if self.dtype == dtype:
            return self
        if self.ndim > 2:
            raise TypeError(f"views: got {self.dtype}; allowed: {np.dtype(dtype)}, as the other arrays on the device")
        return View.of(engine("cuda").converted(self, np.dtype(dtype).name))

    def get(self) -> np.ndarray:
        """As NumPy."""
        return on_host(self)


def _current_stream(a: Any) -> int | None:
    """The stream on which torch fills its tensors, whose interface does not tell; 1 is the default one."""
    if package(a) != "torch":
        return None
    return sys.modules["torch"].cuda.current_stream(a.device).cuda_stream or 1


def array(a: Any, name: str, ndim: int) -> View:
    """`a` with `ndim` axes on the device, after a check of its dtype and shape, not of its entries."""
    if reason := unavailable():
        what = f"a {type(a).__name__} on a GPU"
        raise TypeError(f"{name}: got {what}; allowed: arrays on the CPU (no CUDA here: {reason})")
    view = View.of(a)
    dtype, shape = view.dtype, view.shape
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"{name}: got dtype {dtype} on a CUDA device; allowed there: float32, float64")
    if len(shape) != ndim or 0 in shape:
        raise ValueError(
            f"{name}: got shape {shape}; allowed: an array with {ndim} axes, at least one entry along each"
        )
    engine("cuda").require_on_device(view.at.__array_interface__["data"][0], name)
    return view


def check_finite(a: View, name: str) -> None:
    """ValueError where there is a NaN or inf."""
    parts = [a] if a.ndim < 3 else [a[:, j] for j in range(a.shape[1])]
    if not all(engine("cuda").all_finite(part) for part in parts):
        raise ValueError(f"{name}: contains NaN or inf; allowed: finite numbers")


def matrix(a: Any, name: str) -> Any:
    """`a`, an array with two axes on the device, after a check of its dtype, shape and entries."""
    a = shown(a)
    check_finite(array(a, name, 2), name)
    return a


def converted(a: Any, dtype: Any) -> Any:
    """`a` in the dtype given, on its device."""
    if isinstance(a, np.ndarray):
        return a.astype(dtype, copy=False)
    a = shown(a)
    return a if dtype_of(a) == dtype else engine("cuda").converted(a, np.dtype(dtype).name)


def copied(result: Any) -> Any:
    """A copy of what the engine made, where it is."""
    if isinstance(result, np.ndarray):
        return result.copy()
    return engine("cuda").converted(result, dtype_of(result).name)


def on_host(a: Any) -> np.ndarray:
    """As NumPy, wherever `a` is: any dtype, any strides."""
    if not is_on_device(a):
        return np.asarray(a)
    view = View.of(a)
    at = view.at
    if at.size == 0:
        return np.empty(at.shape, at.dtype)
    steps = [(length - 1) * stride for length, stride in zip(at.shape, at.strides, strict=True)]
    before, after = -sum(min(step, 0) for step in steps), sum(max(step, 0) for step in steps)
    bytes_between = {
        "data": (at.__array_interface__["data"][0] - before, False),
        "shape": (before + after + at.itemsize,),
        "typestr": "|u1",
        "strides": None,
    }
    interface = {**view.__cuda_array_interface__, **bytes_between}
    packed = engine("cuda").bytes_of(SimpleNamespace(__cuda_array_interface__=interface))
    return np.ndarray(at.shape, at.dtype, packed, before, at.strides).copy()


class Output:
    """Turns what the engine made, on the device or the host, into the kind of array that `like` is: one on the device,
    or NumPy's."""

    def __init__(self, like: Any):
        self.like = like

    def __call__(self, result: Any) -> Any:
        like = self.like
        if isinstance(like, np.ndarray):
            return on_host(result)
        if isinstance(like, Moved):
            return on_host(result) if like.like is None else Output(like.like)(result)
        if isinstance(result, np.ndarray):
            result = _uploaded(result)
        engine("cuda").synchronize()  # whoever reads the result need not know our stream
        if isinstance(like, View):
            return View.of(result)
        result = _for_others(result)
        factory = FACTORIES.get(package(like))
        return result if factory is None else factory(result, like)


def _for_others(result: Any) -> Any:
    """The same for those whose streams we do not know: its memory is released when they can have no use for it."""
    if isinstance(result, View):
        return View(result.at, _for_others(result.owner), result.stream)
    return result.for_others() if isinstance(result, engine("cuda").DeviceArray) else result


def output_like(a: Any) -> Output:
    """What turns results into the kind of array that `a`, on the device or NumPy's, is."""
    return Output(a)


def _uploaded(array: np.ndarray) -> Any:
    if array.ndim < 3:
        return engine("cuda").to_device(array)
    owner = engine("cuda").to_device(array.reshape(-1, array.shape[-1]))
    return View(View.of(owner).at.reshape(array.shape), owner)


def one_device(devices: set[str], what: str) -> str:
    """The device that all of `devices` are; ValueError where they differ."""
    if len(devices) > 1:
        raise ValueError(f"{what}: got parts on the CPU and on a CUDA device; allowed: all on one device")
    return devices.pop()
