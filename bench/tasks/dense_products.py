"""The engine's products of a dense float32 matrix with blocks of b vectors, from both sides and fused."""

import numpy as np

from ..case import Case, Goal, field_of, largest_error

WANTED = {("A X", 32): 0.8, ("A X", 16): 0.6, ("A^T Y", 32): 0.8, ("A^T Y", 16): 0.6}
WANTED |= {("A^T A X", 16): 0.95, ("A^T A X", 32): 0.95}


def cases(quick):
    n, m = (600, 200) if quick else (20000, 4000)
    rng = np.random.default_rng(0)
    a = rng.standard_normal((n, m), dtype=np.float32)
    exact = a.astype(np.float64)
    for b in (16,) if quick else (8, 16, 32, 64):
        x, y = rng.standard_normal((m, b), dtype=np.float32), rng.standard_normal((n, b), dtype=np.float32)
        image = exact @ x
        for product, block, reference in (
            ("A X", x, image),
            ("A^T Y", y, exact.T @ y),
            ("A^T A X", x, exact.T @ image),
        ):
            flops = (4 if product == "A^T A X" else 2) * n * m * b
            yield Case(
                task="dense_products",
                name=f"{product}, b = {b}",
                data={"a": a, "block": block, "product": product},
                accuracy=1e-5,
                error=largest_error(reference),
                work=lambda _, flops=flops: (flops, a.nbytes),
            )


def goals(results):
    for (product, b), wanted in WANTED.items():
        name = f"{product}, b = {b}"
        flops, seconds = (field_of(results, name, "eigencontext", field) for field in ("flops", "median"))
        got = flops / seconds / results[name]["limits"]["gemm"] if seconds else None
        yield Goal(f"dense {name}: share of the GEMM rate", wanted, got, unit="")
