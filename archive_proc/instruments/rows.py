"""The rows of the rule tables: frame types, exposure groups, association rules."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

import msgspec

Severity = Literal["blocking", "warning", "note", "none"]
Scope = Literal["execution", "ob", "night"]

DERIVED_COLUMNS = ("ifs_mode",)
"""Match columns that are no manifest columns: `association/values.py` derives them."""

CONSUMER_ROLES = ("OBJECT", "WAFFLE", "CENTER", "FLUX", "SKY")


def pattern_fits(patterns: tuple[str, ...], value: object) -> bool:
    """Whether a value passes a list of shell patterns, `!` first meaning must not match (frame_types.toml).

    >>> pattern_fits(("IMAGE*", "!*DUAL*"), "IMAGE,CLASSICAL"), pattern_fits(("IMAGE*", "!*DUAL*"), "IMAGE,DUAL")
    (True, False)
    """
    text = "" if value is None else str(value).strip().upper()
    wanted = [one for one in patterns if not one.startswith("!")]
    unwanted = [one[1:] for one in patterns if one.startswith("!")]
    if any(fnmatchcase(text, one) for one in unwanted):
        return False
    return not wanted or any(fnmatchcase(text, one) for one in wanted)


class FrameTypeRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a raw frame is, and which frames of it belong together."""

    name: str
    """ESO's classification word."""
    arms: tuple[str, ...]
    catg: tuple[str, ...] = ()
    type: tuple[str, ...]
    tech: tuple[str, ...] = ()
    when: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Further manifest columns and their patterns."""
    role: Literal["OBJECT", "CENTER", "FLUX", "SKY", "CALIB", "TELEMETRY", "OTHER"]
    mode: str
    reduced: bool = True
    group_keys: tuple[str, ...]
    requires: tuple[str, ...] = ()
    block: Literal["template", "ob"]


class GroupingRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits of grouping: one table, not rows."""

    generic_ob_ids: tuple[int, ...]
    generic_programs: tuple[str, ...]
    generic_gap_hours: float
    sequence_gap_hours: float
    same_ob_hours: float
    waffle_min_files: int
    two_arm_templates: tuple[str, ...]
    target_radius_arcsec: float
    setup: dict[str, tuple[str, ...]]
    """Arm to the manifest columns of its science setup."""


class CandidateRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One kind of calibration that may fill a role."""

    frame_type: str
    match: tuple[str, ...]
    match_thermal: tuple[str, ...] = ()
    only_if: Literal["always", "thermal", "not_thermal"] = "always"
    scope: tuple[Scope, ...] = ()
    where: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Group keys of the candidate and their patterns."""
    consumers: tuple[str, ...] = ()
    """Only for these consumers of the rule; empty: all."""
    stands_in_for: str = ""
    """A frame type whose calibration it may replace: in this role it needs what that one needs, no more."""


class MissingRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an unfilled role means."""

    code: str
    severity: Severity
    severity_thermal: Severity | None = None
    remedy: str


class RuleRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which calibration serves which frames in one role."""

    id: str
    arm: Literal["IRDIS", "IFS", "ZIMPOL"]
    consumers: tuple[str, ...]
    only_setup: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Columns of the consumer and their patterns; others do not need the role."""
    role: str
    levels_days: tuple[float, ...] = ()
    scope_levels: dict[str, int] = msgspec.field(default_factory=dict)
    min_files: int = 1
    max_files: int | None = None
    """Of the calibration group; more are used and noted (AP-CAL-011)."""
    order: Literal["priority", "level"] = "priority"
    choose: Literal["nearest", "all"] = "nearest"
    anchor: Literal["group", "observation"] = "group"
    dit_tolerance_ms: int = 0
    fallback: Literal["", "rate_from_other_dits"] = ""
    fallback_thermal: bool = False
    """Whether the fallback may stand in where the consumer's filter is thermal."""
    of_frames: bool = False
    """For products of single frames on request: the calibration may be of the frame's own group, and is needed by no
    group's product (no cycle)."""
    coronagraphic_only: bool = False
    """Only frames behind an occulting mask need it."""
    on_missing: MissingRow
    candidate: tuple[CandidateRow, ...]


class FrameTypesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """frame_types.toml."""

    grouping: GroupingRow
    frame_type: tuple[FrameTypeRow, ...]


class AssociationsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """associations.toml."""

    rule: tuple[RuleRow, ...]
