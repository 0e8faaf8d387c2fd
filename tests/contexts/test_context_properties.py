"""Every context, drawn at random: marginals, values in [0, 1], the trivial pair, LAPACK, transform, sample, files."""

import os
import tempfile
import warnings

import context_oracles as oracles
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import eigencontext as ec

SEEDS = st.integers(0, 2**32 - 1)
DTYPES = st.sampled_from([np.float32, np.float64])


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # empty rows, clusters, values that can't be extended: tested by name elsewhere
        yield


def neighbor_matrix(X, k, include_self):
    D = ((X[:, None].astype(float) - X) ** 2).sum(-1)
    if not include_self:
        np.fill_diagonal(D, np.inf)
    W = np.zeros(D.shape)
    np.put_along_axis(W, np.argsort(D, axis=1, kind="stable")[:, :k], 1 / k, axis=1)
    return W


def drawn(kind, n, m, dtype, rng):
    """(context, joint distribution in float64 with its empty rows and columns, what transform takes to give left)."""
    if kind in ("counts", "sparse counts"):
        C = rng.integers(1, 9, (n, m)) * (rng.random((n, m)) < 0.4)
        C[rng.integers(n), rng.integers(m)] += 1
        given = C.astype(dtype) if kind == "counts" else sp.csr_array(C).astype(dtype)
        return ec.contexts.counts(given), C / C.sum(), C.astype(dtype)
    if kind in ("graph", "lazy graph"):
        B = np.triu(rng.integers(0, 3, (n, n)), 1)
        B = B + B.T + np.eye(n, k=1, dtype=int) + np.eye(n, k=-1, dtype=int)
        lazy = 0.25 if kind == "lazy graph" else 0.0
        P = (1 - lazy) * B + lazy * np.diag(B.sum(1))
        return ec.contexts.graph(B.astype(dtype), lazy=lazy), P / P.sum(), B.astype(dtype)  # new nodes have no loops
    if kind in ("kernel", "stationary"):
        X, A = rng.standard_normal((n, 2)).astype(dtype), rng.standard_normal((m, 2)).astype(dtype)
        A = X if kind == "stationary" else A
        K = np.exp(-((X[:, None].astype(float) - A) ** 2).sum(-1) / (2 * 1.5**2))
        if kind == "stationary":
            return ec.contexts.kernel(X, bandwidth=1.5, marginal="stationary"), K / K.sum(), X
        return ec.contexts.kernel(X, A, bandwidth=1.5), K / K.sum(1, keepdims=True) / n, X
    if kind in ("neighbors", "others"):
        X = rng.integers(-3, 4, (n, 2)).astype(dtype)  # ties
        k = int(rng.integers(1, n))
        ctx = ec.contexts.neighbors(X, k, include_self=kind == "neighbors")
        return ctx, neighbor_matrix(X, k, kind == "neighbors") / n, X if kind == "neighbors" else None
    if kind == "labels":
        y = rng.integers(0, m, n)
        return ec.contexts.labels(y), (y[:, None] == np.unique(y)) / n, y
    P = oracles.joint(rng.gamma(0.5, size=(n, m)) + 1e-3).astype(dtype)
    p = P.sum(1, dtype=float)
    W = P / P.sum(1, keepdims=True)
    return ec.contexts.operator(oracles.Callback(W) if dtype == np.float64 else W, p / p.sum()), P, W


KINDS = ("counts", "sparse counts", "graph", "lazy graph", "kernel", "stationary", "neighbors", "others", "labels",
         "operator")  # fmt: skip


@given(kind=st.sampled_from(KINDS), n=st.integers(2, 14), m=st.integers(2, 14), dtype=DTYPES, seed=SEEDS,
       method=st.sampled_from(["auto", "gram", "subspace"]))  # fmt: skip
def test_context_is_its_joint_distribution(kind, n, m, dtype, seed, method):
    ctx, P, new = drawn(kind, n, m, dtype, np.random.default_rng(seed))
    rows, columns = np.flatnonzero(P.sum(1)), np.flatnonzero(P.sum(0))
    limit = oracles.tolerance(ctx)
    assert list(ctx.rows) == list(rows) and list(ctx.columns) == list(columns)
    P = P[np.ix_(rows, columns)] / P.sum()
    for marginal, exact in ((ctx.p_x, P.sum(1)), (ctx.p_a, P.sum(0))):
        assert marginal.dtype == np.float64 and (marginal > 0).all() and abs(marginal.sum() - 1) <= 1e-12
        np.testing.assert_allclose(marginal, exact, rtol=limit)
    np.testing.assert_allclose(ctx.operator @ np.eye(len(columns)), oracles.normalized(P), atol=limit)
    np.testing.assert_allclose(ctx.operator.T @ np.sqrt(ctx.p_x), np.sqrt(ctx.p_a), atol=limit)
    k = min(P.shape) - 1
    if k == 0:
        return
    spec = ec.spectrum(ctx, k=k, method=method, tol=0, seed=seed)
    assert ((spec.singular_values >= 0) & (spec.singular_values <= 1)).all()
    np.testing.assert_allclose(spec.singular_values, oracles.reference(P), atol=limit)
    well = min(ctx.p_x.min(), ctx.p_a.min()) > 1e-3  # functions are U / sqrt(p): rounding grows by as much
    if well:
        oracles.check_functions(ctx, spec, 40 * limit)
    if new is None:
        return
    safe = spec.singular_values > 0.05
    extended = spec.transform(new[rows] if kind != "labels" else new)[:, safe].astype(float)
    error = np.abs(extended - spec.left[rows][:, safe].astype(float)) * np.sqrt(ctx.p_x)[:, None]
    share = np.sqrt(ctx.p_x[:, None] / ctx.p_a.min())  # a row of W against nu = V / sqrt(p_a)
    assert (error <= (spec.residuals[safe] + limit * np.maximum(1, share)) / spec.singular_values[safe]).all()


@given(kind=st.sampled_from(KINDS), n=st.integers(2, 8), m=st.integers(2, 8), seed=SEEDS)
def test_samples_follow_the_rows(kind, n, m, seed):
    """2000 draws of each row: shares within 6 standard deviations and a draw of P(a|x); none off the support."""
    ctx, P, _ = drawn(kind, n, m, np.float64, np.random.default_rng(seed))
    rows, draws = np.flatnonzero(P.sum(1)), 2000
    W = P[rows] / P[rows].sum(1, keepdims=True)
    sampled = ctx.sample(rows, draws, seed=seed)
    share = np.array([np.bincount(row, minlength=P.shape[1]) for row in sampled]) / draws
    assert (np.abs(share - W) <= 6 * np.sqrt(W * (1 - W) / draws) + 1 / draws).all()
    assert (share[W == 0] == 0).all()


@given(kind=st.sampled_from(KINDS), n=st.integers(3, 8), m=st.integers(3, 8), dtype=DTYPES, seed=SEEDS,
       context=st.booleans())  # fmt: skip
def test_files_give_back_every_bit(kind, n, m, dtype, seed, context):
    ctx, _, new = drawn(kind, n, m, dtype, np.random.default_rng(seed))
    spec = ec.spectrum(ctx, k=2, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        spec.save(os.path.join(folder, "s"), context=context)
        again = ec.load_spectrum(os.path.join(folder, "s"))
    for field in spec.__dataclass_fields__:
        if field == "folded_right" and not context:
            assert again.folded_right is None
        elif field != "conditional":
            kept, was = getattr(again, field), getattr(spec, field)
            assert np.array_equal(kept, was) and np.asarray(kept).dtype == np.asarray(was).dtype, field
    if context and new is not None:
        rows = ctx.rows if kind != "labels" else slice(None)
        np.testing.assert_array_equal(again.transform(new[rows]), spec.transform(new[rows]))


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
def test_bits_do_not_depend_on_the_layout(dtype):
    X = np.random.default_rng(0).normal(size=(150, 4)).astype(dtype)
    c, new = ec.contexts, X[:9] + dtype(0.1)
    points = {
        "kernel": lambda A: c.kernel(A),
        "stationary": lambda A: c.kernel(A, kernel="laplacian", marginal="stationary"),
        "cosine": lambda A: c.kernel(A, kernel="cosine"),
        "polynomial": lambda A: c.kernel(A, kernel="polynomial"),
        "neighbors": lambda A: c.neighbors(A, 5),
        "cosine neighbors": lambda A: c.neighbors(A, 5, metric="cosine"),
        "gaussian_noise": lambda A: c.gaussian_noise(A, 1.0),
        "corruption": lambda A: c.corruption(A, 0.5),
        "masking": lambda A: c.masking(A, 0.5),
        "pairs": lambda A: c.pairs(A, A[::-1]),
        "lagged": lambda A: c.lagged(A),
        "masked_kernel": lambda A: c.masked_kernel(A, 3),
        "masked_neighbors": lambda A: c.masked_neighbors(A, 3, n_neighbors=5),
        "teacher": lambda A: c.teacher(A),
        "targets": lambda A: c.targets(A),
    }
    for name, make in points.items():
        one, other = (ec.spectrum(make(A), k=3) for A in (X, np.asfortranarray(X)))
        np.testing.assert_array_equal(one.left, other.left, err_msg=name)
        np.testing.assert_array_equal(one.transform(new), other.transform(np.asfortranarray(new)), err_msg=name)
    P = np.random.default_rng(1).random((70, 70)).astype(dtype)  # products with a matrix follow its layout
    for make in (c.counts, c.graph):
        one, other = (make(A) for A in (P, np.asfortranarray(P)))
        np.testing.assert_array_equal(one.p_x, other.p_x)
        np.testing.assert_array_equal(one.p_a, other.p_a)
