"""scikit-learn: randomized_svd, KernelPCA, NearestNeighbors and SpectralEmbedding."""

from ..case import Answer, Method


def randomized_svd(data, n_iter):
    from sklearn.utils.extmath import randomized_svd

    return Answer(randomized_svd(data["a"], data["k"], n_iter=n_iter, random_state=0)[1])


def kernel_pca(data, iterated_power):
    from sklearn.decomposition import KernelPCA

    model = KernelPCA(
        data["k"],
        kernel="rbf",
        gamma=0.5 / data["bandwidth"] ** 2,
        eigen_solver="randomized",
        iterated_power=iterated_power,
        random_state=0,
        copy_X=False,
    )
    return Answer(model.fit(data["X"]).eigenvalues_)


def neighbors(data, _):
    from sklearn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=data["k"], algorithm="brute").fit(data["X"])
    return Answer(model.kneighbors(data["X"], return_distance=False))


def spectral_embedding(data, tol):
    from sklearn.manifold import SpectralEmbedding

    model = SpectralEmbedding(
        data["k"], affinity="nearest_neighbors", n_neighbors=data["n_neighbors"], random_state=0, eigen_tol=tol
    )
    return Answer(model.fit_transform(data["X"]))


SVD, PACKAGE = "sklearn randomized_svd", "scikit-learn"
METHODS = [
    Method(SVD, PACKAGE, "dense_svd", randomized_svd, tuple(range(2, 21))),
    Method(f"{SVD}, n_iter=7", PACKAGE, "sparse_svd", randomized_svd, (7,), as_is=True),
    Method("sklearn KernelPCA randomized", PACKAGE, "kernel_pca", kernel_pca, (1, 2, 3, 4, 5, 7, 10, 15)),
    Method("sklearn brute force", PACKAGE, "neighbors", neighbors),
    Method("sklearn SpectralEmbedding", PACKAGE, "encoder", spectral_embedding, (1e-1, 1e-2, "auto")),
]
