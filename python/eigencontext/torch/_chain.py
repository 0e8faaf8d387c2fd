"""The loss of a chain of kernels and samplers, which encodes what the chain asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .. import objectives
from ..objectives._kernels import KERNEL_OPTIONS
from ._base import Loss, check_options, example_rows

__all__ = ["ChainLoss"]


class ChainLoss(Loss):
    """`ec.objectives.chain`, with links in order and the samples drawn here; called with the encoder and x_0.

    A kernel averages over the batch, a sampler moves the inputs. Options: alpha, beta, eps, ddof. With a process group
    every rank gathers all ranks' rows and computes the whole.

    Parameters
    ----------
    links : sequence of dict or callable
        Kernels, as a dict of kernel, bandwidth, degree and coef0 (their inputs are then matrices (N, p)), and samplers,
        which take a batch of inputs and return as many that were drawn from it. The last one closes the chain on x_0.
    process_group, **options
        As in `Loss`.

    Examples
    --------
    >>> import torch, eigencontext as ec
    >>> encoder = torch.nn.Linear(3, 2)
    >>> links = [lambda x: x + 0.1 * torch.randn_like(x), {"kernel": "rbf", "bandwidth": 1.0}]
    >>> loss = ec.torch.ChainLoss(links)
    >>> loss(encoder, torch.randn(100, 3)).backward()
    >>> encoder.weight.grad.shape
    torch.Size([2, 3])
    """

    _objective = "chain"

    def __init__(
        self, links: Sequence[Mapping[str, Any] | Callable[[Any], Any]], *, process_group: Any = None, **options: Any
    ):
        super().__init__(process_group=process_group, **options)
        if not isinstance(links, (list, tuple)) or not links:
            raise ValueError(f"links: got {links!r}; allowed: a list of at least one kernel or sampler")
        for j, link in enumerate(links):
            if not isinstance(link, Mapping) and not callable(link):
                raise TypeError(f"links[{j}]: got {type(link).__name__}; allowed: a dict (kernel) or a callable")
            unknown = [name for name in link if name not in KERNEL_OPTIONS] if isinstance(link, Mapping) else []
            if unknown:
                raise ValueError(f"links[{j}]: got option {unknown[0]!r}; allowed: {', '.join(KERNEL_OPTIONS)}")
        kernels = [(link, example_rows(2), example_rows(2)) for link in links if isinstance(link, Mapping)]
        example = {**self._example(options), "links": kernels}
        check_options(objectives.chain, example, options, KERNEL_OPTIONS)
        self.links = list(links)

    @staticmethod
    def _example(options: Mapping[str, Any]) -> dict[str, Any]:
        return {name: example_rows(2) for name in ("phi", "phi_0", "psi")} | {"links": []}

    def forward(
        self, encoder: Callable[[Any], Tensor], x_0: Any, context_encoder: Callable[[Any], Tensor] | None = None
    ) -> Tensor:
        """The loss of an encoder on a batch.

        Parameters
        ----------
        encoder : callable
            Phi, of a batch of inputs; called once or twice.
        x_0 : tensor or array
            The batch.
        context_encoder : callable, optional
            Psi, of what the last link draws; only where that is a sampler.

        Raises
        ------
        ValueError
            A chain that ends in a sampler without context_encoder, or one that does not with it. Otherwise as the
            function.
        """
        *inner, last = self.links
        closes = not isinstance(last, Mapping)
        if closes != (context_encoder is not None):
            came, allowed = ("None", "an encoder") if closes else ("an encoder", "None")
            raise ValueError(f"context_encoder: got {came}; allowed: {allowed}, as the last link is {last!r}")
        kernels, moved = [], [x_0]  # moved[j + 1]: where kernel j finds x; moved[0]: where Phi does
        with torch.no_grad():
            for link in inner:
                if isinstance(link, Mapping):
                    kernels.append(link)
                    moved.append(x_0)
                else:
                    moved[-1] = link(moved[-1])
            drawn = last(x_0) if closes else None
        phi_0 = encoder(x_0)
        inputs = {"phi": phi_0 if moved[0] is x_0 else encoder(moved[0]), "phi_0": phi_0}
        if context_encoder is not None:
            inputs["psi"] = context_encoder(drawn)
        points = {f"x_{j + 1}": x for j, x in enumerate(moved[1:])}
        if kernels or not closes:
            points["x_0"] = x_0

        def objective(phi: Any, phi_0: Any, psi: Any = None, **given: Any) -> Any:
            start = given.pop("x_0", None)
            links: list[Any] = [(kernel, start, given.pop(f"x_{j + 1}")) for j, kernel in enumerate(kernels)]
            return objectives.chain(phi, phi_0, links if closes else [*links, (last, start)], psi=psi, **given)

        return self._value(inputs, points, objective)
