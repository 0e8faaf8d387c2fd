"""Moments of embeddings: what every covariance objective needs to know of a full batch, chunk by chunk."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import numpy as np

from .. import _device
from .._arguments import check_choice, check_integer
from ._base import Batch

__all__ = ["Moments"]

_PP, _PQ, _QQ, _SQUARES, _PAIRS = 1, 2, 4, 8, 16  # moment_* of csrc/objectives/moments.hpp

#: what each objective needs; "dots": sum of <phi_i, psi_i>^2, "levels": the same for every leading set of columns,
#: "views": sums over pairs of views
_NEEDS: dict[str, tuple[int, str]] = {
    "svme": (_PP | _PAIRS, ""),
    "spectral_noncontrastive": (_PP | _QQ | _PAIRS, ""),
    "vicreg": (_PP | _QQ | _PAIRS, ""),
    "barlow_twins": (_PQ | _SQUARES, ""),
    "rayleigh": (_PP | _PAIRS, ""),
    "correlation": (_PP | _PQ | _QQ, ""),
    "kise": (_PP | _PQ | _QQ, ""),
    "supervised_mse": (_PP | _PQ | _SQUARES, ""),
    "low_rank": (_PP | _QQ | _PAIRS, "dots"),
    "nested_low_rank": (_PP | _QQ | _PAIRS, "levels"),
    "spectral_contrastive": (_PP, "views"),
}
_PIECE = 1 << 18  # rows of one call of the engine, which keeps a few vectors for every 512 of them
#: whose covariances are inverted, which multiplies rounding by their condition number: float32 sums do not suffice
_INVERTED = ("correlation", "supervised_mse")
_WIDENED = 1 << 13  # rows that are copied in float64 for these
_FORMAT = 1
_MAGIC = b"eigencontext moments\n"


class Moments:
    """Count, means and centred second moments of embeddings, in float64; sums of chunks, in any order.

    The first sweep of exact full-batch training: feed every chunk to `update` (on several machines: each its own, then
    `merge`), then ``objective.from_moments(acc, **options)`` gives the full batch's loss and, chunk by chunk, the rows
    of its gradient. Equal to the one-shot call to rounding for any chunks in any order.

    Parameters
    ----------
    d : int
        The width of phi (of the views, for spectral_contrastive).
    objective : str
        The objective that will be asked: it decides which sums are kept. One of 'svme', 'spectral_noncontrastive',
        'vicreg', 'barlow_twins', 'rayleigh', 'correlation', 'kise', 'supervised_mse', 'low_rank', 'nested_low_rank',
        'spectral_contrastive'.
    d_psi : int, optional
        The width of psi where it is not d (correlation; the targets of supervised_mse; the features of kise).

    Attributes
    ----------
    n : int
        The number of rows so far; an input with r views or contexts counts r times.
    inputs : int
        The number of inputs so far.
    precision : float
        The rounding unit of the least exact rows so far.

    Notes
    -----
    Cost: N d^2 flops a symmetric moment, 2 N d^2 a cross moment. Memory: at most 16 sets of moments, 8 d^2 bytes each,
    while `update` runs. Sums within 512 rows are in the precision of the data (in float64 where the objective inverts
    them: correlation, supervised_mse), about those rows' own mean; everything above is float64, merged by the pairwise
    update of Chan, Golub and LeVeque (1979).

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> rng = np.random.default_rng(0)
    >>> phi, psi = rng.standard_normal((100, 4)), rng.standard_normal((100, 4))
    >>> acc = ec.objectives.Moments(4, objective="svme")
    >>> for rows in np.array_split(np.arange(100), 3):
    ...     acc.update(phi[rows], psi[rows])
    >>> full = ec.objectives.svme.from_moments(acc)
    >>> bool(np.isclose(full.loss, ec.objectives.svme(phi, psi).loss))
    True
    >>> grad_phi, grad_psi = full.grad(phi[:10], psi[:10])
    """

    def __init__(self, d: int, objective: str = "svme", d_psi: int | None = None):
        self.d = check_integer(d, "d", 1)
        self.objective = check_choice(objective, "objective", _NEEDS)
        self.d_psi = self.d if d_psi is None else check_integer(d_psi, "d_psi", 1)
        if self.d_psi != self.d and objective not in ("correlation", "kise", "supervised_mse"):
            raise ValueError(f"d_psi: got {d_psi}; allowed: d = {d} for {objective}")
        self._flags, self._extra = _NEEDS[objective]
        self._centre: tuple[np.ndarray, np.ndarray] | None = None
        self._levels: np.ndarray | None = None
        self._joint = True
        self._clear()

    def _clear(self) -> None:
        d, q = self.d, self.d_psi
        self.n = 0
        self.views = 0
        self.precision = float(np.finfo(np.float64).eps)
        self.mean_phi, self.mean_psi = np.zeros(d), np.zeros(q)
        #: sums about the means, by name; and sums that are about nothing, which merging adds
        self.sums: dict[str, Any] = {}
        self.plain: dict[str, Any] = {}
        if self._flags & _PP:
            self.sums["pp"] = np.zeros((d, d))
        if self._flags & _PQ:
            self.sums["pq"] = np.zeros((d, q))
        if self._flags & _QQ:
            self.sums["qq"] = np.zeros((q, q))
        if self._flags & _SQUARES:
            self.sums["squares_phi"], self.sums["squares_psi"] = np.zeros(d), np.zeros(q)
        if self._flags & _PAIRS:
            for name in ("weighted_phi", "weighted_psi", "products", "differences"):
                self.sums[name] = np.zeros(d)
            self.plain["weight"] = 0.0
        if self._extra in ("dots", "levels"):
            self.plain["dots"] = np.zeros(d if self._extra == "levels" else 1)
        if self._extra == "views":
            self.plain.update(weight=0.0, pairs=0.0, squares=0.0)

    def __repr__(self) -> str:
        return f"Moments(d={self.d}, objective={self.objective!r}, n={self.n})"

    @property
    def inputs(self) -> int:
        """The number of inputs so far."""
        return self.n // max(1, self.views)

    # -- sums ----------------------------------------------------------------------------------------------------------

    def update(self, phi: Any, psi: Any = None, *, weights: Any = None) -> None:
        """Adds the rows of a chunk.

        Parameters
        ----------
        phi, psi : arrays (n, d) and (n, d_psi)
            For spectral_contrastive: views (n, r, d), and no psi. low_rank: psi may be (n, r, d).
        weights : array-like (n,), optional
            Sample weights; they are normalised over the full batch, not over the chunk. All chunks or none.
        """
        if self._extra == "views":
            if psi is not None:
                raise TypeError("psi: got an array; allowed: None, spectral_contrastive takes views (n, r, d)")
            batch = Batch({"views": phi}, ndim={"views": 3}, weights=weights, grad=(), chunk=True)
        else:
            if psi is None:
                raise TypeError(f"psi: got None; allowed: an array (n, {self.d_psi})")
            several = self.objective == "low_rank" and _device.axes_of(psi) == 3
            ndim = {"psi": 3} if several else {}
            batch = Batch({"phi": phi, "psi": psi}, ndim=ndim, weights=weights, grad=(), same_width=False, chunk=True)
        self.add(batch)

    def add(self, batch: Batch) -> None:
        """`update` with a checked batch."""
        for name, array in batch.arrays.items():
            width = self.d_psi if name == "psi" else self.d
            if array.shape[-1] != width:
                raise ValueError(f"{name}: got shape {array.shape}; allowed: {width} features, as the moments have")
        views = batch.arrays["views"].shape[1] if "views" in batch.arrays else batch.arrays["psi"].shape[1:-1]
        views = views if isinstance(views, int) else (views[0] if views else 1)
        if self.n and self.views != views:
            raise ValueError(f"psi: got {views} views or contexts; allowed: {self.views}, as the chunks before had")
        # (A device's sums are float64 throughout.)
        widen = self.objective in _INVERTED and all(isinstance(array, np.ndarray) for array in batch.arrays.values())
        step = _WIDENED if widen else _PIECE
        for begin in range(0, batch.n, step):
            rows = slice(begin, begin + step)
            pieces = {name: array[rows] for name, array in batch.arrays.items()}
            if widen:
                pieces = {name: piece.astype(np.float64, copy=False) for name, piece in pieces.items()}
            weights = None if batch.weights is None else batch.weights[rows]
            for part in self._parts(batch.engine, pieces, weights):
                self._merge(part)
        self.views = views
        self.precision = max(self.precision, float(np.finfo(batch.dtype).eps))
        self._require_finite(batch)

    def _parts(self, engine: Any, arrays: dict[str, Any], weights: np.ndarray | None):
        """The moments of one piece: one set, or for several contexts of an input one for each."""
        if self._extra == "views":
            A = arrays["views"]
            weight, pairs, squares = engine.view_sums(A, weights)
            for j in range(A.shape[1]):
                part = self._empty()
                part._fill(engine.moments(A[:, j], None, None, self._flags), A.shape[0])
                if j == 0:
                    part.plain.update(weight=weight, pairs=pairs, squares=squares)
                yield part
            return
        phi, psi = arrays["phi"], arrays["psi"]
        for context in [psi[:, j] for j in range(psi.shape[1])] if psi.ndim == 3 else [psi]:
            part = self._empty()
            if self._centre is None:
                part._fill(engine.moments(phi, context, weights, self._flags), phi.shape[0])
            if "dots" in part.plain:
                m, k = self._centre or (None, None)
                levels = self._levels
                if self._extra == "levels" and levels is None:
                    levels = np.ones(self.d)
                squares, b, c = engine.diagonal_sums(phi, context, m, k, levels, self._joint)
                part.plain["dots"] = squares
                if self._centre is not None:
                    part.n = phi.shape[0]
                    part.plain["dots_phi"], part.plain["dots_psi"] = b, c
            yield part

    def _fill(self, found: dict[str, Any], n: int) -> None:
        self.n = n
        self.mean_phi = found["mean_phi"]
        if found["mean_psi"].size:
            self.mean_psi = found["mean_psi"]
        for name in self.sums:
            self.sums[name] = found[name]
        if "weight" in found:
            self.plain["weight"] = found["weight"]

    def _empty(self) -> Moments:
        other = Moments.__new__(Moments)
        other.__dict__.update(self.__dict__)
        other._clear()
        if self._centre is not None:
            other._start_second()
        return other

    def _require_finite(self, batch: Batch) -> None:
        """A sum that is not finite comes from bad input (ValueError) or from embeddings whose squares leave float64."""
        values = [self.mean_phi, self.mean_psi, *self.sums.values(), *self.plain.values()]
        if not all(np.isfinite(np.sum(v)) for v in values):
            batch.check_finite()
            raise OverflowError(f"moments: do not fit float64 at the scale of the embeddings ({batch.scale()})")

    def merge(self, other: Moments) -> None:
        """Adds the rows that another accumulator of the same kind has seen; `other` is unchanged."""
        if not isinstance(other, Moments):
            raise TypeError(f"other: got {type(other).__name__}; allowed: Moments")
        for name in ("objective", "d", "d_psi"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(f"other: got {name} = {getattr(other, name)!r}; allowed: {getattr(self, name)!r}")
        if not _same_centre(self._centre, other._centre):
            raise ValueError("other: got moments of another sweep or about other means; allowed: the same centre")
        if self.n and other.n and self.views != other.views:
            raise ValueError(f"other: got {other.views} views or contexts; allowed: {self.views}")
        self.views = other.views if other.n else self.views
        self.precision = max(self.precision, other.precision)
        self._merge(other)

    def _merge(self, other: Moments) -> None:
        """Chan's update: sums about two means become sums about their common mean."""
        n = self.n + other.n
        if other.n == 0:
            return
        share = other.n / n
        means = [a + share * (b - a) for a, b in ((self.mean_phi, other.mean_phi), (self.mean_psi, other.mean_psi))]
        moved = [(part, part.mean_phi - means[0], part.mean_psi - means[1]) for part in (self, other)]
        self.sums = {name: sum(_about(part, name, u, v) for part, u, v in moved) for name in self.sums}
        for name in self.plain:
            self.plain[name] = self.plain[name] + other.plain[name]
        self.mean_phi, self.mean_psi = means
        self.n = n

    # -- the second sweep ----------------------------------------------------------------------------------------------

    def centered(self, level_weights: Any = None, mode: str = "joint") -> Moments:
        """An accumulator for the second sweep of the centred u-estimators, which need the means first.

        Feed it the same chunks again (and merge as before), then give it to ``from_moments``: value after two sweeps,
        gradient in a third. Only low_rank and nested_low_rank with ``centered=True, estimator="u"`` ask for it.

        Parameters
        ----------
        level_weights, mode
            As in nested_low_rank, whose gradient's mean depends on them.
        """
        if self._extra not in ("dots", "levels") or self._centre is not None:
            raise ValueError(f"objective: got {self!r}; allowed: the first sweep of low_rank or nested_low_rank")
        if self.n == 0:
            raise ValueError("n: got 0 rows; allowed: the moments of the full batch")
        other = self._empty()
        other._centre = (self.mean_phi, self.mean_psi)
        other._first = self  # type: ignore[attr-defined]
        if self._extra == "levels":
            from ._low_rank import level_sums

            check_choice(mode, "mode", ("joint", "sequential"))
            other._levels, other._joint = level_sums(level_weights, self.d, mode), mode == "joint"
        other._start_second()
        return other

    def _start_second(self) -> None:
        self.sums = {}
        self.plain = {"dots": self.plain["dots"] * 0, "dots_phi": np.zeros(self.d), "dots_psi": np.zeros(self.d)}

    # -- bytes ---------------------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The state as bytes (format 1 with a SHA-256 checksum): to store it or to send it to another process."""
        first = getattr(self, "_first", None)
        arrays = {"mean_phi": self.mean_phi, "mean_psi": self.mean_psi}
        arrays.update({f"sum:{name}": value for name, value in self.sums.items()})
        arrays.update({f"plain:{name}": np.asarray(value) for name, value in self.plain.items()})
        if self._levels is not None:
            arrays["levels"] = self._levels
        if first is not None:
            arrays["first"] = np.frombuffer(first.to_bytes(), np.uint8)
        head = {key: getattr(self, key) for key in ("d", "objective", "d_psi", "n", "views", "precision")}
        head.update(format=_FORMAT, joint=self._joint)
        memory = io.BytesIO()
        np.savez(memory, head=np.frombuffer(json.dumps(head).encode(), np.uint8), **arrays)  # type: ignore[arg-type]
        body = memory.getvalue()
        return _MAGIC + hashlib.sha256(body).digest() + body

    @classmethod
    def from_bytes(cls, data: bytes) -> Moments:
        """The accumulator that `to_bytes` wrote; damaged bytes or another format are a ValueError."""
        data = bytes(data)
        body = data[len(_MAGIC) + 32 :]
        if data[: len(_MAGIC)] != _MAGIC:
            raise ValueError("data: not what Moments.to_bytes writes; allowed: its bytes")
        if hashlib.sha256(body).digest() != data[len(_MAGIC) : len(_MAGIC) + 32]:
            raise ValueError("data: the checksum differs, the bytes are damaged; allowed: what Moments.to_bytes wrote")
        with np.load(io.BytesIO(body), allow_pickle=False) as stored:
            head = json.loads(stored["head"].tobytes())
            if head["format"] != _FORMAT:
                raise ValueError(f"data: got format {head['format']}; allowed: {_FORMAT}")
            acc = cls(head["d"], head["objective"], head["d_psi"])
            if "first" in stored:
                first = cls.from_bytes(stored["first"].tobytes())
                acc._first = first  # type: ignore[attr-defined]
                acc._centre = (first.mean_phi, first.mean_psi)
                acc._levels = stored["levels"] if "levels" in stored else None
                acc._joint = head["joint"]
                acc._start_second()
            acc.n, acc.views, acc.precision = head["n"], head["views"], head["precision"]
            acc.mean_phi, acc.mean_psi = stored["mean_phi"], stored["mean_psi"]
            for kind, values in (("sum", acc.sums), ("plain", acc.plain)):
                for name in values:
                    value = stored[f"{kind}:{name}"]
                    values[name] = value if value.ndim else float(value)
        return acc

    def __reduce__(self):
        return Moments.from_bytes, (self.to_bytes(),)


def of_batch(batch: Batch, objective: str, d_psi: int | None = None) -> Moments:
    """The moments of a whole batch."""
    first = next(iter(batch.arrays.values()))
    acc = Moments(first.shape[-1], objective, d_psi)
    acc.add(batch)
    return acc


def check_moments(acc: Any, objective: str, part: bool = False) -> Moments:
    """`acc` if it holds the moments that `objective` needs and has seen rows, not all (but for a part) of weight 0."""
    if not isinstance(acc, Moments):
        raise TypeError(f"acc: got {type(acc).__name__}; allowed: Moments(d, objective={objective!r})")
    if acc.objective != objective:
        raise ValueError(f"acc: got the moments of {acc.objective!r}; allowed: those of {objective!r}")
    if acc.n == 0:
        raise ValueError("acc: got no rows; allowed: at least one")
    if acc.plain.get("weight") == 0 and not part:
        raise ValueError("weights: got zeros only; allowed: at least one number > 0")
    return acc


# -- details -----------------------------------------------------------------------------------------------------------


def _about(part: Moments, name: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A sum of `part` about points that lie u below its mean of phi and v below its mean of psi."""
    s, n = part.sums, part.n
    if n == 0:
        return s[name]
    if name in ("pp", "pq", "qq"):
        left, right = {"pp": (u, u), "pq": (u, v), "qq": (v, v)}[name]
        return s[name] + n * np.outer(left, right)
    if name in ("squares_phi", "squares_psi"):
        return s[name] + n * (u if name == "squares_phi" else v) ** 2
    w = part.plain["weight"]
    if name == "weighted_phi":
        return s[name] + w * u
    if name == "weighted_psi":
        return s[name] + w * v
    if name == "products":
        return s[name] + u * s["weighted_psi"] + v * s["weighted_phi"] + w * u * v
    delta = u - v
    return s[name] + 2 * delta * (s["weighted_phi"] - s["weighted_psi"]) + w * delta**2


def _same_centre(a, b) -> bool:
    if a is None or b is None:
        return a is b
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
