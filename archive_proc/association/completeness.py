"""What is incomplete: files, templates, sequences and calibrations, as coded issues with remedies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from archive_proc.association.plan_check import TemplateFiles, is_two_arm, template_complete
from archive_proc.instruments.tables import Tables
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.observations import ClassifiedFrame, Issue, Observation

_ON_STAR = ("OBJECT", "CENTER", "FLUX")
_EXPECTED_AXES = {Arm.IRDIS: (2048, 1024), Arm.IFS: (2048, 2048)}
"""(NAXIS1, NAXIS2) of a full frame."""


def check(
    classified: Sequence[ClassifiedFrame],
    observations: Sequence[Observation],
    tables: Tables,
    other: Iterable[Issue] = (),
) -> tuple[Issue, ...]:
    """All issues of an archive: those given (of ingest, classification, sequences, associations) and its own, sorted.

    Own ones. AP-SEQ-010: a cube with fewer or more planes than NDIT. AP-SEQ-011: a template with fewer files than
    planned. AP-SEQ-012: an OB that was repeated. AP-SEQ-013: science without a position. AP-SEQ-014: a truncated file.
    AP-SEQ-015: a frame of another size than the detector's. AP-SEQ-016: a filter without a row in the tables.
    """
    found = list(other)
    for one in classified:
        if one.reduced and one.role != "OTHER":
            found += _of_frame(one, tables)
    found += _of_templates(classified, tables)
    found += _repeated(observations)
    unique = {(i.code, i.subject_kind, i.subject_id, i.message): i for i in found}
    return tuple(unique[key] for key in sorted(unique))


def _of_frame(one: ClassifiedFrame, tables: Tables) -> list[Issue]:
    frame = one.frame
    found = []
    if frame.truncated:
        message = f"shorter than its header says: {frame.declared_bytes} bytes of pixels promised"
        found.append(_file("AP-SEQ-014", "blocking", frame, message, "fetch the file again; it is left out"))
    if frame.ndit is not None and frame.n_planes != frame.ndit:
        cut = "aborted cube" if frame.n_planes < frame.ndit else "more planes than planned"
        message = f"{cut}: {frame.n_planes} planes in the file, NDIT {frame.ndit}"
        remedy = "none needed: the planes that are there are used" if frame.n_planes else "quarantine the file"
        found.append(_file("AP-SEQ-010", "warning", frame, message, remedy))
    wanted = _EXPECTED_AXES.get(frame.arm)
    if wanted and frame.binning:
        wanted = (wanted[0] // frame.binning, wanted[1] // frame.binning)
    if wanted and frame.naxis1 and frame.naxis2 and (frame.naxis1, frame.naxis2) != wanted:
        message = f"{frame.naxis1} x {frame.naxis2} pixels; {frame.arm} has {wanted[0]} x {wanted[1]}"
        found.append(_file("AP-SEQ-015", "warning", frame, message, "quarantine windowed or test frames"))
    if one.role in _ON_STAR and frame.ra_deg is None and frame.drot2_ra is None:
        message = "neither RA/DEC nor INS4 DROT2 RA/DEC: no target, no angles"
        found.append(_file("AP-SEQ-013", "warning", frame, message, "give RA and DEC by an override of kind header"))
    if frame.arm is Arm.IRDIS and one.role in _ON_STAR and frame.inst_filter not in (None, *tables.irdis.filters):
        message = f"filter {frame.inst_filter} has no row in irdis.toml"
        found.append(_file("AP-SEQ-016", "warning", frame, message, "add the row, with its reference"))
    return found


def _of_templates(classified: Sequence[ClassifiedFrame], tables: Tables) -> list[Issue]:
    """One issue a template whose files are known not to be all there."""
    templates = TemplateFiles.of(one.frame for one in classified)
    reduced = {one.frame.file_id for one in classified if one.reduced}
    found = []
    for frames in templates.of_template.values():
        first = min(frames, key=lambda one: (one.mjd_obs, one.file_id))
        if (
            not any(one.file_id in reduced for one in frames)
            or template_complete(first, templates, tables) is not False
        ):
            continue
        numbers, planned, _ = templates.counted(first)
        missing = sorted(set(range(1, (planned or 0) + 1)) - numbers)
        tail = missing == list(range(max(numbers) + 1, (planned or 0) + 1))
        what = "aborted" if tail else "gaps"
        both = " of both arms" if is_two_arm(first, tables) else ""
        message = (
            f"{what}: {len(numbers)} of {planned} exposures{both} of template {first.tpl_id or ''} "
            f"started {first.tpl_start}, OB {first.ob_id}; missing {_shortened(missing)}"
        )
        remedy = "none needed if the OB was aborted; else find the missing files"
        found.append(_file("AP-SEQ-011", "warning", first, message, remedy))
    return found


def _repeated(observations: Sequence[Observation]) -> list[Issue]:
    by_ob: defaultdict[tuple[object, ...], list[Observation]] = defaultdict(list)
    for one in observations:
        if one.ob_id is not None and one.reduced:
            by_ob[one.arm, one.ob_id, one.setup].append(one)
    found = []
    for several in by_ob.values():
        ordered = sorted(several, key=lambda one: (one.mjd_start, one.obs_id))
        for one in ordered[1:]:
            nights = ", ".join(each.night.isoformat() for each in ordered)
            found.append(
                Issue(
                    code="AP-SEQ-012",
                    severity="note",
                    subject_kind="observation",
                    subject_id=one.obs_id,
                    message=f"OB {one.ob_id} was executed {len(ordered)} times: {nights}",
                    remedy="none needed: each execution is an observation of its own",
                    obs_id=one.obs_id,
                )
            )
    return found


def _shortened(numbers: Sequence[int]) -> str:
    """`3, 5-9`."""
    parts: list[list[int]] = []
    for one in numbers:
        if parts and one == parts[-1][1] + 1:
            parts[-1][1] = one
        else:
            parts.append([one, one])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def _file(code: str, severity: str, frame: RawFrame, message: str, remedy: str) -> Issue:
    return Issue(
        code=code,
        severity=severity,
        subject_kind="file",
        subject_id=frame.file_id,
        message=message,
        remedy=remedy,
        file_id=frame.file_id,
    )
