"""The CUDA device: its engine, arrays that live there, and what comes out in their place."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _core

DEVICES = ("cpu", "cuda")

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
    return hasattr(a, "__cuda_array_interface__")


class Moved:
    """A NumPy array that was copied to the device; results come back as NumPy."""

    def __init__(self, array: np.ndarray):
        self.array = engine("cuda").to_device(array)
        self.shape, self.dtype = array.shape, array.dtype

    @property
    def __cuda_array_interface__(self) -> dict:
        return {**self.array.__cuda_array_interface__, "shape": self.shape}


def dtype_of(a: Any) -> np.dtype:
    return np.dtype(a.__cuda_array_interface__["typestr"])


def shape_of(a: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in a.__cuda_array_interface__["shape"])


def matrix(a: Any, name: str) -> Any:
    """`a`, an array with two axes on the device, after a check of its dtype, shape and entries."""
    if reason := unavailable():
        what = f"a {type(a).__name__} on a GPU"
        raise TypeError(f"{name}: got {what}; allowed: arrays on the CPU (no CUDA here: {reason})")
    dtype, shape = dtype_of(a), shape_of(a)
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"{name}: got dtype {dtype} on a CUDA device; allowed there: float32, float64")
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"{name}: got shape {shape}; allowed: an array with 2 axes, at least one entry along each")
    if not engine("cuda").all_finite(a):
        raise ValueError(f"{name}: contains NaN or inf; allowed: finite numbers")
    return a


def converted(a: Any, dtype: Any) -> Any:
    """`a` in the dtype given, on its device."""
    if isinstance(a, np.ndarray):
        return a.astype(dtype, copy=False)
    return a if dtype_of(a) == dtype else engine("cuda").converted(a, np.dtype(dtype).name)


def on_host(result: Any) -> np.ndarray:
    """What the engine made, as NumPy."""
    return result if isinstance(result, np.ndarray) else result.get()


def output_like(a: Any) -> Callable[[Any], Any]:
    """A function that turns what the engine made on the device into the kind of array that `a` is."""

    def output(result: Any) -> Any:
        engine("cuda").synchronize()  # whoever reads the result need not know our stream
        if isinstance(a, Moved):
            return on_host(result)
        if isinstance(result, np.ndarray):
            result = engine("cuda").to_device(result)
        factory = FACTORIES.get(type(a).__module__.partition(".")[0])
        return result if factory is None else factory(result, a)

    return output


def one_device(devices: set[str], what: str) -> str:
    """The device that all of `devices` are; ValueError where they differ."""
    if len(devices) > 1:
        raise ValueError(f"{what}: got parts on the CPU and on a CUDA device; allowed: all on one device")
    return devices.pop()
