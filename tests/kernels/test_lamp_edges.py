"""A lamp's ends are found on a slope and beside light that piles up; an end that is not seen is not named."""

import numpy as np
import pytest

from archive_proc.kernels.lamp_edges import goes_on, lamp_edges

WAVELENGTH = np.linspace(0.94, 1.37, 40)
STEP = WAVELENGTH[1] - WAVELENGTH[0]


def lamp(blue, red, slope=0.0):
    light = np.clip((WAVELENGTH - blue) / STEP + 0.5, 0.0, 1.0) * np.clip((red - WAVELENGTH) / STEP + 0.5, 0.0, 1.0)
    return light * (1.0 + slope * (WAVELENGTH - 1.15))


@pytest.mark.parametrize("slope", [0.0, 2.0, -2.0])
def test_both_ends_are_found_on_a_slope(slope):
    assert lamp_edges(lamp(0.97, 1.33, slope), WAVELENGTH) == pytest.approx([0.97, 1.33], abs=0.2 * STEP)


def test_an_end_beyond_the_channels_is_not_named_and_what_piles_up_there_is_none():
    light = lamp(1.01, 1.5)
    light[:2] = 0.8
    assert lamp_edges(light, WAVELENGTH) == pytest.approx([1.01, np.nan], abs=0.1 * STEP, nan_ok=True)


def test_a_lamp_that_is_on_at_the_last_channels_goes_on_and_one_that_fades_does_not():
    assert goes_on(lamp(1.01, 1.5)).tolist() == [False, True]
    assert goes_on(lamp(0.97, 1.33)).tolist() == [False, False]
    fading = np.exp(-(((WAVELENGTH - 1.1) / 0.2) ** 4))
    assert np.isnan(lamp_edges(fading, WAVELENGTH)[0])
    assert goes_on(fading).tolist() == [True, False]
    assert not goes_on(np.full(40, np.nan)).any()


def test_nothing_and_missing_channels_have_no_end():
    assert np.isnan(lamp_edges(np.zeros(40), WAVELENGTH)).all()
    assert np.isnan(lamp_edges(np.full(40, np.nan), WAVELENGTH)).all()
