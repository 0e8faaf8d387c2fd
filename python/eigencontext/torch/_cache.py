"""The exact gradient of a large batch from micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

__all__ = ["cached_backward"]


def cached_backward(
    loss: Callable[..., Tensor], encoders: Sequence[Callable[[Any], Tensor]], batches: Sequence[Sequence[Any]]
) -> Tensor:
    """Backward pass of a loss of many rows through encoders that see a micro-batch at a time.

    The gradient is that of the loss of all rows, not a mean over micro-batches: all are embedded without a graph, the
    loss gives its gradients with respect to the embeddings, and a second pass of each micro-batch with a graph carries
    them into the encoders. Random numbers (dropout) and buffers (running statistics) are set back for the second pass,
    which therefore repeats the first, and are afterwards what one pass leaves. A batch normalisation still normalises
    by micro-batches.

    Parameters
    ----------
    loss : callable
        Takes the embeddings of all rows, one tensor for each encoder, and returns a tensor without axes: a module of
        `ec.torch`, or any other function. Its own parameters get their gradients too.
    encoders : sequence of callables
        Each maps its part of a micro-batch to rows of embeddings, on the device on which the loss takes them. The same
        one may be there twice.
    batches : sequence of sequences
        The micro-batches, of any sizes; each holds one input for each encoder.

    Returns
    -------
    Tensor
        The value of the loss, without a graph. Gradients were added to the ``.grad`` of the parameters, as by backward.

    Raises
    ------
    ValueError
        No micro-batches, or one with another number of inputs than there are encoders.
    RuntimeError
        An encoder whose second pass differs from its first.

    Notes
    -----
    Cost: two forward passes and one backward pass of the encoders. Memory: the graph of one micro-batch, and the
    embeddings of all rows with their gradients.

    References
    ----------
    Gao, Zhang, Han, Callan, *Scaling deep contrastive learning batch size under memory limited setup*, 2021.

    Examples
    --------
    >>> import torch, eigencontext as ec
    >>> f, g = torch.nn.Linear(5, 3), torch.nn.Linear(4, 3)
    >>> x, a = torch.randn(100, 5), torch.randn(100, 4)
    >>> micro_batches = list(zip(x.split(32), a.split(32)))
    >>> value = ec.torch.cached_backward(ec.torch.SVMELoss(), (f, g), micro_batches)
    >>> f.weight.grad.shape
    torch.Size([3, 5])
    """
    batches = [tuple(batch) for batch in batches]
    if not batches or any(len(batch) != len(encoders) for batch in batches):
        sizes = sorted({len(batch) for batch in batches})
        raise ValueError(f"batches: got {len(batches)} of {sizes} inputs; allowed: one input for each encoder")
    calls = [(encoder, x) for batch in batches for encoder, x in zip(encoders, batch, strict=True)]
    modules = {id(encoder): encoder for encoder in encoders if isinstance(encoder, torch.nn.Module)}
    buffers = [(buffer, buffer.clone()) for module in modules.values() for buffer in module.buffers()]
    states, firsts = [], []
    with torch.no_grad():
        for encoder, x in calls:
            states.append(_random_state())
            firsts.append(encoder(x))
    count = len(encoders)
    embeddings = [torch.cat(firsts[k::count]).requires_grad_() for k in range(count)]
    value = loss(*embeddings)
    value.backward()
    with torch.no_grad():
        for buffer, before in buffers:
            buffer.copy_(before)
    gradients = [_pieces(embeddings[k].grad, firsts[k::count]) for k in range(count)]
    last = {id(encoder): i for i, (encoder, _) in enumerate(calls)}
    end = _random_state()
    for i, (encoder, x) in enumerate(calls):
        _set_random_state(states[i])
        # DistributedDataParallel reduces once, in its last backward pass.
        with nullcontext() if last[id(encoder)] == i else getattr(encoder, "no_sync", nullcontext)():
            _second_pass(encoder, x, firsts[i], gradients[i % count][i // count])
    _set_random_state(end)
    return value.detach()


def _second_pass(encoder: Callable[[Any], Tensor], x: Any, first: Tensor, gradient: Tensor | None) -> None:
    again = encoder(x)
    difference = torch.linalg.vector_norm(again.detach() - first)
    if not difference <= torch.finfo(first.dtype).eps ** 0.5 * torch.linalg.vector_norm(first):
        raise RuntimeError(
            f"encoders: {type(encoder).__name__} gave another result in its second pass; allowed: encoders whose "
            "result depends on their input, parameters, buffers and torch's random numbers alone"
        )
    if again.requires_grad and gradient is not None:
        again.backward(gradient)


def _pieces(gradient: Tensor | None, firsts: list[Tensor]) -> Sequence[Tensor | None]:
    """The rows of the gradient of each micro-batch."""
    return [None] * len(firsts) if gradient is None else gradient.split([len(first) for first in firsts])


def _random_state() -> tuple[Tensor, list[Tensor]]:
    on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if on_gpu else []


def _set_random_state(state: tuple[Tensor, list[Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])
