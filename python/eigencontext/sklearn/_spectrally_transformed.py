"""Spectrally transformed kernel regression (Zhai et al., ICLR 2024) on the functions of a context."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from .._arguments import check_choice, check_integer, check_number
from ._context import ContextEstimator

Transformation = Literal["power", "truncation", "inverse_laplacian"]
_TRANSFORMATIONS = ("power", "truncation", "inverse_laplacian")

_PARAMETERS = """context : str, default="rbf"
    context_params : dict, optional
    n_components : int, default=128
    tol : float, default=1e-3
    random_state : int, RandomState instance or None, default=0
        As in `ContextureEncoder`; n_components functions enter K_s (all there are, if they are fewer).
    transformation : {"power", "truncation", "inverse_laplacian"}, default="power"
        s(lambda) = lambda^power; lambda for i <= rank, else 0; lambda / (1 - eta lambda).
    power : float, default=1.0
        At least 0; of "power" alone, as are the next two of theirs.
    rank : int, default=16
    eta : float, default=0.5
        In [0, 1 / lambda_1).
    beta : float, default=1e-3
        Weight of the penalty ||f||^2 in the space of K_s, positive.
"""


class _SpectrallyTransformed(ContextEstimator):
    """The ridge regression on scaled singular functions that both predictors are."""

    def __init__(
        self,
        context: str = "rbf",
        *,
        context_params: dict[str, Any] | None = None,
        n_components: int = 128,
        transformation: Transformation = "power",
        power: float = 1.0,
        rank: int = 16,
        eta: float = 0.5,
        beta: float = 1e-3,
        tol: float = 1e-3,
        random_state: Any = 0,
    ) -> None:
        self.context = context
        self.context_params = context_params
        self.n_components = n_components
        self.transformation = transformation
        self.power = power
        self.rank = rank
        self.eta = eta
        self.beta = beta
        self.tol = tol
        self.random_state = random_state

    def _regress(self, X: Any, targets: np.ndarray, labelled: np.ndarray) -> None:
        """The functions of all of X, and the coefficients that fit the labelled rows of `targets` (n, t).

        With G = F diag(sqrt(s)), c = diag(sqrt(s)) (G^T G / n + beta I)^{-1} G^T y / n: no division by s = 0.
        """
        check_choice(self.transformation, "transformation", _TRANSFORMATIONS)
        beta = check_number(self.beta, "beta", 0.0, open_low=True)
        self.spectrum_ = self._fit_spectrum(X)
        root = np.sqrt(self._transformed(self.spectrum_.singular_values.astype(np.float64) ** 2))
        y = targets[labelled]
        self.intercept_ = y.mean(axis=0)
        G = np.asarray(self.spectrum_.left, dtype=np.float64)[labelled] * root
        gram = G.T @ G / len(G) + beta * np.eye(G.shape[1])
        self.coef_ = root[:, None] * np.linalg.solve(gram, G.T @ (y - self.intercept_) / len(G))

    def _transformed(self, eigenvalues: np.ndarray) -> np.ndarray:
        """s(lambda_i)."""
        if self.transformation == "power":
            return eigenvalues ** check_number(self.power, "power", 0.0)
        if self.transformation == "truncation":
            rank = check_integer(self.rank, "rank", 1)
            return np.where(np.arange(len(eigenvalues)) < rank, eigenvalues, 0.0)
        eta = check_number(self.eta, "eta", 0.0, 1.0 / eigenvalues[0], open_high=True)
        return eigenvalues / (1.0 - eta * eigenvalues)

    def _values(self, X: Any) -> np.ndarray:
        """f at new samples, (n, t)."""
        check_is_fitted(self)
        functions = self.spectrum_.transform(self._points(X, reset=False))
        return np.asarray(functions, dtype=np.float64) @ self.coef_ + self.intercept_


class SpectrallyTransformedRegressor(RegressorMixin, _SpectrallyTransformed):
    __doc__ = f"""Ridge regression in the space of a spectrally transformed kernel (STKR).

    f = mean(y) + K_s(., X) (K_s(X, X) + n beta I)^(-1) (y - mean(y)), with K_s = sum_i s(lambda_i) mu_i mu_i^T and
    lambda_i = s_i^2 of the context of all samples, n and X the labelled ones.

    Parameters
    ----------
    {_PARAMETERS}
    Attributes
    ----------
    spectrum_ : Spectrum
        Of the context, over labelled and unlabelled samples.
    coef_ : ndarray, (k, n_targets)
        Of the singular functions.
    intercept_ : ndarray, (n_targets,)

    Notes
    -----
    Semi-supervised: rows whose y is NaN (all targets of the row) are unlabelled; they shape the functions and count
    nowhere else. Cost beyond `ec.spectrum`: O(n k^2 + k^3); K_s is never formed.

    References
    ----------
    R. Zhai et al., "Spectrally Transformed Kernel Regression", ICLR 2024.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> X = np.linspace(0, 1, 200)[:, None]
    >>> y = np.sin(6 * X[:, 0])
    >>> y[::2] = np.nan
    >>> model = ec.sklearn.SpectrallyTransformedRegressor(context_params={{"bandwidth": 0.1}}, beta=1e-6).fit(X, y)
    >>> bool(abs(model.predict(X) - np.sin(6 * X[:, 0])).max() < 0.05)
    True
    """

    def fit(self, X: Any, y: Any) -> SpectrallyTransformedRegressor:
        """X (n_samples, n_features), y (n_samples,) or (n_samples, n_targets) with NaN in unlabelled rows."""
        X = self._points(X, reset=True)
        _require(self, y)
        y = check_array(y, ensure_2d=False, dtype=np.float64, ensure_all_finite="allow-nan", input_name="y")
        check_consistent_length(X, y)
        missing = np.isnan(y).reshape(len(y), -1)
        if (partly := missing.any(axis=1) & ~missing.all(axis=1)).any():
            raise ValueError(f"y: row {np.flatnonzero(partly)[0]} has some NaN; allowed: none or all of its targets")
        self._one_axis = y.ndim == 1
        self._regress(X, y.reshape(len(y), -1), _some_labelled(~missing[:, 0], "NaN"))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """(n_samples,) or (n_samples, n_targets), as y was."""
        values = self._values(X)
        return values[:, 0] if self._one_axis else values

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class SpectrallyTransformedClassifier(ClassifierMixin, _SpectrallyTransformed):
    __doc__ = f"""Classification by spectrally transformed kernel regression (STKR) on the indicators of the classes.

    See `SpectrallyTransformedRegressor`; the class with the largest value is predicted.

    Parameters
    ----------
    {_PARAMETERS}    unlabelled : label, optional
        The value of y that marks unlabelled samples: a number where y holds numbers, a word where it holds words.
        scikit-learn's own semi-supervised estimators use -1. By default every value of y is a class, -1 too.

    Attributes
    ----------
    classes_ : ndarray, (n_classes,)
    spectrum_, coef_, intercept_
        As in `SpectrallyTransformedRegressor`, one target a class.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> X = np.concatenate([np.random.default_rng(0).standard_normal((50, 2)) + shift for shift in (-3, 3)])
    >>> y = np.full(100, -1)
    >>> y[[0, 99]] = 0, 1
    >>> model = ec.sklearn.SpectrallyTransformedClassifier("neighbors", unlabelled=-1).fit(X, y)
    >>> float((model.predict(X) == np.repeat([0, 1], 50)).mean())
    1.0
    """

    def __init__(
        self,
        context: str = "rbf",
        *,
        context_params: dict[str, Any] | None = None,
        n_components: int = 128,
        transformation: Transformation = "power",
        power: float = 1.0,
        rank: int = 16,
        eta: float = 0.5,
        beta: float = 1e-3,
        unlabelled: Any = None,
        tol: float = 1e-3,
        random_state: Any = 0,
    ) -> None:
        super().__init__(
            context,
            context_params=context_params,
            n_components=n_components,
            transformation=transformation,
            power=power,
            rank=rank,
            eta=eta,
            beta=beta,
            tol=tol,
            random_state=random_state,
        )
        self.unlabelled = unlabelled

    def fit(self, X: Any, y: Any) -> SpectrallyTransformedClassifier:
        """X (n_samples, n_features), y (n_samples,) of class labels, `unlabelled` where there is none."""
        X = self._points(X, reset=True)
        _require(self, y)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        check_consistent_length(X, y)
        labelled = _some_labelled(~_marked(y, self.unlabelled), repr(self.unlabelled))
        self.classes_ = np.unique(y[labelled])
        self._regress(X, (y[:, None] == self.classes_).astype(np.float64), labelled)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """f of each class, (n_samples, n_classes); of two classes the difference, (n_samples,)."""
        values = self._values(X)
        return values[:, 1] - values[:, 0] if len(self.classes_) == 2 else values

    def predict(self, X: Any) -> np.ndarray:
        """Labels, (n_samples,)."""
        values = self.decision_function(X)
        return self.classes_[(values > 0).astype(int) if values.ndim == 1 else values.argmax(axis=1)]


def _require(estimator: Any, y: Any) -> None:
    if y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None")


def _marked(y: np.ndarray, mark: Any) -> np.ndarray:
    """Which of y are the mark of the unlabelled; a mark that no y of this kind can hold would mark none, silently."""
    if mark is None:
        return np.zeros(len(y), dtype=bool)
    words = y.dtype.kind in "US" or (y.dtype.kind == "O" and all(isinstance(label, str) for label in y))
    if not np.isscalar(mark) or mark != mark or isinstance(mark, str) != words:
        kind = "words" if words else "numbers"
        raise ValueError(f"unlabelled: got {mark!r} for y of {kind}; allowed: None, or a value that is one of {kind}")
    return np.asarray(y == mark)


def _some_labelled(labelled: np.ndarray, mark: str) -> np.ndarray:
    if not labelled.any():
        raise ValueError(f"y: every sample is unlabelled ({mark}); allowed: at least one label")
    return labelled
