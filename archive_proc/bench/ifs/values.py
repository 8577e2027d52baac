"""Every figure of a table that spectra alone give, of any reduction, by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from archive_proc.bench.ifs.channels import FIXED_FWHM_NM, WIDTHS_NM, smeared
from archive_proc.bench.ifs.companions import companion_spectrum
from archive_proc.bench.ifs.compared import Compared, as_shown, compare
from archive_proc.bench.ifs.defects import catastrophic, flagged_share, touched
from archive_proc.bench.ifs.evenly_lit import (
    PIXELS_SUMMED,
    SUMMED,
    band_flux,
    channel_bias,
    measured_over_claimed,
    noise_over_limit,
    rms_and_worst,
)
from archive_proc.bench.ifs.isolated import isolated
from archive_proc.bench.ifs.known import Known, Scene
from archive_proc.bench.ifs.laser_lines import laser_lines
from archive_proc.bench.ifs.spectra import Lamp, Spectra


@dataclass(frozen=True, slots=True)
class Value:
    """One figure; None could not be measured."""

    value: float | None
    n: int = 0
    spread: float | None = None


Values = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Reduced:
    """What one reduction made of a night's files."""

    lamp: Lamp | None
    spectra: Mapping[str, Spectra]
    """By file; the laser frame extracted like science, without a lenslet flat."""


def values_of(known: Known, reduced: Reduced) -> Values:
    """Figures by name; what was not made has value None."""
    found: dict[str, Value] = {}
    found.update(_uniform(known, reduced))
    found.update(_t_dwarf(known, reduced))
    found.update(_comb(known, reduced))
    found.update(_lines(known, reduced))
    found.update(_companions(known, reduced))
    return found


def _compared(known: Known, reduced: Reduced, scene: Scene | None, *, fwhm_nm: float | None = None) -> Compared | None:
    if scene is None or reduced.lamp is None or scene.file_id not in reduced.spectra:
        return None
    return compare(known, scene, reduced.spectra[scene.file_id], reduced.lamp, fwhm_nm=fwhm_nm)


def _bias(one: Compared | None, what: str) -> dict[str, Value]:
    rms, worst, n = None, None, 0
    if one is not None:
        rms, worst = rms_and_worst(channel_bias(one))
        n = int(one.core.sum())
    return {f"{what}, rms": Value(rms, n), f"{what}, worst": Value(worst, n)}


def _uniform(known: Known, reduced: Reduced) -> dict[str, Value]:
    scene = known.scene("uniform")
    if scene is None:
        return {}
    one = _compared(known, reduced, scene)
    found = _bias(one, "channel bias, uniform field")
    fixed = FIXED_FWHM_NM[known.mode]
    at = {fwhm: _compared(known, reduced, scene, fwhm_nm=fwhm) for fwhm in {*WIDTHS_NM[known.mode], fixed}}
    found |= _bias(at[fixed], "channel bias, uniform field, fixed resolution")
    for fwhm in WIDTHS_NM[known.mode]:
        found |= _bias(at[fwhm], f"channel bias, uniform field, truth at {fwhm:g} nm")
    shown = None if one is None else as_shown(one, reduced.spectra[scene.file_id])
    found |= _bias(shown, "channel bias, uniform field, at the product's resolution")
    alike = at[fixed]
    if alike is not None:
        edges = reduced.spectra[scene.file_id].edges_nm
        alike = replace(alike, found=smeared(alike.found, edges, fixed))
    found |= _bias(alike, "channel bias, uniform field, both at fixed resolution")
    names = (
        "band flux, bias", "band flux, scatter of lenslets", "noise over photon limit, one channel",
        "noise over photon limit, 4-px sum", "measured over claimed sigma, one channel",
        "measured over claimed sigma, 4-channel sum", "measured over claimed sigma, band",
        "catastrophic unflagged, static and unstable", "catastrophic unflagged, new hot",
        "catastrophic unflagged, cosmic", "flagged among clean elements",
    )  # fmt: skip
    if one is None:
        return {**found, **{name: Value(None) for name in names}}
    spectra = reduced.spectra[scene.file_id]
    related = None if spectra.correlation is None else spectra.correlation.astype(np.float64)
    bias, scatter = band_flux(one)
    near = touched(known, scene, spectra.wavelength_nm)
    clean = ~np.logical_or.reduce(list(near.values()))
    n = int(one.scored.sum())
    values = (
        Value(None if bias is None else abs(bias), n),
        Value(scatter, n),
        Value(noise_over_limit(one), n),
        Value(noise_over_limit(one, pixels=PIXELS_SUMMED), n),
        Value(measured_over_claimed(one, related, 1), n),
        Value(measured_over_claimed(one, related, SUMMED), n),
        Value(measured_over_claimed(one, related, None), n),
        Value(*catastrophic(one, near["static"] | near["unstable"])),
        Value(*catastrophic(one, near["new"])),
        Value(*catastrophic(one, near["cosmic"])),
        Value(*flagged_share(one, clean)),
    )
    return {**found, **dict(zip(names, values, strict=True))}


def _t_dwarf(known: Known, reduced: Reduced) -> dict[str, Value]:
    scene = known.scene("tdwarf")
    if scene is None:
        return {}
    one = _compared(known, reduced, scene)
    shown = None if one is None else as_shown(one, reduced.spectra[scene.file_id])
    return _bias(one, "channel bias, T dwarf") | _bias(shown, "channel bias, T dwarf, at the product's resolution")


def _comb(known: Known, reduced: Reduced) -> dict[str, Value]:
    scene = known.scene("comb")
    if scene is None:
        return {}
    one = _compared(known, reduced, scene)
    leaks = None if one is None else isolated(known, one)
    return {
        "isolated lenslet, recovered": Value(
            *(None, 0) if leaks is None else (leaks.recovered, leaks.n, leaks.scatter)
        ),
        "isolated lenslet, worst mean leak": Value(
            None if leaks is None else 100.0 * leaks.worst_mean_leak, 0 if leaks is None else leaks.n
        ),
        "isolated lenslet, worst leak of a channel": Value(
            None if leaks is None else 100.0 * leaks.worst_channel_leak, 0 if leaks is None else leaks.n
        ),
    }


def _lines(known: Known, reduced: Reduced) -> dict[str, Value]:
    scene = known.scene("wave")
    if scene is None:
        return {}
    names = ("laser lines, offset", "laser lines, scatter", "laser lines, lenslets without line")
    if scene.file_id not in reduced.spectra:
        return {name: Value(None) for name in names}
    lines = laser_lines(known, reduced.spectra[scene.file_id])
    n = int(known.complete.sum())
    values = (
        float(np.max(np.abs(lines.offset_nm))),
        float(np.max(lines.scatter_nm)),
        100.0 * lines.missing,
    )
    return {name: Value(value, n) for name, value in zip(names, values, strict=True)}


def _companions(known: Known, reduced: Reduced) -> dict[str, Value]:
    scenes = known.all("star", "OBJECT")
    there = {(one.kind, one.contrast) for scene in scenes for listed in scene.companions for one in listed}
    pairs = [(scene, _compared(known, reduced, scene)) for scene in scenes]
    done = [(scene, one) for scene, one in pairs if one is not None]
    shown = [(scene, as_shown(one, reduced.spectra[scene.file_id])) for scene, one in done]
    found = {}
    for kind, contrast in sorted(there):
        spectrum = companion_spectrum(known, done, kind, contrast)
        name = f"companion {kind} {contrast:g}"
        found[f"{name}, bias"] = Value(None if spectrum is None else abs(spectrum.bias), len(done))
        found[f"{name}, rms over channels"] = Value(None if spectrum is None else spectrum.rms, len(done))
        at_own = companion_spectrum(known, [(a, b) for a, b in shown if b is not None], kind, contrast)
        what = f"{name}, rms over channels, at the product's resolution"
        found[what] = Value(None if at_own is None else at_own.rms, len(done))
        found[f"{name}, rms that noise alone gives"] = Value(None if spectrum is None else spectrum.noise, len(done))
    return found
