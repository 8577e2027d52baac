"""The accuracy bench measures known errors as they are: planted ones come back, none gives none."""

import json

import numpy as np
import pytest
import xarray as xr

from archive_proc.bench.accuracy import TruthSet, measure, measure_archive, sample_sets
from archive_proc.bench.background import CubePlane, background_figures, normal_flat, removed_light
from archive_proc.bench.comparison import FoundCentres, FoundFrames, angle_figure, centre_figures, photometry_figures
from archive_proc.bench.figures import Figure, Report, across_seeds, report_json, table
from archive_proc.bench.raw_planes import RawPlanes
from archive_proc.bench.reductions import find_reduction
from archive_proc.errors import InputError, NotFoundError
from archive_proc.simulate.raw_file import Card, write_raw
from archive_proc.simulate.spec import Companion
from archive_proc.simulate.truth import SequenceTruth, load_truth, save_truth
from archive_proc.storage.layout import Layout

FILES = ("SPHER.2015-09-25T08:00:00.000", "SPHER.2015-09-25T08:01:00.000", "SPHER.2015-09-25T08:02:00.000")
TYPES = ("OBJECT,CENTER", "OBJECT", "OBJECT")


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(3)
    flat = np.zeros((1024, 2048), np.float32)
    flat[20:1000, 40:930] = 1.1
    flat[20:1000, 1070:1950] = 0.9
    flat[flat > 0] *= rng.uniform(0.95, 1.05, int(np.sum(flat > 0))).astype(np.float32)
    center = np.array([[[480.0, 525.0], [483.0, 511.0]]] * 3) + rng.normal(0, 0.3, (3, 1, 2))
    return SequenceTruth(
        name="SET",
        raw_file=FILES,
        frame_idx=np.zeros(3, np.int64),
        frame_type=TYPES,
        in_sequence=np.array([False, True, True]),
        dither=np.array([[0, 0], [0, 0], [1, 0]]),
        dit=np.full(3, 16.0),
        mjd=57290.0 + np.arange(3) / 1440,
        parang=np.array([170.0, 175.0, 179.9]),
        epsilon=np.full(3, 0.5),
        derot=np.array([304.24, 309.24, 314.14]),
        center=center,
        trans=np.ones(3),
        core=np.array([[0.8, 0.8], [0.8, 0.84], [0.84, 0.8]]),
        jitter_mas=np.zeros((3, 2)),
        pix=(12.267, 12.263),
        wave=(2110.0, 2251.0),
        companions=(Companion(600.0, 40.0, (1e-3, 1e-3)),),
        flux_star=(1e6, 1e6),
        strehl0=(0.9, 0.9),
        thermal=np.full((3, 2, 64, 64), 200.0, np.float32),
        flat=flat,
        pedestal=np.full((1024, 2048), 7.0, np.float32),
        bad=np.zeros((1024, 2048), bool),
    )


def raw_and_product(truth, background_error):
    """A raw plane of starlight and thermal light, and the cube plane of a reduction wrong by `background_error`."""
    rng = np.random.default_rng(4)
    star = rng.uniform(0.0, 300.0, (1024, 2048)).astype(np.float32)
    raw = truth.flat * (star + 200.0) + truth.pedestal
    flat = normal_flat(truth)
    halves = np.stack([raw[:, :1024], raw[:, 1024:]])
    response = np.stack([truth.flat[:, :1024], truth.flat[:, 1024:]])
    removed = response * (200.0 + background_error) + 7.0
    with np.errstate(divide="ignore", invalid="ignore"):
        flux = np.where(flat > 0, (halves - removed) / flat / 16.0, np.nan).astype(np.float32)
    return raw, flux


def by_name(figures):
    return {one.name: one for one in figures}


@pytest.mark.parametrize("error", [0.0, 2.5, -1.0])
def test_a_planted_background_error_comes_back(truth, error):
    raw, flux = raw_and_product(truth, error)
    plane = CubePlane(FILES[1], 0, flux, np.zeros(flux.shape, np.uint16), 16.0)
    figures = by_name(background_figures("set", truth, [(1, removed_light(raw, plane, truth))], None))
    for side in ("left", "right"):
        assert figures[f"background r<100 rms, {side}"].value == pytest.approx(abs(error), abs=0.02)
    assert figures["background r<100 rms, left"].met is (abs(error) <= 1.4)
    assert figures["background r>285 rms, left"].met is None


def test_flagged_pixels_do_not_count(truth):
    raw, flux = raw_and_product(truth, 0.0)
    flux, flags = flux.copy(), np.zeros(flux.shape, np.uint16)
    flux[:, ::3, :] += 5.0
    flags[:, ::3, :] = 256
    blocks = removed_light(raw, CubePlane(FILES[1], 0, flux, flags, 16.0), truth)
    assert np.nanmax(np.abs(blocks - 200.0)) < 0.05


def centres(truth, dx_mas, dy_mas):
    move = np.array([[dx_mas / pix, dy_mas / (pix * 1.0062)] for pix in truth.pix])
    return FoundCentres(np.array(FILES), np.zeros(3, np.int32), truth.center + move, np.full((3, 2, 2), 0.1))


def test_a_centre_off_by_three_and_four_is_off_by_five(truth):
    figures = by_name(centre_figures("set", truth, centres(truth, 3.0, 4.0), truth.center))
    assert figures["CENTER total rms, left"].value == pytest.approx(5.0)
    assert figures["CENTER total rms, left"].met is False
    assert figures["OBJECT total rms, right"].value == pytest.approx(5.0)
    assert figures["OBJECT total rms, right"].spread == pytest.approx(0.0, abs=1e-9)
    assert figures["OBJECT total rms, right"].met is True
    assert figures["CENTER total rms, left"].reference_value == pytest.approx(0.0)


def test_dithers_carry_the_first_center_to_the_reference(truth):
    figures = by_name(centre_figures("set", truth, centres(truth, 0.0, 0.0), truth.center))
    moved = truth.center[0, 0] + [[0, 0], [1, 0]] - truth.center[1:, 0]
    expected = np.sqrt(np.mean(np.sum((moved * [12.267, 12.267 * 1.0062]) ** 2, axis=1)))
    assert figures["OBJECT total rms, left"].reference_value == pytest.approx(expected)


def test_a_sequence_that_borrowed_frames_is_not_taken_for_the_one_that_lent_them(tmp_path, truth) -> None:
    layout = Layout(tmp_path)
    borrowed, own = (layout.products / one[:2] / one for one in ("a" * 32, "b" * 32))
    for place, files in ((own, FILES), (borrowed, [FILES[0], "SPHER.2017-09-28T23:59:59.000"])):
        names = xr.DataArray(np.array(files, np.dtypes.StringDType()), dims="frame")
        group = place / "product.zarr" / "center"
        xr.Dataset(coords={"file_id": names}).to_zarr(group, zarr_format=3, consolidated=False)
        (place / "seal.json").write_text("{}")
    assert find_reduction(tmp_path, truth).center == own / "product.zarr" / "center"


def test_a_plane_without_a_centre_misses_the_aim(truth) -> None:
    found = centres(truth, 0.0, 0.0)
    rows = [row for row, kind in enumerate(truth.frame_type) if kind == "OBJECT,CENTER"]
    found.star[rows[0]] = np.nan
    figures = by_name(centre_figures("set", truth, found, truth.center))
    missed = figures["CENTER total rms, left"]
    assert missed.value is None
    assert missed.n == len(rows) - 1


def test_what_was_not_made_counts_as_missed(truth):
    figures = (*centre_figures("set", truth, None, truth.center), angle_figure("set", truth, None))
    assert all(one.value is None for one in figures)
    assert all(one.met is False for one in figures if one.aim is not None)


def test_angles_are_compared_round_the_circle(truth):
    frames = FoundFrames(np.array(FILES[1:]), np.zeros(2, np.int32), truth.derot[1:] - 360.0 + 0.004, truth.core[1:])
    figure = angle_figure("set", truth, frames)
    assert figure.value == pytest.approx(0.004)
    assert figure.met is True
    assert figure.reference_value == pytest.approx(0.5)


def test_perfect_photometry_scatters_by_nothing_and_doing_nothing_by_the_truth(truth):
    frames = FoundFrames(np.array(FILES[1:]), np.zeros(2, np.int32), truth.derot[1:], truth.core[1:] / 0.82)
    left, _ = photometry_figures("set", truth, frames)
    assert left.value == pytest.approx(0.0, abs=1e-9)
    assert left.reference_value == pytest.approx(100 * 0.02 / 0.82)


def test_truth_survives_the_disk(truth, tmp_path):
    save_truth(tmp_path / "SET", truth)
    back = load_truth(tmp_path / "SET")
    assert back.raw_file == truth.raw_file
    assert back.companions == truth.companions
    assert np.array_equal(back.center, truth.center)
    assert np.allclose(back.flat, truth.flat, atol=2e-4)


def test_an_archive_is_measured_through_its_sealed_products(truth, tmp_path):
    raw, flux = raw_and_product(truth, 1.0)
    save_truth(tmp_path / "SET", truth)
    cards = [Card("SIMPLE", True), Card("BITPIX", -32), Card("NAXIS", 3)]
    cards += [Card("NAXIS1", 2048), Card("NAXIS2", 1024), Card("NAXIS3", 1)]
    for name in FILES:
        write_raw(tmp_path / f"{name}.fits", cards, [raw.astype(np.float32)])
    process = tmp_path / "A" / "products" / "ab" / ("ab" + 30 * "0")
    found = centres(truth, 0.3, 0.4)
    xr.Dataset(
        {
            "star_x": (("frame", "channel"), found.star[:, :, 0]),
            "star_y": (("frame", "channel"), found.star[:, :, 1]),
            "star_x_error": (("frame", "channel"), found.error[:, :, 0]),
            "star_y_error": (("frame", "channel"), found.error[:, :, 1]),
            "file_id": (("frame",), np.array(FILES)),
            "plane": (("frame",), np.zeros(3, np.int32)),
        }
    ).to_zarr(process / "product.zarr" / "center", zarr_format=2)
    xr.Dataset(
        {
            "flux": (("frame", "channel", "y", "x"), np.stack([flux, flux])),
            "flags": (("frame", "channel", "y", "x"), np.zeros((2, *flux.shape), np.uint16)),
            "variance": (("frame", "channel", "y", "x"), np.full((2, *flux.shape), 30.0, np.float32)),
            "variance_common": (("channel", "y", "x"), np.zeros(flux.shape, np.float32)),
            "exposure_time": (("frame",), np.full(2, 16.0), {"units": "s"}),
            "derotation_angle": (("frame",), truth.derot[1:]),
            "relative_flux": (("frame", "channel"), truth.core[1:]),
            "file_id": (("frame",), np.array(FILES[1:])),
            "plane": (("frame",), np.zeros(2, np.int32)),
        }
    ).to_zarr(process / "product.zarr" / "irdis_science_cube", zarr_format=2)
    with pytest.raises(InputError, match="AP-SIM-006"):
        measure_archive(tmp_path / "A", [TruthSet("SET", tmp_path / "SET", tmp_path)])
    (process / "seal.json").write_text("{}")
    report = measure_archive(tmp_path / "A", [TruthSet("SET", tmp_path / "SET", tmp_path)])
    figures = by_name(report.figures)
    assert figures["CENTER total rms, left"].value == pytest.approx(0.5)
    assert figures["background r<100 rms, left"].value == pytest.approx(1.0, abs=0.05)
    assert figures["derotation angle, largest error"].value == 0.0
    # The scene is white noise that no variance speaks of; nobody made a centred cube. A small set has no goals to miss.
    assert all("variance" in one.name for one in report.missed)
    assert figures["goal: background r<100 offset, left"].value == pytest.approx(1.0, abs=0.05)
    assert figures["goal: background r<100 left in the stack, right"].met is None
    full = by_name(measure("set", truth, find_reduction(tmp_path / "A", truth), RawPlanes(tmp_path)))
    assert full["goal: background r<100 left in the stack, right"].met is False
    assert figures["goal: CENTER total rms, left"].value == pytest.approx(0.5)
    assert figures["goal: OBJECT jitter an axis, left"].value == pytest.approx(0.0, abs=1e-9)
    assert figures["CENTER error over quoted error, left"].value == pytest.approx(
        0.5 / np.hypot(0.1, 0.1) / 12.3, rel=0.02
    )
    assert figures["centred variance, stacks, highest"].met is False


def test_raw_planes_of_the_samples_are_read_with_their_zero_point(shared):
    folder = shared / "samples" / "irdis" / "DB_K12"
    truth = load_truth(folder)
    row = truth.frame_type.index("SKY")
    plane = RawPlanes(folder).plane(truth.raw_file[row], int(truth.frame_idx[row]))
    expected = truth.thermal[row, 0].mean()
    assert np.median(plane[300:700, 300:700] - truth.pedestal[300:700, 300:700]) == pytest.approx(expected, rel=0.2)


def test_sets_without_truth_are_named(tmp_path):
    with pytest.raises(NotFoundError, match="AP-SIM-003"):
        sample_sets(tmp_path)


def test_reports_are_json_and_a_table_with_a_count():
    figures = (
        Figure(case="a", name="x", value=1.0, unit="mas", aim=2.0, reference="nothing", reference_value=3.0, n=2),
        Figure(case="a", name="y", value=float("nan"), unit="mas", aim=2.0),
    )
    text = json.loads(report_json(Report("accuracy irdis", figures)))
    assert [one["met"] for one in text["figures"]] == [True, False]
    assert text["figures"][1]["value"] is None
    assert table(Report("accuracy irdis", figures)).endswith("1 of 2 aims met")


def test_an_aim_may_be_a_lower_limit():
    figure = Figure(case="a", name="x", value=0.95, unit="1", aim=0.9, at_least=True)
    assert figure.met is True
    assert ">= 0.9" in table(Report("accuracy irdis", (figure,)))
    low = Figure(case="a", name="x", value=0.85, unit="1", aim=0.9, at_least=True)
    assert low.met is False
    assert json.loads(report_json(Report("accuracy irdis", (low,))))["figures"][0]["aim_is"] == "at least"


def test_a_seed_that_failed_leaves_the_figure_without_value():
    good = Figure(case="a", name="x", value=1.0, unit="mas", aim=2.0)
    bad = Figure(case="a", name="x", value=None, unit="mas", aim=2.0)
    (figure,) = across_seeds("a, 2 seeds", [[good], [bad]])
    assert figure.value is None
    assert figure.met is False
    (figure,) = across_seeds("a, 2 seeds", [[good], [good]])
    assert (figure.value, figure.spread) == (1.0, 0.0)
