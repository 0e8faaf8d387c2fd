"""The top singular functions of a context as a transformer."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ._context import ContextEstimator


class ContextureEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ContextEstimator):
    """The ordered singular functions mu_1 .. mu_k of a context, at the fitted samples and at new ones.

    Parameters
    ----------
    context : str, default="rbf"
        A name of `ec.contexts` or of a kernel, with parameters (``"neighbors:n_neighbors=10"``), or an expression of
        them: ``"0.7*rbf+0.3*neighbors"`` is a mixture, ``"rbf@neighbors"`` a convolution. A context of labels is a
        ValueError.
    context_params : dict, optional
        Keyword arguments of the context where `context` is a mere name; a parameter that a grid search can vary.
    n_components : int, default=2
        At most n_samples - 1 functions exist. Those whose singular value can't be told from 0 do not extend to new
        samples and are left out, with a UserWarning.
    tol : float, default=1e-3
        Of `ec.spectrum`.
    random_state : int, RandomState instance or None, default=0
        Of the solver, and of contexts that have a `seed` and were not given one. None: NumPy's global state.

    Attributes
    ----------
    spectrum_ : Spectrum
        With its singular values, their residuals, `usefulness` and `plot`.
    singular_values_ : ndarray, (n_components_,)
    n_components_ : int
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    `fit_transform` returns the functions at the fitted samples, `transform` their extension
    mu_i(x) = (1/s_i) sum_a P(a|x) nu_i(a) (Zhai et al. 2025, arXiv 2505.01557), which there is the same within
    residual / s_i (but with ``neighbors:include_self=False``, where a sample is its own new neighbour). Sparse X is
    accepted by contexts of counts and graphs. Cost and memory are those of the context and of `ec.spectrum`; contexts
    of points keep X.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> X = np.random.default_rng(0).standard_normal((100, 3))
    >>> encoder = ec.sklearn.ContextureEncoder("neighbors", context_params={"n_neighbors": 20}, n_components=4)
    >>> Z = encoder.fit_transform(X)
    >>> Z.shape, bool(np.allclose(encoder.transform(X), Z, atol=1e-2))
    ((100, 4), True)
    """

    def __init__(
        self,
        context: str = "rbf",
        *,
        context_params: dict[str, Any] | None = None,
        n_components: int = 2,
        tol: float = 1e-3,
        random_state: Any = 0,
    ) -> None:
        self.context = context
        self.context_params = context_params
        self.n_components = n_components
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> ContextureEncoder:
        """Compute the spectrum of the context of X, (n_samples, n_features); y is not used."""
        self._fit(self._points(X, reset=True))
        return self

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> np.ndarray:
        """The functions at the samples of X themselves, (n_samples, n_components_)."""
        X = self._points(X, reset=True)
        self._fit(X)
        left = np.asarray(self.spectrum_.left)
        # the inputs of a lagged context are the frames that have a later one
        return left if len(left) == X.shape[0] else self.spectrum_.transform(X)

    def _fit(self, X: Any) -> None:
        self.spectrum_ = self._fit_spectrum(X)
        self.singular_values_ = self.spectrum_.singular_values
        self.n_components_ = self.spectrum_.k
        if self.n_components_ < self.n_components:
            warnings.warn(
                f"n_components: got {self.n_components}; {self.n_components_} functions of {self.context!r} are not "
                f"constant and extend to new samples (of {X.shape[0]} samples): keeping those",
                UserWarning,
                stacklevel=3,
            )

    def transform(self, X: Any) -> np.ndarray:
        """The functions at new samples, (n_samples, n_components_), in the dtype of X."""
        check_is_fitted(self)
        X = self._points(X, reset=False)
        return self.spectrum_.transform(X).astype(X.dtype, copy=False)

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
