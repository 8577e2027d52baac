"""Quality limits as a table (`qc_limits.toml`), and the one function that judges a measured value against it.

Recipes measure, this judges: good, warn or refuse. Every limit row that covers a value's setup applies. A limit that
refuses enters the ids of the processes that act on it (`decides`, read through `TableRead("qc.<product type>")`): it
changes whether a product is sealed, or what it is made of. All other limits are applied when catalog rows are made, so
that changing one makes no product anew; `limits_version` in every row says which limits judged it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.rows import Severity, pattern_fits
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import sha256_hex

VERSION_DIGITS = 12
HALVES = ("left", "right")
GOOD, WARN, REFUSE = "good", "warn", "refuse"
VERDICTS = (GOOD, WARN, REFUSE)
"""From best to worst."""


@dataclass(frozen=True, slots=True)
class QcSetup:
    """What a limit may depend on."""

    inst_filter: str = ""
    dit_s: float | None = None
    night: dt.date | None = None
    frame_type: str = ""
    """OBJECT, CENTER or FLUX, of a plane."""


class LimitRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits of one metric in some setups. A value on the limit is good."""

    inst_filter: tuple[str, ...] = ()
    """Patterns of `INS COMB IFLT` (IFS: of `INS2 COMB IFS`), `!` first meaning not these; empty: every filter."""
    dit_s: tuple[float, float] | None = None
    """Shortest and longest DIT, s, both included."""
    frame_type: tuple[str, ...] = ()
    """Of planes; empty: every type."""
    valid_from: dt.date | None = None
    """First night."""
    valid_to: dt.date | None = None
    """First night after."""
    warn_below: float | None = None
    warn_above: float | None = None
    refuse_below: float | None = None
    refuse_above: float | None = None
    reference: str

    def covers(self, setup: QcSetup) -> bool:
        """Whether it speaks of this setup. What the setup does not know is covered by rows that do not ask for it."""
        if self.inst_filter and not (setup.inst_filter and pattern_fits(self.inst_filter, setup.inst_filter)):
            return False
        if self.dit_s and (setup.dit_s is None or not self.dit_s[0] <= setup.dit_s <= self.dit_s[1]):
            return False
        if self.frame_type and setup.frame_type not in self.frame_type:
            return False
        if self.valid_from and (setup.night is None or setup.night < self.valid_from):
            return False
        return not (self.valid_to and (setup.night is None or setup.night >= self.valid_to))

    def bounds(self) -> tuple[tuple[str, float, int], ...]:
        """(verdict, limit, side) of each limit given, refusing ones first; side +1: values above break it, -1 below."""
        found = (
            (REFUSE, self.refuse_above, 1),
            (REFUSE, self.refuse_below, -1),
            (WARN, self.warn_above, 1),
            (WARN, self.warn_below, -1),
        )
        return tuple((verdict, limit, side) for verdict, limit, side in found if limit is not None)


class MetricRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One figure that recipes measure."""

    products: tuple[str, ...]
    """Product types that it is a figure of."""
    arm: Literal["IRDIS", "IFS"] | None = None
    """Only this arm's recipes measure it; None: whatever arm makes the product."""
    metric: str
    of: Literal["product", "plane"] = "product"
    """A value a product, or a value a plane (column of the table `plane_qc`)."""
    halves: bool = False
    """One value a half: the recipe writes `<metric>_left` and `<metric>_right`."""
    unit: str
    meaning: str
    decides: bool = False
    """The recipe itself acts on the refusing limits."""
    code: str
    """Issue raised where a limit is broken; its page holds the remedy."""
    severity: tuple[Severity, Severity] = ("warning", "blocking")
    """Of the issue where a value warns, and where it refuses."""
    limit: tuple[LimitRow, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The metric as recipes write it."""
        return tuple(f"{self.metric}_{half}" for half in HALVES) if self.halves else (self.metric,)


class QcLimitsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """qc_limits.toml."""

    metric: tuple[MetricRow, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict and what it was judged by."""

    verdict: str | None
    """good, warn or refuse; None where no limit applies or nothing was measured."""
    threshold: float | None = None
    """The limit broken; of a good value, the nearest to it."""
    side: int = 0
    """+1: values above the threshold break it, -1: values below; 0 without threshold."""


UNJUDGED = Judged(None)


def setup_of_frame(frame: RawFrame) -> QcSetup:
    """What limits may depend on, of a raw frame. An IFS file's setup is its `INS2 COMB IFS`: its filter is IRDIS'."""
    name = frame.ifs_comb if frame.arm is Arm.IFS else frame.inst_filter
    return QcSetup(name or "", frame.dit_s, frame.night)


def judge(limits: Iterable[LimitRow], value: float, setup: QcSetup) -> Judged:
    """The verdict on one value: the worst of all limits that cover the setup.

    >>> rows = [LimitRow(warn_above=1.0, refuse_above=3.0, reference="")]
    >>> [judge(rows, value, QcSetup()).verdict for value in (0.5, 2.0, float("inf"), float("nan"))]
    ['good', 'warn', 'refuse', None]
    """
    bounds = [bound for row in limits if row.covers(setup) for bound in row.bounds()]
    if not bounds or np.isnan(value):
        return UNJUDGED
    for verdict in (REFUSE, WARN):
        for of, limit, side in bounds:
            if of == verdict and side * (value - limit) > 0:
                return Judged(verdict, limit, side)
    _, limit, side = min(bounds, key=lambda bound: abs(value - bound[1]))
    return Judged(GOOD, limit, side)


def judge_many(limits: Iterable[LimitRow], values: NDArray[np.floating], setups: PlaneSetups) -> NDArray[np.int8]:
    """(n,) places in VERDICTS of many values, -1 where no limit applies or the value is NaN."""
    found = np.full(values.shape, -1, np.int8)
    for row in limits:
        covered = setups.covered(row) & ~np.isnan(values)
        for verdict, limit, side in row.bounds():
            broken = covered & (side * (values - limit) > 0)
            found[broken] = np.maximum(found[broken], VERDICTS.index(verdict))
            found[covered] = np.maximum(found[covered], 0)
    return found


@dataclass(frozen=True, slots=True)
class PlaneSetups:
    """Setups of n planes of one process."""

    inst_filter: str
    night: dt.date | None
    dit_s: NDArray[np.float64]
    """(n,)."""
    frame_type: NDArray[np.str_]
    """(n,)."""

    def covered(self, row: LimitRow) -> NDArray[np.bool_]:
        """(n,) where a limit applies."""
        found = np.zeros(self.dit_s.shape, bool)
        kinds = np.array([str(one) for one in self.frame_type], dtype=str)
        for kind in np.unique(kinds):
            for dit in np.unique(self.dit_s):
                setup = QcSetup(self.inst_filter, float(dit), self.night, str(kind))
                found[(kinds == kind) & (self.dit_s == dit)] = row.covers(setup)
        return found


@dataclass(frozen=True)
class QcLimits:
    """All metrics with their limits."""

    rows: tuple[MetricRow, ...]

    @cached_property
    def version(self) -> str:
        """Short hash of everything that can change a verdict; words do not count."""
        counted = [_numbers(msgspec.to_builtins(row)) for row in self.rows]
        return sha256_hex(sorted(counted, key=str))[:VERSION_DIGITS]

    @cached_property
    def _by_name(self) -> Mapping[tuple[str, str, str], MetricRow]:
        return {(row.of, product, name): row for row in self.rows for product in row.products for name in row.names}

    def row(self, product_type: str, metric: str) -> MetricRow | None:
        """The row of a product's figure as the recipe writes it, None where the table has none."""
        return self._by_name.get(("product", product_type, metric))

    def of_planes(self) -> tuple[MetricRow, ...]:
        """Rows of the table `plane_qc`, one a column."""
        return tuple(row for row in self.rows if row.of == "plane")

    def judge(self, product_type: str, metric: str, value: float, setup: QcSetup) -> Judged:
        """The verdict on a product's figure; unjudged where the table does not know it."""
        row = self.row(product_type, metric)
        return judge(row.limit, value, setup) if row is not None else UNJUDGED

    def deciding(self, product_type: str, metric: str) -> tuple[LimitRow, ...]:
        """Limits that the recipe itself acts on, warnings taken out: all it may know of the table."""
        row = self.row(product_type, metric)
        if row is None or not row.decides:
            raise KeyError(f"{product_type} {metric} decides nothing")
        return tuple(msgspec.structs.replace(one, warn_below=None, warn_above=None) for one in row.limit)

    def decisive(self, product_type: str, arm: Arm | None = None) -> object:
        """What `TableRead("qc.<product type>")` digests: refusing limits of an arm's deciding metrics, nothing else."""
        found = []
        for row in self.rows:
            if row.decides and product_type in row.products and (row.arm is None or arm is None or row.arm == arm):
                limits = [one for one in row.limit if one.refuse_above is not None or one.refuse_below is not None]
                for one in limits:
                    tree = _numbers(msgspec.to_builtins(one))
                    kept = {name: value for name, value in tree.items() if not name.startswith("warn_")}
                    found.append([row.metric, row.unit, kept])
        return sorted(found, key=str)


_WORDS = frozenset({"meaning", "reference", "code", "severity"})


def _numbers(tree: Mapping[str, object]) -> dict[str, object]:
    """A row without its words and without what is not set."""
    found: dict[str, object] = {}
    for name, value in tree.items():
        if name in _WORDS or value is None or value in ([], (), False):
            continue
        if isinstance(value, list | tuple):
            found[name] = [_numbers(one) if isinstance(one, dict) else one for one in value]
        else:
            found[name] = value
    return found
