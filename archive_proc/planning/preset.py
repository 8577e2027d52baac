"""Parameters of a process: the recipe's defaults, then the preset's values, then those set by overrides."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

from archive_proc.errors import MisuseError
from archive_proc.model.processes import Parameter
from archive_proc.recipes.recipe import ParameterSet, Recipe


@dataclass(frozen=True, slots=True)
class Preset:
    """A named parameter set of the recipes; what it does not name stays at the recipe's default."""

    name: str = "default"
    values: Mapping[str, ParameterSet] = field(default_factory=dict)
    """Recipe name to parameter name to value."""


SHIPPED: Mapping[str, Mapping[str, ParameterSet]] = {
    "ifs_line": {"ifs_extract_frame": {"mu": 0.03, "find_outliers": False, "measure_shift": False}},
}
"""Presets that every archive has, preset -> recipe -> parameter -> value; `archive.toml` may add to them.

`ifs_line`: laser frames, where a line of S/N 1000 looks like an outlier, and less smoothing than spectra of stars need
(notes/ifs 6.6, 6.9).
"""


def parameters_of(recipe: Recipe, preset: Preset, overridden: ParameterSet, source: str = "") -> dict[str, Parameter]:
    """All parameters of one process, each in the type of the recipe's default, so that 1 and 1.0 give one key.

    `source` names the override in messages. Raises MisuseError for a name the recipe does not have (AP-PLN-010) and
    for a value of another type (AP-PLN-011).
    """
    defaults = recipe.fill({})
    values = dict(defaults)
    for origin, given in ((f"preset {preset.name}", preset.values.get(recipe.name, {})), (source, overridden)):
        for name, value in given.items():
            if name not in defaults:
                near = difflib.get_close_matches(name, defaults, n=1)
                raise MisuseError(
                    "AP-PLN-010",
                    f"{recipe.name} has no parameter {name!r}",
                    subject=origin,
                    remedy=f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(defaults)) or 'none'}",
                )
            values[name] = _like(value, defaults[name], f"{recipe.name}.{name}", origin)
    return values


def _like(value: object, default: Parameter, name: str, origin: str) -> Parameter:
    """`value` in the type of `default`; None is always allowed where the default is None."""
    if default is None and (value is None or isinstance(value, bool | int | float | str)):
        return value
    if isinstance(default, bool) or isinstance(value, bool):
        if isinstance(default, bool) and isinstance(value, bool):
            return value
    elif isinstance(default, float) and isinstance(value, int | float):
        return float(value)
    elif (isinstance(default, int) and isinstance(value, int)) or (isinstance(default, str) and isinstance(value, str)):
        return value
    elif isinstance(default, tuple) and isinstance(value, list | tuple):
        if all(isinstance(one, str) for one in (*default, *value)):
            return tuple(str(one) for one in value)
        if all(isinstance(one, int | float) for one in (*default, *value)):
            return tuple(float(one) for one in value)
    raise MisuseError(
        "AP-PLN-011",
        f"{name} cannot be {value!r}",
        subject=origin,
        remedy=f"give a value like its default {default!r}",
    )


def check_preset(preset: Preset, cookbook: tuple[Recipe, ...]) -> None:
    """Check every recipe and parameter that a preset names. Raises MisuseError (AP-PLN-010, AP-PLN-011, AP-PLN-012)."""
    recipes = {one.name: one for one in cookbook}
    for name in preset.values:
        if name not in recipes:
            near = difflib.get_close_matches(name, recipes, n=1)
            raise MisuseError(
                "AP-PLN-012",
                f"no recipe is named {name!r}",
                subject=f"preset {preset.name}",
                remedy=f"did you mean {near[0]!r}?" if near else "see the cookbook for the names",
            )
        parameters_of(recipes[name], preset, {})
