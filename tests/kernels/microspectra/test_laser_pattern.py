"""Lasers count themselves in folded cells, whichever of them burn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import small_spectrograph

from archive_proc.kernels.dispersion import exact_law, field_terms, laser_positions, lenslet_offsets
from archive_proc.kernels.laser_pattern import find_lasers
from archive_proc.kernels.lattice import TilePhase
from archive_proc.kernels.lenslets import FieldStop, all_lenslets

OFFSETS = {
    "YJ": np.array([[0.0, 0.0], [-0.09, 13.43], [-0.16, 28.75]]),
    "YJH": np.array([[0.0, 0.0], [-0.02, 8.29], [-0.07, 17.65], [-0.09, 28.47]]),
}
BRIGHTNESS = np.array([1.2e4, 7e3, 9e3, 1.0e4])
SIZE = 512
CASES = [
    (mode, lasers)
    for mode, offsets in OFFSETS.items()
    for count in range(1, len(offsets) + 1)
    for lasers in itertools.combinations(range(len(offsets)), count)
]


def frame_of(offsets: np.ndarray, lasers: tuple[int, ...], moved: tuple[float, float]) -> tuple[np.ndarray, TilePhase]:
    """A frame of round spots, and its lattice as white light gives it: some tenths of a pixel off."""
    rng = np.random.default_rng(sum(lasers) + 7 * len(lasers))
    lenslets = all_lenslets(FieldStop(-30, 30, -30, 30))
    middle = (255.3 + moved[0], 250.8 + moved[1])
    first = small_spectrograph.detector_places(lenslets, middle)
    image = rng.normal(0.0, 12.0, (SIZE, SIZE))
    for laser in lasers:
        for x, y in (first + offsets[laser][:, None]).T:
            x0, y0 = int(np.floor(x)) - 6, int(np.floor(y)) - 6
            if 0 <= x0 < SIZE - 13 and 0 <= y0 < SIZE - 13:
                dx, dy = np.arange(x0, x0 + 13) - x, np.arange(y0, y0 + 13) - y
                square = dx[None, :] ** 2 + dy[:, None] ** 2
                shape = np.exp(-square / 1.9) + 0.01 * np.exp(-square / 18.0)
                image[y0 : y0 + 13, x0 : x0 + 13] += BRIGHTNESS[laser] * shape
    # Three lenslets to the right: any node of the lattice is as good.
    origin = np.array([255.3, 250.8]) + 3 * small_spectrograph.BASIS[0]
    return image.astype(np.float32), TilePhase((256.0, 256.0), small_spectrograph.BASIS, (origin[0], origin[1]), 50.0)


@pytest.mark.parametrize(("mode", "lasers"), CASES, ids=str)
def test_whichever_lasers_burn_they_are_named_and_the_first_is_placed(mode: str, lasers: tuple[int, ...]) -> None:
    moved = (0.3, -0.4)
    frame, phase = frame_of(OFFSETS[mode], lasers, moved)
    found = find_lasers(frame, np.ones(frame.shape, bool), [phase], OFFSETS[mode])
    assert found.lasers == lasers
    assert found.rms < 0.1
    away = np.asarray(found.tiles[0].first) - np.asarray(phase.origin) - np.asarray(moved)
    assert np.hypot(*away) < 0.15
    assert found.away == pytest.approx(0.5, abs=0.15)


def test_a_frame_without_light_has_no_laser() -> None:
    frame, phase = frame_of(OFFSETS["YJ"], (), (0.0, 0.0))
    assert find_lasers(frame, np.ones(frame.shape, bool), [phase], OFFSETS["YJ"]).lasers == ()


def law_of_field(mode: str) -> np.ndarray:
    """(2, field terms, lasers) positions whose dispersion varies over the field by a per cent."""
    rng = np.random.default_rng(4)
    offsets = OFFSETS[mode]
    positions = np.zeros((2, field_terms(np.zeros(1), np.zeros(1)).shape[1], len(offsets)))
    positions += rng.normal(0.0, 20.0, positions.shape[:2])[:, :, None]
    positions[:, 0] += offsets.T
    positions[1, 1] += 0.01 * offsets[:, 1]
    return positions


@pytest.mark.parametrize("missing", [0, 1, 2, 3])
def test_the_prism_s_law_stands_in_for_a_missing_laser(missing: int) -> None:
    true = law_of_field("YJH")
    burning = tuple(one for one in range(4) if one != missing)
    filled = laser_positions(true[:, :, list(burning)], burning, OFFSETS["YJH"])
    assert filled == pytest.approx(true, abs=1e-9)


def test_one_laser_alone_places_the_others_at_their_nominal_distance() -> None:
    true = law_of_field("YJ")
    filled = laser_positions(true[:, :, 1:2], (1,), OFFSETS["YJ"])
    assert filled[:, 0] == pytest.approx(true[:, 0], abs=1e-9)
    # The field's own dispersion is not known then: a per cent of 29 px at its edge.
    assert np.abs(filled - true).max() == pytest.approx(0.01 * (28.75 - 13.43), abs=1e-6)


def test_the_law_through_the_lasers_has_them_where_they_are() -> None:
    um = np.array([0.98772, 1.12371, 1.30937, 1.54507])
    true = law_of_field("YJH")
    x, y = np.array([-40.0, 0.0, 33.0]), np.array([10.0, -50.0, 20.0])
    places = exact_law(true, um).positions(x, y, um)
    assert places == pytest.approx(np.einsum("nf,afk->ank", field_terms(x, y), true), abs=1e-7)


def test_what_the_lasers_agree_on_is_the_lenslet_s_own() -> None:
    rng = np.random.default_rng(8)
    true = rng.normal(0.0, 0.012, (2, 4000))
    seen = true[:, :, None] + rng.normal(0.0, 0.004, (2, 4000, 3))
    seen[0, 0, 1], seen[1, 1, 2] = np.nan, 3.0
    found = lenslet_offsets(seen)
    assert (found[:, :2] == 0.0).all()
    assert np.std((found - true)[:, 2:]) < 0.0025


def test_noise_alone_and_a_single_laser_displace_no_lenslet() -> None:
    noise = np.random.default_rng(9).normal(0.0, 0.01, (2, 4000, 3))
    assert np.std(lenslet_offsets(noise)) < 0.001
    assert (lenslet_offsets(noise[:, :, :1]) == 0.0).all()
