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
phi, psi, *outs = (np.empty((n, d), np.float32) for _ in range(4))
rng = np.random.default_rng(0)
for i in range(0, n, 1000):  # written in pieces: no temporary array may hide what the call takes
    phi[i : i + 1000] = rng.standard_normal((1000, d))
    psi[i : i + 1000] = phi[i : i + 1000] + rng.standard_normal((1000, d))
    for out in outs:
        out[i : i + 1000] = 0
call = getattr(ec.objectives, name)
call(phi[:512], psi[:512])
before = peak()
call(phi, psi, out=tuple(outs))
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
