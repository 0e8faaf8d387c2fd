"""SVME: the single-view multi-encoder objective, and the regulariser that others share."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arguments import check_integer, check_number
from ._base import Batch, FullBatch, Result, RowTerms, check_count, finite_loss, offdiag
from ._moments import Moments, check_moments, of_batch

__all__ = ["svme"]


def covariance_terms(S: np.ndarray, eps: float, rows: float) -> tuple[float, float, np.ndarray, np.ndarray]:
    """The variance and covariance terms of a covariance matrix S = B^T B / rows, and the factors of their gradients.

    L_std = mean_j max(0, 1 - sqrt(S_jj + eps)),  L_cov = sum_{i != j} S_ij^2 / (d (d-1)); their gradients with respect
    to B are B diag(std) and B cov.
    """
    d = S.shape[0]
    sigma = np.sqrt(np.maximum(np.diag(S), 0.0) + eps)
    R = offdiag(S)
    pairs = max(d * (d - 1), 1)
    variance = float(np.maximum(0.0, 1.0 - sigma).mean())
    # A constant column with eps = 0 has no gradient: B is 0 there.
    std = np.where(sigma < 1, -1.0 / (d * rows * np.where(sigma > 0, sigma, 1.0)), 0.0)
    return variance, float((R * R).sum() / pairs), std, 4.0 * R / (pairs * rows)


def data_rows(acc: Moments, scale: float, sign: float) -> RowTerms:
    """The gradient of scale * sum_i w_i |b_i - c_i|^2 / sum w with respect to phi (sign 1) or psi (sign -1)."""
    f = 2.0 * scale * sign / acc.plain["weight"]
    mean = (acc.sums["weighted_phi"] - acc.sums["weighted_psi"]) / acc.n
    return RowTerms(constant=-f * mean, phi=(0.0, f, 0.0), psi=(0.0, -f, 0.0))


class SVME:
    """Single-view multi-encoder loss: two encoders agree, one has unit covariance.

    L = [ ||B - C||_F^2/(N d) + alpha L_std + beta L_cov ] / (1 + alpha + beta), B = H Phi, C = H Psi,
    S = B^T B/(N - ddof), L_std = mean_j max(0, 1 - sqrt(S_jj + eps)), L_cov = sum_{i != j} S_ij^2/(d (d - 1)).
    With Cov[Phi] = I enforced, its minimum over Psi is d - (s_1^2 + ... + s_d^2), reached where Phi learns the
    contexture.

    Parameters
    ----------
    phi, psi : arrays (N, d)
        Embeddings of inputs and of their contexts, float32 or float64 (float16 is computed in float32), any strides;
        used as given, without normalisation. N > ddof.
    alpha, beta : float
        Weights of the variance and covariance terms, >= 0.
    eps, ddof : float, int
        Inside the square root, and what is taken off N; the authors' 1e-4 and 1.
    weights : array-like (N,), optional
        Sample weights of the data term, normalised to sum 1; the covariance terms stay unweighted.
    grad : sequence of str, optional
        Whose gradients are wanted; all by default.
    out : dict or tuple of arrays, optional
        Memory for the gradients, by name or in the order of the inputs.

    Returns
    -------
    Result
        ``.loss``, ``.grad_phi``, ``.grad_psi``; ``.terms``: data, std, cov.

    Raises
    ------
    ValueError
        Shapes that do not agree, N <= ddof, NaN or inf, weights that are negative or all zero.
    TypeError
        Embeddings that are not floating point, or not all on one device.
    OverflowError
        A loss or gradient that does not fit; the message names the scale of the embeddings.

    Notes
    -----
    Cost: N d^2 flops for S (symmetric), 2 N d^2 for the gradient. Memory: O(d^2) beyond the gradients (at most 16
    matrices d x d of float64). `svme.from_moments(acc, **options)` does the same from chunks, in two sweeps.

    References
    ----------
    R. Zhai, *Contextures: The Mechanism of Representation Learning*, 2025 (SVME).

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> rng = np.random.default_rng(0)
    >>> phi, psi = rng.standard_normal((500, 8)), rng.standard_normal((500, 8))
    >>> r = ec.objectives.svme(phi, psi)
    >>> round(r.loss, 2), r.grad_phi.shape, sorted(r.terms)
    (0.68, (500, 8), ['cov', 'data', 'std'])
    """

    def __call__(
        self,
        phi: Any,
        psi: Any,
        *,
        alpha: float = 1.0,
        beta: float = 1.0,
        eps: float = 1e-4,
        ddof: int = 1,
        weights: Any = None,
        grad: Any = None,
        out: Any = None,
    ) -> Result:
        batch = Batch({"phi": phi, "psi": psi}, weights=weights, grad=grad, out=out)
        acc = of_batch(batch, "svme")
        full = self.from_moments(acc, alpha=alpha, beta=beta, eps=eps, ddof=ddof)
        finite_loss(batch, full.loss)
        full.into(batch)
        return batch.result(full.loss, full.terms)

    def from_moments(
        self, acc: Moments, *, alpha: float = 1.0, beta: float = 1.0, eps: float = 1e-4, ddof: int = 1
    ) -> FullBatch:
        """The full batch's value, and its gradient chunk by chunk, from ``Moments(d, objective="svme")``."""
        check_moments(acc, "svme")
        return agreement(acc, alpha, beta, eps, ddof, both=False)


def agreement(acc: Moments, alpha: float, beta: float, eps: float, ddof: int, both: bool) -> FullBatch:
    """SVME's loss; `both`: with the regulariser averaged over phi and psi."""
    alpha, beta = check_number(alpha, "alpha", 0.0), check_number(beta, "beta", 0.0)
    eps, ddof = check_number(eps, "eps", 0.0), check_integer(ddof, "ddof", 0)
    check_count(acc.n, ddof + 1, f"N - {ddof} divides")
    d, rows, norm = acc.d, acc.n - ddof, 1.0 + alpha + beta
    data = float(acc.sums["differences"].sum()) / (acc.plain["weight"] * d)
    terms = {"data": data, "std": 0.0, "cov": 0.0}
    sides = {"phi": data_rows(acc, 1 / (d * norm), 1.0), "psi": data_rows(acc, 1 / (d * norm), -1.0)}
    regularised = [("phi", "pp"), ("psi", "qq")] if both else [("phi", "pp")]
    share = 1.0 / len(regularised)
    with np.errstate(over="ignore", invalid="ignore"):
        for side, name in regularised:
            std, cov, by_std, by_cov = covariance_terms(acc.sums[name] / rows, eps, rows)
            terms["std"] += share * std
            terms["cov"] += share * cov
            G = share / norm * (beta * by_cov + alpha * np.diag(by_std))
            if side == "phi":
                sides[side].P = G
            else:
                sides[side].Q = G
    loss = (data + alpha * terms["std"] + beta * terms["cov"]) / norm
    return FullBatch(loss, terms, acc.n, sides, (acc.mean_phi, acc.mean_psi))


svme = SVME()
