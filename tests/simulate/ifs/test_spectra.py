"""Spectra and transmissions have structure finer than the spectrograph resolves, and keep their norms."""

import numpy as np
import pytest

from archive_proc.simulate.ifs import spectra
from archive_proc.simulate.ifs.coronagraph import HEXAGON_MAS2, Coronagraph, halo
from archive_proc.simulate.ifs.facts import MODES, PITCH_MAS
from archive_proc.simulate.ifs.starlight import RING_INCLINATION_DEG, RING_MAS, RING_PA_DEG, ring


@pytest.fixture(scope="module")
def bins():
    return spectra.make_bins(MODES["YJ"])


def test_bins_are_finer_than_half_a_pixel(bins):
    assert len(bins.middle_nm) == 128
    assert bins.width_nm.max() < 0.5 * 9.0


def test_averages_over_bins_keep_the_integral(bins):
    fine = 1.0 + np.sin(bins.fine_nm / 3.0)
    assert (bins.average(fine) * bins.width_nm).sum() == pytest.approx(fine.sum() * spectra.FINE_NM, rel=2e-3)


def test_a_methane_dwarf_falls_by_twenty_within_a_few_channels(bins):
    dwarf = bins.average(spectra.t_dwarf(bins.fine_nm))
    near = np.abs(bins.middle_nm - 1160) < 60
    assert dwarf[near].max() > 20 * dwarf[near].min()


@pytest.mark.parametrize("shape", [spectra.t_dwarf, spectra.l_dwarf])
def test_dwarfs_have_mean_one_where_contrasts_are_defined(shape):
    at = np.arange(1000.05, 1300.0, 0.1)
    whole = np.arange(920.05, 1390.0, 0.1)
    assert shape(whole)[(whole > 1000) & (whole < 1300)].mean() == pytest.approx(1.0)
    assert np.all(shape(at) >= 0)


def test_water_darkens_with_airmass_and_its_own_amount():
    at = np.arange(930.05, 1700.0, 0.1)
    dry, wet, low = spectra.air(at, 1.0, 1.0), spectra.air(at, 1.0, 5.0), spectra.air(at, 2.0, 1.0)
    band = (at > 1120) & (at < 1145)
    assert wet[band].mean() < 0.75 * dry[band].mean()
    assert low[band].mean() < dry[band].mean()
    clear = (at > 1030) & (at < 1080)
    assert np.all(dry[clear] > 0.97)
    assert np.interp(1385, at, wet) < 0.2


def test_a_passband_has_edges_and_fringes():
    passband = spectra.draw_passband(MODES["YJ"], np.random.default_rng(1))
    at = np.arange(925.0, 1385.0, 0.5)
    through = passband.at(at)
    assert through[0] < 0.01
    assert through[-1] < 0.01
    inside = (at > 970) & (at < 1320)
    smooth = np.polyval(np.polyfit(at[inside] - 1100, through[inside], 3), at[inside] - 1100)
    assert 0.004 < (through[inside] / smooth - 1).std() < 0.03


def test_lenslets_share_the_whole_light_of_a_star():
    r, q = (one.ravel() for one in np.mgrid[-40:41, -60:61])
    optics = Coronagraph(q, r)
    wave = optics.unocculted(np.zeros((128, 128), np.float32), 1100.0)
    light = optics.image(wave, 1100.0, np.array([0.7, -0.4]))
    x, y = q + 0.5 * r + 0.5, r * np.sqrt(0.75)
    assert 0.93 < light.sum() < 1.0
    core = np.hypot(x - 0.7, y + 0.4) < 6
    # The spiders' diffraction is far off; the core's centre of light is the star.
    assert (light * x)[core].sum() / light[core].sum() == pytest.approx(0.7, abs=0.1)
    assert (light * y)[core].sum() / light[core].sum() == pytest.approx(-0.4, abs=0.1)
    near = optics.image(wave, 1100.0, np.array([0.7, -0.4]), reach=8.0)
    assert near[core] == pytest.approx(light[core], rel=1e-4)
    assert near[np.abs(x) > 20].max() == 0.0


def test_a_mask_removes_the_core():
    r, q = (one.ravel() for one in np.mgrid[-20:21, -30:31])
    optics = Coronagraph(q, r)
    flat = np.zeros((128, 128), np.float32)
    centred = optics.image(optics.occulted(flat, flat, 1100.0, np.zeros(2)), 1100.0, np.zeros(2))
    open_ = optics.image(optics.unocculted(flat, 1100.0), 1100.0, np.zeros(2))
    assert centred.max() < 0.03 * open_.max()


def test_the_halo_sums_to_one():
    at = np.arange(-900, 900) * 4.0 + 2.0
    x, y = np.meshgrid(at, at)
    assert halo(x, y, 1100.0, 30.0, None).sum() * 16.0 == pytest.approx(1.0, abs=0.05)
    assert pytest.approx(PITCH_MAS**2 * 0.8660254) == HEXAGON_MAS2


def test_the_ring_turns_with_the_sky():
    derotation = 70.0

    def at(position_angle, separation):
        turn = np.radians(position_angle - derotation)
        return float(ring(np.array([-separation * np.sin(turn)]), np.array([separation * np.cos(turn)]), derotation)[0])

    short = RING_MAS * np.cos(np.radians(RING_INCLINATION_DEG))
    assert at(RING_PA_DEG, RING_MAS) == pytest.approx(1.0)
    assert at(RING_PA_DEG + 180, RING_MAS) == pytest.approx(1.0)
    assert at(RING_PA_DEG + 90, short) == pytest.approx(1.5)
    assert at(RING_PA_DEG - 90, short) == pytest.approx(0.5)
    assert at(RING_PA_DEG + 90, RING_MAS) < 1e-6
