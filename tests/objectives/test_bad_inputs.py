"""Bad input is named: the argument, what came, what is allowed."""

import numpy as np
import pytest

import eigencontext as ec

objectives = ec.objectives
RNG = np.random.default_rng(2)
PHI, PSI = RNG.standard_normal((20, 3)), RNG.standard_normal((20, 3))
ZEROS = np.zeros((20, 3))
PAIRS = ["svme", "spectral_noncontrastive", "vicreg", "barlow_twins", "rayleigh", "correlation", "low_rank"]
PAIRS += ["nested_low_rank"]


@pytest.mark.parametrize("name", PAIRS)
def test_shapes_dtypes_and_values(name):
    call = getattr(objectives, name)
    with pytest.raises(ValueError, match=r"psi: got shape \(19, 3\); allowed: 20 rows as in phi, which has shape"):
        call(PHI, PSI[:19])
    if name != "correlation":
        with pytest.raises(ValueError, match=r"psi: got shape \(20, 2\); allowed: 3 features as in phi"):
            call(PHI, PSI[:, :2])
    for a in (PHI[0], PHI[None]):
        with pytest.raises(ValueError, match=r"phi: got shape .*; allowed: an array with 2 axes"):
            call(a, PSI)
    with pytest.raises(ValueError, match=r"phi: got shape \(0, 3\)"):
        call(PHI[:0], PSI[:0])
    for dtype in (np.int64, bool):
        with pytest.raises(TypeError, match=rf"phi: got dtype {np.dtype(dtype)}; allowed: floating point embeddings"):
            call(PHI.astype(dtype), PSI)
    with pytest.raises(TypeError, match="phi: got dtype complex128"):
        call(PHI + 1j, PSI)
    for value in (np.nan, np.inf, -np.inf):
        for which in (0, 1):
            for dtype in (np.float32, np.float64):
                name = ("phi", "psi")[which]
                inputs = [PHI.astype(dtype), PSI.astype(dtype)]
                inputs[which][7, 2] = value
                with pytest.raises(ValueError, match=rf"{name}: got {value} at \[7, 2\]; allowed: finite"):
                    call(*inputs)


@pytest.mark.parametrize(
    "name", ["svme", "spectral_noncontrastive", "vicreg", "rayleigh", "low_rank", "nested_low_rank"]
)
def test_weights(name):
    call = getattr(objectives, name)
    w = np.ones(20)
    w[4] = -0.5
    for weights, error, message in (
        (w, ValueError, r"weights: got -0.5 at \[4\]; allowed: numbers >= 0"),
        (np.zeros(20), ValueError, "weights: got zeros only"),
        (np.ones(19), ValueError, "weights: got length 19; allowed: length 20"),
        (np.full(20, np.nan), ValueError, r"weights: got nan at \[0\]"),
        (np.ones((20, 1)), ValueError, "weights: got shape"),
        (["a"] * 20, TypeError, "weights: got dtype"),
    ):
        with pytest.raises(error, match=message):
            call(PHI, PSI, weights=weights)


@pytest.mark.parametrize(
    "name, options, error, message",
    [
        ("svme", {"alpha": -1}, ValueError, "alpha: got -1"),
        ("svme", {"beta": np.inf}, ValueError, "beta: got inf"),
        ("svme", {"eps": -1e-4}, ValueError, "eps: got -0.0001"),
        ("svme", {"ddof": 0.5}, TypeError, "ddof: got 0.5"),
        ("svme", {"ddof": 20}, ValueError, "phi: got N = 20; allowed: N >= 21"),
        ("vicreg", {"sim": "a"}, TypeError, "sim: got 'a'"),
        ("vicreg", {"halve_std": 1}, TypeError, "halve_std: got 1"),
        ("barlow_twins", {"lambd": -1}, ValueError, "lambd: got -1"),
        ("rayleigh", {"estimator": "u"}, ValueError, "estimator: got 'u'; allowed: 'plugin', 'split'"),
        ("correlation", {"ridge": -1}, ValueError, "ridge: got -1"),
        ("low_rank", {"estimator": "v"}, ValueError, "estimator: got 'v'; allowed: 'u', 'plugin'"),
        ("low_rank", {"centered": 1}, TypeError, "centered: got 1"),
        ("nested_low_rank", {"mode": "both"}, ValueError, "mode: got 'both'"),
        ("nested_low_rank", {"level_weights": [1, 2]}, ValueError, "level_weights: got length 2; allowed: length 3"),
        ("nested_low_rank", {"level_weights": [1, 2, -1]}, ValueError, "level_weights: got -1 .. 2"),
        (
            "nested_low_rank",
            {"mode": "sequential", "level_weights": [1, 1, 1]},
            ValueError,
            "level_weights: got weights",
        ),
        ("nested_low_rank", {"first_mode": "constant", "centered": True}, ValueError, "centered: got True"),
        ("nested_low_rank", {"first_mode": "constant", "weights": np.arange(20)}, ValueError, "weights: got sample"),
        ("nested_low_rank", {"first_mode": "zero"}, ValueError, "first_mode: got 'zero'"),
        ("svme", {"grad": ["chi"]}, ValueError, "grad: got 'chi'; allowed: 'phi', 'psi'"),
        ("svme", {"out": {"chi": PHI}}, ValueError, "out: got 'chi'; allowed: 'phi', 'psi'"),
        ("svme", {"out": (PHI,)}, ValueError, "out: got 1 arrays; allowed: 2"),
        ("svme", {"out": PHI}, TypeError, "out: got ndarray; allowed: a dict or a tuple"),
        ("svme", {"out": {"phi": np.zeros((20, 2))}}, ValueError, r"out\['phi'\]: got float64 of shape \(20, 2\)"),
        ("svme", {"out": {"phi": np.zeros((20, 3), "f4")}}, ValueError, r"out\['phi'\]: got float32 of shape"),
        ("svme", {"out": {"phi": PHI}}, ValueError, r"out\['phi'\]: got memory that it shares with phi"),
        ("svme", {"out": (ZEROS, ZEROS[:])}, ValueError, r"out\['psi'\]: got memory that it shares with out\['phi'\]"),
        ("svme", {"out": {"psi": PHI.T.T}}, ValueError, r"out\['psi'\]: got memory that it shares with phi"),
        ("svme", {"out": {"phi": np.broadcast_to(np.zeros(3), (20, 3))}}, ValueError, r"out\['phi'\]: got read-only"),
    ],
)
def test_options(name, options, error, message):
    with pytest.raises(error, match=f"^{message}"):
        getattr(objectives, name)(PHI, PSI, **options)


def test_views():
    with pytest.raises(ValueError, match="views: got shape .*; allowed: an array with 3 axes"):
        objectives.spectral_contrastive(PHI)
    with pytest.raises(ValueError, match="views: got N = 20, r = 1; allowed: at least 2 inputs and 2 views"):
        objectives.spectral_contrastive(PHI[:, None])
    with pytest.raises(ValueError, match="views: got N = 1, r = 20"):
        objectives.spectral_contrastive(PHI[None])
    bad = np.ones((5, 2, 3), np.float32)
    bad[3, 1, 2] = np.nan
    with pytest.raises(ValueError, match=r"views: got nan at \[3, 1, 2\]"):
        objectives.spectral_contrastive(bad)


def test_labels_and_targets():
    y = np.arange(20) % 4
    for options, error, message in (
        ({}, ValueError, "targets: got both or none"),
        ({"targets": PSI, "labels": y}, ValueError, "targets: got both or none"),
        ({"targets": PSI[:5]}, ValueError, "targets: got shape .*; allowed: 20 rows"),
        ({"targets": PSI, "balanced": True}, ValueError, "balanced: got True"),
        ({"labels": y[:5]}, ValueError, r"labels: got shape \(5,\); allowed: \(20,\)"),
        ({"labels": y + 0.5}, TypeError, "labels: got dtype float64"),
        (
            {"labels": np.where(np.arange(20) == 3, 9, 0)},
            ValueError,
            "labels: got class .*9.* once; allowed",
        ),
    ):
        with pytest.raises(error, match=message):
            objectives.supervised_mse(PHI, **options)
    bad = PSI.copy()
    bad[3, 1] = np.inf
    with pytest.raises(ValueError, match=r"targets: got inf at \[3, 1\]"):
        objectives.supervised_mse(PHI, bad)


def test_doro():
    for options, message in (
        ({"alpha": 0.0}, "alpha: got 0"),
        ({"alpha": 1.5}, "alpha: got 1.5"),
        ({"alpha": 0.5, "eps": 1.0}, "eps: got 1"),
        ({"alpha": 0.5, "divergence": "kl"}, "divergence: got 'kl'; allowed: 'cvar', 'chi2'"),
    ):
        with pytest.raises(ValueError, match=message):
            objectives.doro_weights([1.0, 2.0], **options)
    with pytest.raises(ValueError, match=r"losses: got nan at \[1\]"):
        objectives.doro_weights([1.0, np.nan], alpha=0.5)


def test_unknown_names():
    with pytest.raises(AttributeError, match="has no attribute 'nce'"):
        _ = objectives.nce
    assert set(objectives.__all__) <= set(dir(objectives))
