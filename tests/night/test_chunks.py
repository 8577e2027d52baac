"""The real recipes give the same arrays whatever the chunks, the workers and the site."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import nights
import pytest

from archive_proc.archive import Archive
from archive_proc.bench.run_records import read_records

LONG = {"irdis_tracks", "irdis_science", "irdis_centered"}
"""Recipes that work through the planes of an observation."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_chunks_workers_and_sites_give_equal_arrays(tmp_path: Path) -> None:
    truth = nights.small_night(tmp_path / "raw", order="FCOOS", ndit=9, seed=3, flux_faults=())
    digests = []
    for number, (site, workers, planes) in enumerate([("serial", 1, 1600), ("local", 2, 16)]):
        archive = nights.archive_of(tmp_path / f"A{number}", truth.directory)
        # Two workers on a small machine: the prediction's margin is for bigger planes than these.
        profile = msgspec.structs.replace(archive.site(site, workers), memory_per_worker_gb=3.0)
        _, outcomes = archive.run(nights.EVERYTHING, site=profile, chunk_planes=planes)
        assert outcomes[-1].exit_status == 0, [one.message for one in outcomes[-1].failures]
        archive = Archive.open(archive.root)
        records = [json.loads(one.read_text()) for one in archive.layout.products.glob("*/*/process.json")]
        cut = {one["process"]["recipe"] for one in records if one["tasks"] > 1}
        assert cut == (LONG if planes == 16 else set())
        if site == "local":
            # Workers are processes of their own: what they hold is what the recipes cost.
            tasks = [one for outcome in outcomes for one in read_records(archive.layout, outcome.run_id).tasks]
            assert {one.recipe for one in tasks} >= {"irdis_flat", "irdis_sky", *LONG}
            assert all(50e6 < one.peak_memory_bytes < 2e9 for one in tasks)
        digests.append(nights.array_digests(archive))
    assert digests[0] == digests[1]
