"""Times and angles against geometry worked out another way."""

from __future__ import annotations

import erfa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_proc.kernels import angles


def test_packed_coordinates_keep_the_sign_of_the_whole_number() -> None:
    assert angles.unpack_sexagesimal(43736.132) == pytest.approx(4 + 37 / 60 + 36.132 / 3600)
    assert angles.unpack_sexagesimal(-22824.78) == pytest.approx(-(2 + 28 / 60 + 24.78 / 3600))
    assert angles.unpack_sexagesimal(-512.3) == pytest.approx(-(5 / 60 + 12.3 / 3600))
    assert angles.unpack_sexagesimal(512.3, negative=True) == pytest.approx(-(5 / 60 + 12.3 / 3600))
    assert angles.unpack_sexagesimal(-0.0) == 0.0
    with pytest.raises(ValueError, match="minutes"):
        angles.unpack_sexagesimal(17512.0)


def test_spacing_is_as_planned_also_in_an_aborted_cube() -> None:
    whole = {"planned_planes": 10, "sequence_s": 169.4, "start_to_end_s": None, "planes_present": 10}
    assert angles.plane_spacing(16.0, **whole) == pytest.approx(16.94)
    aborted = {**whole, "planes_present": 4}
    assert angles.plane_spacing(16.0, **aborted) == pytest.approx(16.94)
    from_end = {"planned_planes": 2, "sequence_s": None, "start_to_end_s": 33.8, "planes_present": 2}
    assert angles.plane_spacing(16.0, **from_end) == pytest.approx(16.9)
    unknown = {"planned_planes": 10, "sequence_s": None, "start_to_end_s": 60.0, "planes_present": 4}
    assert angles.plane_spacing(16.0, **unknown) == pytest.approx(16.0 + angles.OVERHEAD_S)


def test_plane_starts_count_the_delay_once() -> None:
    starts = angles.plane_starts(57000.0, [0, 3], 17.0, 0.1)
    assert (starts - 57000.0) * 86400.0 == pytest.approx([0.1, 51.1], abs=1e-5)


@given(
    hour=st.floats(-75.0, 75.0),
    dec=st.floats(-85.0, 30.0).filter(lambda one: abs(one + angles.PARANAL_UT3.latitude_deg) > 0),
)
def test_parallactic_angle_is_the_position_angle_of_the_zenith(hour: float, dec: float) -> None:
    latitude = angles.PARANAL_UT3.latitude_deg
    # The zenith has hour angle 0 and declination = latitude; position angles grow towards larger right ascension.
    expected = np.degrees(erfa.pas(np.radians(-hour), np.radians(dec), 0.0, np.radians(latitude)))
    found = float(angles.parallactic_angle(hour, dec, latitude))
    assert (found - expected + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=1e-9)


def test_hour_angle_uses_apparent_sidereal_time_and_ut1() -> None:
    site = angles.Site(-70.4045, -24.6268)
    plain = angles.hour_angle(58000.25, 60.0, site)
    late = angles.hour_angle(58000.25, 60.0, site, 0.4)
    assert float(late - plain) == pytest.approx(0.4 * 15.0 / 3600.0 * 1.0027, rel=1e-3)
    greenwich = np.degrees(erfa.gst94(2400000.5, 58000.25))
    assert (float(plain) - (greenwich - 70.4045 - 60.0) + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=1e-4)


def test_apparent_place_precesses() -> None:
    ra, dec = angles.apparent_place(69.40055, -2.47355, 57290.0)
    # 15.7 years of precession at this place: 46.1 x (cos and tan terms) arcsec a year; aberration below 21 arcsec.
    assert ra - 69.40055 == pytest.approx(
        15.74 * (3.0750 + 1.3362 * np.sin(np.radians(69.4)) * -0.0432) * 15 / 3600, abs=0.01
    )
    assert dec + 2.47355 == pytest.approx(15.74 * 20.043 * np.cos(np.radians(69.4)) / 3600, abs=0.008)


def test_angles_that_cross_180_are_unwrapped() -> None:
    assert angles.unwrapped([170.0, 179.0, -172.0]).tolist() == [170.0, 179.0, 188.0]


def test_airmass_is_one_at_the_zenith_and_two_at_thirty_degrees() -> None:
    assert float(angles.airmass(0.0, -24.6268, -24.6268)) == pytest.approx(1.0, abs=1e-4)
    assert float(angles.airmass(60.0, 0.0, 0.0)) == pytest.approx(1.995, abs=0.005)


def test_derotator_fault_of_a_real_kind_of_header() -> None:
    assert float(angles.derotator_fault(65.99818653, 32.71537426)) == pytest.approx(0.567438, abs=1e-5)
    assert float(angles.derotator_fault(30.0, 104.9)) == pytest.approx(0.2, abs=1e-9)


def test_fault_is_a_line_in_time_without_outliers() -> None:
    when = np.linspace(57000.0, 57000.1, 7)
    value = 0.5 + 3.0 * (when - 57000.0)
    value[2] += 1.3
    track = angles.fault_track(when, value)
    assert track.at([57000.02, 57000.07]) == pytest.approx([0.56, 0.71], abs=1e-9)
    assert (track.n_kept, track.n_files) == (6, 7)


def test_fault_of_one_file_is_constant_and_of_none_an_error() -> None:
    assert angles.fault_track([57000.0], [0.3]).at(57000.5) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="DROT2 BEGIN"):
        angles.fault_track([57000.0], [np.nan])


def test_field_tracking_needs_no_parallactic_angle() -> None:
    assert angles.derotation_angle_in_field(2, 30.0, -1.75).tolist() == [-31.75, -31.75]
