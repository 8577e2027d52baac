"""Science and centred cubes of an asymmetric scene whose geometry the test works out by itself, through alt-azimuth."""

from __future__ import annotations

from functools import lru_cache

import erfa
import numpy as np
import pytest
from running import Ran, product_inputs, raw_inputs, run_in_memory
from samples import made_frame

from archive_proc.instruments.earth_rotation import ut1_minus_utc
from archive_proc.instruments.tables import load_tables
from archive_proc.model.flags import Flag
from archive_proc.recipes.irdis.centered import IRDIS_CENTERED
from archive_proc.recipes.irdis.science import IRDIS_SCIENCE
from archive_proc.recipes.recipe import Calibration

N = 1024
STARS = ((486.37, 524.71), (488.12, 514.25))
RA, DEC = 69.40, -2.4733
PACKED = {"drot2_ra": 43736.0, "drot2_dec": -22823.88}
SOURCES = ((1500.0, 63.0, 40.0), (2600.0, 170.0, 25.0), (900.0, 290.0, 60.0))
"""(separation mas, position angle deg, peak ADU/s): no symmetry turns or mirrors one set into itself."""
PIXEL = 12.255
SKY, PEDESTAL, DIT = 2.0, 10.0, 16.0
FRAMES = (made_frame("2017-09-28T08:13:07.975", 2, **PACKED), made_frame("2017-09-28T09:23:41.775", 2, **PACKED))
HOT_PIXEL, HIT = (0, 300, 400), (1, 700, 650)


def alt_azimuth(ra: float, dec: float, mjd: float) -> np.ndarray:
    """Unit vector (north, east, up) of an apparent place: rotations only, no parallactic angle."""
    sidereal = erfa.gst06a(2400000.5, mjd + float(ut1_minus_utc(mjd)) / 86400.0, 2400000.5, mjd)
    hour = sidereal + np.radians(-70.4045 - ra)
    toward = np.array(
        [np.cos(np.radians(dec)) * np.cos(hour), -np.cos(np.radians(dec)) * np.sin(hour), np.sin(np.radians(dec))]
    )
    latitude = np.radians(-24.6268)
    # toward: (towards the equator's meridian point, east, pole)
    north = -np.sin(latitude) * toward[0] + np.cos(latitude) * toward[2]
    up = np.cos(latitude) * toward[0] + np.sin(latitude) * toward[2]
    return np.array([north, toward[1], up])


def on_detector(separation_mas: float, position_angle: float, mjd: float) -> tuple[float, float]:
    """Offset (x, y) in sky pixels of a source on a detector that turns with the pupil.

    The sky seen with the zenith up: altitude grows upwards, azimuth (north through east) to the right. The detector's
    +y axis stands at the instrument's constant angle from the zenith.
    """
    offset = np.radians(separation_mas / 3.6e6)
    angle = np.radians(position_angle)
    star = alt_azimuth(RA, DEC, mjd)
    ra = RA + np.degrees(offset * np.sin(angle)) / np.cos(np.radians(DEC))
    source = alt_azimuth(ra, DEC + np.degrees(offset * np.cos(angle)), mjd)
    up = np.array([0.0, 0.0, 1.0]) - star * star[2]
    up /= np.linalg.norm(up)
    right = np.array([-star[1], star[0], 0.0]) / np.hypot(star[0], star[1])  # towards growing azimuth
    x, y = np.array([source @ right, source @ up]) * 3.6e6 * np.degrees(1.0) / PIXEL
    # The array's +y lies at position angle (zenith + 135.99 - 1.75): turn the scene clockwise by it.
    turn = np.radians(135.99 - 1.75)
    return x * np.cos(turn) + y * np.sin(turn), -x * np.sin(turn) + y * np.cos(turn)


def master(kind: str, **arrays: np.ndarray) -> Calibration:
    return Calibration(kind, kind, arrays, {"dit_s": DIT, "nonlinearity_per_adu": [0.0, 0.0]})


@lru_cache(maxsize=1)
def reduced() -> tuple[Ran, Ran]:
    rng = np.random.default_rng(11)
    lit = np.zeros((N, 2 * N), bool)
    lit[15:1013, 36:933] = lit[15:1013, 1062:1958] = True
    response = np.where(lit, rng.normal(1.0, 0.03, lit.shape), np.nan).astype(np.float32)
    flags = np.where(lit, 0, int(Flag.OUTSIDE)).astype(np.uint16)
    flags[HOT_PIXEL[1], HOT_PIXEL[0] * N + HOT_PIXEL[2]] |= int(Flag.HOT)
    raw, rows = [], []
    y, x = np.mgrid[:N, :N].astype(np.float32)
    for file, frame in enumerate(FRAMES):
        for plane in range(2):
            mjd = frame.mjd_obs + (0.1 + plane * 16.944 + 8.0) / 86400.0
            light = np.full((N, 2 * N), SKY, np.float32)
            for half, (cx, cy) in enumerate(STARS):
                for separation, angle, peak in SOURCES:
                    dx, dy = on_detector(separation, angle, mjd)
                    where = np.exp(-((x - cx - dx) ** 2 + ((y - cy) * 1.0062 - dy) ** 2) / (2 * 1.7**2))
                    light[:, half * N : (half + 1) * N] += np.float32(peak) * where
            counts = rng.poisson(np.nan_to_num(light * response).clip(0) * DIT * 1.75) / 1.75
            raw.append((counts + PEDESTAL + rng.normal(0.0, 2.5, counts.shape)).astype(np.float32))
            rows.append((str(frame.file_id), plane, file))
    raw[2][HIT[1], HIT[0] * N + HIT[2]] += 800.0
    for one in raw:
        one[HOT_PIXEL[1], HOT_PIXEL[0] * N + HOT_PIXEL[2]] += 900.0
    n = len(rows)
    names = np.array([row[0] for row in rows], dtype=np.dtypes.StringDType())
    where = {"file_id": names, "plane": np.array([row[1] for row in rows], np.int32)}
    words = np.full((n, 2), "made", dtype=np.dtypes.StringDType())
    star = np.broadcast_to(np.array(STARS), (n, 2, 2))
    level = np.full(lit.shape, PEDESTAL, np.float32)
    small = np.full(lit.shape, 0.01, np.float32)
    dark = master("dark", level=level, variance=small, read_noise=np.full_like(level, 2.5), flags=np.zeros_like(flags))
    coefficients = np.zeros((n, 2, 7))
    coefficients[:, :, 0] = SKY * DIT
    calibrations = {
        "flat": [master("detector_flat", response=response, variance=small * 1e-3, flags=flags)],
        "bad_pixels": [master("bad_pixels", flags=flags)],
        "dark": [dark],
        "background": [dark],
        "background_fit": [
            master("background", coefficients=coefficients, background_level=np.full((n, 2), SKY), **where)
        ],
        "center": [
            master(
                "center",
                star_x=star[:, :, 0],
                star_y=star[:, :, 1],
                star_x_error=np.full((n, 2), 0.01),
                star_y_error=np.full((n, 2), 0.01),
                centering_method=words,
                **where,
            )
        ],
        "photometry": [
            master(
                "photometry",
                relative_flux=np.ones((n, 2)),
                relative_flux_error=np.ones((n, 2)),
                photometry_method=words,
                **where,
            )
        ],
    }
    inputs = raw_inputs(
        IRDIS_SCIENCE, FRAMES, roles=("OBJECT",) * 2, calibrations=calibrations, unusable={(1, 1): "clouds"}
    )
    science = run_in_memory(IRDIS_SCIENCE, inputs, {"raw": np.stack(raw)})
    cube = science.calibration("irdis_science_cube")
    pixels = {name: science.products["irdis_science_cube"][name] for name in ("flux", "variance", "flags")}
    centered = run_in_memory(IRDIS_CENTERED, product_inputs(IRDIS_CENTERED, cube), pixels)
    return science, centered


def science() -> dict[str, np.ndarray]:
    return reduced()[0].products["irdis_science_cube"]


def centered() -> dict[str, np.ndarray]:
    return reduced()[1].products["irdis_centered_cube"]


def test_sense_of_the_derotation_angle_on_an_asymmetric_scene() -> None:
    cube = centered()
    y, x = np.mgrid[:N, :N]
    for plane in range(4):
        turn = cube["derotation_angle"][plane]
        for channel in range(2):
            for separation, angle, _ in SOURCES:
                # DESIGN 8: a source at position angle p lies p - D counter-clockwise from +y.
                away = np.radians(angle - turn)
                expected = 512 - separation / PIXEL * np.sin(away), 512 + separation / PIXEL * np.cos(away)
                near = np.hypot(x - expected[0], y - expected[1]) < 6
                light = np.nan_to_num(cube["flux"][plane, channel][near])
                found = np.sum(light * x[near]) / light.sum(), np.sum(light * y[near]) / light.sum()
                assert np.hypot(found[0] - expected[0], found[1] - expected[1]) < 0.15
                mirrored = np.hypot(x - (1024 - expected[0]), y - expected[1]) < 6
                assert np.nan_to_num(cube["flux"][plane, channel][mirrored]).sum() < 0.2 * light.sum()
    assert abs(cube["derotation_angle"][3] - cube["derotation_angle"][0]) > 20.0


def test_sums_over_a_source_survive_both_steps() -> None:
    y, x = np.mgrid[:N, :N]
    separation, angle, peak = SOURCES[0]
    cube = centered()
    away = np.radians(angle - cube["derotation_angle"][0])
    near = np.hypot(x - 512 + separation / PIXEL * np.sin(away), y - 512 - separation / PIXEL * np.cos(away)) < 9
    total = float(np.nansum(cube["flux"][0, 0][near]))
    assert total == pytest.approx(peak * 2 * np.pi * 1.7**2 / 1.0062, rel=0.02)


@pytest.mark.parametrize("product", [science, centered])
def test_variance_is_honest_in_three_zones(product) -> None:
    cube = product()
    star = (512, 512) if product is centered else STARS[0]
    y, x = np.mgrid[:N, :N]
    radius = np.hypot(x - star[0], y - star[1])
    for inner, outer in ((20, 60), (230, 330), (330, 420)):
        values = cube["flux"][:, 0][:, (radius > inner) & (radius < outer)]
        sigma = np.sqrt(cube["variance"][:, 0][:, (radius > inner) & (radius < outer)])
        pull = values / sigma
        assert np.nanstd(pull) == pytest.approx(1.0, abs=0.05)
        assert abs(np.nanmean(pull)) < 0.05


def test_bad_pixels_and_hits_are_filled_and_weightless() -> None:
    cube = science()
    assert (cube["flags"][:, HOT_PIXEL[0], HOT_PIXEL[1], HOT_PIXEL[2]] == int(Flag.HOT | Flag.FILLED)).all()
    assert (np.abs(cube["flux"][:, HOT_PIXEL[0], HOT_PIXEL[1], HOT_PIXEL[2]]) < 1.0).all()
    assert np.isnan(cube["variance"][:, HOT_PIXEL[0], HOT_PIXEL[1], HOT_PIXEL[2]]).all()
    hit = cube["flags"][:, HIT[0], HIT[1], HIT[2]]
    # The struck plane is the first of its file: the second, excluded, may not be its witness; the same dither's are.
    assert hit.tolist() == [0, 0, int(Flag.COSMIC | Flag.FILLED), 0]
    filled = (cube["flags"] & int(Flag.FILLED)) != 0
    assert np.isnan(cube["variance"][filled]).all()


def test_outside_is_nan_and_flagged_in_both_cubes() -> None:
    for cube in (science(), centered()):
        lost = np.isnan(cube["flux"])
        reason = int(Flag.OUTSIDE | Flag.LOW_WEIGHT)
        assert ((cube["flags"][lost] & reason) != 0).all()
        assert np.isnan(cube["variance"][lost]).all()
    assert np.isnan(science()["flux"][:, 0, :, :36]).all()


def test_excluded_planes_stay_on_the_axis_with_their_reason() -> None:
    for cube in (science(), centered()):
        assert cube["usable"].tolist() == [True, True, True, False]
        assert str(cube["reason"][3]) == "clouds"
        assert cube["flux"].shape[0] == 4


def test_products_hold_every_variable_of_their_type() -> None:
    types = load_tables().product_types
    for name, cube in (("irdis_science_cube", science()), ("irdis_centered_cube", centered())):
        wanted = {one.name: one for one in types[name].variables}
        assert set(cube) == set(wanted)
        for key, variable in wanted.items():
            assert cube[key].ndim == len(variable.dims), key
            if variable.dtype != "string":
                assert cube[key].dtype == np.dtype(variable.dtype), key


def test_time_is_mid_exposure_and_star_on_the_middle_pixel() -> None:
    assert (science()["time"][1] - FRAMES[0].mjd_obs) * 86400.0 == pytest.approx(0.1 + 16.944 + 8.0, abs=1e-3)
    assert (centered()["star_x"] == 512.0).all()
    assert (centered()["star_y"] == 512.0).all()
    assert science()["star_x"][0].tolist() == [486.37, 488.12]
