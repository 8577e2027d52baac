"""A star says where spectra stand along the dispersion; light that cannot say takes it from there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from running import blocks, raw_inputs
from small_ifs import CHANNELS, EDGES, SmallIfs, small_frame, small_ifs

from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.extraction import BAND
from archive_proc.kernels.fine_response import finer_edges
from archive_proc.recipes.ifs.extract import IFS_EXTRACT
from archive_proc.recipes.ifs.place import IFS_PLACE
from archive_proc.recipes.ifs.solutions import STEPS
from archive_proc.recipes.ifs.through_air import Seen, air_shape, beyond_table
from archive_proc.recipes.recipe import Calibration

MIDDLE = 0.5 * (EDGES[1:] + EDGES[:-1])
STAR = 4000.0 * np.exp(-(((MIDDLE - 1.1) / 0.22) ** 4)) * air_shape(2.0, 1.2, EDGES)
DWARF = 4000.0 * (
    np.exp(-(((MIDDLE - 1.06) / 0.03) ** 2)) + np.exp(-(((MIDDLE - 1.27) / 0.03) ** 2)) + 0.02 * STAR / STAR.max()
)
MOVED = 0.12
ASIDE = -0.09
WITHIN = air_shape(2.0, 1.2, finer_edges(EDGES, STEPS)).reshape(CHANNELS, STEPS)
"""How the air leaves a star's light within each channel."""


@pytest.fixture(scope="module")
def ifs() -> SmallIfs:
    return small_ifs()


@pytest.fixture(scope="module")
def place(ifs: SmallIfs) -> Calibration:
    """What a star's file, moved by MOVED, and one of a brown dwarf say."""
    rng = np.random.default_rng(6)
    pattern = rng.uniform(0.6, 1.4, (1, len(ifs.lenslets), 1))
    images = [ifs.image(pattern * one, ASIDE, MOVED, inside=WITHIN) for one in (STAR, DWARF)]
    raw = ifs.raw(np.concatenate(images), rng)
    frames = [small_frame("2017-05-15T04:50:00.000", dpr_catg="SCIENCE"), small_frame("2017-05-15T04:52:00.000")]
    return ifs.run(IFS_PLACE, frames, raw, roles=("OBJECT", "OBJECT")).calibration("ifs_place")


def test_a_star_sees_how_far_its_spectra_moved_and_a_brown_dwarf_says_nothing(ifs: SmallIfs, place: Calibration):
    star, dwarf = place.arrays["shift_y"]
    assert star == pytest.approx(MOVED, abs=0.03)
    assert place.arrays["shift_y_error"][0] < 0.05
    assert place.arrays["air_strength"][0] == pytest.approx(2.0, abs=0.3)
    assert np.isnan(dwarf)
    # Lenslets are lit from 0.6 to 1.4 of the mean, evenly spread: 1 - 0.68 / 1.32.
    assert place.arrays["uneven"][0] == pytest.approx(0.48, abs=0.08)
    assert place.arrays["shift_x"] == pytest.approx([ASIDE, ASIDE], abs=0.02)
    assert (place.arrays["shift_x_error"] < 0.02).all()
    assert (np.abs(place.arrays["turn"]) < 4 * place.arrays["turn_error"]).all()
    assert [str(one) for one in place.arrays["solution"]] == ["ifs_wavelength_solution-small"] * 2


def test_a_brown_dwarf_stands_where_the_star_before_it_stood(ifs: SmallIfs, place: Calibration):
    rng = np.random.default_rng(7)
    truth = np.broadcast_to(DWARF, (1, len(ifs.lenslets), CHANNELS))
    raw = ifs.raw(ifs.image(truth, 0.0, MOVED, inside=WITHIN), rng)
    frame = small_frame("2017-05-15T05:05:00.000", dpr_catg="SCIENCE")
    found = {}
    for name, known in (("alone", ()), ("told", (place,))):
        more = {"place": known, **_wave(ifs)}
        found[name] = ifs.run(IFS_EXTRACT, [frame], raw, more, roles=("OBJECT",)).products["ifs_spectra"]
    assert (found["alone"]["shift_y"] == 0).all()
    assert found["told"]["shift_y"] == pytest.approx(MOVED, abs=0.04)
    assert (found["told"]["shift_y_error"] < 0.4 * found["alone"]["shift_y_error"]).all()
    bright = 0.2 * DWARF.max() < DWARF
    shape = {
        name: one["flux"][0].mean(axis=0) / one["flux"][0].mean() / DWARF * DWARF.mean() for name, one in found.items()
    }
    off = {name: float(np.std(one[bright])) for name, one in shape.items()}
    assert off["told"] < 0.5 * off["alone"]


def test_light_of_a_few_lenslets_stands_aside_where_the_file_nearest_in_time_stood(ifs: SmallIfs, place: Calibration):
    rng = np.random.default_rng(9)
    away = np.hypot(ifs.lenslets.x - ifs.lenslets.x.mean(), ifs.lenslets.y - ifs.lenslets.y.mean())
    truth = (8.0 * np.exp(-0.5 * away**2))[None, :, None] * STAR
    raw = ifs.raw(ifs.image(truth, ASIDE, MOVED, inside=WITHIN), rng)
    frame = small_frame("2017-05-15T05:05:00.000", dpr_catg="SCIENCE")
    found = {}
    for name, known in (("alone", ()), ("told", (place,))):
        ran = ifs.run(IFS_EXTRACT, [frame], raw, {"place": known, **_wave(ifs)}, roles=("OBJECT",))
        found[name] = ran.products["ifs_spectra"]
        (remark,) = (one for one in ran.result.remarks if one.code == "AP-IFS-066")
        instead = "that of the file nearest in time" if known else "none, for no file near in time shows one"
        assert remark.message == f"the shift of 1 plane was not measurable: taken is {instead}"
    assert found["alone"]["shift_x"] == 0.0
    assert np.isnan(found["alone"]["shift_x_error"])
    assert found["told"]["shift_x"] == pytest.approx(ASIDE, abs=0.02)
    # Thirteen minutes of drift.
    assert found["told"]["shift_x_error"] == pytest.approx(0.02, abs=0.01)
    assert found["told"]["turn"] == pytest.approx(place.arrays["turn"][1])


def test_groups_of_its_own_star_tell_a_file_less_than_other_stars_and_it_is_not_told_what_it_said_itself(
    ifs: SmallIfs, place: Calibration
):
    rng = np.random.default_rng(8)
    truth = rng.uniform(0.1, 1.9, (1, len(ifs.lenslets), 1)) * STAR
    frame = small_frame("2017-05-15T04:50:00.000", dpr_catg="SCIENCE", ra_deg=69.4, dec_deg=-2.5)
    given = {**ifs.calibrations, **_wave(ifs)}
    inputs = raw_inputs(IFS_EXTRACT, [frame], roles=("OBJECT",), calibrations=given)
    first = IFS_EXTRACT.passes[0]
    raw = {"raw": ifs.raw(ifs.image(truth, 0.0, MOVED, inside=WITHIN), rng)}
    summaries = [first.block(one, inputs, {}).summary for one in blocks(IFS_EXTRACT, first, inputs, raw)]

    def error(*others: Calibration) -> float:
        told = replace(inputs, calibrations={**given, "place": others})
        return float(first.reduce(summaries, told, {})["shift_y_error"][0])

    def group(file_id: str, ra: float) -> Calibration:
        arrays = {
            **place.arrays,
            "file_id": np.array([file_id, "dwarf"]),
            "ra": np.full(2, ra),
            "dec": np.full(2, -2.5),
            # Speckles, as in the file itself.
            "uneven": np.full(2, 0.9),
        }
        return replace(place, arrays=arrays)

    alone = error()
    assert error(group(frame.file_id, 69.4)) == alone
    # Its object group, then its center group too: of its own star, and of others.
    one, other = error(group("object", 69.4)), error(group("object", 80.0))
    both, others = (error(group("object", a), group("center", b)) for a, b in ((69.4, 69.4), (80.0, 90.0)))
    assert other < 0.99 * one
    assert others < 0.95 * both


def test_what_its_place_was_measured_with_is_not_measured_again(ifs: SmallIfs):
    rng = np.random.default_rng(9)
    truth = rng.uniform(0.6, 1.4, (1, len(ifs.lenslets), 1)) * STAR
    frame, shift = small_frame("2017-05-15T04:50:00.000", 2, dpr_catg="SCIENCE"), 0.07
    raw = np.concatenate([ifs.raw(ifs.image(truth, shift, MOVED), rng) for _ in range(2)])
    place = ifs.run(IFS_PLACE, [frame], raw.copy(), roles=("OBJECT",)).calibration("ifs_place")
    assert place.attrs["measured_layout"][0] == "shift"
    assert place.arrays["measured"][:, 0] == pytest.approx(shift, abs=0.02)

    shapes = []

    def extracted(*known: Calibration, **parameters: object) -> dict[str, np.ndarray]:
        more = {"place": known}
        ran = ifs.run(IFS_EXTRACT, [frame], raw.copy(), more, roles=("OBJECT",), **parameters)
        shapes.append(ran.calibration("ifs_spectra").attrs["prior_shape"])
        return dict(ran.products["ifs_spectra"])

    alone, told = extracted(), extracted(place)
    for name in ("flux", "variance", "shift_x", "shift_x_error", "shift_y"):
        assert np.array_equal(told[name], alone[name], equal_nan=True), name
    # A mark on what is handed over shows who takes it.
    marked = place.arrays["measured"].copy()
    marked[:, 0] += 0.01
    other = replace(place, arrays={**place.arrays, "measured": marked})
    assert extracted(other)["shift_x"] == pytest.approx(alone["shift_x"] + 0.01, abs=1e-9)
    assert (extracted(other, mu=0.2)["shift_x"] != alone["shift_x"] + 0.01).all()
    # The weight of channels is that of the steps within them, of which templates are made.
    weight = tuple(STAR / STAR.max())
    assert (extracted(other, channel_weight=weight)["shift_x"] != alone["shift_x"] + 0.01).all()
    assert shapes[-1] == pytest.approx(np.maximum(weight, 0.03), abs=1e-4)
    stale = replace(other, arrays={**other.arrays, "basis": np.array(["made with other calibrations"])})
    assert (extracted(stale)["shift_x"] == alone["shift_x"]).all()


def test_a_file_that_was_read_in_part_is_not_handed_over(ifs: SmallIfs):
    rng = np.random.default_rng(10)
    raw = np.concatenate([ifs.raw(ifs.image(np.broadcast_to(STAR, (1, len(ifs.lenslets), CHANNELS))), rng)] * 3)
    raw[1] = 0.0
    frames = [small_frame(f"2017-05-15T04:5{n}:00.000", 2 - n, dpr_catg="SCIENCE") for n in (0, 1)]
    found = ifs.run(IFS_PLACE, frames, raw, roles=("OBJECT", "OBJECT")).products["ifs_place"]
    assert [bool(str(one)) for one in found["basis"]] == [False, True]
    assert np.isnan(found["measured"][0]).all()
    assert np.isfinite(found["measured"][1]).all()


def _wave(ifs: SmallIfs) -> dict[str, tuple[Calibration, ...]]:
    """Lasers of the afternoon: seven hours before."""
    (one,) = ifs.calibrations["wave"]
    return {"wave": (replace(one, attrs={**one.attrs, "mjd_obs": 57887.9}),)}


def test_the_table_of_the_air_is_corrected_where_it_is_deep_and_the_filter_does_not_end(ifs: SmallIfs):
    """Light that differs from the table by a tenth of its depth, a channel more and the next one less, everywhere."""
    frame = small_frame("2017-05-15T04:50:00.000", dpr_catg="SCIENCE", airmass_start=1.2, airmass_end=1.2)
    inputs = raw_inputs(IFS_EXTRACT, [frame], roles=("OBJECT",), calibrations={**ifs.calibrations, **_wave(ifs)})
    strength = 6.0
    table = np.maximum(air_shape(strength, 1.2, EDGES), 0.03)
    sign = np.where(np.arange(CHANNELS) % 2, 1.0, -1.0)
    # Channels overlap as the instrument's do.
    normal = np.zeros((CHANNELS, BAND))
    normal[:, :5] = np.exp(-0.5 * (np.arange(5) / 1.1) ** 2)
    normal[:, 0] += 0.02
    dense = sum(np.diag(normal[d:, d], d) + np.diag(normal[d:, d], -d) * (d > 0) for d in range(5))
    wanted = 0.1 * sign * np.log(table)
    light = dense @ (table * np.exp(wanted))
    summary = {"file": np.array([0]), "normal": normal[None], "pull": light[None], "noise": 1e-12 * normal[None]}
    found = beyond_table([summary], {0: Seen(strength, 0.01, 0.0, 0.01)}, inputs)
    low, high = load_tables().ifs.band("YJ").edges_um
    whole = (EDGES[:-1] > low) & (EDGES[1:] < high)
    band = whole & (EDGES[:-1] > 1.11) & (EDGES[1:] < 1.16)
    assert np.abs(np.log(found) - wanted)[band].max() < 0.5 * np.abs(wanted[band]).max()
    assert np.abs(found[~whole] - 1.0).max() < 0.01
    assert np.abs(found[(EDGES[:-1] > 1.0) & (EDGES[1:] < 1.08)] - 1.0).max() < 0.01
