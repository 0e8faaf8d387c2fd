"""The roofline on paper: every task has rows, and what they say follows from sizes and rates."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from bench.roofline import A100, H100, Work  # noqa: E402
from bench.tasks import TASKS  # noqa: E402

from bench import roofline  # noqa: E402

ROWS = list(roofline.rows())


def test_every_task_has_ours_first_and_a_time_or_a_reason():
    assert {row.task for row in ROWS} == set(TASKS)
    first = {}
    for row in ROWS:
        first.setdefault((row.task, row.case), row.who)
        assert row.note if row.work is None else row.work.seconds(H100) > 0
    assert set(first.values()) == {"eigencontext"}


def test_times_in_closed_form():
    work = roofline.gemm(20000, 4000, 32)
    assert work.bytes == 4 * (20000 * 4000 + 32 * 24000) and work.float32 == 2 * 20000 * 4000 * 32
    assert work.seconds(H100) == pytest.approx(work.bytes / 3.35e12 + 4e-6)
    assert work.bound(H100) == "bytes" and roofline.gemm(20000, 4000, 640).bound(H100) == "float32"
    assert work.seconds(A100) > work.seconds(H100)
    both = work + Work(launches=1).times(99)
    assert both.launches == 100 and both.bound(H100) == "launches"


def test_a_block_that_does_not_fit_into_the_cache_is_read_for_every_entry():
    small, large = (roofline.csr(1e6, 1e5, cols, 16) for cols in (1e5, 1e6))
    assert small.l2 == large.l2
    assert small.bytes == 8e6 + 4e5 + 4 * 16 * (1e5 + 1e5)  # entries, offsets, the result and the block
    assert large.bytes == 8e6 + 4e5 + 4 * 16 * (1e5 + 1e6)  # the block is gathered: a row for each of 1e6 entries


def test_the_cache_is_that_of_the_device():
    small = replace(H100, cache=1e6)
    for row, without in zip(ROWS, roofline.rows(small), strict=True):
        if (row.task, row.who) in {("csr_products", "eigencontext"), ("sparse_svd", "eigencontext")}:
            assert without.work.bytes >= row.work.bytes
    assert sum(row.work.bytes for row in roofline.rows(small) if row.work) > sum(r.work.bytes for r in ROWS if r.work)


def test_one_command_prints_it():
    run = subprocess.run([sys.executable, str(ROOT / "bench" / "gpu.py"), "--model"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for text in (H100.name, A100.name, "cuSOLVER gesvdr", "KeOps", "cuML", "torch", "RAFT", *TASKS):
        assert text in run.stdout
