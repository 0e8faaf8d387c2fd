"""Rayleigh quotient losses: agreement with the moments pulled to the identity, plug-in or unbiased."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._arguments import check_choice, check_number
from ._base import Batch, FullBatch, Result, check_count, finite_loss, offdiag
from ._moments import Moments, check_moments, of_batch
from ._svme import data_rows

__all__ = ["rayleigh"]


def _penalty(E1: np.ndarray, E2: np.ndarray, alpha: float, beta: float) -> tuple[float, float, np.ndarray]:
    """mean_j (E1_jj - 1)(E2_jj - 1), the same of the pairs off the diagonal, and the factor of half 1's gradient."""
    d = E1.shape[0]
    pairs = max(d * (d - 1), 1)
    on, R = np.diag(E2) - 1.0, offdiag(E2)
    variance = float(((np.diag(E1) - 1.0) * on).mean())
    covariance = float((offdiag(E1) * R).sum() / pairs)
    return variance, covariance, alpha / d * np.diag(on) + beta / pairs * R


@dataclass
class SplitBatch:
    """The value on a full batch of two halves, and the rows of its gradient for any chunk of either half."""

    loss: float
    terms: dict[str, float]
    n: int
    halves: tuple[FullBatch, FullBatch] = field(repr=False)

    def grad(self, phi: Any, psi: Any, *, half: int, weights: Any = None, out: Any = None, grad: Any = None):
        """Rows of the gradient that belong to a chunk of half 0 or 1; the rest as in other objectives."""
        if half not in (0, 1):
            raise ValueError(f"half: got {half!r}; allowed: 0, 1")
        return self.halves[half].grad(phi, psi, weights=weights, out=out, grad=grad)


class Rayleigh:
    """Rayleigh quotient loss: two encoders agree, the moments of one are pulled to the identity.

    L = ||B - C||_F^2/(N d) + (alpha/d) sum_j (E_jj - 1)^2 + (beta/(d (d-1))) sum_{i != j} E_ij^2, E = B^T B/N.
    With psi an encoder of the context this is the form for singular functions (SVD); with psi the same encoder on
    another view of the input, the form for eigenfunctions (EVD): add both gradients then.

    Parameters
    ----------
    phi, psi : arrays (N, d)
        Embeddings.
    alpha, beta : float
        Weights of the variance and covariance terms, >= 0.
    estimator : str
        "plugin": E of the whole batch. "split": each square as the product of the estimates of two halves of the batch,
        each half centred by its own mean, E_h = B_h^T B_h/(N_h - 1): unbiased. The halves are the first N // 2 rows and
        the rest, N >= 4.
    weights : array-like (N,), optional
        Sample weights of the first term, normalised to sum 1.
    grad, out
        As in `svme`.

    Returns
    -------
    Result
        ``.loss``, ``.grad_phi``, ``.grad_psi``; ``.terms``: data, variance, covariance.

    Raises
    ------
    ValueError, TypeError, OverflowError
        As in `svme`.

    Notes
    -----
    Cost: N d^2 flops for E, 2 N d^2 for the gradient. Memory: O(d^2) beyond the gradients. From chunks: 2 sweeps;
    "split" takes a pair of accumulators, one for each half, ``from_moments((acc_0, acc_1), estimator="split")``, whose
    ``grad`` asks which half a chunk belongs to.

    References
    ----------
    R. Zhai, *Contextures: The Mechanism of Representation Learning*, 2025 (Rayleigh quotient objectives).

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> rng = np.random.default_rng(0)
    >>> phi = rng.standard_normal((100, 3))
    >>> r = ec.objectives.rayleigh(phi, phi, estimator="split")
    >>> sorted(r.terms), r.grad_phi.shape
    (['covariance', 'data', 'variance'], (100, 3))
    """

    def __call__(
        self,
        phi: Any,
        psi: Any,
        *,
        alpha: float = 1.0,
        beta: float = 1.0,
        estimator: str = "plugin",
        weights: Any = None,
        grad: Any = None,
        out: Any = None,
    ) -> Result:
        batch = Batch({"phi": phi, "psi": psi}, weights=weights, grad=grad, out=out)
        if check_choice(estimator, "estimator", ("plugin", "split")) == "plugin":
            full = self.from_moments(of_batch(batch, "rayleigh"), alpha=alpha, beta=beta)
            finite_loss(batch, full.loss)
            full.into(batch)
            return batch.result(full.loss, full.terms)
        check_count(batch.n, 4, "each half needs 2")
        halves = [batch.part(slice(0, batch.n // 2)), batch.part(slice(batch.n // 2, None))]
        moments = [of_batch(half, "rayleigh") for half in halves]
        split = self.from_moments(moments, alpha=alpha, beta=beta, estimator="split")
        finite_loss(batch, split.loss)
        for half, values in zip(halves, split.halves, strict=True):
            values.into(half)
        return batch.result(split.loss, split.terms)

    def from_moments(self, acc: Any, *, alpha: float = 1.0, beta: float = 1.0, estimator: str = "plugin") -> Any:
        """The same from ``Moments(d, objective="rayleigh")``, or from a pair of them for estimator="split"."""
        alpha, beta = check_number(alpha, "alpha", 0.0), check_number(beta, "beta", 0.0)
        if check_choice(estimator, "estimator", ("plugin", "split")) == "split":
            return _split(acc, alpha, beta)
        check_moments(acc, "rayleigh")
        data, sides = _data(acc)
        with np.errstate(over="ignore", invalid="ignore"):
            E = acc.sums["pp"] / acc.n
            variance, covariance, G = _penalty(E, E, alpha, beta)
            sides["phi"].P = 4.0 / acc.n * G
        terms = {"data": data, "variance": variance, "covariance": covariance}
        loss = data + alpha * variance + beta * covariance
        return FullBatch(loss, terms, acc.n, sides, (acc.mean_phi, acc.mean_psi))


def _data(acc: Moments):
    scale = 1.0 / acc.d
    data = float(acc.sums["differences"].sum()) / (acc.plain["weight"] * acc.d)
    return data, {"phi": data_rows(acc, scale, 1.0), "psi": data_rows(acc, scale, -1.0)}


def _split(accs: Any, alpha: float, beta: float) -> SplitBatch:
    if not isinstance(accs, (tuple, list)) or len(accs) != 2:
        raise TypeError(f"acc: got {type(accs).__name__}; allowed: two Moments, one for each half of a split")
    for acc in accs:
        check_moments(acc, "rayleigh", part=True)
        check_count(acc.n, 2, "of each half: N - 1 divides")
    whole = Moments(accs[0].d, "rayleigh")
    for acc in accs:
        whole.merge(acc)
    check_moments(whole, "rayleigh")
    data, _ = _data(whole)
    batches = []
    with np.errstate(over="ignore", invalid="ignore"):
        E = [acc.sums["pp"] / (acc.n - 1) for acc in accs]
        for h, acc in enumerate(accs):
            variance, covariance, G = _penalty(E[h], E[1 - h], alpha, beta)
            G = 2.0 / (acc.n - 1) * G
            _, sides = _data(whole)
            sides["phi"].P = G
            # B_h is centred by the half's own mean, the rows below by that of all
            sides["phi"].constant = sides["phi"].constant + (whole.mean_phi - acc.mean_phi) @ G
            batches.append(FullBatch(0.0, {}, whole.n, sides, (whole.mean_phi, whole.mean_psi)))
    terms = {"data": data, "variance": variance, "covariance": covariance}
    loss = data + alpha * variance + beta * covariance
    for full in batches:
        full.loss, full.terms = loss, terms
    return SplitBatch(loss, terms, whole.n, (batches[0], batches[1]))


rayleigh = Rayleigh()
