"""What is to be drawn, as values: made from catalog rows by `flow`, sent to the processes that draw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import shown

_WORST_FIRST = ("refuse", "warn", "good")


def worst_of(verdicts: Iterable[str]) -> str:
    """The worst of some verdicts; empty where nothing was judged.

    >>> worst_of(["good", "warn", ""])
    'warn'
    """
    judged = set(verdicts)
    return next((one for one in _WORST_FIRST if one in judged), "")


@dataclass(frozen=True, slots=True)
class QcRow:
    """One quality-control figure with its verdict."""

    product_type: str
    metric: str
    value: float | None
    unit: str
    verdict: str
    """good, warn or refuse; empty where nobody judged."""
    threshold: float | None = None
    """The limit broken, or the nearest one."""
    side: int | None = None
    """1: values above the threshold break it, -1: values below."""


@dataclass(frozen=True, slots=True)
class PlaneVerdict:
    """A plane with a figure beyond its limit."""

    file_id: str
    plane: int
    verdict: str
    """warn or refuse."""
    beyond: str
    """Names of the figures, apart by blanks: one after the other for each channel and process that judged the plane."""


def figures_beyond(planes: Iterable[PlaneVerdict]) -> Counter[str]:
    """In how many of some planes each figure is beyond its limit.

    >>> twice = PlaneVerdict("SPHER.2017-09-29T03:00:00.000", 1, "warn", "noise_ratio center_jump noise_ratio")
    >>> sorted(figures_beyond([twice]).items())
    [('center_jump', 1), ('noise_ratio', 1)]
    """
    return Counter(name for one in planes for name in sorted(set(one.beyond.split())))


@dataclass(frozen=True, slots=True)
class SourceProduct:
    """A sealed product that a page shows."""

    product_id: str
    product_type: str
    recipe: str
    recipe_version: str
    group: Path
    """Its Zarr group."""


@dataclass(frozen=True, slots=True)
class RawPlane:
    """The raw plane that a page shows."""

    frame: RawFrame
    path: Path
    plane: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOrder:
    """One page: a subject, its products, and everything that stands in its title."""

    subject_kind: str
    """observation, group or frame."""
    subject_id: str
    preset: str
    night: str
    """ISO date of the evening."""
    arm: str
    name: str
    """Target as written in the header, or frame type of a calibration group."""
    setup: str
    """Filter, coronagraph, DIT, ... in words."""
    facts: tuple[tuple[str, str], ...] = ()
    """Further lines of the title: (word, value)."""
    products: Mapping[str, SourceProduct] = field(default_factory=dict)
    """By product type: those that fill their slots."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Product type -> why there is none, in words. Every type the page could show stands here or in `products`."""
    qc: tuple[QcRow, ...] = ()
    planes_beyond: tuple[PlaneVerdict, ...] = ()
    """Planes that QC warns of or refuses, each once."""
    planes_judged: int = 0
    raw: RawPlane | None = None
    raw_missing: str = ""
    """Why no raw plane is shown, in words."""
    bands: tuple[str, ...] = ()
    """Names of the channels, as the filter's row has them."""
    mask_diameter_mas: float | None = None
    """Coronagraphic mask on sky; None where there is none or the table does not know it."""
    dithers: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """file_id -> detector dither (x, y), pixel."""
    wavelengths_um: tuple[float, ...] = ()
    outputs: int = 0
    """Detector outputs, side by side; 0 where unknown."""
    package_version: str = ""

    @property
    def is_observation(self) -> bool:
        """Whether the page is about a science sequence."""
        return self.subject_kind == "observation"

    @property
    def short_id(self) -> str:
        """Its id as people see it."""
        if self.subject_kind == "frame":
            return self.subject_id
        return shown("obs" if self.is_observation else "group", self.subject_id)

    def first(self, ending: str) -> SourceProduct | None:
        """The product whose type ends so (`_science_cube`: each arm has its own), None where there is none."""
        for product_type in sorted(self.products):
            if product_type.endswith(ending):
                return self.products[product_type]
        return None

    def why(self, ending: str) -> str:
        """Why there is no product whose type ends so, in words."""
        for product_type in sorted(self.missing):
            if product_type.endswith(ending):
                return f"{product_type}: {self.missing[product_type]}"
        return f"no recipe makes a {ending.strip('_').replace('_', ' ')} of this mode yet"
