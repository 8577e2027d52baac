"""The sample sets with their masters made, once for the tests of tracks and of cubes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from running import Ran, raw_inputs, run_in_memory
from samples import by_type, sample_frames, stack

from archive_proc.model.frames import RawFrame
from archive_proc.recipes.cookbook import recipe
from archive_proc.recipes.recipe import Calibration, RecipeInputs

ROLES = {"OBJECT": "OBJECT", "OBJECT,CENTER": "CENTER", "OBJECT,FLUX": "FLUX"}
FLUX_DIT = 0.837464


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample set with its masters made."""

    folder: Path
    frames: dict[str, RawFrame]
    flat: Ran
    backgrounds: dict[str, Calibration]
    """By what they serve: science, flux."""

    def tracks(self, roles: tuple[str, ...] = ("OBJECT", "CENTER", "FLUX")) -> tuple[Ran, RecipeInputs]:
        """Star, photometry and background of the planes of these roles, made once: change nothing in it."""
        return _tracks(self, roles)

    def tracks_anew(
        self,
        roles: tuple[str, ...],
        *,
        spoilt: tuple[int, int] | None = None,
        **given: Any,
    ) -> tuple[Ran, RecipeInputs]:
        main = [one for one in self.frames.values() if ROLES.get(one.dpr_type or "") in roles]
        names = [ROLES[one.dpr_type or ""] for one in main]
        serves = {
            "flux": tuple(index for index, name in enumerate(names) if name == "FLUX"),
            "science": tuple(index for index, name in enumerate(names) if name != "FLUX"),
        }
        calibrations = {
            "flat": [self.flat.calibration("detector_flat")],
            "bad_pixels": [self.flat.calibration("bad_pixels")],
            "background": [replace(one, serves=serves[key]) for key, one in self.backgrounds.items() if serves[key]],
        }
        inputs = raw_inputs(recipe("irdis_tracks"), main, roles=names, calibrations=calibrations, **given)
        raw = stack(self.folder, main)
        if spoilt:
            where = np.flatnonzero((inputs.planes.file == spoilt[0]) & (inputs.planes.plane == spoilt[1]))[0]
            raw[where] = np.random.default_rng(0).normal(2000, 300, raw[where].shape)
        return run_in_memory(recipe("irdis_tracks"), inputs, {"raw": raw}), inputs


@lru_cache(maxsize=6)
def _tracks(sample: Sample, roles: tuple[str, ...]) -> tuple[Ran, RecipeInputs]:
    return sample.tracks_anew(roles)


@lru_cache(maxsize=2)
def prepared(folder: Path) -> Sample:
    frames = sample_frames(folder)

    def made(name: str, chosen: list[RawFrame], calibrations: dict[str, list[Calibration]] | None = None) -> Ran:
        inputs = raw_inputs(recipe(name), chosen, calibrations=calibrations or {})
        return run_in_memory(recipe(name), inputs, {"raw": stack(folder, chosen)})

    def level(dpr_type: str, dit_s: float) -> Calibration:
        kind = "dark" if dpr_type == "DARK" else "instrument_background"
        ran = made(f"irdis_{kind}", by_type(frames, dpr_type, dit_s))
        return ran.calibration(kind, product_id=f"{kind}-{dit_s}")

    lamps = by_type(frames, "FLAT,LAMP")
    darks = [replace(level("DARK,BACKGROUND", one.dit_s or 0), serves=(n,)) for n, one in enumerate(lamps)]
    flat = made("irdis_flat", lamps, {"dark": darks})
    flats = [flat.calibration("detector_flat")]
    science = made("irdis_sky", by_type(frames, "SKY", 16.0), {"dark": [level("DARK", 16.0)], "flat": flats})
    short = by_type(frames, "SKY", FLUX_DIT)
    flux = (
        made("irdis_sky", short, {"flat": flats}).calibration("sky_basis", product_id="short-sky")
        if short
        else level("DARK,BACKGROUND", FLUX_DIT)
    )
    return Sample(folder, frames, flat, {"science": science.calibration("sky_basis"), "flux": flux})
