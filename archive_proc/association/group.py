"""Exposure groups: frames of one type that share its keys, of one template or calibration block."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from archive_proc.association.executions import Execution, Place, cut_in_time, executions, in_time
from archive_proc.association.targets import TargetAssignment, resolve_targets
from archive_proc.association.values import Value, values_of
from archive_proc.instruments.rows import FrameTypeRow, pattern_fits
from archive_proc.instruments.tables import Tables
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId, GroupId, digest32
from archive_proc.model.observations import ClassifiedFrame, ExposureGroup

_SEQUENCE_ROLES = ("OBJECT", "CENTER", "FLUX", "SKY")
_CALIBRATION_ROLES = ("CALIB", "OTHER", "TELEMETRY")

_Keys = tuple[tuple[str, Value], ...]


def group(
    classified: Sequence[ClassifiedFrame],
    tables: Tables,
    quarantined: frozenset[FileId] = frozenset(),
    targets: TargetAssignment | None = None,
) -> tuple[ExposureGroup, ...]:
    """All exposure groups, in order of time; the same for any order of frames. `targets`: of these, where known.

    Ids are made from all frames, then quarantined ones are taken out: taking a bad dark out leaves its group's id as it
    was. Groups that lose all their files are left out.
    """
    by_id = {one.frame.file_id: one for one in classified}
    rows: dict[str, FrameTypeRow] = {}
    for row in tables.frame_types:
        rows.setdefault(row.name, row)
    place_of: Mapping[FileId, Place] = (targets or resolve_targets(classified, tables)).of_file
    run_of: dict[FileId, Execution] = {}
    for run in executions((one.frame for one in classified if one.role in _SEQUENCE_ROLES), place_of, tables):
        run_of.update((one.file_id, run) for one in run.frames)
    boxes: defaultdict[tuple[str, str, int | None, _Keys], list[RawFrame]] = defaultdict(list)
    for one in classified:
        row = rows[one.frame_type]
        keys = values_of(one.frame, row.group_keys, tables)
        boxes[one.frame_type, _box(one, row, run_of, place_of, tables), one.frame.ob_id, keys].append(one.frame)
    parts: defaultdict[tuple[GroupId, str, int | None, _Keys], list[RawFrame]] = defaultdict(list)
    for (name, box, ob_id, keys), frames in boxes.items():
        for part in _blocks(frames, box, tables):
            group_id = _group_id(part, name, box, ob_id, keys)
            # Headers that contradict each other put frames of one template in two boxes: what has one id is one group.
            parts[group_id, name, ob_id, keys] += part
    found = []
    for (group_id, name, ob_id, keys), part in parts.items():
        made = _group(group_id, in_time(part), rows[name], by_id, ob_id, keys, quarantined)
        if made is not None:
            found.append(made)
    return tuple(sorted(found, key=lambda one: (one.mjd_start, one.group_id)))


def _box(
    one: ClassifiedFrame,
    row: FrameTypeRow,
    run_of: Mapping[FileId, Execution],
    place_of: Mapping[FileId, Place],
    tables: Tables,
) -> str:
    """What frames must share beside type, OB id and keys; `block` and `cut` are cut in time afterwards.

    `part`: of a template that was cut in time already, so that its start does not name the group.
    """
    frame = one.frame
    if row.block == "ob":
        run = run_of.get(frame.file_id)
        if run is None:
            return "cut"
        return f"{'part' if run.ob_start is None else 'ob'} {run.key}"
    if one.role in _CALIBRATION_ROLES and is_generic(frame, tables):
        return "block"
    if frame.tpl_start is not None:
        return f"template {frame.tpl_start.isoformat()}"
    return f"cut {frame.prog_id} {place_of.get(frame.file_id) or frame.object_raw}" if frame.ob_id is None else "cut"


def is_generic(frame: RawFrame, tables: Tables) -> bool:
    """Whether a calibration belongs to the generic calibration OB (or to none)."""
    limits = tables.grouping
    return (
        frame.ob_id is None
        or frame.ob_id in limits.generic_ob_ids
        or (frame.prog_id is not None and pattern_fits(limits.generic_programs, frame.prog_id))
    )


def _blocks(frames: Sequence[RawFrame], box: str, tables: Tables) -> list[list[RawFrame]]:
    if box == "block":
        return _chained(frames, tables.grouping.generic_gap_hours / 24.0)
    if box.startswith("cut"):
        return cut_in_time(frames, tables)
    return [in_time(frames)]


def _chained(frames: Iterable[RawFrame], gap: float) -> list[list[RawFrame]]:
    """Templates in order of time, joined while less than `gap` days pass between them. A template is never cut."""
    templates: defaultdict[object, list[RawFrame]] = defaultdict(list)
    for one in frames:
        templates[one.tpl_start or one.file_id].append(one)
    parts: list[list[RawFrame]] = []
    end = float("-inf")
    for template in sorted((in_time(some) for some in templates.values()), key=lambda t: (t[0].mjd_obs, t[0].file_id)):
        if not parts or template[0].mjd_obs - end >= gap:
            parts.append([])
        parts[-1] += template
        end = max(end, *(one.mjd_end for one in template))
    return [in_time(part) for part in parts]


def _group_id(frames: Sequence[RawFrame], name: str, box: str, ob_id: int | None, keys: _Keys) -> GroupId:
    """From the first template start; from the first file where there is none, or where a template may be cut in two."""
    starts = [one.tpl_start for one in frames if one.tpl_start is not None]
    by_file = not starts or box.startswith(("cut", "part"))
    began = frames[0].file_id if by_file else min(starts).isoformat()
    return GroupId(digest32("group", frames[0].arm.value, name, ob_id, began, [value for _, value in keys]))


def _group(
    group_id: GroupId,
    frames: Sequence[RawFrame],
    row: FrameTypeRow,
    by_id: Mapping[FileId, ClassifiedFrame],
    ob_id: int | None,
    keys: _Keys,
    quarantined: frozenset[FileId],
) -> ExposureGroup | None:
    first = frames[0]
    left = [one for one in frames if one.file_id not in quarantined]
    if not left:
        return None
    kind = by_id[first.file_id]
    return ExposureGroup(
        group_id=group_id,
        arm=first.arm,
        frame_type=row.name,
        role=row.role,
        keys=keys,
        file_ids=tuple(one.file_id for one in left),
        ob_id=ob_id,
        night=first.night,
        period_date=first.period_date,
        mjd_start=left[0].mjd_obs,
        mjd_end=max(one.mjd_end for one in left),
        mode=kind.mode,
        reduced=kind.reduced,
    )
