"""A master's page while it is drawn, and what each kind of master must tell of itself: how it is read, how drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from archive_proc.quality.canvas import Page, say_why
from archive_proc.quality.images import Frame, show_image, strip
from archive_proc.quality.measured import Measured
from archive_proc.quality.orders import PageOrder
from archive_proc.quality.scales import Limits, Scale
from archive_proc.storage.products import LoadedProduct

Array = NDArray[Any]

TOP = 150
"""Pixels above the first row of panels."""


def scale_key(product_type: str, image: str, band: str) -> str:
    """Masters of one type and band share the scales of their images within a night."""
    return f"{product_type}|{image}|{band}"


@dataclass(frozen=True, slots=True)
class MasterSheet:
    """A page being drawn."""

    page: Page
    order: PageOrder
    found: Measured
    scales: Mapping[str, Scale]
    kind: str
    """Product type."""

    def has(self, name: str) -> bool:
        """Whether this array was measured."""
        return f"{self.kind}|{name}" in self.found.arrays

    def array(self, name: str) -> Array:
        """An array that was measured."""
        return self.found.arrays[f"{self.kind}|{name}"]

    def fact(self, name: str) -> str:
        """Words that were found; empty where there are none."""
        return self.found.facts.get(f"{self.kind}|{name}", "")

    def scale(self, name: str) -> Scale | None:
        """The night's scale of an image; None where it has no value."""
        return self.scales.get(scale_key(self.kind, name, self.found.facts["band"]))

    def image(self, axes: Axes, name: str, scale_name: str, frame: Frame, title: str, unit: str) -> None:
        """An image with its shades; in words where it has no value. Black where `<name>|flagged` says so."""
        scale = self.scale(scale_name)
        if scale is None or not self.has(name):
            say_why(axes, title, "nothing of it was measured")
            return
        flagged = self.array(f"{name}|flagged") if self.has(f"{name}|flagged") else None
        show_image(axes, self.array(name), scale, frame, title, flagged)
        strip(self.page, axes, scale, unit)


@dataclass(frozen=True, slots=True)
class MasterReading:
    """A master being read into what its page shows."""

    kind: str
    """Product type."""
    group: Path
    """Its Zarr group, for arrays along the frame axis."""
    loaded: LoadedProduct
    found: Measured

    def keep(self, name: str, values: Array) -> None:
        """Keep an array for drawing."""
        self.found.arrays[f"{self.kind}|{name}"] = np.asarray(values)

    def say(self, name: str, words: str) -> None:
        """Keep words for drawing."""
        self.found.facts[f"{self.kind}|{name}"] = words

    def limit(self, name: str, limits: Limits | None) -> None:
        """What an image spans; nothing where there is no value."""
        self.found.limit(scale_key(self.kind, name, self.found.facts["band"]), limits)

    def has(self, name: str) -> bool:
        """Whether the product has this array: those of older versions may not."""
        return name in self.loaded.arrays

    def array(self, name: str) -> Array:
        """An array of the product."""
        return self.loaded.arrays[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterKind:
    """How masters of one kind are read and drawn."""

    read: Callable[[MasterReading], None]
    """Raises KeyError or ValueError where the product is not what its type says."""
    height: Callable[[MasterSheet], int]
    """Pixels that the panels need."""
    draw: Callable[[MasterSheet, float], None]
    """Draws the panels below this line."""
    pictures: tuple[tuple[str, str], ...]
    """(array, image whose scale it has) that may stand for the page in small, the first that there is."""


def even_limits(values: Array, percent: float = 99.0) -> Limits | None:
    """Limits that are even about zero: this share of the finite values lies within; None where there is none.

    >>> even_limits(np.array([-1.0, 0.5, np.nan]), 100.0)
    Limits(low=-1.0, high=1.0, knee=None)
    """
    finite = np.abs(values[np.isfinite(values)])
    if not finite.size:
        return None
    reach = float(np.percentile(finite, percent))
    return Limits(-reach, reach) if reach > 0 else Limits(-1e-6, 1e-6)
