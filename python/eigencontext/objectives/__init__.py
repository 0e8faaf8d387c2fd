# ruff: noqa: F401  (the imports below name things for type checkers alone)
"""Losses of spectral representation learning: value and exact gradients, without a batch x batch matrix (THEORY 4)."""

from __future__ import annotations

import importlib as _importlib
import typing as _typing

if _typing.TYPE_CHECKING:
    from ._chain import chain
    from ._correlation import correlation, supervised_mse
    from ._doro import doro_weights
    from ._kise import kise
    from ._low_rank import low_rank, nested_low_rank, spectral_contrastive
    from ._moments import Moments
    from ._pairwise import exponential_low_rank, exponential_spectral_contrastive, info_nce, sigmoid
    from ._rayleigh import rayleigh
    from ._svme import svme
    from ._vicreg import barlow_twins, spectral_noncontrastive, vicreg

# One line a family: its module and its public names.
_FAMILIES = {
    "_chain": ["chain"],
    "_correlation": ["correlation", "supervised_mse"],
    "_doro": ["doro_weights"],
    "_kise": ["kise"],
    "_low_rank": ["low_rank", "nested_low_rank", "spectral_contrastive"],
    "_moments": ["Moments"],
    "_pairwise": ["exponential_low_rank", "exponential_spectral_contrastive", "info_nce", "sigmoid"],
    "_rayleigh": ["rayleigh"],
    "_svme": ["svme"],
    "_vicreg": ["barlow_twins", "spectral_noncontrastive", "vicreg"],
}
_MODULE_OF = {name: module for module, names in _FAMILIES.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name):
    """A family is imported when first asked for."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(set(globals()) | set(__all__))
