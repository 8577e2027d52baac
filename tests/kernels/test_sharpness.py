"""Hot pixels are sharper than light; cores of stars, speckles and spots are not, wherever they fall."""

import numpy as np
import pytest

from archive_proc.kernels.sharpness import sharp_pixels

SHAPE = (2, 96, 96)


def point(x, y, fwhm, peak):
    grid_y, grid_x = np.mgrid[:96, :96]
    sigma = fwhm / 2.3548
    # Drawn on pixel centres: one integrated over pixels would be wider.
    return peak * np.exp(-((grid_x - x) ** 2 + (grid_y - y) ** 2) / (2 * sigma**2))


def judged(values, variance, good=None, lambda_d=3.4):
    values = values.astype(np.float32)
    good = np.ones(SHAPE, bool) if good is None else good
    found = np.zeros(SHAPE, bool)
    variances = np.full(SHAPE, variance, np.float32)
    found.reshape(-1)[sharp_pixels(values, variances, good, (lambda_d, lambda_d))] = True
    return found


@pytest.mark.parametrize("fwhm", [2.2, 3.4, 4.6])
@pytest.mark.parametrize("step", [(0.0, 0.0), (0.5, 0.5), (0.25, 0.0), (-0.3, 0.4)])
def test_a_point_of_light_is_not_sharp_however_bright(fwhm, step):
    image = np.stack([point(48 + step[0], 48 + step[1], fwhm, 1e5)] * 2)
    assert not judged(image, 1.0, lambda_d=fwhm).any()


@pytest.mark.parametrize("lambda_d", [2.1, 3.4, 4.5])
def test_speckles_on_a_steep_halo_are_not_sharp(lambda_d):
    rng = np.random.default_rng(1)
    pupil = np.zeros((96, 96), complex)
    y, x = np.mgrid[-48:48, -48:48]
    inside = np.hypot(x, y) < 96 / lambda_d / 2
    pupil[inside] = rng.normal(size=inside.sum()) + 1j * rng.normal(size=inside.sum())
    speckles = np.abs(np.fft.fft2(np.fft.ifftshift(pupil))) ** 2
    halo = 1e6 / (np.hypot(x, y) + 10.0) ** 2
    image = np.stack([halo * speckles / speckles.mean()] * 2)
    assert judged(image, 1.0, lambda_d=lambda_d).mean() < 1e-3


def test_hot_pixels_are_found_in_noise_on_light_and_in_pairs():
    rng = np.random.default_rng(2)
    image = rng.normal(0.0, 5.0, SHAPE) + point(40.3, 50.7, 3.4, 2000.0)
    hot = np.zeros(SHAPE, bool)
    hot[0, 20, 30] = hot[0, 50, 47] = hot[1, 70, 70] = hot[1, 70, 71] = True
    image[hot] += 300.0
    found = judged(image, 25.0)
    assert found[hot].all()
    assert (found & ~hot).sum() <= 1


def test_noise_alone_is_not_sharp():
    image = np.random.default_rng(3).normal(0.0, 5.0, SHAPE)
    assert not judged(image, 25.0).any()


def test_bad_neighbours_have_no_say():
    image = np.zeros(SHAPE)
    good = np.ones(SHAPE, bool)
    image[0, 40, 40] = 100.0
    image[0, 40, 41], good[0, 40, 41] = 1e5, False
    assert judged(image, 1.0, good)[0, 40, 40]
    assert judged(image, 1.0, good).sum() == 1
