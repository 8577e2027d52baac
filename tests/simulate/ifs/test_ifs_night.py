"""A small simulated IFS night: what is on disk is what truth says, found by simple means."""

import dataclasses
import datetime as dt
import hashlib

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import convolve, map_coordinates

from archive_proc.errors import InputError, MisuseError, PreconditionError
from archive_proc.simulate.ifs import broken
from archive_proc.simulate.ifs.facts import GAIN, PITCH_MAS
from archive_proc.simulate.ifs.night import simulate_ifs_night
from archive_proc.simulate.ifs.spec import IfsCompanion, IfsNight, IfsObservation, IfsTarget, scene_night
from archive_proc.simulate.ifs.truth import load_ifs_truth, rounded

COMPANION = IfsCompanion(150.0, 250.0, 0.3, "L")
STAR = IfsTarget(name="SIM-STAR", ra_deg=226.4, dec_deg=-40.0, electrons_s=1e7, companions=(COMPANION,))
SMALL = IfsNight(
    mode="YJ",
    observations=(IfsObservation(scene="star", target=STAR, order="O", ndit=1, dit_s=16.0),),
    start=dt.datetime(2017, 5, 15, 7, 30),
    calibrations=("background", "wave"),
    background_ndit=1,
    lamp_ndit=1,
    field_pitches=17.0,
)
SEED = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    directory = tmp_path_factory.mktemp("ifs") / "raw"
    simulate_ifs_night(directory, SMALL, SEED)
    return directory


@pytest.fixture(scope="module")
def truth(folder):
    return load_ifs_truth(folder.with_name("raw.truth"))


def of_kind(folder, truth, kind):
    """(path, frame truth, pixels in electrons less the background's) of the last file of a kind."""
    frame = [one for one in map(truth.frame, truth.file_ids) if one.kind == kind][-1]
    path = folder / f"{frame.file_id}.fits"
    dit = fits.getheader(path)["ESO DET SEQ1 REALDIT"]
    pixels = fits.getdata(path)[0].astype(float) * GAIN - truth.background_e_s * truth.response * dit
    bad = np.concatenate([truth.hot, truth.dead, truth.unstable, truth.newly_hot])
    pixels.reshape(-1)[bad] = np.nan
    hits = frame.cosmics[:, 1:]
    pixels[hits[:, 0], hits[:, 1]] = np.nan
    return path, frame, pixels / truth.response


def test_files_are_whole_eso_files_and_truth_stands_beside(folder, truth):
    assert {path.suffix for path in folder.iterdir()} == {".fits"}
    for path in sorted(folder.iterdir()):
        with fits.open(path) as opened:
            opened.verify("exception")
            assert opened[0].header["BITPIX"] == -32
            assert opened[0].data.shape == (opened[0].header["ESO DET NDIT"], 2048, 2048)
        assert path.stat().st_size % 2880 == 0
    assert set(truth.file_ids) == {path.stem for path in folder.iterdir()}


def test_lasers_stand_where_truth_says(folder, truth):
    _, frame, image = of_kind(folder, truth, "wave")
    y, x = np.mgrid[-2:3, -2:3]
    offsets, light = [], []
    for row in np.nonzero(np.hypot(truth.x, truth.y) < 15)[0]:
        for laser in range(len(truth.laser_nm)):
            at = truth.x_laser[row, laser] + frame.pose[0, 0], truth.y_laser[row, laser] + frame.pose[0, 1]
            ix, iy = round(float(at[0])), round(float(at[1]))
            box = image[iy - 2 : iy + 3, ix - 2 : ix + 3]
            if np.isfinite(box).all() and np.hypot(at[0] - ix, at[1] - iy) < 0.15:
                offsets.append(((box * x).sum() / box.sum() + ix - at[0], (box * y).sum() / box.sum() + iy - at[1]))
                light.append(box.sum() / (frame.spectrum[laser] * frame.weight[row, laser] * truth.throughput[row]))
    assert len(offsets) > 50
    # The window's edges and the neighbours' wings pull by some hundredths.
    assert np.abs(np.median(offsets, axis=0)).max() < 0.04
    assert 0.8 < np.median(light) < 1.0


def test_truth_alone_rebuilds_the_laser_frame_to_its_noise(folder, truth):
    _, frame, image = of_kind(folder, truth, "wave")
    px, py, wavelength, images = truth.psflets()
    half = 70
    cx, cy = (round(float(np.mean(one[:, 0]))) for one in (truth.x_laser, truth.y_laser))
    model = np.zeros((2 * half + 1, 2 * half + 1))
    y, x = np.mgrid[cy - half : cy + half + 1, cx - half : cx + half + 1]
    for row in range(len(truth.x)):
        i, j = np.searchsorted(px, truth.x[row]) - 1, np.searchsorted(py, truth.y[row]) - 1
        a, b = (truth.x[row] - px[i]) / (px[i + 1] - px[i]), (truth.y[row] - py[j]) / (py[j + 1] - py[j])
        for laser, nm in enumerate(truth.laser_nm):
            w = int(np.argmin(np.abs(wavelength - nm)))
            psflet = (1 - b) * ((1 - a) * images[j, i, w] + a * images[j, i + 1, w])
            psflet = psflet + b * ((1 - a) * images[j + 1, i, w] + a * images[j + 1, i + 1, w])
            at_x = truth.x_laser[row, laser] + frame.pose[0, 0]
            at_y = truth.y_laser[row, laser] + frame.pose[0, 1]
            near = (np.abs(x - at_x) < 10) & (np.abs(y - at_y) < 10)
            where = [88 + 8 * (y[near] - at_y), 88 + 8 * (x[near] - at_x)]
            passed = truth.throughput[row] * (1 + truth.colour[row] * (nm - 1150) / 200)
            electrons = frame.spectrum[laser] * frame.weight[row, laser] * passed
            model[near] += electrons * map_coordinates(psflet, where, order=3)
    ipc = truth.facts["ipc"]
    cross = np.array([[0, ipc, 0], [ipc, 1 - 4 * ipc, ipc], [0, ipc, 0]])
    model = convolve(model, cross)
    data = image[cy - half : cy + half + 1, cx - half : cx + half + 1]
    inner = np.isfinite(data)
    inner[:14] = inner[-14:] = inner[:, :14] = inner[:, -14:] = False
    residual = data - model
    # Halo and pedestal are smooth; the rest is noise.
    residual -= np.nanmedian(np.where(inner, residual, np.nan))
    noise = np.sqrt(model + 25.0 + 16.0**2)
    chi = (residual / noise)[inner]
    chi = chi[np.abs(chi) < 8]
    assert chi.size > 0.97 * inner.sum()
    assert model[inner].max() > 5000
    assert 0.85 < chi.std() < 1.2


def test_a_companion_is_seen_where_its_position_angle_puts_it(folder, truth):
    _, frame, image = of_kind(folder, truth, "O")
    sky = frame.sky[0]
    turn = np.radians(COMPANION.position_angle_deg - (sky["parang"] + 135.99 - 100.48 - 1.75))
    where = np.array([-np.sin(turn), np.cos(turn)]) * COMPANION.separation_mas / PITCH_MAS
    # Light of each lenslet: columns around its trace, 1240 to 1300 nm, where an L dwarf is bright.
    middle = int(np.argmin(np.abs(truth.position_nm - 1260)))
    light = []
    for x, y in zip(truth.x_px[:, middle], truth.y_px[:, middle], strict=True):
        ix, iy = round(float(x + frame.pose[0, 0])), round(float(y + frame.pose[0, 1]))
        light.append(np.nanmean(image[iy - 2 : iy + 3, ix - 1 : ix + 2]))
    offset = np.stack([truth.x - sky["star_x"], truth.y - sky["star_y"]], axis=1)
    ring = (np.hypot(*offset.T) > 8.5) & (np.hypot(*offset.T) < 14.5)
    brightest = offset[ring][np.argmax(np.array(light)[ring])]
    assert np.hypot(*(brightest - where)) < 1.1
    row = sky["companions"][0]
    assert (row["x"] - sky["star_x"], row["y"] - sky["star_y"]) == pytest.approx(tuple(where), abs=1e-6)
    mirrored = np.array([-where[0], where[1]])
    assert np.hypot(*(brightest - mirrored)) > 4


def test_the_light_on_the_detector_is_that_of_truth(folder, truth):
    path, frame, _ = of_kind(folder, truth, "O")
    flux = truth.flux(frame, 0)
    dit = fits.getheader(path)["ESO DET SEQ1 REALDIT"]
    raw = fits.getdata(path)[0].astype(float) * GAIN
    light = raw - truth.background_e_s * truth.response * dit
    good = np.ones(raw.size, bool)
    good[np.concatenate([truth.hot, truth.dead, truth.unstable, truth.newly_hot])] = False
    good = good.reshape(raw.shape)
    good[frame.cosmics[:, 1], frame.cosmics[:, 2]] = False
    field = np.zeros(raw.shape, bool)
    middle = len(truth.position_nm) // 2
    for x, y in zip(truth.x_px[:, middle], truth.y_px[:, middle], strict=True):
        field[int(y) - 40 : int(y) + 41, int(x) - 12 : int(x) + 13] = True
    dark = np.median(light[good & ~field])
    total = (light - dark)[good & field].sum() * field.sum() / (good & field).sum()
    expected = flux.sum() * (1.0 + truth.facts["halo_share"])
    assert total == pytest.approx(expected, rel=0.04)


def test_a_seed_gives_the_same_bytes_and_another_one_others(folder, tmp_path):
    again = tmp_path / "raw"
    night = dataclasses.replace(SMALL, calibrations=("wave",), observations=())
    simulate_ifs_night(again, night, SEED)
    simulate_ifs_night(tmp_path / "same", night, SEED)
    simulate_ifs_night(tmp_path / "other", night, SEED + 1)
    digests = [
        [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((tmp_path / name).iterdir())]
        for name in ("raw", "same", "other")
    ]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_a_night_may_stand_aside_and_have_the_lenslets_of_another_mode(truth, tmp_path):
    # Small, so that nothing else of it takes time.
    night = dataclasses.replace(SMALL, calibrations=("wave",), observations=(), moved_px=(15.26, -2.93))
    aside = simulate_ifs_night(tmp_path / "aside", night, SEED)
    assert aside.x_laser - truth.x_laser == pytest.approx(15.26, abs=2e-3)
    assert aside.y_laser - truth.y_laser == pytest.approx(-2.93, abs=2e-3)
    assert np.array_equal(aside.response, truth.response)
    other = simulate_ifs_night(tmp_path / "other", dataclasses.replace(night, mode="YH", lenslets_of="YJ"), SEED)
    assert other.throughput == pytest.approx(truth.throughput)


def test_truth_of_unknown_files_and_folders_is_refused(truth, tmp_path):
    with pytest.raises(InputError, match="AP-SIM-003"):
        truth.frame("SPHER.2000-01-01T00:00:00.000")
    with pytest.raises(InputError, match="AP-SIM-003"):
        load_ifs_truth(tmp_path)


def test_psflet_truth_is_centred_and_of_sum_one(truth):
    x, y, wavelength, images = truth.psflets()
    assert images.shape == (len(y), len(x), len(wavelength), 176, 176)
    at = (np.arange(176) - 88) / 8
    sums = images.sum(axis=(3, 4)) / 64
    assert np.allclose(sums, 1.0, atol=3e-3)
    assert np.abs((images.sum(axis=3) @ at) / 64).max() < 3e-3


def test_rounding_keeps_eleven_bits():
    values = np.array([1.0, 3.14159, 1e6, 0.0], np.float32)
    assert np.allclose(rounded(values), values, rtol=2.0**-12, atol=0)


def test_a_full_directory_and_a_wrong_scene_are_refused(folder):
    with pytest.raises(PreconditionError, match="AP-SIM-004"):
        simulate_ifs_night(folder, SMALL, SEED)
    with pytest.raises(MisuseError, match="AP-SIM-002"):
        scene_night("YJ", ("galaxy",))
    with pytest.raises(MisuseError, match="AP-SIM-001"):
        scene_night("K")
    with pytest.raises(MisuseError, match="AP-SIM-002"):
        broken.night_without_lasers(SMALL, "CBL9")


def test_broken_nights_lack_what_they_say():
    night = scene_night("YJ")
    assert "wave" not in broken.night_without(night, "wave").calibrations
    assert broken.night_without_background(night, 32.0).dits_without_background_s == (32.0,)
    assert broken.night_with_lamps(night, 0.02).lamp_level == 0.02
    assert broken.night_without_lasers(night).lasers_off == ("CBL1", "CBL3", "CBL6")
    one = broken.night_without_lasers(night, "CBL3", claimed=False)
    assert (one.lasers_off, one.lasers_claimed) == (("CBL3",), False)


def test_broken_files_are_bad_in_the_way_they_are_named(folder, truth, tmp_path):
    wave, _, _ = of_kind(folder, truth, "wave")
    science, _, _ = of_kind(folder, truth, "O")
    plain = fits.getdata(science)
    to = tmp_path / "broken.fits"

    def pixels(path):
        with fits.open(path) as opened:
            opened.verify("exception")
            return opened[0].data.copy(), opened[0].header

    assert pixels(broken.mislabelled(wave, to, "FLAT,LAMP"))[1]["ESO DPR TYPE"] == "FLAT,LAMP"
    header = pixels(broken.claims_prism(wave, to, "YH"))[1]
    assert (header["ESO INS2 COMB IFS"], header["ESO INS2 OPTI2 NAME"]) == ("OBS_H", "PRI_YJH")
    assert np.allclose(pixels(broken.scaled(science, to, 0.02))[0], 0.02 * plain, atol=1e-3)
    assert pixels(broken.scaled(science, to, 1e6))[0].max() == 65535.0
    both = np.minimum(plain + fits.getdata(wave), 65535.0)
    assert np.allclose(pixels(broken.lamp_left_on(science, wave, to))[0], both, atol=0.1)
    assert not pixels(broken.planes_of_zeros(science, to, 0))[0].any()
    quarter = pixels(broken.dead_quadrant(science, to, 3))[0]
    assert not quarter[:, 1024:, 1024:].any()
    assert np.array_equal(quarter[:, :1024], plain[:, :1024])
    dead = pixels(broken.dead_pixels(science, to, 0.05, seed=4))[0][0] == 0.0
    assert dead.mean() == pytest.approx(0.05, abs=0.001)
    again = pixels(broken.dead_pixels(wave, to, 0.05, seed=4))[0][0] == 0.0
    assert np.array_equal(dead, again)
    (tmp_path / "short.fits").write_bytes(science.read_bytes()[:200_000])
    with pytest.raises(MisuseError, match="AP-SIM-005"):
        broken.scaled(tmp_path / "short.fits", to, 2.0)
