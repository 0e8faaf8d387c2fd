"""What the tests of this folder share: the module that was built, and arrays like CuPy's."""

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
        self.strides = None

    @property
    def __cuda_array_interface__(self):
        interface = {**self.array.__cuda_array_interface__, "shape": self.shape, "strides": self.strides}
        return {**interface, "stream": 2}

    def get(self):
        """What it shows, as NumPy."""
        whole = self.array.get()
        strides = self.strides or whole.reshape(self.shape).strides
        return np.lib.stride_tricks.as_strided(whole, self.shape, strides)

    @classmethod
    def strided(cls, array, shape, strides, offset=0):
        """A view of the packed `array`, strides and offset in elements."""
        view = cls(array)
        view.shape, view.offset = shape, offset
        view.strides = tuple(step * array.itemsize for step in strides)
        return view


def given(*arrays):
    """NumPy arrays on the device; one alone where one is given."""
    moved = [core.to_device(np.ascontiguousarray(a)) for a in arrays]
    return moved[0] if len(moved) == 1 else moved
