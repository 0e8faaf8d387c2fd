"""``python -m bench``: named tasks, ours and the peers in turn, at equal checked accuracy."""

import argparse
import dataclasses
import datetime
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from . import report
from .measure import Limits, machine
from .peers import methods, names
from .peers.eigencontext import NAME
from .reference import RESULTS
from .run import run_case
from .tasks import TASKS


def parse(arguments):
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", metavar="NAME,...", help="these tasks; the others keep their last results")
    parser.add_argument("--peers", metavar="PACKAGE,...", help="ours beside these packages alone")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs; README.md stays")
    parser.add_argument("--list", action="store_true", help="the tasks and their peers, then stop")
    parser.add_argument("--table", action="store_true", help="redraw the tables from the last results, then stop")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"where results go ({RESULTS})")
    args = parser.parse_args(arguments)
    args.tasks = args.only.split(",") if args.only else list(TASKS)
    if unknown := set(args.tasks) - set(TASKS):
        parser.error(f"--only: got {', '.join(sorted(unknown))}; allowed: {', '.join(TASKS)}")
    args.out = args.out or (RESULTS / "quick" if args.quick else RESULTS)
    args.packages = {NAME, *args.peers.split(",")} if args.peers is not None else None
    return args


def run_task(name: str, packages: set[str] | None, quick: bool, limits: Limits, say) -> Iterator[dict]:
    """The record of one task after each of its cases, so that a run cut short leaves what it has."""
    task, cases = TASKS[name], {}
    for case in task.cases(quick):
        chosen = [method for method in methods(name, case.data) if packages is None or method.package in packages]
        cases[case.name] = run_case(case, chosen, limits, quick, say)
        yield {
            "task": name,
            "title": task.__doc__.splitlines()[0],
            "date": datetime.date.today().isoformat(),
            "quick": quick,
            "machine": machine() | {"gemm64": limits.double_gemm()},
            "cases": cases,
            "goals": [dataclasses.asdict(goal) for goal in task.goals(cases)],
        }


def main(arguments=None) -> int:
    args = parse(arguments)
    if args.list:
        for name in args.tasks:
            print(f"{name}: {TASKS[name].__doc__.splitlines()[0]}\n    {', '.join(names(name))}")
        return 0
    console = Console(stderr=True, log_path=False)
    if not args.table:
        limits = Limits(args.quick)
        for name in args.tasks:
            with console.status(name) as status:
                say = status.update if console.is_terminal else console.log
                for record in run_task(name, args.packages, args.quick, limits, say):
                    report.save(name, record, args.out)
            print(report.plain({name: record}), flush=True)
    records = report.load(TASKS, args.out)
    (args.out / "table.txt").write_text(report.plain(records))
    report.draw(records, args.out / "ratios.png")
    if not args.quick and args.out == RESULTS:
        report.redraw(records)
    print(f"results, table.txt and ratios.png are in {args.out}")
    return int(any(failed(records[name]) for name in args.tasks if name in records))


def failed(record: dict) -> bool:
    """Whether a row of ours was refused or broke (a method that isn't there yet says "not available")."""
    rows = [row for case in record["cases"].values() for row in case["rows"].values() if row["package"] == NAME]
    return any(row["status"] != "ok" and not row["status"].startswith("not available") for row in rows)


if __name__ == "__main__":
    sys.exit(main())
