"""One file for each task: `cases(quick)` yields its cases, `goals(rows)` its figures to reach."""

from . import (
    csr_products,
    dense_products,
    dense_svd,
    imports,
    kernel_pca,
    neighbors,
    rbf_product,
    rpcholesky,
    sampled_products,
    small,
    sparse_svd,
)

MODULES = (
    dense_products,
    csr_products,
    rbf_product,
    sampled_products,
    imports,
    small,
    dense_svd,
    sparse_svd,
    kernel_pca,
    neighbors,
    rpcholesky,
)
TASKS = {module.__name__.rpartition(".")[2]: module for module in MODULES}
