"""Full-batch SVME of N pairs that lie in .npy files: two sweeps of chunks, and what that takes of memory.

python -m bench.from_disk [--rows 1000000] [--width 256] [--chunk 16384] [--folder DIR]
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

import eigencontext as ec


def draw(path: Path, n: int, d: int, seed: int, chunk: int) -> None:
    """Normal rows in a .npy file, a chunk at a time; the map is opened anew for each, as in `chunks`."""
    rng = np.random.default_rng(seed)
    np.lib.format.open_memmap(path, "w+", np.float32, (n, d))
    for begin in range(0, n, chunk):
        file = np.load(path, mmap_mode="r+")
        file[begin : begin + chunk] = rng.standard_normal((min(chunk, n - begin), d), dtype=np.float32)


def chunks(folder: Path, n: int, step: int):
    """(rows, phi, psi); the maps are opened anew for each chunk, so that no page that was read stays."""
    for begin in range(0, n, step):
        rows = slice(begin, min(begin + step, n))
        yield rows, *(np.load(folder / f"{name}.npy", mmap_mode="r")[rows] for name in ("phi", "psi"))


def full_batch(folder: Path, step: int):
    """The loss, and the gradients in grad_phi.npy and grad_psi.npy."""
    n, d = np.load(folder / "phi.npy", mmap_mode="r").shape
    acc = ec.objectives.Moments(d, objective="svme")
    for _, phi, psi in chunks(folder, n, step):
        acc.update(phi, psi)
    full = ec.objectives.svme.from_moments(acc)
    for name in ("phi", "psi"):
        np.lib.format.open_memmap(folder / f"grad_{name}.npy", "w+", np.float32, (n, d))
    for rows, phi, psi in chunks(folder, n, step):
        maps = [np.load(folder / f"grad_{name}.npy", mmap_mode="r+") for name in ("phi", "psi")]
        full.grad(phi, psi, out=tuple(m[rows] for m in maps))
    return full.loss


def peak() -> float:
    """The largest resident set so far, MiB."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("rows", 1_000_000), ("width", 256), ("chunk", 16_384)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--folder", type=Path, help="where the files lie (made there if missing)")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        for seed, name in enumerate(("phi", "psi")):
            if not (folder / f"{name}.npy").exists():
                draw(folder / f"{name}.npy", args.rows, args.width, seed, args.chunk)
        start = time.perf_counter()
        loss = full_batch(folder, args.chunk)
        seconds = time.perf_counter() - start
    print(json.dumps({"loss": loss, "seconds": round(seconds, 2), "peak_MiB": round(peak(), 1)}))


if __name__ == "__main__":
    main()
