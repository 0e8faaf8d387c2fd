"""A small matrix, 100 x 50 in float64, k = 5, on which overheads show."""

import numpy as np

from ..case import Case, Goal, ratio, relative_error

NAME = "100 x 50, k = 5"


def cases(quick):
    a = np.random.default_rng(3).standard_normal((100, 50))
    exact = np.sqrt(np.linalg.eigvalsh(a.T @ a)[::-1][:5])
    yield Case("small", NAME, {"a": a, "k": 5}, accuracy=1e-3, error=relative_error(exact), rounds=15)


def goals(results):
    share = ratio(results, NAME, "eigencontext", "numpy.linalg.svd")
    yield Goal("small call: time over that of numpy.linalg.svd", 2, share, most=True)
