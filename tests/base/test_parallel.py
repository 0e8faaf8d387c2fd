"""The pool of threads: the same bits for every number of threads, real parallel work, and no hanging after fork."""

import os
import subprocess
import sys

import numpy as np
import pytest

from eigencontext import _core

DIGEST = """
import hashlib
import numpy as np
from eigencontext import _core
digest = hashlib.sha256()
for dtype in ("float32", "float64"):
    x, y = _core.gaussian(3, 20_011, 37, 0, 0, dtype), _core.gaussian(4, 20_011, 5, 0, 0, dtype)
    wide = _core.gaussian(5, 1_500, 450, 0, 0, dtype)
    for part in (x, _core.gram(x, x), _core.gram(x, y), _core.gram(wide, wide)):
        digest.update(part.tobytes())
    op = _core.dense(x)
    for part in (op.matmat(_core.gaussian(6, 37, 9, 0, 0, dtype)), op.rmatmat(y), op.fused(None, wide[:37, :9].copy())):
        digest.update(part.tobytes())
print(digest.hexdigest(), _core.num_threads(), sum(_core.chunks_run_by(w) > 0 for w in range(8)))
"""


def fresh(code, **environment):
    """What a new interpreter prints."""
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **{k: str(v) for k, v in environment.items()}},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


@pytest.fixture
def threads():
    before = _core.num_threads()
    yield _core.set_num_threads
    _core.set_num_threads(before)


def test_bits_do_not_depend_on_the_number_of_threads():
    results = {n: fresh(DIGEST, EIGENCONTEXT_NUM_THREADS=n) for n in (1, 2, 3, 5)}
    assert {n: int(r[1]) for n, r in results.items()} == {1: 1, 2: 2, 3: 3, 5: 5}
    assert len({r[0] for r in results.values()}) == 1


def test_one_thread_means_one_worker():
    assert fresh(DIGEST, EIGENCONTEXT_NUM_THREADS=1)[2] == "1"


def test_every_worker_has_work(threads):
    threads(2)
    before = [_core.chunks_run_by(worker) for worker in range(2)]
    for seed in range(20):  # a thread may wake up late, but not twenty times
        _core.gaussian(seed, 200_000, 8, 0, 0, "float32")
    after = [_core.chunks_run_by(worker) for worker in range(2)]
    assert all(b > a for a, b in zip(before, after, strict=True))


def test_number_of_threads_is_set_and_checked(threads):
    threads(3)
    assert _core.num_threads() == 3
    for bad in (0, -1, 10**6):
        with pytest.raises(ValueError, match="got"):
            threads(bad)
    assert _core.num_threads() == 3


@pytest.mark.parametrize("value", ["abc", "0", "-2", "1.5", "2x", "1025", "99999999999999999999"])
def test_an_invalid_number_in_the_environment_is_an_error(value):
    run = subprocess.run(
        [sys.executable, "-c", "import eigencontext as ec; print(ec.get_num_threads())"],
        env={**os.environ, "EIGENCONTEXT_NUM_THREADS": value},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode != 0
    assert f"ValueError: EIGENCONTEXT_NUM_THREADS: got {value}; allowed: an integer in 1 .. 1024" in run.stderr


def test_an_empty_number_in_the_environment_is_none():
    code = "from eigencontext import _core; print(_core.num_threads())"
    assert int(fresh(code, EIGENCONTEXT_NUM_THREADS="")[0]) >= 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_computes_the_same_and_does_not_hang(threads):
    threads(3)
    x = _core.gaussian(0, 30_000, 20, 0, 0, "float64")
    expected = _core.gram(x, x)  # the pool has threads now
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        import signal

        signal.alarm(60)  # ends a child that hangs
        try:
            same = np.array_equal(_core.gram(x, x), expected) and _core.num_threads() == 1
            os.write(write, b"same" if same else b"different")
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0
    assert answer == "same"
    np.testing.assert_array_equal(_core.gram(x, x), expected)  # and the parent goes on


def test_python_threads_may_compute_at_the_same_time(threads):
    from concurrent.futures import ThreadPoolExecutor

    threads(2)
    x = _core.gaussian(0, 20_000, 16, 0, 0, "float32")
    expected = _core.gram(x, x)
    with ThreadPoolExecutor(4) as executor:
        for result in executor.map(lambda _: _core.gram(x, x), range(40)):
            np.testing.assert_array_equal(result, expected)
