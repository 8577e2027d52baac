"""Observations: one arm's science sequence of one target, with its CENTER, FLUX and SKY frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from archive_proc.association.conditions import ao_open_fraction, rotation_deg, seeing_arcsec, tau0_s
from archive_proc.association.executions import Execution, executions
from archive_proc.association.pairing import paired
from archive_proc.association.plan_check import TemplateFiles, completeness_of
from archive_proc.association.targets import TargetAssignment, resolve_targets
from archive_proc.association.values import Value, filter_of, values_of
from archive_proc.instruments.tables import Tables
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import FileId, GroupId, ObsId, TargetId, digest32
from archive_proc.model.observations import ClassifiedFrame, ExposureGroup, Issue, Observation, ObservationFile

_SEQUENCE_ROLES = ("OBJECT", "CENTER", "FLUX", "SKY")

_Setup = tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True)
class _Science:
    """Frames of one execution that are one observation's science."""

    frames: tuple[RawFrame, ...]
    mode: str
    reduced: bool
    setup: _Setup
    waffle: bool


def observations(
    classified: Sequence[ClassifiedFrame],
    groups: Sequence[ExposureGroup],
    tables: Tables,
    quarantined: frozenset[FileId] = frozenset(),
    targets: TargetAssignment | None = None,
) -> tuple[tuple[Observation, ...], tuple[Issue, ...]]:
    """All observations in order of time, IRDIS and IFS of one template paired, and issues of sequences.

    An observation is one execution of an OB by one arm in one science setup. A sequence of CENTER frames without any
    OBJECT is a continuous waffle: they are the science. Ids are made before quarantined files are taken out.

    Issues: AP-SEQ-001 an execution without science frames, AP-SEQ-002 all science files quarantined, AP-SEQ-003 a mode
    that is recognised and not reduced.
    """
    known = targets or resolve_targets(classified, tables)
    by_id = {one.frame.file_id: one for one in classified}
    group_of = {file_id: one.group_id for one in groups for file_id in one.file_ids}
    templates = TemplateFiles.of(one.frame for one in classified)
    sequence = [one.frame for one in classified if one.role in _SEQUENCE_ROLES]
    found: list[Observation] = []
    issues: list[Issue] = []
    for run in executions(sequence, known.of_file, tables):
        science = _science_of(run, by_id, tables)
        if not science:
            issues += _without_science(run, by_id)
        for one in science:
            made = _observation(run, one, by_id, group_of, known, templates, tables, quarantined)
            if made is None:
                issues.append(_all_quarantined(run, one))
                continue
            found.append(made)
            if not made.reduced:
                issues.append(_not_reduced(made))
    ordered = sorted(found, key=lambda one: (one.mjd_start, one.obs_id))
    pairs = paired(ordered)
    return tuple(replace(one, paired_obs_id=pairs.get(one.obs_id)) for one in ordered), tuple(issues)


def sequence_targets(found: Iterable[Observation], targets: TargetAssignment) -> Mapping[FileId, TargetId]:
    """Target of each file that has one: by its own pointing, SKY files by the observation they belong to."""
    of_file = dict(targets.of_file)
    for one in found:
        for entry in one.files:
            if one.target_id is not None:
                of_file.setdefault(entry.file_id, one.target_id)
    return of_file


def _science_of(run: Execution, by_id: Mapping[FileId, ClassifiedFrame], tables: Tables) -> list[_Science]:
    objects = [one for one in run.frames if by_id[one.file_id].role == "OBJECT"]
    found = [_Science(*one, waffle=False) for one in _by_setup(objects, by_id, tables)]
    # Light path of the OBJECT frames: CENTER frames of another path are not theirs.
    taken = {_path(one, tables) for one in objects}
    centers = [one for one in run.frames if by_id[one.file_id].role == "CENTER" and _path(one, tables) not in taken]
    found += [_Science(*one, waffle=True) for one in _by_setup(centers, by_id, tables) if _is_waffle(one[0], tables)]
    return found


def _by_setup(
    frames: Iterable[RawFrame], by_id: Mapping[FileId, ClassifiedFrame], tables: Tables
) -> list[tuple[tuple[RawFrame, ...], str, bool, _Setup]]:
    boxes: defaultdict[tuple[str, bool, _Setup], list[RawFrame]] = defaultdict(list)
    for one in frames:
        kind = by_id[one.file_id]
        columns = tables.grouping.setup.get(one.arm.value, ())
        boxes[kind.mode, kind.reduced, values_of(one, columns, tables)].append(one)
    return [(tuple(some), *key) for key, some in boxes.items()]


def _is_waffle(centers: Sequence[RawFrame], tables: Tables) -> bool:
    """Many CENTER files, or a plan that names many and no OBJECT: the list gives kinds in order, not one a file."""
    planned = [one.obstype_list.split() for one in centers if one.obstype_list]
    by_plan = any(kinds.count("C") >= tables.grouping.waffle_min_files and "O" not in kinds for kinds in planned)
    return by_plan or len(centers) >= tables.grouping.waffle_min_files


def _path(frame: RawFrame, tables: Tables) -> tuple[Value, str | None]:
    return filter_of(frame, tables), frame.coro_ir


def _observation(
    run: Execution,
    science: _Science,
    by_id: Mapping[FileId, ClassifiedFrame],
    group_of: Mapping[FileId, GroupId],
    targets: TargetAssignment,
    templates: TemplateFiles,
    tables: Tables,
    quarantined: frozenset[FileId],
) -> Observation | None:
    own = {one.file_id for one in science.frames}
    left = [one for one in science.frames if one.file_id not in quarantined]
    if not left:
        return None
    files = tuple(
        ObservationFile(one.file_id, by_id[one.file_id].role, group_of[one.file_id], one.file_id in own)
        for one in run.frames
        if one.file_id not in quarantined
        and one.file_id in group_of
        and (one.file_id in own or _accompanies(one, by_id[one.file_id].role, science, tables))
    )
    first = left[0]
    start = run.ob_start.isoformat() if run.ob_start else run.frames[0].file_id
    starts = [one.tpl_start for one in left if one.tpl_start is not None]
    pointed = (targets.of_file.get(one.file_id) for one in left)
    public = [one.release_date for one in left if one.release_date is not None]
    seen_through = filter_of(first, tables)
    return Observation(
        obs_id=ObsId(
            # The mode too: imaging and polarimetry of one OB may share every column of the setup.
            digest32("obs", run.arm.value, run.ob_id, start, science.mode, [list(pair) for pair in science.setup])
        ),
        arm=run.arm,
        target_id=next((one for one in pointed if one is not None), None),
        object_raw=first.object_raw,
        ob_id=run.ob_id,
        ob_start=run.ob_start,
        tpl_start=min(starts) if starts else None,
        prog_id=first.prog_id,
        night=first.night,
        period_date=first.period_date,
        setup=science.setup,
        mode=science.mode,
        reduced=science.reduced,
        files=files,
        mjd_start=left[0].mjd_obs,
        mjd_end=max(one.mjd_end for one in left),
        inst_filter=None if seen_through is None else str(seen_through),
        coro=first.coro_vis if first.arm is Arm.ZIMPOL else first.coro_ir,
        rot_mode=first.rot_mode,
        dit_s=first.dit_s,
        dit_ms=first.dit_ms,
        ndit=first.ndit,
        waffle=science.waffle,
        rotation_deg=rotation_deg(left),
        seeing=seeing_arcsec(left),
        tau0_s=tau0_s(left),
        ao_open_fraction=ao_open_fraction(left),
        complete=completeness_of(left, templates, tables),
        quarantined_science=tuple(one.file_id for one in science.frames if one.file_id in quarantined),
        public_at=max(public) if public else None,
        paired_obs_id=None,
    )


def _accompanies(frame: RawFrame, role: str, science: _Science, tables: Tables) -> bool:
    """CENTER of the same light path; FLUX and SKY of the same filter (their DIT and ND may differ)."""
    first = science.frames[0]
    if role == "CENTER":
        return _path(frame, tables) == _path(first, tables)
    return role in ("FLUX", "SKY") and filter_of(frame, tables) == filter_of(first, tables)


def _without_science(run: Execution, by_id: Mapping[FileId, ClassifiedFrame]) -> list[Issue]:
    kinds = sorted({by_id[one.file_id].role for one in run.frames})
    if kinds == ["SKY"] or not any(by_id[one.file_id].reduced for one in run.frames):
        return []  # a sky offset or a mode that is only named: nothing is missing
    first = run.frames[0].file_id
    return [
        Issue(
            code="AP-SEQ-001",
            severity="warning",
            subject_kind="file",
            subject_id=first,
            message=f"OB {run.ob_id}, {run.frames[0].night}: {', '.join(kinds)} of {run.arm} and no OBJECT, aborted",
            remedy="none needed if the OB was repeated; else find the missing files",
            file_id=first,
        )
    ]


def _all_quarantined(run: Execution, science: _Science) -> Issue:
    first = science.frames[0].file_id
    return Issue(
        code="AP-SEQ-002",
        severity="note",
        subject_kind="file",
        subject_id=first,
        message=f"all {len(science.frames)} science files of OB {run.ob_id}, {run.frames[0].night}, are quarantined",
        remedy="remove the override to reduce it",
        file_id=first,
    )


def _not_reduced(one: Observation) -> Issue:
    return Issue(
        code="AP-SEQ-003",
        severity="note",
        subject_kind="observation",
        subject_id=one.obs_id,
        message=f"{one.mode} sequence of {one.object_raw or 'an unnamed target'}, {one.night}: recognised, not reduced",
        remedy="none: this mode has no recipes",
        obs_id=one.obs_id,
    )
