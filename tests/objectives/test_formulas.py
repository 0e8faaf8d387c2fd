"""Every objective, option and input against the formulas of THEORY 4 and central differences."""

import numpy as np
import objective_oracles as oracle
import pytest

import eigencontext as ec

objectives = ec.objectives
RNG = np.random.default_rng(7)
N = 9
PHI, PSI = 0.6 * RNG.standard_normal((N, 3)) + 1, 0.7 * RNG.standard_normal((N, 3)) - 0.5
CONTEXTS = RNG.standard_normal((N, 2, 3)) + 0.2
VIEWS = RNG.standard_normal((N, 3, 2)) + 0.3
WEIGHTS = RNG.random(N)
WEIGHTS[2] = 0
LEVELS = np.array([1.0, 0.5, 2.0])
LABELS = [0, 0, 1, 1, 2, 2, 2, 1, 0]


def cases():
    for weights in (None, WEIGHTS):
        kw = {} if weights is None else {"weights": weights}
        for name in ("svme", "spectral_noncontrastive"):
            yield name, (PHI, PSI), {"alpha": 0.7, "beta": 2.0, **kw}
            yield name, (PHI, PSI), {"alpha": 0.0, "beta": 0.0, **kw}
            yield name, (PHI, PSI), {"eps": 1e-2, "ddof": 0, **kw}
        yield "vicreg", (PHI, PSI), kw
        yield "vicreg", (PHI, PSI), {"ddof": 0, **kw}
        yield (
            "vicreg",
            (PHI, PSI),
            {"sim": 2.0, "std": 3.0, "cov": 4.0, "eps": 0.1, "halve_std": False, **kw},
        )
        for estimator in ("plugin", "split"):
            yield "rayleigh", (PHI, PSI), {"alpha": 0.7, "beta": 2.0, "estimator": estimator, **kw}
        for estimator in ("u", "plugin"):
            for centered in (False, True):
                options = {"centered": centered, "estimator": estimator, **kw}
                yield "low_rank", (PHI, PSI), options
                yield "low_rank", (PHI, CONTEXTS), options
                yield "nested_low_rank", (PHI, PSI), options
                yield "nested_low_rank", (PHI, PSI), {"level_weights": LEVELS, **options}
            if estimator == "plugin" or weights is None:
                options = {"level_weights": LEVELS, "first_mode": "constant", "estimator": estimator, **kw}
                yield "nested_low_rank", (PHI, PSI), options
        yield "spectral_contrastive", (VIEWS,), kw
        yield "spectral_contrastive", (VIEWS[:, :2],), kw
    yield "barlow_twins", (PHI, PSI), {}
    yield "barlow_twins", (PHI, PSI), {"lambd": 0.5, "eps": 0.0}
    yield "correlation", (PHI, PSI), {}
    yield "correlation", (PHI, PSI[:, :2]), {"ridge": 0.1}


CASES = list(cases())


def close(got, wanted, tol):
    return np.abs(got - wanted).max() <= tol * max(np.abs(wanted).max(), 1e-3)


def shown(case):
    options = [f"{key}={'array' if np.ndim(value) else value}" for key, value in case[2].items()]
    return "-".join([case[0], str(case[1][-1].shape), *options])


@pytest.mark.parametrize("name, inputs, options", CASES, ids=map(shown, CASES))
def test_value_and_gradients(name, inputs, options):
    loss = getattr(oracle, name)
    result = getattr(objectives, name)(*inputs, **options)
    assert np.isclose(result.loss, loss(*inputs, **options), rtol=1e-12, atol=1e-13)
    for which, gradient in enumerate(result.grads.values()):

        def moved(x, which=which):
            return loss(*(x if k == which else y for k, y in enumerate(inputs)), **options)

        assert gradient.shape == inputs[which].shape and gradient.dtype == np.float64
        assert close(gradient, oracle.numerical_gradient(moved, inputs[which]), 1e-7)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_supervised_mse(ridge):
    targets = RNG.standard_normal((N, 2))
    for options, Y in (
        ({"targets": targets}, targets),
        ({"labels": LABELS}, oracle.class_targets(LABELS, False)),
        ({"labels": LABELS, "balanced": True}, oracle.class_targets(LABELS, True)),
        ({"labels": [f"class {y}" for y in LABELS]}, oracle.class_targets(LABELS, False)),
    ):
        result = objectives.supervised_mse(PHI, ridge=ridge, **options)
        assert np.isclose(result.loss, oracle.supervised_mse(PHI, Y, ridge), rtol=1e-10)
        wanted = oracle.numerical_gradient(lambda x, Y=Y: oracle.supervised_mse(x, Y, ridge), PHI)
        assert close(result.grad_phi, wanted, 1e-6)
        assert list(result.grads) == ["phi"]


@pytest.mark.parametrize("estimator", ["u", "plugin"])
@pytest.mark.parametrize("first_mode, centered", [("none", False), ("none", True), ("constant", False)])
def test_sequential_columns_see_those_before(estimator, first_mode, centered):
    options = {"first_mode": first_mode, "centered": centered, "estimator": estimator}
    result = objectives.nested_low_rank(PHI, PSI, mode="sequential", **options)
    for j in range(3):
        w = np.eye(j + 1)[j]  # the level of the first j + 1 columns alone
        a, b = PHI[:, : j + 1], PSI[:, : j + 1]
        by_phi = oracle.numerical_gradient(lambda x, b=b, w=w: oracle.nested_low_rank(x, b, w, **options), a)
        by_psi = oracle.numerical_gradient(lambda x, a=a, w=w: oracle.nested_low_rank(a, x, w, **options), b)
        assert close(result.grad_phi[:, j], by_phi[:, j], 1e-7)
        assert close(result.grad_psi[:, j], by_psi[:, j], 1e-7)
    assert np.isclose(result.loss, oracle.nested_low_rank(PHI, PSI, np.eye(3)[2], **options))


def test_terms_are_the_parts_of_the_loss():
    r = objectives.svme(PHI, PSI, alpha=0.5, beta=3.0)
    assert np.isclose(r.loss, (r.terms["data"] + 0.5 * r.terms["std"] + 3 * r.terms["cov"]) / 4.5)
    r = objectives.vicreg(PHI, PSI)
    assert np.isclose(r.loss, 25 * r.terms["sim"] + 25 * r.terms["std"] + r.terms["cov"])
    for r in (objectives.low_rank(PHI, PSI), objectives.spectral_contrastive(VIEWS)):
        assert np.isclose(r.loss, -2 * r.terms["data"] + r.terms["pairs"])
    r = objectives.rayleigh(PHI, PSI, alpha=2, beta=3)
    assert np.isclose(r.loss, r.terms["data"] + 2 * r.terms["variance"] + 3 * r.terms["covariance"])


def test_vicreg_and_barlow_twins_as_their_authors_wrote_them():
    """The papers' pseudocode, with its own primitives (ddof, population variance of batch normalisation)."""
    n, d = PHI.shape
    loss = 25 * np.mean((PHI - PSI) ** 2)
    for z in (PHI, PSI):
        loss += 25 * np.mean(np.maximum(0, 1 - np.sqrt(z.var(axis=0, ddof=1) + 1e-4))) / 2
        cov = np.cov(z, rowvar=False)
        loss += np.sum(cov[~np.eye(d, dtype=bool)] ** 2) / d
    assert np.isclose(objectives.vicreg(PHI, PSI).loss, loss)
    a, b = ((z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5) for z in (PHI, PSI))
    c_diff = (a.T @ b / n - np.eye(d)) ** 2
    c_diff[~np.eye(d, dtype=bool)] *= 0.0051
    assert np.isclose(objectives.barlow_twins(PHI, PSI).loss, c_diff.sum())


def test_only_the_gradients_that_are_asked_for():
    both = objectives.svme(PHI, PSI)
    one = objectives.svme(PHI, PSI, grad=["psi"])
    assert one.grad_phi is None and np.array_equal(one.grad_psi, both.grad_psi)
    none = objectives.svme(PHI, PSI, grad=())
    assert none.grad_phi is None and none.grad_psi is None and none.loss == both.loss
    with pytest.raises(AttributeError, match="grad_views"):
        _ = both.grad_views


@pytest.mark.parametrize("divergence", ["cvar", "chi2"])
@pytest.mark.parametrize("alpha, eps", [(0.3, 0.0), (0.3, 0.29), (0.7, 0.1), (1.0, 0.2), (0.05, 0.0)])
def test_doro_weights(divergence, alpha, eps):
    losses = np.random.default_rng(3).exponential(size=100)
    w = objectives.doro_weights(losses, alpha=alpha, eps=eps, divergence=divergence)
    assert w.min() >= 0 and np.isclose(w.sum(), 1)
    kept = np.sort(losses)[::-1][round(eps * 100) :]  # 0.29 * 100 is 29, not 28
    assert np.all(w[losses > kept[0]] == 0)
    risk = w @ losses
    if divergence == "cvar":
        count = max(1, int((eps + alpha * (1 - eps)) * 100 + 1e-9) - round(eps * 100))
        assert np.isclose(risk, kept[:count].mean())
        return
    C = np.sqrt(1 + (1 / alpha - 1) ** 2)
    eta = np.linspace(kept.min() - 60, kept.max(), 400001)
    values = np.array([C * np.sqrt(np.mean(np.maximum(kept - e, 0) ** 2)) + e for e in eta[::100]])
    fine = np.linspace(eta[::100][max(values.argmin() - 1, 0)], eta[::100][min(values.argmin() + 1, 4000)], 4001)
    best = min(C * np.sqrt(np.mean(np.maximum(kept - e, 0) ** 2)) + e for e in fine)
    if alpha < 1:
        assert np.isclose(risk, best, rtol=1e-6)  # duality: the weights attain the worst case
    else:
        assert np.allclose(w[w > 0], 1 / len(kept))


def test_doro_ties_at_the_maximum():
    w = objectives.doro_weights([5.0, 5.0, 1.0, 0.0], alpha=0.2)
    assert np.allclose(w, [0.5, 0.5, 0, 0])
    assert np.allclose(objectives.doro_weights([2.0, 2.0, 2.0], alpha=0.5), 1 / 3)
