"""Acquisitions of a star against each other: simulated ones, and two real products of which one is bad."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from archive_proc.instruments.qc_limits import QcSetup
from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.acquisitions import agreement, star_shapes
from archive_proc.recipes.measuring import refusing_factor

LAMBDA_D = (3.35, 3.51)
PSF_CUBES = {
    "bad": "spheredc_HIP27321_2016-11-18_DBH23_psf_master_cube.fits",
    "good": "spheredc_61Vir_2017-06-28_DBH23_psf_master_cube.fits",
}


def star(x: float, y: float, peak: float, width: float = 1.6, size: int = 64, level: float = 3.0) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return level + peak * np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / width**2)


def test_place_brightness_and_width_of_a_star_are_found_wherever_it_stands() -> None:
    images = np.stack([star(31.3, 32.8, 1000.0), star(24.7, 39.4, 50.0, width=2.4)])[:, None]
    images[0, 0, 5, 5] = np.nan
    found = star_shapes(images, LAMBDA_D[:1])
    np.testing.assert_allclose(found.x[:, 0], [31.3, 24.7], atol=0.06)
    np.testing.assert_allclose(found.y[:, 0], [32.8, 39.4], atol=0.06)
    np.testing.assert_allclose(found.peak[:, 0], [1000.0, 50.0], rtol=0.1)
    np.testing.assert_allclose(found.fwhm[:, 0], [2.355 * 1.6, 2.355 * 2.4], rtol=0.06)
    np.testing.assert_allclose(found.flux[0, 0], 1000.0 * 2 * np.pi * 1.6**2, rtol=0.01)
    assert found.concentration[0, 0] > 0.85 > found.concentration[1, 0]
    np.testing.assert_allclose(found.background[:, 0], [0.003, 0.06], rtol=0.1)


def test_a_hot_pixel_is_no_star_and_darkness_has_no_figures() -> None:
    image = star(31.0, 32.0, 1000.0)
    image[50, 12] = 5000.0
    assert star_shapes(image[None, None], LAMBDA_D[:1]).x[0, 0] == pytest.approx(31.0, abs=0.02)
    dark = star_shapes(np.zeros((1, 1, 64, 64)), LAMBDA_D[:1])
    assert all(np.isnan(getattr(dark, name)).all() for name in dark.__dataclass_fields__)


@pytest.mark.parametrize(
    ("peaks", "kept"),
    [
        ([1.0, 0.9], [True, True]),
        ([0.0096, 1.0], [False, True]),
        ([1.0, 1.1, 130.0], [True, True, False]),  # too bright: the ND is not what its header says
        ([1.0, 0.01, 0.011, 0.9], [True, False, False, True]),
        ([1.0, np.nan, -3.0], [True, False, False]),
        ([np.nan, 0.0], [False, False]),
    ],
)
def test_the_largest_set_that_agrees_is_kept_and_the_brighter_of_two(peaks: list[float], kept: list[bool]) -> None:
    peak = np.repeat(np.array(peaks)[:, None], 2, axis=1)
    found = agreement(peak, np.zeros((len(peaks), 2, 2)), 3.0)
    assert found.kept.tolist() == kept
    assert (found.reference >= 0) == any(kept)


def test_one_bad_half_is_enough_to_leave_an_acquisition_out() -> None:
    peak = np.array([[1.0, 1.0], [0.95, 0.02]])
    xy = np.zeros((2, 2, 2))
    xy[1, 1] = 3.0, 4.0
    found = agreement(peak, xy, 3.0)
    assert found.kept.tolist() == [True, False]
    np.testing.assert_allclose(found.ratio, [1.0, 50.0])
    np.testing.assert_allclose(found.offset, [0.0, 5.0])


def real_cube(shared: Path, name: str) -> np.ndarray:
    """(acquisition, wavelength, y, x)."""
    return np.moveaxis(fits.getdata(shared / "data" / "pixels" / PSF_CUBES[name]).astype(np.float64), 0, 1)


def test_the_two_real_psf_cubes_are_told_apart(shared: Path) -> None:
    qc, setup = load_tables().qc, QcSetup("DB_H23")
    factor = refusing_factor("psf", "acquisition_ratio", setup)
    verdicts = {}
    for name in PSF_CUBES:
        cube = real_cube(shared, name)
        raw_ratio = cube[0].max(axis=(1, 2)) / cube[1].max(axis=(1, 2))
        shapes = star_shapes(cube, LAMBDA_D)
        found = agreement(shapes.peak, np.stack([shapes.x, shapes.y], axis=-1), factor)
        verdicts[name] = (
            qc.judge("psf", "acquisition_ratio", float(found.ratio.max()), setup).verdict,
            qc.judge("psf", "acquisition_offset", float(found.offset.max()), setup).verdict,
        )
        combined = star_shapes(cube[found.kept].mean(axis=0)[None], LAMBDA_D)
        for half in range(2):
            each = {
                "fwhm_left": combined.fwhm[0, half] / LAMBDA_D[half],
                "concentration_left": combined.concentration[0, half],
                "background_residual_left": combined.background[0, half],
            }
            for metric, value in each.items():
                assert qc.judge("psf", metric, float(value), setup).verdict == "good", (name, metric, value)
        if name == "good":
            np.testing.assert_allclose(raw_ratio, 1.0, atol=0.0035)
            assert found.kept.tolist() == [True, True]
            assert found.ratio.max() < 1.0035
            assert found.offset.max() < 0.1
        else:
            np.testing.assert_allclose(raw_ratio, 104.5, atol=0.5)
            # Above the ring about it the star is fainter still.
            assert found.ratio[1] > 104
            assert found.kept.tolist() == [True, False]
            assert found.offset[1] == pytest.approx(8.5, abs=0.5)
            faint = (shapes.concentration[1].max(), shapes.fwhm[1].min() / LAMBDA_D[1], shapes.background[1].min())
            metrics = ("concentration_left", "fwhm_left", "background_residual_left")
            assert [qc.judge("psf", one, float(v), setup).verdict for one, v in zip(metrics, faint, strict=True)] == [
                "warn"
            ] * 3
    assert verdicts == {"bad": ("refuse", "warn"), "good": ("good", "good")}
