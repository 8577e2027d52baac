"""Where workers find recipes, product types and the reader of raw planes: a module, named in the run.

By default the package's cookbook, the instrument tables and `storage/fits.py`. A stand-in cookbook (bench, tests)
is any importable module with `recipe(name)`; it may bring its own `product_types()` and `open_raw`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import MisuseError
from archive_proc.model.frames import RawFrame
from archive_proc.recipes.recipe import Recipe
from archive_proc.storage.forms import ProductForm

DEFAULT_COOKBOOK = "archive_proc.recipes.cookbook"


class RawFile(Protocol):
    """A raw file, open."""

    def read_into(self, planes: Sequence[int], into: NDArray[np.float32]) -> None:
        """Put planes into the rows of `into` (n, naxis2, naxis1), float32 in native order."""

    def close(self) -> None:
        """Let go of it."""


OpenRaw = Callable[[Path, RawFrame], RawFile]
"""Opens a raw file at its first reading, or before."""


@dataclass(frozen=True, slots=True)
class Cookbook:
    """What a worker needs to run any recipe."""

    module: ModuleType
    recipe: Callable[[str], Recipe]
    product_types: Mapping[str, ProductForm]
    open_raw: OpenRaw

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
    return Cookbook(module, recipe, _product_types(module), _open_raw(module))


def recipes_of(module_name: str) -> tuple[Recipe, ...]:
    """All recipes of a cookbook, for planning.

    Raises MisuseError (AP-RUN-013) where it lists none, or where nothing made by it may become a product.
    """
    module = cookbook(module_name).module
    if getattr(module, "BENCH_ONLY", False):
        raise MisuseError(
            "AP-RUN-013",
            "its recipes do nothing but take time: they are for `bench engine` alone",
            subject=module_name,
            remedy=f"see {DEFAULT_COOKBOOK}",
        )
    try:
        recipes: tuple[Recipe, ...] = module.COOKBOOK
    except AttributeError:
        raise MisuseError(
            "AP-RUN-013", "lists no COOKBOOK", subject=module_name, remedy=f"see {DEFAULT_COOKBOOK}"
        ) from None
    return recipes


def _product_types(module: ModuleType) -> Mapping[str, ProductForm]:
    own: Callable[[], Mapping[str, ProductForm]] | None = getattr(module, "product_types", None)
    if own is not None:
        return own()
    from archive_proc.instruments.tables import load_tables

    return load_tables().product_types


def _open_raw(module: ModuleType) -> OpenRaw:
    own: OpenRaw | None = getattr(module, "open_raw", None)
    if own is not None:
        return own
    from archive_proc.storage.fits import OpenFrame

    return OpenFrame
