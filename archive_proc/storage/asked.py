"""Arrays of a product that are read when somebody asks for them, and kept by whoever asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from archive_proc.storage.forms import ProductForm
from archive_proc.storage.products import load_product

# Any: arrays of several dtypes under one roof, as in recipes/recipe.py.
Array = NDArray[Any]


class AskedArrays(Mapping[str, Array]):
    """Arrays of a product: those in `kept` are there, those named in `once` are read each time.

    A detector's masters are 17 MB an image, and whoever calibrates planes turns them into images of its own.
    """

    def __init__(
        self,
        group_path: Path,
        form: ProductForm,
        kept: Mapping[str, Array],
        once: Collection[str],
        reading: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self._path, self._form, self._kept, self._reading = group_path, form, kept, reading
        self._once = tuple(one.name for one in form.variables if one.name in once)

    def __getitem__(self, name: str) -> Array:
        """Raises InfraFailure (AP-STO-014) where it cannot be read, KeyError for one that the product does not have."""
        if name not in self._once:
            return self._kept[name]
        others = tuple(one.name for one in self._form.variables if one.name != name)
        with self._reading():
            return load_product(self._path, self._form, without=others).arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*self._kept, *self._once))

    def __len__(self) -> int:
        return len(self._kept) + len(self._once)
