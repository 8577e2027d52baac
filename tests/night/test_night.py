"""One IRDIS night, from raw FITS to SQL, as its user sees it."""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path

import duckdb
import nights
import numpy as np
import pytest
import xarray as xr

from archive_proc.archive import Archive
from archive_proc.errors import LockedError, NotFoundError
from archive_proc.execution.lock import acquire
from archive_proc.simulate.truth import Truth
from archive_proc.storage.snapshots import equal_snapshots, open_current


def cube(archive: Archive) -> xr.Dataset:
    (product,) = archive.products("irdis_centered_cube")
    return product.to_xarray()


def test_the_cube_opens_in_xarray_alone_with_its_units_flags_and_angles(reduced: Archive) -> None:
    (product,) = reduced.products("irdis_centered_cube")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Cc]onsolidated.*")
        opened = xr.open_zarr(product.path)
    assert opened.flux.dims == ("frame", "channel", "y", "x")
    assert opened.sizes["frame"] == 4
    assert (opened.sizes["y"], opened.sizes["x"]) == (1024, 1024)
    assert opened.flux.attrs["units"] == "adu/s"
    assert opened.flags.dtype == np.uint16
    assert opened.time.dtype == np.float64
    assert set(opened.file_id.values.tolist()) <= set(reduced.query("SELECT file_id FROM files")["file_id"].to_pylist())


def test_the_companion_stands_where_the_angles_say_and_not_where_the_other_sense_would_put_it(
    reduced: Archive, night: Truth
) -> None:
    from archive_proc.bench.reductions import companion_offsets

    (product,) = reduced.products("irdis_centered_cube")
    right = companion_offsets(product.path, night.sequences[0])
    wrong = companion_offsets(product.path, night.sequences[0], reversed_sense=True)
    assert max(right) < 6.0, "mas"
    assert min(wrong) > 2 * max(right)


def test_a_bad_pixel_has_flag_filled_and_no_variance_and_is_not_smeared(reduced: Archive) -> None:
    (product,) = reduced.products("irdis_science_cube")
    opened = product.to_xarray()
    flags, variance, flux = (opened[name].values for name in ("flags", "variance", "flux"))
    filled = (flags & 256) != 0
    assert filled.any()
    assert np.isnan(variance[filled]).all()
    assert np.isfinite(flux[filled]).all()
    outside = (flags & 1) != 0
    assert outside.any()
    assert np.isnan(flux[outside]).all()
    assert np.isfinite(variance[~filled & ~outside]).mean() > 0.99


def test_sky_pixels_scatter_as_their_variance_says(reduced: Archive) -> None:
    (product,) = reduced.products("irdis_science_cube")
    opened = product.to_xarray()
    flux, variance, flags = (opened[name].values for name in ("flux", "variance", "flags"))
    field = (slice(None), slice(None), slice(60, 330), slice(60, 330))
    one, two = flux[field][0], flux[field][1]
    sigma = np.sqrt(variance[field][0] + variance[field][1])
    good = (flags[field][0] == 0) & (flags[field][1] == 0) & np.isfinite(sigma)
    pull = ((one - two) / sigma)[good]
    pull -= np.median(pull)
    assert 0.85 < 1.4826 * np.median(np.abs(pull)) < 1.15


def test_a_second_run_makes_nothing_and_starts_no_cluster(reduced_copy: Archive) -> None:
    before = nights.seals(reduced_copy)
    done = nights.call(reduced_copy.root, "run")
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout
    assert nights.seals(reduced_copy) == before


def test_planning_twice_gives_the_same_bytes(reduced: Archive) -> None:
    from archive_proc.planning.text import plan_to_json

    plans = [plan_to_json(Archive.open(reduced.root).plan(nights.EVERYTHING)) for _ in range(2)]
    assert plans[0] == plans[1]


def test_the_order_of_ingest_changes_no_id_and_nothing_is_ingested_twice(
    reduced: Archive, night: Truth, tmp_path: Path
) -> None:
    files = sorted(night.directory.iterdir())
    archive = Archive.init(tmp_path / "B")
    archive.ingest([*files[::2]], jobs=1)
    archive.ingest([*reversed(files)], jobs=1)
    again = archive.ingest([night.directory], jobs=1)
    assert not again.result.frames
    mine = {one.process.process_id for one in Archive.open(archive.root).plan(nights.EVERYTHING).processes}
    assert mine == {one.process.process_id for one in reduced.plan(nights.EVERYTHING).processes}


def test_rebuild_makes_an_equal_catalog(reduced_copy: Archive) -> None:
    before = open_current(reduced_copy.layout)
    reduced_copy.rebuild()
    assert equal_snapshots(before, open_current(reduced_copy.layout))


def test_the_catalog_answers_on_a_copy_moved_elsewhere_with_nothing_but_duckdb(
    reduced: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = nights.copied(reduced.layout.current.resolve(), tmp_path / "taken along")
    monkeypatch.chdir(moved)
    connection = duckdb.connect()
    connection.execute(Path("views.sql").read_text()).fetchall()
    rows = connection.execute("SELECT count(*) FROM products WHERE product_type = 'irdis_centered_cube'").fetchall()
    assert rows == [(1,)]


def test_provenance_leads_from_the_cube_down_to_every_raw_file_it_used(reduced: Archive) -> None:
    (product,) = reduced.products("irdis_centered_cube")
    rows = reduced.saved("provenance", {"product": product.product_id}).to_pylist()
    named = {value for row in rows for value in row.values() if isinstance(value, str) and value.startswith("SPHER.")}
    used = set(reduced.query("SELECT file_id FROM files WHERE dpr_type <> 'OBJECT,AO'")["file_id"].to_pylist())
    assert named == used


def test_the_archive_can_be_moved(reduced_copy: Archive, tmp_path: Path) -> None:
    moved = reduced_copy.root.rename(tmp_path / "moved")
    archive = Archive.open(moved)
    assert archive.verify() == ()
    assert all(one.reason.value == "cached" for one in archive.plan(nights.EVERYTHING).processes)
    assert cube(archive).sizes["frame"] == 4


def test_a_second_driver_is_refused_by_name_and_the_first_goes_on(reduced_copy: Archive) -> None:
    with acquire(reduced_copy.layout, "run everything"):
        with pytest.raises(LockedError, match="AP-RUN-001"):
            nights.run_serial(reduced_copy)
        done = nights.call(reduced_copy.root, "run")
        assert done.returncode == 6
        assert f"pid {os.getpid()}" in done.stderr


def test_a_typo_in_a_selection_names_what_is_nearest(reduced: Archive) -> None:
    done = nights.call(reduced.root, "plan", "--target", "SIM_STRA")
    assert done.returncode == 8
    assert "simstar" in done.stderr.lower().replace("_", "")


def test_an_unknown_id_is_not_found(reduced: Archive) -> None:
    with pytest.raises(NotFoundError):
        reduced.explain("obs:ffffffff")


def test_excluding_a_plane_changes_exactly_what_it_touches_and_undoing_it_gives_the_first_cube_back(
    reduced_copy: Archive,
) -> None:
    (observation,) = reduced_copy.query("SELECT obs_id FROM observations")["obs_id"].to_pylist()
    before = {one.process.process_id: one.process for one in reduced_copy.plan(nights.EVERYTHING).processes}
    override = reduced_copy.layout.overrides / "night.yaml"
    override.write_text(
        f"- match: {{obs: 'obs:{observation[:12]}'}}\n  kind: exclude-planes\n  planes: [1]\n"
        "  reason: loop open\n  author: me\n  date: 2026-11-02\n  expires: never\n"
    )
    archive = Archive.open(reduced_copy.root)
    plan = archive.plan(nights.EVERYTHING)
    changed = {one.process.recipe for one in plan.processes if one.process.process_id not in before}
    assert changed == {"irdis_tracks", "irdis_science", "irdis_centered"}
    _, outcome = nights.run_serial(archive)
    assert outcome.exit_status == 0
    opened = cube(Archive.open(archive.root))
    assert opened.usable.values.tolist() == [True, False, True, True]
    assert opened.reason.values.tolist()[1]
    override.unlink()
    _, outcome = nights.run_serial(Archive.open(archive.root))
    assert outcome.counts.keys() == {"cached"}
    assert cube(Archive.open(archive.root)).usable.values.all()


def test_an_override_with_a_mistake_names_file_and_line(reduced_copy: Archive) -> None:
    (reduced_copy.layout.overrides / "bad.yaml").write_text("- match: {obs: 'obs:00'}\n  kind: quarantin\n")
    done = nights.call(reduced_copy.root, "plan")
    assert done.returncode == 2
    assert "overrides/bad.yaml line 2" in done.stderr


def test_a_product_changed_by_hand_is_found_by_verify(reduced_copy: Archive) -> None:
    (product,) = reduced_copy.products("irdis_centered_cube")
    shard = max(product.path.rglob("c*"), key=lambda one: one.stat().st_size if one.is_file() else 0)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.chmod(0o644)
    shard.write_bytes(content)
    done = nights.call(reduced_copy.root, "verify", "--deep")
    assert done.returncode == 4
    assert shard.name in done.stdout
    assert product.product_id[:12] in done.stdout


def test_status_and_show_answer_in_a_moment(reduced: Archive) -> None:
    status = reduced.status()
    assert sum(status.counts.values()) == len(reduced.plan(nights.EVERYTHING).processes)
    assert status.state == "ended"
    began = time.process_time()
    for line in (
        "SELECT obs_id AS id FROM observations",
        "SELECT run_id AS id FROM runs",
        "SELECT file_id AS id FROM files",
    ):
        assert reduced.show(reduced.query(line)["id"].to_pylist()[0])
    assert time.process_time() - began < 20
