"""Lenslet flat and spectra of a small IFS whose truth is known, as recipes make them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from running import blocks, raw_inputs
from small_ifs import CHANNELS, EDGES, GAIN, LEVEL_ADU, SIZE, SmallIfs, small_frame, small_ifs

from archive_proc.errors import DataFailure
from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.dispersion import REFERENCE_UM
from archive_proc.model.flags import Flag
from archive_proc.recipes.ifs.extract import IFS_EXTRACT, IFS_EXTRACT_FRAME
from archive_proc.recipes.ifs.lenslet_flat import IFS_LENSLET_FLAT
from archive_proc.recipes.ifs.solutions import solution_content
from archive_proc.recipes.recipe import Calibration

MIDDLE = 0.5 * (EDGES[1:] + EDGES[:-1])
LAMP = 5000.0 * np.exp(-(((MIDDLE - 1.15) / 0.2) ** 4))
STAR = 4000.0 * np.exp(-(((MIDDLE - 1.1) / 0.22) ** 4)) * (1.0 - 0.3 * np.exp(-(((MIDDLE - 1.13) / 0.02) ** 2)))
SHIFT = 0.067


@pytest.fixture(scope="module")
def ifs() -> SmallIfs:
    return small_ifs()


@pytest.fixture(scope="module")
def lenslet_flat(ifs: SmallIfs) -> Calibration:
    light = ifs.image(np.broadcast_to(LAMP, (1, len(ifs.lenslets), CHANNELS)))
    raw = ifs.raw(light, np.random.default_rng(1))
    ran = ifs.run(IFS_LENSLET_FLAT, [small_frame("2017-05-14T19:18:00.000", dpr_type="FLAT,LAMP")], raw)
    return ran.calibration("ifs_lenslet_flat")


@pytest.fixture(scope="module")
def science(ifs: SmallIfs, lenslet_flat: Calibration):
    """Two files of two planes, shifted, the second file twice as bright: frames, raw planes, truth, result."""
    rng = np.random.default_rng(4)
    pattern = rng.uniform(0.6, 1.4, (1, len(ifs.lenslets), 1))
    truth = pattern * STAR * np.array([1.0, 1.0, 2.0, 2.0])[:, None, None]
    raw = ifs.raw(ifs.image(truth, SHIFT), rng)
    for plane in range(4):
        for y, x in rng.integers(60, 450, (25, 2)):
            raw[plane, y, x : x + 2] += rng.uniform(2000, 20000)
    frames = [small_frame("2017-05-15T04:50:00.000", 2), small_frame("2017-05-15T04:52:00.000", 2)]
    more = {"lenslet_flat": [lenslet_flat]}
    ran = ifs.run(IFS_EXTRACT, frames, raw, more, roles=("OBJECT", "OBJECT"))
    return frames, raw, truth, ran


def test_the_lenslet_flat_is_each_lenslets_throughput_with_its_error(ifs: SmallIfs, lenslet_flat: Calibration):
    complete = ifs.solution.complete
    found = lenslet_flat.arrays["throughput"]
    true = ifs.throughput[complete] / np.median(ifs.throughput[complete])
    assert lenslet_flat.arrays["hex_q"].tolist() == ifs.lenslets.q[complete].tolist()
    sigma = np.sqrt(lenslet_flat.arrays["variance"])
    assert 0.6 < 1.4826 * np.median(np.abs(found - true) / sigma) < 1.4
    assert np.std(found - true) < 0.004
    inside = 0.2 * LAMP.max() < LAMP
    assert lenslet_flat.arrays["lamp"][inside] * GAIN * 10.0 == pytest.approx(LAMP[inside], rel=0.03)


@pytest.mark.parametrize("factor", [0.001, 40.0])
def test_a_flat_without_light_or_with_too_much_is_refused_by_name(ifs: SmallIfs, factor: float):
    light = ifs.image(np.broadcast_to(factor * LAMP, (1, len(ifs.lenslets), CHANNELS)))
    raw = np.minimum(ifs.raw(light, np.random.default_rng(1)), np.float32(65535.0))
    with pytest.raises(DataFailure) as refused:
        ifs.run(IFS_LENSLET_FLAT, [small_frame("2017-05-14T19:18:00.000")], raw)
    assert refused.value.code == "AP-IFS-062"


@pytest.mark.parametrize(("moved", "code"), [((3, 2), "AP-IFS-063"), ((0, 2), "AP-IFS-063"), ((10, 0), "AP-IFS-071")])
def test_a_flat_of_another_grid_is_refused_by_name(ifs: SmallIfs, moved: tuple[int, int], code: str):
    light = ifs.image(np.broadcast_to(LAMP, (1, len(ifs.lenslets), CHANNELS)))
    raw = ifs.raw(np.roll(light, moved, axis=(1, 2)), np.random.default_rng(1))
    with pytest.raises(DataFailure) as refused:
        ifs.run(IFS_LENSLET_FLAT, [small_frame("2017-05-14T19:18:00.000")], raw)
    assert refused.value.code == code


def test_a_flat_a_pixel_aside_is_followed(ifs: SmallIfs):
    light = ifs.image(np.broadcast_to(LAMP, (1, len(ifs.lenslets), CHANNELS)), -1.0)
    raw = ifs.raw(light, np.random.default_rng(1))
    ran = ifs.run(IFS_LENSLET_FLAT, [small_frame("2017-05-14T19:18:00.000")], raw)
    (row,) = (one for one in ran.result.qc if one.metric == "shift_x")
    assert row.value == pytest.approx(-1.0, abs=0.04)
    complete = ifs.solution.complete
    true = ifs.throughput[complete] / np.median(ifs.throughput[complete])
    assert np.std(ran.products["ifs_lenslet_flat"]["throughput"] - true) < 0.004


@pytest.mark.parametrize("moved", [-4, 4])
def test_a_flat_moved_along_the_dispersion_is_refused_though_the_fit_explains_it(ifs: SmallIfs, moved: int):
    cut = np.array(load_tables().ifs.band("YJ").edges_um)
    inside = np.clip((EDGES[1:] - cut[0]) / np.diff(EDGES), 0.0, 1.0) * np.clip((cut[1] - EDGES[:-1]) / 0.01, 0.0, 1.0)
    light = ifs.image(np.broadcast_to(3000.0 * inside, (1, len(ifs.lenslets), CHANNELS)))
    raw = ifs.raw(np.roll(light, moved, axis=1), np.random.default_rng(1))
    with pytest.raises(DataFailure) as refused:
        ifs.run(IFS_LENSLET_FLAT, [small_frame("2017-05-14T19:18:00.000")], raw)
    assert refused.value.code == "AP-IFS-071"
    (row,) = (one for one in refused.value.qc if one.metric == "displacement_y")
    # Channels reach to 2.3 px before the filter and 1.2 px behind it: the other end moved as far at least.
    assert row.value == pytest.approx(0.5 * (moved + (1.2 if moved > 0 else -2.3)), abs=0.3)
    assert "IFS_FLAT_DISPLACED" in str(refused.value)


def test_a_flat_of_other_lenslets_is_refused_though_the_fit_explains_it(ifs: SmallIfs, lenslet_flat: Calibration):
    # All spectra a lenslet aside: each of this lattice's lenslets sees its neighbour's light.
    other = replace(ifs, throughput=np.roll(ifs.throughput, 1))
    raw = other.raw(other.image(np.broadcast_to(LAMP, (1, len(ifs.lenslets), CHANNELS))), np.random.default_rng(1))
    with pytest.raises(DataFailure) as refused:
        ifs.run(IFS_LENSLET_FLAT, [small_frame("2017-05-14T19:18:00.000")], raw)
    assert refused.value.code == "AP-IFS-072"
    assert "IFS_FLAT_OF_OTHERS" in str(refused.value)
    found = {one.metric: one.value for one in refused.value.qc}
    assert found["flat_residual"] < 0.02


@pytest.mark.parametrize("slope", [0.0, 0.03])
def test_planes_of_a_flat_that_are_not_lit_alike_are_named(ifs: SmallIfs, slope: float):
    even = np.broadcast_to(LAMP, (2, len(ifs.lenslets), CHANNELS))
    # The second file is twice as bright, and its lamp leans over the field.
    lit = np.stack([np.ones(len(ifs.lenslets)), 2.0 * (1.0 + slope * ifs.lenslets.x / 14.0)])
    raw = ifs.raw(ifs.image(even * lit[:, :, None]), np.random.default_rng(1))
    frames = [small_frame("2017-05-14T19:18:00.000"), small_frame("2017-05-14T19:19:00.000")]
    ran = ifs.run(IFS_LENSLET_FLAT, frames, raw)
    (row,) = (one for one in ran.result.qc if one.metric == "planes_unlike")
    # Middles of the outer regions stand at four fifths of the field of complete lenslets.
    reach = float(np.max(ifs.lenslets.x[ifs.solution.complete])) / 14.0
    # A region of this small field has three or four lenslets, of the whole one a hundred and more.
    assert row.value == pytest.approx(0.8 * slope * reach, abs=0.007)


def test_lasers_without_a_pattern_refuse_no_flat(ifs: SmallIfs):
    smooth = replace(ifs.solution, throughput=np.ones(len(ifs.lenslets)))
    wave = Calibration("smooth", "ifs_wavelength_solution", solution_content(smooth, {}, {}).arrays, {"mode": "YJ"})
    raw = ifs.raw(ifs.image(np.broadcast_to(LAMP, (1, len(ifs.lenslets), CHANNELS))), np.random.default_rng(1))
    ran = ifs.run(IFS_LENSLET_FLAT, [small_frame("2017-05-14T19:18:00.000")], raw, {"wave": [wave]})
    (row,) = (one for one in ran.result.qc if one.metric == "pattern_agreement")
    assert np.isnan(row.value)


def test_one_end_of_the_lamps_light_alone_refuses_nothing(ifs: SmallIfs):
    # Cut off 6 px inside the filter; red light fades slowly, so that no edge is seen there.
    lamp = LAMP * (MIDDLE > 1.0)
    raw = ifs.raw(ifs.image(np.broadcast_to(lamp, (1, len(ifs.lenslets), CHANNELS))), np.random.default_rng(1))
    ran = ifs.run(IFS_LENSLET_FLAT, [small_frame("2017-05-14T19:18:00.000")], raw)
    (row,) = (one for one in ran.result.qc if one.metric == "displacement_y")
    assert np.isnan(row.value)
    (remark,) = (one for one in ran.result.remarks if one.code == "AP-IFS-071")
    assert "only its blue end, 6." in remark.message


def test_a_turned_image_is_followed_lenslet_by_lenslet(ifs: SmallIfs, lenslet_flat: Calibration):
    rng, turn = np.random.default_rng(8), 1.5e-4
    truth = rng.uniform(0.6, 1.4, (1, len(ifs.lenslets), 1)) * STAR
    raw = ifs.raw(ifs.image(truth, SHIFT, turn=turn), rng)
    frames, more = [small_frame("2017-05-15T04:50:00.000")], {"lenslet_flat": [lenslet_flat]}
    found = ifs.run(IFS_EXTRACT, frames, raw, more, roles=("OBJECT",)).products["ifs_spectra"]
    assert found["turn"] == pytest.approx([np.degrees(turn)], abs=4 * found["turn_error"][0])
    assert found["turn_error"] < 0.3 * np.degrees(turn)
    complete = ifs.solution.complete
    x, y = ifs.solution.places(np.array([REFERENCE_UM]), np.flatnonzero(complete))[..., 0]
    assert found["detector_x"] == pytest.approx(x + SHIFT - turn * (y - 1023.5), abs=0.02)
    assert found["detector_y"] == pytest.approx(y + turn * (x - 1023.5), abs=0.03)


def test_spectra_are_the_light_of_the_lenslets_whatever_their_throughput_and_shift(ifs: SmallIfs, science):
    _, _, truth, ran = science
    found = ran.products["ifs_spectra"]
    assert found["shift_x"] == pytest.approx(SHIFT, abs=0.01)
    assert (found["shift_x_error"] < 0.02).all()
    complete = ifs.solution.complete
    true = truth[:, complete] / (GAIN * 10.0) / np.median(1.0 / ifs.throughput[complete])
    core = (MIDDLE > 0.98) & (MIDDLE < 1.27)
    ratio = found["flux"][:, :, core].sum(axis=2) / true[:, :, core].sum(axis=2)
    assert np.median(ratio, axis=1) == pytest.approx(1.0, abs=0.003)
    assert 1.4826 * np.median(np.abs(ratio - np.median(ratio))) < 0.008


def test_claimed_variance_is_the_scatter_between_planes(science):
    found = science[3].products["ifs_spectra"]
    for first in (0, 2):
        sigma = np.sqrt(found["variance"][first] + found["variance"][first + 1])
        away = (found["flux"][first + 1] - found["flux"][first]) / sigma
        use = ((found["flags"][first] | found["flags"][first + 1]) == 0) & np.isfinite(away)
        assert 0.92 < np.std(away[use]) < 1.08


def test_a_sum_over_channels_has_the_variance_that_the_correlations_give(science):
    found = science[3].products["ifs_spectra"]
    channels = slice(10, 14)
    total = found["flux"][0, :, channels].sum(axis=1) - found["flux"][1, :, channels].sum(axis=1)
    claimed = np.zeros(total.size)
    for plane in (0, 1):
        sigma = np.sqrt(found["variance"][plane, :, channels])
        claimed += (sigma**2).sum(axis=1)
        for lag in (1, 2, 3):
            along = found["correlation"][lag - 1, 10 : 14 - lag].T
            claimed += 2.0 * (along * sigma[:, : 4 - lag] * sigma[:, lag:]).sum(axis=1)
    use = (found["flags"][:2, :, channels] == 0).all(axis=(0, 2))
    assert 0.9 < np.std(total[use] / np.sqrt(claimed[use])) < 1.1


def test_hits_are_flagged_and_leave_no_catastrophe(ifs: SmallIfs, science):
    _, _, truth, ran = science
    found = ran.products["ifs_spectra"]
    complete = ifs.solution.complete
    true = truth[:, complete] / (GAIN * 10.0)
    core = (MIDDLE > 0.98) & (MIDDLE < 1.27)
    away = np.abs(found["flux"] - true)
    bad = (away > 0.1 * true) & (away > 6 * np.sqrt(found["variance"])) & (found["flags"] == 0)
    assert bad[:, :, core].mean() < 3e-4
    assert (found["flags"] & int(Flag.COSMIC)).any(axis=(1, 2)).all()
    assert (found["clipped"] > 0).all()
    assert (found["clipped"] < 0.003).all()


def test_an_unusable_plane_is_extracted_and_has_no_say_in_the_others(ifs: SmallIfs, science, lenslet_flat):
    frames, raw, _, ran = science
    more = {"lenslet_flat": [lenslet_flat]}
    worse = raw.copy()
    worse[3] = 0.0
    again = ifs.run(IFS_EXTRACT, frames, worse, more, roles=("OBJECT", "OBJECT"), unusable={(1, 1): "by override"})
    found = again.products["ifs_spectra"]
    assert np.isfinite(found["flux"]).all()
    assert found["usable"].tolist() == [True, True, True, False]
    whole = ran.products["ifs_spectra"]
    use = whole["flags"][2] == 0
    sigma = np.sqrt(whole["variance"][2])
    change = ((found["flux"][2] - whole["flux"][2]) / sigma)[use]
    assert 1.4826 * np.median(np.abs(change)) < 0.3


def test_the_shape_that_spectra_are_held_on_is_on_record(ifs: SmallIfs):
    raw = ifs.raw(ifs.image(np.broadcast_to(STAR, (1, len(ifs.lenslets), CHANNELS))), np.random.default_rng(8))
    frames = [small_frame("2017-05-15T04:50:00.000")]
    inputs = raw_inputs(IFS_EXTRACT, frames, roles=("OBJECT",), calibrations=ifs.calibrations)
    first, second = IFS_EXTRACT.passes
    shared: dict[str, np.ndarray] = {}
    for number, sweep in enumerate((first, second)):
        parts = blocks(IFS_EXTRACT, sweep, inputs, {"raw": raw.copy()})
        shared = dict(sweep.reduce([sweep.block(one, inputs, shared).summary for one in parts], inputs, shared))
        if number == 0:
            # The small detector shows too few lenslets whole for them to share a spectrum.
            shared["common"] = STAR / STAR.max()
    attrs = IFS_EXTRACT.close(inputs, shared).products["ifs_spectra"].attrs
    assert attrs["prior_shape"] == pytest.approx(STAR / STAR.max(), abs=1e-4)
    assert attrs["air_strength"] is None


def test_how_evenly_the_field_is_lit_is_on_record(science):
    """The scene's lenslets see 0.6 to 1.4 of a star, all equally likely."""
    found = {one.metric: one.value for one in science[3].result.qc}
    assert found["evenness"] == pytest.approx(0.68 / 1.32, abs=0.05)
    assert 0.0 < found["last_step"] < 0.5


def test_every_block_variable_and_coordinate_of_the_product_type_is_there(science):
    from archive_proc.instruments.tables import load_tables

    wanted = {one.name for one in load_tables().product_types["ifs_spectra"].variables}
    assert wanted == set(science[3].products["ifs_spectra"])


def test_a_lamp_frame_is_extracted_like_science_without_angles(ifs: SmallIfs, lenslet_flat: Calibration):
    light = ifs.image(np.broadcast_to(LAMP, (1, len(ifs.lenslets), CHANNELS)))
    raw = ifs.raw(light, np.random.default_rng(6))
    frame = small_frame("2017-05-14T19:21:00.000", drot2_ra=None, drot2_dec=None)
    ran = ifs.run(
        IFS_EXTRACT_FRAME,
        [frame],
        raw,
        {"lenslet_flat": [lenslet_flat], "background": ()},
        roles=("CALIB",),
        mu=0.03,
        find_outliers=False,
    )
    found = ran.products["ifs_spectra"]
    assert np.isnan(found["derotation_angle"]).all()
    assert found["frame_type"].tolist() == ["CALIB"]
    inside = 0.3 * LAMP.max() < LAMP
    assert np.median(found["flux"][0][:, inside] / (LAMP[inside] / (GAIN * 10))) == pytest.approx(1.0, abs=0.02)
    assert not (found["flags"] & int(Flag.COSMIC)).any()


def test_the_residual_image_is_the_calibrated_frame_minus_the_published_spectra(
    ifs: SmallIfs, lenslet_flat: Calibration
):
    """In the middle of the frame, where no lenslet that is cut by the edge sends light."""
    raw = ifs.raw(ifs.image(np.broadcast_to(STAR, (1, len(ifs.lenslets), CHANNELS))), np.random.default_rng(8))
    frame = small_frame("2017-05-15T04:50:00.000")
    more = {"lenslet_flat": [lenslet_flat]}
    found = ifs.run(IFS_EXTRACT, [frame], raw, more, roles=("OBJECT",), measure_shift=False).products["ifs_spectra"]
    electrons = np.zeros((1, len(ifs.lenslets), CHANNELS))
    relative = lenslet_flat.arrays["throughput"] / ifs.throughput[ifs.solution.complete]
    electrons[:, ifs.solution.complete] = found["flux"] * GAIN * 10.0 * relative[:, None]
    left = (raw[0] - LEVEL_ADU) * GAIN - ifs.image(electrons)[0]
    seen = np.isfinite(found["residual"])
    assert not seen[ifs.bad].any()
    assert seen[~ifs.bad].mean() > 0.999
    inner = seen & (np.hypot(*(np.indices((SIZE, SIZE)) - SIZE / 2)) < 100)
    # Noise that outputs share along rows is taken off the plane, not off `left`.
    assert np.std((found["residual"] * GAIN * 10.0 - left)[inner]) < 0.1 * np.std(left[inner])


def test_a_file_without_wavelength_solution_is_named(ifs: SmallIfs):
    raw = np.full((1, SIZE, SIZE), LEVEL_ADU, np.float32)
    with pytest.raises(DataFailure) as refused:
        ifs.run(IFS_EXTRACT, [small_frame("2017-05-15T04:50:00.000")], raw, {"wave": ()}, roles=("OBJECT",))
    assert refused.value.code == "AP-IFS-060"


def test_channel_weights_that_do_not_fit_are_named(ifs: SmallIfs):
    raw = np.full((1, SIZE, SIZE), LEVEL_ADU, np.float32)
    frames = [small_frame("2017-05-15T04:50:00.000")]
    with pytest.raises(DataFailure) as refused:
        ifs.run(IFS_EXTRACT, frames, raw, roles=("OBJECT",), channel_weight=(1.0, 2.0))
    assert refused.value.code == "AP-IFS-061"


def test_a_file_of_zeros_is_refused_by_name(ifs: SmallIfs):
    raw = np.zeros((2, SIZE, SIZE), np.float32)
    with pytest.raises(DataFailure) as refused:
        ifs.run(IFS_EXTRACT, [small_frame("2017-05-15T04:50:00.000", 2)], raw, roles=("OBJECT",))
    assert refused.value.code == "AP-IFS-069"


def test_a_plane_of_zeros_is_named_and_has_no_say_in_the_others(ifs: SmallIfs, science, lenslet_flat):
    frames, raw, _, ran = science
    worse = raw.copy()
    worse[2] = 0.0
    again = ifs.run(IFS_EXTRACT, frames, worse, {"lenslet_flat": [lenslet_flat]}, roles=("OBJECT", "OBJECT"))
    found, whole = again.products["ifs_spectra"], ran.products["ifs_spectra"]
    assert "AP-IFS-069" in {one.code for one in again.result.remarks}
    assert found["usable"].tolist() == [True, True, False, True]
    assert found["reason"][2]
    assert not found["flux"][2].any()
    assert (found["flags"][2] & int(Flag.FILLED)).all()
    assert np.isnan(found["variance"][2]).all()
    use = (whole["flags"][3] == 0) & (found["flags"][3] == 0)
    change = ((found["flux"][3] - whole["flux"][3]) / np.sqrt(whole["variance"][3]))[use]
    assert use.mean() > 0.9
    assert 1.4826 * np.median(np.abs(change)) < 0.3


def test_pixels_of_zeros_have_no_weight(ifs: SmallIfs, science, lenslet_flat):
    """A dead quarter of the detector: its spectra are flagged, the others stay what they were."""
    frames, raw, _, ran = science
    worse = raw.copy()
    worse[:, SIZE // 2 :, SIZE // 2 :] = 0.0
    again = ifs.run(IFS_EXTRACT, frames, worse, {"lenslet_flat": [lenslet_flat]}, roles=("OBJECT", "OBJECT"))
    found, whole = again.products["ifs_spectra"], ran.products["ifs_spectra"]
    y, x = found["detector_y"], found["detector_x"]
    inside = (x > SIZE // 2 + 12) & (y > SIZE // 2 + 30)
    outside = (x < SIZE // 2 - 12) | (y < SIZE // 2 - 30)
    assert inside.any()
    assert (found["flags"][:, inside] != 0).all()
    use = (whole["flags"][:, outside] == 0) & (found["flags"][:, outside] == 0)
    assert use.mean() > 0.9
    change = ((found["flux"] - whole["flux"]) / np.sqrt(whole["variance"]))[:, outside][use]
    assert 1.4826 * np.median(np.abs(change)) < 0.3


def test_planes_that_lie_scattered_are_fitted_as_if_side_by_side(ifs: SmallIfs, lenslet_flat: Calibration):
    """Planes of a group are brought together in their own memory, and what was found of them is taken back."""
    rng = np.random.default_rng(11)
    raw = ifs.raw(ifs.image(np.broadcast_to(STAR, (1, len(ifs.lenslets), CHANNELS))), rng)
    raw = np.concatenate([raw + rng.normal(0.0, 1.0, raw.shape).astype(np.float32) for _ in range(5)])
    times = [f"2017-05-15T04:{50 + number}:00.000" for number in range(3)]
    more = {"lenslet_flat": [lenslet_flat]}
    found = []
    for order in ([0, 1, 2], [0, 2, 1]):
        counts, roles = np.array([2, 1, 2])[order], np.array(["OBJECT", "CENTER", "OBJECT"])[order]
        frames = [small_frame(time, int(count)) for time, count in zip(times, counts, strict=True)]
        planes = np.concatenate([np.array_split(np.arange(5), [2, 3])[one] for one in order])
        ran = ifs.run(IFS_EXTRACT, frames, raw[planes].copy(), more, roles=tuple(roles), measure_shift=False)
        back = np.argsort(planes)
        found.append({name: ran.products["ifs_spectra"][name][back] for name in ("flux", "variance", "flags", "chi2")})
    for name, scattered in found[0].items():
        assert np.array_equal(scattered, found[1][name], equal_nan=True), name
    assert not np.array_equal(found[0]["flux"][1], found[0]["flux"][3])


def test_blocks_are_shards_so_that_chunks_change_nothing(ifs: SmallIfs, lenslet_flat: Calibration):
    """Twenty planes are two blocks: the second one's planes come out as in a run of their own."""
    rng = np.random.default_rng(9)
    truth = np.broadcast_to(STAR, (1, len(ifs.lenslets), CHANNELS))
    light = ifs.image(truth)
    raw = np.concatenate([ifs.raw(light, rng) for _ in range(20)])
    frames = [small_frame("2017-05-15T04:50:00.000", 20)]
    inputs = raw_inputs(
        IFS_EXTRACT,
        frames,
        roles=("OBJECT",),
        calibrations={**ifs.calibrations, "lenslet_flat": (lenslet_flat,)},
    )
    first, second = IFS_EXTRACT.passes
    shared = first.reduce(
        [first.block(one, inputs, {}).summary for one in blocks(IFS_EXTRACT, first, inputs, {"raw": raw})], inputs, {}
    )
    # A block's pixels are worked on in place: each call has its own.
    once, again = (blocks(IFS_EXTRACT, second, inputs, {"raw": raw}) for _ in range(2))
    assert len(once) == 2
    found = [second.block(one, inputs, shared).planes["ifs_spectra"]["flux"] for one in once]
    other = [second.block(one, inputs, shared).planes["ifs_spectra"]["flux"] for one in again[::-1]]
    for one, two in zip(found, other[::-1], strict=True):
        assert np.array_equal(one, two)
