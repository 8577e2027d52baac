"""Bias against noise: the evenly lit scenes extracted again with other strengths of the smoothness prior."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from archive_proc.bench.figures import Figure
from archive_proc.bench.ifs.night import Night
from archive_proc.bench.ifs.other_runs import EXTRACT
from archive_proc.bench.ifs.products import SPECTRA, find_lamp, made_from, read_archive, to_spectra
from archive_proc.bench.ifs.rerun import run_again
from archive_proc.bench.ifs.rows import rows
from archive_proc.bench.ifs.spectra import Spectra
from archive_proc.bench.ifs.values import Reduced, values_of
from archive_proc.recipes.recipe import RecipeInputs

STRENGTHS = (0.02, 0.05, 0.1, 0.2)
SCENES = ("uniform", "tdwarf")
SHOWN = (
    "channel bias, uniform field, rms",
    "channel bias, uniform field, worst",
    "channel bias, T dwarf, rms",
    "channel bias, T dwarf, worst",
    "noise over photon limit, one channel",
    "noise over photon limit, 4-px sum",
    "measured over claimed sigma, one channel",
    "measured over claimed sigma, 4-channel sum",
)
"""What the strength trades for each other."""


def curve_rows(night: Night, path: Path) -> tuple[Figure, ...]:
    """`SHOWN` for each of `STRENGTHS`, with the archive's own calibrations; nothing of the archive changes."""
    archive, known = read_archive(path), night.known
    lamp = find_lamp(archive, night.raw, known)
    figures: list[Figure] = []
    for strength in STRENGTHS:
        spectra: dict[str, Spectra] = {}
        for scene in (one for name in SCENES for one in known.all(name)[:1]):
            record = made_from(archive, EXTRACT, scene.file_id)
            if record is None:
                continue

            def weaker(inputs: RecipeInputs, strength: float = strength) -> RecipeInputs:
                return replace(inputs, parameters=replace(inputs.parameters, mu=strength))

            spectra[scene.file_id] = to_spectra(known, scene, run_again(path, record, weaker).products[SPECTRA])
        if lamp is not None and spectra:
            values = values_of(known, Reduced(lamp, spectra))
            only = [name for name in SHOWN if name in values]
            figures += rows(f"{night.case}, mu {strength:g}", known.mode, values, (), only)
    return tuple(figures)
