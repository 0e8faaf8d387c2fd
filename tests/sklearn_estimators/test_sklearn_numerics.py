"""The estimators against scikit-learn's own, and against the formulas they stand for."""

import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp

import eigencontext as ec

pytest.importorskip("sklearn", reason="needs scikit-learn")

import sklearn.decomposition as theirs
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eigencontext import sklearn as ours
from eigencontext._expression import known


def points(n=120, d=6, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, d)) * 1.5 ** -np.arange(d) + 0.3).astype(dtype)


# -- ContextureEncoder -------------------------------------------------------------------------------------------------


def test_encoder_of_neighbors_has_the_singular_functions_of_the_dense_matrix():
    X = points(80, 2)
    k, d = 12, 5
    distances = np.linalg.norm(X[:, None] - X, axis=2)
    W = np.zeros((80, 80))
    np.put_along_axis(W, np.argsort(distances, axis=1)[:, :k], 1 / k, axis=1)
    q = W.mean(axis=0)
    U, s, _ = np.linalg.svd(W / np.sqrt(80) / np.sqrt(q))  # q > 0: each point is its own neighbour
    expected = U[:, 1 : d + 1] * np.sqrt(80)

    encoder = ours.ContextureEncoder("neighbors", context_params={"n_neighbors": k}, n_components=d, tol=0)
    Z = encoder.fit_transform(X)
    np.testing.assert_allclose(encoder.singular_values_, s[1 : d + 1], atol=1e-10)
    np.testing.assert_allclose(np.abs(Z.T @ expected) / 80, np.eye(d), atol=1e-8)
    np.testing.assert_allclose(encoder.transform(X), Z, atol=1e-8)


def test_encoder_is_the_spectrum_of_the_same_context():
    X = points()
    encoder = ours.ContextureEncoder("0.7*rbf:bandwidth=1.5 + 0.3*neighbors:n_neighbors=9", n_components=4).fit(X)
    members = [ec.contexts.kernel(X, bandwidth=1.5), ec.contexts.neighbors(X, n_neighbors=9)]
    spec = ec.spectrum(ec.contexts.mixture(members, [0.7, 0.3]), 4)
    np.testing.assert_array_equal(encoder.fit_transform(X), spec.left)
    np.testing.assert_array_equal(encoder.transform(X[:7] + 0.1), spec.transform(X[:7] + 0.1))


REQUIRED = {"rate": 0.3, "sigma": 0.5}
BY_NAME = {name: parts for name, parts in known().items() if parts[1] not in ("y", "text")}


@pytest.mark.parametrize("name", BY_NAME)
def test_encoder_takes_every_context_of_points_or_weights_by_name(name):
    _, first, keys = BY_NAME[name]
    X = np.abs(points(60, 60 if first == "adjacency" else 6))
    params = {key: REQUIRED[key] for key, required in keys.items() if required}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of few samples
        encoder = ours.ContextureEncoder(name, context_params=params, n_components=3)
        Z = encoder.fit_transform(X)
        assert Z.shape == (60, encoder.n_components_) and np.isfinite(Z).all()
        assert encoder.transform(X[:7]).shape == (7, encoder.n_components_)


def test_encoder_parameters_are_searched_in_a_pipeline():
    X = points(150)
    y = np.arange(150) % 2
    X += 4 * y[:, None]
    pipe = make_pipeline(StandardScaler(), ours.ContextureEncoder("neighbors", n_components=3), LogisticRegression())
    grid = {"contextureencoder__context_params": [{"n_neighbors": k} for k in (5, 20)]}
    search = GridSearchCV(pipe, grid, cv=3).fit(X, y)
    assert search.best_score_ > 0.95
    assert {row["contextureencoder__context_params"]["n_neighbors"] for row in search.cv_results_["params"]} == {5, 20}


def test_encoder_output_has_names_and_type():
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    X = pandas.DataFrame(points(), columns=list("abcdef"))
    table = ours.ContextureEncoder(n_components=3).set_output(transform="pandas").fit_transform(X)
    assert list(table.columns) == [f"contextureencoder{i}" for i in range(3)]
    assert ours.ContextureEncoder().fit_transform(points(dtype=np.float32)).dtype == np.float32


def test_encoder_of_sparse_counts():
    C = sp.random_array((60, 40), density=0.3, rng=np.random.default_rng(0), format="csr")
    encoder = ours.ContextureEncoder("counts", n_components=3, tol=0)
    Z = encoder.fit_transform(C)
    np.testing.assert_allclose(ours.ContextureEncoder("counts", n_components=3, tol=0).fit_transform(C.toarray()), Z)
    np.testing.assert_allclose(encoder.transform(C), Z, atol=1e-10)
    with pytest.raises(TypeError, match="(?i)sparse"):
        ours.ContextureEncoder("rbf").fit(C)


def test_encoder_leaves_out_functions_of_no_singular_value():
    X = np.repeat(np.eye(3) * 100, 10, axis=0)  # three points, far apart
    with pytest.warns(UserWarning, match="n_components: got 5; 2 functions"):
        encoder = ours.ContextureEncoder("neighbors:n_neighbors=10", n_components=5).fit(X)
    assert encoder.transform(X).shape == (30, 2)
    with pytest.raises(ValueError, match="only constant functions"):
        ours.ContextureEncoder("neighbors:n_neighbors=30").fit(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"context": "labels"}, "a context of labels"),
        ({"context": "cooccurrence"}, "got 'cooccurrence', a context of texts; allowed: contexts of X"),
        ({"context": "corruption"}, "corruption without rate .*0.9 is a start"),
        ({"context": "corruption", "context_params": {}}, "context_params: got no 'rate'; allowed: .*0.9 is a start"),
        ({"context": "0.5*teacher+0.5*rbf"}, "teacher, which is no joint distribution"),
        ({"context": "rbf,neighbors"}, "one context"),
        ({"context": "nothing"}, "got 'nothing'"),
        ({"context": "rbf+neighbors", "context_params": {"bandwidth": 1.0}}, "together with context_params"),
        ({"context_params": {"width": 1.0}}, "context_params: got 'width'"),
        ({"n_components": 0}, "n_components: got 0"),
        ({"tol": -1.0}, "tol: got -1"),
    ],
)
def test_encoder_refuses(parameters, message):
    with pytest.raises(ValueError, match=message):
        ours.ContextureEncoder(**parameters).fit(points())


# -- spectrally transformed regression ---------------------------------------------------------------------------------

TRANSFORMATIONS = {
    "power": ({"power": 1.5}, lambda v: v**1.5),
    "truncation": ({"rank": 4}, lambda v: np.where(np.arange(len(v)) < 4, v, 0)),
    "inverse_laplacian": ({"eta": 0.9}, lambda v: v / (1 - 0.9 * v)),
}


@pytest.mark.parametrize("name", TRANSFORMATIONS)
@pytest.mark.parametrize("unlabelled", [0, 70])
def test_regressor_meets_the_formula_with_the_dense_kernel(name, unlabelled):
    options, s = TRANSFORMATIONS[name]
    X, X_new, beta = points(100), points(30, seed=1), 3e-3
    y = np.sin(2 * X[:, 0]) + X[:, 1]
    y[:unlabelled] = np.nan
    model = ours.SpectrallyTransformedRegressor(
        context_params={"bandwidth": 1.2}, n_components=12, transformation=name, beta=beta, tol=0, **options
    ).fit(X, y)

    spec = ec.spectrum(ec.contexts.kernel(X, bandwidth=1.2), 12, tol=0)
    labelled, values = ~np.isnan(y), s(spec.singular_values**2)
    F, mean = spec.left[labelled], y[labelled].mean()
    K = F * values @ F.T
    alpha = np.linalg.solve(K + len(F) * beta * np.eye(len(F)), y[labelled] - mean)
    expected = spec.transform(X_new) * values @ F.T @ alpha + mean
    np.testing.assert_allclose(model.predict(X_new), expected, rtol=1e-7, atol=1e-9)


def test_regressor_of_several_targets_is_one_of_each():
    X = points()
    Y = np.column_stack([X[:, 0] ** 2, X[:, 1], X.sum(axis=1)])
    model = ours.SpectrallyTransformedRegressor(n_components=20)
    together = clone(model).fit(X, Y).predict(X)
    for j in range(3):
        np.testing.assert_allclose(together[:, j], clone(model).fit(X, Y[:, j]).predict(X))
    Y[3, 1] = np.nan
    with pytest.raises(ValueError, match="row 3 has some NaN"):
        model.fit(X, Y)
    with pytest.raises(ValueError, match="eta: got 20"):
        ours.SpectrallyTransformedRegressor(transformation="inverse_laplacian", eta=20.0).fit(X, X[:, 0])


def test_unlabelled_samples_help_the_classifier():
    """Two half circles, one label each: the functions of all samples follow them, those of the labelled can't."""
    angle = np.linspace(0, np.pi, 150)
    moons = [(np.cos(angle), np.sin(angle)), (1 - np.cos(angle), 0.5 - np.sin(angle))]
    X = np.concatenate([np.column_stack(moon) for moon in moons])
    truth = np.repeat(["above", "below"], 150)
    y = np.full(300, "?", dtype=object)
    y[[10, 160, 290]] = truth[[10, 160, 290]]
    model = ours.SpectrallyTransformedClassifier("neighbors:n_neighbors=8", n_components=1, unlabelled="?").fit(X, y)
    assert list(model.classes_) == ["above", "below"]
    assert (model.predict(X) == truth).mean() > 0.97
    with pytest.raises(ValueError, match="every sample is unlabelled"):
        ours.SpectrallyTransformedClassifier(unlabelled="?").fit(X, np.full(300, "?", dtype=object))


@pytest.mark.parametrize(
    ("y", "mark"),
    [([-1, 1], "?"), ([-1, 1], np.nan), ([-1, 1], [-1]), (["a", "b"], -1), (np.array(["a", "-1"], dtype=object), -1)],
)
def test_a_mark_that_no_label_can_be_is_refused(y, mark):
    with pytest.raises(ValueError, match="unlabelled: got .* for y of .*; allowed: None, or a value that is one of"):
        ours.SpectrallyTransformedClassifier(unlabelled=mark).fit(points(30), np.resize(y, 30))


def test_minus_one_is_a_class_unless_it_is_said_to_mark_the_unlabelled():
    X, y = points(60), np.resize([-1, 0, 1], 60)
    assert ours.SpectrallyTransformedClassifier().fit(X, np.sign(y - 0.5)).classes_.tolist() == [-1, 1]
    assert ours.SpectrallyTransformedClassifier().fit(X, y).classes_.tolist() == [-1, 0, 1]
    assert ours.SpectrallyTransformedClassifier(unlabelled=-1).fit(X, y).classes_.tolist() == [0, 1]
    assert ours.SpectrallyTransformedClassifier(unlabelled=9).fit(X, y).classes_.tolist() == [-1, 0, 1]


def test_classifier_scores_are_the_regression_of_the_indicators():
    X = points(150)
    y = np.digitize(X[:, 0], [0.0, 0.8])
    model = ours.SpectrallyTransformedClassifier(n_components=30).fit(X, y)
    indicators = ours.SpectrallyTransformedRegressor(n_components=30).fit(X, np.eye(3)[y])
    np.testing.assert_allclose(model.decision_function(X), indicators.predict(X))
    assert model.score(X, y) > 0.9


# -- scikit-learn's own, accelerated -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array, sp.csc_matrix])
@pytest.mark.parametrize("algorithm", ["arpack", "randomized"])
def test_truncated_svd_is_theirs(form, algorithm):
    rng = np.random.default_rng(3)
    U, V = (np.linalg.qr(rng.standard_normal((size, 20)))[0] for size in (90, 40))
    dense = U * 0.3 ** np.arange(20) @ V.T
    X = form(np.where(np.abs(dense) > 1e-4, dense, 0))
    parameters = {"n_components": 5, "algorithm": algorithm, "random_state": 0}
    one, other = ours.TruncatedSVD(**parameters), theirs.TruncatedSVD(**parameters)
    np.testing.assert_allclose(one.fit_transform(X), other.fit_transform(X), atol=1e-8)
    for name in ("components_", "singular_values_", "explained_variance_", "explained_variance_ratio_"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-8)
    np.testing.assert_allclose(one.transform(X), other.transform(X), atol=1e-8)


def test_truncated_svd_of_no_more_than_n_iter_is_never_worse():
    X = points(200, 60, seed=4) @ np.random.default_rng(5).standard_normal((60, 60))
    exact = np.linalg.svd(X, compute_uv=False)[:10]
    for n_iter in (0, 1, 3):
        errors = [
            np.abs(cls(10, n_iter=n_iter, random_state=0).fit(X).singular_values_ - exact).max()
            for cls in (ours.TruncatedSVD, theirs.TruncatedSVD)
        ]
        assert errors[0] <= errors[1] + 1e-9


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "parameters",
    [
        {"kernel": "rbf"},
        {"kernel": "rbf", "gamma": 0.7, "n_components": 12},
        {"kernel": "linear"},
        {"kernel": "linear", "gamma": 2.0, "remove_zero_eig": True},
        {"kernel": "cosine"},
    ],
)
def test_kernel_pca_is_theirs(parameters, dtype):
    X, X_new = points(90, 14, dtype=dtype), points(11, 14, seed=1, dtype=dtype)
    parameters = {"n_components": 4, **parameters}
    one, other = ours.KernelPCA(**parameters), theirs.KernelPCA(**parameters)
    eps = np.finfo(dtype).eps
    Z = one.fit_transform(X)
    assert one._extension is not None  # the engine was used
    np.testing.assert_allclose(Z, other.fit_transform(X), atol=1e4 * eps)
    np.testing.assert_allclose(one.eigenvalues_, other.eigenvalues_, rtol=1e3 * eps)
    np.testing.assert_allclose(one.transform(X_new), other.transform(X_new), atol=1e4 * eps)
    assert Z.dtype == one.transform(X_new).dtype == dtype


@pytest.mark.parametrize("kernel", ["linear", "cosine"])
def test_kernel_pca_of_sparse_inner_products(kernel):
    X = sp.random_array((70, 30), density=0.2, rng=np.random.default_rng(0), format="csr")
    one, other = ours.KernelPCA(5, kernel=kernel), theirs.KernelPCA(5, kernel=kernel)
    np.testing.assert_allclose(one.fit_transform(X), other.fit_transform(X), atol=1e-9)
    np.testing.assert_allclose(one.transform(X[:9]), other.transform(X[:9]), atol=1e-9)


def test_kernel_pca_of_rank_two_has_zeros_like_theirs():
    X = points(50, 8) @ np.diag([1, 1, 0, 0, 0, 0, 0, 0])
    one, other = ours.KernelPCA(5), theirs.KernelPCA(5)
    np.testing.assert_allclose(one.fit_transform(X), other.fit_transform(X), atol=1e-9)
    np.testing.assert_allclose(one.transform(X), other.transform(X), atol=1e-9)
    assert one.set_params(remove_zero_eig=True).fit_transform(X).shape == (50, 2)


@pytest.mark.parametrize(
    "parameters",
    [
        {"kernel": "poly", "gamma": 0.5, "degree": 2, "coef0": -1.0},
        {"kernel": "sigmoid"},
        {"kernel": lambda x, y: float(np.minimum(x, y).sum())},
        {"kernel": "rbf", "eigen_solver": "arpack", "random_state": 0},
        {"kernel": "rbf", "eigen_solver": "dense"},
        {"kernel": "rbf", "n_components": None},
        {"kernel": "rbf", "fit_inverse_transform": True, "alpha": 0.3},
        {"kernel": "rbf", "gamma": 0.0},
        {"kernel": "linear", "max_iter": 50},
    ],
)
def test_kernel_pca_leaves_the_rest_to_theirs(parameters):
    X = points(40)
    parameters = {"n_components": 3, **parameters}
    one, other = ours.KernelPCA(**parameters).fit(X), theirs.KernelPCA(**parameters).fit(X)
    np.testing.assert_array_equal(one.transform(X), other.transform(X))
    if one.fit_inverse_transform:
        np.testing.assert_array_equal(
            one.inverse_transform(one.transform(X)), other.inverse_transform(one.transform(X))
        )


def test_kernel_pca_precomputed():
    X = points(40)
    K = X @ X.T
    assert ours.KernelPCA(kernel="precomputed").__sklearn_tags__().input_tags.pairwise
    np.testing.assert_array_equal(
        ours.KernelPCA(3, kernel="precomputed").fit_transform(K),
        theirs.KernelPCA(3, kernel="precomputed").fit_transform(K),
    )


@pytest.mark.parametrize(
    "estimator",
    [
        ours.ContextureEncoder("0.5*rbf+0.5*neighbors:n_neighbors=7", n_components=3),
        ours.TruncatedSVD(3, random_state=0),
        ours.KernelPCA(3, kernel="rbf"),
        ours.SpectrallyTransformedRegressor(n_components=10),
        ours.SpectrallyTransformedClassifier("neighbors:n_neighbors=7", n_components=10),
    ],
)
def test_fitted_estimators_pickle(estimator):
    X = points()
    y = (X[:, 0] > 0.3).astype(int)
    fitted = clone(estimator).fit(X, y)
    again = pickle.loads(pickle.dumps(fitted))
    method = "transform" if hasattr(fitted, "transform") else "predict"
    np.testing.assert_array_equal(getattr(again, method)(X), getattr(fitted, method)(X))


def test_import_is_lazy_and_its_error_names_the_extra(monkeypatch):
    import subprocess
    import sys

    code = (
        "import sys, eigencontext as ec; assert 'sklearn' not in sys.modules; sys.modules['sklearn'] = None; ec.sklearn"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1 and "eigencontext[sklearn]" in run.stderr


def test_nothing_warns_in_ordinary_use():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        X = points()
        ours.ContextureEncoder(n_components=3).fit(X).transform(X)
        ours.KernelPCA(3, kernel="rbf").fit(X).transform(X)
        ours.SpectrallyTransformedRegressor().fit(X, X[:, 0]).predict(X)
