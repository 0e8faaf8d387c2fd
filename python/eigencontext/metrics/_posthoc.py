"""The spectrum of a context as trained encoders know it: their own functions, rotated, in order."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._arguments import output_like
from ..contexts._base import Context
from ._embeddings import (
    Whitening,
    check_context,
    embeddings,
    fix_signs,
    functions,
    image,
    product,
    shares,
    spread,
    steps,
)


@dataclass(frozen=True, eq=False)
class PosthocSpectrum:
    """Estimates of singular values and functions from embeddings.

    Attributes
    ----------
    singular_values : ndarray, (k,)
        Descending, in [0, 1]; the i-th is at most s_i of the context.
    left : array, (n, k)
        The rotated encoder of X at the given rows, in order: mean 0, orthonormal under their weights. The dtype and
        kind of array of phi.
    right : array, (n, k) or (m, k)
        The rotated encoder of A (two encoders), or T* left / s at the m context values (one): NaN where s is 0 to
        rounding, and 0 where the context value has no mass.
    estimator : str
        "two encoders" or "one encoder".
    rank : tuple of int
        The dimensions that the encoders' centred features span; less than d where they have collapsed. k is the least.
    mean_phi, rotation_phi, mean_psi, rotation_psi : ndarray or None
        left = (phi - mean_phi) @ rotation_phi; the same of psi, None for one encoder.
    """

    singular_values: np.ndarray
    left: Any
    right: Any
    estimator: str
    rank: tuple[int, ...]
    mean_phi: np.ndarray = field(repr=False)
    rotation_phi: np.ndarray = field(repr=False)
    mean_psi: np.ndarray | None = field(default=None, repr=False)
    rotation_psi: np.ndarray | None = field(default=None, repr=False)

    @property
    def k(self) -> int:
        return len(self.singular_values)

    def transform(self, phi: Any) -> Any:
        """The ordered functions of X at other embeddings phi, (n_new, d) -> (n_new, k)."""
        return _rotated(phi, "phi", self.mean_phi, self.rotation_phi)

    def transform_context(self, psi: Any) -> Any:
        """The ordered functions of A at other embeddings psi of the second encoder, (n_new, d') -> (n_new, k)."""
        if self.mean_psi is None or self.rotation_psi is None:
            raise ValueError("transform_context: this spectrum is of one encoder; allowed: one of phi and psi")
        return _rotated(psi, "psi", self.mean_psi, self.rotation_psi)

    def __repr__(self) -> str:
        top = ", ".join(f"{s:.4g}" for s in self.singular_values[:4]) + (", ..." if self.k > 4 else "")
        return f"<PosthocSpectrum of {self.estimator}: k = {self.k}, s = [{top}]>"


def posthoc_spectrum(phi: Any, psi: Any = None, *, context: Any = None, weights: Any = None) -> PosthocSpectrum:
    """The singular values and functions that trained encoders have found.

    *Two encoders*, phi(x_i) and psi(a_i) of pairs drawn from the context: the singular values of
    C_pp^{-1/2} C_pq C_qq^{-1/2}, the canonical correlations. With `context` in place of pairs, phi at its inputs and
    psi at its context values: the same under the whole joint distribution. *One encoder* and its context: B v =
    lambda C v with B = Cov_q(T* phi), C = Cov_p(phi), s = sqrt(lambda): no other psi gives more.

    Under the joint distribution the i-th value is at most s_i of the context, with equality for all i <= d iff the
    encoders span the top d functions. Of n pairs, values are larger by terms of order (d + d')/n.

    Parameters
    ----------
    phi : array (n, d)
        Floating point embeddings of the inputs: one row a pair, or with `context` one an input.
    psi : array (n, d'), optional
        Embeddings of the context values: one row a pair, or with `context` (m, d'), one a context value.
    context : Context, optional
        Needed where there is no psi.
    weights : array-like (n,), optional
        Of the pairs; equal by default. A context brings its own.

    Returns
    -------
    PosthocSpectrum
        k = min of the ranks: features that are constant, or combinations of others, to rounding, add nothing.

    Raises
    ------
    ValueError
        Shapes that do not agree, NaN, only constant features, one row.
    TypeError
        Integer embeddings, neither psi nor context, weights with a context.

    Warns
    -----
    UserWarning
        The ranks together exceed n - 1: some of the correlations of n pairs are 1 whatever was learned.

    Notes
    -----
    All sums in float64. Pairs: 4 n d^2 + 4 n d'^2 + 2 n d d' flops; memory a few blocks of 8 MiB beyond the functions
    that are returned, so embeddings may be memory maps. With a context: one product of its operator with d columns,
    in its own type, and (n + 2 m) d float64.

    References
    ----------
    R. Zhai, "Contextures: The Mechanism of Representation Learning", dissertation, 2025, arXiv 2504.19792 (post-hoc
    recovery of the spectrum); Varici, Tsai et al., "Eigenfunction Extraction for Ordered Representation Learning",
    arXiv 2510.24672.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> C = np.array([[8.0, 1.0, 1.0], [1.0, 6.0, 2.0], [1.0, 1.0, 9.0]])
    >>> ctx = ec.contexts.counts(C)
    >>> spec = ec.spectrum(ctx, k=2)
    >>> phi = spec.left @ np.array([[2.0, 1.0], [0.0, 1.0]]) + 5.0  # any invertible linear map
    >>> found = ec.metrics.posthoc_spectrum(phi, context=ctx)
    >>> bool(np.allclose(found.singular_values, spec.singular_values))
    True
    >>> bool(np.allclose(found.left, spec.left))
    True
    """
    if context is None:
        if psi is None:
            raise TypeError("psi: got None; allowed: embeddings of the context values, or context= (one encoder)")
        if isinstance(psi, Context):
            raise TypeError("psi: got a Context; allowed: embeddings of its values (a context goes to context=)")
        return _of_pairs(phi, psi, weights)
    context = check_context(context)
    if weights is not None:
        raise TypeError("weights: got weights beside a context; allowed: None, the context has its own")
    if psi is None:
        return _of_one(phi, context)
    return _of_both(phi, psi, context)


def _of_pairs(phi: Any, psi: Any, weights: Any) -> PosthocSpectrum:
    P = embeddings(phi, "phi")
    Q = embeddings(psi, "psi", len(P), "phi has")
    w = shares(weights, len(P))
    first, second = _whitened(P, w, "phi"), _whitened(Q, w, "psi")
    n = int(np.count_nonzero(w))
    if first.rank + second.rank > n - 1:
        warnings.warn(
            f"posthoc_spectrum: phi spans {first.rank} dimensions and psi {second.rank}, together more than the "
            f"{n - 1} that {n} pairs have: some correlations are 1 whatever was learned",
            UserWarning,
            stacklevel=3,
        )
    return _rotations(first, second, cross(first, second), output_like(phi), output_like(psi))


def _of_both(phi: Any, psi: Any, context: Context) -> PosthocSpectrum:
    first = whitened_inputs(phi, context)
    q = spread(context.p_a, context.columns, context.n_columns)
    second = _whitened(embeddings(psi, "psi", len(q), "the context has values"), q, "psi")
    K = product(image(context, first.columns()), second.columns()[context.columns])
    return _rotations(first, second, K, output_like(phi), output_like(psi))


def _of_one(phi: Any, context: Context) -> PosthocSpectrum:
    first = whitened_inputs(phi, context)
    G = image(context, first.columns())
    V = np.linalg.eigh(product(G))[1][:, ::-1]
    G = G @ V
    s = np.sqrt(np.sum(G * G, axis=0))  # norms of the images: squares would lose what is below sqrt(eps)
    order = np.argsort(-s, kind="stable")
    s, G, rotation = s[order], G[:, order], first.transform @ V[:, order]
    left = functions(first.array, first.mean, rotation)
    signs = fix_signs(left)
    floor = 10.0 * float(np.finfo(context.dtype).eps) * np.sqrt(max(context.shape))
    nu = np.divide(G * signs, s, out=np.full(G.shape, np.nan), where=s > floor) / np.sqrt(context.p_a)[:, None]
    like = output_like(phi)
    right = spread(nu, context.columns, context.n_columns).astype(first.array.dtype)
    s = np.where(s > floor, np.minimum(s, 1.0), 0.0)
    left *= signs.astype(left.dtype)
    return PosthocSpectrum(s, like(left), like(right), "one encoder", (first.rank,), first.mean, rotation * signs)


def whitened_inputs(phi: Any, context: Context) -> Whitening:
    """phi at the inputs of a context, whitened under p_x; inputs without mass weigh nothing."""
    p = spread(context.p_x, context.rows, context.n_rows)
    return _whitened(embeddings(phi, "phi", len(p), "the context has inputs"), p, "phi")


def cross(first: Whitening, second: Whitening) -> np.ndarray:
    """The covariance of two whitenings of the same rows; its singular values are canonical correlations."""
    K = np.zeros((first.rank, second.rank))
    for rows in steps(first.array if first.array.shape[1] > second.array.shape[1] else second.array):
        K += product(first.block(rows), second.block(rows))
    return K


def _whitened(array: np.ndarray, weights: np.ndarray, name: str) -> Whitening:
    if np.count_nonzero(weights) < 2:
        raise ValueError(f"{name}: got 1 row with weight; allowed: at least 2")
    return Whitening(array, weights, name)


def _rotations(
    first: Whitening, second: Whitening, K: np.ndarray, like: Callable, like_psi: Callable
) -> PosthocSpectrum:
    U, s, Vh = np.linalg.svd(K, full_matrices=False)
    rotation_phi, rotation_psi = first.transform @ U, second.transform @ Vh.T
    left, right = functions(first.array, first.mean, rotation_phi), functions(second.array, second.mean, rotation_psi)
    signs = fix_signs(left)
    left *= signs.astype(left.dtype)
    right *= signs.astype(right.dtype)
    return PosthocSpectrum(
        np.minimum(s, 1.0),
        like(left),
        like_psi(right),
        "two encoders",
        (first.rank, second.rank),
        first.mean,
        rotation_phi * signs,
        second.mean,
        rotation_psi * signs,
    )


def _rotated(value: Any, name: str, mean: np.ndarray, rotation: np.ndarray) -> Any:
    array = embeddings(value, name)
    if array.shape[1] != len(mean):
        raise ValueError(f"{name}: got shape {array.shape}; allowed: {len(mean)} features")
    return output_like(value)(functions(array, mean, rotation))
