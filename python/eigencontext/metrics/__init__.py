"""Numbers that say how good a context is, and what an encoder has learned of it."""

from ._alignment import Alignment, alignment
from ._posthoc import PosthocSpectrum, posthoc_spectrum
from ._usefulness import D0 as D0
from ._usefulness import Usefulness, usefulness
from ._usefulness import usefulness_from as usefulness_from

__all__ = [
    "Alignment",
    "PosthocSpectrum",
    "Usefulness",
    "alignment",
    "posthoc_spectrum",
    "usefulness",
]


def __dir__() -> list[str]:
    return list(__all__)
