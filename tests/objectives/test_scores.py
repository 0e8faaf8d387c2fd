"""The pairwise losses against the formulas of THEORY 4 with all N x N scores, in float64."""

import numpy as np
import pytest
from scipy.special import expit, logsumexp

import eigencontext as ec
from eigencontext import objectives

DTYPES = [np.float32, np.float64]


def softmax(Z, axis):
    return np.exp(Z - logsumexp(Z, axis=axis, keepdims=True))


def info_nce(phi, psi, temperature=0.07):
    n = len(phi)
    S = phi @ psi.T
    Z = S / temperature
    rows, columns = logsumexp(Z, axis=1) - np.diag(Z), logsumexp(Z, axis=0) - np.diag(Z)
    G = (softmax(Z, 1) + softmax(Z, 0) - 2 * np.eye(n)) / (2 * n)
    grads = {
        "phi": G @ psi / temperature,
        "psi": G.T @ phi / temperature,
        "temperature": -(G * S).sum() / temperature**2,
    }
    return (rows.mean() + columns.mean()) / 2, grads


def sigmoid(phi, psi, t=10.0, b=-10.0):
    n = len(phi)
    S = phi @ psi.T
    Z, z = t * S + b, 2 * np.eye(n) - 1
    G = -z * expit(-z * Z) / n
    grads = {"phi": t * G @ psi, "psi": t * G.T @ phi, "t": (G * S).sum(), "b": G.sum()}
    return np.logaddexp(0, -z * Z).sum() / n, grads


def exponential_low_rank(phi, psi, temperature=1.0, form="dot"):
    n, T = len(phi), temperature
    if form == "dot":
        f = np.exp(phi @ psi.T / T)
    else:
        f = np.exp(-np.square(phi[:, None] - psi[None]).sum(-1) / T)
    off = 1 - np.eye(n)
    G = off * 2 * f**2 / (n * (n - 1)) - np.eye(n) * 2 / n * f
    loss = -2 * np.diag(f).mean() + (off * f**2).sum() / (n * (n - 1))
    if form == "dot":
        return loss, {"phi": G @ psi / T, "psi": G.T @ phi / T}
    return loss, {
        "phi": -2 / T * (G.sum(1)[:, None] * phi - G @ psi),
        "psi": -2 / T * (G.sum(0)[:, None] * psi - G.T @ phi),
    }


CASES = {
    "info_nce": (info_nce, [{}, {"temperature": 1.0}, {"temperature": 0.01}]),
    "sigmoid": (sigmoid, [{}, {"t": 3.0, "b": 2.0}, {"t": -1.0, "b": 0.0}, {"t": 200.0, "b": 5.0}]),
    "exponential_low_rank": (
        exponential_low_rank,
        [{}, {"temperature": 0.5}, {"form": "distance"}, {"form": "distance", "temperature": 0.1}],
    ),
}
PARAMETERS = [(name, options) for name, (_, list_of_options) in CASES.items() for options in list_of_options]


def unit(X):
    """Rows of norm 1; of one feature, which would all be 1 or -1, as they are."""
    return X / np.linalg.norm(X, axis=1, keepdims=True) if X.shape[1] > 1 else X


def batch(n, d, dtype, seed=0):
    rng = np.random.default_rng(seed)
    phi = unit(rng.standard_normal((n, d)))
    return phi.astype(dtype), unit(phi + 0.5 * rng.standard_normal((n, d))).astype(dtype)


def assert_same(result, expected, dtype, factor=1.0, terms=1e-300):
    """`terms`: the size of what a gradient is a difference of, where that is larger than the gradient."""
    loss, grads = expected
    tolerance = factor * (1e-11 if dtype == np.float64 else 1e-5)
    np.testing.assert_allclose(result.loss, loss, rtol=tolerance, atol=tolerance)
    for name, grad in grads.items():
        given = getattr(result, f"grad_{name}")
        if np.ndim(grad):
            assert given.dtype == dtype
        assert np.abs(given - grad).max() <= tolerance * max(np.abs(grad).max(), terms)


# 1, one tile, borders of tiles and blocks, several tiles of both sizes
SHAPES = [(2, 3), (64, 5), (65, 1), (257, 7), (1100, 6)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "options"), PARAMETERS)
def test_formula(name, options, dtype):
    for n, d in SHAPES:
        phi, psi = batch(n, d, dtype)
        expected = CASES[name][0](phi.astype(np.float64), psi.astype(np.float64), **options)
        terms = 1 / (n * options.get("temperature", 0.07)) if name == "info_nce" else 1e-300  # softmax - I
        assert_same(getattr(objectives, name)(phi, psi, **options), expected, dtype, 10, terms)


@pytest.mark.parametrize(("name", "options"), PARAMETERS)
def test_central_differences(name, options):
    rng = np.random.default_rng(1)
    phi, psi = batch(17, 4, np.float64)
    loss = getattr(objectives, name)
    result, step = loss(phi, psi, **options), 1e-6
    a, b = rng.standard_normal((2, *phi.shape))

    def value(s):
        return loss(phi + s * a, psi + s * b, grad=(), **options).loss

    slope = (value(step) - value(-step)) / (2 * step)
    np.testing.assert_allclose((result.grad_phi * a + result.grad_psi * b).sum(), slope, rtol=1e-6, atol=1e-9)
    for number, default in [("temperature", 0.07), ("t", 10.0), ("b", -10.0)]:
        if number in result.grads:
            at = options.get(number, default)
            step = 1e-6 * max(abs(at), 0.01)
            up, down = (loss(phi, psi, **{**options, number: at + s}).loss for s in (step, -step))
            np.testing.assert_allclose(result.grads[number], (up - down) / (2 * step), rtol=1e-5, atol=1e-9)


def contrastive_views(A, temperature=1.0, form="dot"):
    """The definition, pair by pair of inputs: (loss, dA)."""
    (n, r, d), T = A.shape, temperature
    flat = A.reshape(n * r, d)
    if form == "dot":
        f = np.exp(flat @ flat.T / T)
    else:
        f = np.exp(-np.square(flat[:, None] - flat[None]).sum(-1) / T)
    number = np.repeat(np.arange(n), r)
    same = number[:, None] == number[None]
    pairs = same & ~np.eye(n * r, dtype=bool)
    loss = -2 * f[pairs].mean() + (f[~same] ** 2).mean()
    G = np.where(pairs, -2 / pairs.sum(), 0) * f + np.where(same, 0, 2 / (~same).sum()) * f**2
    G = G + G.T
    grad = G @ flat / T if form == "dot" else -2 / T * (G.sum(1)[:, None] * flat - G @ flat)
    return loss, {"views": grad.reshape(A.shape)}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["dot", "distance"])
@pytest.mark.parametrize("shape", [(2, 2, 3), (130, 2, 5), (90, 3, 4), (1, 2, 2)])
def test_views(shape, form, dtype):
    A = np.random.default_rng(2).standard_normal(shape).astype(dtype) * 0.7
    if shape[0] == 1:
        with pytest.raises(ValueError, match="views: got N = 1"):
            objectives.exponential_spectral_contrastive(A)
        return
    expected = contrastive_views(A.astype(np.float64), 0.8, form)
    result = objectives.exponential_spectral_contrastive(A, temperature=0.8, form=form)
    assert_same(result, expected, dtype, 10)
    strided = np.asfortranarray(A)
    out = np.empty(shape[::-1], dtype).T
    again = objectives.exponential_spectral_contrastive(strided, temperature=0.8, form=form, out=out)
    assert np.array_equal(out, result.grad_views) and again.grad_views is out


def test_low_rank_optimum():
    """Where f is the density ratio P(x, a)/(p(x) q(a)) of a symmetric population, the loss in expectation is
    -(1 + chi-squared): with every pair of a finite joint distribution once, weights by repetition."""
    counts = np.array([[3, 1], [1, 3]])
    rows = [(x, a) for x in range(2) for a in range(2) for _ in range(counts[x, a])]
    ratio = counts / 8 / 0.25
    T = 1.0
    # <phi_x, psi_a> = T log ratio, exactly: phi one-hot, psi the logarithms
    phi = np.eye(2)[[x for x, _ in rows]]
    psi = T * np.log(ratio).T[[a for _, a in rows]]
    result = objectives.exponential_low_rank(phi, psi, temperature=T)
    n = len(rows)
    f = ratio[[x for x, _ in rows]][:, [a for _, a in rows]]
    plugin = result.terms["pairs"] * (n - 1) / n + (np.diag(f) ** 2).sum() / n**2
    np.testing.assert_allclose(-2 * result.terms["data"] + plugin, -(ratio**2).mean(), rtol=1e-12)


def test_info_nce_of_pairs_that_find_each_other():
    """Orthonormal rows: each cross-entropy is log(1 + (N - 1) exp(-1/T))."""
    result = objectives.info_nce(np.eye(6), np.eye(6), temperature=0.5)
    np.testing.assert_allclose(result.loss, np.log1p(5 * np.exp(-2)), rtol=1e-13)
    equal = objectives.info_nce(np.ones((9, 3)), np.ones((9, 3)))
    np.testing.assert_allclose(equal.loss, np.log(9), rtol=1e-13)
    assert np.abs(equal.grad_phi).max() < 1e-13


WIDE_ROWS = 700


@pytest.mark.parametrize("dtype", DTYPES)
def test_wide_logits(dtype):
    """Rows and columns whose log-sum-exps lie hundreds apart cannot share one exponential."""
    rng, n = np.random.default_rng(3), WIDE_ROWS
    phi, psi = rng.standard_normal((2, n, 4))
    phi *= np.logspace(-2, 1.3, n)[:, None]
    psi *= np.logspace(1, -2, n)[:, None]
    phi, psi = phi.astype(dtype), psi.astype(dtype)
    expected = info_nce(phi.astype(np.float64), psi.astype(np.float64), 0.3)
    assert_same(objectives.info_nce(phi, psi, temperature=0.3), expected, dtype, 10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", list(CASES))
def test_strides_and_out(name, dtype):
    phi, psi = batch(300, 6, dtype)
    loss = getattr(objectives, name)
    expected = loss(phi, psi)
    big = np.zeros((600, 20), dtype)
    big[::2, 4:16:2] = phi
    views = [
        np.asfortranarray(phi),
        big[::2, 4:16:2],
        np.ascontiguousarray(phi[::-1])[::-1],
        phi[:, ::-1].copy()[:, ::-1],
    ]
    for view in views:
        assert np.array_equal(loss(view, psi).grad_phi, expected.grad_phi)
        assert np.array_equal(loss(view, psi).grad_psi, expected.grad_psi)
    out = {"phi": np.full((300, 12), 7, dtype)[:, ::2], "psi": np.full((300, 9), 7, dtype)[:, :6]}
    result = loss(phi, psi, out=out)
    for side in ("phi", "psi"):
        assert np.array_equal(out[side], expected.grads[side]) and result.grads[side] is out[side]
    one = loss(phi, psi, grad="psi")
    assert one.grad_phi is None and np.array_equal(one.grad_psi, expected.grad_psi)
    assert loss(phi, psi, grad=()).loss == expected.loss


@pytest.mark.parametrize("name", [*CASES, "views"])
def test_threads_do_not_change_a_bit(name):
    phi, psi = batch(1500, 7, np.float32)
    call = {
        "views": lambda: objectives.exponential_spectral_contrastive(np.stack([phi, psi], 1)),
    }.get(name, lambda: getattr(objectives, name)(phi, psi))
    before, results = ec.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            ec.set_num_threads(threads)
            results.append(call())
    finally:
        ec.set_num_threads(before)
    for other in results[1:]:
        assert other.loss == results[0].loss
        for side, grad in results[0].grads.items():
            assert np.array_equal(grad, other.grads[side])


@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_scales(name, scale):
    """float32 whose products leave it, with the T (or t) that makes ordinary scores of them."""
    phi, psi = batch(200, 4, np.float64)
    options = {"t": 10.0 / scale**2} if name == "sigmoid" else {"temperature": 0.5 * scale**2}
    scaled = [(x * scale).astype(np.float32) for x in (phi, psi)]
    expected = CASES[name][0](*(x.astype(np.float64) for x in scaled), **options)
    result = getattr(objectives, name)(*scaled, **options)
    np.testing.assert_allclose(result.loss, expected[0], rtol=1e-6)
    for side in ("phi", "psi"):
        assert np.abs(result.grads[side] - expected[1][side]).max() <= 1e-6 * np.abs(expected[1][side]).max()


def test_distances_far_from_the_origin():
    """|phi|^2 + |psi|^2 - 2 <phi, psi> would cancel."""
    phi, psi = batch(100, 4, np.float64)
    far = [(x + 3000).astype(np.float32) for x in (phi, psi)]
    expected = exponential_low_rank(*(x.astype(np.float64) for x in far), form="distance")
    assert_same(objectives.exponential_low_rank(*far, form="distance"), expected, np.float32, 10)


@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 44.36), (np.float64, 354.9)])
def test_overflow_is_refused_with_the_temperature_that_would_do(dtype, limit):
    phi = np.diag([1.0, 2.0, 3.0]).astype(dtype) * 10
    T = 900 / (limit + 5)
    with pytest.raises(ValueError, match=rf"largest exponent <phi, psi>/T is {limit + 5:.4g}.*allowed.*T >= ") as info:
        objectives.exponential_low_rank(phi, phi.copy(), temperature=T)
    enough = float(str(info.value).split("T >= ")[1])
    assert np.isfinite(objectives.exponential_low_rank(phi, phi.copy(), temperature=enough).loss)
    # Norms that are large while no exponent is: nothing to refuse.
    a, b = np.array([[300.0, 0], [300, 1]], dtype), np.array([[0, 300.0], [0, 1]], dtype)
    assert np.isfinite(objectives.exponential_low_rank(a, b, temperature=100.0).loss)
    # The exponent of a view with itself is never formed.
    A = np.array([[[30.0, 0], [0, 30]], [[-30, 0], [0, -30]]], dtype)
    assert np.isfinite(objectives.exponential_spectral_contrastive(A, temperature=2.0).loss)


def test_exponentials_that_vanish_in_float32():
    """f = exp(-60) is a float32, f^2 is not: the pairs' gradient is there all the same."""
    phi, psi = np.zeros((2, 1), np.float32), np.full((2, 1), np.sqrt(60), np.float32)
    result = objectives.exponential_low_rank(phi, psi, form="distance")
    expected = exponential_low_rank(phi.astype(float), psi.astype(float), form="distance")
    np.testing.assert_allclose(result.loss, expected[0], rtol=1e-4)
    np.testing.assert_allclose(result.grad_phi, expected[1]["phi"], rtol=1e-4)


@pytest.mark.torch
@pytest.mark.parametrize("name", list(CASES))
def test_torch(name):
    torch = pytest.importorskip("torch")
    phi, psi = batch(50, 4, np.float32)
    expected = getattr(objectives, name)(phi, psi)
    result = getattr(objectives, name)(torch.from_numpy(phi), torch.from_numpy(psi))
    assert isinstance(result.grad_phi, torch.Tensor)
    assert np.array_equal(result.grad_phi.numpy(), expected.grad_phi)


@pytest.mark.parametrize("name", list(CASES))
def test_bad_input(name):
    phi, psi = batch(10, 4, np.float64)
    loss = getattr(objectives, name)
    number = "t" if name == "sigmoid" else "temperature"
    bad = psi.copy()
    bad[2, 3] = np.inf
    for arguments, options, error, words in [
        ((phi, psi[:9]), {}, ValueError, r"psi: got shape \(9, 4\); allowed: 10 rows as in phi"),
        ((phi, psi[:, :3]), {}, ValueError, r"psi: got shape \(10, 3\); allowed: 4 features as in phi"),
        ((phi, bad), {}, ValueError, r"psi: got inf at \[2, 3\]"),
        ((phi.astype(int), psi), {}, TypeError, "floating point"),
        ((phi, psi), {number: np.nan}, ValueError, number),
        ((phi, psi), {number: "1"}, TypeError, number),
        ((phi, psi), {"grad": ("x",)}, ValueError, "grad: got 'x'"),
        ((iter(phi), psi), {}, TypeError, "phi"),
    ]:
        with pytest.raises(error, match=words):
            loss(*arguments, **options)
    if name != "sigmoid":
        for T in (0.0, -1.0):
            with pytest.raises(ValueError, match=f"temperature: got {T:g}; allowed: a finite number > 0"):
                loss(phi, psi, temperature=T)
    with pytest.raises(OverflowError, match="phi"):
        loss(phi * 1e200, psi * 1e200, **({"form": "distance"} if name.startswith("exponential") else {}))


class Sliced:
    """Rows of no array: len and slicing alone. Remembers the longest slice."""

    def __init__(self, rows):
        self._rows, self.longest = rows, 0

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        part = self._rows[rows].copy()
        self.longest = max(self.longest, len(part))
        return part


@pytest.mark.parametrize(
    ("name", "options"), [(name, options) for name, (_, several) in CASES.items() for options in several[1:3]]
)
def test_rows_that_are_read_by_slices(name, options):
    phi, psi = batch(5000, 3, np.float64)
    expected = getattr(objectives, name)(phi, psi, **options)
    for a, b in [(Sliced(phi), Sliced(psi)), (Sliced(phi), psi)]:
        result = getattr(objectives, name)(a, b, **options)
        np.testing.assert_allclose(result.loss, expected.loss, rtol=1e-12)
        for side, grad in expected.grads.items():
            np.testing.assert_allclose(result.grads[side], grad, rtol=0, atol=1e-11 * np.abs(grad).max())


def test_a_quarter_in_memory(tmp_path):
    """N = 16384 from a memory map and by slices of a quarter, gradients to memory maps."""
    phi, psi = batch(16384, 4, np.float32)
    expected = objectives.info_nce(phi, psi)
    files = [np.lib.format.open_memmap(tmp_path / f"{i}.npy", "w+", np.float32, phi.shape) for i in range(4)]
    files[0][:], files[1][:] = phi, psi
    mapped = objectives.info_nce(files[0], files[1], out=(files[2], files[3]))
    assert mapped.loss == expected.loss and np.array_equal(files[2], expected.grad_phi)
    a, b = Sliced(files[0]), Sliced(files[1])
    sliced = objectives.info_nce(a, b, out=(files[2], files[3]))
    assert max(a.longest, b.longest) <= 4096
    np.testing.assert_allclose(sliced.loss, expected.loss, rtol=1e-6)
    for given, grad in [(files[2], expected.grad_phi), (files[3], expected.grad_psi)]:
        assert np.abs(given - grad).max() <= 1e-5 * np.abs(grad).max()


def test_bad_slices():
    phi, psi = batch(5000, 3, np.float64)
    bad = phi.copy()
    bad[4500, 1] = np.nan
    with pytest.raises(ValueError, match=r"phi\[4096:5000\]: got nan at \[404, 1\]"):
        objectives.info_nce(Sliced(bad), psi)
    with pytest.raises(TypeError, match="psi: got a generator, which can be read once"):
        objectives.sigmoid(phi, (row for row in psi))
    with pytest.raises(ValueError, match="psi: got shape"):
        objectives.info_nce(Sliced(phi), Sliced(psi[:4000]))
