"""Spectra as the command line shows and writes them: one beside the other, or ranked by usefulness."""

from __future__ import annotations

import json
import math
import os
import re
import warnings
from typing import Any

import numpy as np

from ._console import print_table
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


def rank_by_usefulness(spectra: dict[str, Spectrum], d0: int) -> list[tuple[str, Usefulness, bool]]:
    """Name, usefulness and whether tau says nothing (the context is extremely weak or strong); those come last."""
    found = []
    for name, spectrum in spectra.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = spectrum.usefulness(d0)
        found.append((name, result, bool(caught)))
    return sorted(found, key=lambda entry: (entry[2], entry[1].tau))


def print_ranking(ranked: list[tuple[str, Usefulness, bool]], spectra: dict[str, Spectrum]) -> None:
    rows = []
    for place, (name, result, extreme) in enumerate(ranked, 1):
        spectrum = spectra[name]
        s = [f"{spectrum.singular_values[i]:.4f}" if i < spectrum.k else "" for i in (0, result.d)]
        good = f"{int(np.count_nonzero(spectrum.converged))}/{spectrum.k}"
        rows.append([str(place), name, f"{result.tau:.4f}{'*' if extreme else ''}", str(result.d), *s, good])
    print_table(["place", "context", "tau", "d", "s_1", "s_d+1", "converged"], rows)
    print(f"usefulness tau over d0 = {ranked[0][1].d0} values; lower is better")
    if any(extreme for _, _, extreme in ranked):
        print("* extremely weak or strong: tau says nothing of this context, which is therefore last")


def write_comparison(
    stem: str, about: dict[str, Any], ranked: list[tuple[str, Usefulness, bool]], spectra: dict[str, Spectrum]
) -> list[str]:
    """`stem`.compare.json (`about`, then the contexts in order) and a saved spectrum for each; the paths."""
    entries, paths = [], [f"{stem}.compare.json"]
    for place, (name, result, extreme) in enumerate(ranked, 1):
        spectrum = spectra[name]
        paths.append(f"{stem}.{place}-{re.sub('[^A-Za-z0-9.=+-]+', '_', name)[:60]}.npz")
        spectrum.save(paths[-1])
        entries.append(
            {
                "context": name,
                "tau": result.tau if math.isfinite(result.tau) else None,
                "d": result.d,
                "extreme": extreme,
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
