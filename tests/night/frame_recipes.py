"""The package's recipes and one that makes a product of any single dark frame: for `run --to TYPE FILE`."""

from __future__ import annotations

from dataclasses import replace

from archive_proc.recipes import cookbook
from archive_proc.recipes.detector import IRDIS_DARK
from archive_proc.recipes.recipe import Recipe

ONE_DARK = replace(IRDIS_DARK, name="one_dark_frame", subject_kind="frame")
COOKBOOK: tuple[Recipe, ...] = (*cookbook.COOKBOOK, ONE_DARK)


def recipe(name: str) -> Recipe:
    """The recipe of this name."""
    return next(one for one in COOKBOOK if one.name == name)
