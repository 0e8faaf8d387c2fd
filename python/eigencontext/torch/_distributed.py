"""Losses of all ranks' rows: from the moments of all ranks where those suffice, else from the rows themselves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from .. import _device, objectives
from ..objectives import Moments
from ..objectives._base import on_host

__all__ = ["from_all_rows", "from_moments", "overflow"]

Found = tuple[float, dict[str, float], dict[str, Any]]


def from_moments(
    name: str,
    inputs: dict[str, Tensor],
    constants: dict[str, Any],
    options: dict[str, Any],
    grad: list[str],
    group: Any,
) -> Found:
    """Value, terms, and the gradients of this rank's rows times the number of ranks."""
    rows = list(inputs.values())
    if "targets" in constants:
        rows.append(torch.as_tensor(constants["targets"]).to(rows[0]))
    weights = constants.get("weights")
    weights = None if weights is None else torch.as_tensor(weights)
    split = options.get("estimator") == "split"
    middle = len(rows[0]) // 2
    parts = [slice(0, middle), slice(middle, None)] if split else [slice(None)]
    chunks = [([a[part] for a in rows], None if weights is None else weights[part]) for part in parts]
    accs = [_full_moments(name, chunk, w, options, group) for chunk, w in chunks]
    full = getattr(objectives, name).from_moments(accs if split else accs[0], **options)
    if not math.isfinite(full.loss):
        raise overflow("float64", inputs)
    grads: dict[str, Any] = {}
    if name == "spectral_contrastive":
        grads = {"views": full.grad(*rows, weights=weights)} if grad else {}
    elif grad:
        which = [{"half": half} if split else {} for half in range(len(parts))]
        found = [full.grad(*chunk, weights=w, grad=grad, **h) for (chunk, w), h in zip(chunks, which, strict=True)]
        grads = {key: _joined([part[i] for part in found]) for i, key in enumerate(inputs) if key in grad}
    ranks = dist.get_world_size(group)
    return full.loss, full.terms, {key: array.mul_(ranks) for key, array in grads.items()}


def overflow(dtype: str, inputs: dict[str, Tensor]) -> OverflowError:
    """The error for a value that does not fit; names the scale of the embeddings."""
    scale = ", ".join(f"max |{name}| = {float(values.abs().max()):.3g}" for name, values in inputs.items())
    return OverflowError(f"loss: does not fit {dtype} at the scale of the embeddings ({scale})")


def _full_moments(name: str, rows: list[Tensor], weights: Any, options: dict[str, Any], group: Any) -> Moments:
    """The moments of all ranks' rows."""
    d_psi = rows[-1].shape[-1] if name in ("correlation", "supervised_mse") else None
    acc = Moments(rows[0].shape[-1], name, d_psi)
    acc.update(*rows, weights=weights)
    acc = _all_reduced(acc, group)
    if options.get("centered") and options.get("estimator", "u") == "u":
        acc = acc.centered(options.get("level_weights"), options.get("mode", "joint"))
        acc.update(*rows, weights=weights)
        acc = _all_reduced(acc, group)
    return acc


def _all_reduced(acc: Moments, group: Any) -> Moments:
    """Merged in the order of the ranks, on every rank: the same bits everywhere, two sets of moments at a time."""
    found: list[Any] = []
    for rank in range(dist.get_world_size(group)):
        box: list[Any] = [acc.to_bytes() if rank == dist.get_rank(group) else None]
        dist.broadcast_object_list(box, src=dist.get_global_rank(group, rank), group=group)
        found.append(Moments.from_bytes(box[0]))
        if rank:
            found[0].merge(found.pop())
    return found[0]


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def from_all_rows(
    objective: Any,
    inputs: dict[str, Tensor],
    constants: dict[str, Any],
    options: dict[str, Any],
    grad: list[str],
    group: Any,
) -> Found:
    """The same where every row meets every other: each rank gathers all rows and computes the whole."""
    given = {**inputs, **constants}
    rows = {name: np.asarray(on_host(value)) for name, value in given.items() if _device.axes_of(value)}
    numbers = {name: value for name, value in given.items() if name not in rows}
    ranks, rank = dist.get_world_size(group), dist.get_rank(group)
    every: list[Any] = [None] * ranks
    dist.all_gather_object(every, rows, group=group)
    whole = {name: _beside(np.concatenate([part[name] for part in every]), given[name]) for name in rows}
    result = objective(**whole, **numbers, **options, grad=grad)
    grads = {}
    for name in grad:
        found = result.grads[name]
        if name in rows:  # numbers have the same gradient on every rank, which is its mean
            begin = sum(len(part[name]) for part in every[:rank])
            found = found[begin : begin + len(rows[name])] * ranks
        grads[name] = found
    return result.loss, result.terms, grads


def _beside(array: np.ndarray, value: Any) -> Any:
    """As a tensor where `value` is."""
    return torch.from_numpy(array).to(value) if isinstance(value, Tensor) else array
