"""What a run leaves behind: a JSON file for each task, a plain table, a picture, and the table inside README.md."""

from __future__ import annotations

import json
from pathlib import Path

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
HEADINGS = ("method", "setting", "error", "seconds", "range", "x ours", "of limit", "RSS")


def save(task: str, record: dict, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{task}.json").write_text(json.dumps(record, indent=1, default=float) + "\n")


def load(tasks, folder: Path) -> dict[str, dict]:
    """The last record of each task that has one."""
    files = {task: folder / f"{task}.json" for task in tasks}
    return {task: json.loads(file.read_text()) for task, file in files.items() if file.exists()}


# -- tables ------------------------------------------------------------------------------------------------------------


def row_cells(name: str, row: dict, ours: float | None) -> tuple[str, ...]:
    """The cells of one method; where it has no time, its status says why."""
    if "median" not in row:
        return (name, row["status"], "", "", "", "", "", "")
    setting = row["setting"]
    return (
        name + (f" {row['version']}" if row.get("version") else ""),
        ""
        if setting is None
        else " ".join(map(str, setting))
        if isinstance(setting, (list, tuple))
        else f"{setting:g}",
        f"{row['error']:.1e}" + ("" if row["error"] <= row["accuracy"] else " (misses)"),
        f"{row['median']:.3g}",
        f"{row['least']:.3g}-{row['most']:.3g} ({row['runs']})",
        f"{row['median'] / ours:.2f}" if ours else "",
        f"{row['fraction']:.2f} {row['bound']}" if "fraction" in row else "",
        f"{row['growth'] / 1e6:.0f} MB" if "growth" in row else row.get("growth_status", ""),
    )


def goal_cells(goal: dict) -> tuple[str, ...]:
    sign, unit = ("<=" if goal["most"] else ">="), goal["unit"]
    got = "not measured" if goal["got"] is None else f"{goal['got']:.3g}{unit}"
    return goal["text"], f"{sign} {goal['wanted']:g}{unit}", got, {True: "yes", False: "no", None: ""}[goal["reached"]]


def tables(record: dict):
    """(title, headings, rows) of each case, then of the goals."""
    for case, result in record["cases"].items():
        ours = result["rows"].get("eigencontext", {}).get("median")
        rates = result["limits"]
        title = f"{case} (GEMM {rates['gemm'] / 1e9:.0f} GFLOP/s, read {rates['read'] / 1e9:.1f} GB/s)"
        yield title, HEADINGS, [row_cells(name, row, ours) for name, row in result["rows"].items()]
    yield "figures to reach", ("figure", "wanted", "got", "reached"), [goal_cells(goal) for goal in record["goals"]]


def plain(records: dict[str, dict]) -> str:
    lines = []
    for task, record in records.items():
        lines += [f"{task}: {record['title']}", machine_line(record), ""]
        for title, headings, rows in tables(record):
            widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
            table = [
                "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                for row in (headings, *rows)
            ]
            lines += [f"  {title}", *(f"    {line}" for line in table), ""]
    return "\n".join(lines)


def markdown(records: dict[str, dict]) -> str:
    lines = []
    for task, record in records.items():
        lines += [f"### {task}", "", record["title"], "", machine_line(record), ""]
        for title, headings, rows in tables(record):
            lines += [f"**{title}**", "", _line(headings), _line(["---"] * len(headings)), *map(_line, rows), ""]
    return "\n".join(lines)


def _line(cells) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def machine_line(record: dict) -> str:
    m = record["machine"]
    return (
        f"{record['date']}, {m['cores']} cores of {m['processor']}, {m['memory'] / 2**30:.0f} GiB, {m['simd']}, "
        f"GEMM in float64 {m['gemm64'] / 1e9:.0f} GFLOP/s; "
        f"Python {m['python']}, NumPy {m['numpy']}, SciPy {m['scipy']}, {m['blas']}."
    )


def redraw(records: dict[str, dict], readme: Path = README) -> None:
    """Puts the tables between the two markers of README.md, in the place of the same tasks' or behind the others."""
    text = readme.read_text()
    head, _, rest = text.partition(BEGIN)
    drawn, end, tail = rest.partition(END)
    if not end:
        raise ValueError(f"{readme}: the markers {BEGIN} and {END} are not there")
    sections = {part.partition("\n")[0]: part for part in drawn.strip().split("### ")[1:]}
    sections |= {task: markdown({task: record}).removeprefix("### ") for task, record in records.items()}
    body = "\n\n".join(f"### {part.strip()}" for part in sections.values())
    readme.write_text(f"{head}{BEGIN}\n\n{body}\n\n{END}{tail}")


# -- picture -----------------------------------------------------------------------------------------------------------


def draw(records: dict[str, dict], path: Path) -> None:
    """Time of every method over ours, a panel for each case that has a peer with a time."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = [
        (f"{task}: {case}", bars)
        for task, record in records.items()
        for case, result in record["cases"].items()
        if len(bars := _bars(result["rows"])) > 1
    ]
    if not panels:
        return
    heights = [len(bars) + 1.5 for _, bars in panels]
    figure, axes = plt.subplots(
        len(panels), figsize=(9, 0.28 * sum(heights)), squeeze=False, height_ratios=heights, layout="constrained"
    )
    for axis, (title, bars) in zip(axes[:, 0], panels, strict=True):
        names, values = list(bars), list(bars.values())
        axis.barh(
            names, values, color=["tab:orange" if name.startswith("eigencontext") else "tab:blue" for name in names]
        )
        axis.bar_label(axis.containers[0], fmt="%.2f", padding=2, fontsize=7)
        axis.set_xscale("log")
        axis.axvline(1, color="black", linewidth=0.6)
        axis.invert_yaxis()
        axis.tick_params(labelsize=7)
        axis.set_title(title, fontsize=8, loc="left")
    axes[-1, 0].set_xlabel("time over ours")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _bars(rows: dict) -> dict[str, float]:
    ours = rows.get("eigencontext", {}).get("median")
    return {name: row["median"] / ours for name, row in rows.items() if ours and "median" in row}
