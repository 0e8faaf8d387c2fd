"""What results are compared with: float64 LAPACK, true residuals, one another."""

import warnings

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

import eigencontext as ec


def floor_of(a, s1):
    """THEORY 3: the residual below which rounding hides everything."""
    return 10 * np.finfo(a.dtype).eps * s1 * np.sqrt(max(a.shape))


def check_svd(a, result, k, tol, exact=None):
    """Every claim of an SvdResult, from the returned vectors in float64.

    Orthonormality: sums of max(n, m) rounded terms of a unit vector, eps sqrt(max(n, m)), with room of 20. Values: the
    k values are jointly within the norm of the residuals of k singular values of `a`, and verification says of the
    right ones. Residuals: one that is reported smaller than the true one by more than the floor fails.
    """
    U, s, Vh = result
    full = np.asarray(a, np.float64)
    n, m = full.shape
    eps = np.finfo(U.dtype).eps
    assert U.shape == (n, k) and s.shape == (k,) and Vh.shape == (k, m)
    assert U.dtype == s.dtype == Vh.dtype
    assert (np.diff(s) <= 0).all() and (s >= 0).all()
    size = np.abs(U)
    rows = np.argmax(size >= (1 - 1e-6) * size.max(axis=0), axis=0)  # the rule for signs, DESIGN, in U's own dtype
    assert (U[rows, np.arange(k)] > 0).all()
    U, s, V = U.astype(np.float64), s.astype(np.float64), Vh.T.astype(np.float64)
    limit = 20 * eps * np.sqrt(max(n, m))
    assert np.abs(U.T @ U - np.eye(k)).max() <= limit
    assert np.abs(V.T @ V - np.eye(k)).max() <= limit
    exact = np.linalg.svd(full, compute_uv=False) if exact is None else exact
    floor = 10 * eps * exact[0] * np.sqrt(max(n, m))
    left = np.linalg.norm(full @ V - U * s, axis=0)
    right = np.linalg.norm(full.T @ U - V * s, axis=0)
    assert (left <= 3 * floor).all()  # LAPACK's own SVD of 4 x 4 matrices reaches 1.9 floor in a thousand
    assert (right <= result.residuals + floor).all()
    bound = np.maximum(tol * s, floor) * (1 + 1e-6)
    assert (result.residuals <= bound)[result.converged].all()
    if result.converged.all():
        assert np.abs(s - exact[:k]).max() <= np.linalg.norm(np.maximum(tol * s, floor)) + floor


def check_entry_points(a, k, seed=0):
    """svd, svds and randomized_svd of one matrix say the same: values to both tolerances, and the spans of separated
    groups of vectors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ec.ConvergenceWarning)  # tiny matrices: LAPACK's rounding, above
        tight = ec.svd(a, k, tol=0, seed=seed)
        u, ascending, vh = ec.svds(a, k, rng=seed)
    check_svd(a, tight, k, 0)
    s = tight.s.astype(np.float64)
    floor = floor_of(np.asarray(a, tight.s.dtype), s[0]) if s[0] else 0
    assert (tight.residuals <= 3 * floor).all()
    assert np.abs(ascending[::-1] - s).max() <= 2 * floor * np.sqrt(k)
    assert u.shape == tight.U.shape and vh.shape == tight.Vh.shape
    assert np.abs((u * ascending) @ vh - (tight.U * tight.s) @ tight.Vh).max() <= cluster_slack(a, k, floor)
    U, r, Vh = ec.randomized_svd(a, k, random_state=seed)
    assert np.abs(r - s).max() <= np.linalg.norm(np.maximum(1e-3 * s, floor)) + 2 * floor
    U, r, Vh = ec.randomized_svd(a, k, n_iter=6, random_state=seed)
    assert (r <= s + 2 * floor).all()


def cluster_slack(a, k, floor):
    """The truncated product is unique only if s_k > s_{k+1}; its sensitivity is floor s_1 / gap (Wedin)."""
    exact = np.linalg.svd(np.asarray(a, np.float64), compute_uv=False)
    if k == len(exact):
        return 10 * floor * np.sqrt(k) + 1e-30
    gap = exact[k - 1] - exact[k]
    return np.inf if gap <= 100 * floor else 20 * np.sqrt(k) * floor * exact[0] / gap


def matrix(n, m, seed=0, dtype=np.float64, decay=0.8, rank=None):
    """U diag(decay^i) V^T."""
    rng = np.random.default_rng(seed)
    r = min(n, m) if rank is None else rank
    U = np.linalg.qr(rng.standard_normal((n, r)))[0]
    V = np.linalg.qr(rng.standard_normal((m, r)))[0]
    return ((U * decay ** np.arange(r)) @ V.T).astype(dtype)


def layouts(a):
    n, m = a.shape
    wide = np.zeros((2 * n, 3 * m), a.dtype)
    wide[::2, ::3] = a
    frozen = a.copy()
    frozen.flags.writeable = False
    padded = np.zeros((n, m + 7), a.dtype)
    padded[:, 3 : m + 3] = a
    return {
        "C": a,
        "Fortran": np.asfortranarray(a),
        "steps": wide[::2, ::3],
        "reversed": np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
        "read-only": frozen,
        "columns": padded[:, 3 : m + 3],
        "swapped bytes": a.astype(a.dtype.newbyteorder()),
        "list": a.tolist(),
        "matrix": a.view(np.matrix),
    }


def check_orthonormal(result):
    k = len(result.s)
    limit = 20 * np.finfo(result.U.dtype).eps * np.sqrt(max(result.U.shape[0], result.Vh.shape[1]))
    assert np.abs(result.U.T @ result.U - np.eye(k)).max() <= limit
    assert np.abs(result.Vh @ result.Vh.T - np.eye(k)).max() <= limit


def symmetric(n, dtype=np.float64, seed=0, values=None):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    values = (0.9 ** np.arange(n)) * (-1.0) ** (np.arange(n) // 3) if values is None else values
    a = (Q * values) @ Q.T
    return ((a + a.T) / 2).astype(dtype)


def check_eigh(a, result, k, tol, slack=0.0):
    """As `check_svd`; `slack` is how far `a` may be from the operator, in norm."""
    w, V = (part.astype(np.float64) for part in result)
    full = np.asarray(a, np.float64)
    exact = np.linalg.eigvalsh(full)[::-1]
    n = len(full)
    eps = np.finfo(result.V.dtype).eps
    floor = 10 * eps * np.abs(exact).max() * np.sqrt(n) + slack
    assert (np.diff(w) <= 0).all()
    assert np.abs(V.T @ V - np.eye(k)).max() <= 20 * eps * np.sqrt(n)
    true = np.linalg.norm(full @ V - V * w, axis=0)
    assert (true <= result.residuals + floor).all()
    if result.converged.all():
        assert np.abs(w - exact[:k]).max() <= np.linalg.norm(np.maximum(tol * np.abs(w), floor)) + floor


def every_operator(dtype=np.float64):
    """(name, operator, dense equivalent)."""
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((30, 20)).astype(dtype), rng.standard_normal((20, 25)).astype(dtype)
    C = scipy.sparse.random(30, 20, density=0.3, random_state=1).astype(dtype)
    o = ec.operators
    A, B, S = o.dense(a), o.dense(b), o.sparse(C)
    u, v, left, right = rng.random(30), rng.random(20), rng.random(30), rng.random(20)
    X, Z = rng.standard_normal((30, 4)).astype(dtype), rng.standard_normal((20, 4)).astype(dtype)
    square = ((X[:, None].astype(float) - Z[None]) ** 2).sum(-1)
    city = np.abs(X[:, None].astype(float) - Z[None]).sum(-1)
    x, z = X.astype(float), Z.astype(float)
    cos = (x @ z.T) / np.outer(np.linalg.norm(x, axis=1), np.linalg.norm(z, axis=1))
    yield "dense", A, a
    yield "sparse", S, C.toarray()
    yield "rbf", o.kernel(X, Z, bandwidth=1.5), np.exp(-square / 4.5)
    yield "laplacian", o.kernel(X, Z, "laplacian", bandwidth=1.5), np.exp(-city / 1.5)
    yield "cosine", o.kernel(X, Z, "cosine"), (1 + cos) / 2
    yield "polynomial", o.kernel(X, Z, "polynomial", degree=2, coef0=0.5), np.maximum(0, x @ z.T / 4 + 0.5) ** 2
    yield "scaled", o.scaled(A, left, right), left[:, None] * a * right
    yield "scaled left", o.scaled(S, left, None), left[:, None] * C.toarray()
    yield "deflated", o.deflated(A, u, v), a - np.outer(u, v)
    yield "product", A @ B, a.astype(float) @ b
    yield "stacked rows", o.stacked([A, S], 0), np.vstack([a, C.toarray()])
    yield "stacked columns", o.stacked([A, S], 1), np.hstack([a, C.toarray()])
    yield "weighted sum", o.weighted_sum([A, S], [2.0, -0.5]), 2 * a - 0.5 * C.toarray()
    yield "transposed", A.T, a.T
    yield "algebra", 3.0 * (A - S) + A, 3.0 * (a - C.toarray()) + a
    yield "callback", o.as_operator(scipy.sparse.linalg.aslinearoperator(a)), a
    H, G = np.eye(30) - 1 / 30, np.eye(20) - 1 / 20
    yield "centred", o.kernel(X, Z, bandwidth=1.5, centered=True), H @ np.exp(-square / 4.5) @ G
