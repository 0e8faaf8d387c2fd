"""KISE: the kernel-integral single-encoder objective."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arguments import check_choice, check_flag, check_integer, check_number
from ._base import Batch, FullBatch, Result, RowTerms, check_count, device_of, finite_loss, overflow
from ._kernels import centred, column_means, combined, dual_kernel, kernel_operator, scaled_rows, weighted_sum
from ._moments import Moments, check_moments, of_batch
from ._pairwise import check_reread, in_memory, lazy, slices_batch
from ._svme import covariance_terms

__all__ = ["kise"]

_BLOCK = 1 << 10  # rows that are read together where they are read by slices: several blocks are there at once


def centred_rows(batch: Batch, name: str) -> np.ndarray:
    """An input of the batch minus its mean; NaN and inf are found here, before any long work."""
    mean = column_means(batch.arrays[name])
    if not np.isfinite(mean).all():
        batch.check_finite()
        raise overflow("mean", batch)
    return centred(batch.arrays[name], mean)


class KISE:
    """Kernel-integral single-encoder loss: one encoder learns the contexture of a dual kernel.

    L = [ (||B||_F^2 - <B, K B>/N)/(N d) + alpha L_std + beta L_cov ] / (1 + alpha + beta), B = H Phi, K the dual
    kernel on the batch, which is never stored; L_std and L_cov as in `svme`. With the kernel of a whole context and
    Phi its first d functions the first term is (d - (s_1^2 + ... + s_d^2))/d.

    Parameters
    ----------
    phi : array (N, d)
        Embeddings, float32 or float64 (float16 is computed in float32), any strides; used as given. N > ddof. An object
        with len and slicing is read 1024 rows at a time, for a raw kernel of an array X or of another such object; with
        the walk, weights or no diagonal, whole.
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
        Of teacher: r_i = 1 where S_i (or S_i/S_1) is at least the threshold, else 0. (On a CUDA device S_i below about
        1e-6 S_1 count as 0.)
    diagonal : bool
        False drops the terms i = j of K and divides by N - 1 in place of N.
    alpha, beta : float
        Weights of the variance and covariance terms, >= 0.
    eps, ddof : float, int
        Inside the square root, and what is taken off N; the authors' 1e-4 and 1.
    weights : array-like (N,), optional
        Sample weights of the data term, normalised to sum 1: <b_i, b_i - (K B)_i/N> counts w_i in place of 1/N.
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
        Embeddings that are not floating point, or not all on one device.
    OverflowError
        A loss or gradient that does not fit; the message names the scale of the embeddings.

    Notes
    -----
    Cost: N^2 (p + 2 d) flops for a raw kernel (each pair of tiles is made once), twice that and two sweeps of N^2 p in
    float64 for the walk; O(N d) for labels, O(N d r) for r functions of a teacher. Memory beyond the gradient: 2 N d
    (the walk: 4 N d), the rows of X, and a tile a thread. Weights: one more product, in the same sweep. Rows read by
    slices: twice the scores, and nothing of size N beyond the gradient. Labels and linear or teacher kernels also come
    from chunks in two sweeps: `kise.from_moments`.

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

    def __call__(
        self,
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
        weights: Any = None,
        grad: Any = None,
        out: Any = None,
    ) -> Result:
        alpha, beta = check_number(alpha, "alpha", 0.0), check_number(beta, "beta", 0.0)
        eps, ddof = check_number(eps, "eps", 0.0), check_integer(ddof, "ddof", 0)
        check_flag(diagonal, "diagonal")
        options = {"kernel": kernel, "bandwidth": bandwidth, "degree": degree, "coef0": coef0}
        check_reread(phi, "phi")
        check_reread(X, "X")
        if lazy(phi) or lazy(X):
            others = (labels, teacher, weights)
            if X is not None and dual == "raw" and diagonal and all(v is None for v in others):
                return sliced_kise(phi, X, options, (alpha, beta, eps, ddof), grad, out)
            phi, X = in_memory(phi, "phi"), in_memory(X, "X")
        batch = Batch({"phi": phi}, weights=weights, grad=grad, out=out)
        check_count(batch.n, ddof + 1, f"N - {ddof} divides")
        check_count(batch.n, 1 if diagonal else 2, "N - 1 divides")
        K = dual_kernel(batch.n, batch.dtype, X, labels, teacher, dual, options, threshold, relative, batch.device)
        B = centred_rows(batch, "phi")
        divisor = batch.n - (not diagonal)
        if batch.weights is None:
            KB = _times(K, B, diagonal)
            batch.arrays = {"phi": B, "psi": KB}
            full = _agreement_with(batch, alpha, beta, eps, ddof, divisor)
        else:
            full = _weighted(batch, K, B, diagonal, alpha, beta, eps, ddof, divisor)
        full.into(batch)
        return batch.result(full.loss, full.terms)

    def from_moments(
        self,
        acc: Moments,
        *,
        kernel: str = "labels",
        threshold: float | None = None,
        relative: bool = False,
        alpha: float = 1.0,
        beta: float = 1.0,
        eps: float = 1e-4,
        ddof: int = 1,
    ) -> FullBatch:
        """The value and gradient of the dual kernels that are inner products, from chunks of phi and of their features.

        Parameters
        ----------
        acc : Moments
            ``Moments(d, objective="kise", d_psi=m)``, fed with chunks of phi and of psi (n, m): the classes' indicators
            (one-hot rows), a teacher's embeddings, or any features Z; so is ``.grad(phi, psi)``.
        kernel : str
            "labels", "teacher" (both as in `kise`), or "linear": k(i, j) = <z_i, z_j>, as Z is centred.
        threshold, relative, alpha, beta, eps, ddof
            As in `kise`.

        Examples
        --------
        >>> import numpy as np, eigencontext as ec
        >>> rng = np.random.default_rng(0)
        >>> phi, y = rng.standard_normal((90, 2)), np.arange(90) % 3
        >>> acc = ec.objectives.Moments(2, objective="kise", d_psi=3)
        >>> for rows in np.array_split(np.arange(90), 4):
        ...     acc.update(phi[rows], np.eye(3)[y[rows]])
        >>> full = ec.objectives.kise.from_moments(acc)
        >>> bool(np.isclose(full.loss, ec.objectives.kise(phi, labels=y).loss))
        True
        """
        check_moments(acc, "kise")
        alpha, beta = check_number(alpha, "alpha", 0.0), check_number(beta, "beta", 0.0)
        eps, ddof = check_number(eps, "eps", 0.0), check_integer(ddof, "ddof", 0)
        check_choice(kernel, "kernel", ("labels", "teacher", "linear"))
        check_count(acc.n, ddof + 1, f"N - {ddof} divides")
        n, d, norm = acc.n, acc.d, 1.0 + alpha + beta
        T = _feature_metric(acc, kernel, threshold, check_flag(relative, "relative"))
        pp, TC = acc.sums["pp"], T @ acc.sums["pq"].T
        data = float(np.trace(pp) - np.einsum("ij,ji->", acc.sums["pq"], TC) / n) / (n * d)
        full = _with_regulariser(acc, data, alpha, beta, eps, ddof)
        f = 2.0 / (n * d * norm)
        full.rows["phi"].phi = (f, 0.0, 0.0)
        full.rows["phi"].Q = np.ascontiguousarray(-f / n * TC)
        full.same_width, full.differentiable = False, ("phi",)
        return full


def _feature_metric(acc: Moments, kernel: str, threshold: float | None, relative: bool) -> np.ndarray:
    """T with K = Z T Z^T, Z the centred features."""
    if kernel != "teacher" and threshold is not None:
        raise ValueError(f"threshold: got {threshold!r}; allowed: None, except for kernel='teacher'")
    if kernel == "linear":
        return np.eye(acc.d_psi)
    n = acc.n
    if kernel == "labels":
        share = acc.mean_psi
        # the entries of indicators are 0 or 1, and one of a row is 1
        if abs(share.sum() - 1) > 1e-6 or not np.allclose(
            np.diag(acc.sums["qq"]), n * share * (1 - share), atol=1e-3 * n
        ):
            raise ValueError(
                "acc: got psi that are no indicators of classes; allowed: one-hot rows for kernel='labels'"
            )
        counts = np.rint(n * share)
        if (counts < 2).any():
            c = int(np.argmax(counts < 2))
            raise ValueError(f"acc: got class {c} {int(counts[c])} times; allowed: every class at least twice")
        return np.diag(n / counts)
    squares, V = np.linalg.eigh(acc.sums["qq"])
    kept = squares > acc.precision * max(n, acc.d_psi) * squares[-1]
    if not kept.any():
        raise ValueError("acc: got a teacher whose rows are all equal; allowed: an embedding that varies")
    s = np.sqrt(np.where(kept, squares, 1.0))
    if threshold is None:
        r = s / s[kept].max()
    else:
        threshold = check_number(threshold, "threshold", 0, open_low=True)
        r = ((s / s[kept].max() if relative else s) >= threshold).astype(np.float64)
        if not (kept & (r > 0)).any():
            raise ValueError(f"threshold: got {threshold:g}; allowed: at most {1.0 if relative else s[kept].max():g}")
    return (V * np.where(kept, n * (r / s) ** 2, 0.0)) @ V.T


def _times(K: Any, B: Any, diagonal: bool) -> Any:
    KB = K.times(B)
    if diagonal:
        return KB
    return combined(RowTerms(phi=(0.0, -1.0, 0.0), psi=(1.0, 0.0, 0.0)), B, KB, weights=K.diagonal())


def _with_regulariser(acc: Moments, data: float, alpha: float, beta: float, eps: float, ddof: int) -> FullBatch:
    """The loss from its data term, and the regulariser's rows of the gradient."""
    rows, norm = acc.n - ddof, 1.0 + alpha + beta
    with np.errstate(over="ignore", invalid="ignore"):
        std, cov, by_std, by_cov = covariance_terms(acc.sums["pp"] / rows, eps, rows)
        loss = (data + alpha * std + beta * cov) / norm
        G = (beta * by_cov + alpha * np.diag(by_std)) / norm
    means = (acc.mean_phi, acc.mean_psi)
    return FullBatch(loss, {"data": data, "std": std, "cov": cov}, acc.n, {"phi": RowTerms(P=G)}, means)


def _agreement_with(batch: Batch, alpha: float, beta: float, eps: float, ddof: int, divisor: int) -> FullBatch:
    """The loss and its gradient rows from B and K B: every sum it needs is a moment of these two."""
    acc = of_batch(batch, "svme")
    n, d = acc.n, acc.d
    data = float(np.trace(acc.sums["pp"]) - acc.sums["products"].sum() / divisor) / (n * d)
    full = _with_regulariser(acc, data, alpha, beta, eps, ddof)
    finite_loss(batch, full.loss)
    f = 2.0 / (n * d * (1.0 + alpha + beta))
    full.rows["phi"].phi, full.rows["phi"].psi = (f, 0.0, 0.0), (-f / divisor, 0.0, 0.0)
    return full


def _weighted(
    batch: Batch, K: Any, B: np.ndarray, diagonal: bool, alpha: float, beta: float, eps: float, ddof: int, divisor: int
) -> FullBatch:
    """The same with weights D (of mean 1) in the data term, tr B^T D (B - K B/N): its gradient has (D K + K D) B."""
    assert batch.weights is not None
    n, d = B.shape
    w = batch.weights * (n / batch.weights.sum())
    WB = scaled_rows(B, w)
    KB, KWB = _both(K, B, WB, diagonal)
    half = combined(RowTerms(phi=(0.0, 1.0, 0.0), psi=(0.0, -0.5 / divisor, 0.0)), B, KB, weights=w)
    V = combined(RowTerms(phi=(1.0, 0.0, 0.0), psi=(-0.5 / divisor, 0.0, 0.0)), half, KWB)
    data = (weighted_sum(B, B, w) - weighted_sum(B, KB, w) / divisor) / (n * d)
    batch.arrays, batch.weights = {"phi": B, "psi": V}, None
    full = _with_regulariser(of_batch(batch, "svme"), data, alpha, beta, eps, ddof)
    finite_loss(batch, full.loss)
    full.rows["phi"].psi = (2.0 / (n * d * (1.0 + alpha + beta)), 0.0, 0.0)
    return full


def _both(K: Any, B: Any, WB: Any, diagonal: bool) -> tuple[Any, Any]:
    """K B and K W B: on the CPU in one sweep."""
    if device_of(B) != "cpu":
        return _times(K, B, diagonal), _times(K, WB, diagonal)
    both = _times(K, np.concatenate([B, WB], axis=1), diagonal)
    return both[:, : B.shape[1]], both[:, B.shape[1] :]


def sliced_kise(
    phi: Any, X: Any, options: dict, numbers: tuple[float, float, float, int], grad: Any, out: Any
) -> Result:
    """KISE of a raw kernel with phi and X read by slices: blocks of rows against blocks of rows."""
    alpha, beta, eps, ddof = numbers
    batch, (side,) = slices_batch({"phi": phi}, grad, out)
    n, d = batch.n, side.width
    check_count(n, ddof + 1, f"N - {ddof} divides")
    if len(X) != n:
        raise ValueError(f"X: got {len(X)} rows; allowed: {n}, as phi has")
    if options["kernel"] == "polynomial":
        raise ValueError("kernel: got 'polynomial' with rows read by slices; allowed: rbf, laplacian, cosine")
    acc, target = Moments(d, "svme"), batch.outs["phi"]
    for _, rows in side.pieces(_BLOCK):
        acc.update(rows, rows)
    side.centre(acc.mean_phi)
    f, total, mean = 2.0 / (n * d * (1.0 + alpha + beta)), 0.0, np.zeros(d)
    full = _with_regulariser(acc, 0.0, alpha, beta, eps, ddof)
    terms = RowTerms(P=full.rows["phi"].P, phi=(f, 0.0, 0.0), psi=(-f / n, 0.0, 0.0))
    for at, B in side.pieces(_BLOCK):
        KB = sum(kernel_operator(X[at], X[other], options, batch.dtype).matmat(C) for other, C in side.pieces(_BLOCK))
        total += float(np.einsum("ij,ij->", B, KB, dtype=np.float64))
        if target is not None:
            target[at] = combined(terms, B, KB)
            mean += column_means(target[at]) * (len(B) / n)
    data = float(np.trace(acc.sums["pp"]) - total / n) / (n * d)
    loss = full.loss + data / (1.0 + alpha + beta)
    finite_loss(batch, loss)
    if target is not None:
        if not np.isfinite(mean).all():
            raise overflow("gradient", batch)
        for at, _ in side.pieces(_BLOCK):
            target[at] -= mean
    return batch.result(loss, full.terms | {"data": data})


kise = KISE()
