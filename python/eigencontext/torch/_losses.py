"""One module a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from .. import objectives
from .._arguments import check_number
from ._base import Loss, example_rows

__all__ = [
    "BarlowTwinsLoss",
    "CorrelationLoss",
    "ExponentialLowRankLoss",
    "ExponentialSpectralContrastiveLoss",
    "InfoNCELoss",
    "KISELoss",
    "LowRankLoss",
    "NestedLowRankLoss",
    "RayleighLoss",
    "SVMELoss",
    "SigmoidLoss",
    "SpectralContrastiveLoss",
    "SpectralNonContrastiveLoss",
    "SupervisedMSELoss",
    "VICRegLoss",
]


class _PairLoss(Loss):
    """A loss of two embeddings."""

    def forward(self, phi: Tensor, psi: Tensor) -> Tensor:
        """The loss of two embeddings (N, d).

        Raises
        ------
        TypeError
            No tensors, or tensors on a device other than the CPU or CUDA. Otherwise as the function.
        """
        return self._value({"phi": phi, "psi": psi}, {})


class _WeightedPairLoss(Loss):
    """A loss of two embeddings whose first term is a mean over samples."""

    def forward(self, phi: Tensor, psi: Tensor, *, weights: Any = None) -> Tensor:
        """The loss of two embeddings (N, d) with sample weights (N,) of its first term.

        Raises
        ------
        TypeError
            No tensors, or tensors on a device other than the CPU or CUDA. Otherwise as the function.
        """
        return self._value({"phi": phi, "psi": psi}, {"weights": weights})


class SVMELoss(_WeightedPairLoss):
    """`ec.objectives.svme`: options alpha, beta, eps, ddof; called with phi, psi and weights=.

    Parameters
    ----------
    process_group, **options
        As in `Loss`.

    Examples
    --------
    >>> import torch, eigencontext as ec
    >>> phi, psi = torch.randn(2, 100, 4).unbind()
    >>> loss = ec.torch.SVMELoss(beta=0.5)
    >>> loss(phi.requires_grad_(), psi).backward()
    >>> phi.grad.shape, sorted(loss.terms)
    (torch.Size([100, 4]), ['cov', 'data', 'std'])
    """

    _objective = "svme"


class SpectralNonContrastiveLoss(_WeightedPairLoss):
    """`ec.objectives.spectral_noncontrastive`: options alpha, beta, eps, ddof; called with phi, psi and weights=.

    Parameters
    ----------
    process_group, **options
        As in `Loss`.

    Examples
    --------
    >>> import torch, eigencontext as ec
    >>> ec.torch.SpectralNonContrastiveLoss(beta=2.0)
    SpectralNonContrastiveLoss(beta=2.0)
    """

    _objective = "spectral_noncontrastive"


class VICRegLoss(_WeightedPairLoss):
    """`ec.objectives.vicreg`: options sim, std, cov, eps, ddof, halve_std; called with phi, psi and weights=.

    Parameters
    ----------
    process_group, **options
        As in `Loss`.

    Examples
    --------
    >>> import torch, eigencontext as ec
    >>> loss = ec.torch.VICRegLoss()
    >>> loss(torch.eye(4), torch.eye(4)).shape, loss.terms["sim"]
    (torch.Size([]), 0.0)
    """

    _objective = "vicreg"


class RayleighLoss(_WeightedPairLoss):
    """`ec.objectives.rayleigh`: options alpha, beta, estimator; called with phi, psi and weights=.

    With a process group, estimator="split" takes the first half of each rank's rows, and the second.

    Parameters
    ----------
    process_group, **options
        As in `Loss`.

    Examples
    --------
    >>> import torch, eigencontext as ec
    >>> phi = torch.tensor([[1.0], [-1.0]])
    >>> float(ec.torch.RayleighLoss()(phi, phi))
    0.0
    """

    _objective = "rayleigh"


class LowRankLoss(_WeightedPairLoss):
    """`ec.objectives.low_rank`: options centered, estimator; called with phi, psi (N, d) or (N, r, d), and weights=.

    Parameters
    ----------
    process_group, **options
        As in `Loss`.

    Examples
    --------
    >>> import torch, eigencontext as ec
    >>> phi = torch.tensor([[1.0], [-1.0]])
    >>> float(ec.torch.LowRankLoss(estimator="plugin")(phi, phi))
    -1.0
    """

    _objective = "low_rank"


class NestedLowRankLoss(_WeightedPairLoss):
    """`ec.objectives.nested_low_rank`: its options; called with phi, psi and weights=.

    Options: mode, level_weights, first_mode, centered, estimator.

    Parameters
    ----------
    process_group, **options
        As in `Loss`.

    Examples
    --------
    >>> import torch, eigencontext as ec
    >>> phi = torch.tensor([[1.0], [-1.0]])
    >>> float(ec.torch.NestedLowRankLoss(estimator="plugin", mode="sequential")(phi, phi))
    -1.0
    """

    _objective = "nested_low_rank"


class BarlowTwinsLoss(_PairLoss):
    """`ec.objectives.barlow_twins`: options lambd, eps; called with phi, psi.

    Parameters
    ----------
    process_group, **options
        As in `Loss`.

    Examples
    --------
    >>> import torch, eigencontext as ec
    >>> phi = torch.tensor([[1.0], [-1.0]])
    >>> float(ec.torch.BarlowTwinsLoss(eps=0.0)(phi, phi))
    0.0
    """

    _objective = "barlow_twins"


class CorrelationLoss(_PairLoss):
    """`ec.objectives.correlation` (VAMP-2): option ridge; called with phi (N, d), psi (N, d').

    Parameters
    ----------
    process_group, **options
        As in `Loss`.

    Examples
    --------
    >>> import torch, eigencontext as ec
    >>> phi = torch.tensor([[1.0], [-1.0]])
    >>> round(float(ec.torch.CorrelationLoss()(phi, 3 * phi)), 6)
    -1.0
    """

    _objective = "correlation"


class ExponentialLowRankLoss(_PairLoss):
    """`ec.objectives.exponential_low_rank`: options temperature (a number), form; called with phi, psi.

    With a process group every rank gathers all ranks' rows and computes the whole.

    Parameters
    ----------
    process_group, **options
        As in `Loss`.

    Examples
    --------
    >>> import torch, eigencontext as ec
    >>> x = torch.tensor([[0.0], [100.0]])
    >>> float(ec.torch.ExponentialLowRankLoss(form="distance")(x, x))
    -2.0
    """

    _objective = "exponential_low_rank"


class InfoNCELoss(Loss):
    """`ec.objectives.info_nce`: called with phi, psi.

    With a process group every rank gathers all ranks' rows and computes the whole.

    Parameters
    ----------
    temperature : float or tensor without axes
        T > 0. A tensor that requires grad gets a gradient; a Parameter becomes one of the module.
    process_group
        As in `Loss`.

    Examples
    --------
    >>> import torch, eigencontext as ec
    >>> loss = ec.torch.InfoNCELoss(temperature=torch.nn.Parameter(torch.tensor(0.5)))
    >>> loss(torch.eye(3), torch.eye(3)).backward()
    >>> len(list(loss.parameters())), bool(loss.temperature.grad > 0)
    (1, True)
    """

    _objective = "info_nce"

    def __init__(self, *, temperature: Any = 0.07, process_group: Any = None):
        super().__init__(process_group=process_group)
        if not isinstance(temperature, Tensor):  # one that is learned has its value at each call
            check_number(temperature, "temperature", 0.0, open_low=True)
        self.temperature = temperature

    def forward(self, phi: Tensor, psi: Tensor, *, temperature: Any = None) -> Tensor:
        """The loss of two embeddings (N, d); a temperature given here replaces the module's (exp of a parameter, say).

        Raises
        ------
        TypeError
            No tensors, or tensors on a device other than the CPU or CUDA. Otherwise as the function.
        """
        return self._value(*_with_numbers(phi, psi, temperature=_either(temperature, self.temperature)))


class SigmoidLoss(Loss):
    """`ec.objectives.sigmoid` (SigLIP): called with phi, psi.

    With a process group every rank gathers all ranks' rows and computes the whole.

    Parameters
    ----------
    t, b : float or tensor without axes
        Scale and bias. Tensors that require grad get gradients; Parameters become those of the module.
    process_group
        As in `Loss`.

    Examples
    --------
    >>> import torch, eigencontext as ec
    >>> log_t, b = torch.tensor(2.3, requires_grad=True), torch.tensor(-10.0, requires_grad=True)
    >>> ec.torch.SigmoidLoss()(torch.eye(3), torch.eye(3), t=log_t.exp(), b=b).backward()
    >>> bool(log_t.grad < 0), bool(b.grad < 0)
    (True, True)
    """

    _objective = "sigmoid"

    def __init__(self, *, t: Any = 10.0, b: Any = -10.0, process_group: Any = None):
        super().__init__(process_group=process_group)
        for name, value in (("t", t), ("b", b)):
            if not isinstance(value, Tensor):
                check_number(value, name)
        self.t, self.b = t, b

    def forward(self, phi: Tensor, psi: Tensor, *, t: Any = None, b: Any = None) -> Tensor:
        """The loss of two embeddings (N, d); t and b given here replace the module's.

        Raises
        ------
        TypeError
            No tensors, or tensors on a device other than the CPU or CUDA. Otherwise as the function.
        """
        return self._value(*_with_numbers(phi, psi, t=_either(t, self.t), b=_either(b, self.b)))


class _ViewsLoss(Loss):
    """A loss of several views of each input, which are one tensor."""

    @staticmethod
    def _example(options: Mapping[str, Any]) -> dict[str, Any]:
        return {"views": example_rows(2).reshape(-1, 2, 2)}

    def __call__(self, *views: Any, **weights: Any) -> Tensor:
        if len(views) > 1:
            raise TypeError(
                f"{type(self).__name__}: got {len(views)} arrays; allowed: one of shape (N, r, d), the r views of each "
                "input side by side, as torch.stack([phi, psi], dim=1)"
            )
        return super().__call__(*views, **weights)


class SpectralContrastiveLoss(_ViewsLoss):
    """`ec.objectives.spectral_contrastive`: no options; called with views (N, r, d) and weights=.

    Parameters
    ----------
    process_group
        As in `Loss`.

    Examples
    --------
    >>> import torch, eigencontext as ec
    >>> views = torch.randn(50, 2, 4, requires_grad=True)
    >>> ec.torch.SpectralContrastiveLoss()(views).backward()
    >>> views.grad.shape
    torch.Size([50, 2, 4])
    """

    _objective = "spectral_contrastive"

    def forward(self, views: Tensor, *, weights: Any = None) -> Tensor:
        """The loss of r views (N, r, d) of each input, with weights (N,) of the inputs in its first term.

        Raises
        ------
        TypeError
            No tensors, or tensors on a device other than the CPU or CUDA. Otherwise as the function.
        """
        return self._value({"views": views}, {"weights": weights})


class ExponentialSpectralContrastiveLoss(_ViewsLoss):
    """`ec.objectives.exponential_spectral_contrastive`: options temperature (a number), form; called with views.

    With a process group every rank gathers all ranks' rows and computes the whole.

    Parameters
    ----------
    process_group, **options
        As in `Loss`.

    Examples
    --------
    >>> import torch, eigencontext as ec
    >>> float(ec.torch.ExponentialSpectralContrastiveLoss()(torch.zeros(3, 2, 4)))
    -1.0
    """

    _objective = "exponential_spectral_contrastive"

    def forward(self, views: Tensor) -> Tensor:
        """The loss of r views (N, r, d) of each input.

        Raises
        ------
        TypeError
            No tensors, or tensors on a device other than the CPU or CUDA. Otherwise as the function.
        """
        return self._value({"views": views}, {})


class KISELoss(Loss):
    """`ec.objectives.kise`: one encoder and a dual kernel; called with phi and X, or labels=, or teacher=.

    Options: kernel, bandwidth, degree, coef0, dual, threshold, relative, diagonal, alpha, beta, eps, ddof. With a
    process group every rank gathers all ranks' rows and computes the whole.

    Parameters
    ----------
    process_group, **options
        As in `Loss`.

    Examples
    --------
    >>> import torch, eigencontext as ec
    >>> X = torch.randn(100, 3)
    >>> phi = X[:, :2].clone().requires_grad_()
    >>> ec.torch.KISELoss(kernel="rbf", bandwidth=1.0)(phi, X).backward()
    >>> phi.grad.shape
    torch.Size([100, 2])
    """

    _objective = "kise"
    _by_moments = False

    @staticmethod
    def _example(options: Mapping[str, Any]) -> dict[str, Any]:
        if options.keys() & {"threshold", "relative"}:  # so long that an absolute threshold is below it
            return {"phi": example_rows(2), "teacher": 1e100 * example_rows(2)}
        return {"phi": example_rows(2), "X": example_rows(2)}

    def forward(self, phi: Tensor, X: Any = None, *, labels: Any = None, teacher: Any = None) -> Tensor:
        """The loss of an embedding (N, d) and the batch's rows of X, labels or teacher, as in the function.

        Raises
        ------
        TypeError
            No tensor, or one on a device other than the CPU or CUDA. Otherwise as the function.
        """
        if isinstance(labels, tuple) and len(labels) == 2:
            context, rows = labels

            def of_context(rows: Any, **given: Any) -> Any:
                return objectives.kise(labels=(context, rows), **given)

            return self._value({"phi": phi}, {"X": X, "teacher": teacher, "rows": rows}, of_context)
        return self._value({"phi": phi}, {"X": X, "labels": labels, "teacher": teacher})


class SupervisedMSELoss(Loss):
    """`ec.objectives.supervised_mse`: options balanced, ridge; called with phi and targets, or labels=.

    With a process group and labels every rank gathers all ranks' rows and computes the whole.

    Parameters
    ----------
    process_group, **options
        As in `Loss`.

    Examples
    --------
    >>> import torch, eigencontext as ec
    >>> phi = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    >>> abs(float(ec.torch.SupervisedMSELoss()(phi, labels=torch.tensor([0, 0, 1, 1])))) < 1e-6
    True
    """

    _objective = "supervised_mse"

    @staticmethod
    def _example(options: Mapping[str, Any]) -> dict[str, Any]:
        return {"phi": example_rows(2), "labels": np.arange(len(example_rows(2))) % 2}

    def forward(self, phi: Tensor, targets: Any = None, *, labels: Any = None) -> Tensor:
        """The loss of an embedding (N, d) and targets (N, c) or labels (N,).

        Raises
        ------
        TypeError
            No tensor, or one on a device other than the CPU or CUDA. Otherwise as the function.
        """
        return self._value({"phi": phi}, {"targets": targets, "labels": labels})


def _either(given: Any, own: Any) -> Any:
    return own if given is None else given


def _with_numbers(phi: Tensor, psi: Tensor, **numbers: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs and constants; numbers that are tensors are inputs."""
    inputs = {"phi": phi, "psi": psi} | {name: value for name, value in numbers.items() if isinstance(value, Tensor)}
    return inputs, {name: value for name, value in numbers.items() if name not in inputs}
