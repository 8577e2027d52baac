"""The stand-in cookbook with optional products of which each may lack, as places along the dispersion may."""

from __future__ import annotations

from dataclasses import replace

from archive_proc.bench import stand_ins
from archive_proc.recipes.recipe import Recipe


def _lacking(recipe: Recipe) -> Recipe:
    roles = (replace(one, each_may_lack=not one.required and one.source == "association") for one in recipe.inputs)
    return replace(recipe, inputs=tuple(roles))


COOKBOOK: tuple[Recipe, ...] = tuple(_lacking(one) for one in stand_ins.COOKBOOK)


def recipe(name: str) -> Recipe:
    """The recipe of this name. Raises StopIteration without one."""
    return next(one for one in COOKBOOK if one.name == name)
