"""The command line: `demo`, `spectrum`, `compare` and `info`."""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import eigencontext as ec

from ._arguments import check_number, check_seed
from ._console import Stage, one_line, show_warning
from ._expression import ExpressionError, Node, known, parse
from ._plot import check_plot, plot_spectra
from ._probe import check_probe
from ._read import FORMATS, Input, read
from ._report import print_ranking, print_spectra, probe_note, rank_by_usefulness, write_comparison
from ._results import counted
from ._spectrum import DEFAULT_K, Spectrum, deflated_operator
from .metrics import D0

_DEMO_CONTEXTS = ("rbf", "neighbors")
_UNITS = {"": 1, "B": 1}
_UNITS |= {f"{prefix}B": 1000**power for power, prefix in enumerate(("k", "M", "G", "T"), 1)}
_UNITS |= {f"{prefix}iB": 1024**power for power, prefix in enumerate(("K", "M", "G", "T"), 1)}


def run(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.command is None:
        _parser().print_help()
        return 0
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show_warning
        try:
            arguments.action(arguments)
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `... | head` is no error
        except Exception as error:  # one line: the message names what was wrong
            print(f"eigencontext: error: {one_line(error)}", file=sys.stderr)
            if isinstance(error, ExpressionError):
                print(error.pointer(), file=sys.stderr)
            return 2
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: error: {one_line(message)}", file=sys.stderr)
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="eigencontext", description="Certified spectra of contexts.")
    parser.add_argument("--version", action="version", version=f"eigencontext {ec.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    demo = commands.add_parser("demo", help="two contexts of scikit-learn's digits: spectra, usefulness, a plot")
    demo.add_argument("--out", default=".", metavar="DIR", help="folder for the files written (default: this one)")
    demo.add_argument("--rank", type=_positive, metavar="K", help=f"number of singular values (default: {DEFAULT_K})")
    demo.set_defaults(action=_demo)

    grammar = (
        "A context is name:key=value:key=value, as in rbf:bandwidth=2:marginal=stationary; 0.7*rbf+0.3*neighbors is a "
        "mixture, neighbors@rbf a convolution, parentheses group. Names and keys: "
    ) + "; ".join(f"{name} ({', '.join(keys) or 'no keys'})" for name, (_, _, keys) in known().items())
    spectrum = commands.add_parser(
        "spectrum",
        help="the spectrum of a context of your data",
        description="Compute the singular values and functions of a context of INPUT.",
        epilog=grammar,
    )
    spectrum.add_argument(
        "--context",
        metavar="EXPR",
        help="default: neighbors (tables), counts (sparse), graph (edges), cooccurrence (text)",
    )
    _add_common(spectrum)
    spectrum.add_argument(
        "--out", metavar="FILE", help="save here; a folder gets <input>.spectrum.npz (default: this one)"
    )
    spectrum.set_defaults(action=_spectrum)

    compare = commands.add_parser(
        "compare",
        help="rank several contexts of your data by usefulness",
        description="Compute the spectra of several contexts of INPUT and rank them by usefulness, lowest first.",
        epilog=grammar,
    )
    compare.add_argument("--contexts", metavar="EXPR,EXPR", required=True, help="separated by commas")
    _add_common(compare)
    compare.add_argument(
        "--labels", metavar="COLUMN", help="a column to predict, no feature then: adds a linear probe to the table"
    )
    compare.add_argument("--d0", type=_positive, help=f"values judged by (default: the smaller of {D0} and --rank)")
    compare.add_argument(
        "--out", metavar="DIR", default=".", help="folder for <input>.compare.json and the spectra (default: this one)"
    )
    compare.set_defaults(action=_compare)

    info = commands.add_parser("info", help="version, BLAS, SIMD level, threads, CUDA or not")
    info.set_defaults(action=lambda arguments: ec.show_config())
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    """What `spectrum` and `compare` share: the input, its columns, and the options of the solver."""
    parser.add_argument(
        "input", metavar="INPUT", help=", ".join(f".{name}" for name in FORMATS) + ", or a folder of .txt"
    )
    parser.add_argument("--format", choices=FORMATS, help="read INPUT as this, whatever its name ends in")
    parser.add_argument("--drop", action="append", metavar="COLUMN,...", help="columns of a table to leave out")
    parser.add_argument("--label", metavar="COLUMN", help="the column for the context labels; no feature then")
    parser.add_argument("--standardize", action="store_true", help="columns to mean 0 and standard deviation 1")
    parser.add_argument("--directed", action="store_true", help="take the edges of an edge list one way only")
    parser.add_argument("--rank", type=_positive, metavar="K", help=f"number of singular values (default: {DEFAULT_K})")
    parser.add_argument("--tol", type=_tolerance, default=1e-3, help="relative residual asked for (default: 1e-3)")
    parser.add_argument("--seed", type=_seed, default=0, help="of the start block (default: 0)")
    parser.add_argument("--max-memory", type=_bytes, metavar="SIZE", help="for the solver, as 500MB, 2GB or 2GiB")
    parser.add_argument("--plan", action="store_true", help="print what would be done and what it costs, and stop")
    parser.add_argument("--plot", metavar="FILE", help="write a picture (.png, .pdf, .svg)")


# -- commands --------------------------------------------------------------------------------------------------------


def _demo(arguments: argparse.Namespace) -> None:
    begin = time.perf_counter()
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("the demo needs scikit-learn: pip install 'eigencontext[demo]'") from error
    _require_writable_folder("--out", arguments.out)
    check_plot("--out", os.path.join(arguments.out, "demo.png"))
    source = Input(load_digits().data, "neighbors")
    n, pixels = source.data.shape
    print(f"digits: {n} images of {pixels} pixels; contexts: {', '.join(_DEMO_CONTEXTS)}")
    spectra = {}
    for name, node in parse(",".join(_DEMO_CONTEXTS)):
        spectra[name] = _computed(name, node.build(source), k=arguments.rank)
    print_spectra(spectra)
    written = []
    for name, spectrum in spectra.items():
        written.append(os.path.join(arguments.out, f"demo-{name}.npz"))
        spectrum.save(written[-1])
    written.append(os.path.join(arguments.out, "demo.png"))
    plot_spectra(spectra, written[-1])
    print(f"wrote {', '.join(written)}")
    print(f"{time.perf_counter() - begin:.1f} s")


def _spectrum(arguments: argparse.Namespace) -> None:
    parsed = parse(arguments.context) if arguments.context else []
    if len(parsed) > 1:
        raise ValueError(f"--context: got {len(parsed)} contexts; allowed: one (several: eigencontext compare)")
    path = _output_path(arguments.input, arguments.out)
    _check_plot(arguments.plot)
    _require_different({"INPUT": arguments.input, "--out": path, "--plot": arguments.plot})
    source = _read(arguments)
    [(expression, node)] = parsed or parse(source.default_context)
    context = _built(arguments, expression, node, source)
    plan = _planned(arguments, context)
    if arguments.plan:
        print(plan)
        return
    spectrum = _computed(expression, context, **_options(arguments))
    print_spectra({expression: spectrum})
    print(f"{spectrum.method} ({spectrum.reason}); {counted(spectrum.sweeps, 'sweep')}, {spectrum.stop_reason}")
    spectrum.save(path)
    print(f"wrote {path}")
    _plot(arguments, {expression: spectrum})


def _compare(arguments: argparse.Namespace) -> None:
    parsed = parse(arguments.contexts)
    rank = arguments.rank or DEFAULT_K
    d0 = min(D0, rank) if arguments.d0 is None else arguments.d0
    if not 2 <= d0 <= rank:
        if arguments.d0 is None:
            raise ValueError(f"--rank: got {rank}; allowed: an integer >= 2, since contexts are ranked by their decay")
        raise ValueError(f"--d0: got {d0}; allowed: 2 .. --rank ({rank})")
    twice = next((text for i, (text, _) in enumerate(parsed) if text in dict(parsed[:i])), None)
    if twice:
        raise ValueError(f"--contexts: got {twice} twice; allowed: every context once")
    _require_writable_folder("--out", arguments.out)
    _check_plot(arguments.plot)
    _require_different({"INPUT": arguments.input, "--plot": arguments.plot})
    source = _read(arguments)
    if source.probed is not None:
        check_probe("--labels", source.probed)
    contexts = {expression: _built(arguments, expression, node, source) for expression, node in parsed}
    plans = {expression: _planned(arguments, context) for expression, context in contexts.items()}
    if arguments.plan:
        for expression, plan in plans.items():
            print(f"{expression}: {plan}")
        return
    spectra = {name: _computed(name, context, **_options(arguments)) for name, context in contexts.items()}
    ranked = rank_by_usefulness(spectra, d0, source.probed)
    print_ranking(ranked, spectra)
    if source.probed is not None:
        print(f"{probe_note(source.probed)} (column {arguments.labels})")
    about = {"input": arguments.input, "rank": rank, "d0": d0}
    paths = write_comparison(os.path.join(arguments.out, _stem(arguments.input)), about, ranked, spectra)
    print(f"wrote {', '.join(paths)}")
    _plot(arguments, {entry.name: spectra[entry.name] for entry in ranked})


# -- steps -----------------------------------------------------------------------------------------------------------


def _read(arguments: argparse.Namespace) -> Input:
    with Stage(f"reading {arguments.input}"):
        source = read(
            arguments.input,
            arguments.format,
            drop=arguments.drop or [],
            label=arguments.label,
            probe=getattr(arguments, "labels", None),
            standardize=arguments.standardize,
            directed=arguments.directed,
        )
    for note in source.notes:
        print(f"{arguments.input}: {note}")
    return source


def _built(arguments: argparse.Namespace, expression: str, node: Node, source: Input) -> Any:
    with Stage(f"context {expression}"):
        context = node.build(source)
    n, m = context.shape
    print(f"{arguments.input}: {expression}, {n} inputs x {m} context values, {context.dtype}")
    return context


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "k": arguments.rank,
        "tol": arguments.tol,
        "seed": arguments.seed,
        "max_memory": arguments.max_memory,
    }


def _planned(arguments: argparse.Namespace, context: Any) -> ec.Plan | str:
    """The plan of the run; where it needs more than --max-memory, an error that says which rank would fit."""
    try:
        operator = deflated_operator(context)
    except TypeError:  # teacher, targets: signed kernels without an operator
        return "nothing to plan: the spectrum is that of a small matrix"
    k = max(1, min(arguments.rank or DEFAULT_K, min(context.shape) - 1))

    def plan(k: int) -> ec.Plan:
        return ec.plan(operator, k, tol=arguments.tol, max_memory=arguments.max_memory)

    try:
        return plan(k)
    except ValueError as error:
        if not str(error).startswith("max_memory"):
            raise
        fits = _largest(k - 1, plan)
        advice = f"--rank {fits} would fit" if fits else "no rank would fit"
        raise ValueError(f"--max-memory: too little for rank {k}: {error}; {advice}") from error


def _largest(high: int, plan: Any) -> int:
    """The largest k up to `high` for which plan(k) does not fail, 0 for none."""
    low = 0
    while low < high:
        middle = (low + high + 1) // 2
        try:
            plan(middle)
            low = middle
        except ValueError:
            high = middle - 1
    return low


def _computed(name: str, context: Any, tol: float = 1e-3, **options: Any) -> Spectrum:
    with Stage(name, tol) as stage:
        spectrum = ec.spectrum(context, tol=tol, callback=stage.report, **options)
    spectrum.name = name
    return spectrum


def _plot(arguments: argparse.Namespace, spectra: dict[str, Spectrum]) -> None:
    if arguments.plot:
        plot_spectra(spectra, arguments.plot)
        print(f"wrote {arguments.plot}")


# -- arguments -------------------------------------------------------------------------------------------------------


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {text}; allowed: an integer >= 1")
    return value


def _tolerance(text: str) -> float:
    try:
        return check_number(float(text), "tol", 0)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"got {text}; allowed: a finite number >= 0") from error


def _seed(text: str) -> int:
    try:
        return check_seed(int(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"got {text}; allowed: an integer in 0 .. 2^64 - 1") from error


def _bytes(text: str) -> int:
    match = re.fullmatch(r"([0-9.]+)\s*([A-Za-z]*)", text.strip())
    units = {unit.lower(): size for unit, size in _UNITS.items()}
    try:
        value = int(float(match[1]) * units[match[2].lower()]) if match else 0
    except (ValueError, KeyError):
        value = 0
    if value < 1:
        allowed = ", ".join(unit for unit in _UNITS if unit)
        raise argparse.ArgumentTypeError(f"got {text}; allowed: a number > 0 with {allowed} or nothing, as 2GB")
    return value


def _output_path(source: str, out: str | None) -> str:
    name = _stem(source) + ".spectrum.npz"
    if out is not None and (os.path.isdir(out) or out.endswith(os.sep)):
        _require_writable_folder("--out", out)
        return os.path.join(out, name)
    path = name if out is None else out
    _require_writable("--out", path)
    return path


def _stem(source: str) -> str:
    return os.path.splitext(os.path.basename(os.path.abspath(source)))[0]


def _require_writable(option: str, path: str) -> None:
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise ValueError(f"{option}: got {path}; allowed: a file in a folder that exists ({folder} does not)")
    if os.path.isdir(path):
        raise ValueError(f"{option}: got {path}, a folder; allowed: a file")
    _try_writing(option, folder)


def _require_writable_folder(option: str, folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{option}: got {folder}; allowed: a folder ({error.strerror or error})") from error
    _try_writing(option, folder)


def _try_writing(option: str, folder: str) -> None:
    """Before the long work, not after it."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{option}: nothing can be written in {folder} ({error.strerror or error})") from error


def _require_different(paths: dict[str, str | None]) -> None:
    """No output may replace the input or another output."""
    seen: dict[str, str] = {}
    for name, path in paths.items():
        if path:
            other = seen.setdefault(os.path.realpath(path), name)
            if other != name:
                raise ValueError(f"{name}: got {path}, which is {other} too; allowed: another file")


def _check_plot(path: str | None) -> None:
    if path:
        _require_writable("--plot", path)
        check_plot("--plot", path)
