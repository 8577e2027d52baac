"""Whether overrides fit the archive: known ids, something to act on, no two on one thing, none expired."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from archive_proc.decisions.corrections import corrected_value
from archive_proc.decisions.overrides import Override
from archive_proc.decisions.yaml_nodes import fault
from archive_proc.errors import MisuseError
from archive_proc.model.decisions import Match, fits_any
from archive_proc.model.frames import RawFrame
from archive_proc.model.observations import ExposureGroup, Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What overrides may speak of."""

    frames: Mapping[str, RawFrame]
    """By file id."""
    groups: Sequence[ExposureGroup]
    observations: Sequence[Observation]
    roles: frozenset[str]
    """Roles of the association rules."""
    parameters: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Recipe to its parameter names; empty: not checked."""


def faults(overrides: Sequence[Override], known: Known, as_of: dt.date) -> tuple[MisuseError, ...]:
    """Everything wrong with the overrides of an archive, in the order of files and lines.

    AP-OVR-006: an id that does not exist, or nothing that matches. AP-OVR-007: two entries on one thing. AP-OVR-008:
    expired. AP-OVR-009: a role, recipe, parameter, plane or keyword that does not exist.
    """
    found: list[MisuseError] = []
    for one in overrides:
        found += _of_one(one, known, as_of)
    found += _overlaps(overrides)
    return tuple(sorted(found, key=_place))


def validate(overrides: Sequence[Override], known: Known, as_of: dt.date) -> None:
    """Raises the first of `faults`, saying how many more there are."""
    found = faults(overrides, known, as_of)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        first = found[0]
        raise MisuseError(first.code, first.message + more, subject=first.subject, remedy=first.remedy)


def _place(error: MisuseError) -> tuple[str, int]:
    source, _, line = error.subject.rpartition(" line ")
    return source, int(line)


def _wrong(one: Override, code: str, message: str, remedy: str) -> MisuseError:
    return fault(code, one.source, one.line, f"{one.kind}: {message}", remedy)


def _of_one(one: Override, known: Known, as_of: dt.date) -> list[MisuseError]:
    found = list(_unknown_ids(one, known))
    if not one.in_force(as_of):
        found.append(_wrong(one, "AP-OVR-008", f"expired on {one.expires}", "remove it, or give a later day"))
    if one.role and one.role not in known.roles:
        roles = ", ".join(sorted(known.roles))
        found.append(_wrong(one, "AP-OVR-009", f"no rule has the role {one.role!r}", f"one of {roles}"))
    if one.recipe and known.parameters:
        if one.recipe not in known.parameters:
            recipes = ", ".join(sorted(known.parameters))
            found.append(_wrong(one, "AP-OVR-009", f"no recipe {one.recipe!r}", f"one of {recipes}"))
        elif one.parameter not in known.parameters[one.recipe]:
            names = ", ".join(sorted(known.parameters[one.recipe]))
            message = f"{one.recipe} has no parameter {one.parameter!r}"
            found.append(_wrong(one, "AP-OVR-009", message, f"one of {names}"))
    if one.kind == "header":
        found += _header(one, known)
    if one.kind == "exclude-planes" and not found:
        found += _planes(one, known)
    if not found and one.kind != "waive" and not _acts_on(one, known):
        remedy = "correct `match`, or remove the entry"
        found.append(_wrong(one, "AP-OVR-006", "nothing in this archive matches", remedy))
    return found


def _unknown_ids(one: Override, known: Known) -> Iterable[MisuseError]:
    for name, given, ids in (
        ("obs", one.match.obs, [each.obs_id for each in known.observations]),
        ("group", one.match.group, [each.group_id for each in known.groups]),
    ):
        for short in given:
            hits = [each for each in ids if fits_any((short,), (each,))]
            if len(hits) != 1:
                what = "unknown" if not hits else f"ambiguous ({len(hits)} match)"
                yield _wrong(one, "AP-OVR-006", f"{name} {short} is {what}", "copy the id from `query` or `show`")
    for file_id in one.match.file:
        if file_id not in known.frames:
            yield _wrong(one, "AP-OVR-006", f"file {file_id} is unknown", "copy the archive's file name, SPHER.<date>")
    if one.calibration.startswith("SPHER."):
        if one.calibration not in known.frames:
            yield _wrong(one, "AP-OVR-006", f"calibration {one.calibration} is unknown", "name a raw file or group:...")
    elif one.calibration and sum(fits_any((one.calibration,), (each.group_id,)) for each in known.groups) != 1:
        yield _wrong(one, "AP-OVR-006", f"calibration {one.calibration} is no group", "copy the id from `explain`")


def _acts_on(one: Override, known: Known) -> bool:
    """Whether anything is meant: a frame by its facts, within the named files, groups or observations."""
    if one.kind in ("quarantine", "header"):
        files: Iterable[str] = one.match.file or known.frames
        return any(one.match.fits_frame(known.frames[each]) for each in files)
    members = _members(known)
    return any(
        one.match.fits_group(group, members.get(group.group_id, ()), known.frames[group.file_ids[0]])
        for group in known.groups
    )


def _members(known: Known) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in known.observations:
        for group_id in {entry.group_id for entry in one.files}:
            found.setdefault(group_id, []).append(one.obs_id)
    return found


def _header(one: Override, known: Known) -> list[MisuseError]:
    meant = [each for each in (one.match.file or known.frames) if each in known.frames]
    frames = [known.frames[each] for each in meant if one.match.fits_frame(known.frames[each])]
    try:
        for frame in frames[:1]:
            corrected_value(frame, one.keyword, one.new)
    except ValueError as error:
        return [_wrong(one, "AP-OVR-009", str(error), "see keywords.toml for the keywords and their types")]
    return []


def _planes(one: Override, known: Known) -> list[MisuseError]:
    wrong = []
    for file_id in one.match.file:
        n = known.frames[file_id].n_planes
        if one.planes[-1] >= n:
            wrong.append(_wrong(one, "AP-OVR-009", f"{file_id} has {n} planes, from 0", "correct the plane"))
    for each in known.observations:
        if one.match.obs and fits_any(one.match.obs, (each.obs_id,)):
            n = sum(known.frames[file_id].n_planes for file_id in each.science_files if file_id in known.frames)
            if one.planes[-1] >= n:
                wrong.append(_wrong(one, "AP-OVR-009", f"it has {n} science planes, from 0", "correct the plane"))
    return wrong


def _overlaps(overrides: Sequence[Override]) -> list[MisuseError]:
    """Two entries that decide one thing: the same twice, or one setting with two values."""
    seen: dict[tuple[str, Match, str, str], Override] = {}
    found = []
    for one in sorted(overrides, key=lambda each: (each.source, each.line)):
        for match in _parts(one):
            key = (one.kind, match, _decided(one), one.override_id if one.kind == "waive" else "")
            if key in seen:
                first = seen[key]
                words = f"overlaps the entry of {first.source} line {first.line}"
                found.append(_wrong(one, "AP-OVR-007", words, "keep one of the two"))
                break
            seen[key] = one
    return found


def _decided(one: Override) -> str:
    """What it settles about whatever it matches."""
    if one.kind == "ban-cal":
        return f"{one.role} {one.calibration}"
    if one.kind == "param":
        return f"{one.recipe}.{one.parameter}"
    return one.role or one.keyword


def _parts(one: Override) -> list[Match]:
    """A match by several files or observations as several: overlap is by thing, not by list."""
    if one.match.file:
        return [Match(file=(each,), obs=one.match.obs) for each in one.match.file]
    if one.match.obs:
        return [Match(obs=(each,)) for each in one.match.obs]
    return [one.match]
