"""The losses on the emulated device against the CPU's, which have oracles of their own."""

import numpy as np
import pytest
from emulated import FakeCupy, core

import eigencontext as ec
from eigencontext import _device, objectives

DTYPES = [np.float32, np.float64]
SIZES = [1, 31, 33, 257]


@pytest.fixture(autouse=True)
def emulated_engine(monkeypatch):
    monkeypatch.setattr(_device, "_MODULE", "_cuda_emulated")


def embeddings(n, d, dtype, views=0, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n, 1, d)) + 3  # a mean that must be taken off
    rows = common + 0.5 * rng.standard_normal((n, max(views, 2), d))
    return rows.astype(dtype) if views else (rows[:, 0].astype(dtype), rows[:, 1].astype(dtype))


def agree(got, wanted, dtype):
    """Losses to the rounding of the data; gradients to that of their largest entry, or of terms that cancel in it."""
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(got.loss, wanted.loss, rtol=200 * eps, atol=200 * eps)
    assert got.terms.keys() == wanted.terms.keys() and got.grads.keys() == wanted.grads.keys()
    for name, value in wanted.grads.items():
        if value is None or isinstance(value, float):
            np.testing.assert_allclose(np.float64(got.grads[name]), np.float64(value), rtol=1000 * eps, atol=1000 * eps)
            continue
        on_host = _device.on_host(got.grads[name])
        assert on_host.dtype == value.dtype == dtype and on_host.shape == value.shape
        np.testing.assert_allclose(on_host, value, rtol=0, atol=300 * eps * max(np.abs(value).max(), 1e-3))


MOMENTS = [
    ("svme", {}), ("svme", {"alpha": 2.0, "ddof": 0, "weighted": True}), ("spectral_noncontrastive", {}),
    ("vicreg", {}), ("barlow_twins", {}), ("rayleigh", {}), ("rayleigh", {"estimator": "split"}),
    ("correlation", {"ridge": 0.1}),
    ("low_rank", {}), ("low_rank", {"centered": True, "estimator": "plugin", "weighted": True}),
    ("low_rank", {"centered": True}), ("nested_low_rank", {}), ("nested_low_rank", {"mode": "sequential"}),
    ("nested_low_rank", {"centered": True}), ("nested_low_rank", {"first_mode": "constant"}),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "d"), [(31, 1), (33, 5), (257, 33)])
@pytest.mark.parametrize(("name", "options"), MOMENTS)
def test_losses_of_moments(name, options, n, d, dtype):
    phi, psi = embeddings(n, d, dtype)
    options = dict(options)
    if options.pop("weighted", False):
        options["weights"] = np.linspace(0, 2, n)
    function = getattr(objectives, name)
    agree(function(FakeCupy(phi), FakeCupy(psi), **options), function(phi, psi, **options), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_row(dtype):
    phi, psi = embeddings(1, 3, dtype)
    agree(objectives.svme(FakeCupy(phi), FakeCupy(psi), ddof=0), objectives.svme(phi, psi, ddof=0), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "d"), [(31, 1), (257, 7)])
def test_losses_of_views_and_targets(n, d, dtype):
    views = embeddings(n, d, dtype, views=3)
    for weights in (None, np.linspace(1, 2, n)):
        got = objectives.spectral_contrastive(FakeCupy(views), weights=weights)
        agree(got, objectives.spectral_contrastive(views, weights=weights), dtype)
    phi, psi = np.ascontiguousarray(views[:, 0]), np.ascontiguousarray(views[:, 1:])
    agree(objectives.low_rank(FakeCupy(phi), FakeCupy(psi)), objectives.low_rank(phi, psi), dtype)
    Y, labels = psi[:, 0].copy(), np.arange(n) % 3
    for options in ({"targets": Y}, {"labels": labels, "balanced": True}):
        moved = {key: FakeCupy(value) if key == "targets" else value for key, value in options.items()}
        got = objectives.supervised_mse(FakeCupy(phi), ridge=0.1, **moved)
        agree(got, objectives.supervised_mse(phi, ridge=0.1, **options), dtype)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(
    ("name", "options"),
    [("info_nce", {"temperature": 0.5}), ("info_nce", {"temperature": 0.001}), ("sigmoid", {}),
     ("sigmoid", {"t": 3, "b": 200.0}), ("info_nce", {"temperature": 2.0, "grad": ("psi", "temperature")}),
     ("sigmoid", {"grad": ()})],
)  # fmt: skip
def test_losses_of_pairs(name, options, n, dtype, weighted):
    phi, psi = (a - 3 for a in embeddings(n, 5, dtype))
    w = np.linspace(1, 2, n) if weighted else None
    function = getattr(objectives, name)
    got = function(FakeCupy(phi), FakeCupy(psi), weights=w, **options)
    agree(got, function(phi, psi, weights=w, **options), dtype)


EXPONENTIALS = [{}, {"form": "distance"}, {"temperature": 40.0}, {"form": "distance", "temperature": 5.0}]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES[1:])
@pytest.mark.parametrize("options", EXPONENTIALS, ids=str)
def test_exponential_losses(options, n, dtype, weighted):
    phi, psi = (a / 3 - 1 for a in embeddings(n, 5, dtype))
    w = np.linspace(0, 2, n) if weighted else None
    got = objectives.exponential_low_rank(FakeCupy(phi), FakeCupy(psi), weights=w, **options)
    agree(got, objectives.exponential_low_rank(phi, psi, weights=w, **options), dtype)
    views = embeddings(n, 5, dtype, views=3) / 3 - 1  # 3 n rows: inputs that lie across the borders of tiles
    got = objectives.exponential_spectral_contrastive(FakeCupy(views), weights=w, **options)
    agree(got, objectives.exponential_spectral_contrastive(views, weights=w, **options), dtype)


@pytest.mark.parametrize("form", ["dot", "distance"])
def test_exponential_losses_of_any_strides(form):
    turned = embeddings(4, 66, np.float32, views=3)  # the views of an input do not follow each other
    seen = turned.T
    views = FakeCupy.strided(turned, (66, 3, 4), (1, 66, 198))
    out = FakeCupy.strided(np.full((66, 4, 3), 7, np.float32), (66, 3, 4), (12, 1, 3))
    options = {"form": form, "temperature": 30.0}
    got = objectives.exponential_spectral_contrastive(views, out=out, **options)
    wanted = objectives.exponential_spectral_contrastive(seen, **options)
    assert got.grad_views is out
    agree(got, wanted, np.float32)
    same = embeddings(66, 4, np.float32, views=3)
    padded = FakeCupy.strided(np.concatenate([same, same], 2), (66, 3, 4), (24, 8, 1))  # read where it is
    agree(objectives.exponential_spectral_contrastive(padded, **options),
          objectives.exponential_spectral_contrastive(same, **options), np.float32)  # fmt: skip
    phi, psi = embeddings(66, 6, np.float32)
    given = [FakeCupy.strided(a, (33, 3), (12, 2)) for a in (phi, psi)]
    agree(objectives.exponential_low_rank(*given, **options),
          objectives.exponential_low_rank(*(a[::2, ::2] for a in (phi, psi)), **options), np.float32)  # fmt: skip


def test_exponents_that_do_not_fit_are_refused_on_the_device_as_well():
    phi = np.diag([10.0, 20.0, 30.0]).astype(np.float32)
    with pytest.raises(ValueError, match=r"largest exponent <phi, psi>/T is 49.36.*T >= "):
        objectives.exponential_low_rank(FakeCupy(phi), FakeCupy(phi), temperature=900 / 49.36)
    views = np.array([[[30.0, 0], [0, 30]], [[-30, 0], [0, -30]]], np.float32)  # of a view with itself: never formed
    assert np.isfinite(objectives.exponential_spectral_contrastive(FakeCupy(views), temperature=2.0).loss)


RBF, LAPLACIAN = {"kernel": "rbf", "bandwidth": 1.3}, {"kernel": "laplacian", "bandwidth": 2.0}
COSINE, POLYNOMIAL = {"kernel": "cosine"}, {"kernel": "polynomial", "degree": 2, "coef0": 0.5}

KISE = [
    {"kernel": "rbf", "bandwidth": 1.5}, {"kernel": "laplacian", "bandwidth": 2.0}, {"kernel": "cosine"},
    {"kernel": "rbf", "bandwidth": 1.5, "dual": "walk"}, {"kernel": "polynomial", "dual": "walk"},
    {"kernel": "cosine", "dual": "walk", "diagonal": False}, {"kernel": "rbf", "bandwidth": 1.5, "diagonal": False},
    {"labels": True}, {"teacher": True}, {"teacher": True, "diagonal": False},
]  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [33, 257])
@pytest.mark.parametrize("options", KISE, ids=str)
def test_kise(options, n, dtype, weighted):
    phi, X = embeddings(n, 5, dtype)
    X = X.astype(np.float64)  # narrower phi must not cost X its digits
    options = dict(options)
    host, device = {**options, "X": X}, {**options, "X": FakeCupy(X)}
    if "labels" in options:
        host = device = {"labels": np.arange(n) % 4}
    if "teacher" in options:
        host, device = {**options, "teacher": X}, {**options, "teacher": FakeCupy(X)}
    w = np.linspace(0, 2, n) if weighted else None
    agree(objectives.kise(FakeCupy(phi), weights=w, **device), objectives.kise(phi, weights=w, **host), dtype)


def test_a_teacher_in_float32_keeps_the_digits_of_phi():
    phi, X = embeddings(33, 5, np.float64)
    X = X.astype(np.float32)
    got = objectives.kise(FakeCupy(phi), teacher=FakeCupy(X))
    agree(got, objectives.kise(phi, teacher=X), np.float64)


CHAINS = {
    "kernel": [RBF], "kernel, kernel": [RBF, LAPLACIAN], "sampler": ["sampler"],
    "kernel, sampler, kernel": [LAPLACIAN, "sampler", COSINE], "kernel, sampler": [POLYNOMIAL, "sampler"],
    "kernel, sampler, kernel, sampler": [RBF, "sampler", COSINE, "sampler"],
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES[1:])
@pytest.mark.parametrize("elements", CHAINS.values(), ids=CHAINS)
def test_chains(elements, n, dtype):
    phi, phi_0 = embeddings(n, 5, dtype)
    x_0, x = embeddings(n, 3, np.float64, seed=1)  # more digits than phi has

    def called(there):
        links = []
        for element, after in zip(elements, [*elements[1:], None], strict=True):
            if element != "sampler":
                links.append((element, there(x_0), *([there(x if after == "sampler" else x_0)] if after else [])))
        psi = there(phi_0[::-1].copy()) if elements[-1] == "sampler" else None
        return objectives.chain(there(phi), there(phi_0), links, psi=psi, alpha=0.7, beta=0.4)

    agree(called(FakeCupy), called(np.asarray), dtype)


@pytest.mark.parametrize("name", ["svme", "low_rank", "correlation"])
def test_chunks_give_the_full_batch(name):
    phi, psi = embeddings(257, 5, np.float64)
    function, acc = getattr(objectives, name), objectives.Moments(5, name)
    for rows in (slice(0, 31), slice(31, 257)):
        acc.update(FakeCupy(phi[rows]), FakeCupy(psi[rows]))
    full, wanted = function.from_moments(acc), function(phi, psi)
    assert abs(full.loss - wanted.loss) < 1e-12
    for got, grad in zip(full.grad(FakeCupy(phi[:40]), FakeCupy(psi[:40])), wanted.grads.values(), strict=True):
        np.testing.assert_allclose(got.get(), grad[:40], rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_strides_and_memory_for_the_gradients(dtype):
    phi, psi = embeddings(66, 6, dtype)
    given = [FakeCupy.strided(a, (33, 3), (12, 2)) for a in (phi, psi)]
    seen = [a[::2, ::2] for a in (phi, psi)]
    agree(objectives.vicreg(*given), objectives.vicreg(*seen), dtype)
    turned = FakeCupy.strided(phi, (6, 66), (1, 6))
    agree(objectives.svme(turned, turned), objectives.svme(phi.T, phi.T), dtype)
    agree(objectives.info_nce(*given), objectives.info_nce(*seen), dtype)
    wide = np.full((33, 8), 7, dtype)
    out = FakeCupy.strided(wide, (33, 3), (8, 1))
    result = objectives.svme(*given, out={"phi": out}, grad=("phi",))
    assert result.grad_phi is out and result.grad_psi is None
    written = out.array.get()
    np.testing.assert_allclose(written[:, :3], objectives.svme(*seen).grad_phi, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(written[:, 3:], 7)


def test_gradients_become_what_the_factory_makes(monkeypatch):
    made = []
    monkeypatch.setitem(_device.FACTORIES, "emulated", lambda result, like: made.append(like) or result)
    phi, psi = (FakeCupy(a) for a in embeddings(20, 2, np.float32))
    objectives.svme(phi, psi)
    assert made == [phi, psi]


def test_same_bits_whatever_the_threads_order_and_what_memory_held(settings):
    phi, psi = embeddings(257, 5, np.float32)
    seen = set()
    for order in core.Order.__members__.values():
        for poison in (0x3C, 0xC3):
            settings.order, settings.poison = order, poison
            given = FakeCupy(phi), FakeCupy(psi)
            results = (
                objectives.nested_low_rank(*given, centered=True), objectives.info_nce(*given),
                objectives.exponential_low_rank(*given, form="distance"),
            )  # fmt: skip
            bits = [_device.on_host(r.grads[name]).tobytes() for r in results for name in ("phi", "psi")]
            seen.add((*(r.loss for r in results), *bits))
    assert len(seen) == 1


# -- bad input


def test_what_is_wrong_is_said():
    phi, psi = embeddings(20, 2, np.float64)
    with pytest.raises(ValueError, match="^phi, psi: got parts on the CPU and on a CUDA device"):
        objectives.svme(FakeCupy(phi), psi)
    with pytest.raises(ValueError, match="^phi, X: got parts on the CPU and on a CUDA device"):
        objectives.kise(FakeCupy(phi), X=psi, bandwidth=1.0)
    with pytest.raises(ValueError, match="^phi, links.0.: got parts on the CPU and on a CUDA device"):
        objectives.chain(FakeCupy(phi), FakeCupy(phi), [(RBF, psi)])
    with pytest.raises(ValueError, match="^X, A: got parts on the CPU and on a CUDA device"):
        objectives.chain(FakeCupy(phi), FakeCupy(phi), [(RBF, FakeCupy(psi), psi)], psi=FakeCupy(phi))
    with pytest.raises(ValueError, match="^out.'phi'.: got memory of another device"):
        objectives.svme(FakeCupy(phi), FakeCupy(psi), out={"phi": np.empty_like(phi)})
    with pytest.raises(ValueError, match="^psi: got shape .19, 2.; allowed: 20 rows"):
        objectives.svme(FakeCupy(phi), FakeCupy(psi[1:]))
    bad = phi.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="^phi: contains NaN or inf"):
        objectives.svme(FakeCupy(bad), FakeCupy(psi))
    with pytest.raises(ValueError, match="^teacher: contains NaN or inf"):
        objectives.kise(FakeCupy(phi), teacher=FakeCupy(bad))
    with pytest.raises(ValueError, match="^teacher: got rows that are all equal"):
        objectives.kise(FakeCupy(phi), teacher=FakeCupy(np.ones_like(phi)))
    with pytest.raises(ValueError, match="^threshold: got 1e.08; allowed: at most "):
        objectives.kise(FakeCupy(phi), teacher=FakeCupy(phi), threshold=1e8)
    with pytest.raises(ValueError, match="^phi: contains NaN or inf"):
        objectives.info_nce(FakeCupy(bad), FakeCupy(psi))
    with pytest.raises(TypeError, match="^phi: got dtype int32 on a CUDA device"):
        objectives.svme(FakeCupy(phi.astype(np.int32)), FakeCupy(psi))
    given = FakeCupy(phi)
    with pytest.raises(ValueError, match="^out.'phi'.: got memory that it shares with psi"):
        objectives.svme(FakeCupy(psi), given, out={"phi": given})


def test_without_a_device_the_reason_is_given(settings):
    phi, psi = (FakeCupy(a) for a in embeddings(20, 2, np.float64))
    settings.devices = 0
    with pytest.raises(TypeError, match="^phi: got a FakeCupy on a GPU; allowed: .*no device"):
        ec.objectives.svme(phi, psi)


def test_out_of_memory_leaves_everything_usable(settings):
    phi, psi = embeddings(257, 33, np.float64)
    given = FakeCupy(phi), FakeCupy(psi)
    settings.memory = 200_000
    with pytest.raises(MemoryError, match="^cudaMallocAsync: "):
        objectives.svme(*given)
    settings.memory = 1 << 32
    agree(objectives.svme(*given), objectives.svme(phi, psi), np.float64)
