"""The command line: `demo`, `spectrum` and `info`. Rich where it is installed, else plain text."""

from __future__ import annotations

import argparse
import inspect
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
import scipy.sparse as sp

import eigencontext as ec

from ._plot import plot_spectra
from ._spectrum import Spectrum
from .operators import KERNELS

#: contexts that an expression can name, besides the kernels, and the argument that INPUT is
_CONTEXTS = ("counts", "graph", "kernel", "labels", "neighbors")
_FORMATS = ("npy", "npz")
_DEMO_CONTEXTS = ("rbf", "neighbors")
_ROWS_SHOWN = 12


def run(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.command is None:
        _parser().print_help()
        return 0
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = _show_warning
        try:
            arguments.action(arguments)
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `... | head` is no error
        except Exception as error:  # one line: the message names what was wrong
            print(f"eigencontext: error: {_one_line(error)}", file=sys.stderr)
            return 2
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: error: {_one_line(message)}", file=sys.stderr)
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="eigencontext", description="Certified spectra of contexts.")
    parser.add_argument("--version", action="version", version=f"eigencontext {ec.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    demo = commands.add_parser("demo", help="two contexts of scikit-learn's digits: spectra, usefulness, a plot")
    demo.add_argument("--out", default=".", metavar="DIR", help="folder for the files written (default: this one)")
    demo.add_argument("--rank", type=_positive, default=128, metavar="K", help="singular values (default: 128)")
    demo.set_defaults(action=_demo)

    spectrum = commands.add_parser(
        "spectrum",
        help="the spectrum of a context of your data",
        description="Compute the singular values and functions of a context of INPUT.",
        epilog="A context is name:key=value:key=value, with the names rbf, laplacian, cosine, polynomial, neighbors, "
        "counts, graph, labels and the keys of ec.contexts, as in rbf:bandwidth=2:marginal=stationary.",
    )
    spectrum.add_argument("input", metavar="INPUT", help=".npy, or .npz (an array X, or a scipy.sparse matrix)")
    spectrum.add_argument("--context", metavar="EXPR", help="default: neighbors for arrays, counts for sparse matrices")
    spectrum.add_argument("--rank", type=_positive, default=128, metavar="K", help="singular values (default: 128)")
    spectrum.add_argument("--tol", type=float, default=1e-3, help="relative residual asked for (default: 1e-3)")
    spectrum.add_argument("--seed", type=int, default=0, help="of the start block (default: 0)")
    spectrum.add_argument("--format", choices=_FORMATS, help="of INPUT, whatever its name ends in")
    spectrum.add_argument(
        "--out", metavar="FILE", help="save here; a folder gets <input>.spectrum.npz (default: this one)"
    )
    spectrum.add_argument("--plot", metavar="FILE", help="write a picture (.png, .pdf, .svg)")
    spectrum.set_defaults(action=_spectrum)

    info = commands.add_parser("info", help="version, BLAS, SIMD level, threads, CUDA or not")
    info.set_defaults(action=lambda arguments: ec.show_config())
    return parser


# -- commands --------------------------------------------------------------------------------------------------------


def _demo(arguments: argparse.Namespace) -> None:
    begin = time.perf_counter()
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("the demo needs scikit-learn: pip install 'eigencontext[demo]'") from error
    os.makedirs(arguments.out, exist_ok=True)
    X = load_digits().data
    print(f"digits: {X.shape[0]} images of {X.shape[1]} pixels; contexts: {', '.join(_DEMO_CONTEXTS)}")
    spectra = {}
    for name in _DEMO_CONTEXTS:
        spectra[name] = _computed(name, make_context(name, X), k=arguments.rank)
    _print_spectra(spectra)
    written = []
    for name, spectrum in spectra.items():
        written.append(os.path.join(arguments.out, f"demo-{name}.npz"))
        spectrum.save(written[-1])
    written.append(os.path.join(arguments.out, "demo.png"))
    plot_spectra(spectra, written[-1])
    print(f"wrote {', '.join(written)}")
    print(f"{time.perf_counter() - begin:.1f} s")


def _spectrum(arguments: argparse.Namespace) -> None:
    path = _output_path(arguments.input, arguments.out)
    if arguments.plot:
        _require_folder("--plot", arguments.plot)
    data = load_input(arguments.input, arguments.format)
    expression = arguments.context or ("counts" if sp.issparse(data) else "neighbors")
    context = make_context(expression, data)
    n, m = context.shape
    print(f"{arguments.input}: {expression}, {n} inputs x {m} context values, {context.dtype}")
    spectrum = _computed(expression, context, k=arguments.rank, tol=arguments.tol, seed=arguments.seed)
    _print_spectra({expression: spectrum})
    print(f"{spectrum.method} ({spectrum.reason}); {spectrum.sweeps} sweeps, stopped: {spectrum.stop_reason}")
    spectrum.save(path)
    print(f"wrote {path}")
    if arguments.plot:
        plot_spectra({expression: spectrum}, arguments.plot)
        print(f"wrote {arguments.plot}")


# -- input -----------------------------------------------------------------------------------------------------------


def load_input(path: str, format: str | None = None) -> Any:
    """The array or sparse matrix of a .npy or .npz file."""
    ending = format or os.path.splitext(path)[1].lstrip(".").lower()
    if ending not in _FORMATS:
        raise ValueError(f"INPUT: got {path}; allowed: .npy or .npz (or say which with --format)")
    if ending == "npy":
        return np.load(path, mmap_mode="r", allow_pickle=False)
    file = np.load(path, allow_pickle=False)
    if isinstance(file, np.ndarray):  # --format npz, yet a .npy inside
        return file
    with file:
        if "format" in file.files and "shape" in file.files:
            return sp.load_npz(path)
        if len(file.files) == 1 or "X" in file.files:
            return file["X" if "X" in file.files else file.files[0]]
        raise ValueError(f"INPUT: {path} holds {', '.join(file.files)}; allowed: one array, or one that is named X")


def make_context(expression: str, data: Any) -> Any:
    """The context that `name:key=value:...` describes, of `data`."""
    for sign, what in (("+", "mixtures"), ("*", "mixtures"), ("@", "convolutions"), (",", "several contexts")):
        if sign in expression:
            raise ValueError(f"--context: got {expression} ({what}); allowed: one name:key=value:key=value")
    name, *parts = expression.split(":")
    names = (*KERNELS, *_CONTEXTS)
    if name not in names:
        raise ValueError(f"--context: got {name!r}; allowed: {', '.join(names)}")
    function = ec.contexts.kernel if name in KERNELS else getattr(ec.contexts, name)
    fixed: dict[str, Any] = {"kernel": name} if name in KERNELS else {}
    allowed = [key for key in list(inspect.signature(function).parameters)[1:] if key != "A" and key not in fixed]
    options: dict[str, Any] = {}
    for part in parts:
        key, equals, text = part.partition("=")
        if not equals or key not in allowed:
            known = ", ".join(f"{key}=..." for key in allowed) or "no keys"
            raise ValueError(f"--context: got {part!r} for {name}; allowed: {known}")
        options[key] = _value(text)
    return function(data, **fixed, **options)


def _value(text: str) -> Any:
    if text in ("true", "True", "false", "False"):
        return text in ("true", "True")
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {value}; allowed: an integer >= 1")
    return value


def _output_path(source: str, out: str | None) -> str:
    name = os.path.splitext(os.path.basename(source))[0] + ".spectrum.npz"
    if out is None:
        return name
    if os.path.isdir(out) or out.endswith(os.sep):
        os.makedirs(out, exist_ok=True)
        return os.path.join(out, name)
    _require_folder("--out", out)
    return out


def _require_folder(option: str, path: str) -> None:
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise ValueError(f"{option}: got {path}; allowed: a file in a folder that exists ({folder} does not)")


# -- output ----------------------------------------------------------------------------------------------------------


def _computed(name: str, context: Any, **options: Any) -> Spectrum:
    with _Progress(name) as progress:
        spectrum = ec.spectrum(context, callback=progress.report, **options)
    spectrum.name = name
    return spectrum


class _Progress:
    """One line on a terminal: sweep, basis size, worst residual. Elsewhere nothing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.show: Callable[[str], None] = lambda text: None
        self.status: Any = None

    def __enter__(self) -> _Progress:
        if not sys.stderr.isatty():
            return self
        try:
            from rich.console import Console
        except ImportError:
            self.show = lambda text: print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
            return self
        self.status = Console(stderr=True).status(self.name)
        self.status.start()
        self.show = self.status.update
        return self

    def __exit__(self, *error: Any) -> None:
        if self.status is not None:
            self.status.stop()
        else:
            self.show("")

    def report(self, info: Any) -> bool:
        worst = float(np.max(info.residuals)) if len(info.residuals) else float("nan")
        where = f"sweep {info.sweep}, basis {info.basis_size}"
        self.show(f"{self.name}: {where}, worst residual {worst:.1e}, {info.elapsed:.1f} s")
        return False


def _print_spectra(spectra: dict[str, Spectrum]) -> None:
    """s_i and residual of every spectrum, side by side, then the usefulness."""
    header = ["i"] + [text for name in spectra for text in (f"s ({name})", "residual")]
    longest = max(spectrum.k for spectrum in spectra.values())
    rows = [_row(i, spectra) for i in _shown(longest)]
    _print_table(header, rows)
    for name, spectrum in spectra.items():
        good = int(np.count_nonzero(spectrum.converged))
        print(f"{name}: {_usefulness(spectrum)}; {good} of {spectrum.k} values converged, {spectrum.method}")


def _shown(k: int) -> list[int]:
    """The first few of 0 ... k-1, then every doubling, then the last."""
    index = list(range(min(k, _ROWS_SHOWN)))
    i = 16
    while i < k:
        index.append(i - 1)
        i *= 2
    return index + [k - 1] if k > _ROWS_SHOWN and index[-1] != k - 1 else index


def _row(i: int, spectra: dict[str, Spectrum]) -> list[str]:
    row = [str(i + 1)]
    for spectrum in spectra.values():
        if i < spectrum.k:
            row += [f"{spectrum.singular_values[i]:.6f}", f"{spectrum.residuals[i]:.1e}"]
        else:
            row += ["", ""]
    return row


def _usefulness(spectrum: Spectrum) -> str:
    try:
        result = spectrum.usefulness()
    except ValueError as error:
        return f"usefulness not defined ({error})"
    return f"usefulness tau = {result.tau:.4f} at d = {result.d} (d0 = {result.d0}, lower is better)"


def _print_table(header: list[str], rows: list[list[str]]) -> None:
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        _print_plain(header, rows)
        return
    if not sys.stdout.isatty():
        _print_plain(header, rows)
        return
    table = Table(box=box.SIMPLE_HEAD)
    for title in header:
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _print_plain(header: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(row[j]) for row in [header, *rows]) for j in range(len(header))]
    for row in [header, *rows]:
        print("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)))


def _show_warning(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    print(f"eigencontext: warning: {_one_line(message)}", file=sys.stderr)


def _one_line(error: Any) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
