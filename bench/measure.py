"""Times and memory: turns in rounds, limits of the machine, processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np

from .case import Answer, Method, Unavailable

SETTLE = 0.25  # seconds: OpenBLAS' own threads spin for a while after a product and would take cores from the next
WARM = 0.15  # seconds: what takes less is run untimed for so long after each pause, in which the cores fall asleep
LIMIT = 60.0  # seconds after which a method in its own process is stopped


class Outcome(NamedTuple):
    seconds: float
    answer: Answer
    growth: int  # bytes that the resident set grew by, at its peak


# -- one method on one input, here or in a process of its own ----------------------------------------------------------


def attempt(method: Method, state: Any, setting: Any) -> Outcome:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what an answer is worth is found by checking it
        before = _reset_peak()
        start = time.perf_counter()
        answer = method.run(state, setting)
        seconds = answer.details.get("seconds", time.perf_counter() - start)
    return Outcome(seconds, answer, _peak() - before)


class Here:
    """A method that runs in this process."""

    def __init__(self, method: Method, data: dict):
        self.method, self.state = method, method.prepare(data)

    def run(self, setting) -> Outcome:
        try:
            return attempt(self.method, self.state, setting)
        except MemoryError as error:
            raise Unavailable("out of memory") from error

    def close(self):
        self.state = None


class Apart:
    """A method in a fresh process: its threads disturb nobody, its peak memory is its own, and it can be stopped."""

    def __init__(self, method: Method, data: dict):
        self.method = method
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, method), daemon=True)
        self.process.start()
        theirs.close()
        self._ask(data)

    def run(self, setting) -> Outcome:
        return self._ask(setting)

    def _ask(self, message):
        try:
            self.connection.send(message)
            if not self.connection.poll(LIMIT):
                self.close()
                raise Unavailable(f"stopped after {LIMIT:.0f} s")
            reply = self.connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            self.process.join()
            killed = self.process.exitcode == -9
            raise Unavailable("out of memory" if killed else f"died, exit code {self.process.exitcode}") from error
        if isinstance(reply, str):
            raise Unavailable(reply)
        return reply

    def close(self):
        self.process.kill()
        self.process.join()


def _serve(connection, method: Method):
    """The other end of `Apart`: first the data, then a setting at a time."""
    state = None
    while True:
        message = connection.recv()
        try:
            if state is None:
                state = method.prepare(message)
                connection.send(None)
            else:
                connection.send(attempt(method, state, message))
        except MemoryError:
            connection.send("out of memory")
        except Unavailable as error:
            connection.send(str(error))
        except Exception as error:  # a peer's error is a row of the table, not the end of the run
            connection.send(f"{type(error).__name__}: {error}".splitlines()[0][:100])


def peak_growth(method: Method, data: dict, setting: Any) -> int:
    """Bytes that the resident set grows by during one run in a fresh process."""
    apart = Apart(method, data)
    try:
        return apart.run(setting).growth
    finally:
        apart.close()


def _reset_peak() -> int:
    """Sets the peak of the resident set back to what it is now (Linux), and returns that."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass  # the peak then includes what came before: growth is too small, never invented
    return _peak()


def _peak() -> int:
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# -- turns -------------------------------------------------------------------------------------------------------------


class Times(NamedTuple):
    median: float
    least: float
    most: float
    runs: int


def interleaved(contestants: dict, rounds: int, budget: float, settle: float = SETTLE) -> dict[str, Times]:
    """Times of functions that return their own seconds, run in turn.

    A contestant drops out once it has had `budget` seconds; all have at least one turn.
    """
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            if sum(taken[name]) > budget:
                continue
            time.sleep(settle)
            begin = time.perf_counter()
            last = run()
            if last < WARM:
                while time.perf_counter() - begin < WARM:
                    run()
                last = run()
            taken[name].append(last)
    return {name: Times(float(np.median(t)), min(t), max(t), len(t)) for name, t in taken.items()}


# -- the machine -------------------------------------------------------------------------------------------------------


class Limits:
    """What the machine can do, timed in turn with the contestants: large GEMM, reading and copying."""

    def __init__(self, quick: bool):
        size, length = (512, 1 << 21) if quick else (4096, 1 << 26)
        rng = np.random.default_rng(0)
        self.a = rng.standard_normal((size, size), dtype=np.float32)
        self.out = np.empty_like(self.a)
        self.long = np.ones(length, np.float32)
        self.copy = np.empty_like(self.long)
        self.threads = os.cpu_count() or 1

    def contestants(self, one_thread: bool) -> dict:
        """Functions that return their seconds; `one_thread`: those on a single thread too."""
        limits = {
            "gemm": lambda: self._gemm(self.threads),
            "read": lambda: self._in_parts(self.threads, lambda part: self.long[part] @ self.long[part]),
            "copy": lambda: self._in_parts(self.threads, self._copy),
        }
        if one_thread:
            limits["gemm on 1 thread"] = lambda: self._gemm(1)
            limits["copy on 1 thread"] = lambda: self._in_parts(1, self._copy)
        return limits

    def rates(self, times: dict[str, Times]) -> dict[str, float]:
        """Flop/s and byte/s (a copy counts what is read and what is written)."""
        work = {"gemm": 2.0 * len(self.a) ** 3, "read": self.long.nbytes, "copy": 2.0 * self.long.nbytes}
        return {name: work[name.split()[0]] / times[name].median for name in times if name.split()[0] in work}

    def double_gemm(self) -> float:
        """Flop/s of a large product in float64."""
        a = self.a.astype(np.float64)
        a @ a
        start = time.perf_counter()
        a @ a
        return 2.0 * len(a) ** 3 / (time.perf_counter() - start)

    def _gemm(self, threads):
        with _blas_threads(threads):
            start = time.perf_counter()
            np.matmul(self.a, self.a, out=self.out)
            return time.perf_counter() - start

    def _copy(self, part):
        self.copy[part] = self.long[part]

    def _in_parts(self, threads, function):
        step = -(-len(self.long) // threads)
        parts = [slice(i * step, (i + 1) * step) for i in range(threads)]
        with _blas_threads(1), ThreadPoolExecutor(threads) as pool:
            start = time.perf_counter()
            list(pool.map(function, parts))
            return time.perf_counter() - start


def _blas_threads(threads):
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return nullcontext()
    return threadpool_limits(threads, "blas")


def machine() -> dict:
    """Processor, memory and versions."""
    import eigencontext as ec

    name = platform.processor()
    try:
        with open("/proc/cpuinfo") as file:
            name = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"processor": name, "cores": os.cpu_count(), "memory": pages} | ec.show_config("dicts")
