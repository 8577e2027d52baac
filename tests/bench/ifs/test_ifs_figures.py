"""The figures of the IFS bench tell right products from spoilt ones, each by the amount that it was spoilt by."""

from dataclasses import replace

import numpy as np
import pytest
import scipy
from small_ifs_set import (
    BANDWIDTH_NM,
    EDGES_NM,
    READ_E,
    RESPONSE,
    WAVELENGTH_NM,
    lamp_of,
    right_spectra,
    small_known,
)

from archive_proc.bench.ifs.channels import blurred, in_channels, smeared
from archive_proc.bench.ifs.companions import companion_spectrum
from archive_proc.bench.ifs.compared import as_shown, compare, through, throughput
from archive_proc.bench.ifs.cubes import aperture_pulls, centring_error_mas, centring_pull, core_of, pulls_width
from archive_proc.bench.ifs.defects import catastrophic, flagged_share, touched
from archive_proc.bench.ifs.evenly_lit import (
    band_flux,
    channel_bias,
    measured_over_claimed,
    noise_over_limit,
    rms_and_worst,
    summed_variance,
)
from archive_proc.bench.ifs.isolated import isolated
from archive_proc.bench.ifs.laser_lines import laser_lines
from archive_proc.bench.ifs.shifts import worst_across, worst_along
from archive_proc.bench.ifs.values import Reduced, values_of


@pytest.fixture(scope="module")
def known():
    return small_known()


@pytest.fixture(scope="module")
def lamp(known):
    return lamp_of(known)


def spoilt(spectra, change):
    flux = spectra.flux.copy()
    change(flux)
    return replace(spectra, flux=flux)


def on(known, name, spectra, lamp, **how):
    return compare(known, known.scene(name), spectra, lamp, **how)


def test_a_faultless_product_has_no_bias_whatever_the_sum_of_the_psflets(known, lamp):
    one = on(known, "uniform", right_spectra(known, "uniform", claimed=1.0), lamp)
    assert one.core.sum() == 32
    assert rms_and_worst(channel_bias(one))[1] < 1e-3
    bias, scatter = band_flux(one)
    assert abs(bias) < 1e-3
    assert scatter < 1e-3


def test_a_channel_that_is_too_bright_is_the_worst_by_that_much(known, lamp):
    def brighter(flux):
        flux[:, :, 20] *= 1.05

    one = on(known, "uniform", spoilt(right_spectra(known, "uniform", claimed=1.0), brighter), lamp)
    rms, worst = rms_and_worst(channel_bias(one))
    assert worst == pytest.approx(5.0, abs=0.01)
    assert rms == pytest.approx(5.0 / np.sqrt(32), abs=0.01)


def test_lenslets_of_different_brightness_scatter_in_the_band(known, lamp):
    rng = np.random.default_rng(3)

    def uneven(flux):
        flux *= 1.01 + 0.004 * rng.standard_normal(flux.shape[1])[None, :, None]

    bias, scatter = band_flux(on(known, "uniform", spoilt(right_spectra(known, "uniform"), uneven), lamp))
    assert bias == pytest.approx(1.0, abs=0.1)
    assert scatter == pytest.approx(0.4, abs=0.06)


def test_a_product_of_its_own_resolution_is_biased_at_another():
    edges = np.linspace(920.0, 1390.0, 189)
    flux = np.ones((1, 188))
    flux[0, 100] += 40.0
    channels = np.linspace(935.0, 1375.0, 40)
    sharp, wide = in_channels(flux, edges, channels), blurred(flux, edges, channels, 30.0)
    assert wide[0].max() < 0.6 * sharp[0].max()
    assert wide[0][5:-5].sum() == pytest.approx(sharp[0][5:-5].sum(), rel=1e-3)


def test_a_sharp_product_is_right_where_both_are_blurred_alike():
    fine = np.linspace(940.0, 1360.0, 841)
    middle = 0.5 * (fine[1:] + fine[:-1])
    light = 1.0 - 0.6 * np.exp(-0.5 * ((middle - 1130.0) / 12.0) ** 2)
    edges = np.linspace(950.0, 1350.0, 36)
    sharp, soft = in_channels(light[None], fine, edges)[0], blurred(light[None], fine, edges, 16.0)[0]
    inside = slice(4, -4)
    assert np.abs(sharp / soft - 1.0)[inside].max() > 0.1
    assert np.abs(smeared(sharp, edges, 16.0) / soft - 1.0)[inside].max() < 0.01
    holed = sharp.copy()
    holed[10] = np.nan
    assert np.isnan(smeared(holed, edges, 16.0)[[8, 10, 12]]).all()


def test_a_product_that_shows_what_it_says_it_does_is_right_at_its_own_resolution(known, lamp):
    right = right_spectra(known, "uniform")
    rows = np.tile(np.array([-0.05, 0.3, 0.5, 0.35, -0.05], np.float32), (right.flux.shape[2], 1))
    shown = replace(right, flux=through(rows, right.flux).astype(np.float32), resolution=rows)
    plain = on(known, "uniform", shown, lamp)
    assert rms_and_worst(channel_bias(plain))[0] == pytest.approx(5.0, abs=0.3)
    own = as_shown(plain, shown)
    assert own is not None
    assert rms_and_worst(channel_bias(own))[1] < 0.2
    assert as_shown(plain, right) is None


def test_the_curve_over_the_truths_width_is_lowest_where_the_product_resolves(known, lamp):
    right = right_spectra(known, "uniform", claimed=1.0)
    scene = known.scene("uniform")
    banded = scene.flux(0) * (1.0 - 0.5 * np.exp(-0.5 * ((0.5 * (EDGES_NM[1:] + EDGES_NM[:-1]) - 1130.0) / 9.0) ** 2))
    seen = replace(scene, flux=lambda plane: banded)
    own = RESPONSE / throughput(known)[:, None]
    flux = np.repeat(own[None] * blurred(banded, EDGES_NM, right.edges_nm, 12.0), scene.planes, axis=0)
    product = {scene.file_id: replace(right, flux=flux.astype(np.float32))}
    night = replace(known, scenes=tuple(seen if one is scene else one for one in known.scenes))
    values = values_of(night, Reduced(lamp, product))
    name = "channel bias, uniform field"
    curve = {one: values[f"{name}, truth at {one} nm, rms"].value for one in (4, 8, 12, 16)}
    assert curve[12] < 1e-3
    assert curve[4] > curve[8] > 0.3 < curve[16]
    assert values[f"{name}, fixed resolution, rms"].value == curve[16]
    assert values[f"{name}, rms"].value > curve[4]


def test_a_band_without_light_is_scored_at_no_width_of_the_truth(known, lamp):
    scene = known.scene("uniform")
    middle = 0.5 * (EDGES_NM[1:] + EDGES_NM[:-1])
    dark = scene.flux(0) * (np.abs(middle - 1130.0) > 12.0)
    night = replace(known, scenes=(replace(scene, flux=lambda plane: dark), known.scene("ifu_flat")))
    right = right_spectra(night, "uniform")
    cores = [on(night, "uniform", right, lamp, fwhm_nm=one).core for one in (None, 16.0, 60.0)]
    assert cores[0].sum() == 30
    assert all(np.array_equal(one, cores[0]) for one in cores)


def test_light_at_the_photon_limit_is_one_and_twice_the_noise_is_two(known, lamp):
    plain = on(known, "uniform", right_spectra(known, "uniform"), lamp)
    limit = float(np.median(plain.limit[:, plain.scored][:, :, plain.core]))
    assert limit == pytest.approx(np.sqrt(2400 * 440 / 39 / 2.5 + 3.3 * (15 * 32 + READ_E**2)), rel=0.05)
    for factor in (1.0, 2.0):
        noisy = right_spectra(known, "uniform")
        rng = np.random.default_rng(11)
        flux = noisy.flux + RESPONSE * factor * plain.limit * rng.standard_normal(noisy.flux.shape)
        one = on(known, "uniform", replace(noisy, flux=flux.astype(np.float32)), lamp)
        assert noise_over_limit(one) == pytest.approx(factor, rel=0.03)
        assert noise_over_limit(one, pixels=4.0) == pytest.approx(factor, rel=0.06)


def test_claims_are_measured_by_what_they_understate(known, lamp):
    one = on(known, "uniform", right_spectra(known, "uniform", noise=40.0, claimed=50.0), lamp)
    for width in (1, 4, None):
        assert measured_over_claimed(one, None, width) == pytest.approx(0.8, rel=0.08)


def test_correlated_noise_is_honest_only_with_its_correlation(known, lamp):
    right = right_spectra(known, "uniform")
    rng = np.random.default_rng(2)
    white = rng.standard_normal((*right.flux.shape[:2], 41))
    noise = 40.0 * (white[:, :, 1:-1] + 0.5 * white[:, :, :-2] + 0.5 * white[:, :, 2:]) / np.sqrt(1.5)
    right = replace(
        right, flux=(right.flux + noise).astype(np.float32), sigma=np.full(right.flux.shape, 40.0, np.float32)
    )
    one = on(known, "uniform", right, lamp)
    lags = np.array([1.0 / 1.5, 0.25 / 1.5, 0.0])[:, None, None] * np.ones((3, 39, right.flux.shape[1]))
    assert measured_over_claimed(one, lags, 4) == pytest.approx(1.0, rel=0.05)
    assert measured_over_claimed(one, None, 4) > 1.3


def test_variance_of_a_sum_is_that_of_dense_algebra():
    rng = np.random.default_rng(8)
    sigma = rng.uniform(1.0, 2.0, (1, 1, 6))
    lags = rng.uniform(-0.2, 0.2, (3, 6, 1))
    matrix = np.eye(6)
    for lag in (1, 2, 3):
        for k in range(6 - lag):
            matrix[k, k + lag] = matrix[k + lag, k] = lags[lag - 1, k, 0]
    run = np.array([1, 2, 3, 4])
    part = sigma[0, 0, run]
    assert summed_variance(sigma, lags, run)[0, 0] == pytest.approx(part @ matrix[np.ix_(run, run)] @ part)


def test_light_given_to_a_neighbour_is_a_leak_of_that_size(known, lamp):
    right = right_spectra(known, "comb", claimed=1.0)
    clean = isolated(known, on(known, "comb", right, lamp))
    assert clean.recovered == pytest.approx(1.0, abs=1e-4)
    assert clean.worst_mean_leak < 1e-6
    place = {(int(q), int(r)): i for i, (q, r) in enumerate(zip(known.q, known.r, strict=True))}
    lit = [i for i in range(len(known.q)) if known.q[i] % 5 == 0 and known.r[i] % 5 == 0]

    def leaky(flux):
        for i in lit:
            beside = place.get((int(known.q[i]) - 1, int(known.r[i]) + 1))
            if beside is not None:
                flux[0, beside] += 0.003 * flux[0, i]
                flux[0, beside, 10] += 0.02 * flux[0, i, 10]
        flux[0, lit] *= 0.99

    found = isolated(known, on(known, "comb", spoilt(right, leaky), lamp))
    assert found.recovered == pytest.approx(0.99, abs=1e-4)
    assert found.worst_mean_leak == pytest.approx(0.0036, abs=0.0003)
    assert found.worst_channel_leak == pytest.approx(0.023, abs=0.001)


def test_wrong_elements_at_bad_pixels_count_by_kind_until_they_are_flagged(known, lamp):
    right = right_spectra(known, "uniform", claimed=10.0)
    near = touched(known, known.scene("uniform"), WAVELENGTH_NM)
    assert near["cosmic"][1].any()
    assert not near["cosmic"][0].any()

    def broken(flux):
        flux[near["new"]] *= 1.5

    wrong = spoilt(right, broken)
    one = on(known, "uniform", wrong, lamp)
    assert catastrophic(one, near["new"])[0] == 100.0
    assert catastrophic(one, near["static"] & ~near["new"])[0] == 0.0
    careful = on(known, "uniform", replace(wrong, flagged=near["new"]), lamp)
    assert catastrophic(careful, near["new"]) == (None, 0)
    clean = ~np.logical_or.reduce(list(near.values()))
    assert flagged_share(careful, clean)[0] == 0.0
    assert flagged_share(on(known, "uniform", replace(wrong, flagged=np.ones_like(clean)), lamp), clean)[0] == 100.0


def test_small_errors_and_errors_within_the_claim_are_no_catastrophe(known, lamp):
    right = right_spectra(known, "uniform", claimed=10.0)
    everywhere = np.ones(right.flux.shape, bool)
    slightly = spoilt(right, lambda flux: np.multiply(flux, 1.09, out=flux))
    assert catastrophic(on(known, "uniform", slightly, lamp), everywhere)[0] == 0.0
    honest = replace(
        spoilt(right, lambda flux: np.multiply(flux, 1.5, out=flux)), sigma=(0.1 * right.flux).astype(np.float32)
    )
    assert catastrophic(on(known, "uniform", honest, lamp), everywhere)[0] == 0.0


def test_a_lenslet_that_is_not_published_counts_as_flagged(known, lamp):
    right = right_spectra(known, "uniform", claimed=10.0)
    lost = np.flatnonzero(known.complete)[:20]
    gone = spoilt(right, lambda flux: flux.__setitem__((slice(None), lost), np.nan))
    one = on(known, "uniform", gone, lamp)
    share, _ = flagged_share(one, np.ones(right.flux.shape, bool))
    assert share == pytest.approx(100.0 * 20 / known.complete.sum())


def lines_at(known, offset_nm, width_nm=11.0):
    right = right_spectra(known, "wave", claimed=1.0)
    flux = np.zeros_like(right.flux)
    fine = np.arange(920.0, 1390.0, 0.25)
    for laser in known.laser_nm:
        line = np.exp(-0.5 * ((fine - laser - offset_nm) / width_nm) ** 2)
        which = np.floor((fine - 935.0) / BANDWIDTH_NM[0]).astype(int)
        inside = (which >= 0) & (which < 39)
        flux += np.bincount(which[inside], line[inside], 39)[None, None, :].astype(np.float32)
    return replace(right, flux=flux)


def test_laser_lines_stand_where_they_are_and_move_with_a_wrong_law(known):
    right = laser_lines(known, lines_at(known, 0.0))
    assert np.max(np.abs(right.offset_nm)) < 0.15
    assert right.missing == 0.0
    wrong = laser_lines(known, lines_at(known, 1.2))
    assert np.min(wrong.offset_nm) > 1.0


def test_lenslets_without_a_line_are_counted(known):
    full = lines_at(known, 0.0)
    gone = np.flatnonzero(known.complete)[:10]
    dark = spoilt(full, lambda flux: flux.__setitem__((slice(None), gone), np.nan))
    assert laser_lines(known, dark).missing == pytest.approx(10 / known.complete.sum())
    some = np.flatnonzero(known.complete)[:4]
    red = spoilt(full, lambda flux: flux.__setitem__((slice(None), some, slice(30, 39)), 0.0))
    assert laser_lines(known, red).missing == pytest.approx(4 / known.complete.sum())


def test_a_companion_that_is_too_faint_is_biased_by_that_much(known, lamp):
    scene = known.scene("star")
    right = right_spectra(known, "star", claimed=1.0)
    found = companion_spectrum(known, [(scene, on(known, "star", right, lamp))], "T", 3e-4)
    assert abs(found.bias) < 1e-3
    unsure = right_spectra(known, "star", claimed=2.0)
    doubled = companion_spectrum(known, [(scene, on(known, "star", unsure, lamp))], "T", 3e-4)
    assert doubled.noise == pytest.approx(2.0 * found.noise)
    near = np.hypot(known.x - 3.2, known.y - 2.1) < 2.5
    smooth = right_spectra(known, "uniform").flux[:2] * 0.02

    def faint(flux):
        flux[:, near] = smooth[:, near] + 0.97 * (flux[:, near] - smooth[:, near])

    spoilt_one = companion_spectrum(known, [(scene, on(known, "star", spoilt(right, faint), lamp))], "T", 3e-4)
    assert spoilt_one.bias == pytest.approx(-3.0, abs=0.1)
    assert companion_spectrum(known, [(scene, on(known, "star", right, lamp))], "L", 3e-3) is None


def test_aperture_sums_are_honest_with_the_correlation_and_not_without():
    rng = np.random.default_rng(4)
    white = rng.standard_normal((4, 202, 202))
    noise = (white[:, 1:-1, 1:-1] + white[:, :-2, 1:-1] + white[:, 1:-1, :-2] + white[:, :-2, :-2]) / 2.0
    flux, variance = noise.astype(np.float32), np.ones_like(noise, np.float32)
    clean = np.ones(flux.shape, bool)
    even = np.array([[1.0, 0.5, 0.0], [0.5, 0.25, 0.0], [0.0, 0.0, 0.0]], np.float32)
    assert pulls_width([aperture_pulls(flux, variance, clean, even)]) == pytest.approx(1.0, abs=0.05)
    alone = np.ones((1, 1), np.float32)
    assert pulls_width([aperture_pulls(flux, variance, clean, alone)]) > 1.5
    assert len(aperture_pulls(flux, variance, np.zeros_like(clean), even)) == 0


def test_a_star_that_was_not_found_is_not_well_centred():
    true = np.array([[3.0, -2.0]])
    found = np.repeat(true[:, None], 39, axis=1)
    assert centring_error_mas(found, true) == 0.0
    assert centring_error_mas(found + np.array([0.6, 0.8]), true) == pytest.approx(1.0)
    assert centring_error_mas(np.full_like(found, np.nan), true) is None
    quoted = np.full_like(found, 0.5)
    assert centring_pull(found + np.array([0.5, -1.0]), true, quoted) == pytest.approx(np.sqrt(2.5))
    assert centring_pull(np.full_like(found, np.nan), true, quoted) is None


def test_the_core_of_a_star_is_where_its_light_stands():
    r, q = np.mgrid[-20:21, -20:21]
    x, y = (q + 0.5 * r).ravel(), np.sqrt(0.75) * r.ravel()
    wavelength = np.array([980.0, 1150.0, 1300.0])
    unit = wavelength * 1e-6 / 8.0 * 180 / np.pi * 3600 / 12.92
    v = np.pi * np.hypot(x - 1.13, y + 0.71)[:, None] / unit
    light = (2.0 * scipy.special.j1(v) / v) ** 2 + 1e-4
    found = core_of(x, y, light * np.array([1.0, 0.8, 0.01]), wavelength, np.array([1.0, -0.6]))
    assert found == pytest.approx([1.13, -0.71], abs=0.005)


def test_shifts_along_the_dispersion_may_be_stated_as_unknown():
    true = np.array([0.1, -0.04])
    assert worst_across(np.array([0.1, -0.01]), true) == pytest.approx(0.03)
    assert worst_across(np.array([0.1, np.nan]), true) is None
    assert worst_along(np.zeros(2), np.zeros(2), true) == pytest.approx(2.0)
    assert worst_along(np.zeros(2), np.full(2, 0.2), true) == pytest.approx(0.5)


def test_all_figures_of_a_faultless_night_are_within_their_aims(known, lamp):
    names = ("comb", "star")
    spectra = {known.scene(name).file_id: right_spectra(known, name, noise=0.01, claimed=0.01) for name in names}
    uniform = right_spectra(known, "uniform")
    limit = on(known, "uniform", uniform, lamp).limit * RESPONSE
    rng = np.random.default_rng(21)
    spectra[known.scene("uniform").file_id] = replace(
        uniform,
        flux=(uniform.flux + limit * rng.standard_normal(limit.shape)).astype(np.float32),
        sigma=limit.astype(np.float32),
    )
    spectra[known.scene("wave").file_id] = lines_at(known, 0.0)
    values = values_of(known, Reduced(lamp, spectra))
    assert values["channel bias, uniform field, rms"].value < 2.1
    assert values["measured over claimed sigma, one channel"].value == pytest.approx(1.0, abs=0.05)
    assert values["flagged among clean elements"].value == 0.0
    assert values["catastrophic unflagged, new hot"].value == 0.0
    assert values["companion T 0.0003, bias"].value < 0.1
    assert values["laser lines, offset"].value < 0.15


def test_what_was_not_reduced_has_no_value(known, lamp):
    values = values_of(known, Reduced(lamp, {}))
    assert len(values) > 15
    assert all(one.value is None for one in values.values())
