"""Argument checks, in one place, so that every message names the user's argument, what came and what is allowed."""

from __future__ import annotations

import math
import numbers
import operator
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse

_CHUNK = 1 << 22  # entries looked at together when a large array is searched for NaN


def check_integer(value, name: str, low: int | None = None, high: int | None = None, high_name: str = "") -> int:
    """An integer within [low, high]; bool and float are a TypeError even where their value is whole."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (numbers.Integral, np.integer)):
        raise TypeError(f"{name}: got {_shown(value)}; allowed: an integer{_range(low, high, high_name)}")
    value = operator.index(value)
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError(f"{name}: got {value}; allowed: an integer{_range(low, high, high_name)}")
    return value


def check_number(
    value,
    name: str,
    low: float | None = None,
    high: float | None = None,
    *,
    open_low=False,
    open_high=False,
    start: str = "",
) -> float:
    """A finite real number between low and high; `open_low`, `open_high` exclude them; `start` says where to begin."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    allowed = "a finite number"
    if low is not None:
        allowed += f" {'>' if open_low else '>='} {low:g}"
    if high is not None:
        allowed += f"{' and' if low is not None else ''} {'<' if open_high else '<='} {high:g}"
    if start:
        allowed += f" ({start})"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (numbers.Real, np.floating, np.integer)):
        raise TypeError(f"{name}: got {_shown(value)}; allowed: {allowed}")
    value = float(value)
    bad = not math.isfinite(value)
    bad = bad or (low is not None and (value < low or (open_low and value == low)))
    bad = bad or (high is not None and (value > high or (open_high and value == high)))
    if bad:
        raise ValueError(f"{name}: got {value:g}; allowed: {allowed}")
    return value


def check_choice(value, name: str, allowed) -> str:
    """One of the strings in `allowed`."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: got {_shown(value)}; allowed: {_listed(allowed)}")
    if value not in allowed:
        raise ValueError(f"{name}: got {value!r}; allowed: {_listed(allowed)}")
    return value


def check_flag(value, name: str) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: got {_shown(value)}; allowed: True or False")
    return bool(value)


def check_seed(value, name: str = "seed") -> int:
    """An integer in [0, 2^64)."""
    return check_integer(value, name, 0, 2**64 - 1, "2**64 - 1")


def check_memory(value, name: str = "max_memory") -> int | None:
    """A number of bytes, or None for no limit."""
    if value is None:
        return None
    return int(check_number(value, name, 0, open_low=True))


def check_callback(value, name: str = "callback"):
    """None or something that can be called."""
    if value is not None and not callable(value):
        raise TypeError(f"{name}: got {_shown(value)}; allowed: None or a function of one argument")
    return value


def seed_from(random_state, name: str) -> int:
    """The engine's integer seed from what NumPy, SciPy and scikit-learn call rng or random_state.

    An integer is used as it is; None draws one from the operating system; a Generator or a RandomState gives its next
    integer (and so advances, as it does in the packages whose signature this is).
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0] >> np.uint64(1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(0, 2**63 - 1))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(0, 2**31 - 1))
    if random_state is np.random:  # scikit-learn's convention for the global state
        return int(np.random.randint(0, 2**31 - 1))
    if isinstance(random_state, (bool, np.bool_)) or not isinstance(random_state, (numbers.Integral, np.integer)):
        raise TypeError(
            f"{name}: got {_shown(random_state)}; allowed: None, an integer >= 0, a numpy Generator or RandomState"
        )
    return check_seed(random_state, name)


# -- arrays ------------------------------------------------------------------------------------------------------------


def real_dtype(dtype, name: str) -> np.dtype:
    """The dtype in which data of `dtype` is computed: float32 and float64 stay, float16 becomes float32, integers, bool
    and longdouble become float64; complex and everything else is a TypeError."""
    dtype = np.dtype(dtype)
    if dtype.kind == "c":
        raise TypeError(f"{name}: got dtype {dtype}; allowed: real numbers (pass the real and imaginary parts stacked)")
    if dtype.kind == "f":
        return np.dtype(np.float32 if dtype.itemsize <= 4 else np.float64)
    if dtype.kind in "iub":
        return np.dtype(np.float64)
    raise TypeError(f"{name}: got dtype {dtype}; allowed: floating point, integer or bool")


def real_array(a, name: str, ndim: int | None = None, dtype=None, *, finite: bool = True) -> np.ndarray:
    """`a` as a NumPy array of float32 or float64 (or `dtype`), without a copy where its layout allows.

    Parameters
    ----------
    a : array-like, or anything with ``__array__`` or DLPack on the CPU
    name : str
        The user's name for it.
    ndim : int, optional
        The number of axes it must have; none of them may have length 0.
    dtype : dtype, optional
        Convert to this in place of what the rules of `real_dtype` say.
    finite : bool
        Search it for NaN and inf. What had to be converted is always searched.
    """
    array = _to_numpy(a, name)
    if array.dtype.kind not in "fciub":
        raise TypeError(f"{name}: got dtype {array.dtype}{_of_what(a)}; allowed: floating point, integer or bool")
    wanted = real_dtype(array.dtype, name)  # refuses complex, whatever dtype was asked for
    if ndim is not None:
        if array.ndim != ndim:
            raise ValueError(
                f"{name}: got shape {array.shape}; allowed: an array with {ndim} {'axis' if ndim == 1 else 'axes'}"
            )
        if 0 in array.shape:
            raise ValueError(f"{name}: got shape {array.shape}; allowed: at least one entry along every axis")
    wanted = np.dtype(dtype) if dtype is not None else wanted
    source = array
    if array.dtype != wanted:
        with np.errstate(over="ignore"):
            array = array.astype(wanted)
    if any(step % array.itemsize for step in array.strides) or not array.flags.aligned:
        array = np.ascontiguousarray(array)
    if finite or array is not source:
        check_finite(array, name, source)
    return array


def check_finite(array: np.ndarray, name: str, source: np.ndarray | None = None) -> None:
    """ValueError naming the first NaN or inf of `array`. `source` is what it was converted from."""
    for index in _first_nonfinite(array):
        value = array[index]
        where = ", ".join(str(i) for i in index)
        if source is not None and np.isfinite(source[index]):
            raise ValueError(
                f"{name}: got {source[index]!s} at [{where}]; allowed: numbers that {array.dtype} can represent"
            )
        raise ValueError(f"{name}: got {value} at [{where}]; allowed: finite numbers (no NaN, no inf)")


def vector(a, name: str, length: int | None = None) -> np.ndarray:
    """`a` as a contiguous float64 vector, of `length` where one is given."""
    array = np.ascontiguousarray(real_array(a, name, 1, np.float64))
    if length is not None and array.shape[0] != length:
        raise ValueError(f"{name}: got length {array.shape[0]}; allowed: length {length}")
    return array


def is_sparse(a) -> bool:
    """Whether `a` is one of scipy.sparse's matrices or arrays."""
    return scipy.sparse.issparse(a)


def sparse_array(a, name: str, dtype=None) -> scipy.sparse.csr_array:
    """`a`, sparse in any of SciPy's formats, as a checked canonical CSR array (sorted, without duplicates).

    Nothing of the caller's is changed, and nothing is copied where `a` is canonical CSR of the right dtype.
    """
    if a.ndim != 2:
        raise ValueError(f"{name}: got a sparse array of shape {a.shape}; allowed: 2 axes")
    if 0 in a.shape:
        raise ValueError(f"{name}: got shape {a.shape}; allowed: at least one entry along every axis")
    wanted = real_dtype(a.dtype, name)
    wanted = np.dtype(dtype) if dtype is not None else wanted
    if a.format == "csr":
        try:
            a.check_format(full_check=True)
        except ValueError as error:
            raise ValueError(f"{name}: not a valid CSR matrix: {error}") from error
    own = a.format != "csr"
    csr = scipy.sparse.csr_array(a)
    if not csr.has_canonical_format:
        csr = csr if own else csr.copy()
        csr.sum_duplicates()
    data = csr.data
    if data.dtype != wanted:
        with np.errstate(over="ignore"):
            data = data.astype(wanted)
    integer = np.result_type(csr.indices.dtype, csr.indptr.dtype)
    integer = np.dtype(np.int32 if integer.itemsize <= 4 else np.int64)
    arrays = (
        np.ascontiguousarray(data),
        np.ascontiguousarray(csr.indices, dtype=integer),
        np.ascontiguousarray(csr.indptr, dtype=integer),
    )
    for (entry,) in _first_nonfinite(arrays[0]):
        row = int(np.searchsorted(arrays[2], entry, side="right")) - 1
        raise ValueError(
            f"{name}: got {data[entry]} at [{row}, {arrays[1][entry]}]; allowed: finite numbers (no NaN, no inf)"
        )
    result = scipy.sparse.csr_array(arrays, shape=csr.shape, copy=False)
    # SciPy narrows indices where it can: our copies keep the width that came in.
    result.data, result.indices, result.indptr = arrays
    result.has_canonical_format = True
    return result


def output_like(a) -> Callable[[np.ndarray], Any]:
    """A function that turns a NumPy result into the kind of array that `a` is (torch), or leaves it as it is."""
    torch = sys.modules.get("torch")
    return to_torch if torch is not None and isinstance(a, torch.Tensor) else unchanged


def unchanged(array):
    return array


def to_torch(array: np.ndarray):
    """A tensor that shares the memory of `array`, where that is contiguous."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(array))


def numpy_of(a, name: str):
    """`a` as NumPy where it is an array of another kind that `output_like` gives back, else as it is."""
    return a if output_like(a) is unchanged else _to_numpy(a, name)


def available_memory() -> int:
    """Bytes that this process may still take: the machine's available memory or the container's limit."""
    candidates = []
    try:
        with open("/proc/meminfo") as lines:
            candidates += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        pass
    try:
        with open("/sys/fs/cgroup/memory.max") as limit, open("/sys/fs/cgroup/memory.current") as used:
            candidates.append(max(0, int(limit.read()) - int(used.read())))
    except (OSError, ValueError):  # "max": no limit
        pass
    if not candidates:
        try:
            candidates.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
        except (AttributeError, ValueError, OSError):
            candidates.append(1 << 30)
    return min(candidates)


# -- details -----------------------------------------------------------------------------------------------------------


def _to_numpy(a, name: str) -> np.ndarray:
    if is_sparse(a):
        raise TypeError(f"{name}: got a sparse matrix; allowed: a dense array (use .toarray())")
    if isinstance(a, np.ma.MaskedArray):
        raise TypeError(f"{name}: got a masked array; allowed: an array without a mask (use .filled())")
    if isinstance(a, np.ndarray):
        return np.asarray(a)
    if hasattr(a, "__cuda_array_interface__"):
        raise TypeError(f"{name}: got a {type(a).__name__} on a GPU; allowed: arrays on the CPU (no CUDA here)")
    if hasattr(a, "detach") and hasattr(a, "requires_grad"):  # a torch tensor: NumPy refuses one that has a graph
        a = a.detach()
    try:
        array = np.asarray(a)
    except (ValueError, TypeError) as error:
        if "inhomogeneous" in str(error):
            raise ValueError(f"{name}: got rows of different lengths in {_shown(a)}; allowed: an array") from error
        if not hasattr(a, "__dlpack__"):
            raise type(error)(f"{name}: {type(a).__name__} cannot be made into an array: {error}") from error
        try:
            array = np.from_dlpack(a)
        except Exception as failure:
            raise TypeError(f"{name}: {type(a).__name__} cannot be made into an array: {failure}") from failure
    return array


def _of_what(a) -> str:
    """Which columns of a table hold no numbers, or what else than an array `a` is."""
    if isinstance(a, np.ndarray):
        return ""
    if not (hasattr(a, "columns") and hasattr(a, "dtypes")):
        return f" from {_shown(a)}"
    kinds = zip(a.columns, a.dtypes, strict=True)
    other = [f"{name!r} ({kind})" for name, kind in kinds if not isinstance(kind, np.dtype) or kind.kind not in "fciub"]
    more = f" and {len(other) - 5} more" if len(other) > 5 else ""
    return f" from {type(a).__name__} with column(s) {', '.join(other[:5])}{more}"


def _first_nonfinite(array: np.ndarray):
    """Yields the index of the first (in memory) entry that is not finite, if there is one.

    A finite sum has finite terms, so one addition an entry is all that good data costs.
    """
    if array.dtype.kind != "f" or array.size == 0:
        return
    flat = array.size <= _CHUNK
    with np.errstate(all="ignore"):
        if flat:
            if np.isfinite(array.sum()) or np.isfinite(array).all():
                return
            yield tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            return
        axis = int(np.argmax(np.abs(array.strides)))
        steps = max(1, _CHUNK // max(1, array.size // array.shape[axis]))
        for begin in range(0, array.shape[axis], steps):
            part = array[(slice(None),) * axis + (slice(begin, begin + steps),)]
            if np.isfinite(part.sum()) or np.isfinite(part).all():
                continue
            index = [int(i) for i in np.argwhere(~np.isfinite(part))[0]]
            index[axis] += begin
            yield tuple(index)
            return


def _shown(value) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def _listed(allowed) -> str:
    return ", ".join(repr(item) for item in allowed)


def _range(low, high, high_name="") -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f" >= {low}"
    return f" in {low} .. {high_name + ' = ' if high_name and not high_name.startswith('2**') else ''}{high}"
