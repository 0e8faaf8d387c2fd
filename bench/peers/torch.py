"""PyTorch: svd_lowrank on the CPU (its own OpenMP threads, hence a process of its own)."""

from ..case import Answer, Method


def svd_lowrank(data, setting):
    import torch

    torch.manual_seed(0)
    oversampling, niter = setting
    return Answer(
        torch.svd_lowrank(torch.from_numpy(data["a"]), data["k"] + oversampling, niter)[1][: data["k"]].numpy()
    )


METHODS = [
    Method("torch.svd_lowrank", "torch", "dense_svd", svd_lowrank, tuple((10, q) for q in range(4, 21)), isolated=True)
]
