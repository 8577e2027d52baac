"""A simulated night is a readable ESO night, and what is true of it can be found by simple means."""

import datetime as dt
import hashlib

import numpy as np
import pytest
from astropy.io import fits

from archive_proc.errors import PreconditionError
from archive_proc.simulate.demo import demo_spec
from archive_proc.simulate.facts import GAIN
from archive_proc.simulate.night import simulate_night
from archive_proc.simulate.spec import CalibrationSpec, Companion, NightSpec, SequenceSpec, Star
from archive_proc.simulate.timeline import timeline
from archive_proc.simulate.truth import load_truth

COMPANION = Companion(900.0, 63.0, (3e-3, 3e-3))
STAR = Star(name="SIM_ERI", ra_deg=69.40055, dec_deg=-2.47355, flux_adu_s=(6e6, 5.5e6), companions=(COMPANION,))
NIGHT = NightSpec(
    sequences=(
        SequenceSpec(
            star=STAR,
            start=dt.datetime(2015, 9, 25, 8, 20),
            filter="DB_K12",
            order="FCOOS",
            ndit=1,
            flux_ndit=1,
            sky_ndit=1,
            gap_s=600.0,
            dithers=((0, 0), (3, -2)),
            star_in_sky=False,
        ),
    ),
    calibrations=(
        CalibrationSpec(kind="FLAT,LAMP", filter="DB_K12", dit_s=1.0, files=2),
        CalibrationSpec(kind="DARK", filter="DB_K12", dit_s=16.0, ndit=2),
    ),
)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    return simulate_night(tmp_path_factory.mktemp("sim") / "raw", NIGHT, 11)


@pytest.fixture(scope="module")
def planes(night):
    """(header, pixels as float64) by position in the night."""
    return [(fits.getheader(path), fits.getdata(path).astype(float)) for path in night.files]


@pytest.fixture(scope="module")
def truth(night):
    return load_truth(night.truth_directory / night.sequences[0].name)


def of_type(planes, dpr_type):
    return [pair for pair in planes if pair[0]["ESO DPR TYPE"] == dpr_type]


def clean(truth, plane, half):
    """Linear light before the flat in one half, bad pixels NaN."""
    columns = slice(half * 1024, half * 1024 + 1024)
    light = plane[:, columns] - truth.pedestal[:, columns]
    light = light + light**2 * 0.01 / 20000.0
    response = truth.flat[:, columns]
    return np.where(truth.bad[:, columns] | (response < 0.3), np.nan, light / np.maximum(response, 0.1))


def centroid(image, x, y, radius):
    """Centre of light within `radius` pixels of (x, y), local background off, iterated."""
    for _ in range(6):
        yy, xx = np.mgrid[round(y) - 14 : round(y) + 15, round(x) - 14 : round(x) + 15]
        box = image[yy, xx]
        r = np.hypot(yy - y, xx - x)
        good = np.isfinite(box)
        sky = np.median(box[good & (r > radius + 2)])
        # Bad pixels take the mirror pixel's value, which a symmetric source shares.
        box = np.where(good, box, box[::-1, ::-1])
        weight = np.where((r <= radius) & np.isfinite(box), np.nan_to_num(box) - sky, 0.0)
        x, y = float(np.sum(weight * xx) / weight.sum()), float(np.sum(weight * yy) / weight.sum())
    return x, y


def test_files_are_named_after_their_start_and_hold_the_planes_they_promise(night, planes):
    for path, (header, pixels) in zip(night.files, planes, strict=True):
        assert path.name == header["ARCFILE"] == f"SPHER.{header['DATE-OBS'][:23]}.fits"
        assert header["BITPIX"] == -32
        assert pixels.shape == (header["ESO DET NDIT"], 1024, 2048)
        assert path.stat().st_size % 2880 == 0


def test_truth_stands_beside_the_raw_files_and_never_among_them(night):
    assert {path.suffix for path in night.directory.iterdir()} == {".fits"}
    assert night.truth_directory.parent == night.directory.parent


def test_times_of_a_header_agree_with_each_other(planes):
    epoch = dt.datetime(1858, 11, 17)
    for header, _ in planes:
        start = dt.datetime.fromisoformat(header["DATE-OBS"])
        assert header["MJD-OBS"] == pytest.approx((start - epoch) / dt.timedelta(days=1), abs=1e-8)
        closed = (dt.datetime.fromisoformat(header["ESO DET FRAM UTC"]) - start).total_seconds()
        assert 0.19 < closed - header["ESO DET SEQ1 EXPTIME"] < 0.71
        assert header["EXPTIME"] == header["ESO DET SEQ1 DIT"]


def test_calibrations_have_no_pointing_and_the_generic_block(planes):
    for header, _ in of_type(planes, "FLAT,LAMP") + of_type(planes, "DARK"):
        assert "RA" not in header
        assert header["ESO OBS ID"] == 200313600
        assert header["OBJECT"] == header["ESO DPR TYPE"]
        assert header["ESO INS4 DROT2 MODE"] == "STAT"


def test_true_angles_agree_with_the_headers(planes, truth):
    for row, file_id in enumerate(truth.raw_file):
        header = next(one for one, _ in planes if one["ARCFILE"].startswith(file_id))
        start, end = header["ESO TEL PARANG START"], header["ESO TEL PARANG END"]
        without_fault = (truth.parang[row] - truth.epsilon[row] - start + 180) % 360 - 180
        swing = (end - start + 180) % 360 - 180
        assert abs(without_fault - 0.5 * swing) < 0.1 * abs(swing) + 0.002
        assert truth.derot[row] == pytest.approx(truth.parang[row] + 135.99 - 1.75)


def test_the_derotator_fault_is_in_headers_of_before_the_repair(planes, truth):
    for row, file_id in enumerate(truth.raw_file):
        header = next(one for one, _ in planes if one["ARCFILE"].startswith(file_id))
        altitude, begin = header["ESO TEL ALT"], header["ESO INS4 DROT2 BEGIN"]
        fault = np.degrees(np.arctan(np.tan(np.radians(altitude - 2 * begin))))
        assert fault == pytest.approx(truth.epsilon[row], abs=0.003)
    assert truth.epsilon[0] == pytest.approx(0.55, abs=0.01)


def test_the_flux_star_is_where_truth_says(planes, truth):
    _, pixels = of_type(planes, "OBJECT,FLUX")[0]
    for half in range(2):
        image = clean(truth, pixels[0], half)
        x, y = truth.center[0, half]
        found = centroid(image, round(x), round(y), 4)
        assert np.hypot(found[0] - x, found[1] - y) < 0.15


def test_the_midpoint_of_the_four_spots_is_the_true_centre(planes, truth):
    _, pixels = of_type(planes, "OBJECT,CENTER")[0]
    row = truth.frame_type.index("OBJECT,CENTER")
    for half in range(2):
        image = clean(truth, pixels[0], half)
        x, y = truth.center[row, half]
        reach = 14.0 * truth.wave[half] * 1e-9 / 8.0 * 206264806.247 / truth.pix[half] / np.sqrt(2)
        spots = [centroid(image, x + sx * reach, y + sy * reach, 5) for sx in (-1, 1) for sy in (-1, 1)]
        middle = np.mean(spots, axis=0)
        assert np.hypot(*(middle - (x, y))) < 0.35
        spread = np.ptp([np.hypot((a - x) * 1.0, (b - y) * 1.0062) for a, b in spots])
        assert spread < 2.0


def test_the_companion_turns_with_the_sky_and_moves_with_the_dither(planes, truth):
    rows = [row for row, kind in enumerate(truth.frame_type) if kind == "OBJECT"]
    places = []
    for row, (_, pixels) in zip(rows, of_type(planes, "OBJECT"), strict=True):
        image = clean(truth, pixels[0], 0)
        turn = np.radians(COMPANION.position_angle_deg - truth.derot[row])
        x = truth.center[row, 0, 0] - COMPANION.separation_mas * np.sin(turn) / truth.pix[0]
        y = truth.center[row, 0, 1] + COMPANION.separation_mas * np.cos(turn) / (1.0062 * truth.pix[0])
        found = centroid(image, round(x), round(y), 5)
        assert np.hypot(found[0] - x, found[1] - y) < 0.35
        places.append(found)
    assert np.hypot(places[1][0] - places[0][0], places[1][1] - places[0][1]) > 5.0
    shift = truth.center[rows[1], 0] - truth.center[rows[0], 0]
    assert np.abs(shift - (3, -2)).max() < 2.0


def test_the_sky_has_the_true_background_and_halves_differ(planes, truth):
    _, pixels = of_type(planes, "SKY")[0]
    row = truth.frame_type.index("SKY")
    for half in range(2):
        blocks = _block_medians(clean(truth, pixels[0], half))
        inner = (slice(10, 54), slice(10, 52))
        offset = np.nanmedian(blocks[inner] - truth.thermal[row, half][inner])
        assert abs(offset) < 2.0
    assert truth.thermal[row, 1].mean() > 2.0 * truth.thermal[row, 0].mean()


def _block_medians(image):
    with np.errstate(all="ignore"):
        boxes = image.reshape(64, 16, 64, 16).transpose(0, 2, 1, 3).reshape(64, 64, 256)
        filled = np.where(np.isfinite(boxes), boxes, np.inf)
        count = np.isfinite(boxes).sum(axis=2)
        ordered = np.sort(filled, axis=2)
        middle = np.take_along_axis(ordered, np.maximum(count // 2, 0)[:, :, None].clip(0, 255), axis=2)[:, :, 0]
    return np.where(count > 50, middle, np.nan)


def test_photon_noise_of_two_flats_gives_the_gain(planes):
    one, two = (pixels[0][200:800, 100:800] for _, pixels in of_type(planes, "FLAT,LAMP"))
    level = np.median(0.5 * (one + two))
    difference = one - two
    spread = 1.4826 * np.median(np.abs(difference - np.median(difference))) / np.sqrt(2)
    # Non-linearity of 2 * 0.01 / 20000 a level compresses noise by 0.4 %, read noise adds 0.3 %.
    assert level / spread**2 == pytest.approx(GAIN, rel=0.03)


def test_dark_planes_hold_hot_and_unstable_pixels(planes, truth):
    _, pixels = of_type(planes, "DARK")[0]
    level = pixels[0] - truth.pedestal
    assert 500 < np.sum(level > 200) < 20000
    jump = np.abs(pixels[1] - pixels[0])
    assert np.sum((jump > 200) & truth.bad) > 200


def tiny():
    return NightSpec(
        sequences=(SequenceSpec(star=STAR, start=dt.datetime(2018, 9, 25, 8), order="O", ndit=1, filter="DB_H23"),),
        calibrations=(),
    )


def digest(truth):
    return [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in truth.files]


def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not(tmp_path):
    first = digest(simulate_night(tmp_path / "a", tiny(), 5))
    assert first == digest(simulate_night(tmp_path / "b", tiny(), 5))
    other = digest(simulate_night(tmp_path / "c", tiny(), 6))
    assert [one for _, one in first] != [one for _, one in other]


def test_kept_starlight_and_the_background_make_up_the_raw_planes(tmp_path):
    whole = simulate_night(tmp_path / "a", tiny(), 5, keep_starlight=True)
    truth = load_truth(whole.sequences[0].folder)
    science = np.flatnonzero(truth.in_sequence)
    assert science.size
    for row in science:
        name, plane = truth.raw_file[row], int(truth.frame_idx[row])
        raw = fits.getdata(tmp_path / "a" / f"{name}.fits")[plane]
        light = truth.starlight(int(row))
        for half in range(2):
            columns = slice(1024 * half, 1024 * half + 1024)
            flat = truth.flat[:, columns]
            seen = (raw[:, columns] - truth.pedestal[:, columns]) / np.maximum(flat, 0.1) - light[half]
            # Where there is light of the star, but not so much that its photon noise matters.
            good = (flat > 0.5) & ~truth.bad[:, columns] & (light[half] > 20) & (light[half] < 300)
            thermal = np.repeat(np.repeat(truth.thermal[row, half], 16, axis=0), 16, axis=1)
            # A dozen outputs, each off by 1.7 ADU in the first plane of a setup.
            assert abs(np.median((seen - thermal)[good])) < 1.5
            assert good.sum() > 10000


def test_a_night_is_not_written_among_other_files(tmp_path):
    (tmp_path / "note.txt").write_text("here before")
    with pytest.raises(PreconditionError, match="AP-SIM-004"):
        simulate_night(tmp_path, tiny(), 1)


def test_compressed_nights_hold_the_same_pixels(tmp_path):
    plain = simulate_night(tmp_path / "a", tiny(), 5)
    packed = simulate_night(tmp_path / "b", NightSpec(sequences=tiny().sequences, calibrations=(), compress=True), 5)
    assert packed.files[0].name.endswith(".fits.gz")
    assert np.array_equal(fits.getdata(plain.files[0]), fits.getdata(packed.files[0]))


def test_the_demo_night_is_small_and_one_sequence_lacks_flux():
    exposures = timeline(demo_spec(), np.random.default_rng(0))
    assert 40 <= sum(one.ndit for one in exposures) <= 70
    assert len({one.file_id for one in exposures}) == len(exposures)
    letters = ["".join(one.letter for one in exposures if one.sequence == index) for index in range(2)]
    assert "F" not in letters[0]
    assert {"F", "C", "O", "S", "B"} <= set(letters[1])


def test_continuous_waffle_makes_the_center_files_the_science(tmp_path):
    night = NightSpec(
        sequences=(
            SequenceSpec(
                star=STAR, start=dt.datetime(2018, 9, 25, 8), order="CC", ndit=1, continuous_waffle=True, gap_s=10
            ),
        ),
        calibrations=(),
    )
    truth = simulate_night(tmp_path / "w", night, 3).sequences[0]
    assert truth.in_sequence.all()
    assert set(truth.frame_type) == {"OBJECT,CENTER"}
