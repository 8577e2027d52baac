"""What overrides do: quarantined files, excluded planes, pins, bans, parameters, corrected headers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from archive_proc.decisions.axis import plane_axis
from archive_proc.decisions.corrections import corrected_value, keyword_name, present_value
from archive_proc.decisions.overrides import Override
from archive_proc.decisions.yaml_nodes import Scalar
from archive_proc.model.decisions import CalibrationDecision, Match, fits_any
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId
from archive_proc.model.observations import Observation


@dataclass(frozen=True, slots=True)
class DecisionEffect:
    """What decisions change about one process."""

    excluded_planes: tuple[tuple[FileId, int], ...] = ()
    parameters: Mapping[str, Scalar | tuple[Scalar, ...]] = field(default_factory=dict)
    corrections: tuple[tuple[FileId, str, str], ...] = ()
    """(main file, keyword, new value)."""
    override_ids: tuple[str, ...] = ()
    """Sorted; pins given by the caller included."""
    source: str = ""
    """File and line of an override that sets a parameter."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """All overrides in force, sorted by what they do. Make it with `decide`."""

    overrides: tuple[Override, ...] = ()
    """In force, sorted by id."""
    quarantined: frozenset[FileId] = frozenset()
    pins: tuple[CalibrationDecision, ...] = ()
    bans: tuple[CalibrationDecision, ...] = ()

    def of_kind(self, kind: str) -> tuple[Override, ...]:
        """The overrides of one kind."""
        return tuple(one for one in self.overrides if one.kind == kind)

    def effect_on(
        self,
        recipe: str,
        files: Sequence[FileId],
        frames: Mapping[FileId, RawFrame],
        observation: Observation | None = None,
        group_id: str = "",
        pinned_by: Iterable[str] = (),
        first: RawFrame | None = None,
    ) -> DecisionEffect:
        """What these decisions change about one process: nothing about processes they do not touch.

        `frames`: as read, without corrections (only there it shows which ones touch a file). `pinned_by`: ids of the
        overrides behind the process's pinned associations. `first`: the first file as rules read it (corrected, filter
        filled in), which parameters match by its facts; without it, its header as corrected.
        """
        planes: set[tuple[FileId, int]] = set()
        ids = set(pinned_by)
        for one in self.of_kind("exclude-planes"):
            hit = _planes(one, files, frames, observation)
            planes |= hit
            ids |= {one.override_id} if hit else set()
        parameters: dict[str, Scalar | tuple[Scalar, ...]] = {}
        source = ""
        if first is None and files and files[0] in frames:
            first = apply_corrections([frames[files[0]]], self)[0]
        for one in self.of_kind("param"):
            if one.recipe == recipe and _meant(one.match, files, first, observation, group_id):
                parameters[one.parameter] = one.value
                ids.add(one.override_id)
                source = source or f"{one.source} line {one.line}"
        corrections: set[tuple[FileId, str, str]] = set()
        for one in self.of_kind("header"):
            for file_id in files:
                if file_id in frames and _corrects(one, frames[file_id]):
                    corrections.add((file_id, keyword_name(one.keyword), one.new))
                    ids.add(one.override_id)
        return DecisionEffect(
            excluded_planes=tuple(sorted(planes)),
            parameters=parameters,
            corrections=tuple(sorted(corrections)),
            override_ids=tuple(sorted(ids)),
            source=source,
        )


def decide(overrides: Iterable[Override], as_of: dt.date) -> Decisions:
    """The decisions in force on a day; the same for any order of overrides."""
    held = tuple(sorted((one for one in overrides if one.in_force(as_of)), key=lambda one: one.override_id))
    files = {FileId(file_id) for one in held if one.kind == "quarantine" for file_id in one.match.file}
    return Decisions(
        overrides=held,
        quarantined=frozenset(files),
        pins=tuple(_calibration(one) for one in held if one.kind == "pin-cal"),
        bans=tuple(_calibration(one) for one in held if one.kind == "ban-cal"),
    )


def apply_corrections(frames: Iterable[RawFrame], decisions: Decisions) -> tuple[RawFrame, ...]:
    """Frames with the header values that people corrected, in the order given; untouched ones are the same objects.

    A correction that names an old value touches only frames that have it. content_id stays: the correction itself is
    part of the ids it touches.
    """
    headers = decisions.of_kind("header")
    if not headers:
        return tuple(frames)
    found = []
    for frame in frames:
        now = frame
        for one in headers:
            # Matched against the frame as read, so that the order of corrections cannot matter.
            if _corrects(one, frame):
                now = corrected_value(now, one.keyword, one.new)
        found.append(now)
    return tuple(found)


def _calibration(one: Override) -> CalibrationDecision:
    return CalibrationDecision(one.override_id, one.match, one.role, one.calibration)


def _corrects(one: Override, frame: RawFrame) -> bool:
    if (one.match.file and frame.file_id not in one.match.file) or not one.match.fits_frame(frame):
        return False
    return not one.old or str(present_value(frame, one.keyword)) == one.old


def _planes(
    one: Override,
    files: Sequence[FileId],
    frames: Mapping[FileId, RawFrame],
    observation: Observation | None,
) -> set[tuple[FileId, int]]:
    """(file, plane) among a process's main files that an entry excludes."""
    found = {(file_id, plane) for file_id in files if file_id in one.match.file for plane in one.planes}
    if observation is None or not one.match.obs or not fits_any(one.match.obs, (observation.obs_id,)):
        return found
    axis = plane_axis(observation, frames)
    wanted = {axis[plane] for plane in one.planes if plane < len(axis)}
    return found | {each for each in wanted if each[0] in files}


def _meant(
    match: Match,
    files: Sequence[FileId],
    first: RawFrame | None,
    observation: Observation | None,
    group_id: str,
) -> bool:
    if match.obs and (observation is None or not fits_any(match.obs, (observation.obs_id,))):
        return False
    if match.group and (not group_id or not fits_any(match.group, (group_id,))):
        return False
    if match.file and not set(match.file) & set(files):
        return False
    return first is None or match.fits_frame(first)
