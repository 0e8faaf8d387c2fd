"""Peak memory of the losses of N x N pairs grows as N does."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys, numpy as np, eigencontext as ec

def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

n, name = int(sys.argv[1]), sys.argv[2]
rng = np.random.default_rng(0)
phi, psi = (rng.standard_normal((n, 128), dtype=np.float32) / 12 for _ in range(2))
call = {
    "kise": lambda a, b: ec.objectives.kise(a, X=b[:, :8], bandwidth=1.0),
    "kise walk": lambda a, b: ec.objectives.kise(a, X=b[:, :8], bandwidth=1.0, dual="walk", diagonal=False),
    "info_nce": ec.objectives.info_nce,
    "sigmoid": ec.objectives.sigmoid,
    "distance": lambda a, b: ec.objectives.exponential_low_rank(a, b, form="distance"),
}[name]
call(phi[:300], psi[:300])
before = peak()
call(phi, psi)
print(peak() - before)
"""


@pytest.mark.memory
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize("name", ["kise", "kise walk", "info_nce", "sigmoid", "distance"])
def test_memory_is_linear(name):
    grown = [
        float(subprocess.run([sys.executable, "-c", PROGRAM, str(n), name], capture_output=True, check=True).stdout)
        for n in (6000, 12000)
    ]
    print(f"{name}: {grown[0]:.1f} and {grown[1]:.1f} MiB more")
    assert grown[1] <= 2.2 * grown[0]
    assert grown[1] < 64  # 12000^2 float32 are 549 MiB
