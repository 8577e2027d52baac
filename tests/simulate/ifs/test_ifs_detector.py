"""The simulated detector has the defects and the noise it says."""

import numpy as np
import pytest

from archive_proc.simulate.ifs.detector import Read, expose, make_detector
from archive_proc.simulate.ifs.facts import GAIN, SATURATION_ADU, read_noise_e
from archive_proc.simulate.ifs.projection import Light


@pytest.fixture(scope="module")
def detector():
    return make_detector(np.random.default_rng(8))


def read(dit_s, *, science=False):
    return Read(real_dit_s=dit_s, dit_s=dit_s, background_factor=1.0, background_slope=(0.0, 0.0), science=science)


@pytest.fixture(scope="module")
def darks(detector):
    rng = np.random.default_rng(2)
    return [expose(detector, None, read(32.0, science=science), rng) for science in (False, False, True)]


def test_bad_pixels_have_the_stated_shares(detector):
    pixels = 2048 * 2048
    assert detector.hot.size == pytest.approx(0.004 * pixels, rel=0.01)
    assert 0.0025 * pixels < detector.dead.size < 0.0032 * pixels
    assert detector.unstable.size == pytest.approx(0.001 * pixels, rel=0.01)
    assert detector.newly_hot.size == pytest.approx(0.0005 * pixels, rel=0.01)
    assert detector.response.reshape(-1)[detector.dead].max() < 0.7


def test_dark_pairs_show_read_noise_and_dark_light(detector, darks):
    (first, _), (second, _), _ = darks
    level = np.median(first - detector.pedestal_adu) * GAIN
    assert level == pytest.approx(32.0 * np.median(detector.background_e_s * detector.response), rel=0.01)
    spread = 1.4826 * np.median(np.abs(first - second)) * GAIN / np.sqrt(2)
    expected = np.sqrt(level * (1 - 8 * detector.ipc) + read_noise_e(32.0, detector.noise_factor) ** 2 + 3.0)
    assert spread == pytest.approx(expected, rel=0.02)


def test_pixels_turn_hot_with_science(detector, darks):
    by_day, at_night = darks[0][0].reshape(-1), darks[2][0].reshape(-1)
    fresh = np.setdiff1d(detector.newly_hot, np.concatenate([detector.hot, detector.unstable]))
    rate = detector.newly_hot_e_s[np.isin(detector.newly_hot, fresh)]
    gained = np.median((at_night - by_day)[np.sort(fresh)])
    assert gained * GAIN == pytest.approx(32.0 * np.median(rate), rel=0.1)


def test_hot_pixels_leak_into_their_neighbours(detector, darks):
    image = np.mean([one[0] for one in darks[:2]], axis=0) - detector.pedestal_adu
    image -= np.median(image)
    y, x = np.unravel_index(detector.hot, image.shape)
    bright = (image[y, x] > 3000) & (image[y, x] < 30000) & (y > 0) & (y < 2047) & (x > 0) & (x < 2047)
    y, x = y[bright], x[bright]
    share = np.median(np.concatenate([image[y + 1, x] / image[y, x], image[y, x - 1] / image[y, x]]))
    assert share == pytest.approx(detector.ipc, abs=0.002)


def test_cosmics_are_where_truth_says(detector, darks):
    (first, hits), (second, _), _ = darks
    jump = (first - second)[hits[:, 0], hits[:, 1]]
    assert len(hits) > 20
    assert np.median(jump) > 100
    assert np.median(first - second) == pytest.approx(0.0, abs=1.0)


def test_light_is_weighted_with_response_and_colour_and_saturates(detector):
    flat = np.full((2048, 2048), 20000.0, np.float32)
    rng = np.random.default_rng(5)
    plain, _ = expose(detector, Light(flat, np.zeros_like(flat)), read(2.0), rng)
    red, _ = expose(detector, Light(flat, flat), read(2.0), rng)
    good = np.ones(flat.size, bool)
    good[np.concatenate([detector.hot, detector.dead, detector.unstable])] = False
    ratio = (red / plain).reshape(-1)[good] - 1.0
    assert np.corrcoef(ratio, detector.colour.reshape(-1)[good])[0, 1] > 0.3
    assert ratio.mean() == pytest.approx(detector.colour.mean(), abs=2e-4)
    bright, _ = expose(detector, Light(20 * flat, np.zeros_like(flat)), read(2.0), rng)
    assert bright.max() == pytest.approx(SATURATION_ADU)


def test_read_noise_falls_with_the_number_of_samples():
    assert read_noise_e(1.650726) == pytest.approx(13.0, abs=0.1)
    assert read_noise_e(32.0) > read_noise_e(64.0) > 7.0
