"""Every kind of fault that the emulation watches for is planted and must be reported."""

import subprocess
import sys

import numpy as np
import pytest
from emulated import core

PLANT = "from emulated import core; import sys; print(core.plant(sys.argv[1]))"

REPORTED = {
    "write past the end": "out of bounds: byte 256 of an allocation of 256 bytes",
    "write before the start": "out of bounds",
    "read past the end": "out of bounds: byte 264 of an allocation of 256 bytes",
    "write past shared memory": "out of bounds: a write 64 bytes behind the shared memory",
    "view too long": "out of bounds: a view spans bytes 0 to 512 of an allocation of 256",
    "divergent barrier": "divergent barrier",
    "divergent shuffle": "divergent barrier",
    "host access": "host access: to byte 0 of 256",
    "host pointer": "host pointer: a pointer at",
    "use after free": "use after free",
    "forgotten: work before a copy": "race: a copy on another stream into memory that may be in use",
    "forgotten: copy before work": "race: use of memory that a copy on another stream fills",
    "forgotten: copy before the host writes": "race: page-locked memory was written before it was copied",
}


@pytest.mark.parametrize("kind", REPORTED)
def test_a_planted_fault_ends_the_process_with_a_report(kind):
    run = subprocess.run([sys.executable, "-c", PLANT, kind], capture_output=True, text=True, timeout=60,
                         cwd=str(__file__).rpartition("/")[0])  # fmt: skip
    assert run.returncode == 70, run.stderr
    assert f"cuda emulation: {REPORTED[kind]}" in run.stderr


def test_a_pitch_that_cuda_does_not_allow_is_refused():
    with pytest.raises(RuntimeError, match="^planted: invalid argument"):
        core.plant("pitch too long")


def test_what_has_no_fault_is_not_reported():
    assert core.plant("no fault") == [(t + 1) % 32 for t in range(32)]


def test_copies_that_are_waited_for_are_not_reported():
    assert core.plant("forgotten: nothing")[0] == 3.0


def test_a_missing_barrier_shows_in_the_order_of_threads(settings):
    results = set()
    for order in core.Order.__members__.values():
        settings.order = order
        results.add(tuple(core.plant("missing barrier")))
    assert len(results) > 1


def test_an_uninitialised_read_shows_in_the_poison(settings):
    results = []
    for poison in (0x3C, 0xC3):
        settings.poison = poison
        results.append(core.plant("uninitialised read")[0])
    assert results[0] != results[1]


def test_a_missing_synchronisation_shows_in_what_the_host_sees():
    assert core.plant("no synchronisation") == [-1.0] * 32


def test_a_leak_shows_in_what_lives():
    run = subprocess.run(
        [sys.executable, "-c", "from emulated import core; core.plant('leak'); print(core.live())"],
        capture_output=True, text=True, timeout=60, cwd=str(__file__).rpartition("/")[0],
    )  # fmt: skip
    assert run.stdout.strip() == "(1, 56)", run.stderr


def test_a_launch_that_the_device_refuses_is_an_exception_that_names_it():
    with pytest.raises(RuntimeError, match="^planted: invalid configuration argument"):
        core.plant("too many threads")


def test_out_of_memory_is_a_memory_error_that_says_what_is_free(settings):
    settings.memory = 1000
    with pytest.raises(MemoryError, match="^cudaMallocAsync: 8000 bytes asked for, [0-9]+ of 1000 free"):
        core.to_device(np.zeros(1000))


def test_an_error_that_was_pending_is_reported_once(settings):
    settings.pending = 719
    with pytest.raises(RuntimeError, match="^cudaStreamSynchronize: unspecified launch failure"):
        core.gram(core.to_device(np.ones((3, 2))), core.to_device(np.ones((3, 2))))
    assert core.gram(core.to_device(np.ones((3, 2))), core.to_device(np.ones((3, 2))))[0, 0] == 3
