"""Every spectrum is known by its lenslet, whatever was done to the frame, or the frame is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from raw_ifs_files import raw_files
from running import Ran
from scipy import ndimage

from archive_proc.errors import DataFailure
from archive_proc.kernels.lenslets import Lenslets
from archive_proc.kernels.spectra_positions import laser_tiles
from archive_proc.model.flags import Flag
from archive_proc.recipes.ifs.layout import layout_of
from archive_proc.recipes.ifs.planes import detector_masters, electrons, good
from archive_proc.recipes.ifs.positions import (
    IFS_SPECTRA_POSITIONS,
    PositionsParameters,
    read_positions,
    white_lattice,
)
from archive_proc.recipes.recipe import Calibration
from archive_proc.simulate.ifs.night import simulate_ifs_night
from archive_proc.simulate.ifs.spec import IfsNight, IfsObservation, IfsTarget

PRODUCT = "ifs_spectra_positions"
Change = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(planes, dark level) -> planes."""


@pytest.fixture(scope="session")
def masters(darks: dict[str, Calibration], white_flat: dict[str, Calibration]) -> Mapping[str, Sequence[Calibration]]:
    return {
        "dark": [darks["dark_1.65"]],
        "detector_flat_white": [white_flat["detector_flat"]],
        "bad_pixels": [white_flat["bad_pixels"]],
    }


def located(night: Any, masters: Mapping[str, Sequence[Calibration]], change: Change | None = None) -> Ran:
    level = masters["dark"][0].arrays["level"]
    how = None if change is None else lambda raw: change(raw, level).astype(np.float32)
    return night.files.run(IFS_SPECTRA_POSITIONS, night.files.of("SPECPOS,LAMP"), masters, how)


def distances(night: Any, ran: Ran) -> np.ndarray:
    """(2, complete lenslets) expected minus true places of the first laser, lenslets joined by (q, r), px."""
    found, truth = read_positions(ran.calibration(PRODUCT)), night.truth
    frame = night.files.of("SPECPOS,LAMP")[0]
    q, r = truth.q.astype(np.int32), truth.r.astype(np.int32)
    places = found.places(Lenslets(q, r, *layout_of(frame).stop.places(q, r)))
    laser = int(np.argmin(np.abs(truth.laser_nm - 987.72)))
    away = places - np.array([truth.x_laser[:, laser], truth.y_laser[:, laser]])
    return np.asarray(away[:, truth.complete])


def moved(dx: float, dy: float) -> Change:
    def change(raw: np.ndarray, level: np.ndarray) -> np.ndarray:
        return np.stack([ndimage.shift(plane, (dy, dx), order=3, mode="nearest") for plane in raw])

    return change


def faint(raw: np.ndarray, level: np.ndarray) -> np.ndarray:
    """A lamp of 1 / 50."""
    return level + 0.02 * (raw - level) + np.random.default_rng(1).normal(0.0, 7.0, raw.shape)


def twentieth_dead(raw: np.ndarray, level: np.ndarray) -> np.ndarray:
    """One pixel in twenty is dead, and no map knows."""
    return np.where(np.random.default_rng(2).random(raw.shape[1:]) < 0.05, 0.0, raw)


@pytest.mark.parametrize(
    ("change", "move"),
    [
        (None, (0.0, 0.0)),
        (moved(1.0, -1.0), (1.0, -1.0)),
        (moved(-1.0, -1.0), (-1.0, -1.0)),
        (faint, (0.0, 0.0)),
        (twentieth_dead, (0.0, 0.0)),
    ],
    ids=["as it is", "moved right and down", "moved left and down", "faint lamp", "5 % dead"],
)
def test_labels_are_those_of_the_truth(
    night: Any, masters: Any, change: Change | None, move: tuple[float, float]
) -> None:
    away = distances(night, located(night, masters, change)) - np.array(move)[:, None]
    # A label off by one would be off by 15 px; the white light is a nominal step from the laser, right to 0.3 px.
    assert np.abs(np.median(away, axis=1)).max() < 0.3
    assert np.percentile(np.abs(away), 99.9) < 1.0


def test_a_grid_moved_by_a_whole_lenslet_keeps_its_labels_by_the_field_stop(night: Any, masters: Any) -> None:
    """The nominal place says the neighbour; the stop's edges say the truth."""
    ran = located(night, masters, moved(15.26, -2.93))
    away = distances(night, ran) - np.array([15.26, -2.93])[:, None]
    assert np.abs(np.median(away, axis=1)).max() < 0.3
    assert tuple(ran.result.products[PRODUCT].attrs["index_step"]) != (0, 0)


def lamp_off(raw: np.ndarray, level: np.ndarray) -> np.ndarray:
    return level + np.random.default_rng(3).normal(0.0, 7.0, raw.shape)


def saturated(raw: np.ndarray, level: np.ndarray) -> np.ndarray:
    return np.minimum(40.0 * raw, 65_535.0)


def upside_down(raw: np.ndarray, level: np.ndarray) -> np.ndarray:
    return raw[:, ::-1].copy()


def dark_quadrant(raw: np.ndarray, level: np.ndarray) -> np.ndarray:
    dark = raw.copy()
    dark[:, :1024, 1024:] = 0.0
    return dark


def torn(raw: np.ndarray, level: np.ndarray) -> np.ndarray:
    """The right half slipped by 4 px, as if the grid had moved between two exposures."""
    slipped = raw.copy()
    slipped[:, :, 1024:] = np.roll(raw, 4, axis=1)[:, :, 1024:]
    return slipped


@pytest.mark.parametrize(
    ("change", "code", "name"),
    [
        (lamp_off, "AP-IFS-011", "IFS_LAMP_FAINT"),
        (saturated, "AP-IFS-012", "IFS_LAMP_SATURATED"),
        (upside_down, "AP-IFS-013", "IFS_GRID_NOT_FOUND"),
        (dark_quadrant, "AP-IFS-014", "IFS_INDEX_AMBIGUOUS"),
        (torn, "AP-IFS-015", "IFS_TILES_DISAGREE"),
    ],
)
def test_a_frame_that_cannot_be_read_is_refused_by_name(
    night: Any, masters: Any, change: Change, code: str, name: str
) -> None:
    with pytest.raises(DataFailure, match=f"{code}.*{name}") as caught:
        located(night, masters, change)
    assert [one.metric for one in caught.value.qc if one.refused]


def test_lasers_under_the_type_of_spectra_positions_are_refused(night: Any, masters: Any) -> None:
    lasers = night.files.planes(night.files.of("WAVE,LAMP"))
    with pytest.raises(DataFailure, match=r"AP-IFS-016.*IFS_NOT_WHITE"):
        located(night, masters, lambda raw, level: lasers)


def test_the_lenslet_flat_gives_the_same_positions(night: Any, masters: Any) -> None:
    files = night.files
    flat = files.run(IFS_SPECTRA_POSITIONS, files.of("FLAT,LAMP", comb="OBS"), masters)
    assert np.abs(np.median(distances(night, flat), axis=1)).max() < 0.3


def test_lasers_seen_in_the_tiles_get_their_lenslets_numbers(night: Any, masters: Any) -> None:
    """What the wavelength recipe does with the product."""
    files, truth = night.files, night.truth
    known = read_positions(located(night, masters).calibration(PRODUCT))
    wave = files.of("WAVE,LAMP")
    from running import raw_inputs

    detector = detector_masters(raw_inputs(IFS_SPECTRA_POSITIONS, wave, calibrations=masters), 0)
    image = electrons(files.planes(wave)[0], detector)
    tiles = laser_tiles(image, good(detector), known.phases, layout_of(wave[0]).laser_offsets)
    laser = int(np.argmin(np.abs(truth.laser_nm - 987.72)))
    place = {(q, r): at for at, (q, r) in enumerate(zip(truth.q, truth.r, strict=True))}
    for (q, r), tile in zip(known.numbers_of(tiles), tiles, strict=True):
        at = place[int(q), int(r)]
        away = np.hypot(tile.first[0] - truth.x_laser[at, laser], tile.first[1] - truth.y_laser[at, laser])
        # A quarter of a pixel of the folded cell, and what the field's distortion changes across a tile.
        assert away < 1.5


def test_the_product_holds_every_lenslet_that_sends_light_onto_the_detector(night: Any, masters: Any) -> None:
    found = read_positions(located(night, masters).calibration(PRODUCT))
    here = set(zip(found.lenslets.q.tolist(), found.lenslets.r.tolist(), strict=True))
    truth = night.truth
    complete = {(int(q), int(r)) for q, r in zip(truth.q[truth.complete], truth.r[truth.complete], strict=True)}
    # The simulated stop cuts one column of lenslets that the table's leaves out.
    assert len(complete - here) < 0.01 * len(complete)
    assert len(here - {(int(q), int(r)) for q, r in zip(truth.q, truth.r, strict=True)}) < 0.01 * len(here)
    assert np.nanmedian(found.light) == pytest.approx(1.0, abs=0.1)


@pytest.mark.frames
def test_yh_has_right_labels_too(tmp_path: Any) -> None:
    target = IfsTarget(name="SIM-EMPTY", ra_deg=226.4, dec_deg=-40.0)
    empty = IfsObservation(scene="empty", target=target, order="O", dit_s=1.650726, ndit=1)
    spec = IfsNight(mode="YH", observations=(empty,), lamp_ndit=1, background_ndit=2, calibrations=("dark", "specpos"))
    truth = simulate_ifs_night(tmp_path / "raw", spec, seed=12)
    files = raw_files(tmp_path / "raw")
    frame = files.of("SPECPOS,LAMP")[0]
    dark = np.median(files.planes(files.of("DARK")), axis=0)
    white = files.planes([frame])[0] - dark
    usable = np.ones(white.shape, bool)
    usable.ravel()[truth.hot] = False
    found = white_lattice(white, usable, layout_of(frame), PositionsParameters()).found
    assert found is not None
    q, r = truth.q.astype(np.int32), truth.r.astype(np.int32)
    places = found.places(Lenslets(q, r, *layout_of(frame).stop.places(q, r)))
    laser = int(np.argmin(np.abs(truth.laser_nm - 987.72)))
    away = (places - np.array([truth.x_laser[:, laser], truth.y_laser[:, laser]]))[:, truth.complete]
    assert np.abs(np.median(away, axis=1)).max() < 0.3
    assert found.labels.margin > 30.0


def test_dead_pixels_of_the_map_have_no_say(night: Any, masters: Any) -> None:
    """A quadrant that the map knows to be dead hides part of the stop's edge and nothing else."""
    flags = masters["bad_pixels"][0].arrays["flags"].copy()
    flags[:1024, 1024:] |= np.uint16(Flag.DEAD)
    bad = Calibration("bad", "bad_pixels", {"flags": flags}, {})
    ran = located(night, {**masters, "bad_pixels": [bad]}, dark_quadrant)
    assert np.abs(np.median(distances(night, ran), axis=1)).max() < 0.3
