"""What every objective shares: checks of embeddings, weights and outputs; results; gradients chunk by chunk."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .. import _device
from .._arguments import check_finite, check_integer, output_like, real_array, vector

__all__ = ["Batch", "FullBatch", "Result", "RowTerms", "check_count", "check_labels", "finite_loss", "offdiag"]


@dataclass(frozen=True, eq=False)
class Result:
    """The value of an objective and its gradients.

    Attributes
    ----------
    loss : float
        The value, computed in float64.
    terms : dict of str to float
        The parts that the value is made of, before their weights.
    grads : dict
        The gradient with respect to each input, by name, in that input's shape, dtype and kind of array; None where it
        was not asked for. ``result.grad_phi`` is ``result.grads["phi"]``.
    """

    loss: float
    terms: dict[str, float]
    grads: dict[str, Any] = field(repr=False)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("grad_") and name[5:] in self.grads:
            return self.grads[name[5:]]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}; its gradients: {', '.join(self.grads)}")

    def __float__(self) -> float:
        return self.loss


class Batch:
    """The checked inputs of one call, and where its gradients go.

    `arrays[name]` are NumPy arrays of one dtype (float32 or float64), viewed without a copy where that is possible, or
    views of device memory; `outs[name]` are writable arrays of that dtype, or None where no gradient is wanted;
    `engine` is what computes on them.

    Parameters
    ----------
    inputs : dict of str to array
        The embeddings, by the user's names, in the order of the call. All have the same first axis.
    ndim : dict of str to int
        The number of axes of those that are not matrices.
    same_width : bool
        Whether the last axes must agree as well.
    weights : array-like (N,), optional
        Sample weights, not negative, not all zero.
    grad : sequence of str, optional
        The inputs whose gradients are wanted; all of them by default, none if empty.
    out : dict or sequence of arrays, optional
        Memory for the gradients: by name, or in the order of the inputs.
    chunk : bool
        Whether these are some rows of a batch: their weights may all be zero.
    """

    def __init__(
        self,
        inputs: Mapping[str, Any],
        *,
        ndim: Mapping[str, int] | None = None,
        same_width: bool = True,
        weights: Any = None,
        grad: Sequence[str] | None = None,
        out: Any = None,
        differentiable: Sequence[str] | None = None,
        chunk: bool = False,
    ):
        self._given = dict(inputs)
        arrays = {name: embedding(value, name, (ndim or {}).get(name, 2)) for name, value in inputs.items()}
        self.device = _device.one_device({device_of(array) for array in arrays.values()}, ", ".join(arrays))
        self.engine = _device.engine(self.device)
        dtype = np.result_type(*(array.dtype for array in arrays.values()))
        self.dtypes = {name: array.dtype for name, array in arrays.items()}
        self.arrays = {name: array.astype(dtype, copy=False) for name, array in arrays.items()}
        self._inputs = self.arrays
        self.dtype = dtype
        names = list(arrays)
        self.n = arrays[names[0]].shape[0]
        for name in names[1:]:
            _agree(arrays, names[0], name, same_width)
        self.weights = None if weights is None else check_weights(weights, self.n, chunk)
        self.names = list(differentiable) if differentiable is not None else names
        given = _outputs(out, self.names)
        wanted = self.names if grad is None else _wanted(grad, self.names)
        self._user_out = {name: given.get(name) for name in wanted}
        self.outs: dict[str, np.ndarray | None] = {name: None for name in self.names}
        for name in wanted:
            self.outs[name] = self._output(name, given.get(name))

    def _output(self, name: str, out: Any) -> Any:
        if out is None:
            return empty_like(self.arrays[name])
        array = output_array(out, f"out[{name!r}]", self.arrays[name].shape, self.dtypes[name])
        where = {device_of(array), self.device}
        if len(where) > 1 or (self.device == "cuda" and array.dtype != self.dtype):
            raise ValueError(f"out[{name!r}]: got memory of another device or dtype; allowed: that of the inputs")
        written = {f"out[{key!r}]": values for key, values in self.outs.items() if values is not None}
        for other, values in {**self.arrays, **written}.items():
            if _share(array, values):
                raise ValueError(f"out[{name!r}]: got memory that it shares with {other}; allowed: memory of its own")
        return array if array.dtype == self.dtype else np.empty(array.shape, self.dtype)

    def part(self, rows: slice) -> Batch:
        """Some rows of this batch; their gradients go to the same rows of its outputs."""
        part = copy.copy(self)
        part.arrays = {name: array[rows] for name, array in self.arrays.items()}
        part.outs = {name: None if out is None else out[rows] for name, out in self.outs.items()}
        part.weights = None if self.weights is None else self.weights[rows]
        part.n = next(iter(part.arrays.values())).shape[0]
        return part

    def beside(self, psi: Any) -> Batch:
        """This batch of phi with a psi that has no gradient."""
        pair = copy.copy(self)
        pair.arrays = {**self.arrays, "psi": placed(psi, self.device)}
        return pair

    def check_finite(self) -> None:
        """ValueError naming the first NaN or inf of the inputs: asked when a sum over them is not finite."""
        for name, array in self.arrays.items():
            (check_finite if self.device == "cpu" else _device.check_finite)(array, name)

    def scale(self) -> str:
        """The largest absolute value of each input: for messages."""
        tops = {name: np.abs(_device.on_host(array)).max() for name, array in self._inputs.items()}
        return ", ".join(f"max |{name}| = {top:.3g}" for name, top in tops.items())

    def result(self, loss: float, terms: dict[str, float]) -> Result:
        """The result of the call: gradients in the kind and dtype of the inputs, or in the memory that was given."""
        grads: dict[str, Any] = {}
        for name, array in self.outs.items():
            if array is None:
                grads[name] = None
                continue
            user = self._user_out.get(name)
            if user is None:
                kind = (output_like if self.device == "cpu" else _device.output_like)(self._given[name])
                grads[name] = kind(array.astype(self.dtypes[name], copy=False))
                continue
            if self.device == "cpu":
                target = real_array(user, name, finite=False)
                if not np.shares_memory(target, array):
                    target[...] = array
            grads[name] = user
        return Result(float(loss), terms, grads)


@dataclass
class RowTerms:
    """One side's gradient rows (csrc/objectives/rows.hpp): b P + c Q + constant + phi_factor b + psi_factor c + ...

    A factor is (constant, times the row's weight, times the row's dot product <b, c>).
    """

    P: np.ndarray | None = None
    Q: np.ndarray | None = None
    constant: np.ndarray | None = None
    phi: tuple[float, float, float] = (0.0, 0.0, 0.0)
    psi: tuple[float, float, float] = (0.0, 0.0, 0.0)
    columns_phi: np.ndarray | None = None
    columns_psi: np.ndarray | None = None
    level_factor: float = 0.0


@dataclass
class FullBatch:
    """The value of an objective on a full batch, and the rows of its gradient for any chunk of it.

    Attributes
    ----------
    loss, terms
        As in `Result`.
    n : int
        The number of rows of the full batch.
    """

    loss: float
    terms: dict[str, float]
    n: int
    rows: dict[str, RowTerms] = field(repr=False)
    means: tuple[np.ndarray | None, np.ndarray | None] = field(default=(None, None), repr=False)
    levels: np.ndarray | None = field(default=None, repr=False)
    joint: bool = True
    same_width: bool = True
    differentiable: tuple[str, ...] = ("phi", "psi")
    contexts: bool = False

    def grad(self, phi: Any, psi: Any, *, weights: Any = None, out: Any = None, grad: Sequence[str] | None = None):
        """The rows of the full batch's gradient that belong to these rows of the embeddings.

        Parameters
        ----------
        phi, psi : arrays (n, d)
            A chunk of the rows that the moments were taken of.
        weights : array-like (n,), optional
            Their sample weights, exactly where `Moments.update` had them (not normalised here: the full batch is).
        out, grad
            As in the objective.

        Returns
        -------
        tuple of arrays
            In the order of the inputs; None where not asked for.
        """
        batch = Batch(
            {"phi": phi, "psi": psi},
            ndim={"psi": _device.axes_of(psi)} if self.contexts else None,
            same_width=self.same_width,
            weights=weights,
            grad=grad,
            out=out,
            differentiable=self.differentiable,
            chunk=True,
        )
        self.into(batch)
        return tuple(batch.result(self.loss, self.terms).grads.values())

    def into(self, batch: Batch) -> None:
        """Writes the gradients that `batch` wants."""
        wanted = {name: out for name, out in batch.outs.items() if out is not None}
        for side in wanted:
            check_terms(self.rows[side], batch)
        phi, psi = batch.arrays["phi"], batch.arrays["psi"]
        if psi.ndim == 2:
            finite = not wanted or self._call(batch, phi, psi, self.rows, wanted)
        else:
            finite = True
            for j in range(psi.shape[1]):
                rows = dict(self.rows)
                if j > 0:  # what does not depend on the context is there already
                    rows["phi"] = replace(rows["phi"], P=None, constant=None)
                for side, out in wanted.items():
                    target = {side: out if side == "phi" else out[:, j]}
                    finite &= self._call(batch, phi, psi[:, j], rows, target, accumulate=side == "phi" and j > 0)
        if not finite:
            batch.check_finite()
            raise overflow("gradient", batch)

    def _call(self, batch, phi, psi, rows, wanted, accumulate=False) -> bool:
        return batch.engine.gradient_rows(
            phi,
            psi,
            *self.means,
            batch.weights,
            self.levels,
            self.joint,
            vars(rows["phi"]) if "phi" in wanted else {},
            vars(rows["psi"]) if "psi" in wanted else {},
            wanted.get("phi"),
            wanted.get("psi"),
            accumulate,
        )


def check_terms(terms: RowTerms, batch: Batch) -> None:
    """OverflowError where a small matrix of the gradient left float64."""
    for part in (terms.P, terms.Q, terms.constant, terms.columns_phi, terms.columns_psi):
        if part is not None and not np.isfinite(part).all():
            raise overflow("gradient", batch)


def overflow(what: str, batch: Batch) -> OverflowError:
    """The error for a value that does not fit; names the scale of the embeddings."""
    return OverflowError(f"{what}: does not fit {batch.dtype} at the scale of the embeddings ({batch.scale()})")


def finite_loss(batch: Batch, loss: float) -> None:
    """Finds out why a loss is not finite: bad input (ValueError) or a scale that does not fit (OverflowError)."""
    if not np.isfinite(loss):
        batch.check_finite()
        raise OverflowError(f"loss: does not fit float64 at the scale of the embeddings ({batch.scale()})")


def embedding(a: Any, name: str, ndim: int = 2) -> Any:
    """`a` as an array of float32 or float64: NumPy's, or a view of device memory.

    float16 and bfloat16 become float32 (on a device torch's and CuPy's do), other kinds are a TypeError.
    """
    if _device.package(a) == "torch":
        if a.device.type not in _device.DEVICES:
            where = "on a CUDA device or on the CPU (use .cpu())"
            raise TypeError(f"{name}: got a torch tensor on {a.device}; allowed: tensors {where}")
        a = a.detach()
        if str(a.dtype) == "torch.bfloat16" or (a.device.type == "cuda" and str(a.dtype) == "torch.float16"):
            a = a.float()
    if _device.is_on_device(a):
        half = _device.dtype_of(a) == np.float16 and hasattr(a, "astype")
        return _device.array(a.astype(np.float32) if half else a, name, ndim)
    array = real_array(a, name, ndim, finite=False)
    kind = np.asarray(a).dtype.kind
    if kind != "f":
        raise TypeError(f"{name}: got dtype {np.asarray(a).dtype}; allowed: floating point embeddings")
    return array


def device_of(array: Any) -> str:
    """Where an array that `embedding` made is."""
    return "cuda" if isinstance(array, _device.View) else "cpu"


def placed(array: Any, device: str) -> Any:
    """A NumPy array on a device; what is on it already stays."""
    return array if device_of(array) == device else _device.View.of(_device.engine(device).to_device(array))


def empty_like(array: Any) -> Any:
    """New memory of the shape and dtype of `array`, on its device."""
    return (np.empty if device_of(array) == "cpu" else _device.View.zeros)(array.shape, array.dtype)


def output_array(out: Any, name: str, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """`out` as a writable array that shares its memory."""
    if _device.is_on_device(out):
        view = _device.View.of(out)
        if view.shape != shape or view.dtype != dtype or _overlaps_itself(view.at):
            raise ValueError(f"{name}: got {view.dtype} of shape {view.shape}; allowed: {dtype} of shape {shape}")
        if not view.at.flags.writeable:
            raise ValueError(f"{name}: got read-only memory; allowed: a writable array")
        return view
    array = out if isinstance(out, np.ndarray) else np.asarray(out.detach() if hasattr(out, "detach") else out)
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{name}: got {array.dtype} of shape {array.shape}; allowed: {dtype} of shape {shape}")
    if not array.flags.writeable or any(step % array.itemsize for step in array.strides) or _overlaps_itself(array):
        raise ValueError(f"{name}: got read-only, unaligned or self-overlapping memory; allowed: a writable array")
    return array


def on_host(a: Any) -> Any:
    """`a`, a constant as long as the batch, copied from a device where it is on one."""
    a = a.detach() if hasattr(a, "detach") else a
    return _device.on_host(a) if _device.is_on_device(a) else a


def check_weights(weights: Any, n: int, chunk: bool = False) -> np.ndarray:
    """Sample weights: float64, (n,), not negative, not all zero unless they are those of a chunk."""
    w = vector(on_host(weights), "weights", n)
    if w.min() < 0:
        raise ValueError(f"weights: got {w.min():g} at [{int(w.argmin())}]; allowed: numbers >= 0")
    if w.max() == 0 and not chunk:
        raise ValueError("weights: got zeros only; allowed: at least one number > 0")
    return w


def check_labels(labels: Any, name: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(N,) class numbers 0 .. C-1 and (C,) counts. A class seen once is a ValueError."""
    y = np.asarray(on_host(labels))
    if y.ndim != 1 or y.shape[0] != n:
        raise ValueError(f"{name}: got shape {y.shape}; allowed: ({n},), one label for each row of phi")
    if y.dtype.kind not in "iubUSO":
        raise TypeError(f"{name}: got dtype {y.dtype}; allowed: integers, bool or strings")
    classes, numbers, counts = np.unique(y, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        raise ValueError(f"{name}: got class {classes[counts.argmin()]!r} once; allowed: every class at least twice")
    return numbers.reshape(-1), counts


def check_count(n: int, least: int, why: str) -> None:
    """ValueError where an estimator needs more rows."""
    if n < least:
        raise ValueError(f"phi: got N = {n}; allowed: N >= {least} ({why})")


def offdiag(S: np.ndarray) -> np.ndarray:
    """S with zeros on the diagonal."""
    S = S.copy()
    np.fill_diagonal(S, 0.0)
    return S


def check_rows(value: Any, name: str) -> int:
    """A positive number of rows or columns."""
    return check_integer(value, name, 1)


# -- details -----------------------------------------------------------------------------------------------------------


def _agree(arrays: Mapping[str, np.ndarray], first: str, second: str, same_width: bool) -> None:
    a, b = arrays[first].shape, arrays[second].shape
    if a[0] != b[0]:
        raise ValueError(f"{second}: got shape {b}; allowed: {a[0]} rows as in {first}, which has shape {a}")
    if same_width and a[-1] != b[-1]:
        raise ValueError(f"{second}: got shape {b}; allowed: {a[-1]} features as in {first}, which has shape {a}")


def _wanted(grad: Sequence[str], names: Sequence[str]) -> list[str]:
    names_given = [grad] if isinstance(grad, str) else list(grad)
    for name in names_given:
        if name not in names:
            raise ValueError(f"grad: got {name!r}; allowed: {', '.join(map(repr, names))}")
    return names_given


def _outputs(out: Any, names: Sequence[str]) -> dict[str, Any]:
    if out is None:
        return {}
    if isinstance(out, Mapping):
        for name in out:
            if name not in names:
                raise ValueError(f"out: got {name!r}; allowed: {', '.join(map(repr, names))}")
        return dict(out)
    if isinstance(out, (tuple, list)):
        if len(out) != len(names):
            raise ValueError(f"out: got {len(out)} arrays; allowed: {len(names)}, for {', '.join(names)}")
        return dict(zip(names, out, strict=True))
    if len(names) == 1:
        return {names[0]: out}
    raise TypeError(f"out: got {type(out).__name__}; allowed: a dict or a tuple of arrays for {', '.join(names)}")


def _share(a: Any, b: Any) -> bool:
    """Whether two arrays share memory; those of a device have other addresses than the host's."""
    a, b = (x.at if isinstance(x, _device.View) else x for x in (a, b))
    return bool(np.shares_memory(a, b))


def _overlaps_itself(array: np.ndarray) -> bool:
    """Whether two entries may lie in one place: an axis steps over less than the closer axes span."""
    span = array.itemsize
    for step, size in sorted((abs(step), size) for step, size in zip(array.strides, array.shape, strict=True)):
        if size > 1 and step < span:
            return True
        span += (size - 1) * step
    return False
