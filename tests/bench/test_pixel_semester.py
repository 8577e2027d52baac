"""`bench semester`: what a run on a site made is held against the serial run's, and what differs is counted."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from archive_proc.archive import Archive
from archive_proc.bench.faults.grounds import STAND_INS
from archive_proc.bench.pixel_semester import Reduced, beside_serial
from archive_proc.bench.small_night import small_night
from archive_proc.catalog.selection import Selection


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Reduced:
    """A small night of stand-ins."""
    work = tmp_path_factory.mktemp("semester")
    small_night(work / "raw", ndit=2)
    Archive.init(work / "serial")
    archive = Archive.open(work / "serial", cookbook=STAND_INS)
    archive.ingest([work / "raw"], jobs=1)
    archive.run(Selection(), site=archive.site("serial"))
    return Reduced("serial", Archive.open(archive.root, cookbook=STAND_INS), 1.0)


def copied(serial: Reduced, root: Path) -> Reduced:
    shutil.copytree(serial.archive.root, root, symlinks=True)
    return replace(serial, site="site", archive=Archive.open(root, cookbook=STAND_INS))


def test_equal_archives_meet_every_aim_and_left_jobs_do_not(serial: Reduced, tmp_path: Path) -> None:
    figures = {one.name: one for one in beside_serial("case", copied(serial, tmp_path / "A"), serial, 1)}
    met = {name: one.met for name, one in figures.items() if one.met is not None}
    assert met == {
        "complete observations that end in a centred cube": True,
        "arrays that differ from the serial run's, or that only one of them has": True,
        "found by verify --deep": True,
        "jobs left behind": False,
    }
    centred = figures["complete observations that end in a centred cube"]
    assert (centred.value, centred.n, centred.reference_value) == (100.0, 1, 4)
    assert figures["CPU of all tasks"].value == figures["CPU of all tasks"].reference_value
    assert figures["processes without a product"].value == 0


def test_a_product_that_is_missing_or_another_is_counted(serial: Reduced, tmp_path: Path) -> None:
    other = copied(serial, tmp_path / "A")
    (cube,) = other.archive.products("irdis_centered_cube")
    shutil.rmtree(cube.path.parents[1])
    figures = {one.name: one for one in beside_serial("case", other, serial, None)}
    differing = figures["arrays that differ from the serial run's, or that only one of them has"]
    assert differing.value is not None
    assert 0 < differing.value < differing.n
    assert differing.met is False
    assert figures["complete observations that end in a centred cube"].value == 0.0
    assert figures["found by verify --deep"].met is False
    assert "jobs left behind" not in figures
