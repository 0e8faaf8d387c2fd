"""scikit-learn's KernelPCA over the engine: kernels in tiles, or none at all where the kernel is an inner product."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import sklearn.decomposition
from sklearn.preprocessing import normalize
from sklearn.utils.validation import check_is_fitted, validate_data

from .._arguments import seed_from
from .._linalg import eigh, svd
from ..operators import as_operator, deflated, kernel, pairwise


class KernelPCA(sklearn.decomposition.KernelPCA):
    """`sklearn.decomposition.KernelPCA`, parameters and attributes included, over the engine where that is faster.

    The engine computes ``kernel="rbf"`` of dense X (tiles of the kernel, never the n x n matrix), and ``"linear"`` and
    ``"cosine"`` (the centred, or normalised and centred, X itself) with ``eigen_solver="auto"`` and a number of
    components below what there is. Everything else is computed by scikit-learn's own code: other kernels, callables
    and precomputed ones, rbf of sparse X, `fit_inverse_transform`, a solver named by `eigen_solver`, a `max_iter` (of
    ARPACK), ``n_components=None``. Results are theirs; ``tol=0`` asks for the floor of rounding. `n_jobs` and
    `iterated_power` belong to scikit-learn's code, the engine has its own threads.

    Peak memory beyond X: rbf, two copies of X, ``itemsize * 2 n * basis`` and kept tiles (`ec.eigh`).

    Examples
    --------
    >>> import numpy as np, eigencontext as ec, sklearn.decomposition
    >>> X = np.random.default_rng(0).standard_normal((60, 5))
    >>> ours = ec.sklearn.KernelPCA(3, kernel="rbf").fit_transform(X)
    >>> bool(np.allclose(ours, sklearn.decomposition.KernelPCA(3, kernel="rbf").fit_transform(X)))
    True
    """

    def fit(self, X: Any, y: Any = None) -> KernelPCA:
        """Fit to X, (n_samples, n_features); y is not used."""
        self._validate_params()
        self._extension: tuple[np.ndarray, np.ndarray] | None = None
        checked = validate_data(self, X, accept_sparse="csr", copy=self.copy_X)
        if not self._accelerated(checked):
            return super().fit(X)
        X = checked if checked.dtype.kind == "f" else checked.astype(np.float64)
        self.gamma_ = 1 / X.shape[1] if self.gamma is None else self.gamma
        self.X_fit_ = checked
        seed = seed_from(np.random if self.random_state is None else self.random_state, "random_state")
        fit = self._fit_rbf if self.kernel == "rbf" else self._fit_inner
        w, V, basis, offset = fit(X, seed)
        self.eigenvalues_ = np.where(w > _smallest(w.dtype) * w[0], w, w.dtype.type(0))
        roots = np.sqrt(self.eigenvalues_)
        scaled = basis / np.where(roots > 0, roots, 1) * (roots > 0)
        kept = self.eigenvalues_ > 0 if self.remove_zero_eig else slice(None)
        self.eigenvalues_, self.eigenvectors_ = self.eigenvalues_[kept], V[:, kept]
        self._extension = scaled[:, kept], offset
        return self

    def _accelerated(self, X: Any) -> bool:
        n, d = X.shape
        ours = self.eigen_solver == "auto" and self.max_iter is None and not self.fit_inverse_transform
        if not ours or self.n_components is None:
            return False
        if self.kernel == "rbf":
            return not sp.issparse(X) and self.n_components < n and (self.gamma is None or self.gamma > 0)
        return self.kernel in ("linear", "cosine") and self.n_components < min(n, d)

    def _fit_rbf(self, X: np.ndarray, seed: int) -> tuple[np.ndarray, ...]:
        """Eigenpairs of H K H; its eigenvectors have mean 0, so K(x, X) V needs no centring but its column means."""
        bandwidth = 1 / np.sqrt(2 * self.gamma_)
        w, V = eigh(kernel(X, bandwidth=bandwidth, centered=True), self.n_components, tol=self.tol, seed=seed)
        basis = V - V.mean(axis=0)
        means = pairwise(X, None, "rbf", bandwidth).matmat(np.full((len(X), 1), 1 / len(X), X.dtype))
        return w, V, basis, means[:, 0]

    def _fit_inner(self, X: Any, seed: int) -> tuple[np.ndarray, ...]:
        """Squared singular values of the centred X: the kernel matrix is never needed."""
        X = self._features(X)
        mean = np.asarray(X.mean(axis=0), dtype=np.float64).ravel()
        centred = deflated(as_operator(X, "X"), np.ones(X.shape[0]), mean)
        U, s, Vh = svd(centred, self.n_components, tol=self.tol, seed=seed)
        return s**2, U, Vh.T * s, mean

    def _features(self, X: Any) -> Any:
        return normalize(X) if self.kernel == "cosine" else X

    def transform(self, X: Any) -> np.ndarray:
        """Project X onto the components, (n_samples, n_components); rbf in tiles, never n_samples x n_fitted."""
        check_is_fitted(self)
        if self._extension is None:
            return super().transform(X)
        scaled, offset = self._extension
        X = validate_data(self, X, accept_sparse="csr", reset=False, dtype=[np.float64, np.float32])
        if self.kernel == "rbf":
            fitted = self.X_fit_.astype(np.result_type(X, scaled), copy=False)
            K = kernel(X, fitted, bandwidth=1 / np.sqrt(2 * self.gamma_))
            return K.matmat(scaled.astype(K.dtype, copy=False)) - offset @ scaled
        return np.asarray(self._features(X) @ scaled - offset.astype(scaled.dtype) @ scaled)


def _smallest(dtype: np.dtype) -> float:
    """Eigenvalues below this share of the largest are zeros, as in scikit-learn."""
    return 1e-12 if dtype == np.float64 else 2e-7
