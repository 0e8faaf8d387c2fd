"""Pictures of spectra; matplotlib is imported only here, when one is drawn."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ._spectrum import Spectrum


#: times 1 + beta: where a usefulness curve is cut off, unless its minimum lies higher
_CURVE_TOP = 3


def plot_spectra(spectra: dict[str, Spectrum], path: str | os.PathLike | None) -> Any:
    """Decay of the singular values of several spectra, with the usefulness curve of each, written to `path`."""
    figure = draw_spectra(spectra)
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure


def draw_spectra(spectra: dict[str, Spectrum]) -> Any:
    """The matplotlib Figure of `plot_spectra`: decays on the left, usefulness curves on the right."""
    figure = _figure()(figsize=(10, 4), layout="constrained")
    decay, curve = figure.subplots(1, 2)
    top = 0.0
    for j, (name, spectrum) in enumerate(spectra.items()):
        _draw_decay(decay, name, spectrum, f"C{j}")
        top = max(top, _draw_curve(curve, name, spectrum, f"C{j}"))
    decay.set(xlabel="index $i$", ylabel="singular value $s_i$", ylim=(0, 1.05), title="Decay of the spectrum")
    curve.set(xlabel="number of features $d$", ylabel=r"usefulness $\tau_d$", title="Usefulness (lower is better)")
    if top:
        curve.set_ylim(top=min(top, curve.get_ylim()[1]))
    for axes in (decay, curve):
        axes.grid(alpha=0.3)
        if axes.has_data():
            axes.legend(fontsize="small")
    return figure


def check_plot(argument: str, path: str) -> None:
    """Whether matplotlib is there and can write such a file, before anything is computed."""
    endings = _figure()().canvas.get_supported_filetypes()
    ending = os.path.splitext(path)[1].lstrip(".").lower()
    if ending not in endings:
        allowed = ", ".join(f".{name}" for name in sorted(endings))
        raise ValueError(f"{argument}: got {path}; allowed: a file that ends in {allowed}")


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plotting needs matplotlib: pip install 'eigencontext[demo]'") from error
    return Figure


def _draw_decay(axes: Any, name: str, spectrum: Spectrum, colour: str) -> None:
    s = spectrum.singular_values
    if len(s) == 0:
        return
    index = np.arange(1, len(s) + 1)
    axes.plot(index, s, marker=".", label=name, color=colour)
    # each value is within its residual of a singular value
    low, high = np.maximum(s - spectrum.residuals, 0), np.minimum(s + spectrum.residuals, 1)
    axes.fill_between(index, low, high, color=colour, alpha=0.2, linewidth=0)


def _draw_curve(axes: Any, name: str, spectrum: Spectrum, colour: str) -> float:
    """Returns how high the axis must reach for this curve to be seen."""
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the plot shows an extreme context as it is
            result = spectrum.usefulness()
    except ValueError:  # fewer than two singular values: no curve
        return 0.0
    finite = np.isfinite(result.curve)
    index = np.arange(1, len(result.curve) + 1)
    if not finite.any():
        return 0.0
    label = f"{name}: {result.tau:.3f} at d = {result.d}"
    axes.plot(index[finite], result.curve[finite], label=label, color=colour)
    if result.d and np.isfinite(result.tau):
        axes.plot([result.d], [result.tau], marker="o", color=colour)
    return max(_CURVE_TOP * (1.0 + result.beta), 1.5 * result.tau if np.isfinite(result.tau) else 0.0)
