"""KISE: the kernel-integral single-encoder objective."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arguments import check_flag, check_integer, check_number
from ._base import Batch, FullBatch, Result, RowTerms, check_count, finite_loss, overflow
from ._kernels import centred, column_means, dual_kernel
from ._moments import of_batch
from ._svme import covariance_terms

__all__ = ["kise"]


def centred_rows(batch: Batch, name: str) -> np.ndarray:
    """An input of the batch minus its mean; NaN and inf are found here, before any long work."""
    mean = column_means(batch.arrays[name])
    if not np.isfinite(mean).all():
        batch.check_finite()
        raise overflow("mean", batch)
    return centred(batch.arrays[name], mean)


def kise(
    phi: Any,
    *,
    X: Any = None,
    kernel: str = "rbf",
    bandwidth: float | None = None,
    degree: int = 3,
    coef0: float = 1.0,
    dual: str = "raw",
    labels: Any = None,
    teacher: Any = None,
    threshold: float | None = None,
    relative: bool = False,
    diagonal: bool = True,
    alpha: float = 1.0,
    beta: float = 1.0,
    eps: float = 1e-4,
    ddof: int = 1,
    grad: Any = None,
    out: Any = None,
) -> Result:
    """Kernel-integral single-encoder loss: one encoder learns the contexture of a dual kernel.

    L = [ (||B||_F^2 - <B, K B>/N)/(N d) + alpha L_std + beta L_cov ] / (1 + alpha + beta), B = H Phi, K the dual
    kernel on the batch, which is never stored; L_std and L_cov as in `svme`. With the kernel of a whole context and
    Phi its first d functions the first term is (d - (s_1^2 + ... + s_d^2))/d.

    Parameters
    ----------
    phi : array (N, d)
        Embeddings, float32 or float64 (float16 is computed in float32), any strides; used as given. N > ddof.
    X : array (N, p), optional
        The inputs, for a kernel; exactly one of X, labels and teacher is given.
    kernel, bandwidth, degree, coef0
        As in `ec.operators.kernel`; the bandwidth is a number in the units of X.
    dual : str
        "raw": K = k itself (rbf, laplacian, cosine); "walk": W D_q^{-1} W^T, the dual kernel of the kernel's random
        walk on the batch (W: rows of sum 1, q: column means of W). The polynomial kernel is taken as "walk" alone: its
        raw values exceed 1, and the loss would be unbounded below.
    labels : array-like (N,), or (context, rows), optional
        k(i, j) = [y_i = y_j] n/n_y: of the batch, where every class must be there twice; or of all the data, from
        ``ec.contexts.labels(y)`` and the N row numbers of the batch.
    teacher : array (N, m), optional
        Another encoder's embeddings: k = 1 + sum_i r_i^2 mu_i mu_i^T over their principal functions, r_i = S_i/S_1.
    threshold, relative : float, bool
        Of teacher: r_i = 1 where S_i (or S_i/S_1) is at least the threshold, else 0.
    diagonal : bool
        False drops the terms i = j of K and divides by N - 1 in place of N.
    alpha, beta : float
        Weights of the variance and covariance terms, >= 0.
    eps, ddof : float, int
        Inside the square root, and what is taken off N; the authors' 1e-4 and 1.
    grad : sequence of str, optional
        ("phi",) by default; () for the value alone.
    out : array, optional
        Memory for the gradient.

    Returns
    -------
    Result
        ``.loss``, ``.grad_phi``; ``.terms``: data, std, cov.

    Raises
    ------
    ValueError
        Rows that do not agree, no or a wrong bandwidth, N <= ddof, NaN or inf, a class that is there once.
    TypeError
        Embeddings that are not floating point, or not on the CPU.
    OverflowError
        A loss or gradient that does not fit; the message names the scale of the embeddings.

    Notes
    -----
    Cost: N^2 (p + 2 d) flops for a raw kernel (each pair of tiles is made once), twice that and two sweeps of N^2 p in
    float64 for the walk; O(N d) for labels, O(N d r) for r functions of a teacher. Memory beyond the gradient: 2 N d
    (the walk: 4 N d), the rows of X, and a tile a thread.

    References
    ----------
    R. Zhai, *Contextures: The Mechanism of Representation Learning*, 2025 (KISE).

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((300, 2))
    >>> r = ec.objectives.kise(X, X=X, kernel="rbf", bandwidth=1.0)
    >>> r.grad_phi.shape, sorted(r.terms)
    ((300, 2), ['cov', 'data', 'std'])
    """
    alpha, beta = check_number(alpha, "alpha", 0.0), check_number(beta, "beta", 0.0)
    eps, ddof = check_number(eps, "eps", 0.0), check_integer(ddof, "ddof", 0)
    check_flag(diagonal, "diagonal")
    batch = Batch({"phi": phi}, grad=grad, out=out)
    check_count(batch.n, ddof + 1, f"N - {ddof} divides")
    check_count(batch.n, 1 if diagonal else 2, "N - 1 divides")
    options = {"kernel": kernel, "bandwidth": bandwidth, "degree": degree, "coef0": coef0}
    K = dual_kernel(batch.n, batch.dtype, X, labels, teacher, dual, options, threshold, relative)
    B = centred_rows(batch, "phi")
    KB = K.times(B)
    if not diagonal:
        KB -= K.diagonal().astype(B.dtype)[:, None] * B
    batch.arrays = {"phi": B, "psi": KB}
    full = _agreement_with(batch, alpha, beta, eps, ddof, batch.n - (not diagonal))
    full.into(batch)
    return batch.result(full.loss, full.terms)


def _agreement_with(batch: Batch, alpha: float, beta: float, eps: float, ddof: int, divisor: int) -> FullBatch:
    """The loss and its gradient rows from B and K B: every sum it needs is a moment of these two."""
    acc = of_batch(batch, "svme")
    n, d, rows, norm = acc.n, acc.d, acc.n - ddof, 1.0 + alpha + beta
    pp = acc.sums["pp"]
    data = float(np.trace(pp) - acc.sums["products"].sum() / divisor) / (n * d)
    with np.errstate(over="ignore", invalid="ignore"):
        std, cov, by_std, by_cov = covariance_terms(pp / rows, eps, rows)
        loss = (data + alpha * std + beta * cov) / norm
        G = (beta * by_cov + alpha * np.diag(by_std)) / norm
    finite_loss(batch, loss)
    f = 2.0 / (n * d * norm)
    terms = RowTerms(P=G, phi=(f, 0.0, 0.0), psi=(-f / divisor, 0.0, 0.0))
    means = (acc.mean_phi, acc.mean_psi)
    return FullBatch(loss, {"data": data, "std": std, "cov": cov}, n, {"phi": terms}, means)
