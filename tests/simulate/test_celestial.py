"""Sky geometry of the simulator against erfa and the real headers' numbers."""

import math

import erfa
import numpy as np
import pytest

from archive_proc.simulate import celestial
from archive_proc.simulate.facts import ELEVATION_M, LATITUDE_DEG, LONGITUDE_DEG, plane_period_s, real_dit_s


def erfa_pointing(ra, dec, mjd):
    """Parallactic angle and altitude through the CIRS, without refraction."""
    _, zob, hob, dob, _, _ = erfa.atco13(
        math.radians(ra), math.radians(dec), 0, 0, 0, 0, 2400000.5, mjd, celestial.ut1_minus_utc_s(mjd),
        math.radians(LONGITUDE_DEG), math.radians(LATITUDE_DEG), ELEVATION_M, 0, 0, 0, 0, 0, 1.6,
    )  # fmt: skip
    h, d, p = float(hob), float(dob), math.radians(LATITUDE_DEG)
    parallactic = math.atan2(math.sin(h), math.cos(d) * math.tan(p) - math.sin(d) * math.cos(h))
    return math.degrees(parallactic), 90.0 - math.degrees(float(zob))


@pytest.mark.parametrize(
    ("ra", "dec", "mjd"),
    [(69.4, -2.47, 58025.35), (199.6, -18.3, 57932.95), (86.8, -51.07, 57675.4),
     (341.25, -33.26, 58025.13), (10.0, -0.2, 59000.4)],
)  # fmt: skip
def test_parallactic_angle_and_altitude_agree_with_erfa_to_two_thousandths_of_a_degree(ra, dec, mjd):
    place = celestial.apparent_place(ra, dec, 0.0, 0.0, mjd)
    seen = celestial.pointing(place, mjd)
    parallactic, altitude = erfa_pointing(ra, dec, mjd)
    scale = 1.0 / max(0.05, math.cos(math.radians(seen.altitude_deg)))
    assert abs((seen.parallactic_deg - parallactic + 180) % 360 - 180) < 0.002 * scale
    assert abs(seen.altitude_deg - altitude) < 0.001


def test_angles_of_a_real_header_are_met():
    # beta Pic, 2016-10-14T09:35:50.3: TEL PARANG START 19.937, TEL ALT 62.478, AZ 13.64; DROT2 is the apparent place.
    mjd = 57675.39988781
    place = celestial.apparent_place(86.82116, -51.06652, 4.65, 81.96, mjd)
    seen = celestial.pointing(place, mjd)
    assert abs(seen.parallactic_deg - 19.937) < 0.05
    assert abs(seen.altitude_deg - 62.478) < 0.05
    assert abs(seen.azimuth_deg - 13.64) < 0.1
    assert abs(celestial.derotator_deg(seen.altitude_deg, 0.0) - 31.239) < 0.03


def test_apparent_place_of_a_real_header_is_met():
    # DROT2 RA/DEC of the same header: 05 47 42.412, -51 03 29.93; the telescope's own chain differs by some arcseconds.
    place = celestial.apparent_place(86.82116, -51.06652, 4.65, 81.96, 57675.4)
    assert abs(place.ra_deg / 15 - (5 + 47 / 60 + 42.412 / 3600)) * 3600 * 15 < 15.0
    assert abs(place.dec_deg + (51 + 3 / 60 + 29.93 / 3600)) * 3600 < 5.0


@pytest.mark.parametrize(("degrees", "text"), [(-0.0866666667, -512.0), (5.795114, 54742.41), (-51.0583, -510329.88)])
def test_packed_numbers_keep_the_sign_with_the_whole(degrees, text):
    assert celestial.packed(degrees, 2) == pytest.approx(text)


def test_the_derotator_fault_ends_with_the_repair():
    assert celestial.derotator_fault_deg(57290.0, 0.55, 0.30, 57290.0 - 1 / 24) == pytest.approx(0.85)
    assert celestial.derotator_fault_deg(57700.0, 0.55, 0.30, 57699.0) == 0.0


@pytest.mark.parametrize(
    ("dit", "ndit", "exptime", "realdit"),
    [(3.0, 26, 102.410386, 3.001392), (4.0, 37, 182.755025, 4.001856), (16.0, 8, 135.55428, 16.006816),
     (96.0, 15, 1454.675475, 96.040896)],
)  # fmt: skip
def test_sequence_times_are_those_of_four_real_headers(dit, ndit, exptime, realdit):
    assert real_dit_s(dit) == pytest.approx(realdit, abs=1e-6)
    assert ndit * plane_period_s(dit) == pytest.approx(exptime, abs=5e-5)


def test_sidereal_time_agrees_with_erfa():
    for mjd in np.linspace(57000, 60000, 7):
        ut1 = mjd + celestial.ut1_minus_utc_s(mjd) / 86400
        expected = math.degrees(erfa.gst06a(2400000.5, ut1, 2400000.5, mjd + 69.2 / 86400)) + LONGITUDE_DEG
        assert abs((celestial.sidereal_deg(mjd) - expected + 180) % 360 - 180) * 3600 < 1.0


@pytest.mark.parametrize(("mjd", "expected"), [(57203.9, -0.68), (57204.1, 0.32), (57753.9, -0.41), (57754.1, 0.59)])
def test_the_earth_turn_jumps_with_leap_seconds(mjd, expected):
    assert celestial.ut1_minus_utc_s(mjd) == pytest.approx(expected, abs=0.03)
