"""Memory beyond inputs and gradients is O(d^2), whatever N is."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys, numpy as np, eigencontext as ec

def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

n, d, name = int(sys.argv[1]), 256, sys.argv[2]
phi = np.ones((n, d), np.float32) + np.eye(d, dtype=np.float32)[np.arange(n) % d]
psi = phi * np.float32(0.5) + np.linspace(-1, 1, d, dtype=np.float32)
out = {"phi": np.zeros((n, d), np.float32), "psi": np.zeros((n, d), np.float32)}
call = getattr(ec.objectives, name)
call(phi[:512], psi[:512])
before = peak()
call(phi, psi, out=out)
print(peak() - before)
"""


@pytest.mark.memory
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize("name", ["svme", "low_rank", "nested_low_rank"])
def test_memory_beyond_the_gradients(name):
    grown = [
        float(subprocess.run([sys.executable, "-c", PROGRAM, str(n), name], capture_output=True, check=True).stdout)
        for n in (60_000, 120_000)
    ]
    print(f"{name}: {grown[0]:.1f} and {grown[1]:.1f} MiB more")
    assert max(grown) < 64
    assert grown[1] - grown[0] < 8
