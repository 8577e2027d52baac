"""One lenslet's spectrum: flux with its two kinds of error, flagged channels marked and named."""

from __future__ import annotations

from collections import Counter

import numpy as np
from matplotlib.axes import Axes

from archive_proc.model.flags import Flag
from archive_proc.quality.canvas import FIRST, PALE, SECOND
from archive_proc.quality.measured import Measured

HEADROOM = 1.25
"""Of the axis over the highest channel: the legend stands there."""


def show_spectrum(axes: Axes, found: Measured, name: str) -> None:
    """The spectrum `name` of what `read_spectra` kept, with error bars; grey band: with what all planes share.

    On an axis of its own: a star and a field of even light have nothing in common that one scale could show.
    """
    wavelength, width = found.arrays["wavelength"], found.arrays["bandwidth"]
    flux, error, common = (found.arrays[f"{kind}_{name}"] for kind in ("flux", "error", "common"))
    flags, lit = found.arrays[f"flags_{name}"], found.arrays["lit"]
    whole = np.sqrt(np.nan_to_num(error) ** 2 + np.nan_to_num(common) ** 2)
    axes.fill_between(wavelength, flux - whole, flux + whole, step="mid", color="#d0d0d0", linewidth=0, zorder=1)
    axes.step(wavelength, flux, where="mid", color=FIRST, linewidth=0.7, zorder=2)
    axes.errorbar(wavelength, flux, error, linestyle="none", color=FIRST, elinewidth=0.8, capsize=1.6, marker="o",
                  markersize=2.2, label="flux, error of this plane", zorder=3)  # fmt: skip
    if name == "median":
        typical = found.arrays["typical"]
        axes.plot(wavelength, typical, color=SECOND, linestyle=(0, (4, 2)), label="median of all lenslets")
    marked = flags != 0
    if marked.any():
        axes.plot(wavelength[marked], flux[marked], linestyle="none", marker="x", color="black", markersize=5,
                  markeredgewidth=1.0, label="flagged", zorder=4)  # fmt: skip
    for edge in (wavelength[lit].min() - width[0] / 2, wavelength[lit].max() + width[0] / 2) if lit.any() else ():
        axes.axvline(edge, color=PALE, linewidth=0.6, linestyle=(0, (1, 2)))
    seen = lit & np.isfinite(flux)
    low = min(0.0, float((flux - whole)[seen].min())) if seen.any() else 0.0
    high = float((flux + whole)[seen].max()) if seen.any() else 1.0
    axes.set_ylim(low - 0.05 * (high - low), low + HEADROOM * max(high - low, 1e-9))
    axes.set_xlim(wavelength[0] - width[0], wavelength[-1] + width[-1])
    axes.set_title(f"{name.capitalize()} lenslet, {found.facts[f'lenslet_{name}']}; {flag_words(flags)}")
    axes.set_xlabel(f"wavelength [um]   {found.facts['plane_shown']}" if name == "brightest" else "wavelength [um]")
    axes.set_ylabel("flux [adu/s per channel]")
    axes.grid(True)
    axes.legend(loc="upper left", handlelength=1.6, ncols=3)


def flag_words(flags: np.ndarray[tuple[int, ...], np.dtype[np.uint16]]) -> str:
    """Which flags a spectrum has, in words.

    >>> flag_words(np.array([0, 64, 64], np.uint16))
    'cosmic 2'
    """
    counts = Counter(
        (flag.name or "").lower().replace("_", " ") for flag in Flag for one in flags.tolist() if one & int(flag)
    )
    return ", ".join(f"{name} {number}" for name, number in counts.items()) or "no flags"
