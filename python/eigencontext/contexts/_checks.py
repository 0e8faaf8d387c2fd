"""What contexts check and add up beyond `_arguments`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from .. import _device
from .._arguments import is_sparse, output_like, real_array, sparse_array

#: entries of a dense matrix that are added up at a time
_BLOCK = 1 << 20


def received(value: Any, name: str) -> tuple[Any, Any]:
    """`value` on the host, where contexts are built, and what turns results into its kind of array."""
    if not _device.holds_device_array(value):
        return value, output_like(value)
    if reason := _device.unavailable():
        what = f"a {type(value).__name__} on a GPU"
        raise TypeError(f"{name}: got {what}; allowed: arrays on the CPU (no CUDA here: {reason})")
    if isinstance(value, (list, tuple)):
        return [received(item, name)[0] for item in value], _device.output_like(value[0])
    if _device.is_on_device(value):
        return _device.on_host(value), _device.output_like(value)
    if getattr(value, "format", "csr") != "csr":
        raise TypeError(f"{name}: got format {value.format!r} on a CUDA device; allowed there: 'csr' (use .tocsr())")
    parts = [_device.on_host(part) for part in (value.data, value.indices, value.indptr)]
    return sp.csr_array(tuple(parts), shape=tuple(value.shape)), _device.output_like(value.data)


def on_one_device(values: dict[str, Any]) -> None:
    """ValueError where some of the arrays are on the CPU and some on a CUDA device. (None and lists are neither.)"""
    devices = {"cuda" for value in values.values() if _device.holds_device_array(value)}
    devices |= {"cpu" for value in values.values() if _device.is_on_cpu(value)}
    if devices:
        _device.one_device(devices, ", ".join(values))


def real_matrix(value: Any, name: str) -> np.ndarray | sp.csr_array:
    """A finite dense array, or a scipy.sparse matrix as CSR without duplicates; the user's is not changed."""
    return sparse_array(value, name) if is_sparse(value) else real_array(value, name, 2)


def nonnegative(matrix: np.ndarray | sp.csr_array, name: str) -> np.ndarray | sp.csr_array:
    values = stored_values(matrix)
    if values.size and values.min() < 0:
        raise ValueError(f"{name}: got negative entries, the smallest {values.min():g}; allowed: entries >= 0")
    return matrix


def stored_values(matrix: Any) -> np.ndarray:
    return matrix.data if is_sparse(matrix) else matrix


def points(value: Any, name: str, fitted: np.ndarray) -> np.ndarray:
    """New points with the features and the type of the fitted ones."""
    X = real_array(value, name, 2, fitted.dtype)
    if X.shape[1] != fitted.shape[1]:
        raise ValueError(f"{name}: got {X.shape[1]} columns; allowed: {fitted.shape[1]}, as the fitted points have")
    return X


def row_sums(matrix: np.ndarray | sp.csr_array) -> np.ndarray:
    """Sums in float64, whatever the storage."""
    if is_sparse(matrix):
        return np.asarray(matrix @ np.ones(matrix.shape[1]))
    return np.concatenate([block.sum(axis=1, dtype=np.float64) for block in _row_blocks(matrix)])


def column_sums(matrix: np.ndarray | sp.csr_array) -> np.ndarray:
    if is_sparse(matrix):
        return np.asarray(matrix.T @ np.ones(matrix.shape[0]))
    total = np.zeros(matrix.shape[1])
    for block in _row_blocks(matrix):
        total += block.sum(axis=0, dtype=np.float64)
    return total


def _row_blocks(matrix: np.ndarray) -> Iterator[np.ndarray]:
    """Row-major, so that NumPy adds in the same order whatever the layout of the whole."""
    step = max(1, _BLOCK // matrix.shape[1])
    for start in range(0, len(matrix), step):
        yield np.ascontiguousarray(matrix[start : start + step])


def close_to_one(sums: np.ndarray, message: str, dtype: np.dtype) -> None:
    """|sums - 1| <= sqrt(eps), what a well computed distribution of this type easily reaches."""
    tolerance = float(np.sqrt(np.finfo(dtype).eps))
    worst = float(np.max(np.abs(sums - 1.0)))
    if not worst <= tolerance:
        raise ValueError(f"{message} by up to {worst:.3g}; allowed: {tolerance:.1g}")


def listed(indices: np.ndarray, limit: int = 5) -> str:
    """`0, 3, 7, ...`: the first few of `indices`, for messages."""
    text = ", ".join(str(int(i)) for i in indices[:limit])
    return text + (", ..." if len(indices) > limit else "")
