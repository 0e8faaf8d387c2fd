"""The genuinely pairwise losses: InfoNCE, the sigmoid loss, and the low-rank losses of exponentials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _core
from .._arguments import check_choice, check_number
from ._base import Batch, Result, check_count, finite_loss, overflow
from ._kernels import centred, column_means

__all__ = ["exponential_low_rank", "exponential_spectral_contrastive", "info_nce", "sigmoid"]

_PIECE = 1 << 13  # rows whose norms are taken together


class _Scores:
    """Two sides of embeddings in the precision that their scores need, and what the engine adds to their gradients.

    float64 where float32 would lose more than 1e-4 of a score's unit, or leave its range.
    """

    def __init__(self, batch: Batch, phi: np.ndarray, psi: np.ndarray, scale: float, size: float = 0.0):
        a, b = _largest_norm(phi), _largest_norm(psi)
        if not math.isfinite(a * b):
            batch.check_finite()
            raise overflow("scores", batch)
        self.bound = abs(scale) * a * b
        narrow = 2 * float(np.finfo(np.float32).eps) * max(self.bound, size) <= 1e-4
        narrow &= all(x == 0 or 1e-15 <= x <= 1e15 for x in (a, b)) and 1e-20 <= abs(scale) <= 1e20
        dtype = batch.dtype if narrow else np.dtype(np.float64)
        self.phi, self.psi, self.scale = phi.astype(dtype, copy=False), psi.astype(dtype, copy=False), scale
        self.rows = (self.phi, self.psi, 0, 0, scale)

    def zeros(self, out: np.ndarray | None, side: np.ndarray, wanted: bool) -> np.ndarray | None:
        """Zeros for the products of one side: in `out` where the engine can write there."""
        if not wanted:
            return None
        if out is not None and out.dtype == side.dtype and _by_rows(out):
            out[...] = 0
            return out
        return np.zeros(side.shape, side.dtype)


def _largest_norm(rows: np.ndarray) -> float:
    largest = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for begin in range(0, rows.shape[0], _PIECE):
            piece = rows[begin : begin + _PIECE]
            top = float(np.einsum("ij,ij->i", piece, piece, dtype=np.float64).max())
            if not top <= largest:
                largest = top
    return math.sqrt(largest) if largest >= 0 else math.nan


def _by_rows(a: np.ndarray) -> bool:
    n, d = a.shape
    return (d == 1 or a.strides[1] == a.itemsize) and (n == 1 or a.strides[0] >= d * a.itemsize)


def _dots(a: np.ndarray, b: np.ndarray) -> float:
    """sum_ij a_ij b_ij in float64."""
    pieces = range(0, a.shape[0], _PIECE)
    return float(sum(np.einsum("ij,ij->", a[i : i + _PIECE], b[i : i + _PIECE], dtype=np.float64) for i in pieces))


def _finish(batch: Batch, name: str, product: np.ndarray, factor: float) -> None:
    """Writes factor * product as the gradient of one input."""
    out = batch.outs[name]
    if out is None:
        return
    with np.errstate(over="ignore"):
        np.multiply(product, factor, out=out, casting="same_kind")
    if not math.isfinite(float(np.sum(out, dtype=np.float64))):
        raise overflow("gradient", batch)


def _with_numbers(grad: Sequence[str] | str | None, arrays: Sequence[str], numbers: Sequence[str]):
    """Which of the arrays' gradients are wanted, and which of those of numbers; all where grad is None."""
    if grad is None:
        return list(arrays), set(numbers)
    names = [grad] if isinstance(grad, str) else list(grad)
    for name in names:
        if name not in (*arrays, *numbers):
            raise ValueError(f"grad: got {name!r}; allowed: {', '.join(map(repr, (*arrays, *numbers)))}")
    return [name for name in names if name in arrays], {name for name in names if name in numbers}


def _number(value: Any) -> Any:
    """A number, or the one entry of an array or tensor without axes."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value


def info_nce(phi: Any, psi: Any, *, temperature: Any = 0.07, grad: Any = None, out: Any = None) -> Result:
    """InfoNCE, two-sided (CLIP's loss): each row finds its partner among all the others.

    With logits Z = Phi Psi^T/T, L = -(1/(2N)) sum_i [log softmax_j(Z_ij)]_(j = i) + the same over columns: half the sum of
    the two mean cross-entropies.

    Parameters
    ----------
    phi, psi : arrays (N, d)
        Embeddings of the two sides, float32 or float64 (float16 is computed in float32), any strides; used as given,
        without normalisation.
    temperature : float
        T > 0.
    grad : sequence of str, optional
        Whose gradients are wanted, of "phi", "psi", "temperature"; all by default.
    out : dict or tuple of arrays, optional
        Memory for the gradients of phi and psi.

    Returns
    -------
    Result
        ``.loss``, ``.grad_phi``, ``.grad_psi``, ``.grad_temperature`` (float); ``.terms``: phi (the mean cross-entropy
        over rows) and psi (over columns).

    Raises
    ------
    ValueError
        Shapes that do not agree, T <= 0, NaN or inf.
    TypeError
        Embeddings that are not floating point, or not on the CPU.
    OverflowError
        Scores or gradients that do not fit; the message names the scale of the embeddings.

    Notes
    -----
    Cost: 8 N^2 d flops (the scores are made twice), 2 N^2 d for the value alone. Memory beyond the gradients: O(N), a
    tile a thread, and copies of arrays whose rows are not contiguous; nothing of size N^2. Scores are float64 where
    float32 would lose more than 1e-4 of them.

    References
    ----------
    van den Oord, Li, Vinyals, *Representation learning with contrastive predictive coding*, 2018; Radford et al.,
    *Learning transferable visual models from natural language supervision*, 2021 (the two-sided form).

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> r = ec.objectives.info_nce(np.eye(4), np.eye(4), temperature=1.0)
    >>> round(r.loss, 4) == round(np.log(1 + 3 * np.exp(-1)), 4)
    True
    """
    T = check_number(_number(temperature), "temperature", 0.0, open_low=True)
    arrays, numbers = _with_numbers(grad, ("phi", "psi"), ("temperature",))
    batch = Batch({"phi": phi, "psi": psi}, grad=arrays, out=out)
    n = batch.n
    s = _Scores(batch, batch.arrays["phi"], batch.arrays["psi"], 1.0 / T)
    tops, sums, pair = np.full((2, n), -np.inf), np.zeros((2, n)), np.empty(n)
    _core.log_sums(*s.rows, tops[0], sums[0], tops[1], sums[1], pair)
    log_sums = tops + np.log(sums)
    terms = {name: float((log_sums[k] - pair).mean()) for k, name in enumerate(("phi", "psi"))}
    loss = (terms["phi"] + terms["psi"]) / 2
    finite_loss(batch, loss)
    grads: dict[str, float | None] = {"temperature": None}
    if arrays or numbers:
        H = s.zeros(batch.outs["phi"], s.phi, "phi" in arrays or bool(numbers))
        K = s.zeros(batch.outs["psi"], s.psi, "psi" in arrays)
        _core.softmax_products(*s.rows, log_sums[0], log_sums[1], H, K)
        factor = 1.0 / (2 * n * T)
        if numbers:
            grads["temperature"] = -factor / T * _dots(s.phi, H)
        for name, product in (("phi", H), ("psi", K)):
            _finish(batch, name, product, factor)
    return _result(batch, loss, terms, grads)


def sigmoid(phi: Any, psi: Any, *, t: Any = 10.0, b: Any = -10.0, grad: Any = None, out: Any = None) -> Result:
    """Sigmoid loss (SigLIP): every pair of rows is a binary decision, partners or not.

    L = (1/N) sum_i sum_j log(1 + exp(-z_ij Z_ij)), Z = t Phi Psi^T + b, z = +1 for i = j and -1 else.

    Parameters
    ----------
    phi, psi : arrays (N, d)
        Embeddings of the two sides, float32 or float64 (float16 is computed in float32), any strides; used as given (the
        authors normalise them).
    t, b : float
        Scale and bias; the authors start at 10 and -10 (and learn log t).
    grad : sequence of str, optional
        Whose gradients are wanted, of "phi", "psi", "t", "b"; all by default.
    out : dict or tuple of arrays, optional
        Memory for the gradients of phi and psi.

    Returns
    -------
    Result
        ``.loss``, ``.grad_phi``, ``.grad_psi``, ``.grad_t``, ``.grad_b`` (floats); ``.terms``: loss.

    Raises
    ------
    ValueError, TypeError, OverflowError
        As in `info_nce`.

    Notes
    -----
    Cost: 6 N^2 d flops, one sweep (2 N^2 d for the value alone). Memory as in `info_nce`.

    References
    ----------
    Zhai, Mustafa, Kolesnikov, Beyer, *Sigmoid loss for language image pre-training*, 2023.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> r = ec.objectives.sigmoid(np.eye(2), np.eye(2), t=0.0, b=0.0)
    >>> round(r.loss, 6) == round(2 * np.log(2), 6), r.grad_b
    (True, 0.0)
    """
    t, b = check_number(_number(t), "t"), check_number(_number(b), "b")
    arrays, numbers = _with_numbers(grad, ("phi", "psi"), ("t", "b"))
    batch = Batch({"phi": phi, "psi": psi}, grad=arrays, out=out)
    s = _Scores(batch, batch.arrays["phi"], batch.arrays["psi"], t, abs(b))
    H = s.zeros(batch.outs["phi"], s.phi, "phi" in arrays or "t" in numbers)
    K = s.zeros(batch.outs["psi"], s.psi, "psi" in arrays)
    total, gradient = _core.sigmoid_products(*s.rows, b, H, K)
    loss = total / batch.n
    finite_loss(batch, loss)
    grads = {
        "t": _dots(s.phi, H) / batch.n if "t" in numbers else None,
        "b": gradient / batch.n if "b" in numbers else None,
    }
    for name, product in (("phi", H), ("psi", K)):
        _finish(batch, name, product, t / batch.n)
    return _result(batch, loss, {"loss": loss}, grads)


def _result(batch: Batch, loss: float, terms: dict[str, float], numbers: dict[str, float | None]) -> Result:
    result = batch.result(loss, terms)
    result.grads.update(numbers)
    return result


@dataclass
class _Exponential:
    """f = exp(<phi, psi>/T) or exp(-|phi - psi|^2/T), squared: the scores and offsets of 2 log f."""

    s: _Scores
    offsets: tuple[np.ndarray, np.ndarray] | tuple[None, None]
    T: float

    @property
    def distance(self) -> bool:
        return self.offsets[0] is not None


def _exponential(batch: Batch, phi: np.ndarray, psi: np.ndarray, form: str, T: float) -> _Exponential:
    if form == "dot":
        s = _Scores(batch, phi, psi, 2.0 / T)
        _refuse_overflow(batch, s, T, own=psi is not phi)
        return _Exponential(s, (None, None), T)
    mean = column_means(psi)  # distances do not change, and their terms get small
    if not np.isfinite(mean).all():
        batch.check_finite()
        raise overflow("mean", batch)
    same = psi is phi
    phi = centred(phi, mean)
    psi = phi if same else centred(psi, mean)
    squares = [np.einsum("ij,ij->i", side, side, dtype=np.float64) for side in (phi, psi)]
    offsets = (-2.0 / T * squares[0], -2.0 / T * squares[1])
    s = _Scores(batch, phi, psi, 4.0 / T, -float(offsets[0].min()) - float(offsets[1].min()))
    return _Exponential(s, offsets, T)


def _refuse_overflow(batch: Batch, s: _Scores, T: float, own: bool) -> None:
    """exp(2 <phi, psi>/T) must fit: where the norms do not promise it, the largest exponent is looked for."""
    limit = math.log(float(np.finfo(batch.dtype).max)) / 2
    if s.bound / 2 <= limit:
        return
    largest = _core.largest_score(*s.rows, own) / 2
    if largest > limit:
        raise ValueError(
            f"temperature: got {T:g}, with which the largest exponent <phi, psi>/T is {largest:.4g}; allowed: exponents up "
            f"to {limit:.4g} in {batch.dtype}, that is T >= {math.nextafter(T * largest / limit, math.inf):.4g}"
        )


def exponential_low_rank(
    phi: Any, psi: Any, *, temperature: Any = 1.0, form: str = "dot", grad: Any = None, out: Any = None
) -> Result:
    """Low-rank loss with an exponential in place of the dot product: a positive model of the density ratio.

    L = -2 mean_i f(phi_i, psi_i) + 1/(N (N-1)) sum_{i != j} f(phi_i, psi_j)^2, with f = exp(<phi, psi>/T) (form="dot") or
    exp(-|phi - psi|^2/T) (form="distance").

    Parameters
    ----------
    phi, psi : arrays (N, d)
        Embeddings of inputs and of their contexts, float32 or float64 (float16 is computed in float32), any strides.
        N >= 2.
    temperature : float
        T > 0.
    form : str
        "dot" or "distance".
    grad : sequence of str, optional
        Whose gradients are wanted, of "phi" and "psi"; both by default.
    out : dict or tuple of arrays, optional
        Memory for the gradients.

    Returns
    -------
    Result
        ``.loss``, ``.grad_phi``, ``.grad_psi``; ``.terms``: data (mean f of the pairs) and pairs (the second term).

    Raises
    ------
    ValueError
        An exponent <phi, psi>/T above log(largest)/2 (44.36 in float32, 354.9 in float64), as f^2 is formed: the message
        names the largest exponent and the T that would do. Else as in `info_nce`; N = 1.
    TypeError, OverflowError
        As in `info_nce`.

    Notes
    -----
    Cost: 6 N^2 d flops, one sweep (2 N^2 d more where the norms alone do not show that nothing overflows). Memory beyond
    the gradients: O(N) and a tile a thread (distance: copies of phi and psi, centred).

    References
    ----------
    HaoChen et al., *Provable guarantees for self-supervised deep learning with spectral contrastive loss*, 2021 (the
    loss); R. Zhai, *Contextures*, 2025.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> x = np.array([[0.0], [100.0]])
    >>> ec.objectives.exponential_low_rank(x, x, form="distance").loss  # f = 1 for the pairs, 0 for the others
    -2.0
    """
    T = check_number(_number(temperature), "temperature", 0.0, open_low=True)
    check_choice(form, "form", ("dot", "distance"))
    batch = Batch({"phi": phi, "psi": psi}, grad=grad, out=out)
    n = batch.n
    check_count(n, 2, "N - 1 divides")
    e = _exponential(batch, batch.arrays["phi"], batch.arrays["psi"], form, T)
    wanted = [batch.outs[name] is not None for name in ("phi", "psi")]
    products = [e.s.zeros(batch.outs["phi"], e.s.phi, wanted[0]), e.s.zeros(batch.outs["psi"], e.s.psi, wanted[1])]
    sums = [np.zeros(n) if e.distance and w else None for w in wanted]
    own, others = _core.exponential_products(*e.s.rows, *e.offsets, 1, True, n - 1.0, *products, *sums)
    terms = {"data": own / n, "pairs": others / (n * (n - 1))}
    loss = -2 * terms["data"] + terms["pairs"]
    finite_loss(batch, loss)
    factor = 2.0 / (n * (n - 1)) / T
    for name, side, product, total in zip(("phi", "psi"), (e.s.phi, e.s.psi), products, sums, strict=True):
        if product is not None:
            _finish_exponential(batch, name, side, product, total, factor)
    return batch.result(loss, terms)


def _finish_exponential(batch, name, side, product, sums, factor) -> None:
    """dot: factor G Psi; distance: -2 factor (diag(G 1) Phi - G Psi)."""
    if sums is not None:
        for begin in range(0, side.shape[0], _PIECE):
            rows = slice(begin, begin + _PIECE)
            product[rows] -= sums[rows, None].astype(side.dtype) * side[rows]
        factor *= 2
    _finish(batch, name, product, factor)


def exponential_spectral_contrastive(
    views: Any, *, temperature: Any = 1.0, form: str = "dot", grad: Any = None, out: Any = None
) -> Result:
    """Spectral contrastive loss with an exponential in place of the dot product.

    L = -2 mean_{i, j != k} f(a_ij, a_ik) + mean_{i != i', j, k} f(a_ij, a_i'k)^2 for r views a_ij of N inputs, with
    f = exp(<a, b>/T) (form="dot") or exp(-|a - b|^2/T) (form="distance").

    Parameters
    ----------
    views : array (N, r, d)
        Embeddings of r >= 2 views of each of N >= 2 inputs.
    temperature, form
        As in `exponential_low_rank`.
    grad : sequence of str, optional
        ("views",) by default; () for the value alone.
    out : array, optional
        Memory for the gradient.

    Returns
    -------
    Result
        ``.loss``, ``.grad_views``; ``.terms``: data (mean f of two views of one input) and pairs (the second term).

    Raises
    ------
    ValueError, TypeError, OverflowError
        As in `exponential_low_rank`; r = 1.

    Notes
    -----
    Cost: 4 (N r)^2 d flops, one sweep. Memory: as in `exponential_low_rank`.

    References
    ----------
    As in `exponential_low_rank`.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> ec.objectives.exponential_spectral_contrastive(np.zeros((3, 2, 4))).loss  # f = 1 everywhere
    -1.0
    """
    T = check_number(_number(temperature), "temperature", 0.0, open_low=True)
    check_choice(form, "form", ("dot", "distance"))
    batch = Batch({"views": views}, ndim={"views": 3}, grad=grad, out=out)
    n, r, d = batch.arrays["views"].shape
    check_views(n, r)
    flat = batch.arrays["views"].reshape(n * r, d)
    e = _exponential(batch, flat, flat, form, T)
    wanted = batch.outs["views"] is not None
    product = np.zeros(e.s.phi.shape, e.s.phi.dtype) if wanted else None
    sums = np.zeros(n * r) if wanted and e.distance else None
    pair_factor = (n - 1) * r / (r - 1)
    own, others = _core.exponential_products(*e.s.rows, *e.offsets, r, False, pair_factor, product, None, sums, None)
    terms = {"data": own / (n * r * (r - 1)), "pairs": others / (n * (n - 1) * r * r)}
    loss = -2 * terms["data"] + terms["pairs"]
    finite_loss(batch, loss)
    if product is not None:  # twice: each pair has both orders
        target = batch.outs["views"]
        flat_out = np.empty(product.shape, batch.dtype)
        batch.outs["views"] = flat_out
        _finish_exponential(batch, "views", e.s.phi, product, sums, 4.0 / (n * (n - 1) * r * r) / T)
        target[...] = flat_out.reshape(n, r, d)
        batch.outs["views"] = target
    return batch.result(loss, terms)


def check_views(n: int, r: int) -> None:
    """ValueError for fewer than 2 inputs or views."""
    if n < 2 or r < 2:
        raise ValueError(f"views: got N = {n} inputs with r = {r} views; allowed: at least 2 of each")
