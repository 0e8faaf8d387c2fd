"""What every context is: the operator M, its two marginals, and a rule that gives P(.|x) of inputs not seen before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from .. import _device
from .._arguments import check_integer, check_seed, unchanged
from ..operators import Operator, moved
from . import _checks

#: rows of P that are formed at a time when samples are drawn, in entries
_SAMPLING_TILE = 1 << 22


class Conditional:
    """The rule x -> P(.|x). All that `Spectrum.transform` needs of a context and that a saved one keeps.

    A subclass has a `kind`, is called with new inputs, and lists in `state` the arrays it is made of (no pickles).
    """

    kind: ClassVar[str]
    kinds: ClassVar[dict[str, type[Conditional]]] = {}
    #: of the new inputs: 2 for rows of numbers, 1 for labels
    axes: int = 2
    #: where the context is on a device: an array there whose kind results are, or NumPy's; None: it is on the CPU
    like: Any = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "kind"):  # not of a common base
            Conditional.kinds[cls.kind] = cls

    def __call__(self, X_new: Any) -> Operator:
        """For inputs on the host."""
        raise NotImplementedError

    def at(self, X_new: Any) -> Operator:
        """For inputs on the device of the context, as an operator there."""
        given = X_new if isinstance(X_new, (list, tuple)) else [X_new]
        anywhere = isinstance(self.like, np.ndarray)  # the context is on a device, results are NumPy's
        if not anywhere and any(
            _device.is_on_cpu(X) if self.like is not None else _device.holds_device_array(X) for X in given
        ):
            where, other = ("a CUDA device", "the CPU") if self.like is not None else ("the CPU", "a CUDA device")
            raise ValueError(f"X_new: got arrays on {other} for a context on {where}; allowed: all on one device")
        return self.placed(self(_checks.received(X_new, "X_new")[0]))

    def placed(self, op: Operator) -> Operator:
        """On the device of the context."""
        return op if self.like is None else moved(op, self.like)

    def mixed(self) -> Conditional:
        """The rule inside a mixture or a convolution."""
        return self

    def extension(
        self, left: np.ndarray, right: np.ndarray, s: np.ndarray, limit: np.ndarray, weights: np.ndarray
    ) -> np.ndarray | None:
        """R such that rule(X) R / s extends the functions `left` (0 where it can't); None: it is `right`.

        All in float64 at what has mass; `limit` is the accuracy of each triplet, `weights` those of the inputs.
        """
        return None

    def folded(self, right: np.ndarray) -> tuple[Conditional, np.ndarray]:
        """A rule made of arrays and a block R' such that rule(X) R' = self(X) right: what a file keeps of the two."""
        return self, right

    def state(self) -> dict[str, np.ndarray]:
        raise NotImplementedError

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> Conditional:
        raise NotImplementedError


class Refused(Conditional):
    """There is no P(.|x) of new inputs, and why."""

    kind = "refused"

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __call__(self, X_new: Any) -> Operator:
        raise ValueError(f"X_new: {self.reason}")

    def state(self) -> dict[str, np.ndarray]:
        return {"reason": np.asarray(self.reason)}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> Refused:
        return cls(str(state["reason"]))


class Context:
    """A joint distribution P(x, a), known through M = D_p^{-1/2} P D_q^{-1/2}.

    Made by the functions of ``eigencontext.contexts``. Inputs and context values without any mass are not part of the
    operator: ``rows`` and ``columns`` are the numbers of those that are, ``empty_rows`` and ``empty_columns`` of those
    that are not. `Spectrum.left` and `Spectrum.right` have all of them, with function value 0 at the empty ones.

    Attributes
    ----------
    operator : Operator
        M, n x m, trivial pair (s = 1, constant functions) included: a scipy LinearOperator.
    p_x, p_a : ndarray of float64
        The marginals; positive, each with sum 1.
    shape : tuple of int
        (n, m).
    name : str
        The function that made the context.
    rows, columns : ndarray of int
        Numbers of the inputs and of the context values that have mass, as numbered by the user.
    n_rows, n_columns : int
        How many inputs and context values the user gave, those without mass included.

    Notes
    -----
    Arrays on a CUDA device give a context there: `operator` is on it, and so are the functions of its spectrum, arrays
    of the kind that was given. It is built on the host, from a copy; the sums over all n m entries of kernels and of
    sampled contexts are computed on the device. Marginals, row numbers and the draws of `sample` stay NumPy's. All
    arrays of a context and of its new inputs are on one device.
    """

    def __init__(
        self,
        name: str,
        operator: Operator,
        p_x: np.ndarray,
        p_a: np.ndarray,
        conditional: Conditional,
        *,
        rows: np.ndarray | None = None,
        columns: np.ndarray | None = None,
        n_rows: int | None = None,
        n_columns: int | None = None,
        output: Callable[[np.ndarray], Any] = unchanged,
        formula: str | None = None,
        **attributes: Any,
    ) -> None:
        self.name = name
        conditional.like = getattr(output, "like", None)
        self.operator = conditional.placed(operator)
        self.p_x = np.asarray(p_x, dtype=np.float64)
        self.p_a = np.asarray(p_a, dtype=np.float64)
        self._conditional = conditional
        self._output = output
        n, m = operator.shape
        self.rows = np.arange(n) if rows is None else rows
        self.columns = np.arange(m) if columns is None else columns
        self.n_rows = n if n_rows is None else n_rows
        self.n_columns = m if n_columns is None else n_columns
        self._formula = formula  # of a context that is put together from others: its parts
        shown = (str, int, float, tuple)
        self._options = {k: v for k, v in attributes.items() if isinstance(v, shown) and not k.startswith("_")}
        self.__dict__.update(attributes)

    @property
    def shape(self) -> tuple[int, int]:
        return self.operator.shape

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.operator.dtype)

    @property
    def rank_bound(self) -> int:
        """How many singular values can be positive, the trivial one left out."""
        return min(self.shape) - 1

    @property
    def empty_rows(self) -> np.ndarray:
        return np.setdiff1d(np.arange(self.n_rows), self.rows, assume_unique=True)

    @property
    def empty_columns(self) -> np.ndarray:
        return np.setdiff1d(np.arange(self.n_columns), self.columns, assume_unique=True)

    def conditional(self, X_new: Any) -> Operator:
        """The operator (n_new x m) whose rows are P(.|x) of new inputs.

        What a new input is depends on the context: a row of counts over the fitted columns (counts, graph), a point
        (kernel, neighbors, their masked forms, pairs, lagged), a label seen before (labels), or a row of P(.|x) itself
        (operator). A mixture takes one X_new for all members or a list with one for each, a convolution what its first
        context takes. A lazy graph's loops lead to no fitted node: see `graph`.
        """
        return self._conditional.at(X_new)

    def __matmul__(self, other: Context) -> Context:
        """The convolution x -> a -> b of this context with one whose inputs are the context values of this one.

        W = W_1 W_2, p = p_1, q = W_2^T q_1. Nothing is formed; one product with W_2, unless its p_x is q_1 already.

        Raises
        ------
        ValueError
            The spaces differ, or a context value of this one with mass is an empty input of the other.

        Examples
        --------
        >>> import numpy as np, eigencontext as ec
        >>> ctx = ec.contexts.counts([[9, 1], [1, 9]])
        >>> np.round(ec.spectrum(ctx @ ctx, k=1).singular_values, 6)  # 0.8 squared
        array([0.64])
        """
        from ._convolution import convolution

        if not isinstance(other, Context):
            raise TypeError(f"@: got {type(other).__name__}; allowed: a context (of a matrix: ctx.operator @ ...)")
        return convolution(self, other)

    #: NumPy and SciPy leave `array @ ctx` to us, who refuse it
    __array_ufunc__ = None

    def walk(self) -> Context:
        """The link x -> a -> x': inputs are context values too, M M^T, p_a = p_x, singular values squared.

        Examples
        --------
        >>> import numpy as np, eigencontext as ec
        >>> ctx = ec.contexts.counts([[9, 1], [1, 9], [1, 9]])
        >>> s, squares = (ec.spectrum(c, k=1).singular_values for c in (ctx, ctx.walk()))
        >>> bool(np.isclose(s**2, squares).all())
        True
        """
        from ._convolution import walk

        return walk(self)

    def sample(self, rows: Any, n_samples: int = 1, seed: int = 0) -> np.ndarray:
        """Draw a ~ P(.|x_row).

        Parameters
        ----------
        rows : array of int
            Which of the fitted inputs, as numbered by the user (empty ones have no distribution and are an error).
        n_samples : int
            Independent draws for each.
        seed : int
            The same seed gives the same draws.

        Returns
        -------
        ndarray of int64, shape (len(rows), n_samples)
            Numbers of context values, as numbered by the user: rows of A, columns of the counts, class numbers.

        Examples
        --------
        >>> import eigencontext as ec
        >>> ec.contexts.counts([[1, 0], [0, 3]]).sample([1, 0, 1]).ravel()
        array([1, 0, 1])
        """
        n_samples = check_integer(n_samples, "n_samples", 1)
        seed = check_seed(seed)
        inner = self._inner_rows(rows)
        uniform = np.random.Generator(np.random.Philox(seed)).random((len(inner), n_samples))
        result = np.empty((len(inner), n_samples), dtype=np.int64)
        n, m = self.shape
        step = max(1, min(64, _SAMPLING_TILE // max(n, m)))
        for start in range(0, len(inner), step):
            some = inner[start : start + step]
            cumulated = np.cumsum(self._unnormalised_rows(some), axis=1)
            for i, row in enumerate(cumulated):
                # strictly inside (0, total): a column without mass is never drawn
                target = uniform[start + i] * row[-1]
                drawn = np.searchsorted(row, target, side="right")
                result[start + i] = np.minimum(drawn, np.searchsorted(row, row[-1], side="left"))
        return self.columns[result]

    def _inner_rows(self, rows: Any) -> np.ndarray:
        rows = np.atleast_1d(np.asarray(rows))
        if rows.size == 0:
            return np.empty(0, dtype=np.int64)
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise TypeError(f"rows: got {rows.dtype} of shape {rows.shape}; allowed: integers along one axis")
        if rows.min() < 0 or rows.max() >= self.n_rows:
            raise IndexError(f"rows: got {rows.min()} .. {rows.max()}; allowed: 0 .. {self.n_rows - 1}")
        position = np.full(self.n_rows, -1, dtype=np.int64)
        position[self.rows] = np.arange(len(self.rows))
        inner = position[rows]
        if (inner < 0).any():
            raise ValueError(f"rows: got {_checks.listed(rows[inner < 0])}; allowed: rows with mass (these are empty)")
        return inner

    def _unnormalised_rows(self, inner: np.ndarray) -> np.ndarray:
        """Rows of W times 1/sqrt(p): W = D_p^{-1/2} M D_q^{1/2}, and M^T E picks rows of M."""
        unit = np.zeros((self.shape[0], len(inner)), dtype=self.dtype)
        unit[inner, np.arange(len(inner))] = 1.0
        weights = self.operator.on_host(unit, transposed=True).astype(np.float64) * np.sqrt(self.p_a)[:, None]
        return np.maximum(weights.T, 0.0)

    def __repr__(self) -> str:
        n, m = self.shape
        options = ", ".join(f"{key}={_shown(value)}" for key, value in self._options.items())
        options = self._formula or options
        return f"<eigencontext context {self.name}({options}), {n} inputs x {m} context values, {self.dtype}>"


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))})"
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def inside(ctx: Context) -> str:
    """A context as a part of another one's formula."""
    if ctx._formula is None:
        return ctx.name
    return f"{ctx.name if ctx.name == 'walk' else ''}({ctx._formula})"
