"""ec.spectrum, Spectrum and ec.metrics.usefulness."""

import errno
import os
import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg

import eigencontext as ec

X = np.random.default_rng(0).normal(size=(80, 3))
C = np.random.default_rng(1).gamma(0.5, size=(30, 20)) + 1e-3


@pytest.fixture
def spec():
    return ec.spectrum(ec.contexts.kernel(X, bandwidth=0.8), k=6)


# -- spectrum --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["auto", "krylov", "subspace", "gram", "full"])
def test_methods_agree(method):
    ctx = ec.contexts.counts(C)
    expected = ec.spectrum(ctx, k=3, method="full", tol=0).singular_values
    spec = ec.spectrum(ctx, k=3, method=method, tol=1e-10)
    np.testing.assert_allclose(spec.singular_values, expected, atol=1e-9)
    assert spec.method in (method, "full")  # the context is too small for the iterative ones
    assert spec.reason and spec.stop_reason == "converged" and spec.converged.all()


def test_k_is_capped_at_the_rank_bound():
    ctx = ec.contexts.counts(C)
    with pytest.warns(UserWarning, match="k: got 128.*at most 19"):
        spec = ec.spectrum(ctx, k=128)
    assert spec.k == 19 and spec.k_asked == 128 and spec.left.shape == (30, 19)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ec.spectrum(ctx, k=19).k == 19


@pytest.mark.parametrize("k", [0, -1])
def test_k_must_be_positive(k):
    with pytest.raises(ValueError, match="k"):
        ec.spectrum(ec.contexts.counts(C), k=k)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_only_constants(shape):
    with pytest.warns(UserWarning, match="at most 0"):
        spec = ec.spectrum(ec.contexts.counts(np.ones(shape)), k=3)
    assert spec.k == 0 and spec.left.shape == (shape[0], 0) and spec.right.shape == (shape[1], 0)
    with pytest.warns(UserWarning, match="extremely"):
        assert float(spec.usefulness()) == 2.0
    assert spec.transform(np.ones((2, shape[1]))).shape == (2, 0)
    assert "k = 0" in repr(spec)


def test_a_matrix_is_no_context():
    with pytest.raises(TypeError, match="ctx: got ndarray"):
        ec.spectrum(C, 3)


def test_k_is_capped_silently_where_the_user_gave_none(recwarn):
    spec = ec.spectrum(ec.contexts.counts(C))
    assert spec.k == 19 and spec.k_asked == 128 and not recwarn.list


def test_all_options_of_svd_are_options_of_spectrum():
    import inspect

    ours, theirs = (inspect.signature(f).parameters for f in (ec.spectrum, ec.svd))
    assert {p.name: (p.default, p.annotation) for p in theirs.values() if p.kind == p.KEYWORD_ONLY} == {
        p.name: (p.default, p.annotation) for p in ours.values() if p.kind == p.KEYWORD_ONLY
    }


def test_options_reach_the_solver():
    with pytest.raises(TypeError):
        ec.spectrum(ec.contexts.counts(C), 3, no_such_option=1)
    seen = []
    ec.spectrum(ec.contexts.kernel(X, bandwidth=0.8), 3, method="krylov", callback=lambda info: seen.append(info.sweep))
    assert seen
    with pytest.warns(ec.ConvergenceWarning):
        spec = ec.spectrum(
            ec.contexts.neighbors(np.random.default_rng(3).normal(size=(600, 2)), 5),
            20,
            method="krylov",
            tol=1e-12,
            max_sweeps=1,
            block_size=8,
        )
    assert not spec.converged.all() and spec.stop_reason == "max_sweeps"


def test_same_seed_same_bits():
    ctx = ec.contexts.kernel(X, bandwidth=0.8)
    first, second = (ec.spectrum(ctx, 5, seed=3) for _ in range(2))
    assert (first.left == second.left).all() and (first.right == second.right).all()


def test_zero_values_come_without_the_constant():
    p, q = np.full(9, 1 / 9), np.full(7, 1 / 7)
    spec = ec.spectrum(ec.contexts.counts(np.outer(p, q)), k=6)
    assert (spec.singular_values == 0).all() and spec.exhausted
    for values, weights in ((spec.left, p), (spec.right, q)):
        np.testing.assert_allclose(weights @ values, 0, atol=1e-12)
        np.testing.assert_allclose(values.T @ (weights[:, None] * values), np.eye(6), atol=1e-12)
    with pytest.warns(UserWarning, match="can't be extended"):
        assert np.isnan(spec.transform(np.ones((2, 7)))).all()


def test_repr_says_what_it_is(spec):
    assert "kernel" in repr(spec) and "k = 6 (6 converged)" in repr(spec)


# -- usefulness ------------------------------------------------------------------------------------------------------


def plain_usefulness(s, d0, beta):
    s2 = np.asarray(s[:d0]) ** 2
    return [1 / (1 - s2[d]) + beta * s2[:d].sum() / s2.sum() for d in range(1, d0)]


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("d0", [2, 5, None])
def test_usefulness_is_the_formula(d0, beta):
    s = 0.8 ** np.arange(1, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = ec.metrics.usefulness(s, d0, beta)
    curve = plain_usefulness(s, d0 or 9, beta)
    np.testing.assert_allclose(result.curve, curve, rtol=1e-14)
    assert result.tau == float(result) == min(result.curve)
    assert result.d == np.argmin(curve) + 1 and result.d0 == (d0 or 9) and result.beta == beta
    assert "tau" in repr(result)


def test_a_value_of_one_to_rounding_counts_as_one():
    spec = ec.spectrum(ec.contexts.labels(list("aabbcc")), k=2)
    with pytest.warns(UserWarning, match="tau is infinite: the context is extremely weak or strong"):
        assert spec.usefulness(d0=2).tau == np.inf
    for dtype in (np.float32, np.float64):
        ones = np.array([1, np.nextafter(dtype(1), dtype(0)), 0.5], dtype)
        assert ec.metrics.usefulness(ones).curve[0] == np.inf
        below = np.array([1, 1 - 100 * np.finfo(dtype).eps, 0.5], dtype)
        curve = ec.metrics.usefulness(below).curve
        np.testing.assert_allclose(curve, plain_usefulness(below.astype(float), 3, 1.0), rtol=1e-6)


def test_usefulness_of_a_spectrum_points_to_its_method(spec):
    with pytest.raises(TypeError, match="s: got a Spectrum; allowed: its .singular_values"):
        ec.metrics.usefulness(spec)


def test_usefulness_of_ones_and_zeros():
    with pytest.warns(UserWarning, match="extremely weak or strong"):
        assert ec.metrics.usefulness(np.ones(5)).tau == np.inf
    result = ec.metrics.usefulness([1, 1, 0.5, 0.4])
    assert result.curve[0] == np.inf and np.isfinite(result.curve[1:]).all()
    with pytest.warns(UserWarning, match="extremely weak or strong"):
        assert ec.metrics.usefulness(np.zeros(5), beta=3.0).tau == 4.0
    with pytest.warns(UserWarning, match="extremely weak or strong"):
        ec.metrics.usefulness([0.5, 1e-4, 1e-5])


def test_usefulness_takes_512_by_default():
    assert ec.metrics.usefulness(np.linspace(0.9, 0.1, 600)).d0 == 512


@pytest.mark.parametrize(
    "s, options, message",
    [
        ([0.5, 0.9], {}, "descending"),
        ([1.5, 0.9], {}, r"\[0, 1\]"),
        ([0.5, -0.1], {}, r"\[0, 1\]"),
        ([0.5, np.nan], {}, "finite"),
        ([0.5, 0.1], {"d0": 3}, "d0"),
        ([0.5, 0.1], {"beta": 0}, "beta"),
        ([0.5], {}, "d0"),
        ([], {}, "s"),
        ([[0.5]], {}, "s"),
    ],
)
def test_bad_usefulness(s, options, message):
    with pytest.raises(ValueError, match=message):
        ec.metrics.usefulness(s, **options)


def test_an_exhausted_spectrum_goes_on_with_zeros():
    ctx = ec.contexts.counts(C)
    with pytest.warns(UserWarning, match="at most 19"):
        full = ec.spectrum(ctx, k=64)
    result = full.usefulness()
    assert result.d0 == 64 and len(result.curve) == 63
    np.testing.assert_allclose(result.curve[18:], 1 + 1, atol=1e-12)
    assert full.usefulness(d0=100).d0 == 100
    part = ec.spectrum(ctx, k=5)
    assert part.usefulness().d0 == 5
    with pytest.raises(ValueError, match="d0: got 6"):
        part.usefulness(d0=6)


# -- save, load, pickle, plot ----------------------------------------------------------------------------------------


def _nested():
    """A mixture in a mixture, of a convolution whose second link no file can hold."""
    W = np.random.default_rng(5).dirichlet(np.ones(12), 80)
    given = ec.contexts.operator(scipy.sparse.linalg.aslinearoperator(W), np.full(80, 1 / 80))
    near = ec.contexts.neighbors(X, 5)
    return ec.contexts.mixture([near, ec.contexts.kernel(X, bandwidth=0.8) @ given], [0.3, 0.7])


CONTEXTS = {
    "kernel": (lambda: ec.contexts.kernel(X, X[:30], bandwidth=0.8), X[:4]),
    "cosine": (lambda: ec.contexts.kernel(X.astype(np.float32), kernel="cosine"), X[:4]),
    "neighbors": (lambda: ec.contexts.neighbors(X, 10), X[:4]),
    "labels": (lambda: ec.contexts.labels(["a", "b", "b", "c", "d"]), ["c", "a"]),
    "objects": (lambda: ec.contexts.labels(np.array(["a", "b", "b", "c", "d"], dtype=object)), ["c", "a"]),
    "counts": (lambda: ec.contexts.counts(sp.csr_array(C)), C[:3]),
    "graph": (lambda: ec.contexts.graph(C[:20] + C[:20].T), C[:3]),
    "mixture": (lambda: ec.contexts.mixture([ec.contexts.neighbors(X, 10), _nested()], [0.6, 0.4]), X[:4]),
    "convolution": (lambda: ec.contexts.neighbors(X, 10) @ _nested(), X[:4]),
    "walk": (lambda: ec.contexts.kernel(X, X[:30], bandwidth=0.8).walk(), X[:4]),
    "operator": (lambda: ec.contexts.operator(C / C.sum(1, keepdims=True), [1 / 30] * 30), np.full((1, 20), 0.05)),
}


@pytest.mark.parametrize("name", CONTEXTS)
def test_save_and_load(name, tmp_path):
    make, new = CONTEXTS[name]
    spec = ec.spectrum(make(), k=3)
    path = tmp_path / "some.file"
    spec.save(path)
    assert os.listdir(tmp_path) == ["some.file"]
    for again in (ec.load_spectrum(path), pickle.loads(pickle.dumps(spec))):
        for field in ("singular_values", "left", "right", "residuals", "converged", "p_x", "p_a"):
            kept = getattr(again, field)
            assert (kept == getattr(spec, field)).all() and kept.dtype == getattr(spec, field).dtype
        assert (again.method, again.reason, again.sweeps) == (spec.method, spec.reason, spec.sweeps)
        assert again.usefulness().tau == spec.usefulness().tau
        limit = 1e-12 if name in ("mixture", "convolution", "walk") else 0  # W_2 `right` is multiplied first
        np.testing.assert_allclose(again.transform(new), spec.transform(new), atol=limit, rtol=0)
    ec.load_spectrum(path).save(tmp_path / "again")
    np.testing.assert_array_equal(
        ec.load_spectrum(tmp_path / "again").transform(new), ec.load_spectrum(path).transform(new)
    )


def test_save_without_context(spec, tmp_path):
    spec.save(tmp_path / "s.npz", context=False)
    again = ec.load_spectrum(tmp_path / "s.npz")
    assert (again.left == spec.left).all()
    with pytest.raises(ValueError, match="context=False"):
        again.transform(X)
    odd = ec.spectrum(ec.contexts.labels([1, "1", (2,), "1"]), k=2)
    with pytest.raises(TypeError, match="context=False"):
        odd.save(tmp_path / "odd.npz")
    odd.save(tmp_path / "odd.npz", context=False)


def test_an_error_in_writing_names_the_file_of_the_user(spec, tmp_path):
    path = tmp_path / "none" / "s.npz"
    with pytest.raises(FileNotFoundError) as caught:
        spec.save(path)
    assert caught.value.filename == str(path) and "eigencontext-" not in str(caught.value)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        spec.save(tmp_path / "folder")
    assert caught.value.filename == str(tmp_path / "folder") and os.listdir(tmp_path) == ["folder"]


def test_a_full_disk_leaves_nothing_behind(spec, tmp_path, monkeypatch):
    (tmp_path / "s.npz").write_bytes(b"before")

    def full(file, **arrays):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        spec.save(tmp_path / "s.npz")
    assert os.listdir(tmp_path) == ["s.npz"] and (tmp_path / "s.npz").read_bytes() == b"before"


def test_bad_files(spec, tmp_path):
    with pytest.raises(FileNotFoundError):
        ec.load_spectrum(tmp_path / "none.npz")
    (tmp_path / "text").write_text("no archive at all")
    np.savez(tmp_path / "other.npz", a=1)
    np.save(tmp_path / "array.npy", np.ones(3))
    spec.save(tmp_path / "s.npz")
    (tmp_path / "half.npz").write_bytes((tmp_path / "s.npz").read_bytes()[:1000])
    for name in ("text", "other.npz", "array.npy", "half.npz"):
        with pytest.raises(ValueError, match="no saved spectrum"):
            ec.load_spectrum(tmp_path / name)
    with np.load(tmp_path / "s.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "newer.npz", **{**arrays, "format_version": 99})
    with pytest.raises(ValueError, match="format 99"):
        ec.load_spectrum(tmp_path / "newer.npz")
    del arrays["left"]
    np.savez(tmp_path / "less.npz", **arrays)
    with pytest.raises(ValueError, match="its checksum does not match"):
        ec.load_spectrum(tmp_path / "less.npz")


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_plot(spec, ending, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"s.{ending}"
    assert len(spec.plot(path).axes) == len(spec.plot().axes) == 2
    assert path.stat().st_size > 1000


def test_plot_without_matplotlib_names_the_extra(spec, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"eigencontext\[demo\]"):
        spec.plot(tmp_path / "s.png")


def test_a_flipped_byte_is_found(tmp_path):
    """Anywhere in the file: the arrays that come back are those that were saved, or an error says what is wrong."""
    spec = ec.spectrum(ec.contexts.counts(C[:5, :4]), k=2)
    path = tmp_path / "s.npz"
    spec.save(path)
    good = path.read_bytes()
    found = 0
    for at in range(0, len(good), 7):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        try:
            again = ec.load_spectrum(path)
        except ValueError as error:
            assert "damaged" in str(error) and "checksum" in str(error), at
            found += 1
            continue
        for field in ("singular_values", "left", "right", "residuals", "p_x", "p_a", "name"):
            np.testing.assert_array_equal(getattr(again, field), getattr(spec, field))
    assert found > len(good) / 7 / 2


def test_another_version_and_a_wrong_checksum(spec, tmp_path):
    spec.save(tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "older.npz", **{**arrays, "format_version": 1})
    with pytest.raises(ValueError, match="has format 1; allowed: 2"):
        ec.load_spectrum(tmp_path / "older.npz")
    changed = arrays["left"].copy()
    changed[3, 1] = np.nextafter(changed[3, 1], 9)
    np.savez(tmp_path / "changed.npz", **{**arrays, "left": changed})
    with pytest.raises(ValueError, match="is damaged: its checksum does not match its contents"):
        ec.load_spectrum(tmp_path / "changed.npz")
    np.savez(tmp_path / "pickle.npz", **{**arrays, "left": np.array([print], dtype=object)})
    with pytest.raises(ValueError, match="allow_pickle=False"):
        ec.load_spectrum(tmp_path / "pickle.npz")


@pytest.mark.torch
def test_torch_in_torch_out(tmp_path):
    torch = pytest.importorskip("torch")
    points = X.astype(np.float32)
    T = torch.from_numpy(points)
    for make in (
        lambda x: ec.contexts.kernel(x, bandwidth=0.8),
        lambda x: ec.contexts.neighbors(x, 10),
        lambda x: ec.contexts.mixture([ec.contexts.neighbors(x, 5), ec.contexts.kernel(x)], [0.5, 0.5]),
        lambda x: ec.contexts.neighbors(x, 5) @ ec.contexts.kernel(x),
    ):
        ctx = make(T)
        spec, expected = ec.spectrum(ctx, k=3), ec.spectrum(make(points), k=3)
        for got, wanted in (
            (spec.left, expected.left),
            (spec.right, expected.right),
            (spec.transform(T[:4].requires_grad_()), expected.transform(points[:4])),
            (ctx.operator.rmatvec(T[:, 0]), ctx.operator.rmatvec(points[:, 0])),
        ):
            assert isinstance(got, torch.Tensor) and got.dtype == torch.float32
            np.testing.assert_array_equal(got.numpy(), wanted)
        assert isinstance(spec.transform(points[:4]), np.ndarray) and isinstance(expected.left, np.ndarray)
        assert isinstance(pickle.loads(pickle.dumps(spec)).left, torch.Tensor)
        spec.save(tmp_path / "s.npz")
        np.testing.assert_array_equal(ec.load_spectrum(tmp_path / "s.npz").left, expected.left)
        joined = ec.concatenate([spec, expected])
        assert joined.left.shape == (len(X), 3) and isinstance(joined.left, torch.Tensor)
        assert isinstance(joined.transform(T[:4]), torch.Tensor)
    counts = ec.contexts.counts(torch.from_numpy(C))
    assert isinstance(ec.spectrum(counts, k=2).right, torch.Tensor)
    assert isinstance(ec.spectrum(ec.contexts.labels(torch.tensor([0, 1, 1, 2])), k=2).left, torch.Tensor)
