"""Low-rank losses: two encoders (LoRA-SVD), several views (spectral contrastive), ordered functions (nested)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import _device
from .._arguments import check_choice, check_flag, vector
from ._base import Batch, FullBatch, Result, RowTerms, check_count, finite_loss, overflow
from ._moments import Moments, check_moments, of_batch
from ._pairwise import check_reread, lazy, parts_of, slices_batch

__all__ = ["low_rank", "nested_low_rank", "spectral_contrastive"]


@dataclass
class _Form:
    """The two sums that a low-rank loss is made of, about the points that its estimator asks for."""

    acc: Moments
    n: int  # inputs
    r: int  # contexts of an input
    weight: float
    means: tuple[np.ndarray | None, np.ndarray | None]
    A: np.ndarray  # Phi^T Phi / n
    B: np.ndarray  # Psi^T Psi / n
    products: np.ndarray  # of each column: mean w_i phi_i psi_i
    pairs: float  # what A : B is multiplied by: N/(N-1) or 1
    dot: float  # what <phi_i, psi_i>^2 is multiplied by: 1/(N (N-1) r) or 0
    dots: np.ndarray
    constant_phi: np.ndarray | None = None
    constant_psi: np.ndarray | None = None


def _form(acc: Moments, centered: bool, estimator: str, W: np.ndarray | float) -> _Form:
    second = acc if acc._centre is not None else None
    u = estimator == "u"
    if second is not None:
        if not (centered and u):
            raise ValueError("acc: got a second sweep; allowed: with centered=True and estimator='u' alone")
        acc = check_moments(second._first, acc.objective)  # type: ignore[attr-defined]
        if second.n != acc.n:
            raise ValueError(f"acc: got {second.n} rows in its second sweep; allowed: {acc.n}, as in the first")
    elif centered and u:
        raise ValueError(
            "acc: got one sweep; allowed: two, as the means must be known first (feed acc.centered() the chunks "
            "again), or estimator='plugin'"
        )
    n, r, s = acc.inputs, acc.views, acc.sums
    check_count(n, 2 if u else 1, "N - 1 divides")
    weight = acc.plain["weight"]
    A, B, products = s["pp"] / acc.n, s["qq"] / acc.n, s["products"] / weight
    m, k = acc.mean_phi, acc.mean_psi
    if not centered:
        A, B = A + np.outer(m, m), B + np.outer(k, k)
        products = products + (m * s["weighted_psi"] + k * s["weighted_phi"]) / weight + m * k
    dot = 1.0 / (n * (n - 1) * r) if u else 0.0
    form = _Form(
        acc=acc,
        n=n,
        r=r,
        weight=weight,
        means=(m, k) if centered else (None, None),
        A=A,
        B=B,
        products=products,
        pairs=n / (n - 1) if u else 1.0,
        dot=dot,
        dots=(second or acc).plain["dots"],
    )
    if centered:  # minus the mean of the gradient, which the data term and the diagonal have
        form.constant_phi = 2 * W * s["weighted_psi"] / (weight * n)
        form.constant_psi = 2 * W * s["weighted_phi"] / (weight * n * r)
        if second is not None:
            form.constant_phi = form.constant_phi + 2 * dot * second.plain["dots_psi"] / n
            form.constant_psi = form.constant_psi + 2 * dot * second.plain["dots_phi"] / (n * r)
    return form


class LowRank:
    """Low-rank loss of two encoders (LoRA-SVD): the best rank-d approximation of a context's operator.

    L = -2 mean_i <phi_i, psi_i> + 1/(N (N-1)) sum_{i != j} <phi_i, psi_j>^2; the second sum in moment form is
    <Phi^T Phi, Psi^T Psi> - sum_i <phi_i, psi_i>^2. Its minimum is -(s_0^2 + s_1^2 + ...), over d values, with s_0 = 1
    unless centred; uncentred, the nontrivial functions alone are a saddle.

    Parameters
    ----------
    phi : array (N, d)
        Embeddings of inputs.
    psi : array (N, d) or (N, r, d)
        Embeddings of their contexts, one or r of each input (the loss is averaged over r).
    centered : bool
        Take the means of phi and of psi off first.
    estimator : str
        "u": i = j left out, unbiased, N >= 2; "plugin": 1/N^2 with i = j kept.
    weights : array-like (N,), optional
        Sample weights of the first term, normalised to sum 1.
    grad, out
        As in `svme`.

    Returns
    -------
    Result
        ``.loss``, ``.grad_phi``, ``.grad_psi``; ``.terms``: data (the mean of <phi_i, psi_i>) and pairs (the second
        term).

    Raises
    ------
    ValueError, TypeError, OverflowError
        As in `svme`; N = 1 with estimator="u".

    Notes
    -----
    Cost: 2 N d^2 flops for both moments, 4 N d^2 for both gradients, where the formula has N^2 d. Memory: O(d^2) beyond
    the gradients. From chunks: 2 sweeps; centred with estimator="u" 3, the second with ``acc.centered()``.

    References
    ----------
    HaoChen, Wei, Gaidon, Ma, *Provable guarantees for self-supervised deep learning with spectral contrastive loss*,
    2021; Ryu et al., *Operator SVD with neural networks via nested low-rank approximation*, 2024.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> phi = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    >>> ec.objectives.low_rank(phi, phi, estimator="plugin").loss  # A = X, two values: s_1 = 1
    -1.0
    """

    def __call__(
        self,
        phi: Any,
        psi: Any,
        *,
        centered: bool = False,
        estimator: str = "u",
        weights: Any = None,
        grad: Any = None,
        out: Any = None,
    ) -> Result:
        ndim = {"psi": 3} if _device.axes_of(psi) == 3 else None
        batch = Batch({"phi": phi, "psi": psi}, ndim=ndim, weights=weights, grad=grad, out=out)
        acc = of_batch(batch, "low_rank")
        if centered is True and estimator == "u":
            acc = acc.centered()
            acc.add(batch)
        full = self.from_moments(acc, centered=centered, estimator=estimator)
        finite_loss(batch, full.loss)
        full.into(batch)
        return batch.result(full.loss, full.terms)

    def from_moments(self, acc: Moments, *, centered: bool = False, estimator: str = "u") -> FullBatch:
        """The full batch's value, and its gradient chunk by chunk, from ``Moments(d, objective="low_rank")``."""
        check_flag(centered, "centered")
        check_choice(estimator, "estimator", ("u", "plugin"))
        f = _form(check_moments(acc, "low_rank"), centered, estimator, 1.0)
        with np.errstate(over="ignore", invalid="ignore"):
            data = float(f.products.sum())
            pairs = float(f.pairs * (f.A * f.B).sum() - f.dot * f.dots[0])
            factor = (0.0, -2 / f.weight, -2 * f.dot)
            rows = {
                "phi": RowTerms(P=2 * f.pairs / f.n * f.B, constant=f.constant_phi, psi=factor),
                "psi": RowTerms(Q=2 * f.pairs / (f.n * f.r) * f.A, constant=f.constant_psi, phi=factor),
            }
        return FullBatch(-2 * data + pairs, {"data": data, "pairs": pairs}, f.n, rows, f.means, contexts=True)


def level_sums(level_weights: Any, d: int, mode: str) -> np.ndarray:
    """W_j = sum_{l >= j} w_l; ones where the levels are learned one after another."""
    w = np.full(d, 1.0 / d) if level_weights is None else vector(level_weights, "level_weights", d)
    if w.min() < 0 or w.max() == 0:
        raise ValueError(f"level_weights: got {w.min():g} .. {w.max():g}; allowed: numbers >= 0, not all 0")
    if mode == "joint":
        return np.ascontiguousarray(np.cumsum(w[::-1])[::-1])
    if level_weights is not None:
        raise ValueError("level_weights: got weights; allowed: None with mode='sequential', where every level counts 1")
    return np.ones(d)


class NestedLowRank:
    """Nested low-rank loss: the functions come out in order, not just their span.

    mode="joint": sum_l w_l L(phi_{1..l}, psi_{1..l}), L the low-rank loss, W_j = sum_{l >= j} w_l, M_jk = W_max(j,k):
    dPhi = -(2/N) Psi diag(W) + 2/(N (N-1)) [Phi (M o Psi^T Psi) - ((Phi o Psi) M) o Psi].
    mode="sequential": column j gets the gradient of L(phi_{1..j}, psi_{1..j}) (W = 1, M upper triangular ones); the
    value is the plain low-rank loss of all columns, as no function has this gradient.

    Parameters
    ----------
    phi, psi : arrays (N, d)
        Embeddings of inputs and of their contexts.
    mode : str
        "joint" or "sequential".
    level_weights : array-like (d,), optional
        w, not negative; 1/d by default (joint only).
    first_mode : str
        "none"; "constant" prepends the trivial pair phi_0 = psi_0 = 1 in place of centring.
    centered, estimator, weights, grad, out
        As in `low_rank`. ``weights`` with ``first_mode="constant"`` need estimator="plugin".

    Returns
    -------
    Result
        ``.loss``, ``.grad_phi``, ``.grad_psi``; ``.terms``: data (weighted by levels) and pairs.

    Raises
    ------
    ValueError, TypeError, OverflowError
        As in `low_rank`; first_mode="constant" together with centered=True.

    Notes
    -----
    Cost and memory: those of `low_rank` and O(N d): the sums over levels are running sums, no matrix of (Phi o Psi).
    Sweeps as in `low_rank`; ``acc.centered(level_weights, mode)`` takes the options that its means depend on.

    References
    ----------
    Ryu, Xu, Erol, Bu, Zheng, Wornell, *Operator SVD with neural networks via nested low-rank approximation*, ICML 2024.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> rng = np.random.default_rng(0)
    >>> phi, psi = rng.standard_normal((50, 3)), rng.standard_normal((50, 3))
    >>> joint = ec.objectives.nested_low_rank(phi, psi)
    >>> levels = [ec.objectives.low_rank(phi[:, :l], psi[:, :l]).loss for l in (1, 2, 3)]
    >>> bool(np.isclose(joint.loss, np.mean(levels)))
    True
    """

    def __call__(
        self,
        phi: Any,
        psi: Any,
        *,
        mode: str = "joint",
        level_weights: Any = None,
        first_mode: str = "none",
        centered: bool = False,
        estimator: str = "u",
        weights: Any = None,
        grad: Any = None,
        out: Any = None,
    ) -> Result:
        batch = Batch({"phi": phi, "psi": psi}, weights=weights, grad=grad, out=out)
        acc = of_batch(batch, "nested_low_rank")
        if centered is True and estimator == "u":
            acc = acc.centered(level_weights, mode)
            acc.add(batch)
        full = self.from_moments(
            acc, mode=mode, level_weights=level_weights, first_mode=first_mode, centered=centered, estimator=estimator
        )
        finite_loss(batch, full.loss)
        full.into(batch)
        return batch.result(full.loss, full.terms)

    def from_moments(
        self,
        acc: Moments,
        *,
        mode: str = "joint",
        level_weights: Any = None,
        first_mode: str = "none",
        centered: bool = False,
        estimator: str = "u",
    ) -> FullBatch:
        """The full batch's value, and its gradient chunk by chunk, from ``Moments(d, objective="nested_low_rank")``."""
        check_moments(acc, "nested_low_rank")
        check_flag(centered, "centered")
        for value, name, allowed in (
            (mode, "mode", ("joint", "sequential")),
            (first_mode, "first_mode", ("none", "constant")),
            (estimator, "estimator", ("u", "plugin")),
        ):
            check_choice(value, name, allowed)
        constant = first_mode == "constant"
        if constant and centered:
            raise ValueError("centered: got True; allowed: False with first_mode='constant', which takes its place")
        d, joint = acc.d, mode == "joint"
        W = level_sums(level_weights, d, mode)
        if acc._levels is not None and not (np.array_equal(W, acc._levels) and joint == acc._joint):
            raise ValueError("level_weights, mode: differ from those of the second sweep; allowed: the same")
        f = _form(acc, centered, estimator, W)
        w = -np.diff(W, append=0.0)  # joint: of each level; sequential: of the last alone
        index = np.arange(d)
        M = W[np.maximum.outer(index, index)]
        data = float((W * f.products).sum())
        with np.errstate(over="ignore", invalid="ignore"):
            pairs = float(f.pairs * (M * f.A * f.B).sum() - f.dot * (w * f.dots).sum())
            shape = M if joint else np.triu(np.ones((d, d)))
            factor = (0.0, -2 / f.weight, 0.0)
            rows = {
                "phi": RowTerms(P=2 * f.pairs / f.n * (shape * f.B), constant=f.constant_phi, psi=factor),
                "psi": RowTerms(Q=2 * f.pairs / f.n * (shape * f.A), constant=f.constant_psi, phi=factor),
            }
        rows["phi"].columns_psi = rows["psi"].columns_phi = W
        rows["phi"].level_factor = rows["psi"].level_factor = -2 * f.dot
        loss = -2 * data + pairs
        if constant:
            loss += _prepend_constant(f, W, rows)
        levels = W if f.dot else None
        return FullBatch(loss, {"data": data, "pairs": pairs}, f.n, rows, f.means, levels, joint)


def _prepend_constant(f: _Form, W: np.ndarray, rows: dict[str, RowTerms]) -> float:
    """What phi_0 = psi_0 = 1 adds to every level: -1 + 2 mean_{i != j} <phi_i, psi_j>; its gradient goes to `rows`."""
    m, k, n = f.acc.mean_phi, f.acc.mean_psi, f.n
    u = f.dot != 0
    if u and f.weight != n:
        raise ValueError("weights: got sample weights; allowed: none with first_mode='constant' and estimator='u'")
    between = f.pairs * m * k - (f.products / (n - 1) if u else 0.0)
    rows["phi"].constant, rows["psi"].constant = 2 * f.pairs / n * W * k, 2 * f.pairs / n * W * m
    factor = (-2 * f.dot, -2 / f.weight, 0.0)
    rows["phi"].psi = rows["psi"].phi = factor
    return float(-W[0] + 2 * (W * between).sum())


@dataclass
class ViewBatch:
    """The value of an objective of views on a full batch, and the rows of its gradient for any chunk of it."""

    loss: float
    terms: dict[str, float]
    n: int
    P: np.ndarray = field(repr=False)
    pair: float = 0.0
    square: float = 0.0

    def grad(self, views: Any, *, weights: Any = None, out: Any = None):
        """The rows of the full batch's gradient that belong to a chunk of views (n, r, d)."""
        batch = Batch({"views": views}, ndim={"views": 3}, weights=weights, out=out, chunk=True)
        self.into(batch)
        return batch.result(self.loss, self.terms).grads["views"]

    def into(self, batch: Batch) -> None:
        """Writes the gradient that `batch` wants."""
        out = batch.outs["views"]
        if out is None:
            return
        fits = bool(np.isfinite(self.P).all())
        views = batch.arrays["views"]
        if not fits or not batch.engine.view_rows(views, batch.weights, self.P, self.pair, self.square, out):
            batch.check_finite()
            raise overflow("gradient", batch)


class SpectralContrastive:
    """Spectral contrastive loss (LoRA-EVD) of r views of each input.

    L = -2 mean_{i, j != k} <a_ij, a_ik> + mean_{i != i', j, k} <a_ij, a_i'k>^2. With S = sum a a^T and
    S_i = sum_j a_ij a_ij^T the second term is (||S||_F^2 - sum_i ||S_i||_F^2) / (N (N-1) r^2), and
    d a_ij = -4/(N r (r-1)) (sum_k a_ik - a_ij) + 4/(N (N-1) r^2) (S - S_i) a_ij. Its minimum is -(s_0^4 + s_1^4 + ...)
    over d values.

    Parameters
    ----------
    views : array (N, r, d)
        Embeddings of r >= 2 views of each of N >= 2 inputs, float32 or float64, any strides. An object with len and
        slicing is read 4096 inputs at a time, twice.
    weights : array-like (N,), optional
        Weights of the inputs in the first term, normalised to sum 1.
    grad : sequence of str, optional
        ("views",) or () for the value alone.
    out : array (N, r, d), optional
        Memory for the gradient.

    Returns
    -------
    Result
        ``.loss``, ``.grad_views``; ``.terms``: data (the first mean) and pairs (the second).

    Raises
    ------
    ValueError, TypeError, OverflowError
        As in `svme`; N or r below 2.

    Notes
    -----
    Cost: 3 N r d^2 flops and O(N r^2 d), where the formula has N^2 r^2 d. Memory: O(d^2) beyond the gradient. From
    chunks: 2 sweeps.

    References
    ----------
    HaoChen, Wei, Gaidon, Ma, *Provable guarantees for self-supervised deep learning with spectral contrastive loss*,
    NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> views = np.random.default_rng(0).standard_normal((100, 2, 4))
    >>> r = ec.objectives.spectral_contrastive(views)
    >>> r.grad_views.shape
    (100, 2, 4)
    """

    def __call__(self, views: Any, *, weights: Any = None, grad: Any = None, out: Any = None) -> Result:
        check_reread(views, "views")
        if lazy(views):
            batch, sides = slices_batch({"views": views}, grad, out, weights, ndim=3)
        else:
            batch, sides = Batch({"views": views}, ndim={"views": 3}, weights=weights, grad=grad, out=out), ()
        acc = Moments(batch.arrays["views"].shape[-1], "spectral_contrastive")
        for part in parts_of(batch, sides):
            acc.add(part)
        full = self.from_moments(acc)
        finite_loss(batch, full.loss)
        for part in parts_of(batch, sides):
            full.into(part)
        return batch.result(full.loss, full.terms)

    def from_moments(self, acc: Moments) -> ViewBatch:
        """The same from ``Moments(d, objective="spectral_contrastive")``, which took views (n, r, d)."""
        check_moments(acc, "spectral_contrastive")
        n, r = acc.inputs, acc.views
        if n < 2 or r < 2:
            raise ValueError(f"views: got N = {n}, r = {r}; allowed: at least 2 inputs and 2 views")
        S = acc.sums["pp"] + acc.n * np.outer(acc.mean_phi, acc.mean_phi)
        per_pair = 1.0 / (n * (n - 1) * r * r)
        first = acc.plain["weight"] * r * (r - 1)
        with np.errstate(over="ignore", invalid="ignore"):
            data = acc.plain["pairs"] / first
            pairs = float(((S * S).sum() - acc.plain["squares"]) * per_pair)
        terms = {"data": data, "pairs": pairs}
        return ViewBatch(-2 * data + pairs, terms, n, 4 * per_pair * S, -4 / first, -4 * per_pair)


low_rank = LowRank()
nested_low_rank = NestedLowRank()
spectral_contrastive = SpectralContrastive()
