"""Defects that a review found, once each."""

import numpy as np
import pytest

import eigencontext as ec


@pytest.mark.parametrize("threshold", [0.0, 1e-200])
def test_teacher_with_a_threshold_near_zero_counts_all_that_is_missed(threshold):
    Z = np.random.default_rng(0).standard_normal((50, 6))
    spec = ec.spectrum(ec.contexts.teacher(Z, threshold=threshold), k=2)
    np.testing.assert_array_equal(spec.singular_values, 1.0)
    assert spec.missed == 4.0 and not spec.exhausted


@pytest.mark.parametrize("make", [ec.contexts.corruption, ec.contexts.masking])
def test_values_of_a_feature_that_is_taken_as_it_is_are_the_data(make):
    x = np.array([0.1, 0.3, 0.1 + 0.2, 0.7])  # sums of ten 0.1 are not 10 * 0.1
    X = np.random.default_rng(0).choice(x, size=(200, 3))
    values = make(X, 0.5).values
    assert np.isin(values[~np.isnan(values)], x).all()


@pytest.mark.parametrize("noise", ["uniform", "gaussian", "bimodal"])
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_corruption_where_a_density_gives_a_bin_no_mass(noise, rate):
    """Values one rounding apart, far inside the range: their bins' mass rounds to 0."""
    near = 0.3 + np.arange(4) * np.spacing(0.3)
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.choice([*near, -1e6, 1e6], size=200), rng.choice(3, size=200)])
    ctx = ec.contexts.corruption(X, rate, noise=noise)
    ones = ctx.operator @ np.sqrt(ctx.p_a)[:, None]
    np.testing.assert_allclose(ones[:, 0], np.sqrt(ctx.p_x), rtol=1e-12)
    s = ec.spectrum(ctx, k=3).singular_values
    assert np.isfinite(s).all() and s[0] > 0.1
