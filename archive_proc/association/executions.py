"""Executions of OBs: which frames of a sequence were taken in one go."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from archive_proc.instruments.tables import Tables
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import FileId

Place = str | None
"""Target of a frame, else the name in its header."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution of an OB by one arm: files in order of time."""

    arm: Arm
    ob_id: int | None
    ob_start: dt.datetime | None
    frames: tuple[RawFrame, ...]

    @property
    def key(self) -> str:
        """What tells it from every other execution: OBS START, else its first file."""
        start = self.ob_start.isoformat() if self.ob_start else self.frames[0].file_id
        return f"{self.arm}|{self.ob_id}|{start}"

    @property
    def span(self) -> tuple[float, float]:
        """Start and end, MJD UTC."""
        return self.frames[0].mjd_obs, max(one.mjd_end for one in self.frames)


def executions(frames: Iterable[RawFrame], place_of: Mapping[FileId, Place], tables: Tables) -> tuple[Execution, ...]:
    """The executions that frames of sequences (OBJECT, CENTER, FLUX, SKY) make up, in order of time.

    Arm, OB id and OBS START say it. Without OBS START: with an execution of the same OB id within `same_ob_hours`, else
    files of one OB id (else programme and place), in order of time, cut at nights and at gaps of `sequence_gap_hours`.
    """
    said: defaultdict[tuple[Arm, int, dt.datetime], list[RawFrame]] = defaultdict(list)
    silent: defaultdict[tuple[Arm, object], list[RawFrame]] = defaultdict(list)
    for one in frames:
        if one.ob_id is not None and one.ob_start is not None:
            said[one.arm, one.ob_id, one.ob_start].append(one)
        else:
            where: object = (one.prog_id, place_of.get(one.file_id) or one.object_raw)
            silent[one.arm, where if one.ob_id is None else one.ob_id].append(one)
    spans = {key: (min(f.mjd_obs for f in some), max(f.mjd_end for f in some)) for key, some in said.items()}
    reach = tables.grouping.same_ob_hours / 24.0
    by_ob: defaultdict[tuple[Arm, object], list[tuple[Arm, int, dt.datetime]]] = defaultdict(list)
    for key in sorted(said):
        by_ob[key[0], key[1]].append(key)
    found: list[Execution] = []
    for (arm, place), some in silent.items():
        left = []
        for one in some:
            near = min(by_ob[arm, place], key=lambda key: (_away(one, spans[key]), key), default=None)
            if near is not None and _away(one, spans[near]) <= reach:
                said[near].append(one)
            else:
                left.append(one)
        ob_id = place if isinstance(place, int) else None
        found += [Execution(arm, ob_id, None, tuple(part)) for part in cut_in_time(left, tables)]
    found += [Execution(arm, ob_id, start, tuple(in_time(some))) for (arm, ob_id, start), some in said.items()]
    return tuple(sorted(found, key=lambda one: (one.frames[0].mjd_obs, one.key)))


def in_time(frames: Iterable[RawFrame]) -> list[RawFrame]:
    """Frames in order of time, ties by id."""
    return sorted(frames, key=lambda one: (one.mjd_obs, one.file_id))


def cut_in_time(frames: Sequence[RawFrame], tables: Tables) -> list[list[RawFrame]]:
    """Frames in order of time, cut where the night changes or a gap exceeds `sequence_gap_hours`."""
    gap = tables.grouping.sequence_gap_hours / 24.0
    parts: list[list[RawFrame]] = []
    end = float("-inf")
    for one in in_time(frames):
        if not parts or one.mjd_obs - end > gap or one.night != parts[-1][-1].night:
            parts.append([])
            end = float("-inf")
        parts[-1].append(one)
        end = max(end, one.mjd_end)
    return parts


def _away(frame: RawFrame, span: tuple[float, float]) -> float:
    """Days between a frame and a span, 0 inside."""
    return max(0.0, span[0] - frame.mjd_end, frame.mjd_obs - span[1])
