"""Singular values as the metrics take them: an array, a spectrum, or one recovered from embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arguments import real_array


def singular_values(s: Any, name: str) -> tuple[np.ndarray, bool]:
    """Descending values in [0, 1] as float64, and whether it is known that all others are 0."""
    exhausted = bool(getattr(s, "exhausted", False))
    array = real_array(getattr(s, "singular_values", s), name, 1).astype(np.float64)
    if array.min() < 0 or array.max() > 1 + 1e-6:
        raise ValueError(
            f"{name}: got values in {array.min():g} .. {array.max():g}; allowed: singular values in [0, 1]"
        )
    if (np.diff(array) > 1e-12).any():
        raise ValueError(f"{name}: the values are not in descending order; allowed: {name}[0] >= {name}[1] >= ...")
    return np.minimum(array, 1.0), exhausted


def check_spectrum(spec: Any) -> Any:
    """A spectrum with at least one function."""
    from .._spectrum import Spectrum

    if not isinstance(spec, Spectrum):
        raise TypeError(f"spec: got {type(spec).__name__}; allowed: a spectrum (ec.spectrum)")
    if spec.k == 0:
        raise ValueError("spec: got no functions; allowed: at least 1")
    return spec
