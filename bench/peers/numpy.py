"""NumPy: its OpenBLAS products, LAPACK's full SVD, and a kernel matrix in chunks."""

import numpy as np

from ..case import Answer, Method


def svd(data, _):
    return Answer(np.linalg.svd(data["a"], full_matrices=False).S[: data["k"]])


def product(data, _):
    a, block = data["a"], data["block"]
    if data["product"] == "A X":
        return Answer(a @ block)
    if data["product"] == "A^T Y":
        return Answer(a.T @ block)
    return Answer(a.T @ (a @ block))


def chunked_rbf(data, _):
    X, block = data["X"], data["block"]
    squares = (X * X).sum(1)
    out = np.empty((len(X), block.shape[1]), X.dtype)
    for begin in range(0, len(X), 1024):
        rows = slice(begin, begin + 1024)
        distances = squares[rows, None] + squares - 2 * (X[rows] @ X.T)
        out[rows] = np.exp(distances * X.dtype.type(-0.5 / data["bandwidth"] ** 2)) @ block
    return Answer(out)


METHODS = [
    Method("numpy.linalg.svd", "numpy", "small", svd),
    Method("NumPy", "numpy", "dense_products", product),
    Method("NumPy in chunks", "numpy", "rbf_product", chunked_rbf),
]
