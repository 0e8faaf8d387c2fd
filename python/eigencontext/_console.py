"""What the command line shows: progress of what takes long, tables, warnings. Rich where it is installed, else text."""

from __future__ import annotations

import math
import sys
import threading
from typing import Any, Protocol, TextIO

import numpy as np


class _Display(Protocol):
    def update(self, fraction: float | None, detail: str) -> None: ...

    def stop(self) -> None: ...


class Stage:
    """A stage of a command. On a terminal it shows itself once it has taken `delay` seconds; elsewhere never.

    `report` is a callback for the solvers: the bar then is the way of the worst residual to `tol`, in powers of ten.
    """

    def __init__(self, name: str, tol: float = 0.0, *, delay: float = 2.0, stream: TextIO | None = None) -> None:
        self.name = name
        self.tol = tol
        self.stream = sys.stderr if stream is None else stream
        self.delay = delay
        self.timer = threading.Timer(delay, self._show)
        self.timer.daemon = True
        self.lock = threading.Lock()
        self.display: _Display | None = None
        self.ended = False
        self.first: float | None = None
        self.fraction: float | None = None
        self.detail = ""

    def __enter__(self) -> Stage:
        if self.stream.isatty():
            self.timer.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.timer.cancel()
        with self.lock:
            self.ended = True
            if self.display is not None:
                self.display.stop()

    def _show(self) -> None:
        with self.lock:
            if not self.ended:
                self.display = _display(self.name, self.stream, self.delay)
                self.display.update(self.fraction, self.detail)

    def report(self, info: Any) -> bool:
        worst = float(np.max(info.residuals)) if len(info.residuals) else float("nan")
        with self.lock:
            self.fraction = self._way(worst)
            self.detail = f"sweep {info.sweep}, basis {info.basis_size}, worst residual {worst:.1e}"
            if self.display is not None:
                self.display.update(self.fraction, self.detail)
        return False

    def _way(self, worst: float) -> float | None:
        """Residuals are not monotone; the bar is."""
        if not (0 < worst < math.inf and self.tol > 0):
            return self.fraction
        self.first = worst if self.first is None else self.first
        if self.first <= self.tol:
            return 1.0
        done = math.log(self.first / worst) / math.log(self.first / self.tol)
        return max(self.fraction or 0.0, min(1.0, done))


def _display(name: str, stream: TextIO, begun: float) -> _Display:
    try:
        return _Bar(name, stream, begun)
    except ImportError:
        return _Line(name, stream)


class _Bar:
    """A bar whose clock began `begun` seconds ago."""

    def __init__(self, name: str, stream: TextIO, begun: float) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}"),
        )
        self.progress = Progress(*columns, console=Console(file=stream), transient=True)
        self.task = self.progress.add_task(name, total=None, detail="")
        self.progress.tasks[0].start_time = self.progress.get_time() - begun
        self.progress.start()

    def update(self, fraction: float | None, detail: str) -> None:
        total = None if fraction is None else 1.0
        self.progress.update(self.task, total=total, completed=fraction or 0.0, detail=detail)

    def stop(self) -> None:
        self.progress.stop()


class _Line:
    def __init__(self, name: str, stream: TextIO) -> None:
        self.name = name
        self.stream = stream

    def update(self, fraction: float | None, detail: str) -> None:
        share = "" if fraction is None else f" {100 * fraction:.0f} %"
        text = f"{self.name} ...{share} {detail}".rstrip()
        print(f"\r\033[K{text}", end="", file=self.stream, flush=True)

    def stop(self) -> None:
        print("\r\033[K", end="", file=self.stream, flush=True)


def print_table(header: list[str], rows: list[list[str]]) -> None:
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


def show_warning(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    print(f"eigencontext: warning: {one_line(message)}", file=sys.stderr)


def one_line(error: Any) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
