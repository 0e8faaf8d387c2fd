"""KISE and SVME for a chain of kernels and samplers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import _device
from .._arguments import check_integer, check_number
from ..operators import Operator
from ._base import Batch, Result, RowTerms, check_count, finite_loss, overflow
from ._kernels import KERNEL_OPTIONS, centred, column_means, combined, kernel_operator, written
from ._moments import Moments, of_batch
from ._pairwise import in_memory
from ._svme import covariance_terms

__all__ = ["chain"]


def chain(
    phi: Any,
    phi_0: Any,
    links: Sequence[tuple],
    *,
    psi: Any = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    eps: float = 1e-4,
    ddof: int = 1,
    grad: Any = None,
    out: Any = None,
) -> Result:
    """Loss of one encoder for a chain of contexts, kernels and samplers mixed.

    A sampler moves the input x, a kernel averages over the batch, late: where the first kernel (or the end of the
    chain) finds x, B = Phi(x) - mean Phi(x_0); each kernel link G = k(x_0, x), rows x_0, makes B <- G^T B/N. The last
    element closes the chain on x_0: a sampler through psi = Psi(a), a drawn from x_0, with ||B - C||^2/(N d), C = H
    Psi; a kernel with (||B||^2 - <B, G B>/N)/(N d), G = k(x_0, x_0). The loss is [that + alpha L_std + beta L_cov]/(1
    + alpha + beta) with S = B^T B/(N - ddof) of the final B as it is and L_std of its centred variances.

    Parameters
    ----------
    phi, phi_0 : arrays (N, d)
        Phi(x) and Phi(x_0). Where x is x_0 the same array is given twice, and its gradient is the sum of both. Objects
        with len and slicing, here and below, are read whole, as what a link makes of them is as large.
    links : sequence of (options, x_0, x)
        The kernel links in order: a dict of kernel, bandwidth, degree and coef0 (`kise`), the N inputs x_0, and x, x_0
        moved by the samplers between this kernel and the next element that is a kernel or closes the chain. Without psi
        the last link closes the chain and is (options, x_0).
    psi : array (N, d), optional
        Psi(a), where a sampler closes the chain.
    alpha, beta, eps, ddof
        As in `kise`.
    grad : sequence of str, optional
        Whose gradients are wanted, of "phi", "phi_0", "psi"; all by default.
    out : dict or tuple of arrays, optional
        Memory for the gradients, by name or in the order phi, phi_0, psi.

    Returns
    -------
    Result
        ``.loss``, ``.grad_phi``, ``.grad_phi_0`` and, with psi, ``.grad_psi``; ``.terms``: data, std, cov.

    Raises
    ------
    ValueError
        No psi and no link; rows that do not agree; a closing polynomial kernel, whose values exceed 1; NaN or inf.
    TypeError
        Embeddings that are not floating point; links of another form.
    OverflowError
        A loss or gradient that does not fit; the message names the scale of the embeddings.

    Notes
    -----
    Cost: N^2 (2 p + 2 d) flops for each product with a link, one for the value and one more for the gradient (half the
    scores for the closing kernel, once). Memory: O(N d), a tile a thread.

    References
    ----------
    R. Zhai, *Contextures: The Mechanism of Representation Learning*, 2025.

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((100, 2))
    >>> one = ec.objectives.chain(x, x, [({"kernel": "rbf", "bandwidth": 1.0}, x)])  # a single kernel: KISE
    >>> kise = ec.objectives.kise(x, X=x, kernel="rbf", bandwidth=1.0)
    >>> bool(np.isclose(one.loss, kise.loss)), np.allclose(one.grad_phi + one.grad_phi_0, kise.grad_phi)
    (True, True)
    """
    alpha, beta = check_number(alpha, "alpha", 0.0), check_number(beta, "beta", 0.0)
    eps, ddof = check_number(eps, "eps", 0.0), check_integer(ddof, "ddof", 0)
    inputs = {"phi": phi, "phi_0": phi_0} | ({} if psi is None else {"psi": psi})
    batch = Batch({name: in_memory(a, name) for name, a in inputs.items()}, grad=grad, out=out)
    n, d = batch.arrays["phi"].shape
    check_count(n, ddof + 1, f"N - {ddof} divides")
    absorbed, closing = _operators(links, psi is None, batch)
    means = {name: column_means(array) for name, array in batch.arrays.items()}
    if not all(np.isfinite(mean).all() for mean in means.values()):
        batch.check_finite()
        raise overflow("mean", batch)

    B = centred(batch.arrays["phi"], means["phi_0"])
    averaged = RowTerms(phi=(1.0 / n, 0.0, 0.0))
    for G in absorbed:
        B = combined(averaged, G.rmatmat(B))
    Y = centred(batch.arrays["psi"], means["psi"]) if closing is None else closing.matmat(B)
    acc = _moments(batch, B, Y)
    rows, norm = n - ddof, 1.0 + alpha + beta
    m, pp = acc.mean_phi, acc.sums["pp"]
    with np.errstate(over="ignore", invalid="ignore"):
        S = pp + n * np.outer(m, m)
        if closing is None:
            data = float((acc.sums["differences"] + n * (m - acc.mean_psi) ** 2).sum()) / (n * d)
        else:
            data = float(np.trace(S) - (acc.sums["products"] / n + m * acc.mean_psi).sum()) / (n * d)
        cov, by_cov = covariance_terms(S / rows, eps, rows)[1::2]
        std, _, by_std, _ = covariance_terms(np.diag(np.diag(pp)) / rows, eps, rows)
        loss = (data + alpha * std + beta * cov) / norm
    finite_loss(batch, loss)
    f = 2.0 / (n * d * norm)
    if batch.outs["phi"] is not None or batch.outs["phi_0"] is not None:
        P = (beta * by_cov + alpha * np.diag(by_std)) / norm
        constant = -alpha / norm * by_std * m
        terms = RowTerms(P=P, constant=constant, phi=(f, 0.0, 0.0), psi=(-f if closing is None else -f / n, 0.0, 0.0))
        D = combined(terms, B, Y)
        for G in reversed(absorbed):
            D = combined(averaged, G.matmat(D))
        _write(batch, "phi", RowTerms(phi=(1.0, 0.0, 0.0)), D)
        _write(batch, "phi_0", RowTerms(constant=-column_means(D)), D)
    if closing is None and batch.outs["psi"] is not None:
        terms = RowTerms(phi=(-f, 0.0, 0.0), psi=(f, 0.0, 0.0))
        _write(batch, "psi", terms, B, Y, (m, acc.mean_psi))
    return batch.result(loss, {"data": data, "std": std, "cov": cov})


def _operators(links: Any, closes: bool, batch: Batch) -> tuple[list[Operator], Operator | None]:
    """The links that B goes through, and the one that closes the chain, if one does."""
    if not isinstance(links, (list, tuple)):
        raise TypeError(f"links: got {type(links).__name__}; allowed: a list of (options, x_0, x)")
    if closes and not links:
        raise ValueError("links: got none and no psi; allowed: something that closes the chain")
    made = []
    for j, link in enumerate(links):
        last = closes and j == len(links) - 1
        if not isinstance(link, (list, tuple)) or len(link) != (2 if last else 3) or not isinstance(link[0], Mapping):
            form = "(options, x_0), as it closes the chain" if last else "(options, x_0, x)"
            raise TypeError(f"links[{j}]: got {type(link).__name__}; allowed: {form}")
        for name in link[0]:
            if name not in KERNEL_OPTIONS:
                raise ValueError(f"links[{j}]: got option {name!r}; allowed: {', '.join(KERNEL_OPTIONS)}")
        if last and link[0].get("kernel") == "polynomial":
            raise ValueError(
                f"links[{j}]: got the polynomial kernel at the end; allowed: rbf, laplacian, cosine (its values exceed "
                "1, so the loss would be unbounded below)"
            )
        X, A = in_memory(link[1], f"links[{j}][1]"), None if last else in_memory(link[2], f"links[{j}][2]")
        G = kernel_operator(X, A, link[0], batch.dtype)
        if G.shape != (batch.n, batch.n):
            points = f"{G.shape[0]} x {G.shape[1]} points"
            raise ValueError(f"links[{j}]: got {points}; allowed: {batch.n} each, as phi has rows")
        _device.one_device({G.device, batch.device}, f"phi, links[{j}]")
        made.append(G)
    return (made[:-1], made[-1]) if closes else (made, None)


def _moments(batch: Batch, B: Any, Y: Any) -> Moments:
    pair = batch.part(slice(None))
    pair.arrays = {"phi": B, "psi": Y}
    return of_batch(pair, "svme")


def _write(batch: Batch, name: str, terms: RowTerms, b: Any, c: Any = None, means=(None, None)) -> None:
    out = batch.outs[name]
    if out is not None and not written(out, terms, b, c, means):
        raise overflow("gradient", batch)
