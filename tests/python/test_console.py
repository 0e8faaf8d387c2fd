"""Progress and tables on a terminal and off it, with rich and without."""

import io
import sys
import time

import numpy as np
import pytest

import eigencontext as ec
from eigencontext._console import Stage, print_table
from eigencontext._results import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def info(sweep, *residuals):
    return Progress(sweep, 8 * sweep, np.array(residuals), 0.1)


def wait_for(stage):
    """Until the stage has shown itself; the timer has its own thread."""
    end = time.monotonic() + 30
    while stage.display is None and time.monotonic() < end:
        time.sleep(0.01)
    assert stage.display is not None


@pytest.fixture(params=["rich", "plain"])
def kind(request, monkeypatch):
    if request.param == "rich":
        pytest.importorskip("rich")
    else:
        monkeypatch.setitem(sys.modules, "rich.console", None)
        monkeypatch.setitem(sys.modules, "rich.progress", None)
        monkeypatch.setitem(sys.modules, "rich", None)
    return request.param


def test_what_takes_long_shows_itself_on_a_terminal(kind):
    terminal = Terminal()
    with Stage("some work", tol=1e-3, delay=0.0, stream=terminal) as stage:
        wait_for(stage)
        assert stage.report(info(1, 0.1, 1.0)) is False
        stage.report(info(2, 0.0, 10**-1.5))
    out = terminal.getvalue()
    assert "some work" in out
    if kind == "plain":
        assert "some work ... 50 % sweep 2, basis 16, worst residual 3.2e-02" in out and out.endswith("\r\033[K")
        assert "\r\033[Ksome work ..." in out


def test_nothing_is_shown_before_the_delay_or_off_a_terminal():
    terminal, file = Terminal(), io.StringIO()
    with Stage("work", delay=3600.0, stream=terminal) as waiting:
        waiting.report(info(1, 1.0))
    with Stage("work", delay=0.0, stream=file) as stage:
        stage.report(info(1, 1.0))
    assert terminal.getvalue() == file.getvalue() == ""
    waiting.timer.join(30)  # cancelled, not left waiting for an hour
    assert not waiting.timer.is_alive()


def test_the_bar_is_the_way_to_the_tolerance():
    stage = Stage("work", tol=1e-4, stream=io.StringIO())
    ways = []
    for residual in (1.0, 0.1, 0.5, 1e-3, 0.0, 1e-4, 1e-6):  # not monotone, as residuals are
        stage.report(info(1, residual))
        ways.append(stage.fraction)
    np.testing.assert_allclose(ways, [0, 0.25, 0.25, 0.75, 0.75, 1, 1])
    for tol, residuals in ((0.0, (1.0,)), (1e-3, ())):
        stage = Stage("work", tol=tol, stream=io.StringIO())
        stage.report(info(1, *residuals))
        assert stage.fraction is None  # it can't be said


def test_a_run_reports_its_sweeps():
    X = np.random.default_rng(0).normal(size=(400, 3))
    with Stage("work", tol=1e-3, stream=io.StringIO()) as stage:
        ec.spectrum(ec.contexts.kernel(X, bandwidth=1.0), k=8, method="krylov", callback=stage.report)
    assert stage.fraction == 1.0 and stage.detail.startswith("sweep ")


def test_tables(kind, capsys, monkeypatch):
    header, rows = ["i", "value"], [["1", "0.5"], ["10", "0.25"]]
    print_table(header, rows)
    assert capsys.readouterr().out == " i  value\n 1    0.5\n10   0.25\n"
    monkeypatch.setattr(sys, "stdout", Terminal())
    print_table(header, rows)
    shown = sys.stdout.getvalue()
    assert all(text in shown for text in ("value", "0.25", "10"))
