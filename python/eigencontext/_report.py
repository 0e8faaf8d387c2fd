"""Spectra as the command line shows and writes them: one beside the other, or ranked by usefulness."""

from __future__ import annotations

import json
import math
import os
import re
import warnings
from typing import Any, NamedTuple

import numpy as np

from ._console import print_table
from ._probe import FOLDS, has_classes, linear_probe, measure
from ._spectrum import Spectrum
from .metrics import Usefulness

_ROWS_SHOWN = 12


# -- one spectrum ----------------------------------------------------------------------------------------------------


def print_spectra(spectra: dict[str, Spectrum]) -> None:
    """s_i and residual of every spectrum, side by side, then the usefulness."""
    header = ["i"] + [text for name in spectra for text in (f"s ({name})", "residual")]
    longest = max(spectrum.k for spectrum in spectra.values())
    rows = [_row(i, spectra) for i in _shown(longest)]
    print_table(header, rows)
    for name, spectrum in spectra.items():
        good = int(np.count_nonzero(spectrum.converged))
        print(f"{name}: {_usefulness(spectrum)}; {good} of {spectrum.k} values converged, {spectrum.method}")


def _shown(k: int) -> list[int]:
    """The first few of 0 ... k-1, then every doubling, then the last."""
    index = list(range(min(k, _ROWS_SHOWN)))
    i = 16
    while i < k:
        index.append(i - 1)
        i *= 2
    return index + [k - 1] if k > _ROWS_SHOWN and index[-1] != k - 1 else index


def _row(i: int, spectra: dict[str, Spectrum]) -> list[str]:
    row = [str(i + 1)]
    for spectrum in spectra.values():
        if i < spectrum.k:
            row += [f"{spectrum.singular_values[i]:.6f}", f"{spectrum.residuals[i]:.1e}"]
        else:
            row += ["", ""]
    return row


def _usefulness(spectrum: Spectrum) -> str:
    try:
        result = spectrum.usefulness()
    except ValueError as error:
        return f"usefulness not defined ({error})"
    return f"usefulness tau = {result.tau:.4f} at d = {result.d} (d0 = {result.d0}, lower is better)"


# -- several ---------------------------------------------------------------------------------------------------------


class Ranked(NamedTuple):
    """`extreme`: tau says nothing, as the context is extremely weak or strong; such come last. `probe`: the measure of
    a linear probe on the first d functions, where a column was given."""

    name: str
    usefulness: Usefulness
    extreme: bool
    probe: Probe | None


class Probe(NamedTuple):
    measure: str
    value: float


def rank_by_usefulness(spectra: dict[str, Spectrum], d0: int, probed: np.ndarray | None = None) -> list[Ranked]:
    found = []
    for name, spectrum in spectra.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = spectrum.usefulness(d0)
        probe = None if probed is None else _probe(spectrum, result.d, probed)
        found.append(Ranked(name, result, bool(caught), probe))
    return sorted(found, key=lambda entry: (entry.extreme, entry.usefulness.tau))


def _probe(spectrum: Spectrum, d: int, probed: np.ndarray) -> Probe:
    """The inputs of a context are the first rows of the table: lagged leaves the last ones out."""
    functions = np.asarray(spectrum.left)[:, : max(1, d)]
    return Probe(measure(probed), linear_probe(functions, probed[: len(functions)]))


def probe_note(probed: np.ndarray) -> str:
    better = "lower" if has_classes(probed) else "higher"
    return (
        f"{measure(probed)} of a linear probe (ridge) on the first d functions, {FOLDS}-fold cross-validated; "
        f"{better} is better"
    )


def print_ranking(ranked: list[Ranked], spectra: dict[str, Spectrum]) -> None:
    header = ["place", "context", "tau", "d", "s_1", "s_d+1", "converged"]
    rows = []
    for place, (name, result, extreme, probe) in enumerate(ranked, 1):
        spectrum = spectra[name]
        s = [f"{spectrum.singular_values[i]:.4f}" if i < spectrum.k else "" for i in (0, result.d)]
        good = f"{int(np.count_nonzero(spectrum.converged))}/{spectrum.k}"
        row = [str(place), name, f"{result.tau:.4f}{'*' if extreme else ''}", str(result.d), *s, good]
        rows.append(row if probe is None else [*row, f"{probe.value:.4f}"])
    print_table(header if ranked[0].probe is None else [*header, ranked[0].probe.measure], rows)
    print(f"usefulness tau over d0 = {ranked[0].usefulness.d0} values; lower is better")
    if any(entry.extreme for entry in ranked):
        print("* extremely weak or strong: tau says nothing of this context, which is therefore last")


def write_comparison(stem: str, about: dict[str, Any], ranked: list[Ranked], spectra: dict[str, Spectrum]) -> list[str]:
    """`stem`.compare.json (`about`, then the contexts in order) and a saved spectrum for each; the paths."""
    entries, paths = [], [f"{stem}.compare.json"]
    for place, (name, result, extreme, probe) in enumerate(ranked, 1):
        spectrum = spectra[name]
        paths.append(f"{stem}.{place}-{re.sub('[^A-Za-z0-9.=+-]+', '_', name)[:60]}.npz")
        spectrum.save(paths[-1])
        entries.append(
            {
                "context": name,
                "tau": result.tau if math.isfinite(result.tau) else None,
                "d": result.d,
                "extreme": extreme,
                "probe": None if probe is None else probe._asdict(),
                "singular_values": spectrum.singular_values.tolist(),
                "residuals": spectrum.residuals.tolist(),
                "converged": spectrum.converged.tolist(),
                "method": spectrum.method,
                "file": os.path.basename(paths[-1]),
            }
        )
    with open(paths[0], "w", encoding="utf-8") as file:
        json.dump({**about, "contexts": entries}, file, indent=1, allow_nan=False)
    return paths
