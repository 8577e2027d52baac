"""Products in the form of the figures: electrons of a DIT in the order of truth; costs by recipe, a plane."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from small_ifs_set import BANDWIDTH_NM, RESPONSE, WAVELENGTH_NM, lamp_of, right_spectra, small_known

from archive_proc.bench.ifs.compared import compare
from archive_proc.bench.ifs.evenly_lit import channel_bias, rms_and_worst
from archive_proc.bench.ifs.products import cost_of, file_of, to_spectra
from archive_proc.model.frames import Arm
from archive_proc.model.ids import PlanId, ProcessId, RunId
from archive_proc.model.phases import Phase, PhaseCost
from archive_proc.model.processes import Process, Subject
from archive_proc.model.records import Environment, ProcessRecord

SECONDS = 31.7


def dataset_of(known, order):
    """A product of two files, lenslets in another order than truth's, planes shuffled."""
    scene, right = known.scene("uniform"), right_spectra(known, "uniform", claimed=10.0)
    scale = 1.8 * SECONDS
    frames = np.array([2, 0, 1])
    flux = np.concatenate([right.flux[frames][:, order], np.zeros((1, len(order), 39), np.float32)]) / scale
    return xr.Dataset(
        {
            "flux": (("frame", "lenslet", "channel"), flux.astype(np.float32)),
            "variance": (("frame", "lenslet", "channel"), np.full(flux.shape, (10.0 / scale) ** 2, np.float32)),
            "flags": (("frame", "lenslet", "channel"), np.zeros(flux.shape, np.uint16)),
            "correlation": (("lag", "channel", "lenslet"), np.full((3, 39, len(order)), 0.1, np.float32)),
            "hex_q": ("lenslet", known.q[order]),
            "hex_r": ("lenslet", known.r[order]),
            "file_id": ("frame", np.array([scene.file_id] * 3 + ["SPHER.other"])),
            "plane": ("frame", np.array([*frames, 0])),
            "exposure_time": ("frame", np.full(4, SECONDS)),
            "gain": ("channel", np.full(39, 1.8)),
            "wavelength": ("channel", 1e-3 * WAVELENGTH_NM),
            "bandwidth": ("channel", 1e-3 * BANDWIDTH_NM),
        }
    )


def test_a_product_in_any_order_is_compared_lenslet_by_lenslet():
    known = small_known()
    order = np.random.default_rng(6).permutation(np.flatnonzero(known.complete))
    dataset, scene = dataset_of(known, order), known.scene("uniform")
    assert file_of(dataset, scene).tolist() == [1, 2, 0]
    found = to_spectra(known, scene, dataset)
    assert rms_and_worst(channel_bias(compare(known, scene, found, lamp_of(known))))[1] < 1e-2
    assert found.flux[:, known.complete].mean() == pytest.approx(
        right_spectra(known, "uniform").flux[:, known.complete].mean(), rel=1e-4
    )
    assert np.nanmedian(found.sigma) == pytest.approx(10.0, rel=1e-4)
    assert found.flagged[:, ~known.complete].all()
    assert RESPONSE < 1.0


def test_a_file_of_which_planes_are_missing_is_not_compared():
    known = small_known()
    dataset = dataset_of(known, np.flatnonzero(known.complete)).isel(frame=[0, 1, 3])
    assert file_of(dataset, known.scene("uniform")).size == 0


def record(recipe, cpu_s, planes, memory=1.0e9, compiling_s=0.0):
    process = Process(
        process_id=ProcessId("0" * 32),
        recipe=recipe,
        recipe_version="1",
        preset="default",
        subject=Subject("observation", "s", Arm.IFS),
        parameters={},
        tables_digest="",
        inputs=(),
        product_types=(),
        night="2017-05-14",
        period_date=99,
    )
    return ProcessRecord(
        process=process,
        run_id=RunId("1" * 32),
        plan_id=PlanId("2" * 32),
        attempt=1,
        asked_by="test",
        package_version="1",
        code_fingerprint="",
        environment=Environment(python="3", packages={}, cpu="", blas="", threads={}, platform=""),
        host="h",
        pid=1,
        started_at="2026-01-01T00:00:00+00:00",
        ended_at="2026-01-01T00:00:01+00:00",
        cpu_s=cpu_s,
        wall_s=cpu_s,
        peak_memory_bytes=int(memory),
        bytes_read=1,
        bytes_written=1,
        planes=planes,
        planes_read=planes,
        phases={Phase.COMPILE: PhaseCost(compiling_s, compiling_s)} if compiling_s else {},
    )


def test_costs_are_those_of_the_recipes_and_of_no_other():
    cost = cost_of(
        [
            record("ifs_wave", 80.0, 2),
            record("ifs_dark", 3.0, 4, memory=1.4e9),
            record("ifs_extract", 12.0, 8),
            record("ifs_extract", 4.0, 2),
            record("ifs_tracks", 6.0, 2),
            record("ifs_science", 5.0, 10),
            record("ifs_centered", 9.0, 10),
            record("irdis_science", 500.0, 10, memory=9e9),
        ]
    )
    assert (cost.extraction_s, cost.to_centered_s, cost.calibration_s) == (1.6, 3.6, 83.0)
    assert cost.peak_bytes == 1.4e9
    # 4 s for two planes, 12 s for eight.
    assert cost.further_plane_s == pytest.approx(8.0 / 6.0)


def test_kernels_are_compiled_for_all_planes_of_a_machine_and_count_apart():
    costs = [
        cost_of(
            [
                record("ifs_extract", 12.0 + made, 8, compiling_s=made),
                record("ifs_extract", 4.0, 2),
                record("ifs_centered", 10.0 + made, 8, compiling_s=made),
                record("ifs_wave", 80.0, 2, compiling_s=20.0),
            ]
        )
        for made in (0.0, 7.0)
    ]
    assert [one.compiling_s for one in costs] == [0.0, 14.0]
    assert costs[0] == replace(costs[1], compiling_s=0.0)
    assert costs[0].calibration_s == 80.0


def test_nothing_made_has_no_cost_rather_than_none():
    assert cost_of([]).extraction_s is None
    alone = cost_of([record("ifs_extract", 12.0, 8)])
    assert (alone.to_centered_s, alone.further_plane_s) == (None, None)
