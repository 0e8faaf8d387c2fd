"""Slow modes of time series, found by the context `lagged`, against the ones that are known.

    python bench/reproductions/slow_modes.py

- AR(1), x' = rho x + sqrt(1 - rho^2) z: s_i = rho^(lag i), with Hermite polynomials as functions.
- A double well, dx = -V'(x) dt + sqrt(2/beta) dW, V = (x^2 - 1)^2: s_i = exp(-lambda_i t) at the time t of the lag,
  with lambda_i and the functions those of the generator, discretised on a grid (differences that keep reversibility).

slow_modes.csv has, for each series, lag and mode, the known value, the one found, and the correlation of the function
with the known one. `null` is the largest value of shuffled pairs: below it nothing was found, and a value whose known
one is below it is noise, whatever was found.
"""

import csv
import pathlib

import numpy as np
from numpy.polynomial import hermite_e

import eigencontext as ec

TABLE = pathlib.Path(__file__).parent / "slow_modes.csv"
FIELDS = ("series", "n", "lag", "mode", "known", "found", "correlation", "null")
MODES, N = 3, 4000
RHO, BETA, STEP, EVERY = 0.9, 2.5, 1e-3, 100  # of the double well every 100th step is seen: 0.1 apart in time


def autoregressive(n: int, rho: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(n)
    x = np.empty(n)
    x[0] = noise[0]
    for i in range(1, n):
        x[i] = rho * x[i - 1] + np.sqrt(1 - rho * rho) * noise[i]
    return x


def hermite_modes(x: np.ndarray, rho: float, lag: int) -> tuple[np.ndarray, np.ndarray]:
    functions = np.stack([hermite_e.hermeval(x, np.eye(MODES + 1)[i]) for i in range(1, MODES + 1)], axis=1)
    return rho ** (lag * np.arange(1, MODES + 1)), functions


def double_well(n: int, seed: int = 0) -> np.ndarray:
    """Euler-Maruyama, one long path."""
    noise = np.random.default_rng(seed).standard_normal((n, EVERY)) * np.sqrt(2 * STEP / BETA)
    x, path = 1.0, np.empty(n)
    for i in range(n):
        for kick in noise[i].tolist():
            x += -4 * x * (x * x - 1) * STEP + kick
        path[i] = x
    return path


def generator_modes(x: np.ndarray, lag: int, cells: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """Rates between neighbouring cells c/h^2 sqrt(pi_j / pi_i): symmetric in the coordinates of sqrt(pi)."""
    grid = np.linspace(-2.5, 2.5, cells)
    spacing = grid[1] - grid[0]
    potential = BETA * (grid**2 - 1) ** 2
    rate = 1 / (BETA * spacing**2)
    leaving = np.zeros(cells)
    leaving[:-1] += rate * np.exp((potential[:-1] - potential[1:]) / 2)
    leaving[1:] += rate * np.exp((potential[1:] - potential[:-1]) / 2)
    L = np.diag(leaving) - rate * (np.eye(cells, k=1) + np.eye(cells, k=-1))
    values, vectors = np.linalg.eigh(L)
    functions = vectors[:, 1 : MODES + 1] * np.exp(potential / 2)[:, None]
    at = np.stack([np.interp(x, grid, f) for f in functions.T], axis=1)
    return np.exp(-values[1 : MODES + 1] * lag * EVERY * STEP), at


def rows(name: str, x: np.ndarray, lag: int, known: np.ndarray, functions: np.ndarray) -> list[dict]:
    context = ec.contexts.lagged(x[:, None], lag=lag, null=True)
    spectrum = ec.spectrum(context, MODES)
    found = []
    for i in range(MODES):
        correlation = abs(np.corrcoef(spectrum.left[:, i], functions[: len(x) - lag, i])[0, 1])
        numbers = (known[i], spectrum.singular_values[i], correlation, context.null)
        found.append(dict(zip(FIELDS, (name, len(x), lag, i + 1, *(f"{v:.4f}" for v in numbers)), strict=True)))
    return found


def main() -> None:
    table = []
    series = autoregressive(N, RHO)
    for lag in (1, 2, 5, 10):
        table += rows(f"AR(1), rho = {RHO}", series, lag, *hermite_modes(series, RHO, lag))
    path = double_well(N)
    for lag in (1, 5, 20, 50):
        table += rows(f"double well, beta = {BETA}", path, lag, *generator_modes(path, lag))
    with open(TABLE, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    print(*("  ".join(f"{row[field]:>22}" for field in FIELDS) for row in ({f: f for f in FIELDS}, *table)), sep="\n")


if __name__ == "__main__":
    main()
