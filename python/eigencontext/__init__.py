"""eigencontext: certified spectra of contexts and of very large operators.

>>> import numpy as np, eigencontext as ec
>>> U, s, Vh = ec.svd(np.diag([3.0, 2.0, 1.0]), 2)
>>> np.round(s, 6)
array([3., 2.])
"""

from __future__ import annotations

import typing as _typing

__version__ = "0.1.0"


def _preload_openblas() -> None:
    """Load the OpenBLAS of the scipy-openblas32 wheel, wherever it is installed, so that `_core` finds it by its name.

    The package is located without being imported; a build against the machine's own BLAS goes on without it.
    """
    import ctypes
    import importlib.util
    import pathlib
    import sys

    spec = importlib.util.find_spec("scipy_openblas32")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for library in sorted((pathlib.Path(folder) / "lib").glob("libscipy_openblas*")):
            if library.suffix in (".so", ".dylib", ".dll"):
                try:
                    ctypes.CDLL(str(library), mode=getattr(ctypes, "RTLD_LOCAL", 0))
                except OSError as error:
                    print(f"eigencontext: {library} could not be loaded: {error}", file=sys.stderr)
                return


_preload_openblas()

from . import operators  # noqa: E402
from ._config import get_num_threads, set_num_threads, show_config  # noqa: E402
from ._linalg import eigh, randomized_svd, svd, svds  # noqa: E402
from ._plan import Plan, plan  # noqa: E402
from ._results import ClusterWarning, ConvergenceWarning, EighResult, SvdResult  # noqa: E402

if _typing.TYPE_CHECKING:
    from . import contexts, metrics, objectives
    from . import torch as torch
    from ._concatenate import Concatenation, concatenate
    from ._spectrum import Spectrum, load_spectrum, spectrum

_LAZY = {
    "contexts": ("contexts", None),
    "metrics": ("metrics", None),
    "objectives": ("objectives", None),
    "concatenate": ("_concatenate", "concatenate"),
    "Concatenation": ("_concatenate", "Concatenation"),
    "spectrum": ("_spectrum", "spectrum"),
    "Spectrum": ("_spectrum", "Spectrum"),
    "load_spectrum": ("_spectrum", "load_spectrum"),
    "torch": ("torch", None),  # not in __all__: it needs torch
}

__all__ = [
    "ClusterWarning",
    "Concatenation",
    "ConvergenceWarning",
    "EighResult",
    "Plan",
    "Spectrum",
    "SvdResult",
    "concatenate",
    "contexts",
    "eigh",
    "get_num_threads",
    "load_spectrum",
    "metrics",
    "objectives",
    "operators",
    "plan",
    "randomized_svd",
    "set_num_threads",
    "show_config",
    "spectrum",
    "svd",
    "svds",
]


if not _typing.TYPE_CHECKING:  # type checkers know the names from above

    def __getattr__(name):
        """Rooms that not every program needs are imported when first asked for."""
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        module, attribute = _LAZY[name]
        value = importlib.import_module(f"{__name__}.{module}")
        value = value if attribute is None else getattr(value, attribute)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
