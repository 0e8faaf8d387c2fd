"""Numbers that say how good a context is, and what an encoder has learned of it."""

from ._alignment import Alignment, alignment
from ._association import (
    Association,
    ContextComplexity,
    association,
    context_complexity,
    decay_rate,
    effective_dimension,
)
from ._evaluation import TraceGap, fisher_discriminant, trace_gap, worst_case_error
from ._posthoc import PosthocSpectrum, posthoc_spectrum
from ._sampling import SamplingError, sampling_error
from ._task import Compatibility, compatibility
from ._usefulness import D0 as D0
from ._usefulness import Usefulness, usefulness
from ._usefulness import usefulness_from as usefulness_from

__all__ = [
    "Alignment",
    "Association",
    "Compatibility",
    "ContextComplexity",
    "PosthocSpectrum",
    "SamplingError",
    "TraceGap",
    "Usefulness",
    "alignment",
    "association",
    "compatibility",
    "context_complexity",
    "decay_rate",
    "effective_dimension",
    "fisher_discriminant",
    "posthoc_spectrum",
    "sampling_error",
    "trace_gap",
    "usefulness",
    "worst_case_error",
]


def __dir__() -> list[str]:
    return list(__all__)
