"""Small networks trained on scikit-learn's digits, and what they learned beside the exact spectra of their contexts.

    python bench/reproductions/train_digits.py

prints for each loss and seed the captured energy RT/(s_1^2 + ... + s_8^2) of 8 features before and after training (1:
the top 8 singular functions are learned), the post-hoc singular values beside the exact ones, and |correlation| of
feature j with singular function j, which only the nested loss orders. The networks see centred pixels.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits

import eigencontext as ec

FEATURES = 8
HIDDEN = 256


@dataclass
class Setting:
    """A loss, the context whose functions it learns, and for how many steps."""

    loss: torch.nn.Module
    context: ec.contexts.Context
    steps: int = 100


@dataclass
class Outcome:
    """What one network learned."""

    before: float
    after: float
    posthoc: np.ndarray
    exact: np.ndarray
    correlations: np.ndarray


def digits() -> np.ndarray:
    """(1797, 64) float32 in [0, 1]."""
    return (load_digits().data / 16).astype(np.float32)


def settings(X: np.ndarray) -> dict[str, Setting]:
    """KISE is given a kernel's values, not pairs: the dual kernel of the random walk of rbf, whose context is compared.

    The order of functions can only be seen where the singular values are apart: 150 neighbours.
    """
    h = 1.5
    return {
        "svme": Setting(ec.torch.SVMELoss(), ec.contexts.neighbors(X, n_neighbors=30)),
        "kise": Setting(
            ec.torch.KISELoss(kernel="rbf", bandwidth=h, dual="walk", alpha=2.0),
            ec.contexts.kernel(X, kernel="rbf", bandwidth=h),
            steps=140,
        ),
        "nested": Setting(
            ec.torch.NestedLowRankLoss(centered=True, mode="sequential"),
            ec.contexts.neighbors(X, n_neighbors=150),
            steps=260,
        ),
    }


def network() -> torch.nn.Module:
    """64 pixels to 8 features."""
    widths = [64, HIDDEN, HIDDEN, FEATURES]
    layers: list[torch.nn.Module] = []
    for a, b in zip(widths, widths[1:], strict=False):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def train(setting: Setting, X: np.ndarray, seed: int) -> Outcome:
    """Full-batch Adam; each step sees one fresh context value of each input."""
    torch.manual_seed(seed)
    inputs, encoder, context_encoder = torch.from_numpy((X - X.mean(axis=0)) / X.std()), network(), network()
    spec = ec.spectrum(setting.context, k=2 * FEATURES)
    before = captured(encoder, inputs, spec, setting.context)
    optimizer = torch.optim.Adam([*encoder.parameters(), *context_encoder.parameters()], lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, setting.steps)
    of_pairs = not isinstance(setting.loss, ec.torch.KISELoss)
    drawn = setting.context.sample(np.arange(len(X)), n_samples=setting.steps, seed=seed) if of_pairs else None
    for step in range(setting.steps):
        optimizer.zero_grad()
        other = torch.from_numpy(X) if drawn is None else context_encoder(inputs[drawn[:, step]])
        setting.loss(encoder(inputs), other).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        phi = encoder(inputs).double().numpy()
    posthoc = ec.metrics.posthoc_spectrum(phi, context=setting.context).singular_values
    standard = (phi - phi.mean(axis=0)) / phi.std(axis=0)
    correlations = np.abs(np.mean(standard * spec.left[:, :FEATURES], axis=0))
    after = captured(encoder, inputs, spec, setting.context)
    return Outcome(before, after, posthoc, spec.singular_values[:FEATURES], correlations)


def captured(encoder: torch.nn.Module, inputs: torch.Tensor, spec: ec.Spectrum, context: ec.contexts.Context) -> float:
    """RT of the encoder's features over the largest that 8 can have."""
    with torch.no_grad():
        phi = encoder(inputs)
    return ec.metrics.alignment(phi, spec, context=context, n_neighbors=None).captured


def main() -> None:
    """Prints everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--losses", default="svme,kise,nested")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the products are small, and threads that wait would hold the loss up
    X = digits()
    for name, setting in settings(X).items():
        if name not in arguments.losses.split(","):
            continue
        for seed in range(arguments.seeds):
            outcome = train(setting, X, seed)
            print(f"{name}, seed {seed}: captured {outcome.before:.3f} untrained, {outcome.after:.3f} trained")
            for label in ("exact", "posthoc", "correlations"):
                print(f"  {label:13}", " ".join(f"{value:.3f}" for value in getattr(outcome, label)))


if __name__ == "__main__":
    main()
