"""`verify` finds what does not fit and is silent where all is well."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import making

from archive_proc.catalog.standing import standing
from archive_proc.catalog.verify import verify
from archive_proc.flow.publish import publish
from archive_proc.planning.known import KnownProcess, Slot

if TYPE_CHECKING:
    from conftest import Published


def codes(published: Published, *, deep: bool = False) -> set[tuple[str, str]]:
    return {(one.code, one.severity) for one in verify(published.layout, deep=deep)}


def loosen(path: Path) -> None:
    for one in [path, *path.rglob("*")]:
        one.chmod(0o755)


def test_sound_archive_is_clean(published: Published) -> None:
    assert verify(published.layout, deep=True) == ()


def test_edited_product_is_found_by_size_or_deep(own: Published) -> None:
    directory = own.layout.product_dir(own.new.cube.process_id)
    loosen(directory)
    log = directory / "log.txt"
    log.write_text("dune\n")
    assert codes(own) == set()
    assert codes(own, deep=True) == {("AP-STO-024", "blocking")}
    log.write_text("longer than it was")
    assert codes(own) == {("AP-STO-023", "blocking")}


def test_lost_product_leaves_dangling_rows(own: Published) -> None:
    directory = own.layout.product_dir(own.new.centered.process_id)
    loosen(directory)
    shutil.rmtree(directory)
    assert codes(own) == {("AP-CAT-023", "blocking")}


def test_product_behind_the_catalog_s_back_and_strangers_are_found(own: Published) -> None:
    run = own.archive.start("r4", making.plan_of(own.failed.all))
    own.archive.seal(run, own.failed.sky)
    (own.layout.products / "README").write_text("x")
    assert {code for code, _ in codes(own)} == {"AP-CAT-020", "AP-CAT-022"}
    (own.layout.products / "README").unlink()
    publish(own.layout)
    assert codes(own) == set()


def test_input_that_left_the_manifests_is_missing(own: Published) -> None:
    sure = making.understanding()
    publish(own.layout, making.understanding(frames=sure.frames[1:], classified=sure.classified[1:]))
    assert ("AP-CAT-024", "blocking") in codes(own)


def test_damaged_part_and_torn_line_are_named(own: Published) -> None:
    with own.layout.journal("r1").open("ab") as journal:  # type: ignore[arg-type]
        journal.write(b'{"crc":"0')
    assert codes(own) == {("AP-CAT-026", "note")}
    part = own.layout.current / "targets" / "all.parquet"
    content = bytearray(part.read_bytes())
    part.chmod(0o644)
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    assert ("AP-CAT-021", "blocking") in codes(own, deep=True)
    part.unlink()
    assert ("AP-CAT-021", "blocking") in codes(own)


def test_raw_files_are_looked_for_below_their_roots(own: Published, tmp_path: Path) -> None:
    found = verify(own.layout, roots={"raw": tmp_path})
    assert {one.code for one in found} == {"AP-CAT-027"}
    for one in making.FRAMES:
        (tmp_path / f"{one.file_id}.fits").touch()
    assert verify(own.layout, roots={"raw": tmp_path}) == ()


def test_standing_gives_the_planner_what_fills_each_slot(published: Published) -> None:
    found = standing(published.layout, "2026-11-02")
    new = published.new.cube
    slot = Slot("observation", making.OBS, "irdis_science_cube", "standard")
    assert found.known.slots[slot] == KnownProcess.of(new)
    assert new.process_id in found.known.sealed
    assert found.refused == {published.failed.sky.process_id}
