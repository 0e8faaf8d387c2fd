"""The engine on a CUDA device beside its peers and beside the roofline of the device, in one command.

    python bench/gpu.py                    # on a machine with a GPU, the package built with CUDA
    python bench/gpu.py --model            # the roofline of every task, ours and the peers', on paper: nothing is run
    python bench/gpu.py --emulated FOLDER  # tiny sizes, on the module that tests/cuda_emulation built

The model of a run is that of bench/roofline.py. Bytes and flops follow from the matvecs that the run reports, so the
fraction printed is that of the work done, not of the least work possible.
"""

import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np

import eigencontext as ec
from bench.inputs import clusters
from bench.roofline import A100, H100, dense_work, kernel_work, table
from bench.tasks.dense_svd import matrix
from eigencontext import _device


def workloads(tiny: bool):
    """(name, how to run it on the device with the arrays given, the arrays, the model of a run that took `columns`)."""
    n, m, rank, k = (257, 130, 60, 4) if tiny else (20000, 4000, 400, 64)
    a = matrix(n, m, rank)
    block = 16
    yield (f"dense {n} x {m}, k = {k}", lambda x: ec.svd(x, k), a,
           lambda columns: dense_work(n, m, columns, block))  # fmt: skip
    points, features = (130, 8) if tiny else (20000, 64)
    X, h = clusters(points, features)
    yield (f"rbf of {points} points, k = {k}",
           lambda x: ec.eigh(ec.operators.kernel(x, bandwidth=h), k), X,
           lambda columns: kernel_work(points, features, columns, 2 * block))  # fmt: skip


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
        print("\n\n".join(map(table, (H100, A100))))
        return
    if options.emulated:
        sys.path.append(options.emulated)
        _device._MODULE = "_cuda_emulated"
    if reason := _device.unavailable():
        sys.exit(f"no CUDA here: {reason}")
    print(_device.engine("cuda").device_name())
    for name, run, array, model in workloads(tiny=bool(options.emulated)):
        x = _device.Moved(array) if options.emulated else on_device(array)
        seconds, result = timed(lambda run=run, x=x: run(x))
        least = model(result.matvecs).seconds(H100)
        share = "emulated" if options.emulated else f"{100 * least / seconds:.2g} % of an H100's roofline"
        print(f"{name}: {seconds:.4f} s, {result.matvecs} matvecs, {int(result.converged.sum())} converged; {share}")
        for peer, call in peers(x, 64) if name.startswith("dense") else ():
            print(f"    {peer}: {timed(call)[0]:.4f} s")


if __name__ == "__main__":
    main()
