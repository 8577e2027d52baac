"""`ifs_place`: what the light of some files says of their place, for others near in time.

The shift pass of the extraction and nothing else. A brown dwarf's light, or that of few lenslets, cannot be held
against the air's bands; the instrument moves slowly, so that a star before or after it says where its spectra stand
(`kernels.flexure` weighs them). A file in which no air is seen is no failure here: it says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from archive_proc.model.frames import Arm
from archive_proc.recipes.ifs.extraction import ROLES, ExtractionParameters, shift_block
from archive_proc.recipes.ifs.file_light import LAYOUT, to_hand_over
from archive_proc.recipes.ifs.planes import BACKGROUND, BAD_PIXELS, FLAT
from archive_proc.recipes.ifs.shifts import own_shifts
from archive_proc.recipes.ifs.spectrograph import PSFLETS, WAVE, products_of
from archive_proc.recipes.ifs.through_air import middle_of, pointing, seen_in
from archive_proc.recipes.irdis.coordinates import strings
from archive_proc.recipes.measuring import Figures
from archive_proc.recipes.recipe import (
    Arrays,
    Cost,
    Pass,
    ProductContent,
    RawMain,
    Recipe,
    RecipeInputs,
    RecipeResult,
    TableRead,
)

PRODUCT = "ifs_place"


def gather_places(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
    """`shift_y`, `shift_y_error` px, `uneven` and `strength`, one a file, NaN where its light shows no air; `shift_x`,
    its error and `turn`, `turn_error` (deg), NaN where its light shows none.
    """
    found = seen_in(summaries, inputs)
    rows = np.full((len(inputs.frames), 4), np.nan)
    for file, one in found.items():
        rows[file] = one.y, one.y_error, one.uneven, one.strength
    across = own_shifts(summaries, len(inputs.frames))
    turned = np.where(across.measured, np.degrees(across.turn), np.nan)
    return {
        **dict(zip(("shift_y", "shift_y_error", "uneven", "strength"), rows.T, strict=True)),
        **to_hand_over(summaries, inputs, ROLES),
        "shift_x": np.where(across.measured, across.x, np.nan),
        "shift_x_error": across.error,
        "turn": turned,
        "turn_error": np.where(across.measured, np.degrees(across.turn_error), np.nan),
    }


def close_place(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """One row a file: its time, its star, its place against which wavelength solution."""
    ra, dec = np.array([pointing(frame) for frame in inputs.frames]).T
    arrays: Arrays = {
        "file_id": strings(frame.file_id for frame in inputs.frames),
        "time": np.array([middle_of(frame) for frame in inputs.frames]),
        "ra": ra,
        "dec": dec,
        "solution": strings(products_of(inputs, file, (WAVE.role,))[0] for file in range(len(inputs.frames))),
        "shift_y": shared["shift_y"],
        "shift_y_error": shared["shift_y_error"],
        "uneven": shared["uneven"],
        "air_strength": shared["strength"],
        "measured": shared["measured"],
        "basis": shared["basis"],
        **{name: shared[name] for name in ("shift_x", "shift_x_error", "turn", "turn_error")},
    }
    seen = np.isfinite(arrays["shift_y"])
    figures = Figures(inputs)
    figures.add(PRODUCT, "shift_y", float(np.median(arrays["shift_y"][seen])) if seen.any() else np.nan, "pixel")
    attrs = {
        "place_convention": (
            "shift_y: detector y of the spectra minus that of the wavelength solution, by the air's water bands in "
            "the light of this file alone, with the error of that fit; the band's own place is known to some "
            "hundredths of a pixel beside it. NaN: its light shows no air. shift_x: the same across the dispersion, "
            "of the detector's middle, about which turn counts counter-clockwise. NaN: it lights too few lenslets"
        ),
        LAYOUT: [str(one) for one in shared["layout"]],
    }
    return RecipeResult({PRODUCT: ProductContent(arrays, attrs)}, figures.values)


IFS_PLACE = Recipe(
    name="ifs_place",
    version="1.6.1",
    arm=Arm.IFS,
    subject_kind="group",
    main=RawMain(frame_types=("IFS_SCIENCE_DR_RAW", "IFS_STAR_CENTER_WAFFLE_RAW")),
    inputs=(BACKGROUND, FLAT, BAD_PIXELS, WAVE, PSFLETS),
    outputs=(PRODUCT,),
    parameters=ExtractionParameters,
    tables=(TableRead("ifs.detector"), TableRead("ifs.channels"), TableRead("air")),
    passes=(Pass("shift", shift_block, gather_places),),
    close=close_place,
    cost=Cost(cpu_s=1.0, cpu_s_per_plane=0.1, memory_gb=0.8, bytes_out=60_000, bytes_out_per_plane=20_000),
)
