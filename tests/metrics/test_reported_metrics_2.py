"""Defects that a review found, once each."""

import numpy as np
import pytest

import eigencontext as ec


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e160, 1e307])
def test_compatibility_has_no_units(scale):
    f = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 7.0])
    spec = ec.spectrum(ec.contexts.labels([0, 0, 1, 1, 2, 2]), k=2)
    expected = ec.metrics.compatibility(f, spec)
    found = ec.metrics.compatibility(f * scale, spec)
    np.testing.assert_allclose(found.rho, expected.rho, rtol=1e-12)
    np.testing.assert_allclose(found.profile, expected.profile, atol=1e-12)


def test_worst_case_error_takes_one_minus_s_1_as_one_writes_it():
    assert 1 - 0.7 > 0.3
    assert abs(ec.metrics.worst_case_error([0.7, 0.2, 0.1], 1, 0.3)) < 1e-12
    gap = ec.metrics.trace_gap([0.7], [0.7, 0.0])
    assert abs(gap.bound(0.3)) < 1e-12
    with pytest.raises(ValueError, match="eps"):
        ec.metrics.worst_case_error([0.7, 0.2, 0.1], 1, 0.2999)


def test_sampling_error_names_counts_that_are_too_large():
    with pytest.raises(ValueError, match="data"):
        ec.metrics.sampling_error(ec.contexts.counts, np.full((3, 3), 1e19), 1, resample="counts", n_resamples=2)


def test_sampling_error_of_exact_functions_is_not_negative():
    y = np.random.default_rng(0).integers(0, 3, 40)
    assert (ec.metrics.sampling_error(ec.contexts.labels, y, 2, n_resamples=3).span >= 0).all()
