"""Human decisions on calibrations, as association reads them: what they apply to, what they pin or ban."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId
from archive_proc.model.observations import ExposureGroup


@dataclass(frozen=True, slots=True)
class Match:
    """What an override applies to; every field given must fit, an empty field fits all. Ids may be shortened."""

    obs: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    file: tuple[str, ...] = ()
    night: tuple[str, ...] = ()
    """ISO dates."""
    arm: tuple[str, ...] = ()
    filter: tuple[str, ...] = ()
    """IRDIS filter combination or IFS setup."""
    program: tuple[str, ...] = ()
    ob: tuple[int, ...] = ()
    process: tuple[str, ...] = ()
    """Only with `waive`."""
    code: tuple[str, ...] = ()
    """Issue or failure codes; only with `waive`."""

    def fits_group(self, group: ExposureGroup, obs_ids: Iterable[str], first: RawFrame) -> bool:
        """Whether a group, part of these observations, is meant."""
        return (
            fits_any(self.obs, obs_ids)
            and fits_any(self.group, (group.group_id,))
            and (not self.file or any(one in group.file_ids for one in self.file))
            and self.fits_frame(first)
        )

    def fits_frame(self, frame: RawFrame) -> bool:
        """Whether the facts of a frame fit (ids of observations, groups and files aside)."""
        return (
            (not self.night or frame.night.isoformat() in self.night)
            and (not self.arm or frame.arm.value in self.arm)
            and (not self.filter or frame.inst_filter in self.filter or frame.ifs_comb in self.filter)
            and (not self.program or frame.prog_id in self.program)
            and (not self.ob or frame.ob_id in self.ob)
        )


def fits_any(shortened: tuple[str, ...], ids: Iterable[str]) -> bool:
    """Whether one of the ids begins with one of the shortened ones (`obs:3fa9` or bare); True where none is given."""
    if not shortened:
        return True
    bare = tuple(one.partition(":")[2] if ":" in one and not one.startswith("SPHER.") else one for one in shortened)
    return any(one.startswith(bare) for one in ids)


@dataclass(frozen=True, slots=True)
class CalibrationDecision:
    """A calibration pinned to, or banned from, what it matches."""

    override_id: str
    match: Match
    role: str
    """Rule role, `flat`; empty (bans only): every role."""
    calibration: str
    """`group:...` (may be shortened) or the id of a raw file: the group it is in."""

    def names(self, group: ExposureGroup) -> bool:
        """Whether it speaks of this calibration group."""
        if self.calibration.startswith("SPHER."):
            return self.calibration in group.file_ids
        return fits_any((self.calibration,), (group.group_id,))


class CalibrationDecisions(Protocol):
    """What association asks of human decisions."""

    @property
    def quarantined(self) -> frozenset[FileId]:
        """Files that no group, observation or association may use."""

    @property
    def pins(self) -> tuple[CalibrationDecision, ...]:
        """Calibrations chosen by a person, whatever the rules say."""

    @property
    def bans(self) -> tuple[CalibrationDecision, ...]:
        """Calibrations that a person refuses."""


@dataclass(frozen=True, slots=True)
class NoDecisions:
    """Nobody has decided anything."""

    quarantined: frozenset[FileId] = frozenset()
    pins: tuple[CalibrationDecision, ...] = field(default=())
    bans: tuple[CalibrationDecision, ...] = field(default=())
