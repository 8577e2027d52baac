"""Spectra of planes with cosmic rays and new hot pixels, and the shift of traces, on a small spectrograph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import small_spectrograph

from archive_proc.kernels.exposures import Exposures, RobustSettings
from archive_proc.kernels.extraction import subtract_model
from archive_proc.kernels.lenslets import ADJACENT
from archive_proc.kernels.microspectra import Templates, build_templates
from archive_proc.kernels.plane_spectra import plane_spectra
from archive_proc.kernels.spectra_shift import TURN_RAD, measure_shift
from archive_proc.model.flags import Flag

CHANNELS, PLANES, FLOOR, READ = 30, 3, 400.0, 20.0
EDGES = np.linspace(0.95, 1.25, CHANNELS + 1)
STEPS = EDGES[:-1, None] + (np.arange(4) + 0.5) / 4 * np.diff(EDGES)[:, None]


def places(lenslets, middle) -> np.ndarray:
    first = small_spectrograph.detector_places(lenslets, middle)
    y = first[1][:, None, None] + (STEPS - 0.95)[None] * 90.0
    return np.stack([np.broadcast_to(first[0][:, None, None], y.shape) - (STEPS - 0.95)[None], y])


def image_of(templates: Templates, flux: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(p, *shape) light of flux (p, n, m)."""
    out = np.zeros((len(flux), *shape), np.float32)
    subtract_model(templates.counts, templates.scale, templates.x0, templates.y0, -np.asarray(flux, np.float32), out)
    return out


def exposures(light: np.ndarray, good: np.ndarray) -> Exposures:
    ones = np.ones(light.shape[1:], np.float32)
    return Exposures(light.astype(np.float32), FLOOR * ones, ones, good, 0 * ones)


@pytest.fixture(scope="module")
def scene():
    """Light of every plane, its noise added, and which lenslets are whole."""
    lenslets = small_spectrograph.few_lenslets(7.0)
    shape = (190, 190)
    where = places(lenslets, (92.0, 82.0))
    model = small_spectrograph.round_psflets(lenslets)
    templates = build_templates(model, (lenslets.x, lenslets.y), where, STEPS, np.ones(STEPS.shape))
    rng = np.random.default_rng(5)
    spectrum = 4000.0 * (1.0 + 0.3 * np.sin(np.arange(CHANNELS) / 4.0))
    truth = spectrum * np.array([1.0, 1.1, 0.9])[:, None, None] * rng.uniform(0.9, 1.1, (1, len(lenslets), 1))
    clean = image_of(templates, truth, shape)
    light = clean + rng.normal(0.0, np.sqrt(FLOOR + np.maximum(clean, 0.0)))
    good = rng.random(shape) > 0.01
    light[:, ~good] = 1e5
    ends = where[:, :, [0, -1], 0]
    whole = (ends[0].min(axis=1) > 9) & (ends[0].max(axis=1) < 180) & (ends[1].min(axis=1) > 10)
    whole &= ends[1].max(axis=1) < 178
    return templates, light, good, truth, whole


def test_claimed_sigma_is_the_error_in_every_plane_and_in_sums_of_channels(scene):
    templates, light, good, truth, whole = scene
    found = plane_spectra(exposures(light, good), templates)
    # Enough turns were taken, and no more than were needed: a turn makes steps three times smaller or so.
    assert 0.001 < found.last_step < RobustSettings().enough
    use = np.isfinite(found.variance) & (found.flags == 0) & whole[None, :, None]
    use[:, :, :3] = use[:, :, -3:] = False
    away = found.flux - truth
    for plane in range(PLANES):
        sigma = np.sqrt(found.variance[plane][use[plane]])
        assert 0.9 < np.sqrt(np.mean((away[plane][use[plane]] / sigma) ** 2)) < 1.12
    assert found.flags[:, whole].astype(bool).mean() < 0.02
    four = slice(13, 17)
    claimed = sum(
        (1.0 if lag == 0 else 2.0) * found.covariance[whole, lag, k] for k in range(13, 17) for lag in range(17 - k)
    )
    scatter = (found.flux[1] / 1.1 - found.flux[2] / 0.9)[whole, four].sum(axis=1)
    assert 0.85 < np.std(scatter) / np.sqrt(np.median(claimed) * (1 / 1.1 + 1 / 0.9)) < 1.15


def test_hits_and_new_hot_pixels_leave_the_spectra_alone(scene):
    templates, light, good, truth, whole = scene
    rng = np.random.default_rng(8)
    struck = light.copy()
    for plane in range(PLANES):
        for y, x in rng.integers(30, 160, (12, 2)):
            struck[plane, y, x : x + 2] += rng.uniform(2e3, 2e4)
    for y, x in rng.integers(30, 160, (6, 2)):
        struck[:, y, x] += 1e4
    calm = plane_spectra(exposures(light, good), templates)
    found = plane_spectra(exposures(struck, good), templates)
    away = np.abs(found.flux - truth) / truth
    sigma = np.sqrt(found.variance)
    catastrophic = (away > 0.1) & (np.abs(found.flux - truth) > 6 * sigma) & (found.flags == 0)
    assert catastrophic[:, whole].mean() < 2e-4
    ignorant = plane_spectra(exposures(struck, good), templates, RobustSettings(outliers=False))
    assert (np.abs(ignorant.flux - truth) / truth > 0.1)[:, whole].sum() > 20 * max(1, catastrophic[:, whole].sum())
    assert (found.flags[:, whole] & int(Flag.COSMIC)).any()
    assert not (calm.flags[:, whole] & int(Flag.COSMIC)).any()
    assert found.new_bad >= 5
    # What is left of a struck channel's information is what its variance says.
    struck_ones = ((found.flags & int(Flag.COSMIC)) > 0) & whole[None, :, None] & np.isfinite(sigma)
    ratio = (found.flux - truth)[struck_ones] / sigma[struck_ones]
    assert 0.7 < 1.4826 * np.median(np.abs(ratio)) < 1.4
    assert np.median(found.variance[struck_ones] / calm.variance[struck_ones]) > 1.05


@pytest.mark.parametrize("planes", [1, 2, 3])
def test_a_hit_that_looks_like_light_is_found_by_its_lonely_channel(scene, planes):
    """As wide as a PSFlet: the fit takes it for light, and no pixel of it disagrees."""
    templates, light, good, truth, whole = scene
    beside = small_spectrograph.few_lenslets(7.0).steps(ADJACENT)
    struck = light[:planes].copy()
    chosen = np.flatnonzero(whole)[5::9]
    for number, lens in enumerate(chosen):
        y, x = templates.y0[lens, 6 + number] + 7, templates.x0[lens] + 6
        stamp = templates.values[lens, 6 + number, 7:10, 6:9]
        struck[0, y : y + 3, x : x + 3] += 1.0 * truth[0, lens, 6 + number] * stamp / stamp.sum()
    found = plane_spectra(exposures(struck, good), templates, beside=beside)
    wrong = np.abs(found.flux - truth[:planes]) > 6 * np.sqrt(found.variance)
    ignorant = plane_spectra(exposures(struck, good), templates, settings=RobustSettings(outliers=False))
    fooled = np.abs(ignorant.flux - truth[:planes]) > 6 * np.sqrt(ignorant.variance)
    assert fooled[:, chosen].sum() >= len(chosen)
    assert (wrong & (found.flags == 0))[:, whole].sum() <= 1
    assert (found.flags[:, whole] != 0).mean() < 0.03


@pytest.mark.parametrize("planes", [1, 3])
def test_an_emission_line_as_wide_as_the_psf_is_no_hit(scene, planes):
    """In one channel alone, from 12 sigma to 500: neighbours on the sky see it too, if only half of it."""
    templates, _, good, truth, whole = scene
    lenslets = small_spectrograph.few_lenslets(7.0)
    psf = np.exp(-4.0 * np.log(2.0) * (lenslets.x**2 + lenslets.y**2) / 2.0**2)
    noise = np.random.default_rng(7).normal(size=(planes, *good.shape))
    found = []
    for peak in (0.0, 1e3, 4e4):
        flux = truth[:planes].copy()
        flux[:, :, 15] += peak * psf
        light = image_of(templates, flux, good.shape)
        light += noise * np.sqrt(FLOOR + light)
        found.append(plane_spectra(exposures(light, good), templates, beside=lenslets.steps(ADJACENT)))
    near = (psf > 0.3) & whole
    dark, faint, bright = (one.flux[:, near, 13:18].sum() for one in found)
    assert (faint - dark) / 1e3 == pytest.approx((bright - dark) / 4e4, rel=0.02)
    assert all((one.flags[:, near, 12:19] == 0).all() for one in found)


@pytest.mark.parametrize(
    ("moves", "bright"), [((0.0, 0.3, -0.25), 20.0), ((0.0, 0.3), 100.0), ((0.0, 1.0), 20.0), ((0.0,), 100.0)]
)
def test_a_star_that_changes_between_planes_is_no_hit(scene, moves, bright):
    """Nor is one whose photons leave its core a hundredth of the information of other lenslets."""
    templates, _, good, truth, whole = scene
    lenslets = small_spectrograph.few_lenslets(7.0)
    away2 = (lenslets.x[None] - np.array(moves)[:, None]) ** 2 + lenslets.y[None] ** 2
    star = bright * truth.mean() * np.exp(-away2 / 1.5)[:, :, None] * np.ones(CHANNELS)
    rng = np.random.default_rng(3)
    clean = image_of(templates, star, good.shape)
    light = clean + rng.normal(0.0, np.sqrt(FLOOR + np.maximum(clean, 0.0)))
    found = plane_spectra(exposures(light, good), templates, beside=lenslets.steps(ADJACENT))
    core = (star > 0.2 * star.max()) & whole[None, :, None]
    lost = ((found.flags & int(Flag.COSMIC | Flag.NEW_BAD | Flag.SUSPECT)) > 0)[core].mean()
    # What two planes have in common is their mean: that of a star's two places is no star.
    assert lost < (0.1 if len(moves) == 2 else 0.02)
    ratio = (found.flux / star)[core]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.005)
    assert (np.abs(ratio - 1.0) > 0.05).mean() < 0.002


def test_a_hit_on_a_star_is_found_in_its_plane(scene):
    templates, _, good, truth, _whole = scene
    lenslets = small_spectrograph.few_lenslets(7.0)
    away2 = (lenslets.x[None] - np.array([[0.0], [0.3]])) ** 2 + lenslets.y[None] ** 2
    star = 100.0 * truth.mean() * np.exp(-away2 / 1.5)[:, :, None] * np.ones(CHANNELS)
    light = image_of(templates, star, good.shape)
    light += np.random.default_rng(3).normal(0.0, np.sqrt(FLOOR + np.maximum(light, 0.0)))
    core = int(np.argmax(star[1, :, 0]))
    y, x = templates.y0[core, 14] + 8, templates.x0[core] + 8
    light[1, y, x : x + 2] += 1.5 * light[1].max()
    found = plane_spectra(exposures(light, good), templates, beside=lenslets.steps(ADJACENT))
    assert (found.flags[1, core, 12:17] & int(Flag.COSMIC | Flag.NEW_BAD)).any()
    wrong = np.abs(found.flux / star - 1.0)[1, core] > 0.05
    assert not (wrong & (found.flags[1, core] == 0)).any()


def test_light_beside_a_hit_that_other_planes_do_not_show_is_flagged_though_its_pixels_look_like_light(scene):
    templates, light, good, truth, whole = scene
    struck = np.flatnonzero(whole)[::4]
    sigma = np.sqrt(plane_spectra(exposures(light.copy(), good), templates).variance[1, struck, 14])
    extra = np.zeros((1, *truth.shape[1:]))
    extra[0, struck, 14] = 10.0 * sigma
    worse = light.copy()
    worse[1] += image_of(templates, extra, light.shape[1:])[0]
    worse[1, templates.y0[struck, 14] + 7, templates.x0[struck] + 4] += 3000.0

    def flagged(beside_hit: float):
        found = plane_spectra(exposures(worse.copy(), good), templates, RobustSettings(beside_hit=beside_hit))
        return found.flags[:, struck, 14] != 0, (found.flags[:, whole] != 0).mean()

    (some, clean), (more, all_of_it) = flagged(99.0), flagged(RobustSettings().beside_hit)
    assert more[1].mean() > some[1].mean() + 0.15
    assert not (some & ~more).any()
    assert all_of_it < clean + 0.003


def test_a_channel_on_bad_pixels_only_is_filled_and_has_no_variance(scene):
    templates, light, good, truth, whole = scene
    lens = int(np.flatnonzero(whole)[len(np.flatnonzero(whole)) // 2])
    dead = good.copy()
    y, x = templates.y0[lens, 15] + 8, templates.x0[lens] + 7
    dead[y - 3 : y + 4, x - 5 : x + 6] = False
    found = plane_spectra(exposures(light, dead), templates)
    assert np.isnan(found.variance[:, lens, 15]).all()
    assert (found.flags[:, lens, 15] & int(Flag.FILLED)).all()
    assert found.flux[:, lens, 15] == pytest.approx(truth[:, lens, 15], rel=0.2)


def test_a_saturated_pixel_has_no_say_in_its_plane(scene):
    templates, light, good, truth, whole = scene
    full = np.zeros(light.shape, bool)
    lens = int(np.flatnonzero(whole)[10])
    y, x = templates.y0[lens, 12] + 8, templates.x0[lens] + 7
    full[1, y, x] = True
    worse = light.copy()
    worse[1, y, x] = 100.0
    one = exposures(worse, good)
    given = Exposures(
        one.light, one.floor, one.response, one.good, one.background, tuple(np.flatnonzero(plane) for plane in full)
    )
    found = plane_spectra(given, templates)
    assert found.flags[1, lens, 12] & int(Flag.SATURATED)
    assert not found.flags[0, lens, 12] & int(Flag.SATURATED)
    assert abs(found.flux[1, lens, 12] - truth[1, lens, 12]) < 5 * np.sqrt(found.variance[1, lens, 12])


def test_a_lamp_is_measured_with_the_scale_of_fainter_light_and_claims_no_more_noise(scene):
    templates, _, good, truth, whole = scene
    lenslets = small_spectrograph.few_lenslets(7.0)
    wide = small_spectrograph.round_psflets(lenslets, sigma=0.97)
    true = build_templates(wide, (lenslets.x, lenslets.y), places(lenslets, (92.0, 82.0)), STEPS, np.ones(STEPS.shape))
    sky = image_of(true, truth[:1], good.shape)
    rng = np.random.default_rng(8)

    def fitted(light: np.ndarray, floor: float, even_error: float):
        given = replace(exposures(light, good), floor=np.full(good.shape, floor, np.float32))
        found = plane_spectra(given, templates, RobustSettings(outliers=False, even_error=even_error))
        return found.flux[0][whole][:, 3:-3], found.variance[0][whole][:, 3:-3]

    faint, _ = fitted(sky, 4.0 * FLOOR, 0.0)
    photons, evenly = (
        float(np.median(fitted(20.0 * sky, 25.0, error)[0].sum(axis=1) / faint.sum(axis=1)) / 20.0 - 1.0)
        for error in (0.0, 0.005)
    )
    assert abs(evenly) < 0.4 * abs(photons)
    noisy = (20.0 * sky + rng.normal(0.0, np.sqrt(25.0 + 20.0 * sky)) for _ in range(2))
    (one, variance), (two, _) = (fitted(light, 25.0, 0.005) for light in noisy)
    assert 0.9 < np.sqrt(np.mean((two - one) ** 2 / (2.0 * variance))) < 1.1


def test_no_plane_is_refused(scene):
    templates, light, good, *_ = scene
    with pytest.raises(ValueError, match="no plane"):
        plane_spectra(exposures(light[:0], good), templates)


@pytest.mark.parametrize(("true", "turn"), [(0.0, 0.0), (0.13, 0.0), (-0.21, 8e-5)])
def test_the_shift_across_the_traces_is_found_to_a_hundredth_of_a_pixel(true, turn):
    lenslets = small_spectrograph.few_lenslets(16.0)
    shape = (512, 512)
    where = places(lenslets, (256.0, 240.0))
    model = small_spectrograph.round_psflets(lenslets)

    def build(members, offset, dx, windows):
        moved = where[:, members] + offset[:, :, None, None]
        moved[0] += dx
        pitches = (lenslets.x[members], lenslets.y[members])
        return build_templates(model, pitches, moved, STEPS, np.ones(STEPS.shape), windows)

    everyone = np.arange(len(lenslets))
    middle = 1023.5
    y_off, x_off = where[1].mean(axis=(1, 2)) - middle, where[0].mean(axis=(1, 2)) - middle
    templates = build(everyone, turn * np.stack([-y_off, x_off]), true, None)
    rng = np.random.default_rng(3)
    # Neighbouring lenslets differ, as in speckles.
    flux = 3000.0 * rng.uniform(0.3, 1.5, (2, len(lenslets), 1)) * np.ones(CHANNELS)
    light = image_of(templates, flux, shape)
    light += rng.normal(0.0, np.sqrt(FLOOR + np.maximum(light, 0.0)))
    # The level of one plane is off by what the thermal background changes in a night.
    light[1] += 40.0
    ones = np.ones(shape, np.float32)
    good = rng.random(shape) > 0.01
    light[:, ~good] = 0.0
    found = measure_shift(light.astype(np.float32), FLOOR * ones, ones, good, where[:, :, [0, -1], 0], build)
    assert found.x + turn * found.lever == pytest.approx([true, true], abs=0.01)
    assert (found.error < 0.01).all()
    assert found.turn == pytest.approx([turn, turn], abs=2e-5)
    assert (found.turn_error < 3e-5).all()


def test_two_patches_that_differ_tell_no_turn_and_how_little_they_know_of_the_shift():
    lenslets = small_spectrograph.few_lenslets(16.0)
    shape = (512, 512)
    where = places(lenslets, (256.0, 240.0))
    model = small_spectrograph.round_psflets(lenslets)

    def build(members, offset, dx, windows):
        moved = where[:, members] + offset[:, :, None, None]
        moved[0] += dx
        pitches = (lenslets.x[members], lenslets.y[members])
        return build_templates(model, pitches, moved, STEPS, np.ones(STEPS.shape), windows)

    # Speckles: each patch seems to stand elsewhere. A turn of 2e-4 rad would explain it, four times what flexure does.
    aside = np.where(where[1].mean(axis=(1, 2)) < 256.0, 0.025, -0.025)
    templates = build(np.arange(len(lenslets)), np.stack([aside, np.zeros_like(aside)]), 0.0, None)
    rng = np.random.default_rng(3)
    light = image_of(templates, np.full((1, len(lenslets), CHANNELS), 3000.0), shape)
    light += rng.normal(0.0, np.sqrt(FLOOR + np.maximum(light, 0.0)))
    ones = np.ones(shape, np.float32)
    good = np.zeros(shape, bool)
    good[:, :256] = True
    light[:, ~good] = 0.0
    found = measure_shift(light.astype(np.float32), FLOOR * ones, ones, good, where[:, :, [0, -1], 0], build)
    assert found.patches == 2
    assert found.x == pytest.approx([0.0], abs=0.02)
    assert 0.015 < found.error[0] < 0.05
    assert (found.turn, found.turn_error) == (0.0, TURN_RAD)
