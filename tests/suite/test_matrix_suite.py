"""Every named matrix through every form it can be handed in as, against float64 LAPACK."""

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg
from comparators import check_eigh, check_svd, floor_of
from matrices import MATRICES

import eigencontext as ec
from eigencontext import operators as o

TOL, K = 1e-3, 6
pytestmark = pytest.mark.filterwarnings("ignore::eigencontext.ClusterWarning")


def strided(a):
    wide = np.full((2 * a.shape[0], 3 * a.shape[1]), np.nan, a.dtype)
    wide[::2, ::-3] = a
    return wide[::2, ::-3]


def composed(a, which):
    """Compositions of other operators that are `a` to rounding: powers of two and signs do not round."""
    n, m = a.shape
    turn = sp.csr_array((np.where(np.arange(m) % 2, -1, 1).astype(a.dtype), (np.arange(m), np.arange(m)[::-1])))
    left, right = 2.0 ** (np.arange(n) % 5 - 2), 2.0 ** (np.arange(m) % 3 - 1)
    cut = n // 2
    forms = {
        "product": lambda: o.dense(np.ascontiguousarray(a @ turn.T)) @ o.sparse(turn),
        "scaled": lambda: o.scaled(o.dense((a / left[:, None] / right).astype(a.dtype)), left, right),
        "stacked": lambda: o.stacked([o.dense(a[:cut]), o.sparse(sp.csr_array(a[cut:]))], 0) if cut else o.dense(a),
        "sum": lambda: o.weighted_sum([o.dense(a), o.sparse(sp.csr_array(a))], [0.25, 0.75]),
        "transposed": lambda: o.sparse(sp.csr_array(a.T)).T,
    }
    return list(forms.values())[which % len(forms)]()


def forms(a, which):
    yield "dense", a
    yield "Fortran", np.asfortranarray(a)
    yield "strided", strided(a)
    yield "csr", sp.csr_array(a)
    yield "callback", scipy.sparse.linalg.aslinearoperator(a)
    yield "composed", composed(a, which)


def methods(k, shape):
    """auto takes LAPACK at these sizes; blocks of 3 need room for k + 18 columns."""
    yield "auto", {}
    yield "subspace", {}
    yield "gram", {}
    if k + 18 <= min(shape):
        yield "krylov", {"block_size": 3}
        yield "krylov", {"block_size": 1, "max_basis": k + 9}


def check_flags(result, values, floor):
    """A flag says exactly that the residual holds."""
    bound = np.maximum(TOL * np.abs(values), floor)
    assert (result.residuals <= bound * (1 + 1e-5))[result.converged].all()
    assert (result.residuals >= bound * (1 - 1e-5))[~result.converged].all()


def test_there_are_200():
    assert len(MATRICES) >= 200
    assert all(np.isfinite(a).all() for a in MATRICES.values())


@pytest.mark.parametrize("name", MATRICES)
def test_svd(name):
    a = MATRICES[name]
    which = list(MATRICES).index(name)
    k = min(K, *a.shape)
    exact = np.linalg.svd(a.astype(np.float64), compute_uv=False)
    choices = list(methods(k, a.shape))
    for i, (form, given) in enumerate(forms(a, which)):
        method, options = choices[(i + which) % len(choices)]
        result = ec.svd(given, k, tol=TOL, method=method, seed=which, **options)
        context = f"{form}, {method} {options}"
        check_svd(a, result, k, TOL, exact=exact)
        assert result.converged.all(), context
        check_flags(result, result.s.astype(np.float64), floor_of(a, exact[0]))


SYMMETRIC = [name for name, a in MATRICES.items() if a.shape[0] == a.shape[1] and "float32 at" not in name]


@pytest.mark.parametrize("name", SYMMETRIC)
def test_eigh(name):
    """The symmetric part of every square matrix: most have negative values. Subspace iteration works on A + shift, to
    which small values all look alike: it is left out where they are steep."""
    a = MATRICES[name]
    a = (a + a.T) / 2
    which, k = SYMMETRIC.index(name), min(K, len(a))
    w = np.linalg.eigvalsh(a.astype(np.float64))[::-1]
    choices = [(method, options) for method, options in methods(k, a.shape) if method != "gram"]
    if name.startswith("steep"):
        choices = [choice for choice in choices if choice[0] != "subspace"]
    for i, (form, given) in enumerate(forms(a, which)):
        method, options = choices[(i + which) % len(choices)]
        if form == "composed" and not given.symmetric:
            given = o.weighted_sum([o.dense(a, symmetric=True), o.dense(a, symmetric=True)], [0.25, 0.75])
        sweeps = {"max_sweeps": 3000} if method != "auto" else {}
        result = ec.eigh(given, k, tol=TOL, method=method, seed=which, **options, **sweeps)
        check_eigh(a, result, k, TOL)
        assert result.converged.all(), f"{form}, {method} {options}"
        check_flags(result, result.w.astype(np.float64), floor_of(a, np.abs(w).max()))
        size = np.abs(result.V)
        rows = np.argmax(size >= (1 - 1e-6) * size.max(axis=0), axis=0)
        assert (result.V[rows, np.arange(k)] > 0).all()
