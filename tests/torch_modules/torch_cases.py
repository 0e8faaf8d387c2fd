"""One case for each module and kind of input: how it is made, called, and what it must equal."""

from dataclasses import dataclass
from typing import Any

import torch
import torch_formulas as formulas

import eigencontext as ec

RBF = {"kernel": "rbf", "bandwidth": 1.5}


@dataclass
class Case:
    """`reference` takes the same inputs, and constants by name."""

    module: Any
    inputs: dict
    constants: dict
    reference: Any
    keywords: tuple = ("weights", "labels", "teacher", "temperature", "t", "b")

    def call(self, inputs, module=None, constants=None):
        given = {**inputs, **(self.constants if constants is None else constants)}
        rows = [value for name, value in given.items() if name not in self.keywords]
        return (module or self.module)(*rows, **{name: v for name, v in given.items() if name in self.keywords})


def cases(n=12, d=3, seed=0, group=None):
    """By name; float64. Weights, labels and the like are constants."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    phi, psi = normal(n, d) + 0.3, normal(n, d) - 0.2
    views, several, X, wide = normal(n, 2, d), normal(n, 3, d), normal(n, 4), normal(n, d + 2)
    weights, y = torch.rand(n, generator=g, dtype=torch.float64), torch.arange(n) % 3
    T, t, b = (torch.tensor(value, dtype=torch.float64) for value in (0.7, 1.3, -0.4))
    pair, both = {"phi": phi, "psi": psi}, {"weights": weights}
    f, made = formulas, {}

    def add(name, module, inputs, constants, reference, **options):
        made[name] = Case(module(process_group=group, **options), inputs, constants, reference)

    t_ = ec.torch
    for weighted in ({}, both):
        tag = ", weights" if weighted else ""
        add("svme" + tag, t_.SVMELoss, pair, weighted, f.svme)
        add("noncontrastive" + tag, t_.SpectralNonContrastiveLoss, pair, weighted, f.spectral_noncontrastive)
        add("vicreg" + tag, t_.VICRegLoss, pair, weighted, f.vicreg)
        add("rayleigh" + tag, t_.RayleighLoss, pair, weighted, f.rayleigh)
        add("low_rank" + tag, t_.LowRankLoss, pair, weighted, f.low_rank)
        add("nested" + tag, t_.NestedLowRankLoss, pair, weighted, f.nested_low_rank)
        add(
            "spectral_contrastive" + tag, t_.SpectralContrastiveLoss, {"views": views}, weighted, f.spectral_contrastive
        )
    add("svme, options", t_.SVMELoss, pair, {}, lambda p, q: f.svme(p, q, None, 0.5, 2.0), alpha=0.5, beta=2.0)
    add(
        "rayleigh, split",
        t_.RayleighLoss,
        pair,
        both,
        lambda *a, **k: f.rayleigh(*a, **k, estimator="split"),
        estimator="split",
    )
    add("low_rank, contexts", t_.LowRankLoss, {"phi": phi, "psi": several}, {}, f.low_rank)
    for name, module, formula in (
        ("low_rank", t_.LowRankLoss, f.low_rank),
        ("nested", t_.NestedLowRankLoss, f.nested_low_rank),
    ):
        for options in ({"centered": True}, {"centered": True, "estimator": "plugin"}):

            def reference(p, q, weights=None, formula=formula, options=options):
                return formula(p, q, weights, **options)

            add(f"{name}, {options}", module, pair, both, reference, **options)
    add(
        "nested, constant",
        t_.NestedLowRankLoss,
        pair,
        {},
        lambda p, q: f.nested_low_rank(p, q, first_mode="constant"),
        first_mode="constant",
    )
    add("barlow", t_.BarlowTwinsLoss, pair, {}, f.barlow_twins)
    add(
        "correlation",
        t_.CorrelationLoss,
        {"phi": phi, "psi": wide},
        {},
        lambda p, q: f.correlation(p, q, 0.1),
        ridge=0.1,
    )
    for form in ("dot", "distance"):
        add(
            f"exponential {form}",
            t_.ExponentialLowRankLoss,
            pair,
            {},
            lambda p, q, form=form: f.exponential_low_rank(p, q, 2.0, form),
            temperature=2.0,
            form=form,
        )
        add(
            f"exponential views {form}",
            t_.ExponentialSpectralContrastiveLoss,
            {"views": views},
            {},
            lambda v, form=form: f.exponential_spectral_contrastive(v, 2.0, form),
            temperature=2.0,
            form=form,
        )
    add("info_nce", t_.InfoNCELoss, {**pair, "temperature": T}, {}, f.info_nce)
    add("sigmoid", t_.SigmoidLoss, {**pair, "t": t, "b": b}, {}, f.sigmoid)
    one = {"phi": phi}
    add("kise", t_.KISELoss, one, {"X": X}, lambda p, X: f.kise_with(p, f.rbf(X, X, 1.5)), **RBF)
    add(
        "kise, no diagonal",
        t_.KISELoss,
        one,
        {"X": X},
        lambda p, X: f.kise_with(p, f.rbf(X, X, 1.5), False),
        diagonal=False,
        **RBF,
    )
    add(
        "kise, walk",
        t_.KISELoss,
        one,
        {"X": X},
        lambda p, X: f.kise_with(p, f.walk(f.rbf(X, X, 1.5))),
        dual="walk",
        **RBF,
    )
    add("kise, labels", t_.KISELoss, one, {"labels": y}, lambda p, labels: f.kise_with(p, f.label_kernel(labels)))
    add("kise, teacher", t_.KISELoss, one, {"teacher": X}, lambda p, teacher: f.kise_with(p, f.teacher_kernel(teacher)))
    add("supervised", t_.SupervisedMSELoss, one, {"targets": X}, lambda p, Y: f.supervised_mse(p, Y, 0.1), ridge=0.1)
    for balanced in (False, True):
        add(
            f"supervised, labels, {balanced}",
            t_.SupervisedMSELoss,
            one,
            {"labels": y},
            lambda p, labels, balanced=balanced: f.supervised_mse(p, f.one_hot(labels, balanced)),
            balanced=balanced,
        )
    return made


NAMES = list(cases())
