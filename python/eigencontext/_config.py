"""What this build and this machine offer, and how many threads are used."""

from __future__ import annotations

import platform

import numpy as np
import scipy

from . import _core, _device
from ._arguments import check_choice, check_integer

__all__ = ["get_num_threads", "set_num_threads", "show_config"]


def get_num_threads() -> int:
    """Threads that the engine uses (all of the machine's, or EIGENCONTEXT_NUM_THREADS, unless told otherwise)."""
    return int(_core.num_threads())


def set_num_threads(n) -> None:
    """Use `n` >= 1 threads from now on. Results do not depend on the number."""
    _core.set_num_threads(check_integer(n, "n", 1, 1024))


def show_config(mode="stdout"):
    """What runs here: the BLAS and its version, the SIMD level, threads, and the CUDA device or why there is none.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print it, or return it as a dict (NumPy's convention).
    """
    check_choice(mode, "mode", ("stdout", "dicts"))
    from . import __version__

    no_cuda = _device.unavailable()
    config = {
        "eigencontext": __version__,
        "blas": _core.blas_version(),
        "simd": _core.simd_level(),
        "threads": get_num_threads(),
        "cuda": False if no_cuda else _device.engine("cuda").device_name(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    if no_cuda:
        config["cuda_reason"] = no_cuda
    if mode == "dicts":
        return config
    for key, value in config.items():
        print(f"{key:<13} {'no' if value is False else value}")
    return None
