"""The genuinely pairwise losses: InfoNCE, the sigmoid loss, and the low-rank losses of exponentials."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _device
from .._arguments import check_choice, check_finite, check_number
from ._base import Batch, Result, RowTerms, check_count, device_of, embedding, finite_loss, overflow
from ._kernels import centred, column_means, combined, engine_of, matrix_of_views, scaled_rows, weighted_sum, write_rows

__all__ = ["exponential_low_rank", "exponential_spectral_contrastive", "info_nce", "sigmoid"]

_PIECE = 1 << 12  # rows whose norms are taken together
_BLOCK = 1 << 12  # rows that are read together where they are read by slices


class _Side:
    """The rows of one side: those of an array, or read from an object with len and slicing whenever they are needed."""

    def __init__(self, name: str, source: Any, shape: tuple[int, ...], lazy: bool):
        self.name, self.source, self.shape, self.lazy = name, source, shape, lazy
        self.width, self.group = shape[-1], math.prod(shape[:-1])  # the rows of an input are its views
        self.n = len(source) * self.group
        self.mean: np.ndarray | None = None
        self.dtype: Any = None
        #: on a device, where all rows are in reach
        self.matrix: Any = matrix_of_views(source) if self.group > 1 and device_of(source) != "cpu" else None

    def rows(self, begin: int, end: int) -> np.ndarray:
        first, last = begin // self.group, -(-end // self.group)
        piece: Any = self.source[first:last] if self.matrix is None else self.matrix[begin:end]
        if self.lazy:
            piece = read_rows(piece, f"{self.name}[{first}:{last}]", (min(last, len(self.source)) - first, *self.shape))
        if self.group > 1 and self.matrix is None:
            piece = piece.reshape(-1, self.width)[begin - first * self.group : end - first * self.group]
        if self.mean is not None:
            piece = centred(piece, self.mean)
        return piece if self.dtype is None else piece.astype(self.dtype, copy=False)

    def inputs(self, begin: int, end: int, dtype: np.dtype) -> np.ndarray:
        """Some inputs, with all the views that they have."""
        rows = self.rows(begin * self.group, end * self.group)
        return rows.reshape(end - begin, *self.shape).astype(dtype, copy=False)

    def pieces(self, step: int = _PIECE):
        """(slice, rows) a few thousand rows at a time."""
        for begin in range(0, self.n, step):
            end = min(begin + step, self.n)
            yield slice(begin, end), self.rows(begin, end)

    def squares(self) -> np.ndarray:
        """|row|^2 in float64."""
        if device_of(self.source) != "cpu":
            return np.concatenate([engine_of(rows).row_squares(rows) for _, rows in self.pieces()])
        with np.errstate(over="ignore", invalid="ignore"):
            return np.concatenate([np.einsum("ij,ij->i", rows, rows, dtype=np.float64) for _, rows in self.pieces()])

    def centre(self, mean: np.ndarray) -> None:
        self.mean = mean


def read_rows(piece: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """What a slice of an object returned, checked."""
    piece = embedding(piece, name, len(shape))
    if piece.shape != shape:
        raise ValueError(f"{name}: got shape {piece.shape}; allowed: {shape}")
    check_finite(piece, name)
    return piece


def check_reread(a: Any, name: str) -> None:
    """TypeError for what can be read once."""
    if isinstance(a, Iterator):
        raise TypeError(
            f"{name}: got a {type(a).__name__}, which can be read once; allowed: an array, or an object with len "
            "and slicing, since every row meets every other"
        )


def lazy(a: Any) -> bool:
    """Whether rows are to be read by slices, as they are needed: no array, but something with len and slicing."""
    if isinstance(a, (np.ndarray, list, tuple)) or hasattr(a, "columns") or hasattr(a, "__array_interface__"):
        return False
    if hasattr(a, "__dlpack__") or _device.is_on_device(a):
        return False
    return hasattr(a, "__len__") and hasattr(a, "__getitem__")


def in_memory(a: Any, name: str) -> Any:
    """`a`, or the array of all its rows where they are to be read by slices."""
    check_reread(a, name)
    return np.asarray(a[0 : len(a)]) if lazy(a) else a


def slices_batch(
    inputs: dict[str, Any], grad: Any, out: Any, weights: Any = None, ndim: int = 2
) -> tuple[Batch, tuple[_Side, ...]]:
    """The checked batch and its sides; for rows that are read by slices the batch holds their first row, n times."""
    stand_ins = {}
    for name, a in inputs.items():
        check_reread(a, name)
        if by_slices := lazy(a) and len(a) > 0:
            first = embedding(a[0:1], name, ndim)
        stand_ins[name] = np.broadcast_to(first, (len(a), *first.shape[1:])) if by_slices else a
    batch = Batch(stand_ins, ndim=dict.fromkeys(inputs, ndim), weights=weights, grad=grad, out=out)
    sides = []
    for name, a in inputs.items():
        array, by_slices = batch.arrays[name], stand_ins[name] is not a
        sides.append(_Side(name, a if by_slices else array, array.shape[1:], by_slices))
    return batch, tuple(sides)


def parts_of(batch: Batch, sides: tuple[_Side, ...]) -> Iterator[Batch]:
    """The batch in parts that hold their rows: itself, or a block at a time where a side is read by slices."""
    if not any(side.lazy for side in sides):
        yield batch
        return
    for begin in range(0, batch.n, _BLOCK):
        part = batch.part(slice(begin, begin + _BLOCK))
        part.arrays = {side.name: side.inputs(begin, begin + part.n, batch.dtype) for side in sides}
        yield part


def _sample_weights(batch: Batch) -> np.ndarray | None:
    """The weights with mean 1, float64; None: ones."""
    return None if batch.weights is None else batch.weights * (batch.n / batch.weights.sum())


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
        """What the engine is handed, rows of phi against rows of psi, and which they are; arrays are one block.

        One side against itself: each pair of blocks once.
        """
        step = _BLOCK if self.phi.lazy or self.psi.lazy else max(self.phi.n, self.psi.n)
        for i in range(0, self.phi.n, step):
            rows = self.phi.rows(i, min(i + step, self.phi.n))
            for j in range(i if self.psi is self.phi else 0, self.psi.n, step):
                columns = rows if self.psi is self.phi and j == i else self.psi.rows(j, min(j + step, self.psi.n))
                yield (rows, columns, i, j, self.scale), slice(i, i + step), slice(j, j + step)

    def zeros(self, out: Any, side: _Side, wanted: bool) -> Any:
        """Zeros for the products of one side: in `out` where the engine can write there."""
        if not wanted:
            return None
        if device_of(side.source) != "cpu":
            return _device.View.zeros((side.n, side.width), self.dtype)
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
    if device_of(product) != "cpu":
        return sum(weighted_sum(rows, product[at], np.ones(len(rows))) for at, rows in side.pieces())
    return float(sum(np.einsum("ij,ij->", rows, product[at], dtype=np.float64) for at, rows in side.pieces()))


def _finish(batch: Batch, name: str, product: np.ndarray | None, factor: float) -> None:
    """Writes factor * product, row after row, as the gradient of one input."""
    out = batch.outs[name]
    if out is None or product is None:
        return
    if batch.device != "cpu":
        scaled = combined(RowTerms(phi=(factor, 0.0, 0.0)), product).astype(batch.dtype)
        if not write_rows(scaled, out):
            raise overflow("gradient", batch)
        return
    with np.errstate(over="ignore", invalid="ignore"):
        np.multiply(product.reshape(out.shape), factor, out=out, casting="same_kind")
        total = float(np.sum(out, dtype=np.float64))
    if not math.isfinite(total):
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


def info_nce(
    phi: Any, psi: Any, *, temperature: Any = 0.07, weights: Any = None, grad: Any = None, out: Any = None
) -> Result:
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
    weights : array-like (N,), optional
        Sample weights, normalised to sum 1: of the cross-entropies of each pair (all rows stay candidates).
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
        Shapes that do not agree, T <= 0, NaN or inf, weights that are negative or all zero.
    TypeError
        Embeddings that are not floating point, or not all on one device; an iterator, which can be read once.
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
    batch, (a, b) = slices_batch({"phi": phi, "psi": psi}, arrays, out, weights)
    n, w = batch.n, _sample_weights(batch)
    s = _Scores(batch, a, b, 1.0 / T)
    tops, sums, pair = np.full((2, n), -np.inf), np.zeros((2, n)), np.empty(n)
    for rows, i, j in s.blocks():
        batch.engine.log_sums(*rows, tops[0, i], sums[0, i], tops[1, j], sums[1, j], pair[i])
    log_sums = tops + np.log(sums)
    share = np.full(n, 1 / n) if w is None else w / n
    terms = {name: float(share @ (log_sums[k] - pair)) for k, name in enumerate(("phi", "psi"))}
    loss = (terms["phi"] + terms["psi"]) / 2
    finite_loss(batch, loss)
    grads: dict[str, float | None] = {"temperature": None}
    if arrays or numbers:
        H = s.zeros(batch.outs["phi"], s.phi, "phi" in arrays or bool(numbers))
        K = s.zeros(batch.outs["psi"], s.psi, "psi" in arrays)
        for rows, i, j in s.blocks():
            weights_of = _at(w, i), _at(w, j)
            batch.engine.softmax_products(*rows, log_sums[0, i], log_sums[1, j], *weights_of, _at(H, i), _at(K, j))
        factor = 1.0 / (2 * n * T)
        if numbers:
            grads["temperature"] = -factor / T * _dots(s.phi, H)
        for name, product in (("phi", H), ("psi", K)):
            _finish(batch, name, product, factor)
    return _result(batch, loss, terms, grads)


def sigmoid(
    phi: Any,
    psi: Any,
    *,
    t: Any = 10.0,
    b: Any = -10.0,
    weights: Any = None,
    grad: Any = None,
    out: Any = None,
) -> Result:
    """Sigmoid loss (SigLIP): every pair of rows is a binary decision, partners or not.

    L = (1/N) sum_i sum_j log(1 + exp(-z_ij Z_ij)), Z = t Phi Psi^T + b, z = +1 for i = j and -1 else.

    Parameters
    ----------
    phi, psi : arrays (N, d)
        Embeddings of the two sides, float32 or float64 (float16 is computed in float32), any strides; used as given
        (the authors normalise them).
    t, b : float
        Scale and bias; the authors start at 10 and -10 (and learn log t).
    weights : array-like (N,), optional
        Sample weights, normalised to sum 1: a decision on rows i and j counts (w_i + w_j)/2 in place of 1/N.
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
    batch, (left, right) = slices_batch({"phi": phi, "psi": psi}, arrays, out, weights)
    s, w = _Scores(batch, left, right, t, abs(b)), _sample_weights(batch)
    H = s.zeros(batch.outs["phi"], s.phi, "phi" in arrays or "t" in numbers)
    K = s.zeros(batch.outs["psi"], s.psi, "psi" in arrays)
    total = gradient = 0.0
    for rows, i, j in s.blocks():
        part = batch.engine.sigmoid_products(*rows, b, _at(w, i), _at(w, j), _at(H, i), _at(K, j))
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
    engine: Any

    @property
    def distance(self) -> bool:
        return self.offsets[0] is not None

    def products(self, pair_factor: float, weights: np.ndarray | None, outs, sums) -> tuple[float, float]:
        """The sums of f within inputs and of f^2 between them; adds G Psi, G^T Phi to `outs`, G 1, G^T 1 to `sums`."""
        same, group, pairs, others = self.s.phi is self.s.psi, self.s.phi.group, 0.0, 0.0
        for rows, i, j in self.s.blocks():
            own = same and i == j
            offsets = (_at(self.offsets[0], i), _at(self.offsets[1], j))
            out, total = (_at(outs[0], i), _at(outs[1], j)), (_at(sums[0], i), _at(sums[1], j))
            if own:
                out, total = (out[0], None), (total[0], None)
            arguments = (*rows, *offsets, group, own, pair_factor, _at(weights, i), *out, *total)
            part = self.engine.exponential_products(*arguments)
            times = 2 if same and not own else 1
            pairs, others = pairs + times * part[0], others + times * part[1]
        return pairs, others


def _exponential(batch: Batch, phi: _Side, psi: _Side, form: str, T: float) -> _Exponential:
    if form == "dot":
        s = _Scores(batch, phi, psi, 2.0 / T)
        _refuse_overflow(batch, s, T, own=psi is not phi)
        return _Exponential(s, (None, None), batch.engine)
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
    return _Exponential(s, offsets, batch.engine)


def _refuse_overflow(batch: Batch, s: _Scores, T: float, own: bool) -> None:
    """exp(2 <phi, psi>/T) must fit: where the norms do not promise it, the largest exponent is looked for."""
    limit = math.log(float(np.finfo(batch.dtype).max)) / 2
    if s.bound / 2 <= limit:
        return
    largest = max(batch.engine.largest_score(*rows, own) for rows, _, _ in s.blocks()) / 2
    if largest > limit:
        enough = 1.001 * T * largest / limit  # also when rounded to the digits that are shown
        raise ValueError(
            f"temperature: got {T:g}, with which the largest exponent <phi, psi>/T is {largest:.4g}; allowed: "
            f"exponents up to {limit:.4g} in {batch.dtype}, that is T >= {enough:.4g}"
        )


def exponential_low_rank(
    phi: Any,
    psi: Any,
    *,
    temperature: Any = 1.0,
    form: str = "dot",
    weights: Any = None,
    grad: Any = None,
    out: Any = None,
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
    weights : array-like (N,), optional
        Sample weights, normalised to sum 1: of the first term.
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
    batch, (a, b) = slices_batch({"phi": phi, "psi": psi}, grad, out, weights)
    n = batch.n
    check_count(n, 2, "N - 1 divides")
    e = _exponential(batch, a, b, form, T)
    wanted = [batch.outs[name] is not None for name in ("phi", "psi")]
    products = [e.s.zeros(batch.outs["phi"], e.s.phi, wanted[0]), e.s.zeros(batch.outs["psi"], e.s.psi, wanted[1])]
    sums = [np.zeros(n) if e.distance and w else None for w in wanted]
    own, others = e.products(n - 1.0, _sample_weights(batch), products, sums)
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
            if device_of(rows) != "cpu":
                write_rows(scaled_rows(rows, -sums[at]), product[at], accumulate=True)
            else:
                product[at] -= sums[at, None].astype(rows.dtype) * rows
        factor *= 2
    _finish(batch, name, product, factor)


def exponential_spectral_contrastive(
    views: Any, *, temperature: Any = 1.0, form: str = "dot", weights: Any = None, grad: Any = None, out: Any = None
) -> Result:
    """Spectral contrastive loss with an exponential in place of the dot product.

    L = -2 mean_{i, j != k} f(a_ij, a_ik) + mean_{i != i', j, k} f(a_ij, a_i'k)^2 for r views a_ij of N inputs, with
    f = exp(<a, b>/T) (form="dot") or exp(-|a - b|^2/T) (form="distance").

    Parameters
    ----------
    views : array (N, r, d)
        Embeddings of r >= 2 views of each of N >= 2 inputs; as in `info_nce`, an object with len and slicing is read a
        block at a time.
    temperature, form
        As in `exponential_low_rank`.
    weights : array-like (N,), optional
        Weights of the inputs in the first term, normalised to sum 1.
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
    Cost: 3 (N r)^2 d flops, one sweep: each pair of rows is scored once. Memory: as in `exponential_low_rank`.

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
    batch, (side,) = slices_batch({"views": views}, grad, out, weights, ndim=3)
    n, r, _ = batch.arrays["views"].shape
    check_views(n, r)
    e = _exponential(batch, side, side, form, T)
    target = batch.outs["views"]
    product = e.s.zeros(None, side, target is not None)
    sums = np.zeros(n * r) if target is not None and e.distance else None
    w = _sample_weights(batch)
    pairs = None if w is None else np.repeat(w, r)
    own, others = e.products((n - 1) * r / (r - 1), pairs, (product, product), (sums, sums))
    terms = {"data": own / (n * r * (r - 1)), "pairs": others / (n * (n - 1) * r * r)}
    loss = -2 * terms["data"] + terms["pairs"]
    finite_loss(batch, loss)
    if product is not None:  # twice: each pair has both orders
        _finish_exponential(batch, "views", side, product, sums, 4.0 / (n * (n - 1) * r * r) / T)
    return batch.result(loss, terms)


def check_views(n: int, r: int) -> None:
    """ValueError for fewer than 2 inputs or views."""
    if n < 2 or r < 2:
        raise ValueError(f"views: got N = {n} inputs with r = {r} views; allowed: at least 2 of each")
