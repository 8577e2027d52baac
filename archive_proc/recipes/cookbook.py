"""All recipes, listed once. A new recipe is a module and a line here."""

from __future__ import annotations

from archive_proc.errors import MisuseError
from archive_proc.recipes.detector import (
    IFS_DARK,
    IFS_INSTRUMENT_BACKGROUND,
    IRDIS_DARK,
    IRDIS_INSTRUMENT_BACKGROUND,
)
from archive_proc.recipes.ifs.centered import IFS_CENTERED
from archive_proc.recipes.ifs.detector_flat import IFS_DETECTOR_FLAT
from archive_proc.recipes.ifs.extract import IFS_EXTRACT, IFS_EXTRACT_FRAME
from archive_proc.recipes.ifs.lenslet_flat import IFS_LENSLET_FLAT
from archive_proc.recipes.ifs.place import IFS_PLACE
from archive_proc.recipes.ifs.positions import IFS_SPECTRA_POSITIONS
from archive_proc.recipes.ifs.science import IFS_SCIENCE
from archive_proc.recipes.ifs.tracks import IFS_TRACKS
from archive_proc.recipes.ifs.wave import IFS_WAVE
from archive_proc.recipes.irdis.centered import IRDIS_CENTERED
from archive_proc.recipes.irdis.flat import IRDIS_FLAT
from archive_proc.recipes.irdis.science import IRDIS_SCIENCE
from archive_proc.recipes.irdis.sky import IRDIS_SKY
from archive_proc.recipes.irdis.tracks import IRDIS_TRACKS
from archive_proc.recipes.recipe import Recipe

COOKBOOK: tuple[Recipe, ...] = (
    IRDIS_DARK,
    IRDIS_INSTRUMENT_BACKGROUND,
    IRDIS_FLAT,
    IRDIS_SKY,
    IRDIS_TRACKS,
    IRDIS_SCIENCE,
    IRDIS_CENTERED,
    IFS_DARK,
    IFS_INSTRUMENT_BACKGROUND,
    IFS_DETECTOR_FLAT,
    IFS_SPECTRA_POSITIONS,
    IFS_WAVE,
    IFS_TRACKS,
    IFS_SCIENCE,
    IFS_CENTERED,
    IFS_LENSLET_FLAT,
    IFS_PLACE,
    IFS_EXTRACT,
    IFS_EXTRACT_FRAME,
)

LIBRARIES = ("numba", "scipy.ndimage")
"""What kernels import when they are called: a worker does it before its first task, planning never."""


def recipe(name: str) -> Recipe:
    """The recipe of this name.

    Raises MisuseError AP-PLN-030 naming those there are.
    """
    for one in COOKBOOK:
        if one.name == name:
            return one
    raise MisuseError(
        "AP-PLN-030",
        f"there is no recipe {name!r}; there are {', '.join(one.name for one in COOKBOOK)}",
        remedy="use one of these names",
    )
