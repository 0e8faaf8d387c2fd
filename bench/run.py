"""One case from its input to its rows: settings that meet the accuracy, then times in turn, then peak memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .case import Case, Method, Unavailable
from .measure import SETTLE, Apart, Here, Limits, interleaved, peak_growth

BUDGET = 8.0  # seconds that one contestant may take in the timed rounds


def run_case(case: Case, methods: list[Method], limits: Limits, quick: bool, say: Callable[[str], None]) -> dict:
    """The rows of `case` by name of method, and the machine's limits in the same rounds."""
    rows: dict[str, dict] = {}
    runners = {}
    for method in methods:
        say(f"{case.task} / {case.name}: {method.name}, check")
        rows[method.name] = {"package": method.package, "version": method.version(), "accuracy": case.accuracy}
        if runner := _checked(case, method, rows):
            runners[method.name] = runner

    say(f"{case.task} / {case.name}: in turn")
    turns = {name: _turn(runner, rows[name]) for name, runner in runners.items()}
    machine = limits.contestants(any(name.endswith("on 1 thread") for name in runners))
    rounds, budget, settle = (2, 1.0, 0.0) if quick else (case.rounds, BUDGET, SETTLE)
    times = interleaved(machine | turns, rounds, budget, settle)
    rates = limits.rates(times)
    for name, runner in runners.items():
        runner.close()
        if rows[name]["status"] == "ok":
            rows[name].update(times[name]._asdict())
            if not runner.method.like:
                _against_limits(case, rows[name], rates)

    for method in methods if case.memory and not quick else ():
        if rows[method.name]["status"] == "ok" and not method.like:
            say(f"{case.task} / {case.name}: {method.name}, memory")
            _measure_memory(case, method, rows[method.name])
    return {"rows": rows, "limits": rates}


def _checked(case: Case, method: Method, rows: dict):
    """What runs `method` once it has met the accuracy; None, and a status that says why, where it has not."""
    row, runner = rows[method.name], None
    if row["version"] is None:
        row["status"] = "not installed"
        return None
    try:
        runner = (Apart if method.isolated else Here)(method, case.data)
        _establish(case, method, runner, rows)
    except Unavailable as error:
        row["status"] = str(error)
    except Exception as error:  # a peer that fails is a row that says so
        row["status"] = f"{type(error).__name__}: {error}".splitlines()[0][:100]
    if row["status"] == "ok":
        return runner
    if runner:
        runner.close()
    return None


def _establish(case: Case, method: Method, runner, rows: dict) -> None:
    """The cheapest setting that meets the accuracy, by bisection: errors fall along the settings."""
    row = rows[method.name]
    if method.like and rows[method.like]["status"] != "ok":
        raise Unavailable(rows[method.like]["status"])
    settings = (rows[method.like]["setting"],) if method.like else method.settings
    low, high, found = 0, len(settings), None
    while low < high:
        middle = (low + high) // 2
        outcome = runner.run(settings[middle])
        error = case.error(outcome.answer.values)
        if error <= case.accuracy or (method.as_is and found is None):
            high, found = middle, (settings[middle], error, outcome.answer.details)
        else:
            low = middle + 1
            row["error"] = error
    if found is None:
        row["status"] = f"refused: error {row['error']:.1e} at its dearest setting, {settings[-1]}"
        return
    row["setting"], row["error"], row["details"] = found
    row["status"] = "ok"


def _turn(runner, row):
    """Seconds of one run; what fails now is no longer timed."""

    def turn():
        try:
            return runner.run(row["setting"]).seconds
        except Unavailable as error:
            row["status"] = str(error)
            return np.inf

    return turn


def _against_limits(case: Case, row: dict, rates: dict) -> None:
    """Flops and bytes, and the share of the machine's limit for them that was reached."""
    work = case.work(row["details"])
    if work is None:
        return
    flops, read = work
    compute, memory = flops / rates["gemm"], read / rates["read"]
    row.update(flops=flops, bytes=read, bound="gemm" if compute >= memory else "read")
    row["fraction"] = float(np.maximum(compute, memory) / row["median"])


def _measure_memory(case: Case, method: Method, row: dict) -> None:
    try:
        row["growth"] = peak_growth(method, case.data, row["setting"])
    except Unavailable as error:
        row["growth_status"] = str(error)
