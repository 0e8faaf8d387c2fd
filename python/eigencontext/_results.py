"""What the decompositions return, what a callback sees, and the warnings."""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


class ConvergenceWarning(UserWarning):
    """Not every triplet met its tolerance; `.converged` says which did."""


class ClusterWarning(UserWarning):
    """The last value wanted is within its error of the next: which members of the cluster came back is arbitrary."""


def counted(n: int, what: str) -> str:
    """`1 sweep`, `2 sweeps`."""
    return f"{n} {what}{'' if n == 1 else 's'}"


@dataclass(frozen=True)
class Progress:
    """What a `callback` receives after each sweep; returning True stops the run.

    Attributes
    ----------
    sweep : int
        Sweeps done; one is a product with A and one with its transpose.
    basis_size : int
        Columns of the basis.
    residuals : (k,) float64
        Current residual norms of the leading k.
    elapsed : float
        Seconds.
    """

    sweep: int
    basis_size: int
    residuals: np.ndarray
    elapsed: float


Callback = Callable[[Progress], bool | None]


class _Certificate:
    """The fields that every result carries beside its arrays.

    Attributes
    ----------
    residuals : (k,) float64
        Absolute 2-norms.
    converged : (k,) bool
    missed : float
        Estimate of the squared Frobenius norm that the k values do not account for.
    sweeps, matvecs : int
    method, reason, stop_reason : str
    """

    residuals: np.ndarray
    converged: np.ndarray
    missed: float
    sweeps: int
    matvecs: int
    method: str
    reason: str
    stop_reason: str

    def _certify(self, answer: dict):
        self.residuals = answer["residuals"]
        self.converged = answer["converged"]
        self.missed = float(answer["missed"])
        self.sweeps = int(answer["sweeps"])
        self.matvecs = int(answer["matvecs"])
        self.stop_reason = answer["stop_reason"]
        self.method = answer["method"]
        self.reason = answer["reason"]
        return self

    def _summary(self) -> str:
        done = int(np.count_nonzero(self.converged))
        worst = float(np.max(self.residuals)) if len(self.residuals) else 0.0
        return (
            f"converged {done}/{len(self.converged)}, largest residual {worst:.2g}, {counted(self.sweeps, 'sweep')}, "
            f"method {self.method!r}, stop reason {self.stop_reason!r}"
        )


class _Svd(typing.NamedTuple):
    U: np.ndarray
    s: np.ndarray
    Vh: np.ndarray


class SvdResult(_Svd, _Certificate):
    """U (n, k), s (k,) descending, Vh (k, m); unpacks as `U, s, Vh` and carries its certificate."""

    def __repr__(self):
        return f"<SvdResult {self.U.shape[0]}x{self.Vh.shape[1]}, k = {self.s.shape[0]}: {self._summary()}>"


class _Eigh(typing.NamedTuple):
    w: np.ndarray
    V: np.ndarray


class EighResult(_Eigh, _Certificate):
    """w (k,) descending, V (n, k); unpacks as `w, V` and carries its certificate."""

    def __repr__(self):
        return f"<EighResult n = {self.V.shape[0]}, k = {self.w.shape[0]}: {self._summary()}>"
