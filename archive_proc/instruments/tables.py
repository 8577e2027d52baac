"""SPHERE as validated tables: loaded once, typed, digested for process keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from importlib import resources
from typing import Protocol

import msgspec

from archive_proc.errors import MisuseError
from archive_proc.instruments import checks
from archive_proc.instruments.air import AirFile, check_air
from archive_proc.instruments.earth_rotation import EarthRotationFile
from archive_proc.instruments.ifs import IfsFile, IfsTables, check_ifs, ifs_tables
from archive_proc.instruments.irdis import IrdisFile, IrdisTables
from archive_proc.instruments.products import ProductsFile, ProductType, resolved
from archive_proc.instruments.qc_checks import check_qc_limits
from archive_proc.instruments.qc_limits import QcLimits, QcLimitsFile
from archive_proc.instruments.rows import (
    AssociationsFile,
    FrameTypeRow,
    FrameTypesFile,
    GroupingRow,
    RuleRow,
)
from archive_proc.instruments.toml_rows import read_table
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import sha256_hex

__all__ = ["FrameTypeRow", "RuleRow", "TableReadLike", "Tables", "load_tables", "parse_tables", "table_digest"]

FILES = (
    "frame_types.toml",
    "associations.toml",
    "irdis.toml",
    "ifs.toml",
    "air.toml",
    "product_types.toml",
    "earth_rotation.toml",
    "qc_limits.toml",
)
RULESET_DIGITS = 12


class TableReadLike(Protocol):
    """What `table_digest` needs of a recipe's declaration (recipes.recipe.TableRead)."""

    @property
    def table(self) -> str:
        """File stem and table name: `irdis.filters`."""

    @property
    def by(self) -> str | None:
        """Manifest column whose value picks the one row; None: the whole table."""


class Tables(msgspec.Struct, frozen=True, kw_only=True):
    """All tables of the package, checked against each other."""

    frame_types: tuple[FrameTypeRow, ...]
    grouping: GroupingRow
    rules: tuple[RuleRow, ...]
    irdis: IrdisTables
    ifs: IfsTables
    air: AirFile
    product_types: dict[str, ProductType]
    earth_rotation: EarthRotationFile
    qc: QcLimits
    ruleset_version: str
    """Short hash of the frame types and association rules."""

    def gain(self, arm: Arm) -> float:
        """e-/ADU of an arm's detector, for headers without it. Raises KeyError for an arm without tables."""
        return {Arm.IRDIS: self.irdis.detector.gain_e_per_adu, Arm.IFS: self.ifs.detector.gain_e_per_adu}[arm]

    def frame_type(self, name: str) -> FrameTypeRow:
        """The first row of this frame type (rows of one name agree on role, group keys and block).

        Raises KeyError for a name no row has.
        """
        for row in self.frame_types:
            if row.name == name:
                return row
        raise KeyError(name)


@cache
def load_tables() -> Tables:
    """The packaged tables, read once.

    Raises MisuseError AP-TAB-001, -002 or -003 naming file, line and rule of a wrong row.
    """
    folder = resources.files("archive_proc.instruments")
    return parse_tables({name: folder.joinpath(name).read_text(encoding="utf-8") for name in FILES})


@lru_cache(maxsize=4)
def irdis_tables(binning: int | None = None) -> IrdisTables:
    """IRDIS's tables for frames of this binning (`RawFrame.binning`); None is the detector's own pixels.

    Raises DataFailure AP-TAB-007 for a binning that does not divide the detector.
    """
    whole = load_tables().irdis
    return whole if binning in (None, 1) else whole.binned(binning)


def parse_tables(texts: Mapping[str, str]) -> Tables:
    """Tables from the texts of all FILES. Raises as `load_tables`."""
    frame_types = read_table(texts["frame_types.toml"], FrameTypesFile, "frame_types.toml")
    associations = read_table(texts["associations.toml"], AssociationsFile, "associations.toml")
    irdis = read_table(texts["irdis.toml"], IrdisFile, "irdis.toml")
    ifs = read_table(texts["ifs.toml"], IfsFile, "ifs.toml")
    air = read_table(texts["air.toml"], AirFile, "air.toml")
    products = read_table(texts["product_types.toml"], ProductsFile, "product_types.toml")
    rotation = read_table(texts["earth_rotation.toml"], EarthRotationFile, "earth_rotation.toml")
    limits = read_table(texts["qc_limits.toml"], QcLimitsFile, "qc_limits.toml")
    checks.check_frame_types(frame_types, texts)
    checks.check_associations(associations, frame_types, texts)
    checks.check_irdis(irdis, texts)
    check_ifs(ifs, texts["ifs.toml"])
    check_air(air, texts["air.toml"])
    checks.check_products(products, texts)
    checks.check_earth_rotation(rotation, texts)
    check_qc_limits(limits, products, texts)
    modes = {"mode": msgspec.to_builtins(ifs.mode)}
    rules = [msgspec.to_builtins(frame_types), msgspec.to_builtins(associations), modes]
    return Tables(
        frame_types=frame_types.frame_type,
        grouping=frame_types.grouping,
        rules=associations.rule,
        irdis=IrdisTables(
            detector=irdis.detector,
            geometries=irdis.geometry,
            filters={row.name: row for row in irdis.filter},
            neutral_densities={row.name: row for row in irdis.neutral_density},
            coronagraphs={row.name: row for row in irdis.coronagraph},
        ),
        ifs=ifs_tables(ifs),
        air=air,
        product_types=resolved(products.product),
        earth_rotation=rotation,
        qc=QcLimits(limits.metric),
        ruleset_version=sha256_hex(rules)[:RULESET_DIGITS],
    )


# Table name as recipes declare it -> (whole table, row for a value of the column that picks it).
_Rows = Callable[[Tables], object]
_WHOLE: dict[str, _Rows] = {
    "irdis.filters": lambda tables: tables.irdis.filters,
    "irdis.neutral_density": lambda tables: tables.irdis.neutral_densities,
    "irdis.coronagraphs": lambda tables: tables.irdis.coronagraphs,
    "irdis.geometry": lambda tables: tables.irdis.geometries,
    "irdis.detector": lambda tables: tables.irdis.detector,
    "ifs.modes": lambda tables: tables.ifs.modes,
    "ifs.detector": lambda tables: tables.ifs.detector,
    "ifs.lenslets": lambda tables: tables.ifs.lenslets,
    "ifs.geometry": lambda tables: tables.ifs.geometries,
    "ifs.lasers": lambda tables: tables.ifs.lasers,
    "ifs.channels": lambda tables: tables.ifs.channel_rows,
    "ifs.bands": lambda tables: tables.ifs.bands,
    "ifs.orientation": lambda tables: tables.ifs.orientations,
    "air": lambda tables: tables.air,
    "earth_rotation": lambda tables: tables.earth_rotation,
}
_ALIASES = {
    "irdis.filter": "irdis.filters",
    "irdis.nd": "irdis.neutral_density",
    "irdis.neutral_densities": "irdis.neutral_density",
    "irdis.coronagraph": "irdis.coronagraphs",
    "irdis.geometries": "irdis.geometry",
    "ifs.mode": "ifs.modes",
}


def table_digest(tables: Tables, reads: Sequence[TableReadLike], frame: RawFrame | None) -> str:
    """sha256, 64 hex, of the table rows a recipe reads; part of its process ids (DESIGN 6).

    `frame` is the first main file (None when the main input is a product without frames: whole tables are taken).
    A row that is not there digests as null: the recipe itself then fails, naming it. References (words) do not count.

    Raises MisuseError AP-TAB-006 for a table that does not exist.
    """
    parts = [[read.table, read.by, _without_words(_read(tables, read, frame))] for read in reads]
    return sha256_hex(sorted(parts, key=lambda part: (str(part[0]), str(part[1]))))


class TableDigests:
    """`table_digest` of one set of tables, each choice of rows digested once: a plan asks thousands of times."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._known: dict[tuple[object, ...], str] = {}

    def __call__(self, reads: Sequence[TableReadLike], frame: RawFrame | None) -> str:
        """The digest of the rows that these reads pick for a frame."""
        key = tuple((read.table, read.by, _choice(self._tables, read, frame)) for read in reads)
        if key not in self._known:
            self._known[key] = table_digest(self._tables, reads, frame)
        return self._known[key]


def _choice(tables: Tables, read: TableReadLike, frame: RawFrame | None) -> object:
    """What of a frame picks the rows of a read: equal choices, equal rows (`_read`)."""
    if frame is None:
        return None
    if read.table.startswith(_LIMITS):
        return frame.arm
    if read.by is None:
        return None
    name = _ALIASES.get(read.table, read.table)
    if name == "irdis.geometry":
        return tuple(at for at, row in enumerate(tables.irdis.geometries) if row.covers(frame.mjd_obs))
    if name == "ifs.orientation":
        return tuple(at for at, row in enumerate(tables.ifs.orientations) if row.covers(frame.mjd_obs))
    if name == "earth_rotation":
        return tables.earth_rotation.around(frame.mjd_obs)
    if name in _BY_MODE:
        return tables.ifs.mode_of(frame.ifs_comb, frame.prism)
    return getattr(frame, read.by)


_BY_MODE = ("ifs.modes", "ifs.geometry", "ifs.channels", "ifs.bands")
"""Tables whose row the frame's mode picks, whatever column is named."""
_LIMITS = "qc."
"""What the names of the limits that a recipe acts on begin with: `qc.<product type>`."""


def _read(tables: Tables, read: TableReadLike, frame: RawFrame | None) -> object:
    if read.table.startswith(_LIMITS) and read.table.removeprefix(_LIMITS) in tables.product_types:
        return tables.qc.decisive(read.table.removeprefix(_LIMITS), frame.arm if frame is not None else None)
    name = _ALIASES.get(read.table, read.table)
    if name not in _WHOLE:
        raise MisuseError(
            "AP-TAB-006", f"no table of this name; there are {', '.join(sorted(_WHOLE))}", subject=read.table
        )
    whole = _WHOLE[name](tables)
    if read.by is None or frame is None:
        return msgspec.to_builtins(whole)
    value = getattr(frame, read.by)
    if name == "irdis.geometry":
        return msgspec.to_builtins([row for row in tables.irdis.geometries if row.covers(frame.mjd_obs)])
    if name == "earth_rotation":
        return msgspec.to_builtins(tables.earth_rotation.around(frame.mjd_obs))
    if name == "irdis.neutral_density" and value is None:
        value = "OPEN"
    if name == "ifs.orientation":
        return msgspec.to_builtins([row for row in tables.ifs.orientations if row.covers(frame.mjd_obs)])
    if name in _BY_MODE:
        value = tables.ifs.mode_of(frame.ifs_comb, frame.prism)
    return msgspec.to_builtins(whole.get(value) if isinstance(whole, dict) else whole)


def _without_words(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_words(one) for key, one in value.items() if key != "reference"}
    if isinstance(value, list):
        return [_without_words(one) for one in value]
    return value
