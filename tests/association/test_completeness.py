"""What `check` lists: coded, sorted, with a remedy each."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from archive_proc.association.completeness import check
from archive_proc.instruments.tables import Tables
from archive_proc.model.observations import Issue

from .conftest import EVENING, Frames, Understand, Understood


def issues(found: Understood, tables: Tables) -> tuple[Issue, ...]:
    return check(found.classified, found.observations, tables, found.issues)


def test_complete_night_has_no_issue(make: Frames, understand: Understand, tables: Tables) -> None:
    assert not issues(understand([*make.sequence(), *make.morning()]), tables)


@pytest.mark.parametrize(
    ("facts", "code", "severity"),
    [
        ({"truncated": True, "declared_bytes": 7}, "AP-SEQ-014", "blocking"),
        ({"ndit": 16}, "AP-SEQ-010", "warning"),
        ({"ndit": 1}, "AP-SEQ-010", "warning"),
        ({"naxis1": 512, "naxis2": 512}, "AP-SEQ-015", "warning"),
        ({"inst_filter": "NB_XYZ"}, "AP-SEQ-016", "warning"),
        ({"ra_deg": None}, "AP-SEQ-013", "warning"),
    ],
)
def test_file_problems_name_file_and_remedy(
    make: Frames, understand: Understand, tables: Tables, facts: dict[str, object], code: str, severity: str
) -> None:
    frames = make.sequence()
    frames[3] = replace(frames[3], **facts)  # type: ignore[arg-type]  # the dataclass's own fields
    one = next(one for one in issues(understand([*frames, *make.morning()]), tables) if one.code == code)
    assert (one.subject_id, one.severity) == (frames[3].file_id, severity)
    assert one.remedy


def test_missing_calibrations_are_issues_with_their_nearest_candidate(
    make: Frames, understand: Understand, tables: Tables
) -> None:
    found = issues(understand(make.sequence(kinds="O", dit_s=64.0)), tables)
    assert {"AP-CAL-001", "AP-CAL-003", "AP-CAL-004", "AP-CAL-005"} <= {one.code for one in found}
    assert all(one.remedy and one.message for one in found)
    assert all(one.obs_id for one in found if one.code.startswith("AP-CAL"))


def test_gap_in_exposure_numbers_is_named(make: Frames, understand: Understand, tables: Tables) -> None:
    frames = make.sequence(kinds="FCOOOOCF")
    found = issues(understand(frames[:3] + frames[5:]), tables)
    one = next(one for one in found if one.code == "AP-SEQ-011")
    assert "gaps" in one.message
    assert "missing 4-5" in one.message


def test_issues_are_sorted_and_told_once(make: Frames, understand: Understand, tables: Tables) -> None:
    found = understand(make.sequence(EVENING + dt.timedelta(hours=1), kinds="O"))
    twice = check(found.classified, found.observations, tables, (*found.issues, *found.issues))
    assert list(twice) == sorted(twice, key=lambda one: (one.code, one.subject_kind, one.subject_id, one.message))
    assert len(twice) == len(set(twice))
