"""Losses that whiten: VAMP-2 and supervised least squares with the optimal linear head."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _device
from .._arguments import check_flag, check_number, real_array
from ._base import Batch, FullBatch, Result, RowTerms, check_labels, finite_loss
from ._moments import Moments, check_moments, of_batch

__all__ = ["correlation", "supervised_mse"]

_ROWS = 8192  # rows of one-hot targets that exist at a time


def _inverse(S: np.ndarray, ridge: float, precision: float, name: str) -> np.ndarray:
    """(S + ridge I)^{-1}, after scaling its diagonal to 1 so that columns of any scale do.

    S has the rounding of data of this precision: what is below that is no variance.
    """
    S = S + ridge * np.eye(S.shape[0])
    scale = np.sqrt(np.diag(S))
    if (scale > 0).all():
        scale = 1 / scale
        w, V = np.linalg.eigh(scale[:, None] * S * scale)
        if w[0] > 4 * np.sqrt(len(w)) * precision * w[-1]:
            half = scale[:, None] * V / np.sqrt(w)
            return half @ half.T
    raise ValueError(f"{name}: got a singular covariance (collapsed, or N <= d); allowed: full rank, or a larger ridge")


class Correlation:
    """VAMP-2: minus the sum of squared canonical correlations; invariant to linear maps of either side.

    L = -||S_pp^{-1/2} S_pq S_qq^{-1/2}||_F^2, S_pq = B^T C/N, with `ridge` added to the diagonals of S_pp and S_qq. Its
    minimum is -(s_1^2 + ... + s_d^2). With P = S_pp^{-1}, Q = S_qq^{-1}, K = S_pq:
    dPhi = -(2/N)(C Q K^T P - B P K Q K^T P).

    Parameters
    ----------
    phi, psi : arrays (N, d) and (N, d')
        Embeddings; the widths may differ.
    ridge : float
        >= 0. With 0, a singular covariance is a ValueError.
    grad, out
        As in `svme`.

    Returns
    -------
    Result
        ``.loss``, ``.grad_phi``, ``.grad_psi``; ``.terms``: correlation, which is -loss.

    Raises
    ------
    ValueError, TypeError, OverflowError
        As in `svme`, the widths aside.

    Notes
    -----
    Cost: 4 N d^2 flops for the moments, 8 N d^2 for the gradients, O(d^3). Memory: O(d^2) beyond the gradients. From
    chunks: 2 sweeps.

    References
    ----------
    Wu, Noe, *Variational approach for learning Markov processes from time series data*, 2020 (VAMP-2).

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> a = np.random.default_rng(0).standard_normal((100, 3))
    >>> round(ec.objectives.correlation(a, a @ [[2.0, 0, 0], [1, 1, 0], [0, 3, 1]]).loss, 6)
    -3.0
    """

    def __call__(self, phi: Any, psi: Any, *, ridge: float = 0.0, grad: Any = None, out: Any = None) -> Result:
        batch = Batch({"phi": phi, "psi": psi}, same_width=False, grad=grad, out=out)
        acc = of_batch(batch, "correlation", batch.arrays["psi"].shape[1])
        full = self.from_moments(acc, ridge=ridge)
        finite_loss(batch, full.loss)
        full.into(batch)
        return batch.result(full.loss, full.terms)

    def from_moments(self, acc: Moments, *, ridge: float = 0.0) -> FullBatch:
        """The same from ``Moments(d, objective="correlation", d_psi=...)``."""
        n, ridge = check_moments(acc, "correlation").n, check_number(ridge, "ridge", 0.0)
        P, Q = (
            _inverse(acc.sums[name] / n, ridge, acc.precision, side) for name, side in (("pp", "phi"), ("qq", "psi"))
        )
        K = acc.sums["pq"] / n
        PK, QKt = P @ K, Q @ K.T
        value = float((PK * QKt.T).sum())
        rows = {
            "phi": RowTerms(P=2 / n * PK @ QKt @ P, Q=-2 / n * QKt @ P),
            "psi": RowTerms(P=-2 / n * PK @ Q, Q=2 / n * QKt @ PK @ Q),
        }
        means = (acc.mean_phi, acc.mean_psi)
        return FullBatch(-value, {"correlation": value}, n, rows, means, same_width=False)


class SupervisedMSE:
    """Least squares with the optimal linear head: how well phi explains the targets linearly.

    L = tr S_yy - tr S_xy^T (S_xx + ridge I)^{-1} S_xy, S_xx = B^T B/N, S_xy = B^T H Y/N; with the head
    W = (S_xx + ridge I)^{-1} S_xy, dPhi = -(2/N)(H Y - B W) W^T. It learns the top of T Lambda T*: Lambda is that of
    one-hot targets; class-balanced targets (columns divided by sqrt(q)) take it away.

    Parameters
    ----------
    phi : array (N, d)
        Embeddings.
    targets : array-like (N, c), optional
        Targets of regression, or
    labels : array-like (N,), optional
        classes (integers, bool or strings), made one-hot a few rows at a time; each class at least twice.
    balanced : bool
        With labels: divide each class's column by the square root of its share.
    ridge : float
        >= 0. With 0, a singular covariance is a ValueError.
    grad, out
        As in `svme`, for phi alone.

    Returns
    -------
    Result
        ``.loss``, ``.grad_phi``; ``.terms``: total (tr S_yy) and explained.

    Raises
    ------
    ValueError, TypeError, OverflowError
        As in `svme`; neither or both of targets and labels.

    Notes
    -----
    Cost: N d (d + 2 c) flops for the moments, 2 N d (d + c) for the gradient. Memory: O(d (d + c)) beyond the gradient.
    From chunks (2 sweeps): psi is the rows of the targets, of width d_psi; labels as one-hot rows (divided by sqrt(q)).

    References
    ----------
    R. Zhai et al., *Contextures: Representations from contexts*, ICML 2025, 3.1.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> phi = np.array([[1.0], [1.0], [-1.0], [-1.0]])
    >>> abs(ec.objectives.supervised_mse(phi, labels=[0, 0, 1, 1]).loss) < 1e-12
    True
    """

    def __call__(
        self,
        phi: Any,
        targets: Any = None,
        *,
        labels: Any = None,
        balanced: bool = False,
        ridge: float = 0.0,
        grad: Any = None,
        out: Any = None,
    ) -> Result:
        if (targets is None) == (labels is None):
            raise ValueError("targets: got both or none of targets and labels; allowed: one of them")
        if check_flag(balanced, "balanced") and labels is None:
            raise ValueError("balanced: got True; allowed: False with targets, which have no classes")
        whole = Batch({"phi": phi}, grad=grad, out=out)
        source = _Targets(whole, targets) if labels is None else _Classes(whole, labels, balanced)
        acc = Moments(whole.arrays["phi"].shape[1], "supervised_mse", source.width)
        for part in source:
            acc.add(part)
        full = self.from_moments(acc, ridge=ridge)
        finite_loss(whole, full.loss)
        if whole.outs["phi"] is not None:
            for part in source:
                full.into(part)
        return whole.result(full.loss, full.terms)

    def from_moments(self, acc: Moments, *, ridge: float = 0.0) -> FullBatch:
        """The same from ``Moments(d, objective="supervised_mse", d_psi=c)``, psi being the targets."""
        n, ridge = check_moments(acc, "supervised_mse").n, check_number(ridge, "ridge", 0.0)
        S_xy = acc.sums["pq"] / n
        W = _inverse(acc.sums["pp"] / n, ridge, acc.precision, "phi") @ S_xy
        total, explained = float(acc.sums["squares_psi"].sum() / n), float((S_xy * W).sum())
        rows = {"phi": RowTerms(P=2 / n * W @ W.T, Q=-2 / n * np.ascontiguousarray(W.T))}
        terms = {"total": total, "explained": explained}
        means = (acc.mean_phi, acc.mean_psi)
        return FullBatch(total - explained, terms, n, rows, means, same_width=False, differentiable=("phi",))


class _Targets:
    """The batch with its targets, in one part."""

    def __init__(self, whole: Batch, targets: Any):
        array: Any
        if _device.is_on_device(targets):
            _device.one_device({whole.device, "cuda"}, "phi, targets")
            array = _device.array(targets, "targets", 2).astype(whole.dtype)
        else:
            array = real_array(targets, "targets", 2, whole.dtype)
        if array.shape[0] != whole.n:
            raise ValueError(f"targets: got shape {array.shape}; allowed: {whole.n} rows, as phi has")
        self.width = array.shape[1]
        self.parts = [whole.beside(array)]

    def __iter__(self):
        return iter(self.parts)


class _Classes:
    """The batch with one-hot targets, a few rows at a time."""

    def __init__(self, whole: Batch, labels: Any, balanced: bool):
        self.whole = whole
        self.numbers, counts = check_labels(labels, "labels", whole.n)
        self.width = len(counts)
        self.values = np.sqrt(whole.n / counts) if balanced else np.ones(self.width)

    def __iter__(self):
        for begin in range(0, self.whole.n, _ROWS):
            numbers = self.numbers[begin : begin + _ROWS]
            Y = np.zeros((len(numbers), self.width), self.whole.dtype)
            Y[np.arange(len(numbers)), numbers] = self.values[numbers]
            yield self.whole.part(slice(begin, begin + _ROWS)).beside(Y)


correlation = Correlation()
supervised_mse = SupervisedMSE()
