"""Contexts: joint distributions of an input X and a context variable A, as operators.

Every function here returns a `Context`: the operator M = D_p^{-1/2} P D_q^{-1/2} together with its two marginals.
"""

from ._base import Context
from ._counts import counts, graph
from ._kernel import kernel
from ._labels import labels
from ._mixture import minmax_weights, mixture
from ._neighbors import neighbors
from ._operator import operator
from ._sampled import corruption, cutmix, gaussian_noise, masking

__all__ = [
    "Context",
    "corruption",
    "counts",
    "cutmix",
    "gaussian_noise",
    "graph",
    "kernel",
    "labels",
    "masking",
    "minmax_weights",
    "mixture",
    "neighbors",
    "operator",
]


def __dir__() -> list[str]:
    return list(__all__)
