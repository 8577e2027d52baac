"""Where workers find recipes, product types and the reader of raw planes: a module, named in the run.

By default the package's cookbook, the instrument tables and `storage/fits.py`. A stand-in cookbook (bench, tests)
is any importable module with `recipe(name)`; it may bring its own `product_types()` and `read_planes`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import MisuseError
from archive_proc.model.frames import RawFrame
from archive_proc.recipes.recipe import Recipe
from archive_proc.storage.forms import ProductForm

DEFAULT_COOKBOOK = "archive_proc.recipes.cookbook"

ReadPlanes = Callable[[Path, RawFrame, Sequence[int]], NDArray[np.float32]]
"""(path, frame, planes) -> (n, naxis2, naxis1) float32, native order."""


@dataclass(frozen=True, slots=True)
class Cookbook:
    """What a worker needs to run any recipe."""

    module: ModuleType
    recipe: Callable[[str], Recipe]
    product_types: Mapping[str, ProductForm]
    read_planes: ReadPlanes

    def form(self, product_type: str) -> ProductForm:
        """The form of a product type. Raises MisuseError (AP-RUN-014) for an unknown one."""
        try:
            return self.product_types[product_type]
        except KeyError:
            raise MisuseError(
                "AP-RUN-014",
                f"no product type {product_type}",
                subject=self.module.__name__,
                remedy="add it to product_types.toml",
            ) from None


@cache
def cookbook(module_name: str) -> Cookbook:
    """The cookbook of a module. Raises MisuseError (AP-RUN-013) where there is no such module or no `recipe` in it."""
    try:
        module = importlib.import_module(module_name)
        recipe: Callable[[str], Recipe] = module.recipe
    except (ModuleNotFoundError, AttributeError) as problem:
        raise MisuseError(
            "AP-RUN-013",
            f"not a cookbook: {problem}",
            subject=module_name,
            remedy=f"name an importable module with recipe(name), such as {DEFAULT_COOKBOOK}",
        ) from problem
    return Cookbook(module, recipe, _product_types(module), _read_planes(module))


def _product_types(module: ModuleType) -> Mapping[str, ProductForm]:
    own: Callable[[], Mapping[str, ProductForm]] | None = getattr(module, "product_types", None)
    if own is not None:
        return own()
    from archive_proc.instruments.tables import load_tables

    return load_tables().product_types


def _read_planes(module: ModuleType) -> ReadPlanes:
    own: ReadPlanes | None = getattr(module, "read_planes", None)
    if own is not None:
        return own
    from archive_proc.storage.fits import read_planes

    return read_planes
