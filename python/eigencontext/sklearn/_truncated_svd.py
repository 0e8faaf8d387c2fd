"""scikit-learn's TruncatedSVD over the engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import sklearn.decomposition
from sklearn.utils import check_random_state
from sklearn.utils.extmath import safe_sparse_dot, svd_flip
from sklearn.utils.sparsefuncs import mean_variance_axis
from sklearn.utils.validation import validate_data

from .._linalg import randomized_svd, svds


class TruncatedSVD(sklearn.decomposition.TruncatedSVD):
    """`sklearn.decomposition.TruncatedSVD`, parameters, attributes and signs included, over the engine.

    ``algorithm="randomized"`` goes through `ec.randomized_svd` (from the same start never less accurate than theirs
    after `n_iter` iterations), ``"arpack"`` through `ec.svds` (`tol` = 0: to rounding). Results are theirs up to the
    accuracy asked for; memory is that of the engine, ``itemsize * (n + m) * basis``.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> X = np.random.default_rng(0).standard_normal((50, 8))
    >>> svd = ec.sklearn.TruncatedSVD(n_components=3, algorithm="arpack").fit(X)
    >>> bool(np.allclose(svd.singular_values_, np.linalg.svd(X)[1][:3]))
    True
    """

    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Fit and return U diag(s) (arpack to rounding) or X V, (n_samples, n_components)."""
        self._validate_params()
        X = validate_data(self, X, accept_sparse=["csr", "csc"], ensure_min_features=2)
        U, s, Vh = self._decompose(X)
        U, Vh = svd_flip(U, Vh, u_based_decision=False)
        self.components_, self.singular_values_ = Vh, s
        exact = self.algorithm == "arpack" and self.tol == 0
        scores = U * s if exact else safe_sparse_dot(X, Vh.T)
        self.explained_variance_ = np.var(scores, axis=0)
        total = (mean_variance_axis(X, axis=0)[1] if sp.issparse(X) else np.var(X, axis=0)).sum()
        self.explained_variance_ratio_ = self.explained_variance_ / total
        return scores

    def _decompose(self, X: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        k = self.n_components
        if k > X.shape[1]:
            raise ValueError(f"n_components: got {k}; allowed: at most {X.shape[1]}, the number of features")
        random_state = check_random_state(self.random_state)
        if self.algorithm == "arpack":
            U, s, Vh = svds(X, k, tol=self.tol, rng=random_state)
            return U[:, ::-1], s[::-1], Vh[::-1]
        return randomized_svd(
            X,
            k,
            n_iter=self.n_iter,
            n_oversamples=self.n_oversamples,
            power_iteration_normalizer=self.power_iteration_normalizer,
            flip_sign=False,
            random_state=random_state,
        )
