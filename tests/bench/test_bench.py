"""The benchmark's own machinery: what a run records, and that a wrong answer is refused before it is timed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from bench.case import Answer, Case, Goal, Method, Unavailable, largest_error, relative_error  # noqa: E402
from bench.measure import Apart, Limits, peak_growth  # noqa: E402
from bench.peers import methods  # noqa: E402
from bench.report import BEGIN, END, redraw  # noqa: E402
from bench.run import run_case  # noqa: E402
from bench.tasks import TASKS  # noqa: E402

REFERENCE = np.array([3.0, 2.0, 1.0])
MEGABYTES = 64


def scaled_by(data, factor):
    return Answer(data["values"] * factor)


def touches_memory(data, _):
    return Answer(np.ones(MEGABYTES << 17))


def method(name, factors, **options):
    return Method(name, "numpy", "test", scaled_by, factors, **options)


def rows_of(*methods, accuracy=1e-3):
    case = Case("test", "case", {"values": REFERENCE}, accuracy, relative_error(REFERENCE))
    return run_case(case, list(methods), Limits(quick=True), quick=True, say=lambda text: None)["rows"]


def test_a_wrong_answer_is_refused_and_not_timed():
    rows = rows_of(method("right", (1.0,)), method("wrong", (1.1, 1.01, 1.002)), method("missing", (np.nan,)))
    assert rows["right"]["status"] == "ok" and rows["right"]["median"] > 0
    for name in ("wrong", "missing"):
        assert rows[name]["status"].startswith("refused") and "median" not in rows[name]


def test_the_cheapest_setting_that_meets_the_accuracy_is_taken():
    factors = (1.5, 1.1, 1.0 + 1e-4, 1.0 + 1e-5, 1.0)
    rows = rows_of(method("ladder", factors), method("follows", (), like="ladder"))
    assert rows["ladder"]["setting"] == factors[2] == rows["follows"]["setting"]
    np.testing.assert_allclose(rows["ladder"]["error"], 1e-4, rtol=1e-6)


def test_what_cannot_run_is_a_row_that_says_so():
    def breaks(data, _):
        raise ZeroDivisionError("by design")

    absent = Method("absent", "a-package-that-nobody-has", "test", scaled_by)
    rows = rows_of(absent, Method("broken", "numpy", "test", breaks), method("as it is", (1.5,), as_is=True))
    assert rows["absent"]["status"] == "not installed"
    assert rows["broken"]["status"] == "ZeroDivisionError: by design"
    assert rows["as it is"]["error"] > rows["as it is"]["accuracy"] and rows["as it is"]["median"] > 0


@pytest.mark.memory
def test_memory_is_that_of_a_fresh_process():
    growth = peak_growth(Method("allocates", "numpy", "test", touches_memory), {"values": REFERENCE}, None)
    assert MEGABYTES << 20 <= growth < 2 * MEGABYTES << 20


def test_a_process_of_its_own_reports_its_errors_and_goes_on():
    apart = Apart(method("elsewhere", (1.0,)), {"values": REFERENCE})
    try:
        with pytest.raises(Unavailable, match="TypeError"):
            apart.run({})
        np.testing.assert_array_equal(apart.run(2.0).answer.values, 2 * REFERENCE)
    finally:
        apart.close()


def test_errors_see_every_entry():
    values = relative_error(REFERENCE)
    assert values(REFERENCE[::-1]) == 0 and values(REFERENCE[:2]) == np.inf
    np.testing.assert_allclose(values(REFERENCE + [0, 0, 0.01]), 0.01)
    block = np.arange(1.0, 9).reshape(4, 2)
    entries = largest_error(block[::2], slice(None, None, 2))
    assert entries(block) == 0 and entries(np.full_like(block, np.nan)) == np.inf
    np.testing.assert_allclose(entries(block + [[0, 0], [0, 0], [0, 0.6], [0, 0]]), 0.1)


@pytest.mark.parametrize("task", ["dense_svd", "sparse_svd", "kernel_pca", "neighbors", "encoder"])
def test_the_check_of_a_task_can_fail(task):
    """The float64 reference of each task refuses an answer that is off by a little more than its accuracy."""
    case = next(iter(TASKS[task].cases(True)))
    ours = next(m for m in methods(task, case.data) if m.name == "eigencontext")
    values = np.array(ours.run(case.data, ours.settings[-1]).values)
    assert case.error(values) <= case.accuracy
    if task == "neighbors":
        farthest = np.argmax(((case.data["X"] - case.data["X"][0]) ** 2).sum(axis=1))
        values[0, -1] = farthest
    elif task == "encoder":
        values[:, -1] = np.cos(np.arange(len(values)))
    else:
        values[-1] *= 1 + 2 * case.accuracy
    assert case.error(values) > case.accuracy


def test_goals():
    assert Goal("at least", 2, 3.0).reached is True and Goal("at least", 2, 1.0).reached is False
    assert Goal("at most", 2, 3.0, most=True).reached is False and Goal("not measured", 2, None).reached is None


@pytest.mark.slow
def test_the_command(tmp_path):
    tasks = "dense_products,csr_products,small"
    command = [sys.executable, "-m", "bench", "--quick", "--only", tasks, "--peers", "numpy,scipy", "--out", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for task in tasks.split(","):
        record = json.loads((tmp_path / f"{task}.json").read_text())
        assert record["quick"] and record["title"] in done.stdout
        for case in record["cases"].values():
            assert all(rate > 0 for rate in case["limits"].values())
            assert len(case["rows"]) >= 2
            for row in case["rows"].values():
                assert row["status"] == "ok" and row["error"] <= row["accuracy"] and row["median"] > 0
        assert record["goals"] and {"text", "wanted", "got", "reached"} <= set(record["goals"][0])
        readme = tmp_path / "README.md"
        readme.write_text(f"before\n{BEGIN}\n\n### another\n\nkept\n\n### {task}\n\nold\n\n{END}\nafter\n")
        redraw({task: record}, readme)
        text = readme.read_text()
        assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
        assert text.index("### another\n\nkept\n\n### ") < text.index(f"### {task}")
        assert all(f"| {goal['text']} |" in text for goal in record["goals"])
    assert (tmp_path / "ratios.png").stat().st_size and (tmp_path / "table.txt").read_text()


def test_the_command_refuses_unknown_tasks():
    command = [sys.executable, "-m", "bench", "--only", "nothing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "nothing" in done.stderr and "dense_svd" in done.stderr


def test_what_stops_running_is_no_longer_timed():
    calls = []

    def once(data, _):
        calls.append(1)
        if len(calls) > 1:
            raise MemoryError
        return Answer(REFERENCE)

    rows = rows_of(method("right", (1.0,)), Method("once", "numpy", "test", once))
    assert rows["once"]["status"] == "out of memory" and "median" not in rows["once"]
    assert rows["right"]["median"] > 0
