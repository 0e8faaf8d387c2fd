"""Whether a task can be learned from a context."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._arguments import real_array
from ._alignment import same_inputs
from ._embeddings import check_context, image, steps
from ._values import check_spectrum


@dataclass(frozen=True, eq=False)
class Compatibility:
    """How compatible tasks are with a context.

    Attributes
    ----------
    rho : float or ndarray (t,)
        ||T* f|| / ||f||, in [0, s_1].
    profile : ndarray, (k,) or (k, t)
        Share of ||f||^2 that lies in each mu_i.
    rest : float or ndarray (t,)
        Share outside all of them: 1 minus the sum of the profile.
    exact : bool
        Whether rho counts all functions (a context was given, or the spectrum has all that are not 0); else only the
        computed ones: a lower bound.
    """

    rho: Any
    profile: np.ndarray = field(repr=False)
    rest: Any
    exact: bool


def compatibility(f: Any, spec: Any, *, context: Any = None) -> Compatibility:
    """How compatible a task f(x) is with a context: rho = ||T* f|| / ||f||, f centred, norms under p_x and p_a.

    rho^2 = sum s_i^2 c_i^2 / sum c_i^2, c_i = E[f mu_i]: near s_1 where the task lies in the top functions, near 0
    where the context knows nothing of it.

    Parameters
    ----------
    f : array-like (n,) or (n, t)
        One task or several: a value for every input of the context. Classes: one-hot columns.
    spec : Spectrum
    context : Context, optional
        The same context: rho is then exact, by one product with t columns.

    Returns
    -------
    Compatibility

    Raises
    ------
    ValueError
        Shapes that do not agree, NaN, a constant task.

    Notes
    -----
    2 n k t flops in float64; memory (n + m) t float64 beyond the arguments.

    References
    ----------
    Zhai et al., "Contextures: Representations from Contexts", ICML 2025, arXiv 2505.01557 (compatibility of a task).

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> spec = ec.spectrum(ec.contexts.labels([0, 0, 1, 1]), k=1)
    >>> round(ec.metrics.compatibility([1.0, 1.0, 5.0, 5.0], spec).rho, 6)  # decided by the label
    1.0
    >>> round(ec.metrics.compatibility([1.0, 2.0, 1.0, 2.0], spec).rho, 6)
    0.0
    """
    check_spectrum(spec)
    values = np.asarray(f.detach() if hasattr(f, "detach") else f)
    one = values.ndim == 1
    tasks = real_array(values[:, None] if one else f, "f", 2).astype(np.float64)
    p = spec.p_x
    if len(tasks) != len(p):
        raise ValueError(f"f: got shape {values.shape}; allowed: {len(p)} values, one an input of the spectrum")
    if context is not None:
        same_inputs(check_context(context), spec)
    # rho has no units: squares of what is near 1 neither over- nor underflow
    tasks = tasks * np.ldexp(1.0, -np.clip(np.frexp(np.abs(tasks).max(axis=0))[1], -1000, 1000))
    mean = np.sum(p[:, None] * tasks, axis=0)
    mean += np.sum(p[:, None] * (tasks - mean), axis=0)  # n terms are off by more than the last digits
    centred = (tasks - mean) * np.sqrt(p)[:, None]
    energy = np.sum(centred**2, axis=0)
    constant = np.sqrt(energy) <= 4 * np.finfo(float).eps * np.abs(mean)
    if constant.any():
        raise ValueError(f"f: task {int(np.argmax(constant))} is constant; allowed: tasks that vary")
    left = np.asarray(spec.left)
    inner = np.zeros((spec.k, tasks.shape[1]))
    for rows in steps(left):
        inner += (left[rows].astype(np.float64) * np.sqrt(p[rows, None])).T @ centred[rows]
    profile = inner**2 / energy
    if context is None:
        squared = np.sum(spec.singular_values[:, None] ** 2 * profile, axis=0)
    else:
        squared = np.sum(image(context, centred) ** 2, axis=0) / energy
    rho, rest = np.sqrt(squared), np.maximum(1.0 - np.sum(profile, axis=0), 0.0)
    exact = context is not None or spec.exhausted
    if one:
        return Compatibility(float(rho[0]), profile[:, 0], float(rest[0]), exact)
    return Compatibility(rho, profile, rest, exact)
