"""What a process in the making works through, and what stood in for what it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import GroupId
from archive_proc.model.processes import ProcessInput
from archive_proc.planning.links import Link
from archive_proc.planning.mains import SCIENCE_ROLES, MainFile
from archive_proc.recipes.recipe import InputRole, RawMain, Recipe


@dataclass(frozen=True, slots=True)
class Material:
    """Main inputs of a process in the making."""

    files: tuple[MainFile, ...]
    inputs: tuple[ProcessInput, ...]
    first: RawFrame | None
    """First raw frame at the root of the main input: picks the instrument-table rows."""
    consumers: tuple[GroupId, ...]
    """Groups whose associations serve it."""


def stand_ins(recipe: Recipe, material: Material, roles: Sequence[tuple[InputRole, Sequence[Link]]]) -> list[str]:
    """What stood in for what was missing, in words."""
    words = []
    if isinstance(recipe.main, RawMain):
        there = {one.frame_role for one in material.files}
        words += [f"no {one} frames" for one in recipe.main.roles if one not in {*there, *SCIENCE_ROLES}]
    for role, some in roles:
        if not some:
            words.append(f"no {role.role}")
        words += [f"{role.role}: {one.fallback}" for one in some if one.fallback]
    return words
