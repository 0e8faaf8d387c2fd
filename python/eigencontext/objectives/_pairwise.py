"""The genuinely pairwise losses: InfoNCE, the sigmoid loss, and the low-rank losses of exponentials."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _core
from .._arguments import check_choice, check_finite, check_number
from ._base import Batch, Result, check_count, embedding, finite_loss, overflow
from ._kernels import centred, column_means

__all__ = ["exponential_low_rank", "exponential_spectral_contrastive", "info_nce", "sigmoid"]

_PIECE = 1 << 12  # rows whose norms are taken together
_BLOCK = 1 << 12  # rows that are read together where they are read by slices


class _Side:
    """The rows of one side: those of an array, or read from an object with len and slicing whenever they are needed."""

    def __init__(self, name: str, source: Any, width: int, lazy: bool):
        self.name, self.source, self.width, self.lazy = name, source, width, lazy
        self.n = len(source)
        self.mean: np.ndarray | None = None
        self.dtype: Any = None

    def rows(self, begin: int, end: int) -> np.ndarray:
        piece = self.source[begin:end]
        if self.lazy:
            piece = embedding(piece, self.name)
            shape = (min(end, self.n) - begin, self.width)
            if piece.shape != shape:
                raise ValueError(f"{self.name}[{begin}:{end}]: got shape {piece.shape}; allowed: {shape}")
            check_finite(piece, f"{self.name}[{begin}:{end}]")
        if self.mean is not None:
            piece = centred(piece, self.mean)
        return piece if self.dtype is None else piece.astype(self.dtype, copy=False)

    def pieces(self):
        """(slice, rows) a few thousand rows at a time."""
        for begin in range(0, self.n, _PIECE):
            yield slice(begin, begin + _PIECE), self.rows(begin, begin + _PIECE)

    def squares(self) -> np.ndarray:
        """|row|^2 in float64."""
        with np.errstate(over="ignore", invalid="ignore"):
            return np.concatenate([np.einsum("ij,ij->i", rows, rows, dtype=np.float64) for _, rows in self.pieces()])

    def centre(self, mean: np.ndarray) -> None:
        self.mean = mean


def _lazy(a: Any) -> bool:
    """Whether rows are to be read by slices, as they are needed: no array, but something with len and slicing."""
    if isinstance(a, (np.ndarray, list, tuple)) or hasattr(a, "columns") or hasattr(a, "__array_interface__"):
        return False
    if hasattr(a, "__dlpack__"):
        return False
    return hasattr(a, "__len__") and hasattr(a, "__getitem__")


def _batch(inputs: dict[str, Any], grad: Any, out: Any) -> tuple[Batch, tuple[_Side, _Side]]:
    """The checked batch and its sides; for rows that are read by slices the batch holds their first row, n times."""
    stand_ins = {}
    for name, a in inputs.items():
        if isinstance(a, Iterator):
            raise TypeError(
                f"{name}: got a {type(a).__name__}, which can be read once; allowed: an array, or an object with len "
                "and slicing, since every row meets every other"
            )
        lazy = _lazy(a) and len(a) > 0
        stand_ins[name] = np.broadcast_to(first := embedding(a[0:1], name), (len(a), first.shape[1])) if lazy else a
    batch = Batch(stand_ins, grad=grad, out=out)
    sides = []
    for name, a in inputs.items():
        lazy = stand_ins[name] is not a
        array = batch.arrays[name]
        sides.append(_Side(name, a if lazy else array, array.shape[1], lazy))
    return batch, (sides[0], sides[1])


class _Scores:
    """Two sides of embeddings in the precision that their scores need, and what the engine adds to their gradients.

    float64 where float32 would lose more than 1e-4 of a score's unit, or leave its range.
    """

    def __init__(self, batch: Batch, phi: _Side, psi: _Side, scale: float, size: float = 0.0):
        a, b = (math.sqrt(float(side.squares().max())) for side in (phi, psi))
        if not math.isfinite(a * b):
            batch.check_finite()
            raise overflow("scores", batch)
        self.bound = abs(scale) * a * b
        narrow = 2 * float(np.finfo(np.float32).eps) * max(self.bound, size) <= 1e-4
        narrow &= all(x == 0 or 1e-15 <= x <= 1e15 for x in (a, b)) and 1e-20 <= abs(scale) <= 1e20
        self.dtype = batch.dtype if narrow else np.dtype(np.float64)
        self.phi, self.psi, self.scale = phi, psi, scale
        phi.dtype = psi.dtype = self.dtype

    def blocks(self):
        """What the engine is handed, rows of phi against rows of psi, and which they are; arrays are one block."""
        lazy = self.phi.lazy or self.psi.lazy
        step = _BLOCK if lazy else max(self.phi.n, self.psi.n)
        for i in range(0, self.phi.n, step):
            rows = self.phi.rows(i, i + step)
            for j in range(0, self.psi.n, step):
                columns = rows if self.psi is self.phi and j == i else self.psi.rows(j, j + step)
                yield (rows, columns, i, j, self.scale), slice(i, i + step), slice(j, j + step)

    def zeros(self, out: np.ndarray | None, side: _Side, wanted: bool) -> np.ndarray | None:
        """Zeros for the products of one side: in `out` where the engine can write there."""
        if not wanted:
            return None
        if out is not None and out.dtype == self.dtype and _by_rows(out):
            out[...] = 0
            return out
        return np.zeros((side.n, side.width), self.dtype)


def _at(array: np.ndarray | None, rows: slice) -> np.ndarray | None:
    return None if array is None else array[rows]


def _by_rows(a: np.ndarray) -> bool:
    n, d = a.shape
    return (d == 1 or a.strides[1] == a.itemsize) and (n == 1 or a.strides[0] >= d * a.itemsize)


def _dots(side: _Side, product: np.ndarray | None) -> float:
    """The sum of the entries of side o product, in float64."""
    assert product is not None
    return float(sum(np.einsum("ij,ij->", rows, product[at], dtype=np.float64) for at, rows in side.pieces()))


def _finish(batch: Batch, name: str, product: np.ndarray | None, factor: float) -> None:
    """Writes factor * product as the gradient of one input."""
    out = batch.outs[name]
    if out is None or product is None:
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

    With logits Z = Phi Psi^T/T, L = -(1/(2N)) sum_i [log softmax_j(Z_ij)]_(j = i) + the same over columns: half the sum
    of the two mean cross-entropies.

    Parameters
    ----------
    phi, psi : arrays (N, d)
        Embeddings of the two sides, float32 or float64 (float16 is computed in float32), any strides; used as given,
        without normalisation. Memory maps are read in place; an object with len and slicing is read 4096 rows at a
        time, psi once a sweep for every 4096 rows of phi.
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
        Embeddings that are not floating point, or not on the CPU; an iterator, which can be read once.
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
    >>> bool(np.isclose(r.loss, np.log(1 + 3 * np.exp(-1))))
    True
    """
    T = check_number(_number(temperature), "temperature", 0.0, open_low=True)
    arrays, numbers = _with_numbers(grad, ("phi", "psi"), ("temperature",))
    batch, sides = _batch({"phi": phi, "psi": psi}, arrays, out)
    n = batch.n
    s = _Scores(batch, *sides, 1.0 / T)
    tops, sums, pair = np.full((2, n), -np.inf), np.zeros((2, n)), np.empty(n)
    for rows, i, j in s.blocks():
        _core.log_sums(*rows, tops[0, i], sums[0, i], tops[1, j], sums[1, j], pair[i])
    log_sums = tops + np.log(sums)
    terms = {name: float((log_sums[k] - pair).mean()) for k, name in enumerate(("phi", "psi"))}
    loss = (terms["phi"] + terms["psi"]) / 2
    finite_loss(batch, loss)
    grads: dict[str, float | None] = {"temperature": None}
    if arrays or numbers:
        H = s.zeros(batch.outs["phi"], s.phi, "phi" in arrays or bool(numbers))
        K = s.zeros(batch.outs["psi"], s.psi, "psi" in arrays)
        for rows, i, j in s.blocks():
            _core.softmax_products(*rows, log_sums[0, i], log_sums[1, j], _at(H, i), _at(K, j))
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
        Embeddings of the two sides, float32 or float64 (float16 is computed in float32), any strides; used as given
        (the authors normalise them).
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
    >>> bool(np.isclose(r.loss, 2 * np.log(2))), r.grad_b
    (True, 0.0)
    """
    t, b = check_number(_number(t), "t"), check_number(_number(b), "b")
    arrays, numbers = _with_numbers(grad, ("phi", "psi"), ("t", "b"))
    batch, sides = _batch({"phi": phi, "psi": psi}, arrays, out)
    s = _Scores(batch, *sides, t, abs(b))
    H = s.zeros(batch.outs["phi"], s.phi, "phi" in arrays or "t" in numbers)
    K = s.zeros(batch.outs["psi"], s.psi, "psi" in arrays)
    total = gradient = 0.0
    for rows, i, j in s.blocks():
        part = _core.sigmoid_products(*rows, b, _at(H, i), _at(K, j))
        total, gradient = total + part[0], gradient + part[1]
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

    def products(self, group: int, own: bool, pair_factor: float, outs, sums) -> tuple[float, float]:
        """The sums of f within inputs and of f^2 between them; adds G Psi, G^T Phi to `outs`, G 1, G^T 1 to `sums`."""
        pairs = others = 0.0
        for rows, i, j in self.s.blocks():
            offsets = (_at(self.offsets[0], i), _at(self.offsets[1], j))
            out, total = (_at(outs[0], i), _at(outs[1], j)), (_at(sums[0], i), _at(sums[1], j))
            part = _core.exponential_products(*rows, *offsets, group, own, pair_factor, *out, *total)
            pairs, others = pairs + part[0], others + part[1]
        return pairs, others


def _exponential(batch: Batch, phi: _Side, psi: _Side, form: str, T: float) -> _Exponential:
    if form == "dot":
        s = _Scores(batch, phi, psi, 2.0 / T)
        _refuse_overflow(batch, s, T, own=psi is not phi)
        return _Exponential(s, (None, None), T)
    mean = np.zeros(psi.width)  # distances do not change, and their terms get small
    for _, rows in psi.pieces():
        mean += column_means(rows) * (rows.shape[0] / psi.n)
    if not np.isfinite(mean).all():
        batch.check_finite()
        raise overflow("mean", batch)
    phi.centre(mean)
    psi.centre(mean)
    offsets = (-2.0 / T * phi.squares(), -2.0 / T * psi.squares())
    s = _Scores(batch, phi, psi, 4.0 / T, -float(offsets[0].min()) - float(offsets[1].min()))
    return _Exponential(s, offsets, T)


def _refuse_overflow(batch: Batch, s: _Scores, T: float, own: bool) -> None:
    """exp(2 <phi, psi>/T) must fit: where the norms do not promise it, the largest exponent is looked for."""
    limit = math.log(float(np.finfo(batch.dtype).max)) / 2
    if s.bound / 2 <= limit:
        return
    largest = max(_core.largest_score(*rows, own) for rows, _, _ in s.blocks()) / 2
    if largest > limit:
        enough = 1.001 * T * largest / limit  # also when rounded to the digits that are shown
        raise ValueError(
            f"temperature: got {T:g}, with which the largest exponent <phi, psi>/T is {largest:.4g}; allowed: "
            f"exponents up to {limit:.4g} in {batch.dtype}, that is T >= {enough:.4g}"
        )


def exponential_low_rank(
    phi: Any, psi: Any, *, temperature: Any = 1.0, form: str = "dot", grad: Any = None, out: Any = None
) -> Result:
    """Low-rank loss with an exponential in place of the dot product: a positive model of the density ratio.

    L = -2 mean_i f(phi_i, psi_i) + 1/(N (N-1)) sum_{i != j} f(phi_i, psi_j)^2, with f = exp(<phi, psi>/T) (form="dot")
    or exp(-|phi - psi|^2/T) (form="distance").

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
        An exponent <phi, psi>/T above log(largest)/2 (44.36 in float32, 354.9 in float64), as f^2 is formed: the
        message names the largest exponent and the T that would do. Else as in `info_nce`; N = 1.
    TypeError, OverflowError
        As in `info_nce`.

    Notes
    -----
    Cost: 6 N^2 d flops, one sweep (2 N^2 d more where the norms alone do not show that nothing overflows). Memory
    beyond the gradients: O(N) and a tile a thread (distance: copies of phi and psi, centred).

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
    batch, sides = _batch({"phi": phi, "psi": psi}, grad, out)
    n = batch.n
    check_count(n, 2, "N - 1 divides")
    e = _exponential(batch, *sides, form, T)
    wanted = [batch.outs[name] is not None for name in ("phi", "psi")]
    products = [e.s.zeros(batch.outs["phi"], e.s.phi, wanted[0]), e.s.zeros(batch.outs["psi"], e.s.psi, wanted[1])]
    sums = [np.zeros(n) if e.distance and w else None for w in wanted]
    own, others = e.products(1, True, n - 1.0, products, sums)
    terms = {"data": own / n, "pairs": others / (n * (n - 1))}
    loss = -2 * terms["data"] + terms["pairs"]
    finite_loss(batch, loss)
    factor = 2.0 / (n * (n - 1)) / T
    for name, side, product, total in zip(("phi", "psi"), (e.s.phi, e.s.psi), products, sums, strict=True):
        if product is not None:
            _finish_exponential(batch, name, side, product, total, factor)
    return batch.result(loss, terms)


def _finish_exponential(batch: Batch, name: str, side: _Side, product: np.ndarray, sums, factor: float) -> None:
    """dot: factor G Psi; distance: -2 factor (diag(G 1) Phi - G Psi)."""
    if sums is not None:
        for at, rows in side.pieces():
            product[at] -= sums[at, None].astype(rows.dtype) * rows
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
    side = _Side("views", batch.arrays["views"].reshape(n * r, d), d, lazy=False)
    e = _exponential(batch, side, side, form, T)
    wanted = batch.outs["views"] is not None
    product = e.s.zeros(None, side, wanted)
    sums = np.zeros(n * r) if wanted and e.distance else None
    pair_factor = (n - 1) * r / (r - 1)
    own, others = e.products(r, False, pair_factor, (product, None), (sums, None))
    terms = {"data": own / (n * r * (r - 1)), "pairs": others / (n * (n - 1) * r * r)}
    loss = -2 * terms["data"] + terms["pairs"]
    finite_loss(batch, loss)
    target = batch.outs["views"]
    if product is not None and target is not None:  # twice: each pair has both orders
        flat_out = np.empty(product.shape, batch.dtype)
        batch.outs["views"] = flat_out
        _finish_exponential(batch, "views", side, product, sums, 4.0 / (n * (n - 1) * r * r) / T)
        target[...] = flat_out.reshape(n, r, d)
        batch.outs["views"] = target
    return batch.result(loss, terms)


def check_views(n: int, r: int) -> None:
    """ValueError for fewer than 2 inputs or views."""
    if n < 2 or r < 2:
        raise ValueError(f"views: got N = {n} inputs with r = {r} views; allowed: at least 2 of each")
