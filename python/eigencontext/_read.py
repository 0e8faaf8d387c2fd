"""Files as data of contexts: which reader, which columns, and messages that say where a file is wrong.

NumPy, SciPy and pandas read; what they report is put into the user's terms. Nothing is ever unpickled.
"""

from __future__ import annotations

import itertools
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

FORMATS = ("npy", "npz", "csv", "tsv", "parquet", "mtx", "edges")
_TABLES = ("csv", "tsv", "parquet")
_PICKLE = "a pickle, which is refused: it may run code; allowed: arrays of numbers"


@dataclass
class Input:
    """What a file holds: `data` for the contexts, `labels` where a column was named, and what to tell the user."""

    data: Any
    default_context: str
    labels: np.ndarray | None = None
    notes: list[str] = field(default_factory=list)


def read(
    path: str,
    format: str | None = None,
    *,
    drop: Sequence[str] = (),
    label: str | None = None,
    standardize: bool = False,
    directed: bool = False,
) -> Input:
    """The contents of `path` as an array or a sparse matrix.

    Parameters
    ----------
    path : str
    format : one of `FORMATS`, optional
        Whatever the name ends in.
    drop, label : str
        Columns of a table that are no features; `label` becomes `labels`.
    standardize : bool
        Mean 0 and standard deviation 1 for each column of a dense array or a table.
    directed : bool
        An edge list is read as it stands; otherwise every edge goes both ways.

    Raises
    ------
    ValueError, OSError, ImportError
        The file and the line, row or column are named where they are known.
    """
    _require_file(path)
    ending = format or os.path.splitext(path)[1].lstrip(".").lower()
    if ending not in FORMATS:
        known = ", ".join(f".{name}" for name in FORMATS)
        raise ValueError(f"INPUT: got {path}; allowed: {known} (or say which with --format)")
    for option, given in (("--drop", drop), ("--label", label)):
        if given and ending not in _TABLES:
            raise ValueError(f"{option}: got {given} for .{ending}; allowed: columns of .csv, .tsv and .parquet")
    if directed and ending != "edges":
        raise ValueError(f"--directed: got it for .{ending}; allowed: edge lists (.edges)")
    if ending in _TABLES:
        result = _of_frame(path, _frame(path, ending), drop, label)
    elif ending == "edges":
        result = _edges(path, directed)
    else:
        result = {"npy": _npy, "npz": _npz, "mtx": _mtx}[ending](path)
    if standardize:
        result.data = _standardized(path, result)
    return result


def _require_file(path: str) -> None:
    if not os.path.exists(path):
        raise FileNotFoundError(f"INPUT: {path} does not exist")
    if not os.path.isfile(path):
        raise IsADirectoryError(f"INPUT: {path} is a folder; allowed: a file")
    if os.path.getsize(path) == 0:
        raise ValueError(f"INPUT: {path} is empty")


def _unreadable(path: str, ending: str, error: Any) -> ValueError:
    return ValueError(f"INPUT: {path} can't be read as .{ending}: {' '.join(str(error).split())}")


# -- arrays ----------------------------------------------------------------------------------------------------------


def _require_start(path: str, ending: str, magic: bytes) -> None:
    """What the file begins with: NumPy takes anything it does not know for a pickle."""
    with open(path, "rb") as file:
        start = file.read(6)
    if start[:1] == b"\x80":
        raise ValueError(f"INPUT: {path} is {_PICKLE}")
    if not start.startswith(magic):
        raise ValueError(f"INPUT: {path} is no .{ending} file (its first bytes are {start!r})")


def _npy(path: str) -> Input:
    _require_start(path, "npy", b"\x93NUMPY")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise _not_numbers(path, "npy", error) from error
    return _array(path, array)


def _npz(path: str) -> Input:
    _require_start(path, "npz", b"PK")
    try:
        with np.load(path, allow_pickle=False) as file:
            if "format" in file.files and "shape" in file.files:
                return Input(sp.load_npz(path), "counts")
            if "singular_values" in file.files:
                raise ValueError("it is a saved spectrum; allowed: data (ec.load_spectrum reads a spectrum)")
            if len(file.files) != 1 and "X" not in file.files:
                raise ValueError(f"it holds {', '.join(file.files) or 'nothing'}; allowed: one array, or one named X")
            return _array(path, file["X" if "X" in file.files else file.files[0]])
    except (OSError, EOFError, KeyError) as error:
        raise _unreadable(path, "npz", error) from error
    except Exception as error:  # of a damaged archive: zipfile, zlib, struct, NumPy and SciPy have their own
        raise _not_numbers(path, "npz", error) from error


def _array(path: str, array: np.ndarray) -> Input:
    if array.size == 0:
        raise ValueError(f"INPUT: {path} has shape {array.shape}; allowed: at least one entry along every axis")
    return Input(array, "neighbors")


def _not_numbers(path: str, ending: str, error: Exception) -> ValueError:
    if "allow_pickle" in str(error) or "Python objects" in str(error):
        return ValueError(f"INPUT: {path} holds {_PICKLE}")
    return _unreadable(path, ending, error)


def _mtx(path: str) -> Input:
    import scipy.io

    try:
        matrix = scipy.io.mmread(path)
    except (ValueError, OverflowError) as error:  # they name the line
        raise _unreadable(path, "mtx", error) from error
    if 0 in matrix.shape:
        raise ValueError(f"INPUT: {path} has shape {matrix.shape}; allowed: at least one entry along every axis")
    return Input(sp.csr_array(matrix), "counts")


def _standardized(path: str, result: Input) -> np.ndarray:
    if sp.issparse(result.data) or result.data.ndim != 2 or result.data.dtype.kind not in "fiub":
        raise ValueError(f"--standardize: {path} is no dense table of numbers; allowed: tables and dense arrays")
    X = np.asarray(result.data, dtype=None if result.data.dtype == np.float32 else np.float64)
    mean, deviation = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    constant = np.flatnonzero(X.min(axis=0) == X.max(axis=0))
    if len(constant):
        result.notes.append(f"{len(constant)} constant column(s) became 0")
        deviation[constant] = 1.0
    return ((X - mean) / deviation).astype(X.dtype)


# -- tables ----------------------------------------------------------------------------------------------------------


def _pandas(path: str) -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError(f"reading {path} needs pandas: pip install 'eigencontext[io]'") from error
    return pandas


def _frame(path: str, ending: str) -> Any:
    pandas = _pandas(path)
    if ending == "parquet":
        try:
            return pandas.read_parquet(path)
        except ImportError as error:
            raise ImportError(f"reading {path} needs pyarrow: pip install 'eigencontext[io]'") from error
        except Exception as error:  # pyarrow's, which can't be named without importing it
            raise _unreadable(path, ending, error) from error
    options: dict[str, Any] = {"sep": "\t" if ending == "tsv" else ","}
    try:
        first = pandas.read_csv(path, header=None, nrows=1, dtype=str, **options).iloc[0]
        if pandas.to_numeric(first, errors="coerce").notna().all():  # no names in the first line
            frame = pandas.read_csv(path, header=None, **options)
            return frame.rename(columns=lambda number: f"column{number + 1}")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            return pandas.read_csv(path, index_col=False, **options)
    except pandas.errors.ParserWarning as error:  # pandas would leave the last fields out
        raise _unreadable(path, ending, "lines with more fields than there are names in line 1") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"INPUT: {path} is no UTF-8 text, first in line {_line_not_utf8(path)}") from error
    except (ValueError, pandas.errors.ParserError) as error:  # they name the line
        raise _unreadable(path, ending, error) from error


def _line_not_utf8(path: str) -> int:
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 0


def _of_frame(path: str, frame: Any, drop: Sequence[str], label: str | None) -> Input:
    pandas = _pandas(path)
    frame = frame.rename(columns=str)
    for option, names in (("--drop", drop), ("--label", [label] if label else [])):
        unknown = [name for name in names if name not in frame.columns]
        if unknown:
            raise ValueError(f"{option}: {path} has no column {unknown[0]!r}; allowed: {', '.join(frame.columns)}")
    if len(frame) == 0:
        raise ValueError(f"INPUT: {path} has no rows (only names: {', '.join(frame.columns)})")
    labels = _labels(path, frame[label]) if label else None
    features = frame.drop(columns=[*drop, *([label] if label else [])])
    numeric = features.select_dtypes(include=["number", "bool"])
    other = [_not_numeric(pandas, features[name]) for name in features.columns if name not in numeric.columns]
    if numeric.shape[1] == 0:
        raise ValueError(f"INPUT: {path} has no numeric column; found: {', '.join(other) or 'none at all'}")
    small = all(str(kind) in ("float32", "float16") for kind in numeric.dtypes)
    X = numeric.to_numpy(dtype=np.float32 if small else np.float64, na_value=np.nan)
    bad = np.argwhere(~np.isfinite(X))
    if len(bad):
        row, column = bad[0]
        what = "no value" if np.isnan(X[row, column]) else f"{X[row, column]}"
        raise ValueError(
            f"INPUT: {path} has {what} in column {numeric.columns[column]!r}, row {row + 1} ({len(bad)} such entries "
            f"in {len(np.unique(bad[:, 1]))} column(s)); allowed: finite numbers (--drop leaves columns out)"
        )
    notes = [f"columns used: {', '.join(numeric.columns)}"]
    if other:
        notes.append(f"columns not used, as they are not numeric: {', '.join(other)}")
    return Input(np.ascontiguousarray(X), "neighbors", labels, notes)


def _labels(path: str, column: Any) -> np.ndarray:
    missing = np.flatnonzero(column.isna())
    if len(missing):
        raise ValueError(f"--label: {path} has no value in column {column.name!r}, row {missing[0] + 1}")
    return column.to_numpy() if column.dtype.kind in "biuf" else column.astype(str).to_numpy(dtype=str)


def _not_numeric(pandas: Any, column: Any) -> str:
    """The name and the first value that is no number, which a single typing error in a column of numbers would be."""
    culprits = column[column.notna() & pandas.to_numeric(column, errors="coerce").isna()]
    return f"{column.name} ({culprits.iloc[0]!r} in row {culprits.index[0] + 1})" if len(culprits) else str(column.name)


# -- graphs ----------------------------------------------------------------------------------------------------------


def _edges(path: str, directed: bool) -> Input:
    """Lines `node node [weight]`, separated by blanks or commas; # and % begin comments. Repeated edges add up."""
    table = _edge_table(path)
    nodes, index = np.unique(table[:, :2], return_inverse=True)
    index = index.reshape(-1, 2)
    if np.char.isdecimal(nodes).all():  # numbers are put in the order of numbers
        order = np.argsort(nodes.astype(np.uint64), kind="stable")
        index = np.argsort(order)[index]
    weights = _edge_weights(path, table)
    adjacency = sp.csr_array(sp.coo_array((weights, (index[:, 0], index[:, 1])), shape=(len(nodes), len(nodes))))
    if not directed:  # whether a file lists an edge once or both ways
        adjacency = sp.csr_array(adjacency.maximum(adjacency.T))
    kind = "directed" if directed else "undirected"
    return Input(adjacency, "graph", notes=[f"{kind} graph of {len(nodes)} nodes, in the order of their names"])


def _edge_table(path: str) -> np.ndarray:
    try:
        with open(path, encoding="utf-8") as lines:
            comma = any("," in re.split("[#%]", line)[0] for line in lines)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "input contained no data": said below
            table = np.loadtxt(
                path, str, comments=("#", "%"), delimiter="," if comma else None, ndmin=2, encoding="utf-8"
            )
    except UnicodeDecodeError as error:
        raise ValueError(f"INPUT: {path} is no UTF-8 text, first in line {_line_not_utf8(path)}") from error
    except ValueError as error:
        found = re.search(r"changed from (\d+) to (\d+) at row (\d+)", str(error))
        if not found:
            raise _unreadable(path, "edges", error) from error
        first, other, row = map(int, found.groups())
        line = _edge_line(path, row)
        raise ValueError(f"INPUT: {path} has {other} fields in line {line}, {first} before it") from error
    if table.size == 0:
        raise ValueError(f"INPUT: {path} has no edges")
    if table.shape[1] not in (2, 3):
        line = _edge_line(path, 1)
        raise ValueError(f"INPUT: {path} has {table.shape[1]} fields in line {line}; allowed: node node [weight]")
    return np.char.strip(table)


def _edge_weights(path: str, table: np.ndarray) -> np.ndarray:
    if table.shape[1] == 2:
        return np.ones(len(table))
    try:
        return table[:, 2].astype(np.float64)
    except ValueError as error:
        for row, text in enumerate(table[:, 2], 1):
            try:
                float(text)
            except ValueError:
                line = _edge_line(path, row)
                raise ValueError(f"INPUT: {path} has weight {str(text)!r} in line {line}; allowed: numbers") from error
        raise


def _edge_line(path: str, row: int) -> int:
    """The number of the line in which a row of the table stands: comments and empty lines are no rows."""
    with open(path, encoding="utf-8") as lines:
        rows = (number for number, line in enumerate(lines, 1) if re.split("[#%]", line)[0].strip())
        return next(itertools.islice(rows, row - 1, None))
