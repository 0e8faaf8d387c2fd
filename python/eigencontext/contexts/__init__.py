"""Contexts: joint distributions of an input X and a context variable A, as operators.

Every function here returns a `Context`: the operator M = D_p^{-1/2} P D_q^{-1/2} together with its two marginals.
"""

from ._base import Context
from ._cooccurrence import cooccurrence
from ._counts import counts, graph
from ._kernel import kernel
from ._labels import labels
from ._loss import loss_operator
from ._masked import masked_kernel, masked_neighbors
from ._mixture import minmax_weights, mixture
from ._neighbors import neighbors
from ._operator import operator
from ._pairs import lagged, pairs
from ._sampled import corruption, cutmix, gaussian_noise, masking
from ._teacher import targets, teacher

__all__ = [
    "Context",
    "cooccurrence",
    "corruption",
    "counts",
    "cutmix",
    "gaussian_noise",
    "graph",
    "kernel",
    "labels",
    "lagged",
    "loss_operator",
    "masked_kernel",
    "masked_neighbors",
    "masking",
    "minmax_weights",
    "mixture",
    "neighbors",
    "operator",
    "pairs",
    "targets",
    "teacher",
]


def __dir__() -> list[str]:
    return list(__all__)
