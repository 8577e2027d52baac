"""Frame types: exactly one row of the table for each raw frame, or an issue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from archive_proc.association.values import column_value
from archive_proc.instruments.rows import FrameTypeRow, pattern_fits
from archive_proc.instruments.tables import Tables
from archive_proc.model.frames import RawFrame
from archive_proc.model.observations import ClassifiedFrame, Issue


def classify(frames: Iterable[RawFrame], tables: Tables) -> tuple[tuple[ClassifiedFrame, ...], tuple[Issue, ...]]:
    """Frames with their types in order of time, and an issue for each frame that stays out.

    AP-CLS-001: no row matches. AP-CLS-002: two rows match. AP-CLS-003: a column that the row requires is missing.
    """
    columns = sorted({column for row in tables.frame_types for column in row.when})
    known: dict[tuple[object, ...], tuple[FrameTypeRow, ...]] = {}
    classified: list[ClassifiedFrame] = []
    issues: list[Issue] = []
    for frame in sorted(frames, key=lambda one: (one.mjd_obs, one.file_id)):
        # Frames of an archive have a few hundred different signatures: match each once.
        key = (frame.arm, frame.dpr_catg, frame.dpr_type, frame.dpr_tech, *(getattr(frame, one) for one in columns))
        if key not in known:
            known[key] = tuple(row for row in tables.frame_types if _fits(row, frame, tables))
        rows = known[key]
        if len(rows) != 1:
            issues.append(_unclear(frame, rows, tables))
            continue
        row = rows[0]
        missing = [column for column in row.requires if column_value(frame, column, tables) is None]
        if missing:
            issues.append(_incomplete(frame, row, missing))
            continue
        classified.append(ClassifiedFrame(frame, row.name, row.role, row.mode, row.reduced))
    return tuple(classified), tuple(issues)


def _criteria(row: FrameTypeRow, frame: RawFrame, tables: Tables) -> list[tuple[str, bool, str]]:
    """(criterion, passed, what was wanted) in the order of the table."""
    return [
        ("arm", pattern_fits(row.arms, frame.arm.value), "|".join(row.arms)),
        ("DPR CATG", pattern_fits(row.catg, frame.dpr_catg), "|".join(row.catg)),
        ("DPR TYPE", pattern_fits(row.type, frame.dpr_type), "|".join(row.type)),
        ("DPR TECH", pattern_fits(row.tech, frame.dpr_tech), "|".join(row.tech)),
        *(
            (column, pattern_fits(patterns, column_value(frame, column, tables)), "|".join(patterns))
            for column, patterns in row.when.items()
        ),
    ]


def _fits(row: FrameTypeRow, frame: RawFrame, tables: Tables) -> bool:
    # A header without DPR TYPE fits nothing, not even a row that only says what TYPE must not be.
    return frame.dpr_type is not None and all(passed for _, passed, _ in _criteria(row, frame, tables))


def _words(frame: RawFrame) -> str:
    return f"{frame.arm} {frame.dpr_catg or '?'} {frame.dpr_type or '?'} {frame.dpr_tech or '?'}"


def _unclear(frame: RawFrame, rows: Sequence[FrameTypeRow], tables: Tables) -> Issue:
    if rows:
        names = " and ".join(row.name for row in rows)
        code, message = "AP-CLS-002", f"{_words(frame)} matches {names} of frame_types.toml"
        remedy = "make the rows exclude each other"
    else:
        nearest = max(tables.frame_types, key=lambda row: _score(row, frame, tables))
        failed = next((one for one in _criteria(nearest, frame, tables) if not one[1]), None)
        near = f"; nearest {nearest.name}, which wants {failed[0]} {failed[2]}" if failed else ""
        lack = "DPR TYPE is missing: " if frame.dpr_type is None else ""
        code, message = "AP-CLS-001", f"{lack}{_words(frame)} matches no row of frame_types.toml{near}"
        remedy = "add a row, or correct the header by an override of kind header"
    return Issue(
        code=code,
        severity="warning",
        subject_kind="file",
        subject_id=frame.file_id,
        message=message,
        remedy=remedy,
        file_id=frame.file_id,
    )


def _score(row: FrameTypeRow, frame: RawFrame, tables: Tables) -> float:
    """How near a row is: what it agrees in, and how alike the DPR TYPE is spelt."""
    weights = {"arm": 8.0, "DPR CATG": 5.0, "DPR TYPE": 6.0, "DPR TECH": 2.0}
    agreed = sum(weights.get(name, 1.0) for name, passed, _ in _criteria(row, frame, tables) if passed)
    given = frame.dpr_type or ""
    spelt = max((SequenceMatcher(None, given, one).ratio() for one in row.type if not one.startswith("!")), default=0.0)
    return agreed + 3.0 * spelt


def _incomplete(frame: RawFrame, row: FrameTypeRow, missing: Sequence[str]) -> Issue:
    return Issue(
        code="AP-CLS-003",
        severity="blocking" if row.reduced else "warning",
        subject_kind="file",
        subject_id=frame.file_id,
        message=f"{row.name} needs {', '.join(missing)}, which the header does not give; the frame stays out",
        remedy="give the value by an override of kind header, or quarantine the file",
        file_id=frame.file_id,
    )
