"""teacher and targets: the signed kernel against NumPy's SVD, its extension, and what it refuses."""

import pickle

import numpy as np
import pytest

import eigencontext as ec

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(50, 4)) @ np.diag([4.0, 2.0, 1.0, 0.25]) + 3.0
NEW = RNG.normal(size=(7, 4))
U, S, VH = np.linalg.svd(Z - Z.mean(0), full_matrices=False)


def kernel_of(spec):
    """k_X - 1 = sum_i r_i^2 mu_i mu_i^T: free of signs and rotations."""
    left = spec.left.astype(np.float64)
    return left * spec.singular_values**2 @ left.T


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "options, r",
    [
        ({}, S / S[0]),
        ({"threshold": (S[1] + S[2]) / 2}, [1, 1]),
        ({"threshold": float(0.5 * (S[2] + S[3]) / S[0]), "relative": True}, [1, 1, 1]),
        ({"threshold": 0.0}, [1, 1, 1, 1]),
        ({"threshold": float(S[0]) * 0.999}, [1]),
    ],
)
def test_teacher_is_its_signed_kernel(options, r, dtype):
    ctx = ec.contexts.teacher(Z.astype(dtype), **options)
    spec = ec.spectrum(ctx, tol=0)
    limit = 100 * np.finfo(dtype).eps * S[0] / S[-1] * np.sqrt(len(Z))
    np.testing.assert_allclose(spec.singular_values, r, atol=limit)
    assert spec.left.dtype == dtype and spec.right.shape == (0, len(r)) and spec.exhausted and spec.converged.all()
    np.testing.assert_allclose(kernel_of(spec), 50 * U[:, : len(r)] * np.square(r) @ U[:, : len(r)].T, atol=limit)
    np.testing.assert_allclose(spec.left.T @ spec.left / 50, np.eye(len(r)), atol=limit)
    np.testing.assert_allclose(spec.left.mean(0), 0, atol=limit)
    np.testing.assert_allclose(spec.transform(Z.astype(dtype)), spec.left, atol=limit)
    signs = np.sign(np.sum(spec.left * U[:, : len(r)], axis=0))
    expected = np.sqrt(50) * (NEW - Z.mean(0)) @ VH[: len(r)].T / S[: len(r)]
    np.testing.assert_allclose(spec.transform(NEW.astype(dtype)), expected * signs, atol=10 * limit)


def test_the_dual_kernel_of_the_loss_is_that_of_the_spectrum():
    """k_X of a teacher: (z - mean).(z' - mean) n / S_1^2."""
    centred = Z - Z.mean(0)
    np.testing.assert_allclose(kernel_of(ec.spectrum(ec.contexts.teacher(Z))), 50 * centred @ centred.T / S[0] ** 2)


def test_fewer_functions_than_there_are():
    spec = ec.spectrum(ec.contexts.teacher(Z), k=2, tol=0)
    np.testing.assert_allclose(spec.singular_values, S[:2] / S[0])
    assert not spec.exhausted and spec.k_asked == 2
    np.testing.assert_allclose(spec.missed, np.sum((S[2:] / S[0]) ** 2), rtol=1e-6)
    with pytest.warns(UserWarning, match="at most 4"):
        assert ec.spectrum(ec.contexts.teacher(Z), k=9).k == 4
    one = ec.spectrum(ec.contexts.targets(Z), k=1)
    assert one.k == 1 and not one.exhausted and 0 <= one.missed <= 3


def test_dependent_columns_are_dropped():
    """Probabilities of classes sum to one, so that one direction is constant."""
    spec = ec.spectrum(ec.contexts.teacher(np.hstack([Z, Z[:, :1] - Z[:, 1:2]])))
    assert spec.k == 4 and spec.exhausted
    spec = ec.spectrum(ec.contexts.targets(np.hstack([Z, Z])))
    np.testing.assert_array_equal(spec.singular_values, np.ones(4))
    np.testing.assert_allclose(kernel_of(spec), 50 * U @ U.T, atol=1e-10)


@pytest.mark.parametrize("shape", [(50,), (50, 1)])
def test_one_target(shape):
    y = RNG.normal(size=50).reshape(shape)
    spec = ec.spectrum(ec.contexts.targets(y))
    z = (y.ravel() - y.mean()) / y.std()
    np.testing.assert_allclose(np.abs(spec.left[:, 0]), np.abs(z))
    new = np.array([1.0, -2.0]).reshape((2, *shape[1:]))
    expected = (new.ravel() - y.mean()) / y.std() * np.sign(spec.left[0, 0] * z[0])
    np.testing.assert_allclose(spec.transform(new)[:, 0], expected)


def test_far_from_the_origin():
    """The mean is taken out in float64: float32 embeddings at 1000 keep their own accuracy."""
    far = (Z + 1e3).astype(np.float32)
    exact = far.astype(np.float64) - far.mean(0, dtype=np.float64)
    s = np.linalg.svd(exact, compute_uv=False)
    spec = ec.spectrum(ec.contexts.teacher(far), tol=0)
    np.testing.assert_allclose(spec.singular_values, s / s[0], atol=100 * np.finfo(np.float32).eps)
    np.testing.assert_allclose(spec.transform(far), spec.left, atol=1e-4)


@pytest.mark.parametrize("method", ["krylov", "subspace", "gram"])
def test_methods_agree(method):
    wide = RNG.normal(size=(300, 40))
    full = ec.spectrum(ec.contexts.teacher(wide), k=3, method="full")
    other = ec.spectrum(ec.contexts.teacher(wide), k=3, method=method, tol=1e-8)
    assert other.method == method
    np.testing.assert_allclose(other.singular_values, full.singular_values, atol=1e-8)
    np.testing.assert_allclose(kernel_of(other), kernel_of(full), atol=1e-4)


def test_files_and_pickles(tmp_path):
    for ctx, data in ((ec.contexts.teacher(Z), NEW), (ec.contexts.targets(Z[:, 0]), NEW[:, 0])):
        spec = ec.spectrum(pickle.loads(pickle.dumps(ctx)))
        spec.save(tmp_path / "s")
        again = ec.load_spectrum(tmp_path / "s")
        np.testing.assert_array_equal(again.transform(data), spec.transform(data))
        spec.save(tmp_path / "without", context=False)
        with pytest.raises(ValueError, match="context=False"):
            ec.load_spectrum(tmp_path / "without").transform(data)


def test_a_signed_kernel_is_no_joint_distribution():
    other = ec.contexts.labels(np.arange(50) % 3)
    for ctx in (ec.contexts.teacher(Z), ec.contexts.targets(Z)):
        for use in (
            lambda c: c.operator,
            lambda c: c.conditional(Z),
            lambda c: c.sample([0]),
            lambda c: c.walk(),
            lambda c: c @ other,
            lambda c: ec.contexts.labels(np.arange(50)) @ c,
            lambda c: ec.contexts.mixture([other, c], [0.5, 0.5]),
            lambda c: ec.contexts.loss_operator(c, "one_hot"),
            lambda c: ec.svd(c, 2),
        ):
            with pytest.raises(TypeError, match=f"{ctx.name}.*signed kernel and no joint distribution"):
                use(ctx)
        assert "signed kernel of 50 inputs x 4 features" in repr(ctx)
    assert ec.spectrum(ec.contexts.teacher(Z), k=2).usefulness().d0 == 2


def test_bad_input():
    teacher, targets = ec.contexts.teacher, ec.contexts.targets
    for bad, message in ((np.ones((5, 2)), "all equal"), (Z[:1], "all equal"), (np.full((3, 2), np.nan), "finite"),
                         (np.ones(5), "2 axes"), (np.zeros((0, 2)), "at least one")):  # fmt: skip
        with pytest.raises(ValueError, match=f"Z: .*{message}"):
            teacher(bad)
    with pytest.raises(ValueError, match="y: got 3 row.*all equal"):
        targets([2, 2, 2])
    for bad, message in (
        ([[1, 2], [3]], "got rows of different lengths"),
        (np.ones((2, 2, 2)), "1 axis or 2"),
        (3.0, "1 axis or 2"),
    ):
        with pytest.raises(ValueError, match=f"y: .*{message}"):
            targets(bad)
    for threshold, relative in ((-1.0, False), (np.nan, False), (1.5, True)):
        with pytest.raises(ValueError, match="threshold: got"):
            teacher(Z, threshold, relative)
    with pytest.raises(ValueError, match="relative: got True without a threshold"):
        teacher(Z, relative=True)
    with pytest.raises(TypeError, match="relative"):
        teacher(Z, 0.5, 1)
    with pytest.raises(ValueError, match=r"threshold: got 1e\+06; allowed: at most S_1 = "):
        ec.spectrum(teacher(Z, 1e6))
    spec = ec.spectrum(teacher(Z))
    with pytest.raises(ValueError, match="X_new: got 3 columns; allowed: 4"):
        spec.transform(NEW[:, :3])
    with pytest.raises(ValueError, match="X_new: got shape"):
        spec.transform(NEW[0])


def test_torch_in_torch_out():
    torch = pytest.importorskip("torch")
    spec = ec.spectrum(ec.contexts.teacher(torch.from_numpy(Z)))
    assert isinstance(spec.left, torch.Tensor) and isinstance(spec.transform(torch.from_numpy(Z)), torch.Tensor)
