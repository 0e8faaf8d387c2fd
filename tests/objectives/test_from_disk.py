"""Full-batch SVME from .npy files within a bound that does not depend on N (bench/from_disk.py)."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eigencontext import objectives

ROOT = Path(__file__).parents[2]


@pytest.mark.memory
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_from_disk(tmp_path):
    """N = 131072, d = 64, chunks of 4096 rows: four arrays of 32 MiB, of which one chunk each is there at once."""
    n, d, chunk = 131072, 64, 4096
    found = {}
    for rows in (chunk, n):
        folder = tmp_path / str(rows)
        folder.mkdir()
        sizes = ["--rows", str(rows), "--width", str(d), "--chunk", str(chunk), "--folder", str(folder)]
        run = subprocess.run(
            [sys.executable, "-m", "bench.from_disk", *sizes], cwd=ROOT, capture_output=True, check=True
        )
        found[rows] = json.loads(run.stdout)
    phi, psi, grad = (np.load(tmp_path / str(n) / f"{name}.npy") for name in ("phi", "psi", "grad_phi"))
    one = objectives.svme(phi, psi)
    np.testing.assert_allclose(found[n]["loss"], one.loss, rtol=1e-6)
    assert np.abs(grad - one.grad_phi).max() <= 1e-5 * np.abs(one.grad_phi).max()
    grown = found[n]["peak_MiB"] - found[chunk]["peak_MiB"]
    print(f"{grown:.1f} MiB more for {n} rows than for {chunk}")
    assert grown < phi.nbytes / 2**20  # the four arrays: 128 MiB
