"""Whether overrides fit the archive: known ids, something to act on, no two on one thing, none expired."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from archive_proc.decisions.axis import plane_axis
from archive_proc.decisions.corrections import corrected_value
from archive_proc.decisions.overrides import Override
from archive_proc.decisions.yaml_nodes import fault
from archive_proc.errors import MisuseError
from archive_proc.instruments.rows import RuleRow
from archive_proc.model.decisions import CalibrationDecision, Match, fits_any
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId
from archive_proc.model.observations import ExposureGroup, Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What overrides may speak of."""

    frames: Mapping[FileId, RawFrame]
    """By file id, as read."""
    groups: Sequence[ExposureGroup]
    observations: Sequence[Observation]
    roles: frozenset[str]
    """Roles of the association rules."""
    parameters: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Recipe to its parameter names; empty: not checked."""
    subject_kinds: Mapping[str, str] = field(default_factory=dict)
    """Recipe to its subject kind, `observation` or `group`; empty: not checked."""
    rules: Sequence[RuleRow] = ()
    """Association rules, which say what a pin or ban can act on; empty: not checked."""
    corrected: Mapping[FileId, RawFrame] = field(default_factory=dict)
    """Frames as the rules read them, by file id; empty: as `frames`."""


def faults(overrides: Sequence[Override], known: Known, as_of: dt.date) -> tuple[MisuseError, ...]:
    """Everything wrong with the overrides of an archive, in the order of files and lines.

    AP-OVR-006: an id that does not exist, or nothing that matches. AP-OVR-007: two entries on one thing. AP-OVR-008:
    expired. AP-OVR-009: a role, recipe, parameter, plane or keyword that does not exist. AP-OVR-010: everything exists
    and still nothing could come of it.
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
    if not found:
        found += _without_effect(one, known)
    return found


def _without_effect(one: Override, known: Known) -> list[MisuseError]:
    """What could be read and would still change nothing."""
    if one.kind == "waive":
        return [_wrong(one, "AP-OVR-010", "this version acts on no waiver", "remove the entry")]
    kind = known.subject_kinds.get(one.recipe)
    if one.kind == "param" and kind is not None:
        for name, wanted in (("obs", "observation"), ("group", "group")):
            if getattr(one.match, name) and kind != wanted:
                message = f"{one.recipe} works on a {kind} and is never matched by `{name}`"
                instead = {"observation": "`obs`", "group": "`group`"}.get(kind)
                remedy = f"match by {', '.join(filter(None, (instead, 'file', 'night')))} or filter"
                return [_wrong(one, "AP-OVR-010", message, remedy)]
    if one.kind in ("pin-cal", "ban-cal") and known.rules:
        return _calibration(one, known)
    return []


def _calibration(one: Override, known: Known) -> list[MisuseError]:
    """A calibration that is no candidate of the role, or whose role nothing that matches has."""
    decision = CalibrationDecision(one.override_id, one.match, one.role, one.calibration)
    named = next((each for each in known.groups if decision.names(each)), None)
    if named is None:
        remedy = "name a file of an exposure group, or the group"
        return [_wrong(one, "AP-OVR-010", f"calibration {one.calibration} is in no exposure group", remedy)]
    rules = [each for each in known.rules if not one.role or each.role == one.role]
    rules = [each for each in rules if each.arm == named.arm.value]
    fitting = [each for each in rules if any(row.frame_type == named.frame_type for row in each.candidate)]
    if not fitting:
        types = sorted({row.frame_type for each in rules for row in each.candidate})
        role = f"role {one.role}" if one.role else "any role"
        message = f"{one.calibration} is {named.frame_type}, which no rule takes for {role} of {named.arm}"
        remedy = f"one of {', '.join(types)}" if types and one.role else "name a calibration"
        return [_wrong(one, "AP-OVR-010", message, remedy)]
    members = _members(known)
    consumers = {each for rule in fitting for each in rule.consumers}
    if not any(
        group.reduced
        and group.arm is named.arm
        and consumers & _consumer_names(group)
        and _fits(one, group, known, members)
        for group in known.groups
    ):
        role = one.role or fitting[0].role
        message = f"nothing that matches needs {named.frame_type} of {named.arm} for {role}"
        return [_wrong(one, "AP-OVR-010", message, f"match frames of {', '.join(sorted(consumers))}")]
    return []


def _consumer_names(group: ExposureGroup) -> set[str]:
    """What rules may call a group as a consumer."""
    return {group.frame_type, group.role, *(["WAFFLE"] if group.role == "CENTER" else [])}


def _fits(one: Override, group: ExposureGroup, known: Known, members: Mapping[str, Sequence[str]]) -> bool:
    frames = known.corrected or known.frames
    return one.match.fits_group(group, members.get(group.group_id, ()), frames[group.file_ids[0]])


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
        files: Iterable[FileId] = map(FileId, one.match.file) if one.match.file else known.frames
        return any(one.match.fits_frame(known.frames[each]) for each in files)
    members = _members(known)
    return any(_fits(one, group, known, members) for group in known.groups)


def _members(known: Known) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in known.observations:
        for group_id in {entry.group_id for entry in one.files}:
            found.setdefault(group_id, []).append(one.obs_id)
    return found


def _header(one: Override, known: Known) -> list[MisuseError]:
    meant = [known.frames[FileId(each)] for each in (one.match.file or known.frames) if each in known.frames]
    frames = [each for each in meant if one.match.fits_frame(each)]
    try:
        for frame in frames[:1]:
            corrected_value(frame, one.keyword, one.new)
    except ValueError as error:
        return [_wrong(one, "AP-OVR-009", str(error), "see keywords.toml for the keywords and their types")]
    return []


def _planes(one: Override, known: Known) -> list[MisuseError]:
    wrong = []
    for file_id in one.match.file:
        n = known.frames[FileId(file_id)].n_planes
        if one.planes[-1] >= n:
            wrong.append(_wrong(one, "AP-OVR-009", f"{file_id} has {n} planes, from 0", "correct the plane"))
    for each in known.observations:
        if one.match.obs and fits_any(one.match.obs, (each.obs_id,)):
            n = len(plane_axis(each, known.frames))
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
