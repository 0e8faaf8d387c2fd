"""fbpca: randomised SVD without centring (``raw=True``); slow enough to be stopped, hence a process of its own."""

from ..case import Answer, Method


def pca(data, n_iter):
    import fbpca
    import numpy as np

    np.random.seed(0)  # it draws from the global state
    return Answer(fbpca.pca(data["a"], data["k"], raw=True, n_iter=n_iter)[1])


METHODS = [Method("fbpca", "fbpca", "dense_svd", pca, tuple(range(8, 21, 2)), isolated=True)]
