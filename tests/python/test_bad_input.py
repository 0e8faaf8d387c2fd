"""Every error names the argument, says what came and what is allowed, before any long work."""

import itertools
import re

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
from scipy.sparse.linalg import aslinearoperator

import eigencontext as ec
from eigencontext import _spectrum

GOOD = np.random.default_rng(0).standard_normal((30, 20))
SYMMETRIC = GOOD.T @ GOOD
BIG = np.random.default_rng(0).standard_normal((300, 250))


def with_entry(value, i, j, dtype=np.float64, order="C"):
    a = np.array(GOOD, dtype=dtype, order=order)
    a[i, j] = value
    return a


ENTRY_POINTS = {
    "a": lambda a: ec.svd(a, 2),
    "M": lambda a: ec.randomized_svd(a, 2, random_state=0),
    "A": lambda a: ec.svds(a, 2, rng=0),
}


@pytest.mark.parametrize("name", ENTRY_POINTS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("order", ["C", "F"])
def test_non_finite_is_found(name, value, order):
    with pytest.raises(ValueError, match=rf"^{name}: got {value} at \[7, 3\]; allowed: finite"):
        ENTRY_POINTS[name](with_entry(value, 7, 3, order=order))
    with pytest.raises(ValueError, match=rf"^{name}: got {value} at \[7, 3\]; allowed: finite"):
        ENTRY_POINTS[name](scipy.sparse.csr_matrix(with_entry(value, 7, 3)))


def test_non_finite_deep_in_a_large_array():
    a = np.zeros((3000, 2000), np.float32)
    a[2900, 1234] = np.nan
    with pytest.raises(ValueError, match=r"a: got nan at \[2900, 1234\]"):
        ec.svd(a, 2)
    with pytest.raises(ValueError, match=r"a: got nan at \[1234, 2900\]"):
        ec.svd(a.T, 2)


def test_large_finite_values_are_not_taken_for_inf():
    a = np.diag(np.array([3e38, 2e38, 1e38], np.float32))
    assert np.allclose(ec.svd(a, 2).s, [3e38, 2e38])


def test_longdouble_beyond_float64():
    a = GOOD.astype(np.longdouble)
    a[0, 1] = np.longdouble(10) ** 400
    if np.isfinite(a[0, 1]):
        with pytest.raises(ValueError, match=r"a: got 1e\+400 at \[0, 1\]; allowed: numbers that float64 can"):
            ec.svd(a, 2)


@pytest.mark.parametrize("name", ["a", "M"])
def test_complex_is_refused(name):
    for a in (GOOD + 1j, scipy.sparse.csr_matrix(GOOD + 1j), scipy.sparse.linalg.aslinearoperator(GOOD + 1j)):
        with pytest.raises(TypeError, match=f"^{name}: got dtype complex128; allowed: real numbers"):
            ENTRY_POINTS[name](a)


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_other_dtypes_are_refused(name):
    for a in (GOOD.astype(object), GOOD.astype(str), np.zeros((3, 3), "M8[s]"), [["a", "b"], ["c", "d"]]):
        with pytest.raises(TypeError, match=f"^{name}: got dtype .*; allowed: floating point, integer or bool"):
            ENTRY_POINTS[name](a)
    with pytest.raises(TypeError, match=f"^{name}: got a masked array"):
        ENTRY_POINTS[name](np.ma.masked_array(GOOD))


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_shapes_are_checked(name):
    for a in (GOOD[0], GOOD[None], 3.0):
        with pytest.raises(ValueError, match=rf"^{name}: got shape .*; allowed: an array with 2 axes"):
            ENTRY_POINTS[name](a)
    for a in (np.zeros((0, 3)), np.zeros((3, 0)), scipy.sparse.csr_matrix((0, 3))):
        with pytest.raises(ValueError, match=rf"^{name}: got shape .*; allowed: at least one entry along every axis"):
            ENTRY_POINTS[name](a)
    with pytest.raises(ValueError, match=f"^{name}: got rows of different lengths"):
        ENTRY_POINTS[name]([[1.0, 2.0], [3.0]])


def test_broken_sparse_matrices():
    C = scipy.sparse.csr_matrix(GOOD)
    C.indices = C.indices.copy()
    C.indices[3] = 99
    with pytest.raises(ValueError, match="a: not a valid CSR matrix"):
        ec.svd(C, 2)


@pytest.mark.parametrize("function", [ec.svd, ec.eigh, ec.plan])
def test_k(function):
    for k in (0, -1, 21, 10**30):
        with pytest.raises(ValueError, match=rf"^k: got {k}; allowed: an integer in 1 .. min\(n, m\) = 20"):
            function(SYMMETRIC, k)
    for k in (2.0, True, "2", None, np.array([2])):
        with pytest.raises(TypeError, match=r"^k: got .*; allowed: an integer"):
            function(SYMMETRIC, k)
    assert function(SYMMETRIC, np.int64(2)) is not None


@pytest.mark.parametrize("function", [ec.svd, ec.eigh])
@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"tol": -1}, ValueError, "tol: got -1; allowed: a finite number >= 0"),
        ({"tol": np.nan}, ValueError, "tol: got nan; allowed: a finite number >= 0"),
        ({"tol": np.inf}, ValueError, "tol: got inf"),
        ({"tol": "small"}, TypeError, "tol: got 'small'"),
        ({"tol": True}, TypeError, "tol: got True"),
        ({"method": "lanczos"}, ValueError, "method: got 'lanczos'; allowed: 'auto', 'krylov', 'subspace'"),
        ({"method": "single_pass"}, ValueError, "method: got 'single_pass'; allowed: 'auto'"),
        ({"method": None}, TypeError, r"method: got None \(NoneType\); allowed: 'auto'"),
        ({"block_size": 0}, ValueError, "block_size: got 0; allowed: an integer >= 1"),
        ({"block_size": 1.5}, TypeError, "block_size: got 1.5"),
        ({"max_basis": 0}, ValueError, "max_basis: got 0; allowed"),
        ({"max_basis": 4}, ValueError, r"max_basis: got 4; allowed: at least k \+ 3 block_size = 5"),
        ({"max_basis": 10, "block_size": 4}, ValueError, r"max_basis: got 10; allowed: at least .* = 14"),
        ({"max_sweeps": 0}, ValueError, "max_sweeps: got 0; allowed: an integer >= 1"),
        ({"max_sweeps": False}, TypeError, "max_sweeps: got False"),
        ({"verify": 1}, TypeError, r"verify: got 1 \(int\); allowed: True or False"),
        ({"max_memory": 0}, ValueError, "max_memory: got 0; allowed: a finite number > 0"),
        ({"max_memory": "1GB"}, TypeError, "max_memory: got '1GB'"),
        ({"max_memory": 10000}, ValueError, "max_memory: got 10000 bytes; allowed: at least [0-9]+ "),
        ({"seed": -1}, ValueError, "seed: got -1; allowed: an integer"),
        ({"seed": 2**64}, ValueError, "seed: got 18446744073709551616; allowed: an integer"),
        ({"seed": None}, TypeError, "seed: got None"),
        ({"seed": 1.0}, TypeError, "seed: got 1.0"),
        ({"callback": 3}, TypeError, r"callback: got 3 \(int\); allowed: None or a function of one argument"),
        ({"method": "full", "block_size": 4}, ValueError, "block_size: got 4; allowed: None, method='full'"),
        ({"method": "krylov", "block_size": 100}, ValueError, "method: got 'krylov', which needs min"),
    ],
)
def test_options(function, options, error, message):
    a = BIG.T @ BIG
    with pytest.raises(error, match=f"^{message}"):
        function(a, 2, **options)


def test_contexts_are_pointed_to_spectrum():
    class Context:
        shape = (3, 3)
        operator = GOOD
        conditional = None

    for function in (ec.svd, ec.eigh, lambda a, k: ec.svds(a, k), lambda a, k: ec.randomized_svd(a, k)):
        with pytest.raises(TypeError, match=r"got a context; use ec.spectrum\(ctx, k\), or pass ctx.operator"):
            function(Context(), 2)


# -- callbacks ---------------------------------------------------------------------------------------------------------


class Boom(Exception):
    pass


def products(matmat=lambda X: BIG @ X, rmatmat=lambda Y: BIG.T @ Y, shape=BIG.shape):
    class Products:
        pass

    a = Products()
    a.shape, a.matmat, a.rmatmat = shape, matmat, rmatmat
    return a


def test_exceptions_in_callbacks_reach_the_user():
    def boom(*_):
        raise Boom("mine")

    for method in ("krylov", "full", "gram", "subspace"):
        with pytest.raises(Boom, match="^mine$"):
            ec.svd(products(matmat=boom, rmatmat=boom), 2, method=method)
    with pytest.raises(Boom, match="^mine$"):
        ec.svd(products(rmatmat=boom), 2, method="krylov")
    with pytest.raises(Boom, match="^mine$"):
        ec.svd(BIG, 2, method="krylov", callback=boom)


@pytest.mark.parametrize(
    "answer, error, message",
    [
        (lambda X: BIG @ X[:, :1], ValueError, r"a.matmat: returned shape \(300, 1\); allowed: \(300, "),
        (lambda X: (BIG @ X).T, ValueError, "a.matmat: returned shape "),
        (lambda X: np.full((300, X.shape[1]), np.nan), ValueError, r"a.matmat: got nan at \[0, 0\]; allowed: finite"),
        (lambda X: BIG @ X + 1j, TypeError, "a.matmat: got dtype complex128; allowed: real"),
        (lambda X: None, TypeError, "a.matmat: got dtype object"),
        (lambda X: "text", TypeError, "a.matmat: got dtype <U4"),
    ],
)
def test_what_callbacks_return_is_checked(answer, error, message):
    with pytest.raises(error, match=f"^{message}"):
        ec.svd(products(matmat=answer), 2, method="krylov")


def test_objects_without_products():
    a = products()
    del a.rmatmat
    with pytest.raises(TypeError, match="^a: got Products without rmatmat; allowed: objects with shape"):
        ec.svd(a, 2)
    for shape in ((300,), (300, 2.5), (0, 250), None, 3):
        with pytest.raises((TypeError, ValueError), match=r"^a.shape: got .*; allowed: two integers >= 1"):
            ec.svd(products(shape=shape), 2)
    one_sided = scipy.sparse.linalg.LinearOperator(BIG.shape, matvec=lambda x: BIG @ x, dtype=float)
    with pytest.raises(TypeError, match="^a: got a LinearOperator without rmatvec"):
        ec.svd(one_sided, 2, method="krylov")


def test_products_of_operators_check_what_they_multiply():
    K = ec.operators.kernel(GOOD)
    with pytest.raises(ValueError, match=r"^X: got nan at \[0, 0\]"):
        K @ np.full(30, np.nan)
    with pytest.raises(ValueError):
        K @ np.ones(29)
    with pytest.raises(ValueError, match="product: got shapes"):
        K @ ec.operators.dense(BIG)
    with pytest.raises(ValueError, match="left: got length 3; allowed: length 30"):
        ec.operators.scaled(K, np.ones(3))


# -- eigh --------------------------------------------------------------------------------------------------------------


def test_eigh_wants_symmetry():
    forms = (np.array, scipy.sparse.csr_matrix, scipy.sparse.linalg.aslinearoperator, ec.operators.dense)
    for a in (form(GOOD) for form in forms):
        with pytest.raises(ValueError, match=r"^a: got shape \(30, 20\); allowed: square and symmetric"):
            ec.eigh(a, 2)
    a = SYMMETRIC.copy()
    a[3, 5] += 0.01
    for form in (a, scipy.sparse.csr_matrix(a)):
        with pytest.raises(ValueError, match=r"^a: not symmetric, entries \[(3, 5|5, 3)\] = .* and "):
            ec.eigh(form, 2)
    for form in (scipy.sparse.linalg.aslinearoperator(BIG[:250]), ec.operators.dense(BIG[:250])):
        with pytest.raises(ValueError, match=r"^a: not symmetric, x\^T A y = "):
            ec.eigh(form, 2)
    big = np.zeros((1300, 1300), np.float32)
    big[1250, 700] = 1
    with pytest.raises(ValueError, match=r"entries \[1250, 700\] = 1 and \[700, 1250\] = 0"):
        ec.eigh(big, 2)
    rounded = SYMMETRIC.astype(np.float32)
    rounded[3, 5] = np.nextafter(rounded[3, 5], np.float32(9))
    assert ec.eigh(rounded, 2).converged.all()
    with pytest.raises(ValueError, match="method: got 'gram'; allowed: 'auto', 'krylov', 'subspace', 'full'"):
        ec.eigh(SYMMETRIC, 2, method="gram")


# -- drop-in signatures ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"n_components": 0}, ValueError, "n_components: got 0; allowed: an integer >= 1"),
        ({"n_components": 2.0}, TypeError, "n_components: got 2.0"),
        ({"n_oversamples": -1}, ValueError, "n_oversamples: got -1; allowed: an integer >= 0"),
        ({"n_iter": -1}, ValueError, "n_iter: got -1; allowed: an integer >= 0"),
        ({"n_iter": "many"}, ValueError, "n_iter: got 'many'; allowed: 'auto'"),
        ({"power_iteration_normalizer": "qr"}, ValueError, "power_iteration_normalizer: got 'qr'; allowed: 'auto'"),
        ({"transpose": "no"}, ValueError, "transpose: got 'no'; allowed: 'auto'"),
        ({"transpose": 1}, TypeError, "transpose: got 1 "),
        ({"flip_sign": 1}, TypeError, "flip_sign: got 1 "),
        ({"random_state": "0"}, TypeError, "random_state: got '0'"),
        ({"random_state": -3}, ValueError, "random_state: got -3"),
        ({"svd_lapack_driver": "gesvdx"}, ValueError, "svd_lapack_driver: got 'gesvdx'; allowed: 'gesdd', 'gesvd'"),
    ],
)
def test_randomized_svd(options, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        ec.randomized_svd(GOOD, **{"n_components": 2, **options})


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"k": 0}, ValueError, "k: got 0; allowed: an integer in 1 .. "),
        ({"k": 21}, ValueError, "k: got 21; allowed: an integer in 1 .. min(n, m) = 20"),
        ({"tol": -1}, ValueError, "tol: got -1"),
        ({"which": "LA"}, ValueError, "which: got 'LA'; allowed: 'LM', 'SM'"),
        ({"v0": np.ones(3)}, ValueError, "v0: got length 3; allowed: length 20"),
        ({"v0": np.full(20, np.nan)}, ValueError, "v0: got nan at [0]"),
        ({"maxiter": 0}, ValueError, "maxiter: got 0; allowed: an integer >= 1"),
        ({"ncv": 7.5}, TypeError, "ncv: got 7.5"),
        ({"return_singular_vectors": "left"}, ValueError, "return_singular_vectors: got 'left'; allowed: True, False"),
        ({"rng": 1, "random_state": 1}, TypeError, "rng, random_state: got both"),
        ({"rng": "x"}, TypeError, "rng: got 'x'"),
    ],
)
def test_svds(options, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        ec.svds(GOOD, **{"k": 2, **options})


# -- kernels, threads --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"kernel": "gaussian"}, ValueError, "kernel: got 'gaussian'; allowed: 'rbf', 'laplacian', "),
        ({"bandwidth": 0}, ValueError, "bandwidth: got 0; allowed: a finite number > 0"),
        ({"bandwidth": -1.0}, ValueError, "bandwidth: got -1"),
        ({"bandwidth": np.inf}, ValueError, "bandwidth: got inf"),
        ({"bandwidth": "mean"}, ValueError, "bandwidth: got 'mean'; allowed: 'median' or a number > 0"),
        ({"bandwidth": None}, TypeError, "bandwidth: got None"),
        ({"kernel": "cosine", "bandwidth": 1.0}, ValueError, "bandwidth: got 1.0; allowed: none, the cosine"),
        ({"degree": 0}, ValueError, "degree: got 0; allowed: an integer >= 1"),
        ({"degree": 2.0}, TypeError, "degree: got 2.0"),
        ({"coef0": np.nan}, ValueError, "coef0: got nan"),
        ({"centered": "yes"}, TypeError, "centered: got 'yes'"),
        ({"X": with_entry(np.nan, 2, 1)}, ValueError, "X: got nan at [2, 1]"),
        ({"A": with_entry(np.inf, 2, 1)}, ValueError, "A: got inf at [2, 1]"),
        ({"A": np.ones((3, 4))}, ValueError, "A: got 4 columns; allowed: 20, as X has"),
        (
            {"X": np.ones((30, 20))},
            ValueError,
            "bandwidth: got 'median', but the median distance in X is 0; allowed: a number > 0",
        ),
        ({"X": GOOD[:1]}, ValueError, "bandwidth: got 'median' for one row of X; allowed: a number > 0, or two rows"),
        ({"X": scipy.sparse.csr_matrix(GOOD)}, TypeError, "X: got a sparse matrix; allowed: a dense array"),
    ],
)
def test_kernels(options, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        ec.operators.kernel(**{"X": GOOD, **options})


def test_threads():
    for n in (0, -1):
        with pytest.raises(ValueError, match=f"^n: got {n}; allowed: an integer in 1"):
            ec.set_num_threads(n)
    with pytest.raises(TypeError, match="^n: got 2.0"):
        ec.set_num_threads(2.0)
    with pytest.raises(ValueError, match="^mode: got 'json'; allowed: 'stdout', 'dicts'"):
        ec.show_config(mode="json")


def test_unknown_names():
    with pytest.raises(AttributeError, match="has no attribute 'spectral_density'"):
        ec.spectral_density  # noqa: B018


# -- what is seldom met ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["full", "gram"])
def test_methods_that_need_more_memory_than_allowed(method):
    with pytest.raises(
        ValueError, match=f"^max_memory: got 100000 bytes; allowed: at least [0-9]+ for method='{method}'"
    ):
        ec.svd(BIG, 2, method=method, max_memory=100_000)


def test_arrays_that_cannot_be_read():
    class Device:
        __cuda_array_interface__ = {}

    with pytest.raises(TypeError, match="^a: got a Device on a GPU; allowed: arrays on the CPU"):
        ec.svd(Device(), 2)

    class Refuses:
        def __array__(self, *args, **kwargs):
            raise TypeError("not here")

        def __dlpack__(self, **kwargs):
            raise BufferError("nor here")

        def __dlpack_device__(self):
            return (1, 0)

    with pytest.raises(TypeError, match="^a: Refuses cannot be made into an array: nor here"):
        ec.svd(Refuses(), 2)
    with pytest.raises(ValueError, match="^a: got a sparse array of shape .*; allowed: 2 axes"):
        ec.svd(scipy.sparse.coo_array(np.ones(3)), 1)


def test_compositions_of_unequal_shapes():
    tall, wide = ec.operators.dense(GOOD), ec.operators.dense(GOOD.T.copy())
    with pytest.raises(ValueError, match=r"^stacked: got shapes .*; allowed: one size along axis 1"):
        ec.operators.stacked([tall, wide], 0)
    with pytest.raises(ValueError, match=r"^weighted_sum: got shapes .*; allowed: one shape"):
        ec.operators.weighted_sum([tall, wide], [1.0, 1.0])


def test_contexts_of_operators_that_are_no_distribution():
    make = ec.contexts.operator
    with pytest.raises(ValueError, match=r"^L: column\(s\) 1 get negative weights; allowed: >= 0"):
        make(aslinearoperator(np.array([[1.5, -0.5], [1.2, -0.2]])), [0.5, 0.5])
    with pytest.raises(ValueError, match=r"^L: L\^T sqrt\(p_x\) has negative entries"):
        make(aslinearoperator(-np.eye(2)), [0.5, 0.5], form="normalized")
    with pytest.raises(ValueError, match="^p_x: got negative entries, the smallest -0.5; allowed: weights >= 0"):
        make(np.eye(2), [1.5, -0.5])
    ctx = make(np.eye(2), [0.5, 0.5])
    with pytest.raises(ValueError, match="^X_new: got 3 columns; allowed: 2, one a context value"):
        ctx.conditional(np.full((1, 3), 1 / 3))
    with pytest.raises(ValueError, match="^y: got None or NaN; allowed: a label for each input"):
        ec.contexts.labels(np.array(["a", np.nan], dtype=object))


def test_files_of_contexts_that_nobody_knows(tmp_path):
    ec.spectrum(ec.contexts.labels([0, 1, 2]), k=2).save(tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as file:
        arrays = {**file, "context_kind": np.asarray("horoscope")}
    del arrays["checksum"]
    np.savez(tmp_path / "other.npz", **arrays, checksum=_spectrum._checksum(arrays))
    with pytest.raises(ValueError, match="has context 'horoscope'; allowed: .*'labels'"):
        ec.load_spectrum(tmp_path / "other.npz")


@pytest.mark.parametrize("a", [[[2.0]], [[0.0]], [[-3.0]]])
def test_one_by_one(a):
    U, s, Vh = ec.svd(a, 1)
    assert s[0] == abs(a[0][0]) and abs(U[0, 0]) == abs(Vh[0, 0]) == 1 and (U * s) @ Vh == a[0][0]
    assert ec.eigh(a, 1).w[0] == a[0][0]


@pytest.mark.parametrize("kind", ["constant", "duplicated"])
def test_constant_features_and_duplicated_points(kind):
    """Exact ties everywhere: ranks as they are, no NaN, values of LAPACK."""
    X = GOOD[:, :3].copy()
    if kind == "constant":
        X[:, 1:] = 5.0
    else:
        X[15:] = X[:15]
    for kernel in ("rbf", "laplacian", "cosine", "polynomial"):
        options = {"bandwidth": 1.0} if kernel in ("rbf", "laplacian") else {}
        K = ec.operators.kernel(X, kernel=kernel, **options)
        exact = np.linalg.eigvalsh(K @ np.eye(30))[::-1][:3]
        rounding = 10 * np.finfo(float).eps * exact[0] * np.sqrt(30)
        assert np.abs(ec.eigh(K, 3, tol=0).w - exact).max() <= 3 * rounding


# -- what people pass by mistake ---------------------------------------------------------------------------------------


def test_tables_with_text_name_the_columns():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2.0, 3.0], "kind": ["p", "q", "r"]})
    with pytest.raises(TypeError, match=r"^X: got dtype object from DataFrame with column\(s\) 'kind' \("):
        ec.contexts.kernel(frame)
    nullable = pandas.DataFrame({"a": [1.0, 2.0], "b": pandas.array([1, None], dtype="Int64")})
    with pytest.raises(TypeError, match=r"^a: got dtype object from DataFrame with column\(s\) 'b' \(Int64\)"):
        ec.svd(nullable, 1)


def test_none_and_text_are_shown():
    with pytest.raises(TypeError, match=r"^X: got dtype object from None \(NoneType\); allowed: floating"):
        ec.contexts.kernel(None)
    for kernel in (ec.contexts.kernel, ec.operators.kernel):
        with pytest.raises(TypeError, match="^A: got 'rbf'; allowed: points, or None .*kernel='rbf'"):
            kernel(GOOD, "rbf")


def test_graphs_are_matrices():
    class Graph:  # what networkx's has
        nodes, edges = (), ()

    with pytest.raises(TypeError, match=r"^adjacency: got a Graph; allowed: a matrix, as networkx"):
        ec.contexts.graph(Graph())
    with pytest.raises(ValueError, match=r"^adjacency: got shape \(4, 2\); allowed: a square matrix \(of an edge list"):
        ec.contexts.graph([[0, 1], [1, 2], [2, 3], [3, 0]])


def test_labels_that_look_like_measurements():
    values = np.random.default_rng(0).normal(size=60)
    with pytest.warns(UserWarning, match="^y: 60 distinct floating point numbers of 60, each a class of its own"):
        ec.contexts.labels(values)
    for y in ([1, None, 2], [None, None]):
        with pytest.raises(ValueError, match="^y: got None or NaN; allowed: a label for each input"):
            ec.contexts.labels(y)

    with pytest.raises(TypeError, match="^y: got labels of type dict, list; allowed: hashable ones"):
        ec.contexts.labels([{}, [1], "a"])


def test_labels_that_are_labels_do_not_warn(recwarn):
    for y in (np.arange(60), np.arange(300) % 30.0, np.arange(20.0), list("abc")):
        ec.contexts.labels(y)
    assert not recwarn.list


MEMORY = {
    "wide enough for nothing": np.ones((300, 260)),
    "long": np.ones((2000, 900)),
    "wide": np.ones((260, 300), np.float32),
    "sparse, short": scipy.sparse.random(300, 250, 0.3, format="csr", rng=1),
    "sparse, wide": scipy.sparse.random(2000, 3000, 0.2, format="csr", rng=1),
    "kernel": ec.operators.kernel(np.random.default_rng(0).standard_normal((2000, 3))),
}


@pytest.mark.parametrize("method", ["auto", "krylov", "full", "gram", "subspace"])
@pytest.mark.parametrize("name", MEMORY)
def test_the_memory_that_a_message_asks_for_suffices(name, method):
    """And a plan takes no more than it was given."""
    for k, given in itertools.product((1, 50, 200, 250), (1000, 100_000, 1_000_000, 5_000_000)):
        try:
            assert ec.plan(MEMORY[name], k, method=method, max_memory=given).memory <= given
        except ValueError as error:
            if found := re.search(r"max_memory: got .*; allowed: at least (\d+) for", str(error)):
                least = int(found[1])
                assert given < least and ec.plan(MEMORY[name], k, method=method, max_memory=least).memory <= least
