"""scikit-learn's own checks of estimators, all of them."""

import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")

from sklearn.utils.estimator_checks import parametrize_with_checks

from eigencontext import sklearn as ours

ESTIMATORS = [
    ours.ContextureEncoder(),
    ours.ContextureEncoder("neighbors", context_params={"n_neighbors": 4}),
    ours.ContextureEncoder("0.5*rbf + 0.5*laplacian:bandwidth=2", n_components=3),
    ours.SpectrallyTransformedRegressor(),
    ours.SpectrallyTransformedRegressor(transformation="inverse_laplacian", beta=1e-4),
    ours.SpectrallyTransformedClassifier(),
    ours.SpectrallyTransformedClassifier(transformation="truncation"),
    ours.TruncatedSVD(),
    ours.TruncatedSVD(algorithm="arpack"),
    ours.KernelPCA(),
    ours.KernelPCA(2),
    ours.KernelPCA(2, kernel="rbf"),
    ours.KernelPCA(2, kernel="cosine"),
    ours.KernelPCA(2, kernel="poly"),
]


@parametrize_with_checks(ESTIMATORS)
def test_checks(estimator, check):
    check(estimator)
