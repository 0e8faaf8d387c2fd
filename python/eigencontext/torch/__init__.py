"""`ec.objectives` as torch modules with autograd, on one process or many; exact gradients from micro-batches."""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("ec.torch needs torch, which cannot be imported: pip install 'eigencontext[torch]'") from error

from ._cache import cached_backward
from ._chain import ChainLoss
from ._losses import (
    BarlowTwinsLoss,
    CorrelationLoss,
    ExponentialLowRankLoss,
    ExponentialSpectralContrastiveLoss,
    InfoNCELoss,
    KISELoss,
    LowRankLoss,
    NestedLowRankLoss,
    RayleighLoss,
    SigmoidLoss,
    SpectralContrastiveLoss,
    SpectralNonContrastiveLoss,
    SupervisedMSELoss,
    SVMELoss,
    VICRegLoss,
)

__all__ = [
    "BarlowTwinsLoss",
    "ChainLoss",
    "CorrelationLoss",
    "ExponentialLowRankLoss",
    "ExponentialSpectralContrastiveLoss",
    "InfoNCELoss",
    "KISELoss",
    "LowRankLoss",
    "NestedLowRankLoss",
    "RayleighLoss",
    "SVMELoss",
    "SigmoidLoss",
    "SpectralContrastiveLoss",
    "SpectralNonContrastiveLoss",
    "SupervisedMSELoss",
    "VICRegLoss",
    "cached_backward",
]


def __dir__() -> list[str]:
    return list(__all__)
