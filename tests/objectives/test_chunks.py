"""Chunks, ranks and bytes: the full batch's loss and gradient however its rows are divided."""

import numpy as np
import pytest

import eigencontext as ec

objectives = ec.objectives
RNG = np.random.default_rng(11)
N = 1500
MIX = RNG.standard_normal((4, 4))
PHI = RNG.standard_normal((N, 4)) @ MIX + [3.0, 0.0, -100.0, 1.0]
PSI = PHI + RNG.standard_normal((N, 4)) - [1.0, 0.0, -90.0, 5.0]
CONTEXTS = PHI[:, None] + RNG.standard_normal((N, 3, 4))
TARGETS = RNG.standard_normal((N, 2))
VIEWS = RNG.standard_normal((N, 1, 4)) + 0.5 * RNG.standard_normal((N, 3, 4)) + 1
WEIGHTS = RNG.exponential(size=N)

# name, inputs, options, whether sample weights are taken
CASES = [
    ("svme", (PHI / 30, PSI / 30), {"alpha": 0.5}, True),
    ("spectral_noncontrastive", (PHI / 30, PSI / 30), {"beta": 2.0}, True),
    ("vicreg", (PHI / 30, PSI / 30), {}, True),
    ("barlow_twins", (PHI, PSI), {}, False),
    ("rayleigh", (PHI, PSI), {}, True),
    ("correlation", (PHI, PSI), {"ridge": 0.1}, False),
    ("supervised_mse", (PHI, TARGETS), {"ridge": 0.1}, False),
    ("low_rank", (PHI, PSI), {}, True),
    ("low_rank", (PHI, PSI), {"centered": True, "estimator": "plugin"}, True),
    ("low_rank", (PHI, CONTEXTS), {}, True),
    ("low_rank", (PHI, PSI), {"centered": True}, True),
    ("low_rank", (PHI, CONTEXTS), {"centered": True}, True),
    ("nested_low_rank", (PHI, PSI), {}, True),
    ("nested_low_rank", (PHI, PSI), {"mode": "sequential", "first_mode": "constant"}, False),
    ("nested_low_rank", (PHI, PSI), {"centered": True}, True),
    ("nested_low_rank", (PHI, PSI), {"centered": True, "mode": "sequential"}, True),
    ("spectral_contrastive", (VIEWS,), {}, True),
]
IDS = [f"{name}-{inputs[-1].ndim}-{list(options.values())}" for name, inputs, options, _ in CASES]


def accumulator(name, inputs):
    d_psi = inputs[-1].shape[-1] if name in ("correlation", "supervised_mse") else None
    return objectives.Moments(inputs[0].shape[-1], name, d_psi)


def feed(acc, inputs, weights, rows):
    acc.update(*(x[rows] for x in inputs), weights=None if weights is None else weights[rows])


def swept(name, inputs, options, weights, ranks):
    """What every rank knows after the sweeps; `ranks`: for each the chunks of row numbers that it feeds."""

    def reduced(start):
        parts = []
        for chunks in ranks:
            part = start()
            for rows in chunks:
                feed(part, inputs, weights, rows)
            parts.append(objectives.Moments.from_bytes(part.to_bytes()))
        for other in parts[1:]:
            parts[0].merge(other)
        return parts[0]

    acc = reduced(lambda: accumulator(name, inputs))
    if options.get("centered") and options.get("estimator") != "plugin":
        nested = {"mode": options.get("mode", "joint")} if name == "nested_low_rank" else {}
        first = acc
        acc = reduced(lambda: first.centered(**nested))
    return getattr(objectives, name).from_moments(acc, **options)


def agree(full, whole, inputs, weights, chunks):
    assert np.isclose(full.loss, whole.loss, rtol=1e-11)
    for term, value in whole.terms.items():
        assert np.isclose(full.terms[term], value, rtol=1e-9, atol=1e-12)
    for rows in chunks:
        got = full.grad(*(x[rows] for x in inputs), weights=None if weights is None else weights[rows])
        got = got if isinstance(got, tuple) else (got,)
        for one, gradient in zip(got, whole.grads.values(), strict=True):
            assert np.abs(one - gradient[rows]).max() <= 1e-10 * np.abs(gradient).max()


WEIGHTED = [(*case[:3], weighted) for case in CASES for weighted in ([False, True] if case[3] else [False])]


@pytest.mark.parametrize("name, inputs, options, weighted", WEIGHTED)
def test_any_chunks_in_any_order(name, inputs, options, weighted):
    weights = WEIGHTS if weighted else None
    whole = getattr(objectives, name)(*inputs, **options, **({"weights": weights} if weighted else {}))
    rng = np.random.default_rng(0)
    for pieces in (1, 4, 40):
        cuts = np.sort(rng.choice(np.arange(1, N), pieces - 1, replace=False))
        chunks = np.split(np.arange(N), cuts)
        rng.shuffle(chunks)
        agree(swept(name, inputs, options, weights, [chunks]), whole, inputs, weights, chunks[:5])
    scattered = np.split(rng.permutation(N), [1, 700])
    agree(swept(name, inputs, options, weights, [scattered]), whole, inputs, weights, scattered)


@pytest.mark.parametrize("sizes", [[1499, 1], [200, 1250, 50], [1, 2, 3, 500, 400, 300, 290, 4]])
@pytest.mark.parametrize("name, inputs, options, takes_weights", CASES, ids=IDS)
def test_ranks_of_unequal_size(name, inputs, options, takes_weights, sizes):
    """An emulated all-reduce: nothing is off by the number of ranks, as averages of ranks' losses would be."""
    whole = getattr(objectives, name)(*inputs, **options)
    ranks = np.split(np.arange(N), np.cumsum(sizes)[:-1])
    full = swept(name, inputs, options, None, [np.array_split(rows, 2 if len(rows) > 1 else 1) for rows in ranks])
    agree(full, whole, inputs, None, ranks)


def test_the_two_halves_of_a_split_estimate():
    whole = objectives.rayleigh(PHI, PSI, estimator="split", weights=WEIGHTS)
    halves = [np.arange(N // 2), np.arange(N // 2, N)]
    accs = []
    for rows in halves:
        acc = objectives.Moments(4, "rayleigh")
        for part in np.array_split(rows[::-1], 7):
            feed(acc, (PHI, PSI), WEIGHTS, part)
        accs.append(acc)
    full = objectives.rayleigh.from_moments(accs, estimator="split")
    assert np.isclose(full.loss, whole.loss, rtol=1e-12)
    for half, rows in enumerate(halves):
        for got, wanted in zip(
            full.grad(PHI[rows], PSI[rows], half=half, weights=WEIGHTS[rows]), whole.grads.values(), strict=True
        ):
            assert np.allclose(got, wanted[rows], rtol=1e-9, atol=1e-12 * np.abs(wanted).max())
    with pytest.raises(ValueError, match="half: got 2"):
        full.grad(PHI, PSI, half=2)


def test_labels_equal_their_one_hot_targets():
    y = RNG.integers(0, 5, N)
    acc = objectives.Moments(4, "supervised_mse", 5)
    Y = np.eye(5)[y]
    for rows in np.array_split(np.arange(N), 4):
        acc.update(PHI[rows], Y[rows])
    full = objectives.supervised_mse.from_moments(acc)
    one = objectives.supervised_mse(PHI, labels=y)
    assert np.isclose(full.loss, one.loss)
    assert np.allclose(full.grad(PHI, Y)[0], one.grad_phi, atol=1e-12 * np.abs(one.grad_phi).max())
    many = RNG.standard_normal((20000, 3)), RNG.integers(0, 40, 20000)  # more rows than are one-hot at a time
    one = objectives.supervised_mse(many[0], labels=many[1])
    two = objectives.supervised_mse(many[0], np.eye(40)[many[1]])
    assert np.isclose(one.loss, two.loss) and np.allclose(one.grad_phi, two.grad_phi, rtol=1e-8, atol=1e-12)


def test_moments_are_those_of_numpy():
    acc = objectives.Moments(4, "correlation")
    for rows in np.array_split(np.arange(N), 6):
        acc.update(PHI[rows], PSI[rows])
    both = np.hstack([PHI, PSI])
    C = np.cov(both, rowvar=False, ddof=0) * N
    assert acc.n == acc.inputs == N
    assert np.allclose(acc.mean_phi, PHI.mean(0), rtol=1e-14) and np.allclose(acc.mean_psi, PSI.mean(0), rtol=1e-14)
    for name, block in (("pp", C[:4, :4]), ("pq", C[:4, 4:]), ("qq", C[4:, 4:])):
        assert np.allclose(acc.sums[name], block, rtol=1e-12, atol=1e-12 * np.abs(block).max())


def test_bytes():
    import pickle

    acc = objectives.Moments(4, "low_rank")
    acc.update(PHI, PSI, weights=WEIGHTS)
    for again in (objectives.Moments.from_bytes(acc.to_bytes()), pickle.loads(pickle.dumps(acc))):
        assert objectives.low_rank.from_moments(again).loss == objectives.low_rank.from_moments(acc).loss
        assert again.n == N and repr(again) == repr(acc)
    data = bytearray(acc.to_bytes())
    data[-7] ^= 1
    with pytest.raises(ValueError, match="data: the checksum differs"):
        objectives.Moments.from_bytes(bytes(data))
    with pytest.raises(ValueError, match="data: not what"):
        objectives.Moments.from_bytes(b"something else")
    with pytest.raises(ValueError, match="data: the checksum differs"):
        objectives.Moments.from_bytes(acc.to_bytes()[:-1])


def test_a_format_of_the_future_is_refused(monkeypatch):
    from eigencontext.objectives import _moments

    acc = objectives.Moments(4)
    monkeypatch.setattr(_moments, "_FORMAT", 2)
    data = acc.to_bytes()
    monkeypatch.setattr(_moments, "_FORMAT", 1)
    with pytest.raises(ValueError, match="data: got format 2; allowed: 1"):
        objectives.Moments.from_bytes(data)


def test_what_does_not_fit_together():
    acc = objectives.Moments(4, "svme")
    with pytest.raises(ValueError, match="acc: got no rows"):
        objectives.svme.from_moments(acc)
    acc.update(PHI, PSI)
    with pytest.raises(ValueError, match="acc: got the moments of 'svme'; allowed: those of 'vicreg'"):
        objectives.vicreg.from_moments(acc)
    with pytest.raises(TypeError, match="acc: got ndarray; allowed: Moments"):
        objectives.svme.from_moments(PHI)
    with pytest.raises(ValueError, match="phi: got shape .*; allowed: 4 features"):
        acc.update(PHI[:, :3], PSI[:, :3])
    with pytest.raises(ValueError, match="objective"):
        acc.merge(objectives.Moments(4, "vicreg"))
    with pytest.raises(ValueError, match="other: got d = 5; allowed: 4"):
        other = objectives.Moments(4, "svme")
        other.merge(objectives.Moments(5, "svme"))
    with pytest.raises(TypeError, match="other: got int"):
        acc.merge(3)
    with pytest.raises(ValueError, match="objective: got 'mse'; allowed: 'svme'"):
        objectives.Moments(4, "mse")
    with pytest.raises(ValueError, match="d_psi: got 3"):
        objectives.Moments(4, "svme", 3)
    with pytest.raises(TypeError, match="psi: got None"):
        acc.update(PHI)
    with pytest.raises(ValueError, match="objective: .*; allowed: the first sweep"):
        acc.centered()
    views = objectives.Moments(4, "spectral_contrastive")
    views.update(VIEWS)
    with pytest.raises(ValueError, match="got 2 views or contexts; allowed: 3"):
        views.update(VIEWS[:, :2])
    with pytest.raises(TypeError, match="psi: got an array; allowed: None"):
        views.update(VIEWS, PSI)


def test_the_second_sweep_is_asked_for_and_checked():
    acc = objectives.Moments(4, "low_rank")
    acc.update(PHI, PSI)
    with pytest.raises(ValueError, match="acc: got one sweep; allowed: two"):
        objectives.low_rank.from_moments(acc, centered=True)
    second = acc.centered()
    second.update(PHI[:100], PSI[:100])
    with pytest.raises(ValueError, match="acc: got 100 rows in its second sweep; allowed: 1500"):
        objectives.low_rank.from_moments(second, centered=True)
    with pytest.raises(ValueError, match="acc: got a second sweep"):
        objectives.low_rank.from_moments(second)
    with pytest.raises(ValueError, match="other: got moments of another sweep"):
        second.merge(acc)
    nested = objectives.Moments(4, "nested_low_rank")
    nested.update(PHI, PSI)
    second = nested.centered([1, 2, 3, 4])
    second.update(PHI, PSI)
    with pytest.raises(ValueError, match="level_weights, mode: differ"):
        objectives.nested_low_rank.from_moments(second, centered=True)
    assert np.isclose(
        objectives.nested_low_rank.from_moments(second, centered=True, level_weights=[1, 2, 3, 4]).loss,
        objectives.nested_low_rank(PHI, PSI, centered=True, level_weights=[1, 2, 3, 4]).loss,
    )
