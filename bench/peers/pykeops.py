"""KeOps on the CPU: compiles its formula with g++ at first use, which the check before the timing pays for."""

from ..case import Answer, Method
from ..tasks import objectives
from . import torch_losses


def prepare(data):
    import numpy as np
    import pykeops

    pykeops.set_verbose(False)
    scale = np.float32(1 / (2**0.5 * data["bandwidth"]))
    return {"X": data["X"] * scale, "block": data["block"]}


def rbf_product(state, _):
    from pykeops.numpy import LazyTensor

    X = state["X"]
    distances = ((LazyTensor(X[:, None, :]) - LazyTensor(X[None, :, :])) ** 2).sum(-1)
    return Answer((-distances).exp() @ state["block"])


def prepare_kise(data):
    import pykeops

    pykeops.set_verbose(False)
    return data | {"arrays": objectives.inputs("kise", data["sizes"])}


def kise(state, _):
    """KeOps forms K B; the rest of the loss and its gradient by torch."""
    import torch
    from pykeops.torch import LazyTensor

    phi, X = map(torch.from_numpy, state["arrays"])
    scaled = X / (2**0.5 * state["sizes"]["bandwidth"])
    B = phi - phi.mean(0)
    distances = ((LazyTensor(scaled[:, None, :]) - LazyTensor(scaled[None, :, :])) ** 2).sum(-1)
    return Answer(objectives.answer(torch_losses.kise_gradient(phi, (-distances).exp() @ B).numpy()))


def is_kise(data):
    return data["objective"] == "kise"


METHODS = [
    Method("pykeops", "pykeops", "rbf_product", rbf_product, prepare=prepare, isolated=True),
    Method("pykeops", "pykeops", "objectives", kise, prepare=prepare_kise, isolated=True, suits=is_kise),
]
