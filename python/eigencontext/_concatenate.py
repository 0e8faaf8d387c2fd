"""The function spaces of several spectra joined: features side by side, made orthonormal again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _device
from ._arguments import output_like
from ._spectrum import Spectrum
from .contexts._mixture import one_for_each


@dataclass(eq=False)
class Concatenation:
    """Orthonormal functions that span what several spectra span together.

    Attributes
    ----------
    left : ndarray, (n, d)
        Values at the fitted inputs: mean 0 and orthonormal under p_x, shared directions first.
    shares : ndarray, (d,)
        Of each function, the sum over the spectra of its squared projection, in (0, r]: r where it lies in all of them,
        1 where it lies in one and is orthogonal to the others.
    p_x : ndarray, (n,)
    spectra : list of Spectrum
    """

    left: np.ndarray
    shares: np.ndarray
    p_x: np.ndarray
    spectra: list[Spectrum]
    rotation: np.ndarray

    def transform(self, X_new: Any) -> np.ndarray:
        """The functions at new inputs, (n_new, d): one X_new for all spectra, or a list with one for each."""
        each = one_for_each(
            X_new, [spectrum.conditional.axes if spectrum.conditional else 0 for spectrum in self.spectra]
        )
        parts = [_device.on_host(s.transform(X))[:, s.extendable] for s, X in zip(self.spectra, each, strict=True)]
        return _output_like(each[0])(np.hstack(parts) @ self.rotation)

    def __repr__(self) -> str:
        n, d = self.left.shape
        return f"<Concatenation of {len(self.spectra)} spectra: {d} functions of {n} inputs>"


def concatenate(spectra: Sequence[Spectrum]) -> Concatenation:
    """Join the function spaces of several spectra of the same inputs.

    Parameters
    ----------
    spectra : sequence of Spectrum
        Of the same inputs, with the same p_x. Functions whose s_i is below the residual floor are left out, since they
        can't be extended to new inputs.

    Returns
    -------
    Concatenation
        At most the sum of the k_j functions: directions that rounding alone tells from the others are dropped. Cost
        O(n d^2) flops, memory 4 n d float64 beyond the spectra, d = sum of the k_j.

    Raises
    ------
    TypeError, ValueError
        Something else than spectra; none; different inputs or marginals (which).

    References
    ----------
    R. Zhai, "Contextures: The Mechanism of Representation Learning" (2025), on mixing contexts.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> X = np.random.default_rng(0).normal(size=(60, 2))
    >>> near = ec.spectrum(ec.contexts.neighbors(X, 5), k=4)
    >>> rbf = ec.spectrum(ec.contexts.kernel(X, bandwidth=1.0), k=3)
    >>> ec.concatenate([near, rbf]).left.shape
    (60, 7)
    """
    spectra = _checked(spectra)
    p = spectra[0].p_x
    features = np.hstack([_device.on_host(s.left)[:, s.extendable] for s in spectra]).astype(np.float64)
    root = np.sqrt(p)[:, None]
    U, sizes, Vh = np.linalg.svd(root * features, full_matrices=False)
    kept = sizes > max(spectrum.floor for spectrum in spectra) * max(1.0, sizes.max(initial=0.0))
    left = np.divide(U[:, kept], root, out=np.zeros((len(p), int(kept.sum()))), where=root > 0)
    largest = np.take_along_axis(left, np.abs(left).argmax(axis=0)[None], axis=0) if left.size else left[:1]
    signs = np.where(largest < 0, -1.0, 1.0)
    like = _output_like(spectra[0].left)
    return Concatenation(like(left * signs), sizes[kept] ** 2, p, spectra, Vh[kept].T / sizes[kept] * signs)


def _output_like(a: Any) -> Callable[[np.ndarray], Any]:
    return _device.output_like(a) if _device.is_on_device(a) else output_like(a)


def _checked(spectra: Any) -> list[Spectrum]:
    if isinstance(spectra, Spectrum) or not isinstance(spectra, Sequence):
        raise TypeError(f"spectra: got {type(spectra).__name__}; allowed: a list of spectra")
    if not spectra:
        raise ValueError("spectra: got none; allowed: at least one")
    for j, spectrum in enumerate(spectra):
        if not isinstance(spectrum, Spectrum):
            raise TypeError(f"spectra: member {j} is a {type(spectrum).__name__}; allowed: spectra (ec.spectrum)")
        if len(spectrum.p_x) != len(spectra[0].p_x):
            raise ValueError(
                f"spectra: member {j} has {len(spectrum.p_x)} inputs, member 0 has {len(spectra[0].p_x)}; allowed: "
                "the same inputs"
            )
        worst = float(np.max(np.abs(spectrum.p_x - spectra[0].p_x)) / spectra[0].p_x.max())
        if worst > np.sqrt(np.finfo(_device.on_host(spectrum.left).dtype).eps):
            raise ValueError(f"spectra: p_x of member {j} differs from that of member 0 by {worst:.3g}; allowed: equal")
    return list(spectra)
