"""A campaign's list: kept, compared at every look, missing and surplus named."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from archive_proc.errors import InputError
from archive_proc.flow.expecting import expect, expectation_issues, expected_manifests
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import FileId
from archive_proc.storage.layout import Layout


def frame(name: str) -> RawFrame:
    start = dt.datetime(2017, 9, 28, 8, 0)
    return RawFrame(
        file_id=FileId(name), content_id="00" * 32, uri=f"raw/{name}.fits", arm=Arm.IRDIS, date_obs=start,
        mjd_obs=58024.3, mjd_end=58024.3, night=start.date(), period_date=99,
    )  # fmt: skip


HERE, GONE, MORE = (f"SPHER.2017-09-28T08:09:{second}.200" for second in (43, 44, 45))


def test_a_missing_and_a_surplus_file_are_named(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "A")
    (tmp_path / "P99.txt").write_text(f"# campaign\n{HERE}\n{GONE.replace(':', '_')}.fits.Z\n")
    expect(layout, tmp_path / "P99.txt")
    issues = expectation_issues(expected_manifests(layout), [frame(HERE), frame(MORE)])
    assert [(one.code, one.file_id) for one in issues] == [("AP-ING-040", GONE), ("AP-ING-041", MORE)]
    assert "P99.txt" in issues[0].message


def test_the_same_list_twice_is_one_and_no_list_expects_nothing(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "A")
    assert expectation_issues(expected_manifests(layout), [frame(HERE)]) == ()
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(f"{HERE}\n")
        expect(layout, tmp_path / name)
    assert len(expected_manifests(layout)) == 1


def test_a_list_without_names_is_refused_and_not_kept(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("hello\n")
    with pytest.raises(InputError, match="AP-ING-042"):
        expect(Layout(tmp_path / "A"), tmp_path / "bad.txt")
    assert expected_manifests(Layout(tmp_path / "A")) == ()
