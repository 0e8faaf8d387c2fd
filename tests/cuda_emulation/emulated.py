"""What the tests of this folder share: the module that was built, and arrays like CuPy's."""

import ctypes
import importlib
import os
import pathlib
import subprocess
import sys
import sysconfig

import numpy as np

PROJECT = pathlib.Path(__file__).resolve().parents[2]


def build() -> pathlib.Path:
    """Builds the CUDA sources for the processor; EIGENCONTEXT_CUDA_EMULATED names a folder that has them already."""
    ready = os.environ.get("EIGENCONTEXT_CUDA_EMULATED")
    if ready:
        return pathlib.Path(ready)
    import pybind11

    folder = PROJECT / "build" / f"cuda_emulation-{sysconfig.get_config_var('SOABI')}"
    run = lambda *command: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: E731
    cmake = ["cmake", "-S", PROJECT, "-B", folder, f"-DPython_EXECUTABLE={sys.executable}"]
    run(*cmake, f"-Dpybind11_DIR={pybind11.get_cmake_dir()}", "-DEIGENCONTEXT_CUDA_EMULATION=ON",
        "-DEIGENCONTEXT_CUDA=OFF")  # fmt: skip
    run("cmake", "--build", folder, "--target", "_cuda_emulated", "--parallel", str(os.cpu_count() or 1))
    return folder


def load():
    folder = str(build())
    if folder not in sys.path:
        sys.path.append(folder)
    import eigencontext  # noqa: F401  (loads OpenBLAS)

    return importlib.import_module("_cuda_emulated")


core = load()


class FakeCupy:
    """An array in device memory that NumPy can't read, described by the interface alone."""

    def __init__(self, array):
        packed = np.ascontiguousarray(array)
        self.array = core.to_device(packed.reshape(-1, packed.shape[-1]) if packed.ndim > 2 else packed)
        self.shape, self.dtype = array.shape, array.dtype
        self.strides, self.offset = None, 0  # bytes

    @property
    def __cuda_array_interface__(self):
        interface = self.array.__cuda_array_interface__
        data = (interface["data"][0] + self.offset, False)
        return {**interface, "shape": self.shape, "strides": self.strides, "data": data, "stream": 2}

    def get(self):
        """What it shows, as NumPy."""
        whole = self.array.get()
        packed = np.ndarray(self.shape, self.dtype, whole, self.offset, self.strides)
        return packed.copy()

    @classmethod
    def strided(cls, array, shape, strides, offset=0):
        """A view of the packed `array`, strides and offset in elements."""
        view = cls(array)
        view.shape, view.offset = shape, offset * array.itemsize
        view.strides = tuple(step * array.itemsize for step in strides)
        return view

    @classmethod
    def laid_out_as(cls, array):
        """A copy with the strides of `array`, and with what lies between its entries."""
        steps = [(size - 1) * stride for size, stride in zip(array.shape, array.strides, strict=True)]
        before, size = -sum(min(step, 0) for step in steps), sum(map(abs, steps)) + array.itemsize
        start = array.__array_interface__["data"][0] - before
        memory = np.frombuffer((ctypes.c_char * size).from_address(start), array.dtype)
        elements = [stride // array.itemsize for stride in array.strides]
        return cls.strided(memory, array.shape, elements, before // array.itemsize)


def given(*arrays):
    """NumPy arrays on the device; one alone where one is given."""
    moved = [core.to_device(np.ascontiguousarray(a)) for a in arrays]
    return moved[0] if len(moved) == 1 else moved
