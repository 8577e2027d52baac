"""Same key, same product: back end, workers and chunks change nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_night import Night, night, site

from archive_proc.execution.executor import execute
from archive_proc.flow.compactor import Compactor
from archive_proc.model import packed
from archive_proc.model.processes import State
from archive_proc.storage.records import read_record
from archive_proc.storage.seal import verify_products
from archive_proc.storage.snapshots import open_current, read_table
from archive_proc.storage.tables import TABLES
from archive_proc.storage.values import array_digest


def products(tonight: Night) -> dict[str, object]:
    """Everything that must be equal: array digests and the stored bytes of every product."""
    found: dict[str, object] = {}
    for one in (tonight.dark, tonight.cube, tonight.centered):
        record = read_record(tonight.layout.product_dir(one.process_id))
        found |= {made.product_type: (made.array_digests, made.sha256) for made in record.products}
        found[f"pixels of {one.recipe}"] = record.pixel_digests
    return found


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    tonight = night(tmp_path_factory.mktemp("reference"))
    assert execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options()).exit_status == 0
    return products(tonight)


@pytest.mark.parametrize(
    ("backend", "workers", "chunk"),
    [("serial", 1, 16), ("serial", 1, 48), ("local", 1, 1000), ("local", 3, 16), ("local", 2, 48)],
)
def test_back_end_workers_and_chunks_change_no_bit(
    tmp_path: Path, reference: dict[str, object], backend: str, workers: int, chunk: int
) -> None:
    tonight = night(tmp_path)
    outcome = execute(
        tonight.plan,
        tonight.layout,
        tonight.frames,
        site(backend=backend, workers=workers),
        tonight.options(chunk_planes=chunk),
    )
    assert outcome.counts == {State.DONE: 3}
    assert products(tonight) == reference
    assert verify_products(tonight.layout, deep=True) == ()
    assert list(tonight.layout.pending.iterdir()) == []
    assert not tonight.layout.driver_lock.exists()


def test_a_packed_plan_with_its_compactor_gives_the_same(
    tmp_path: Path, reference: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "PACKED_FROM", 1)
    tonight = night(tmp_path)
    plan = packed.packed_plan(tonight.plan)
    assert plan.processes[0].process.inputs is not tonight.plan.processes[0].process.inputs
    frames = packed.PackedFrames(tonight.frames[one] for one in sorted(tonight.frames))
    compactor = Compactor(tonight.layout)
    outcome = execute(plan, tonight.layout, frames, site(), tonight.options(publish=compactor))
    compactor.close()
    assert outcome.counts == {State.DONE: 3}
    assert not outcome.catalog_behind
    assert products(tonight) == reference
    assert read_table(open_current(tonight.layout), TABLES["processes"]).num_rows == 3


def test_the_arrays_are_what_the_recipe_computes(tmp_path: Path) -> None:
    import xarray as xr

    tonight = night(tmp_path, darks=(3,), science=(5, 2))
    execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options())
    frames = list(tonight.frames.values())
    dark = np.fromfile(tonight.raw / "00.raw", ">f4").reshape(3, 8, 16).astype(np.float64).mean(0).astype(np.float32)
    raw = np.concatenate(
        [np.fromfile(tonight.raw / f"0{one}.raw", ">f4").reshape(-1, 8, 16).astype(np.float32) for one in (1, 2)]
    )
    flux = np.stack(np.split((raw - dark) * np.float32(1.5), 2, axis=2), axis=1)
    means = raw.astype(np.float64).mean((1, 2))
    # planes 3 of file 0 is excluded (6 of file 1 does not exist): it feeds no neighbour
    smooth = [
        means[:2].mean(),
        means[:3].mean(),
        means[1:3].mean(),
        means[2:5].mean(),
        means[4],
        means[5:].mean(),
        means[5:].mean(),
    ]
    cube = xr.open_zarr(tonight.layout.product_group(tonight.cube.process_id, "toy_cube"), chunks=None)
    expected = flux - np.array(smooth, np.float32)[:, None, None, None]
    np.testing.assert_allclose(cube["flux"], expected, rtol=0, atol=2e-5)
    np.testing.assert_allclose(cube["variance"], np.abs(cube["flux"]) + 1, rtol=2.0**-8)
    assert cube["usable"].values.tolist() == [True, True, True, False, True, True, True]
    assert cube["reason"].values[3] == "excluded by an override"
    assert cube["frame"].values.tolist() == list(range(7))
    assert set(cube["flux"].coords) >= {"frame", "file_id", "time", "background_level", "wavelength"}
    assert cube.attrs["process_id"] == tonight.cube.process_id
    assert cube["flux"].attrs["ancillary_variables"] == "variance flags"
    record = read_record(tonight.layout.product_dir(tonight.cube.process_id))
    digests = record.products[0].array_digests
    assert digests["variance"] == array_digest(cube["variance"].values, by_block=True)
    assert digests["wavelength"] == array_digest(cube["wavelength"].values, by_block=False)
    assert record.planes == 7
    assert set(record.pixel_digests) == {frames[1].file_id, frames[2].file_id}
    assert record.remarks[0].code == "AP-IRD-998"
    assert record.process == tonight.cube
    dark_record = read_record(tonight.layout.product_dir(tonight.dark.process_id))
    assert np.isnan(dark_record.qc[1].value)


def test_a_long_master_uses_256_planes_evenly_chosen_and_says_so(tmp_path: Path) -> None:
    import zarr

    tonight = night(tmp_path, darks=(300, 212), science=(2,))
    execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options())
    record = read_record(tonight.layout.product_dir(tonight.dark.process_id))
    assert record.planes == 512
    assert record.planes_used == tuple(range(0, 512, 2))
    assert record.pixel_digests == {}
    raw = np.concatenate(
        [np.fromfile(tonight.raw / f"0{one}.raw", ">f4").reshape(-1, 8, 16).astype(np.float64) for one in (0, 1)]
    )
    group = tonight.layout.product_group(tonight.dark.process_id, "toy_dark")
    level = zarr.open_array(group / "level", mode="r")[...]
    np.testing.assert_allclose(level, raw[::2].mean(0), rtol=1e-6)


def test_nothing_to_do_is_recorded_and_starts_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from archive_proc.storage.journal import read_journal

    tonight = night(tmp_path)
    execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options())
    outcome = execute(tonight.plan, tonight.layout, tonight.frames, site(backend="local"), tonight.options())
    assert outcome.counts == {State.CACHED: 3}
    events = read_journal(tonight.layout.journal(outcome.run_id)).events
    assert [type(one).__name__ for one in events] == ["RunStarted", "RunEnded"]
    assert events[0].backend == "serial"
