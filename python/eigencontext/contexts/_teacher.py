"""Teachers and regression targets: signed kernels k_X = 1 + sum_i r_i^2 mu_i mu_i^T, of no joint distribution."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from .._arguments import check_flag, check_number, real_array
from ..operators import Operator, dense
from . import _checks
from ._base import Conditional, Context
from ._kernel import shifted


class TeacherRows(Conditional):
    """New inputs are rows of Z: mu_i(z) = (z - mean) R_i / r_i, R = sqrt(n) V r / S. No probabilities."""

    kind = "teacher"

    def __init__(self, mean: np.ndarray, axes: int, dtype: np.dtype) -> None:
        self.mean = mean
        self.axes = axes
        self.dtype = dtype

    def __call__(self, X_new: Any) -> Operator:
        Z = _rows(X_new, "X_new", self.axes, self.dtype)
        if Z.shape[1] != len(self.mean):
            raise ValueError(f"X_new: got {Z.shape[1]} columns; allowed: {len(self.mean)}, as were fitted")
        return dense(shifted(Z, self.mean))

    def state(self) -> dict[str, np.ndarray]:
        return {"mean": self.mean, "axes": np.asarray(self.axes), "dtype": np.asarray(self.dtype.name)}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> TeacherRows:
        return cls(state["mean"], int(state["axes"]), np.dtype(str(state["dtype"])))


class SignedKernel(Context):
    """What `teacher` and `targets` return. `ec.spectrum` and `Spectrum.transform` work; all that needs probabilities
    (operator, conditional, sample, walk, @, membership in a mixture) is a TypeError.

    Attributes
    ----------
    features : Operator
        Z centred, n x d.
    threshold, relative
        Which r_i are 1 and which 0; threshold None: r_i = S_i / S_1.
    """

    def __init__(
        self, name: str, Z: np.ndarray, axes: int, threshold: float | None, relative: bool, output: Any
    ) -> None:
        n, d = Z.shape
        mean = Z.mean(axis=0, dtype=np.float64)
        self.name = name
        self.threshold = threshold
        self.relative = relative
        self.p_x = np.full(n, 1.0 / n)
        self.p_a = np.empty(0)
        self.rows, self.columns = np.arange(n), np.arange(0)
        self.n_rows, self.n_columns = n, 0
        self._conditional = TeacherRows(mean, axes, Z.dtype)
        self._conditional.like = getattr(output, "like", None)
        self.features = self._conditional.placed(dense(shifted(Z, mean)))
        self._output = output
        self._options = {} if threshold is None else {"threshold": threshold, "relative": relative}

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d), that of Z."""
        return self.features.shape

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.features.dtype)

    @property
    def rank_bound(self) -> int:
        n, d = self.shape
        return min(n - 1, d)

    def strengths(self, S: np.ndarray) -> np.ndarray:
        """The r_i of singular values S_1 >= S_2 >= ... > 0 of Z centred."""
        return S / S[0] if self.threshold is None else (S >= self.smallest(S[0])).astype(np.float64)

    def smallest(self, S_1: float) -> float:
        """The S_i from which on r_i is 1."""
        return (self.threshold or 0.0) * (S_1 if self.relative else 1.0)

    def _refuse(self, *arguments: Any, **options: Any) -> NoReturn:
        raise TypeError(
            f"{self.name}: this is a signed kernel and no joint distribution: no operator, conditional, sample, walk, "
            "convolution or mixture; allowed: ec.spectrum, and transform of what it returns"
        )

    operator = property(_refuse)  # type: ignore[assignment]
    conditional = sample = walk = __matmul__ = _refuse

    def __repr__(self) -> str:
        n, d = self.shape
        options = ", ".join(f"{key}={value!r}" for key, value in self._options.items())
        return (
            f"<eigencontext context {self.name}({options}), a signed kernel of {n} inputs x {d} features, {self.dtype}>"
        )


def require_joint(what: str, ctx: Context) -> None:
    if isinstance(ctx, SignedKernel):
        raise TypeError(
            f"{what}: {ctx.name} is a signed kernel and no joint distribution; allowed: contexts that are one (of "
            f"{ctx.name} there is a spectrum, whose functions ec.concatenate joins with those of others)"
        )


def teacher(Z: Any, threshold: float | None = None, relative: bool = False) -> SignedKernel:
    """The signed kernel of a teacher's embeddings: k_X = 1 + sum_i r_i^2 mu_i mu_i^T.

    With Z centred = U S V^T: mu_i = sqrt(n) U_i, and r_i = S_i / S_1 or, with a threshold, 1 where S_i reaches it and
    0 elsewhere.

    Parameters
    ----------
    Z : array-like, n x d
        Embeddings of the inputs, each of weight 1/n.
    threshold : float, optional
        In the units of S, at least 0.
    relative : bool
        The threshold is one for S_i / S_1, in [0, 1].

    Returns
    -------
    Context
        `ec.spectrum` gives the mu_i as `left`, the r_i as `singular_values` and no `right` (0 rows: there are no
        context values). `Spectrum.transform` takes rows of Z, mu_i(z) = sqrt(n) (z - mean) V_i / S_i. There is no joint
        distribution: `operator`, `conditional`, `sample`, `walk`, ``@`` and membership in a mixture are a TypeError.
        Memory: one copy of Z.

    Raises
    ------
    ValueError
        One row; rows that are all equal; a threshold outside its range; `relative` without a threshold. `ec.spectrum`
        raises it where the threshold is above S_1.

    References
    ----------
    R. Zhai, "Contextures: The Mechanism of Representation Learning" (2025).

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> Z = np.array([[1.0, 0], [-1, 0], [0, 3], [0, -3]])
    >>> ec.spectrum(ec.contexts.teacher(Z)).singular_values.round(4)
    array([1.    , 0.3333])
    >>> ec.spectrum(ec.contexts.teacher(Z, threshold=2.0)).singular_values
    array([1.])
    """
    relative = check_flag(relative, "relative")
    if threshold is not None:
        threshold = check_number(threshold, "threshold", 0.0, 1.0 if relative else None)
    elif relative:
        raise ValueError("relative: got True without a threshold; allowed: with one (r_i = S_i / S_1 is relative)")
    Z, output = _checks.received(Z, "Z")
    array = _varying(_rows(Z, "Z", 2), "Z")
    return SignedKernel("teacher", array, 2, threshold, relative, output)


def targets(y: Any) -> SignedKernel:
    """The signed kernel of regression targets, whitened: every direction in which they vary counts the same.

    `teacher` of the targets with all r_i = 1; directions with S_i <= eps max(n, d) S_1 are dropped.

    Parameters
    ----------
    y : array-like, (n,) or n x d
        Targets of the inputs, each of weight 1/n.

    Returns
    -------
    Context
        As that of `teacher`; `Spectrum.transform` takes targets.

    Raises
    ------
    ValueError
        One row, or targets that are all equal.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> spec = ec.spectrum(ec.contexts.targets([1.0, 2.0, 6.0]))
    >>> spec.singular_values, np.round(spec.left.ravel(), 4)
    (array([1.]), array([-0.9258, -0.4629,  1.3887]))
    """
    y, output = _checks.received(y, "y")
    array = real_array(y, "y")
    if array.ndim not in (1, 2):
        raise ValueError(f"y: got shape {array.shape}; allowed: an array with 1 axis or 2")
    Y = _varying(_rows(array, "y", array.ndim), "y")
    rounding = float(np.finfo(Y.dtype).eps) * max(Y.shape)
    return SignedKernel("targets", Y, array.ndim, rounding, True, output)


def _rows(value: Any, name: str, axes: int, dtype: Any = None) -> np.ndarray:
    array = np.ascontiguousarray(real_array(value, name, axes, dtype))  # sums in one order, whatever the layout
    return array[:, None] if axes == 1 else array


def _varying(Z: np.ndarray, name: str) -> np.ndarray:
    if not (Z != Z[0]).any():
        raise ValueError(f"{name}: got {len(Z)} row(s) that are all equal; allowed: rows that vary")
    return Z
