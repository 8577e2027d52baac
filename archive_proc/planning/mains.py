"""Main raw inputs: which files of a subject a recipe works through, in what order, and which are left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from archive_proc.model.ids import FileId, GroupId, ObsId
from archive_proc.model.observations import Association
from archive_proc.model.processes import ProcessInput, Subject
from archive_proc.planning.keys import MAIN
from archive_proc.planning.universe import Universe
from archive_proc.recipes.recipe import RawMain

SCIENCE = "SCIENCE"
"""In a recipe's roles: the science planes, whatever their frame role."""
SCIENCE_ROLES = (SCIENCE, "OBJECT")
"""Roles whose absence is no lack: a continuous waffle sequence has its science planes under CENTER."""


@dataclass(frozen=True, slots=True)
class MainFile:
    """One raw file in its place as main input."""

    file_id: FileId
    group_id: GroupId
    frame_role: str
    """OBJECT, CENTER, FLUX, SKY or CALIB."""
    science: bool
    """Its planes are the subject's own: a process never goes on without them by itself."""
    association: Association | None = None
    """What brought a file of another OB."""

    def as_input(self, content_id: str) -> ProcessInput:
        """The main input it is."""
        entry = ProcessInput(MAIN, "file", self.file_id, content_id, frame_role=self.frame_role)
        if self.association is None:
            return entry
        by = self.association
        return replace(entry, level=by.level, dt_days=by.dt_days, method=by.method)

    def is_one_of(self, roles: Iterable[str]) -> bool:
        """True when one of these frame roles is the file's, or SCIENCE is and its planes are science planes."""
        return any(one == self.frame_role or (one == SCIENCE and self.science) for one in roles)


def main_files(universe: Universe, subject: Subject, main: RawMain) -> tuple[MainFile, ...]:
    """The raw files of a subject that a recipe works through, by (mjd_obs, file_id), each once."""
    if subject.kind == "group":
        found = _of_group(universe, GroupId(subject.subject_id), science=True)
    elif subject.kind == "frame":
        file_id = FileId(subject.subject_id)
        group_id = universe.group_of.get(file_id)
        role = universe.classified[file_id].role
        # A file that the rules put into no group has no calibrations either.
        found = [] if group_id is None else [MainFile(file_id, group_id, role, science=True)]
    else:
        found = _of_observation(universe, ObsId(subject.subject_id), main.roles)
    once = {one.file_id: one for one in reversed(found)}
    return tuple(sorted(once.values(), key=lambda one: (universe.frames[one.file_id].mjd_obs, one.file_id)))


def science_groups(universe: Universe, obs_id: ObsId) -> tuple[GroupId, ...]:
    """The exposure groups of an observation's science planes, each once, in order of time."""
    entries = universe.observations[obs_id].files
    return tuple(dict.fromkeys(one.group_id for one in entries if one.science))


def _of_group(universe: Universe, group_id: GroupId, *, science: bool) -> list[MainFile]:
    files = universe.groups[group_id].file_ids
    return [MainFile(one, group_id, universe.classified[one].role, science) for one in files]


def _of_observation(universe: Universe, obs_id: ObsId, roles: tuple[str, ...]) -> list[MainFile]:
    found: list[MainFile] = [
        MainFile(one.file_id, one.group_id, one.role, one.science)
        for one in universe.observations[obs_id].files
        if one.role in roles or (one.science and SCIENCE in roles)
    ]
    # Frames of other OBs that rules chose for the science planes (a CENTER of the same night).
    for role in roles:
        for consumer in science_groups(universe, obs_id):
            for association in universe.serving(consumer, role.lower()):
                brought = _of_group(universe, association.calib_group_id, science=False)
                found += [replace(one, association=association) for one in brought]
    return found


def unreadable(universe: Universe, file_id: FileId) -> str:
    """Why a file cannot be a main input whatever the recipe, in words; empty where it can."""
    frame = universe.frames[file_id]
    if file_id in universe.quarantined:
        return "quarantined"
    if frame.truncated:
        return "truncated"
    if frame.n_planes == 0:
        return "without pixels"
    issue = universe.blocking("file", file_id)
    return f"{issue.code} {issue.message}" if issue else ""
