"""Estimators of scikit-learn's kind over the engine (extra [sklearn]).

`ContextureEncoder` and the two spectrally transformed predictors are fitted on a context; `TruncatedSVD` and
`KernelPCA` are scikit-learn's own with the engine below.
"""

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"eigencontext.sklearn needs scikit-learn ({error}); allowed: pip install 'eigencontext[sklearn]'"
    ) from error

from ._encoder import ContextureEncoder
from ._kernel_pca import KernelPCA
from ._spectrally_transformed import SpectrallyTransformedClassifier, SpectrallyTransformedRegressor
from ._truncated_svd import TruncatedSVD

__all__ = [
    "ContextureEncoder",
    "KernelPCA",
    "SpectrallyTransformedClassifier",
    "SpectrallyTransformedRegressor",
    "TruncatedSVD",
]


def __dir__() -> list[str]:
    return list(__all__)
