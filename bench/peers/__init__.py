"""One file for each library; each lists its METHODS."""

from ..case import Method
from . import eigencontext, faiss, fbpca, mkl, numpy, pykeops, python, scikit_learn, scipy, torch, torch_losses

MODULES = (eigencontext, python, numpy, scikit_learn, scipy, mkl, fbpca, torch, torch_losses, faiss, pykeops)


def methods(task: str, data: dict) -> list[Method]:
    """Everybody who solves the case of `task` with this data, ours first."""
    return [method for module in MODULES for method in module.METHODS if method.task == task and method.suits(data)]


def names(task: str) -> list[str]:
    return [method.name for module in MODULES for method in module.METHODS if method.task == task]
