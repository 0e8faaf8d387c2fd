"""One file for each task: `cases(quick)` yields its cases, `goals(rows)` its figures to reach."""

from . import (
    cooccurrence,
    csr_products,
    dense_products,
    dense_svd,
    encoder,
    imports,
    kernel_pca,
    neighbors,
    objectives,
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
    encoder,
    rpcholesky,
    objectives,
    cooccurrence,
)
TASKS = {module.__name__.rpartition(".")[2]: module for module in MODULES}
