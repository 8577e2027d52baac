"""Star, flux and PSF of an IFS observation: right in every channel, and something sensible when frames are missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from running import Ran
from star_spectra import CHANNELS, FACTOR, PIXEL_MAS, WAVELENGTH, StarSpectra, changed, run_on

from archive_proc.model.flags import Flag
from archive_proc.recipes.ifs.neutral_density import nd_transmission
from archive_proc.recipes.ifs.track_looks import field_of
from archive_proc.recipes.ifs.track_planes import CENTER_ROLE, FLUX_ROLE
from archive_proc.recipes.ifs.tracks import IFS_TRACKS
from archive_proc.recipes.recipe import Calibration


@pytest.fixture(scope="module")
def scene() -> StarSpectra:
    return StarSpectra()


@pytest.fixture(scope="module")
def tracks(scene: StarSpectra) -> Ran:
    return scene.tracks()


def away_mas(scene: StarSpectra, ran: Ran) -> np.ndarray:
    """(n, k, 2) found minus true."""
    center = ran.products["center"]
    found = np.stack([center["star_x"], center["star_y"]], axis=-1)
    return (found - scene.star_pixels(center["file_id"], center["plane"])) * PIXEL_MAS


def of_type(ran: Ran, kind: str) -> np.ndarray:
    return np.array([str(one) == kind for one in ran.products["center"]["frame_type"]])


def codes(ran: Ran) -> set[str]:
    return {one.code for one in ran.result.remarks}


def test_the_star_is_right_in_every_channel_of_every_plane(scene: StarSpectra, tracks: Ran):
    away = np.hypot(*np.moveaxis(away_mas(scene, tracks), -1, 0))
    for kind, limit in {"CENTER": 0.5, "OBJECT": 1.0, "FLUX": 0.3}.items():
        assert away[of_type(tracks, kind)].max() < limit, kind
    center = tracks.products["center"]
    assert center["star_x"].shape == (8, CHANNELS)
    assert (np.diff(center["time"]) > 0).all()
    quoted = np.hypot(center["star_x_error"], center["star_y_error"]) * PIXEL_MAS
    assert (quoted > 0.1).all()
    assert (quoted < 2.5).all()
    assert {str(one) for one in center["centering_method"][of_type(tracks, "OBJECT")].ravel()} == {"speckles"}
    assert np.median(center["closure"][of_type(tracks, "CENTER")]) < 2.0
    assert not codes(tracks)


def test_spots_are_found_where_they_are_and_a_table_that_differs_is_named(scene: StarSpectra):
    mirrored = StarSpectra(order="CO", angle_deg=33.0)
    ran = mirrored.tracks(flux=False)
    assert ran.result.products["center"].attrs["waffle_angle_deg"] == pytest.approx(33.0, abs=0.2)
    assert np.abs(away_mas(mirrored, ran)[of_type(ran, "CENTER")]).max() < 0.5
    assert "AP-IFS-102" in codes(ran)


def test_the_psf_is_the_star_behind_its_neutral_density(scene: StarSpectra, tracks: Ran):
    psf = tracks.products["psf"]
    assert psf["flux"].shape == (CHANNELS, 80, 80)
    assert psf["plane_flux"].shape == (2, CHANNELS, 80, 80)
    y, x = np.mgrid[:80, :80]
    core = np.where(np.hypot(x - 40, y - 40) < 6, np.nan_to_num(psf["flux"]), 0.0)
    for axis in (x, y):
        assert (core * axis).sum(axis=(1, 2)) / core.sum(axis=(1, 2)) == pytest.approx(40.0, abs=0.1)
    photometry = tracks.products["photometry"]
    flux = photometry["aperture_flux"][of_type(tracks, "FLUX")]
    true = np.array([one.light.sum(axis=0) for one in scene.of("F")]) / nd_transmission("ND_1.0", WAVELENGTH)
    assert flux / true == pytest.approx(1.0, abs=0.02)
    assert np.isnan(photometry["aperture_flux"][of_type(tracks, "OBJECT")]).all()


def test_neutral_density_follows_its_bands_and_goes_on_beyond_them():
    through = nd_transmission("ND_1.0", np.array([0.96, 1.022, 1.049, 1.19]))
    assert through[1] == pytest.approx(0.0993)
    assert through[3] == pytest.approx(0.0614)
    assert through[2] == pytest.approx(np.sqrt(0.0993 * 0.0778), rel=0.01)
    assert through[0] > 1.1 * through[1]
    assert (nd_transmission("OPEN", WAVELENGTH) == 1.0).all()


def test_brighter_planes_have_larger_factors():
    scene = StarSpectra(order="COOO", jitter_mas=1.0)
    dimmed = [0.85, 1.0, 1.1, 0.95, 1.05, 1.15]
    planes = [replace(one, light=one.light * by) for one, by in zip(scene.of("O"), dimmed, strict=True)]
    ran = scene.tracks(scene.product(planes), flux=False)
    science = of_type(ran, "OBJECT")
    factor = ran.products["photometry"]["relative_flux"][science]
    left = factor / np.array(dimmed)[:, None]
    assert (np.std(left, axis=0) / np.mean(left, axis=0)).max() < 0.5 * np.std(dimmed)
    assert {str(one) for one in ran.products["photometry"]["photometry_method"][science].ravel()} == {"speckles"}


def test_without_center_the_halo_says_where_the_star_is(scene: StarSpectra):
    ran = scene.tracks(center=False)
    away = np.hypot(*np.moveaxis(away_mas(scene, ran), -1, 0))[of_type(ran, "OBJECT")]
    center = ran.products["center"]
    quoted = np.hypot(center["star_x_error"], center["star_y_error"])[of_type(ran, "OBJECT")] * PIXEL_MAS
    assert away.max() < 2.0 * quoted.min()
    assert (quoted > 3.0).all()
    assert {str(one) for one in center["centering_method"][of_type(ran, "OBJECT")].ravel()} == {"symmetry"}
    assert "AP-IFS-094" in codes(ran)


def borrowed(scene: StarSpectra, letter: str) -> list[Calibration]:
    """The frames as another OB of the night lends them."""
    return [replace(one, level=1) for one in scene.frames(letter)]


def borrowed_planes(ran: Ran, product: str) -> float:
    named = (product, "borrowed_planes")
    return next(one.value for one in ran.result.qc if (one.product_type, one.metric) == named)


def test_a_center_of_another_acquisition_is_not_the_stars(scene: StarSpectra):
    main = scene.product(scene.of("O"))
    ran = run_on(IFS_TRACKS, main, {CENTER_ROLE: borrowed(scene, "C"), FLUX_ROLE: borrowed(scene, "F")})
    alone = scene.tracks(main, center=False)
    science = of_type(ran, "OBJECT")
    assert {str(one) for one in ran.products["center"]["centering_method"][science].ravel()} == {"symmetry"}
    np.testing.assert_array_equal(
        ran.products["center"]["star_x"][science], alone.products["center"]["star_x"][of_type(alone, "OBJECT")]
    )
    assert {"AP-IFS-104", "AP-IFS-105"} <= codes(ran)
    assert not {"AP-IFS-104", "AP-IFS-105"} & codes(alone)
    for product in ("center", "psf"):
        assert ran.result.products[product].attrs["of_another_acquisition"] is True
        assert alone.result.products[product].attrs["of_another_acquisition"] is False
        assert borrowed_planes(ran, product) > 0


def test_an_even_field_has_the_place_of_another_star_at_best(scene: StarSpectra):
    even = [replace(one, light=np.full_like(one.light, 50.0)) for one in scene.of("O")]
    ran = run_on(IFS_TRACKS, scene.product(even), {CENTER_ROLE: borrowed(scene, "C")})
    science = of_type(ran, "OBJECT")
    center = ran.products["center"]
    assert {str(one) for one in center["centering_method"][science].ravel()} == {"borrowed"}
    assert (np.hypot(center["star_x_error"], center["star_y_error"])[science] * PIXEL_MAS > 10.0).all()
    assert "AP-IFS-104" in codes(ran)


def test_without_flux_there_is_no_psf_and_the_rest_stands(scene: StarSpectra, tracks: Ran):
    ran = scene.tracks(flux=False)
    assert "AP-IFS-100" in codes(ran)
    assert np.isnan(ran.products["psf"]["flux"]).all()
    behind = ~of_type(tracks, "FLUX")
    np.testing.assert_array_equal(ran.products["center"]["star_x"], tracks.products["center"]["star_x"][behind])


def test_one_object_plane_is_enough(scene: StarSpectra):
    ran = scene.tracks(scene.product(scene.of("O")[:1]))
    assert np.abs(away_mas(scene, ran)[of_type(ran, "OBJECT")]).max() < 1.0
    assert "AP-IFS-097" in codes(ran)
    assert (ran.products["photometry"]["relative_flux"][of_type(ran, "OBJECT")] == 1.0).all()


def test_centers_that_disagree_about_the_tie_make_all_places_less_sure():
    scene = StarSpectra(order="CCCCO", jitter_mas=1.0, companion=None, ndit={"C": 1, "O": 2})
    usual = scene.tracks(flux=False)
    frames = []
    for number, plane in enumerate(scene.of("C")):
        light = plane.light.copy()
        for turn in np.radians(scene.angle_deg) + np.arange(4) * np.pi / 2:
            at = FACTOR * np.array([np.cos(turn), np.sin(turn)])
            scene._add(light, plane.star, at, -260.0)
            scene._add(light, plane.star + 0.4 * np.array([(-1) ** number, 0.0]), at, 260.0)
        frames.append(scene.product([replace(plane, light=light)]))
    torn = run_on(IFS_TRACKS, scene.product(scene.of("O")), {CENTER_ROLE: frames})
    before, after = (
        {axis: one.products["center"][axis][of_type(one, "OBJECT")] for axis in ("star_x_error", "star_y_error")}
        for one in (usual, torn)
    )
    assert (after["star_x_error"] > 2.0 * before["star_x_error"]).all()
    assert after["star_y_error"] == pytest.approx(before["star_y_error"], rel=0.1)


def test_a_witness_is_the_mean_of_its_band_whatever_lenslets_lack(scene: StarSpectra):
    main = scene.product(scene.of("O")[:1], bad=0.0)
    field = field_of(main)
    assert max(len(band) for band in field.bands) == 3
    assert not any(set(np.flatnonzero((WAVELENGTH > 1.11) & (WAVELENGTH < 1.16))) & set(band) for band in field.bands)
    flux, variance = (main.arrays[name][0].copy() for name in ("flux", "variance"))
    place = next(place for place, band in enumerate(field.bands) if len(band) == 3)
    band = field.bands[place]
    whole = field.witness_images((flux, variance, np.zeros(flux.shape, np.uint16)))
    mean = field.images((flux, variance, np.zeros(flux.shape, np.uint16)), band)[0].mean(axis=0)
    np.testing.assert_allclose(whole[0][place], mean, rtol=1e-4, equal_nan=True)
    flux[::7, band[0]], variance[::7, band[0]] = 1e6, np.nan
    torn = field.witness_images((flux, variance, np.zeros(flux.shape, np.uint16)))
    assert np.nanmedian(np.abs(torn[0][place] / whole[0][place] - 1.0)) < 0.01
    variance[::7, band[1:]] = np.nan
    assert np.isnan(field.witness_images((flux, variance, np.zeros(flux.shape, np.uint16)))[0][place]).sum() > (
        np.isnan(whole[0][place]).sum()
    )


def test_lost_planes_are_carried_over_and_change_no_other(scene: StarSpectra):
    main = scene.product(scene.of("O"))
    usable = np.array([True, False, True, True])
    good = scene.tracks(changed(main, usable=usable))
    variance = main.arrays["variance"].copy()
    variance[1] = np.nan
    ran = scene.tracks(changed(main, usable=usable, variance=variance))
    lost = np.flatnonzero(of_type(ran, "OBJECT"))[1]
    assert ran.products["center"]["centering_method"][lost, 0] == "interpolated"
    assert ran.products["center"]["star_x_error"][lost, 0] > 0.3
    assert "AP-IFS-096" in codes(ran)
    others = np.arange(len(of_type(ran, "OBJECT"))) != lost
    for product in ("center", "photometry"):
        for name, values in good.products[product].items():
            np.testing.assert_array_equal(values[others], ran.products[product][name][others], err_msg=name)


def test_science_planes_with_spots_are_measured_by_them():
    scene = StarSpectra(order="CCC", ndit={"C": 1})
    main = scene.product(scene.of("C"))
    ran = scene.tracks(main, flux=False)
    assert len(ran.products["center"]["time"]) == 3, "a plane that is science and CENTER is one row"
    assert {str(one) for one in ran.products["center"]["centering_method"].ravel()} == {"waffle"}
    assert np.abs(away_mas(scene, ran)).max() < 0.5
    assert {str(one) for one in ran.products["photometry"]["photometry_method"].ravel()} == {"waffle"}


def test_a_center_frame_without_spots_is_as_good_as_none(scene: StarSpectra):
    plain = [replace(one, kind="C", file_id="SPHER.2017-05-15T05:00:00.000") for one in scene.of("O")[:1]]
    main = scene.product(scene.of("O")[1:])
    ran = run_on(IFS_TRACKS, main, {CENTER_ROLE: [scene.product(plain)]})
    assert "AP-IFS-094" in codes(ran)
    assert "waffle" not in {str(one) for one in ran.products["center"]["centering_method"].ravel()}


def test_a_flux_file_gone_wrong_and_a_saturated_plane_are_left_out():
    scene = StarSpectra(order="FOFF", ndit={"F": 1, "O": 1})
    faint, clipped, good = scene.frames("F")
    faint = changed(faint, flux=faint.arrays["flux"] / 30.0)
    clipped = changed(clipped, flags=np.full_like(clipped.arrays["flags"], Flag.SATURATED))
    main = scene.product(scene.of("O"))
    ran = run_on(IFS_TRACKS, main, {"flux_spectra": [faint, clipped, good]})
    assert {"AP-IFS-098", "AP-IFS-099"} <= codes(ran)
    assert ran.result.products["psf"].attrs["planes_combined"] == [False, False, True]


def test_frames_of_other_channels_are_left_out_by_name(scene: StarSpectra, tracks: Ran):
    main = scene.product(scene.of("O"))
    other = [changed(one, wavelength=WAVELENGTH + 0.1) for one in scene.frames("F")]
    ran = run_on(IFS_TRACKS, main, {CENTER_ROLE: scene.frames("C"), "flux_spectra": other})
    assert "AP-IFS-093" in codes(ran)
    assert not of_type(ran, "FLUX").any()


@pytest.mark.parametrize("what", ["even light", "nothing"])
def test_a_field_without_a_star_has_no_centre_and_no_factor(scene: StarSpectra, what: str):
    planes = [replace(one, light=np.full_like(one.light, 300.0)) for one in scene.of("O")]
    main = scene.product(planes)
    if what == "nothing":
        main = changed(main, variance=np.full_like(main.arrays["variance"], np.nan))
    ran = run_on(IFS_TRACKS, main, {})
    center, photometry = ran.products["center"], ran.products["photometry"]
    assert np.isnan(center["star_x"]).all()
    assert {str(one) for one in center["centering_method"].ravel()} == {"none"}
    assert {str(one) for one in photometry["photometry_method"].ravel()} == {"none"}
    assert {"AP-IFS-094", "AP-IFS-097", "AP-IFS-100", "AP-IFS-101"} <= codes(ran)
