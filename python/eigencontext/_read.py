"""Files as data of contexts: which reader, which columns, and messages that say where a file is wrong.

NumPy, SciPy and pandas read; what they report is put into the user's terms. Nothing is ever unpickled.
"""

from __future__ import annotations

import csv
import difflib
import itertools
import math
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

FORMATS = ("npy", "npz", "csv", "tsv", "parquet", "mtx", "edges", "txt")
_TABLES = ("csv", "tsv", "parquet")
#: of the columns of a table, in messages
_NAMES_SHOWN = 20
#: lines of a text that are looked at: whether they are numbers
_LINES = 20
_PICKLE = "a pickle, which is refused: it may run code; allowed: arrays of numbers"


@dataclass
class Input:
    """What a file holds: `data` for the contexts, `labels` for those of labels and `probed` for a linear probe where
    columns were named, and what to tell the user."""

    data: Any
    default_context: str
    labels: np.ndarray | None = None
    probed: np.ndarray | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def is_text(self) -> bool:
        return isinstance(self.data, Documents)


@dataclass
class Documents:
    """The texts of files, read one after the other whenever somebody goes through them."""

    paths: list[str]

    def __iter__(self) -> Iterator[str]:
        for path in self.paths:
            with open(path, encoding="utf-8-sig") as file:
                try:
                    yield file.read()
                except UnicodeDecodeError as error:
                    raise _not_utf8(path) from error


def read(
    path: str,
    format: str | None = None,
    *,
    drop: Sequence[str] = (),
    label: str | None = None,
    probe: str | None = None,
    standardize: bool = False,
    directed: bool = False,
) -> Input:
    """The contents of `path` as an array, a sparse matrix or documents.

    Parameters
    ----------
    path : str
        A file, or a folder of texts: each of its .txt files (with format="txt" each file), in the order of their
        names, folders in it included, is a document.
    format : one of `FORMATS`, optional
        Whatever the name ends in.
    drop, label, probe : str
        Columns of a table that are no features; `label` becomes `labels`, `probe` becomes `probed`. An entry of `drop`
        that is no column is a list of them, separated by commas.
    standardize : bool
        Mean 0 and standard deviation 1 for each column of a dense array or a table.
    directed : bool
        An edge list is read as it stands; otherwise every edge goes both ways.

    Raises
    ------
    ValueError, OSError, ImportError
        The file and the line, row or column are named where they are known.
    """
    _require_file(path, format)
    ending = format or ("txt" if os.path.isdir(path) else os.path.splitext(path)[1].lstrip(".").lower())
    if ending not in FORMATS:
        known = ", ".join(f".{name}" for name in FORMATS)
        raise ValueError(f"INPUT: got {path}; allowed: {known} (or say which with --format)")
    for option, given in (("--drop", drop), ("--label", label), ("--labels", probe)):
        if given and ending not in _TABLES:
            shown = given if isinstance(given, str) else ",".join(given)
            raise ValueError(
                f"{option}: got {shown}, but .{ending} has no named columns; allowed: columns of .csv, .tsv and "
                ".parquet (write the data as one of these)"
            )
    if directed and ending != "edges":
        raise ValueError(f"--directed: got it for .{ending}; allowed: edge lists (.edges)")
    if ending in _TABLES:
        result = _of_frame(path, _frame(path, ending), drop, {"--label": label, "--labels": probe})
    elif ending == "edges":
        result = _edges(path, directed)
    elif ending == "txt":
        result = _documents(path, every=format is not None)
    else:
        result = {"npy": _npy, "npz": _npz, "mtx": _mtx}[ending](path)
    if standardize:
        result.data = _standardized(path, result)
    return result


def _require_file(path: str, format: str | None) -> None:
    if not os.path.exists(path):
        raise FileNotFoundError(f"INPUT: {path} does not exist")
    if os.path.isdir(path):
        if format not in (None, "txt"):
            raise IsADirectoryError(f"INPUT: {path} is a folder; allowed for .{format}: a file")
        return
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
    if not isinstance(result.data, np.ndarray) or result.data.ndim != 2 or result.data.dtype.kind not in "fiub":
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
        _require_separated(ending, first)
        numbers = first[pandas.to_numeric(first, errors="coerce").notna()]
        if len(numbers) == len(first):  # no names in the first line
            frame = pandas.read_csv(path, header=None, **options)
            return frame.rename(columns=lambda number: f"column{number + 1}")
        if len(numbers):
            warnings.warn(
                f"{path}: line 1 is taken for names, though it has numbers ({', '.join(numbers[:3])}); if it is data, "
                "write names above it",
                UserWarning,
                stacklevel=2,
            )
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            return pandas.read_csv(path, index_col=False, **options)
    except pandas.errors.ParserWarning as error:  # pandas would leave the last fields out
        raise _unreadable(path, ending, _overfull_line(path, ending)) from error
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    except (ValueError, pandas.errors.ParserError) as error:  # they name the line
        raise _unreadable(path, ending, error) from error


def _require_separated(ending: str, first: Any) -> None:
    found = [name for sign, name in ((";", "semicolons"), ("\t", "tabs"), (",", "commas")) if sign in str(first[0])]
    if len(first) == 1 and found:
        wanted = "tabs" if ending == "tsv" else "commas (tabs: .tsv, or --format tsv)"
        raise ValueError(f"it seems to have {found[0]} between its fields; allowed: {wanted}")


def _overfull_line(path: str, ending: str) -> str:
    """The first line that has more fields than the first one, which has the names."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, delimiter="\t" if ending == "tsv" else ",")
        names = next(fields for fields in lines if fields)
        for fields in lines:
            if len(fields) > len(names):
                return f"{len(fields)} fields in line {lines.line_num}, {len(names)} names in line 1"
    return "lines with more fields than there are names in line 1"


def _of_frame(path: str, frame: Any, drop: Sequence[str], named: dict[str, str | None]) -> Input:
    """`named`: the columns that options take out for labels."""
    pandas = _pandas(path)
    frame = frame.rename(columns=str)
    drop = [name for names in drop for name in ([names] if names in frame.columns else names.split(","))]
    taken = {option: name for option, name in named.items() if name}
    for option, names in (("--drop", drop), *((option, [name]) for option, name in taken.items())):
        unknown = [name for name in names if name not in frame.columns]
        if unknown:
            near = difflib.get_close_matches(unknown[0], frame.columns, n=1)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(
                f"{option}: {path} has no column {unknown[0]!r}{meant}; allowed: {_listed(list(frame.columns))}"
            )
    if len(frame) == 0:
        raise ValueError(f"INPUT: {path} has no rows (only names: {_listed(list(frame.columns))})")
    columns = {option: _labels(option, path, frame[name]) for option, name in taken.items()}
    features = frame.drop(columns=[*drop, *taken.values()])
    counts = [name for name in features.columns if name.startswith("Unnamed:") and _counts_rows(features[name])]
    features = features.drop(columns=counts)
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
    notes = [f"columns used: {_listed(list(numeric.columns))}"]
    if counts:
        notes.append(f"columns not used, as they have no name and number the rows: {', '.join(counts)}")
    if other:
        notes.append(f"columns not used, as they are not numeric: {_listed(other)}")
    labels, probed = columns.get("--label"), columns.get("--labels")
    return Input(np.ascontiguousarray(X), "neighbors", labels, probed, notes)


def _listed(names: list[str]) -> str:
    """All names, or the first and the last of very many."""
    if len(names) <= _NAMES_SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[: _NAMES_SHOWN - 2])}, ..., {names[-1]} ({len(names)} in all)"


def _counts_rows(column: Any) -> bool:
    """Whether this is the index that pandas and R write before the first column."""
    return column.dtype.kind in "iu" and len(column) > 1 and bool((np.diff(column) == 1).all())


def _labels(option: str, path: str, column: Any) -> np.ndarray:
    missing = np.flatnonzero(column.isna())
    if len(missing):
        raise ValueError(f"{option}: {path} has no value in column {column.name!r}, row {missing[0] + 1}")
    return column.to_numpy() if column.dtype.kind in "biuf" else column.astype(str).to_numpy(dtype=str)


def _not_numeric(pandas: Any, column: Any) -> str:
    """The name and the first value that is no number, which a single typing error in a column of numbers would be."""
    rows = np.flatnonzero(column.notna() & pandas.to_numeric(column, errors="coerce").isna())
    return f"{column.name} ({column.iloc[rows[0]]!r} in row {rows[0] + 1})" if len(rows) else str(column.name)


# -- texts -----------------------------------------------------------------------------------------------------------


def _documents(path: str, every: bool) -> Input:
    if not os.path.isdir(path):
        if not every:
            _require_words(path)
        return Input(Documents([path]), "cooccurrence")
    files = sorted(os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    texts = [name for name in files if every or name.lower().endswith(".txt")]
    if not texts:
        found = f"{len(files)} other file(s); with --format txt they are read too" if files else "nothing"
        raise ValueError(f"INPUT: {path} is a folder without .txt files (it has {found})")
    notes = [f"{len(texts)} documents"]
    if len(texts) < len(files):
        notes.append(f"{len(files) - len(texts)} file(s) not read, as they do not end in .txt (--format txt reads all)")
    return Input(Documents(texts), "cooccurrence", notes=notes)


def _require_words(path: str) -> None:
    """Whether the first lines, but for one of names, are numbers: a table, of which nobody wants the digits counted."""
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        lines = [line for line in itertools.islice(file, _LINES) if line.strip()]
    fields = [re.split(r"[\s,;]+", line.strip(" \t\r\n,;")) for line in lines]
    if len(fields) > 1 and all(_is_finite(field) for line in fields[1:] for field in line):
        signs = {",": "--format csv", "\t": "--format tsv"}
        table = next((how for sign, how in signs.items() if sign in lines[1].strip()), "commas between the numbers")
        raise ValueError(
            f"INPUT: {path} holds numbers and no words (line 2 begins {lines[1].strip()[:30]!r}); allowed: for a "
            f"table {table}, for edges --format edges, for numbers that are words --format txt"
        )


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _not_utf8(path: str) -> ValueError:
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return ValueError(f"INPUT: {path} is no UTF-8 text, first in line {number}")
    return ValueError(f"INPUT: {path} is no UTF-8 text")


# -- graphs ----------------------------------------------------------------------------------------------------------


def _edges(path: str, directed: bool) -> Input:
    """Lines `node node [weight]`, separated by blanks or commas; # and % begin comments. Repeated edges add up."""
    table = _edge_table(path)
    _require_no_header(path, table)
    nodes, index = np.unique(table[:, :2], return_inverse=True)
    index = index.reshape(-1, 2)
    if np.char.isdecimal(nodes).all():  # numbers are put in the order of numbers
        digits = np.char.lstrip(nodes, "0")
        order = np.lexsort((digits, np.char.str_len(digits)))
        index = np.argsort(order)[index]
    weights = _edge_weights(path, table)
    adjacency = sp.csr_array(sp.coo_array((weights, (index[:, 0], index[:, 1])), shape=(len(nodes), len(nodes))))
    if not directed:  # whether a file lists an edge once or both ways
        adjacency = sp.csr_array(adjacency.maximum(adjacency.T))
    kind = "directed" if directed else "undirected"
    return Input(adjacency, "graph", notes=[f"{kind} graph of {len(nodes)} nodes, in the order of their names"])


def _edge_table(path: str) -> np.ndarray:
    try:
        with open(path, encoding="utf-8-sig") as lines:
            comma = any("," in re.split("[#%]", line)[0] for line in lines)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "input contained no data": said below
            table = np.loadtxt(
                path, str, comments=("#", "%"), delimiter="," if comma else None, ndmin=2, encoding="utf-8-sig"
            )
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
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


def _require_no_header(path: str, table: np.ndarray) -> None:
    """Names above the columns would be two more nodes."""
    numbers = np.char.isdecimal(table[:, :2])
    if len(table) > 1 and numbers[1:].all() and not numbers[0].any():
        names = ", ".join(map(str, table[0]))
        raise ValueError(f"INPUT: {path} has names ({names}) in line {_edge_line(path, 1)}; allowed: edges only")


def _edge_weights(path: str, table: np.ndarray) -> np.ndarray:
    if table.shape[1] == 2:
        return np.ones(len(table))
    try:
        weights = table[:, 2].astype(np.float64)
        wrong = np.flatnonzero(~((weights >= 0) & (weights < np.inf)))
    except ValueError:
        wrong = np.array([row for row, text in enumerate(table[:, 2]) if not _is_number(text)])
    if len(wrong):
        text, line = str(table[wrong[0], 2]), _edge_line(path, int(wrong[0]) + 1)
        raise ValueError(f"INPUT: {path} has weight {text!r} in line {line}; allowed: finite numbers >= 0")
    return weights


def _is_number(text: str) -> bool:
    try:
        return float(text) >= 0
    except ValueError:
        return False


def _edge_line(path: str, row: int) -> int:
    """The number of the line in which a row of the table stands: comments and empty lines are no rows."""
    with open(path, encoding="utf-8-sig") as lines:
        rows = (number for number, line in enumerate(lines, 1) if re.split("[#%]", line)[0].strip())
        return next(itertools.islice(rows, row - 1, None))
