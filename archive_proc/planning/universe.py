"""What a plan is made from: the classified, grouped and associated raw frames of an archive, as one value.

The planner looks things up by group, role and observation many thousand times, so the look-ups are built once
here. They depend on the facts only, never on the order in which these were given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from archive_proc.errors import MisuseError
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId, GroupId, ObsId, TargetId, shown
from archive_proc.model.observations import Association, ClassifiedFrame, ExposureGroup, Issue, Observation, Target
from archive_proc.model.processes import Subject

BLOCKING = "blocking"

_Id = TypeVar("_Id", bound=str)
_Thing = TypeVar("_Thing")


@dataclass(frozen=True)
class Universe:
    """Everything known about the raw frames, by id. Make it with `Universe.of`."""

    frames: Mapping[FileId, RawFrame]
    """Header corrections applied."""
    classified: Mapping[FileId, ClassifiedFrame]
    groups: Mapping[GroupId, ExposureGroup]
    observations: Mapping[ObsId, Observation]
    associations: tuple[Association, ...]
    """Sorted by consumer group, role, selector, calibration group."""
    targets: Mapping[TargetId, Target]
    issues: tuple[Issue, ...]
    """Sorted by code, subject and message."""
    quarantined: frozenset[FileId] = frozenset()
    """Files that human decisions take out; they stay in their groups and observations by name."""

    @classmethod
    def of(
        cls,
        *,
        classified: Iterable[ClassifiedFrame],
        groups: Iterable[ExposureGroup],
        observations: Iterable[Observation],
        associations: Iterable[Association],
        targets: Iterable[Target] = (),
        issues: Iterable[Issue] = (),
        quarantined: Iterable[FileId] = (),
    ) -> Universe:
        """The universe of these facts, the same for any order of them.

        Raises MisuseError AP-PLN-007 where one id names two different groups or observations.
        """
        by_file = {one.frame.file_id: one for one in sorted(classified, key=lambda one: one.frame.file_id)}
        return cls(
            frames={file_id: one.frame for file_id, one in by_file.items()},
            classified=by_file,
            groups=_by_id("group", groups, lambda one: one.group_id, lambda one: one.file_ids),
            observations=_by_id("obs", observations, lambda one: one.obs_id, lambda one: one.science_files),
            associations=tuple(
                sorted(associations, key=lambda a: (a.consumer_group_id, a.role, a.selector, a.calib_group_id))
            ),
            targets={one.target_id: one for one in sorted(targets, key=lambda one: one.target_id)},
            issues=tuple(sorted(issues, key=lambda i: (i.code, i.subject_kind, i.subject_id, i.message))),
            quarantined=frozenset(quarantined),
        )

    @cached_property
    def group_of(self) -> Mapping[FileId, GroupId]:
        """The exposure group of each raw frame that has one."""
        return {file_id: group.group_id for group in self.groups.values() for file_id in group.file_ids}

    @cached_property
    def _associations_of(self) -> Mapping[tuple[GroupId, str], tuple[Association, ...]]:
        found: defaultdict[tuple[GroupId, str], list[Association]] = defaultdict(list)
        for one in self.associations:
            found[one.consumer_group_id, one.role].append(one)
        return {key: tuple(some) for key, some in found.items()}

    @cached_property
    def _issues_of(self) -> Mapping[tuple[str, str], tuple[Issue, ...]]:
        found: defaultdict[tuple[str, str], list[Issue]] = defaultdict(list)
        for one in self.issues:
            # An issue may name its subject and, beside it, the group or observation it concerns.
            named = {(one.subject_kind, one.subject_id)}
            named |= {("group", one.group_id)} if one.group_id else set()
            named |= {("observation", one.obs_id)} if one.obs_id and not one.group_id else set()
            for key in named:
                found[key].append(one)
        return {key: tuple(some) for key, some in found.items()}

    def serving(self, group_id: GroupId, role: str) -> tuple[Association, ...]:
        """The calibration groups chosen for a consumer group in a role, by selector."""
        return self._associations_of.get((group_id, role), ())

    def issues_of(self, kind: str, subject_id: str) -> tuple[Issue, ...]:
        """Issues of a `group`, `observation` or `file`."""
        return self._issues_of.get((kind, subject_id), ())

    def blocking(self, kind: str, subject_id: str) -> Issue | None:
        """The first issue that keeps this subject from being reduced, None where there is none."""
        return next((one for one in self.issues_of(kind, subject_id) if one.severity == BLOCKING), None)

    def label(self, subject: Subject) -> str:
        """A subject in words: target, setup and night of an observation; frame type, keys and night of a group."""
        if subject.kind == "observation":
            observation = self.observations[ObsId(subject.subject_id)]
            target = self.targets.get(observation.target_id) if observation.target_id else None
            name = target.main_id if target else observation.object_raw or "no target"
            return " ".join(filter(None, (name, observation.inst_filter, str(observation.night))))
        if subject.kind == "group":
            group = self.groups[GroupId(subject.subject_id)]
            keys = " ".join(f"{key}={value}" for key, value in group.keys if value is not None)
            return " ".join(filter(None, (group.frame_type, keys, str(group.night))))
        return subject.subject_id

    def night_of(self, subject: Subject) -> tuple[str, int]:
        """ISO date of the night, and ESO period, of a subject."""
        found: Observation | ExposureGroup | RawFrame
        if subject.kind == "observation":
            found = self.observations[ObsId(subject.subject_id)]
        elif subject.kind == "group":
            found = self.groups[GroupId(subject.subject_id)]
        else:
            found = self.frames[FileId(subject.subject_id)]
        return found.night.isoformat(), found.period_date


def _by_id(
    kind: str, found: Iterable[_Thing], id_of: Callable[[_Thing], _Id], files_of: Callable[[_Thing], Sequence[FileId]]
) -> dict[_Id, _Thing]:
    """By id, in order of ids; two different things of one id would silently lose one of them."""
    by_id: dict[_Id, _Thing] = {}
    for one in sorted(found, key=id_of):
        name = id_of(one)
        if by_id.setdefault(name, one) != one:
            firsts = " and ".join(sorted(min(files_of(each), default="no file") for each in (by_id[name], one)))
            raise MisuseError(
                "AP-PLN-007",
                f"this id names two different ones, beginning with {firsts}",
                subject=shown(kind, name),
                remedy="quarantine the files of one, or correct the keyword they differ in by a `header` override",
            )
    return by_id
