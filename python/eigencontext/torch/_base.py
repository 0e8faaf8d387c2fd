"""What every loss module shares: options, one autograd function, and where its value and gradients come from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import _device, objectives
from ._distributed import from_all_rows, from_moments, overflow

__all__ = ["Loss"]

#: keyword arguments of objectives that are arrays of the batch, not options of the loss
_NOT_OPTIONS = ("X", "labels", "teacher", "psi", "weights", "grad", "out")


class Loss(torch.nn.Module):
    """A loss of `ec.objectives` as a module: called with its arrays in the same order, a tensor without axes comes out.

    The gradients are computed with the value, for the inputs that require them, and scaled in the backward pass; there
    is no double backward. float32 and float64 tensors are read in place; half and bfloat16 are computed in float32 and
    get gradients of their own dtype. Labels, kernel inputs, weights and the like are constants. Tensors on a CUDA
    device are read there, on torch's current stream, and the value and gradients are there too; embeddings and kernel
    inputs must then be on the same device (labels, weights and numbers may be anywhere).

    Parameters
    ----------
    process_group : torch.distributed.ProcessGroup, optional
        The value is that of all ranks' rows together, the same on every rank; each rank's gradients are those of its
        own rows times the number of ranks, so that the mean over ranks that DistributedDataParallel takes is the full
        batch's gradient. The group must carry CPU tensors (gloo); ``torch.distributed.group.WORLD`` is all ranks.
        None: this process alone.
    **options
        Those of the function of `ec.objectives`.

    Attributes
    ----------
    terms : dict of str to float
        The parts of the last value.
    """

    _objective: str
    #: False where moments serve only some of the options: the rows of all ranks are gathered then
    _by_moments = True

    def __init__(self, *, process_group: Any = None, **options: Any):
        super().__init__()
        allowed = _option_names(getattr(objectives, self._objective))
        for name, value in options.items():
            if name not in allowed:
                raise TypeError(f"{type(self).__name__}: got option {name!r}; allowed: {', '.join(allowed)}")
            _constant(value, name)
        check_options(getattr(objectives, self._objective), self._example(options), options)
        self.options = options
        self.process_group = process_group
        self.terms: dict[str, float] = {}

    @staticmethod
    def _example(options: Mapping[str, Any]) -> dict[str, Any]:
        """A small batch, on which the constructor tries the options."""
        weights: Any = options.get("level_weights")
        width = len(weights) if hasattr(weights, "__len__") else 2
        return {"phi": example_rows(width), "psi": example_rows(width)}

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())

    def _value(self, inputs: dict[str, Any], constants: Mapping[str, Any], objective: Any = None) -> Tensor:
        """The loss of `inputs`, which may get gradients, and `constants`; `objective` where it is not the function."""
        objective = objective or getattr(objectives, self._objective)
        tensors = {name: _tensor(value, name) for name, value in inputs.items()}
        constants = {name: _constant(value, name) for name, value in constants.items() if value is not None}
        grad = [name for name, tensor in tensors.items() if tensor.requires_grad and torch.is_grad_enabled()]
        wide = {name: _wide(tensor.detach()) for name, tensor in tensors.items()}
        rows = max(wide.values(), key=lambda tensor: tensor.ndim)
        double = any(tensor.dtype == torch.float64 for tensor in wide.values() if tensor.ndim)

        def compute() -> tuple[Tensor, list[Tensor | None]]:
            loss, self.terms, found = self._evaluate(objective, wide, constants, grad)
            if not double and abs(loss) > torch.finfo(torch.float32).max:
                raise overflow("float32", wide)
            grads = [_like(tensor, found[name]) if name in grad else None for name, tensor in wide.items()]
            return rows.new_tensor(loss, dtype=torch.float64 if double else torch.float32), grads

        return _Value.apply(compute, *tensors.values())  # without gradients too: it refuses tangents (forward mode)

    def _evaluate(
        self, objective: Any, inputs: dict[str, Tensor], constants: dict[str, Any], grad: list[str]
    ) -> tuple[float, dict[str, float], dict[str, Any]]:
        if self.process_group is None:
            result = objective(**inputs, **constants, **self.options, grad=grad)
            return result.loss, result.terms, result.grads
        by_moments = self._by_moments and hasattr(objective, "from_moments")
        if by_moments and "labels" not in constants:  # whose classes all ranks must know first
            return from_moments(self._objective, inputs, constants, self.options, grad, self.process_group)
        return from_all_rows(objective, inputs, constants, self.options, grad, self.process_group)


class _Value(torch.autograd.Function):
    """The value of a loss; its gradients are computed with it."""

    @staticmethod
    def forward(ctx: Any, compute: Callable[[], tuple[Tensor, list[Tensor | None]]], *inputs: Tensor) -> Tensor:
        value, grads = compute()
        ctx.dtypes = [tensor.dtype for tensor in inputs]
        ctx.save_for_backward(*grads)
        return value

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> Any:  # type: ignore[override]
        if torch.is_grad_enabled():  # the graph of the gradient would silently lack what the loss adds to it
            raise RuntimeError(
                "ec.torch: got create_graph=True; allowed: first derivatives (there is no double backward)"
            )
        # Scaled before they are narrowed: what a gradient scaler makes representable must not vanish.
        pairs = zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        return None, *(None if grad is None else (grad * scale.to(grad)).to(dtype) for grad, dtype in pairs)


def check_options(
    objective: Callable[..., Any], example: Mapping[str, Any], options: Mapping[str, Any], others: Iterable[str] = ()
) -> None:
    """The objective's own checks, before there is a batch: what it says of the options that were given, or of `others`.
    What it says of the example is no matter."""
    try:
        objective(**example, **options, grad=())
    except (ArithmeticError, TypeError, ValueError) as error:
        named = {name for name, value in options.items() if value is not None}
        if str(error).partition(":")[0] in named.union(others):
            raise


def example_rows(width: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((8 + width, width))


def _option_names(objective: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(objective).parameters.values()
    return [p.name for p in parameters if p.kind == p.KEYWORD_ONLY and p.name not in _NOT_OPTIONS]


def _tensor(value: Any, name: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: got {type(value).__name__}; allowed: a torch tensor")
    return _placed(value, name)


def _constant(value: Any, name: str) -> Any:
    """What gets no gradient, checked that nobody expects one."""
    if isinstance(value, Tensor):
        if value.requires_grad:
            raise ValueError(f"{name}: got a tensor that requires grad; allowed: constants (use .detach())")
        return _placed(value, name)
    return value


def _placed(tensor: Tensor, name: str) -> Tensor:
    if tensor.device.type not in _device.DEVICES:
        allowed = "the CPU (use .cpu(), through which gradients flow back) or a CUDA device"
        raise TypeError(f"{name}: got a tensor on {tensor.device}; allowed: {allowed}")
    return tensor


def _like(tensor: Tensor, grad: Any) -> Tensor:
    """The gradient of `tensor`: what an objective made of an array, or the float that it made of a number."""
    return grad.to(tensor.dtype) if isinstance(grad, Tensor) else tensor.new_tensor(grad)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
