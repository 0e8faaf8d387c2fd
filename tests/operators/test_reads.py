"""Fused means that the data are read once a sweep: stored operators count their reads."""

import numpy as np
import pytest
import scipy.sparse as sp

import eigencontext as ec
from eigencontext import operators

#: products beside the sweeps: the scale, A^T u of a deflation, the verification (2), the last Rayleigh-Ritz (2)
BESIDE = 6


def leaf(op):
    """The stored operator under a chain of scalings and deflations."""
    while op._recipe[0] in ("scaled", "deflated"):
        op = op._recipe[1][0]
    return op._engine


def sparse_counts(n=3000, m=800):
    rng = np.random.default_rng(0)
    C = sp.random_array((n, m), density=0.02, rng=rng, data_sampler=lambda size: 1.0 + rng.poisson(2, size))
    topics = np.kron(np.eye(20), np.ones((n // 20, m // 20)))
    C = C + 6 * (C * topics)  # twenty topics: a gap after the nineteenth value
    return sp.csr_array(C)


def spectrum_and_reads(ctx, **options):
    before = leaf(ctx.operator).reads
    spec = ec.spectrum(ctx, k=10, method="krylov", seed=1, **options)
    assert spec.converged.all() and spec.sweeps >= 3
    return spec, leaf(ctx.operator).reads - before


def test_sparse_counts_are_read_once_a_sweep_where_no_transpose_is_kept(monkeypatch):
    C = sparse_counts()
    kept = ec.contexts.counts(C)
    monkeypatch.setattr(operators, "available_memory", lambda: 0)
    lean = ec.contexts.counts(C)
    assert not ec.plan(kept, 10, method="krylov").fused and ec.plan(lean, 10, method="krylov").fused
    assert ec.plan(kept, 10, method="krylov").squared  # its products cost less than orthogonalising 3000 rows
    two_products, twice = spectrum_and_reads(kept)
    fused, once = spectrum_and_reads(lean)
    assert 2 * two_products.sweeps <= twice <= 2 * (two_products.sweeps + BESIDE)
    assert fused.sweeps <= once <= fused.sweeps + BESIDE
    assert "one read of A" in fused.reason and "one read of A" not in two_products.reason
    np.testing.assert_allclose(fused.singular_values, two_products.singular_values, rtol=1e-3)


def test_dense_counts_are_read_once_a_sweep():
    C = sparse_counts().toarray() + 0.01
    ctx = ec.contexts.counts(C)
    fused, once = spectrum_and_reads(ctx)
    assert fused.sweeps <= once <= fused.sweeps + BESIDE
    two_sided, twice = spectrum_and_reads(ctx, tol=1e-6)  # squares are not for tolerances below 1e-3
    assert 2 * two_sided.sweeps <= twice <= 2 * (two_sided.sweeps + BESIDE)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_product_is_one_read(dtype):
    a = np.ones((30, 20), dtype)
    for op in (operators.dense(a), operators.sparse(sp.csr_array(a)), operators.sparse(sp.csr_array(a), max_memory=1)):
        engine = op._engine
        engine.matmat(np.ones((20, 3), dtype))
        engine.rmatmat(np.ones((30, 3), dtype))
        engine.fused(None, np.ones((20, 3), dtype))
        assert engine.reads == 3
    assert operators.scaled(op, np.ones(30))._engine.reads == 0
