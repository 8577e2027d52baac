"""Pictures and the report of a real night."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nights
import numpy as np
import pytest
from PIL import Image

from archive_proc.archive import Archive
from archive_proc.simulate.truth import Truth


@pytest.fixture(scope="session")
def reported(reduced: Archive, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """The reduced night with its report. Read it only."""
    archive = Archive.open(nights.copied(reduced.root, tmp_path_factory.mktemp("reported") / "A"))
    archive.report(site=archive.site(nights.SERIAL))
    return archive


def pictures(archive: Archive) -> dict[str, bytes]:
    root = archive.layout.quicklook
    return {one.relative_to(root).as_posix(): one.read_bytes() for one in sorted(root.rglob("*.png"))}


def report_of(archive: Archive) -> dict[str, object]:
    [listing] = archive.layout.runs.glob("*/report/report.json")
    return json.loads(listing.read_text())


def test_every_observation_and_every_master_has_its_page(reported: Archive) -> None:
    drawn = pictures(reported)
    current = reported.query(
        "SELECT subject_kind, subject_id, product_type, preset FROM products WHERE is_current AND state = 'ok'"
    ).to_pylist()
    for row in current:
        kind = "observation" if row["subject_kind"] == "observation" else row["product_type"]
        assert f"{row['subject_id']}/{kind}-{row['preset']}.png" in drawn
    assert not list(reported.layout.quicklook.glob(".drawing-*")), "scratch is left"


def test_thumbnails_are_small_and_pages_are_png_without_metadata(reported: Archive) -> None:
    for name, content in pictures(reported).items():
        if "thumbnail-" in name:
            assert len(content) <= 12_000, name
        with Image.open(reported.layout.quicklook / name) as image:
            image.load()
            assert image.format == "PNG"
            assert not image.info.keys() - {"gamma", "transparency"}, image.info


def test_drawing_again_gives_the_same_bytes_in_processes_of_their_own(reported: Archive, tmp_path: Path) -> None:
    again = Archive.open(nights.copied(reported.root, tmp_path / "B"))
    observation = next(again.layout.quicklook.rglob("observation-*.png")).parent
    masters = [one for one in sorted(again.layout.quicklook.iterdir()) if one != observation]
    for one in (observation, *masters[:2]):
        shutil.rmtree(one)
    again.report(site=again.site("local", 2))
    assert pictures(again) == pictures(reported)


def test_what_is_up_to_date_is_not_drawn_again(reported: Archive, tmp_path: Path) -> None:
    archive = Archive.open(nights.copied(reported.root, tmp_path / "A"))
    lost = next(archive.layout.quicklook.rglob("observation-*.png"))
    lost.unlink()
    before = {one: one.stat().st_mtime_ns for one in archive.layout.quicklook.rglob("*.png")}
    written = archive.report(site=archive.site(nights.SERIAL))
    assert written.report.drawing.drawn == 1
    assert written.report.drawing.stood == len(list(archive.layout.quicklook.iterdir())) - 1
    assert lost.is_file()
    changed = {one.parent for one, at in before.items() if one.stat().st_mtime_ns != at}
    assert changed == {lost.parent}


def test_counts_of_the_report_add_up_to_the_plan(reported: Archive) -> None:
    report = report_of(reported)
    counts = report["counts"]
    assert sum(counts.values()) == report["total"] > 0
    assert sum(one["planned"] for one in report["recipes"]) == report["total"]
    for one in report["recipes"]:
        assert one["planned"] == sum(one[name] for name in ("made", "stood", "failed", "blocked", "other"))
    assert report["exit_status"] == 0
    assert [one["kind"] for one in report["observations"]] == ["observation"]


def test_page_and_listing_say_the_same(reported: Archive) -> None:
    report = report_of(reported)
    [index] = reported.layout.runs.glob("*/report/index.html")
    text = index.read_text()
    for one in (*report["observations"], *report["masters"]):
        assert one["subject_id"][:12] in text
        assert (index.parent / one["page"]).resolve().is_file()
        assert (index.parent / one["thumbnail"]).resolve().is_file()
        assert f'href="{one["page"]}"' in text
        assert f'src="{one["thumbnail"]}"' in text
    for command, _ in report["reproduce"]:
        assert command in text.replace("&#39;", "'")
    assert "http" not in text.replace("http-equiv", "")
    assert "<script" not in text


def test_a_report_in_its_archive_says_nowhere_where_archive_and_raw_files_lie(reported: Archive) -> None:
    places = [str(reported.root), *map(str, reported.settings.raw_roots.values())]
    [folder] = reported.layout.runs.glob("*/report")
    written = [*folder.iterdir(), *reported.layout.quicklook.rglob("*.json")]
    assert len(written) > 2
    assert [one.name for one in written if any(place in one.read_text() for place in places)] == []


def test_a_report_elsewhere_needs_nothing_of_the_archive(reported: Archive, tmp_path: Path) -> None:
    written = reported.report(directory=tmp_path / "out", site=reported.site(nights.SERIAL))
    assert written.index.parent == tmp_path / "out"
    for one in (*written.report.observations, *written.report.masters):
        assert not one.page.startswith(("/", ".."))
        assert (tmp_path / "out" / one.page).is_file()
        assert (tmp_path / "out" / one.thumbnail).is_file()


def test_a_missing_product_is_said_in_words_not_left_blank(reported: Archive, night: Truth, tmp_path: Path) -> None:
    """Raw files gone, a product directory gone: the page is drawn all the same, and has ink where images were."""
    archive = Archive.open(nights.copied(reported.root, tmp_path / "A"))
    [row] = archive.query(
        "SELECT subject_id, store_path FROM products WHERE product_type = 'irdis_centered_cube' AND is_current"
    ).to_pylist()
    shutil.rmtree(archive.root / row["store_path"])
    settings = archive.layout.archive_toml.read_text()
    archive.layout.archive_toml.write_text(settings.replace(str(night.directory), str(tmp_path / "nowhere")))
    archive = Archive.open(archive.root)
    for stamp in (archive.layout.quicklook / row["subject_id"]).glob("stamp-*.json"):
        stamp.unlink()
    archive.report(site=archive.site(nights.SERIAL))
    page = archive.layout.quicklook / row["subject_id"] / "observation-default.png"
    before = reported.layout.quicklook / row["subject_id"] / "observation-default.png"
    new, old = (np.asarray(Image.open(one).convert("L")) for one in (page, before))
    for left, top in ((74, 150), (74, 508), (386, 508), (74, 866)):
        panel, was = new[top : top + 290, left : left + 290], old[top : top + 290, left : left + 290]
        assert 0.001 < (panel < 100).mean() < 0.2, "words, and nothing but words"
        assert not np.array_equal(panel, was)


def test_report_verb_prints_the_path_and_exits_as_status_does(reported: Archive) -> None:
    done = nights.call(reported.root, "report", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert Path(reported.root / done.stdout.splitlines()[-1]).name == "index.html"
    assert " 0 subjects drawn" in done.stdout
    nothing = nights.call(reported.root, "report", "0000")
    assert nothing.returncode == 8
    assert "AP-CLI-009" in nothing.stderr
