"""A driver's job is refused where SLURM would kill it for its memory."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from archive_proc.archive import Archive
from archive_proc.bench.small_night import small_night
from archive_proc.errors import PreconditionError
from archive_proc.execution.driver_memory import driver_needs_gb
from archive_proc.flow import detaching
from archive_proc.flow.sites import site_named
from archive_proc.settings import SiteProfile

SEMESTER, ALL = 31_000, 344_000
"""Raw files of one and of eleven."""


def asking(gigabytes: float) -> SiteProfile:
    site = site_named("slurm", None)
    assert site.slurm is not None
    return msgspec.structs.replace(site, slurm=msgspec.structs.replace(site.slurm, driver_memory_gb=gigabytes))


def test_a_drivers_job_has_to_hold_what_its_archive_knows(tmp_path: Path) -> None:
    archive = Archive.init(tmp_path / "A")
    detaching.expect_driver_memory(archive.layout, asking(0.3))  # nothing ingested: nothing to plan
    small_night(tmp_path / "raw", ndit=1)
    archive.ingest([tmp_path / "raw"], jobs=1)
    n = len(archive.campaign.raw_frames)
    needs = driver_needs_gb(n)
    detaching.expect_driver_memory(archive.layout, asking(needs + 1e-6))
    with pytest.raises(PreconditionError, match=f"an archive of {n} raw files") as refused:
        detaching.detach(archive.layout, asking(needs - 1e-6), ["run"])
    assert refused.value.code == "AP-RUN-074"
    assert not archive.layout.jobs.exists(), "before any script is written"


@pytest.mark.parametrize("raw_files", [31_000, 33_750, 34_400])
def test_who_asks_for_what_a_message_says_is_needed_is_not_refused_again(raw_files: int) -> None:
    needs = driver_needs_gb(raw_files)
    assert float(f"{needs:.1f}") >= needs


def test_shipped_profiles_hold_a_semester() -> None:
    for name in ("slurm", "slurm-local", "many-small-nodes", "few-fat-nodes"):
        slurm = site_named(name, None).slurm
        assert slurm is not None
        assert slurm.driver_memory_gb >= driver_needs_gb(SEMESTER), name
    assert driver_needs_gb(ALL) < 8.0, "and no node is too small for all of them"
