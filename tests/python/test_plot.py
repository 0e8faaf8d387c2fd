"""Pictures, looked at through matplotlib's objects."""

import numpy as np
import pytest

import eigencontext as ec

pytest.importorskip("matplotlib")
from eigencontext._plot import check_plot, draw_spectra  # noqa: E402

X = np.random.default_rng(0).normal(size=(60, 3))


def test_several_spectra_stand_together():
    spectra = {
        "rbf:bandwidth=1": ec.spectrum(ec.contexts.kernel(X, bandwidth=1), k=8),
        "0.5*rbf+0.5*neighbors": ec.spectrum(
            ec.contexts.mixture([ec.contexts.kernel(X), ec.contexts.neighbors(X, 5)], [0.5, 0.5]), k=6
        ),
    }
    decay, curve = draw_spectra(spectra).axes
    assert (decay.get_xlabel(), decay.get_ylabel()) == ("index $i$", "singular value $s_i$")
    assert (curve.get_xlabel(), curve.get_ylabel()) == ("number of features $d$", r"usefulness $\tau_d$")
    assert decay.get_title() and curve.get_title()
    assert [text.get_text() for text in decay.get_legend().get_texts()] == list(spectra)
    for (name, spectrum), line in zip(spectra.items(), decay.get_lines(), strict=True):
        assert line.get_label() == name
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, spectrum.k + 1))
        np.testing.assert_array_equal(line.get_ydata(), spectrum.singular_values)
    labels = [text.get_text() for text in curve.get_legend().get_texts()]
    for label, (name, spectrum) in zip(labels, spectra.items(), strict=True):
        result = spectrum.usefulness()
        assert label == f"{name}: {result.tau:.3f} at d = {result.d}"
    colours = [line.get_color() for line in decay.get_lines()]
    assert len(set(colours)) == len(spectra)
    # a context has one colour on both sides: its curve, and the point at its minimum
    assert [line.get_color() for line in curve.get_lines()] == [colour for colour in colours for _ in range(2)]


def test_a_spectrum_without_values():
    with pytest.warns(UserWarning, match="at most 0"):
        nothing = ec.spectrum(ec.contexts.counts([[1.0]]), k=1)
    decay, curve = draw_spectra({"nothing": nothing}).axes
    assert decay.get_legend() is None and curve.get_legend() is None and decay.get_xlabel() == "index $i$"


def test_a_context_has_one_colour_where_a_curve_is_missing():
    strong = ec.spectrum(ec.contexts.labels([0, 1, 2, 3]), k=3)  # all s = 1: tau is infinite, no curve
    good = ec.spectrum(ec.contexts.kernel(X, bandwidth=1), k=8)
    decay, curve = draw_spectra({"strong": strong, "good": good}).axes
    assert curve.get_lines()[0].get_color() == decay.get_lines()[1].get_color()


def test_a_steep_curve_does_not_hide_the_minima():
    for bandwidth, k in ((0.2, 30), (0.5, 50)):
        steep = ec.spectrum(ec.contexts.kernel(X, bandwidth=bandwidth), k=k)
        result = steep.usefulness()
        top = draw_spectra({"steep": steep}).axes[1].get_ylim()[1]
        assert result.tau < top == max(6.0, 1.5 * result.tau) < result.curve.max()


def test_what_can_be_written():
    for name in ("a.png", "a.PDF", "folder/a.svg"):
        check_plot("--plot", name)
    for name in ("a", "a.npz"):
        with pytest.raises(ValueError, match=f"--plot: got {name}; allowed: a file that ends in .*\\.png"):
            check_plot("--plot", name)
