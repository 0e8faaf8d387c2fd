"""The engine on a CUDA device beside its peers and beside the roofline of the device, in one command.

    python bench/gpu.py                    # on a machine with a GPU, the package built with CUDA
    python bench/gpu.py --model            # the roofline on paper alone: no GPU, nothing is run
    python bench/gpu.py --emulated FOLDER  # tiny sizes, on the module that tests/cuda_emulation built

The model of a run: its time is no less than the largest of (bytes from device memory) / bandwidth, (float32 flops) /
rate and (float64 flops) / rate, to which launches add 4 microseconds each. Bytes and flops follow from the matvecs that
the run reports, so the fraction printed is that of the work done, not of the least work possible.
"""

import argparse
import pathlib
import sys
import time
from dataclasses import dataclass

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np

import eigencontext as ec
from bench.inputs import clusters
from bench.tasks.dense_svd import matrix
from eigencontext import _device

LAUNCH = 4e-6  # seconds, typical of a stream that is kept busy


@dataclass
class Device:
    """Rates of the data sheet: bytes and flops a second."""

    name: str
    bandwidth: float
    float32: float
    float64: float


H100 = Device("H100 SXM", 3.35e12, 67e12, 34e12)
A100 = Device("A100 SXM 80 GB", 2.04e12, 19.5e12, 9.7e12)


@dataclass
class Work:
    bytes: float
    float32: float
    float64: float
    launches: float

    def seconds(self, device: Device) -> float:
        bound = max(self.bytes / device.bandwidth, self.float32 / device.float32, self.float64 / device.float64)
        return bound + LAUNCH * self.launches


def orthogonalisation(n: int, basis: int, block: int) -> Work:
    """Block by block to `basis` columns of length n in float32, against all columns before: a read for V^T X, for
    X - V C and for V^T X once more; the inner products in float64."""
    steps = basis / block
    columns = basis**2 / 2  # sum over the steps of columns times width
    return Work(3 * 4 * n * columns / block, 2.0 * n * columns, 2 * 2.0 * n * columns, 30 * steps)


def dense_work(n: int, m: int, columns: int, block: int, basis: int) -> Work:
    """Fused sweeps: A is read once from memory for A X and A^T Y, `columns` counts both; the basis has length m."""
    sweeps = columns / (2 * block)
    side = orthogonalisation(m, basis, block)
    return Work(4.0 * n * m * sweeps + side.bytes, 2.0 * n * m * columns + side.float32, side.float64,
                sweeps * 2 * max(1.0, 4.0 * n * m / 2**24) + side.launches)  # fmt: skip


def kernel_work(n: int, p: int, columns: int, block: int, basis: int, tile: int = 2048) -> Work:
    """Each symmetric tile is made once a product and used twice; tiles stay in L2."""
    products, tiles = columns / block, (n / tile) * (n / tile + 1) / 2
    side = orthogonalisation(n, basis, block)
    exponentials = 20.0  # flops of one, on the units that float32 takes
    return Work(products * tiles * 2 * tile * 4.0 * (p + 2 * block) + side.bytes,
                n * n * (2.0 * columns + products * (p + exponentials / 2)) + side.float32, side.float64,
                4 * products * tiles + side.launches)  # fmt: skip


def workloads(tiny: bool):
    """(name, how to run it on the device with the arrays given, the arrays, the model of a run that took `columns`)."""
    n, m, rank, k = (257, 130, 60, 4) if tiny else (20000, 4000, 400, 64)
    a = matrix(n, m, rank)
    block, basis = 16, 2 * k + 160
    yield (f"dense {n} x {m}, k = {k}", lambda x: ec.svd(x, k), a,
           lambda columns: dense_work(n, m, columns, block, basis), 20 * 2 * block)  # fmt: skip
    points, features = (130, 8) if tiny else (20000, 64)
    X, h = clusters(points, features)
    yield (f"rbf of {points} points, k = {k}",
           lambda x: ec.eigh(ec.operators.kernel(x, bandwidth=h), k), X,
           lambda columns: kernel_work(points, features, columns, 2 * block, basis), 12 * 2 * block)  # fmt: skip


def peers(a, k: int):
    """Names and calls of what is installed beside us, for a dense array on the device."""
    name = type(a).__module__.partition(".")[0]
    if name == "cupy":
        from cupyx.scipy.sparse.linalg import svds

        yield "cupyx svds", lambda: svds(a, k)
    if name == "torch":
        import torch

        yield "torch.svd_lowrank, niter = 6", lambda: torch.svd_lowrank(a, k + 10, niter=6)


def on_device(array):
    """As CuPy or torch hold it; where neither is there, as the engine does."""
    for package in ("cupy", "torch"):
        try:
            module = __import__(package)
            return module.asarray(array) if package == "cupy" else module.as_tensor(array, device="cuda")
        except (ImportError, RuntimeError, AssertionError):
            continue
    return _device.Moved(array)


def timed(call, repeats: int = 3):
    call()  # the first one allocates
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        result = call()
        values = result[-2]
        np.asarray(values.cpu() if hasattr(values, "cpu") else _device.on_host(values))  # waits for the device
        best = min(best, time.perf_counter() - begin)
    return best, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", action="store_true", help="print the roofline, run nothing")
    parser.add_argument("--emulated", metavar="FOLDER", help="where _cuda_emulated lies")
    options = parser.parse_args()
    if options.model:
        for name, _, _, model, columns in workloads(tiny=False):
            for device in (H100, A100):
                work = model(columns)
                print(
                    f"{device.name}: {name}, {columns} matvecs: at least {1e3 * work.seconds(device):.1f} ms "
                    f"({work.bytes:.1e} B, {work.float32:.1e} + {work.float64:.1e} flop, {work.launches:.0f} launches)"
                )
        return
    if options.emulated:
        sys.path.append(options.emulated)
        _device._MODULE = "_cuda_emulated"
    if reason := _device.unavailable():
        sys.exit(f"no CUDA here: {reason}")
    print(_device.engine("cuda").device_name())
    for name, run, array, model, _ in workloads(tiny=bool(options.emulated)):
        x = _device.Moved(array) if options.emulated else on_device(array)
        seconds, result = timed(lambda run=run, x=x: run(x))
        least = model(result.matvecs).seconds(H100)
        share = "emulated" if options.emulated else f"{100 * least / seconds:.2g} % of an H100's roofline"
        print(f"{name}: {seconds:.4f} s, {result.matvecs} matvecs, {int(result.converged.sum())} converged; {share}")
        for peer, call in peers(x, 64) if name.startswith("dense") else ():
            print(f"    {peer}: {timed(call)[0]:.4f} s")


if __name__ == "__main__":
    main()
