"""Joint embedding losses with both views regularised: VICReg, Barlow Twins, spectral non-contrastive."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arguments import check_flag, check_integer, check_number
from ._base import Batch, FullBatch, Result, RowTerms, check_count, finite_loss, offdiag
from ._moments import Moments, check_moments, of_batch
from ._svme import agreement, covariance_terms

__all__ = ["barlow_twins", "spectral_noncontrastive", "vicreg"]


class SpectralNoncontrastive:
    """Spectral non-contrastive loss: SVME with two views and the regulariser averaged over both.

    L = [ ||B - C||_F^2/(N d) + alpha mean(L_std) + beta mean(L_cov) ] / (1 + alpha + beta), the means over the two
    views. With both covariances I enforced, the first term times d has the minimum 2 (d - (s_1^2 + ... + s_d^2)), s of
    the views' common context.

    Parameters
    ----------
    phi, psi : arrays (N, d)
        Embeddings of two views of each input.
    alpha, beta, eps, ddof, weights, grad, out
        As in `svme`.

    Returns
    -------
    Result
        ``.loss``, ``.grad_phi``, ``.grad_psi``; ``.terms``: data, std, cov.

    Raises
    ------
    ValueError, TypeError, OverflowError
        As in `svme`.

    Notes
    -----
    Cost: 2 N d^2 flops for the two moments, 4 N d^2 for the gradients. Memory: O(d^2) beyond the gradients. From
    chunks: 2 sweeps.

    References
    ----------
    R. Zhai, *Contextures: The Mechanism of Representation Learning*, 2025.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> a = np.random.default_rng(0).standard_normal((200, 4))
    >>> ec.objectives.spectral_noncontrastive(a, a).terms["data"]
    0.0
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
        acc = of_batch(batch, "spectral_noncontrastive")
        full = self.from_moments(acc, alpha=alpha, beta=beta, eps=eps, ddof=ddof)
        finite_loss(batch, full.loss)
        full.into(batch)
        return batch.result(full.loss, full.terms)

    def from_moments(
        self, acc: Moments, *, alpha: float = 1.0, beta: float = 1.0, eps: float = 1e-4, ddof: int = 1
    ) -> FullBatch:
        """The same from ``Moments(d, objective="spectral_noncontrastive")``."""
        check_moments(acc, "spectral_noncontrastive")
        return agreement(acc, alpha, beta, eps, ddof, both=True)


class VICReg:
    """VICReg as published: invariance, variance and covariance.

    L = sim ||Phi - Psi||_F^2/(N d) + std sum_views mean_j max(0, 1 - sqrt(S_jj + eps)) / 2
    + cov sum_views sum_{i != j} S_ij^2/d, S = B^T B/(N - ddof) of the centred view.

    Parameters
    ----------
    phi, psi : arrays (N, d)
        Embeddings of two views of each input.
    sim, std, cov : float
        The coefficients, >= 0; the authors' 25, 25 and 1.
    eps, ddof : float, int
        Inside the square root, and what is taken off N; the authors' 1e-4 and 1.
    halve_std : bool
        Divide the variance terms by 2, as the authors' code does (their paper does not).
    weights : array-like (N,), optional
        Sample weights of the first term, normalised to sum 1.
    grad, out
        As in `svme`.

    Returns
    -------
    Result
        ``.loss``, ``.grad_phi``, ``.grad_psi``; ``.terms``: sim, std, cov, before their coefficients.

    Raises
    ------
    ValueError, TypeError, OverflowError
        As in `svme`.

    Notes
    -----
    Cost: 2 N d^2 flops for the two moments, 4 N d^2 for the gradients. Memory: O(d^2) beyond the gradients. From
    chunks: 2 sweeps. Public implementations average the covariance over ranks; merged moments give the full batch's.

    References
    ----------
    Bardes, Ponce, LeCun, *VICReg: Variance-invariance-covariance regularization for self-supervised learning*, ICLR
    2022, Eqs. 1-6 and Algorithm 1.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> a = np.random.default_rng(0).standard_normal((200, 4))
    >>> r = ec.objectives.vicreg(a, a)
    >>> r.terms["sim"], r.grad_psi.shape
    (0.0, (200, 4))
    """

    def __call__(
        self,
        phi: Any,
        psi: Any,
        *,
        sim: float = 25.0,
        std: float = 25.0,
        cov: float = 1.0,
        eps: float = 1e-4,
        ddof: int = 1,
        halve_std: bool = True,
        weights: Any = None,
        grad: Any = None,
        out: Any = None,
    ) -> Result:
        batch = Batch({"phi": phi, "psi": psi}, weights=weights, grad=grad, out=out)
        acc = of_batch(batch, "vicreg")
        full = self.from_moments(acc, sim=sim, std=std, cov=cov, eps=eps, ddof=ddof, halve_std=halve_std)
        finite_loss(batch, full.loss)
        full.into(batch)
        return batch.result(full.loss, full.terms)

    def from_moments(
        self,
        acc: Moments,
        *,
        sim: float = 25.0,
        std: float = 25.0,
        cov: float = 1.0,
        eps: float = 1e-4,
        ddof: int = 1,
        halve_std: bool = True,
    ) -> FullBatch:
        """The same from ``Moments(d, objective="vicreg")``."""
        check_moments(acc, "vicreg")
        sim, std, cov = (check_number(v, n, 0.0) for v, n in ((sim, "sim"), (std, "std"), (cov, "cov")))
        eps, ddof = check_number(eps, "eps", 0.0), check_integer(ddof, "ddof", 0)
        half = 0.5 if check_flag(halve_std, "halve_std") else 1.0
        check_count(acc.n, ddof + 1, f"N - {ddof} divides")
        d, rows, weight = acc.d, acc.n - ddof, acc.plain["weight"]
        apart = acc.mean_phi - acc.mean_psi
        linear = acc.sums["weighted_phi"] - acc.sums["weighted_psi"]
        f = 2.0 * sim / (weight * d)
        # Rows of both sides are shifted by the mean of phi, so that their difference is phi_i - psi_i.
        with np.errstate(over="ignore", invalid="ignore"):
            distance = acc.sums["differences"] + 2 * apart * linear + weight * apart**2
            terms = {"sim": float(distance.sum()) / (weight * d), "std": 0.0, "cov": 0.0}
            sides = {
                "phi": RowTerms(phi=(0.0, f, 0.0), psi=(0.0, -f, 0.0)),
                "psi": RowTerms(phi=(0.0, -f, 0.0), psi=(0.0, f, 0.0)),
            }
            for side, name in (("phi", "pp"), ("psi", "qq")):
                by_std_value, by_cov_value, by_std, by_cov = covariance_terms(acc.sums[name] / rows, eps, rows)
                terms["std"] += half * by_std_value
                terms["cov"] += (d - 1) * by_cov_value
                G = cov * (d - 1) * by_cov + std * half * np.diag(by_std)
                if side == "phi":
                    sides[side].P = G
                else:
                    sides[side].Q, sides[side].constant = G, apart @ G
        loss = sim * terms["sim"] + std * terms["std"] + cov * terms["cov"]
        return FullBatch(loss, terms, acc.n, sides, (acc.mean_phi, acc.mean_phi))


class BarlowTwins:
    """Barlow Twins as published: the cross-correlation of two standardised views is made the identity.

    z = B / sqrt(var + eps) with var = diag(B^T B)/N, c = Z_1^T Z_2/N,
    L = sum_i (c_ii - 1)^2 + lambda sum_{i != j} c_ij^2.

    Parameters
    ----------
    phi, psi : arrays (N, d)
        Embeddings of two views of each input.
    lambd : float
        lambda, >= 0; the authors' 0.0051.
    eps : float
        Inside the square root, >= 0; 1e-5, as the authors' batch normalisation has it.
    grad, out
        As in `svme`.

    Returns
    -------
    Result
        ``.loss``, ``.grad_phi``, ``.grad_psi``; ``.terms``: on_diagonal, off_diagonal (before lambda).

    Raises
    ------
    ValueError, TypeError, OverflowError
        As in `svme`; a column of variance 0 with eps = 0.

    Notes
    -----
    Cost: 2 N d^2 flops for c, 4 N d^2 for the gradients. Memory: O(d^2) beyond the gradients. From chunks: 2 sweeps.

    References
    ----------
    Zbontar, Jing, Misra, LeCun, Deny, *Barlow Twins: Self-supervised learning via redundancy reduction*, ICML 2021,
    Eqs. 1-2 and Algorithm 1.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> a = np.random.default_rng(0).standard_normal((200, 4))
    >>> round(ec.objectives.barlow_twins(a, a).terms["on_diagonal"], 6)
    0.0
    """

    def __call__(
        self, phi: Any, psi: Any, *, lambd: float = 0.0051, eps: float = 1e-5, grad: Any = None, out: Any = None
    ) -> Result:
        batch = Batch({"phi": phi, "psi": psi}, grad=grad, out=out)
        full = self.from_moments(of_batch(batch, "barlow_twins"), lambd=lambd, eps=eps)
        finite_loss(batch, full.loss)
        full.into(batch)
        return batch.result(full.loss, full.terms)

    def from_moments(self, acc: Moments, *, lambd: float = 0.0051, eps: float = 1e-5) -> FullBatch:
        """The same from ``Moments(d, objective="barlow_twins")``."""
        check_moments(acc, "barlow_twins")
        lambd, eps, n = check_number(lambd, "lambd", 0.0), check_number(eps, "eps", 0.0), acc.n
        scales = []
        for name in ("phi", "psi"):
            variance = acc.sums[f"squares_{name}"] / n + eps
            rounding = (4 * acc.precision * getattr(acc, f"mean_{name}")) ** 2
            if eps == 0 and (variance <= rounding).any():
                j = int(np.argmax(variance <= rounding))
                raise ValueError(f"{name}: got column {j} of variance 0; allowed: a positive variance, or eps > 0")
            scales.append(1 / np.sqrt(variance))
        left, right = scales
        c = left[:, None] * (acc.sums["pq"] / n) * right
        off = offdiag(c)
        on = np.diag(c) - 1.0
        D = 2 * np.diag(on) + 2 * lambd * off
        scaled = left[:, None] * D * right / n
        # through the standard deviations: -sum_j D_ij c_ij / var_i, and the same of the columns
        rows = {
            "phi": RowTerms(
                Q=np.ascontiguousarray(scaled.T), phi=(1 / n, 0.0, 0.0), columns_phi=-(D * c).sum(1) * left**2
            ),
            "psi": RowTerms(P=scaled, psi=(1 / n, 0.0, 0.0), columns_psi=-(D * c).sum(0) * right**2),
        }
        terms = {"on_diagonal": float((on * on).sum()), "off_diagonal": float((off * off).sum())}
        loss = terms["on_diagonal"] + lambd * terms["off_diagonal"]
        return FullBatch(loss, terms, n, rows, (acc.mean_phi, acc.mean_psi))


spectral_noncontrastive = SpectralNoncontrastive()
vicreg = VICReg()
barlow_twins = BarlowTwins()
