"""Peers are named when they are missing, and the best of those that are there stands beside ours."""

import numpy as np
import pytest

from archive_proc.bench.peers import (
    PACKAGES,
    aperture_photometry,
    best_of,
    installed,
    ready_frame,
    vip_centres,
    vlt_sphere_centres,
)

WAVE, SCALE = (1593.0, 1667.0), (12.255, 12.25)
STAR = np.array([[486.3, 523.6], [488.2, 514.4]])


def spots():
    """Four round spots about `STAR` in each half, on a little noise."""
    frame = np.random.default_rng(1).normal(0.0, 3.0, (2, 1024, 1024)).astype(np.float32)
    y, x = np.mgrid[:1024, :1024]
    for half in range(2):
        reach = 14.0 * WAVE[half] * 1e-9 / 8.0 * 206264806.247 / SCALE[half] / np.sqrt(2.0)
        for sx, sy in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            dx, dy = x - STAR[half, 0] - sx * reach, y - STAR[half, 1] - sy * reach
            frame[half] += (500.0 * np.exp(-(dx**2 + dy**2) / (2 * 1.7**2))).astype(np.float32)
    return frame


def test_the_best_peer_is_the_least_and_missing_ones_are_named():
    best = best_of({"one": 2.0, "two": 1.5, "three": None, "four": float("nan")}, ("irdap",))
    assert (best.label, best.value) == ("two", 1.5)
    none = best_of({"one": None}, ("vlt-sphere", "vip-hci"))
    assert none.value is None
    missing = [name for name in ("vlt-sphere", "vip-hci") if installed()[name] is None]
    expected = f"{', '.join(missing)} not installed" if missing else "vlt-sphere, vip-hci failed"
    assert none.label == expected


def test_every_peer_is_in_the_extra_with_a_least_version(pytestconfig):
    text = (pytestconfig.rootpath / "pyproject.toml").read_text()
    extra = text[text.index("bench = [") : text.index("dev = [")]
    for name in PACKAGES:
        assert f'"{name}>=' in extra


def test_bad_pixels_of_a_peers_frame_are_filled_and_the_flat_is_off():
    raw = np.full((1024, 2048), 110.0, np.float32)
    response = np.full((2, 1024, 1024), 0.5, np.float32)
    bad = np.zeros((2, 1024, 1024), bool)
    bad[0, 500:503, 500] = True
    raw[500:503, 500] = 9e4
    frame = ready_frame(raw, np.full_like(raw, 10.0), response, bad)
    assert np.allclose(frame[:, 10:-10, 10:-10], 200.0)


@pytest.mark.skipif(installed()["vlt-sphere"] is None, reason="vlt-sphere is not installed (extra bench)")
def test_vlt_sphere_finds_round_spots():
    assert np.abs(vlt_sphere_centres(spots(), WAVE, STAR, SCALE[0]) - STAR).max() < 0.05


@pytest.mark.skipif(installed()["vip-hci"] is None, reason="vip-hci is not installed (extra bench)")
@pytest.mark.parametrize("fit", ["gaus", "moff"])
def test_vip_finds_round_spots(fit):
    assert np.abs(vip_centres(spots(), WAVE, STAR, SCALE, fit) - STAR).max() < 0.05


@pytest.mark.skipif(installed()["photutils"] is None, reason="photutils is not installed (extra bench)")
def test_apertures_scale_with_the_spots():
    frame = spots()
    one = aperture_photometry(frame, WAVE, STAR, SCALE)
    two = aperture_photometry(2 * frame, WAVE, STAR, SCALE)
    assert two == pytest.approx(2 * one, rel=1e-6)
