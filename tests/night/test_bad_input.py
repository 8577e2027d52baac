"""Bad files, missing calibrations: each is named with a remedy, and the rest of the night finishes."""

from __future__ import annotations

from pathlib import Path

import nights
import pytest

from archive_proc.archive import Archive
from archive_proc.errors import NotFoundError
from archive_proc.simulate import broken
from archive_proc.simulate.truth import Truth


def linked_night(night: Truth, to: Path, *, without: tuple[str, ...] = ()) -> Path:
    """The night's files in another directory, but for some DPR types."""
    to.mkdir()
    for file in sorted(night.directory.iterdir()):
        cards, _ = broken.split_header(file)
        kind = next(card.split("'")[1].strip() for card in cards if broken.keyword(card) == "DPR TYPE")
        if kind not in without:
            (to / file.name).hardlink_to(file)
    return to


def codes(archive: Archive) -> dict[str, str]:
    return {one.code: one.severity for one in archive.check(nights.EVERYTHING)}


def test_an_empty_directory_is_not_found(tmp_path: Path) -> None:
    archive = Archive.init(tmp_path / "A")
    (tmp_path / "raw").mkdir()
    with pytest.raises(NotFoundError, match="AP-CLI-008"):
        archive.ingest([tmp_path / "raw"], jobs=1)
    done = nights.call(archive.root, "run")
    assert done.returncode == 8


def test_bad_files_are_named_and_the_night_finishes_also_without_flux(night: Truth, tmp_path: Path) -> None:
    raw = linked_night(night, tmp_path / "raw", without=("OBJECT,FLUX",))
    objects = sorted(night.directory.iterdir())
    good = objects[0]
    broken.truncated(good, raw / "SPHER.2017-09-29T20:00:00.001.fits")
    broken.zero_bytes(raw / "SPHER.2017-09-29T20:00:00.002.fits")
    broken.html_page(raw / "SPHER.2017-09-29T20:00:00.003.fits")
    broken.without_end(good, raw / "SPHER.2017-09-29T20:00:00.004.fits")
    (raw / "notes.txt").write_text("seeing was fine")
    archive = Archive.init(tmp_path / "A")
    done = nights.call(archive.root, "ingest", str(raw))
    assert done.returncode == 4
    for name in ("00.002", "00.003", "00.004"):
        assert name in done.stdout
    assert "1 not raw SPHERE frames" in done.stdout
    archive = Archive.open(archive.root)
    _, outcome = nights.run_serial(archive)
    assert outcome.exit_status == 0, [one.message for one in outcome.failures]
    assert len(list(Archive.open(archive.root).products("irdis_centered_cube"))) == 1


def test_the_same_name_with_other_content_is_an_issue_and_overwrites_nothing(night: Truth, tmp_path: Path) -> None:
    archive = nights.archive_of(tmp_path / "A", night.directory)
    before = {one.file_id: one.content_id for one in archive.campaign.raw_frames}
    good = sorted(night.directory.iterdir())[0]
    other = tmp_path / "again"
    other.mkdir()
    broken.with_keyword(good, other / good.name, "OBJECT", "SOMETHING ELSE")
    intake = archive.ingest([other], jobs=1)
    assert [one.code for one in intake.result.conflicts] == ["AP-ING-010"]
    archive = Archive.open(archive.root)
    assert {one.file_id: one.content_id for one in archive.campaign.raw_frames} == before
    assert "AP-ING-010" in codes(archive)


@pytest.mark.parametrize("kind", ["OBJECT,CENTER", "OBJECT,FLUX", "FLAT,LAMP", "SKY"])
def test_what_is_missing_is_an_issue_with_a_remedy(night: Truth, tmp_path: Path, kind: str) -> None:
    archive = nights.archive_of(tmp_path / "A", linked_night(night, tmp_path / "raw", without=(kind,)))
    issues = archive.check(nights.EVERYTHING)
    word = {"OBJECT,CENTER": "center", "OBJECT,FLUX": "flux", "FLAT,LAMP": "flat", "SKY": ""}[kind]
    found = [one for one in issues if one.code.startswith("AP-CAL") and f"no {word}" in one.message]
    plan = archive.plan(nights.EVERYTHING)
    if kind == "SKY":  # in H the dark stands in: nothing is missing
        assert not plan.not_planned
    else:
        assert found
        assert all(one.remedy for one in found)
    if kind in ("OBJECT,CENTER", "FLAT,LAMP"):
        assert {one.code for one in plan.not_planned} <= {one.code for one in issues}
        assert plan.not_planned


def test_other_pixels_under_one_header_fail_their_processes_and_nothing_else(
    reduced_copy: Archive, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    archive = nights.with_raw_files_of_its_own(reduced_copy, raw)
    # Its tracks have read every plane, and say what they were like.
    nights.without_products(archive, "recipe IN ('irdis_science', 'irdis_centered')", tmp_path / "gone")
    (uri, *_) = archive.query("SELECT uri FROM files WHERE dpr_type = 'OBJECT' ORDER BY uri")["uri"].to_pylist()
    path = raw / Path(uri).name
    content = bytearray(path.read_bytes())
    content[-2_000_000] ^= 255
    path.write_bytes(content)
    _, outcome = nights.run_serial(Archive.open(archive.root))
    assert outcome.exit_status == 3
    assert [(one.recipe, one.cause) for one in outcome.failures] == [("irdis_science", "data")]
    assert path.stem in outcome.failures[0].message + outcome.failures[0].subject
    assert len(outcome.blocked) == 1, "the centred cube waits for it, and says so"
