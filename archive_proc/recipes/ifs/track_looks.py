"""What single planes say of the star: the pattern of the waffle, the fine structure, the unocculted star itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.rectify import SquareGrid
from archive_proc.kernels.registration import Patch, high_passed
from archive_proc.kernels.spot_fit import FIRST_WIDTH, ONE, SIZE, WIDTH, SpectralOptics, fit_spots, mean_offsets
from archive_proc.kernels.stamps import Stamp, cut
from archive_proc.kernels.symmetry import symmetric_centre
from archive_proc.kernels.waffle_cube import CubeWaffle, find_spots, fit_cube_waffle
from archive_proc.recipes.ifs.squares import Planes, Scale, empty_planes, grid_of, one_plane, scale_of
from archive_proc.recipes.recipe import Calibration

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Pair = tuple[float, float]

STAMP = 192
"""Pixels: holds the waffle spots of every channel and the ring that registration uses."""
WITNESSES = 8
"""Channels whose fine structure is followed: more tell no more, since speckles scale with wavelength."""
CLEAR_UM = ((0.97, 1.11), (1.16, 1.32))
"""Where air and filters let light through: witnesses come from here. Not from H: there the mask is half as wide in
lambda / D, leaks more, and what extraction leaves holds shifts back twice as much."""
BAND = 0.06
"""Width of a witness over its wavelength. What extraction leaves stands still on the lenslets and differs from channel
to channel; speckles share a few, smeared by half a lambda / D at the ring's rim."""
LEAST_OF_BAND = 0.5
"""Of a band's light that a lenslet's known channels must hold."""
BOX = 5
MIN_SNR = 20.0
"""Of a star's 5 x 5 pixels without the brightest, all channels together."""


@dataclass(frozen=True, slots=True)
class Field:
    """The lenslets of one product of spectra, and the squares they are looked at on."""

    places: Float64
    """(2, n) x, y of the lenslets, pitches."""
    optics: SpectralOptics
    grid: SquareGrid
    scale: Scale
    witnesses: NDArray[np.int64]
    """Channels whose fine structure is followed."""
    bands: tuple[NDArray[np.int64], ...]
    """Channels that each of them takes its light from."""

    @property
    def pitch_px(self) -> float:
        """Pixels a pitch: nothing is stretched here."""
        return self.scale.pitch_px[0]

    @property
    def lambda_d(self) -> Float64:
        """(k,) lambda / D in pixels."""
        return np.asarray(self.optics.lambda_d * self.pitch_px)

    @property
    def corner(self) -> int:
        """First pixel of a stamp, along x and y."""
        return self.scale.middle - STAMP // 2

    def pixels(self, pitches: Float64) -> Float64:
        """Places in pitches as pixels of the rectified field."""
        return np.asarray(self.scale.middle + self.pitch_px * pitches)

    def images(self, spectra: Planes, channels: NDArray[np.int64], centers: Float64 | None = None) -> Planes:
        """These channels of one plane on squares, the field's centre on the middle pixel or on `centers` (k, 2)."""
        chosen = spectra[0][:, channels], spectra[1][:, channels], spectra[2][:, channels]
        out = empty_planes(channels.size, self.scale.size)
        at = np.full((channels.size, 2), float(self.scale.middle)) if centers is None else centers
        one_plane(self.grid, at, chosen, out)
        return out

    def witness_images(self, spectra: Planes) -> Planes:
        """The witnesses of one plane on squares, each the mean of its band.

        Channels without a value are made up for by the others, at the band's own colour. Variances leave out how
        channels are correlated: they serve as weights.
        """
        flux, variance, flags = spectra
        shape = (flux.shape[0], len(self.bands))
        mean, noise, marks = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.uint16)
        for place, band in enumerate(self.bands):
            light, spread = flux[:, band], variance[:, band]
            known = np.isfinite(light) & np.isfinite(spread)
            light, spread = np.where(known, light, np.float32(0)), np.where(known, spread, np.float32(0))
            colour = np.maximum(light.sum(axis=0) / np.maximum(known.sum(axis=0), 1), 0.0)
            if not colour.any():
                colour = np.ones(band.size)
            with np.errstate(divide="ignore", invalid="ignore"):
                share = (known @ colour) / colour.sum()
                factor = np.where(share >= LEAST_OF_BAND, 1.0 / (share * band.size), np.nan)
            mean[:, place], noise[:, place] = light.sum(axis=1) * factor, spread.sum(axis=1) * factor**2
            marks[:, place] = np.bitwise_or.reduce(flags[:, band], axis=1)
        out = empty_planes(len(self.bands), self.scale.size)
        one_plane(self.grid, np.full((len(self.bands), 2), float(self.scale.middle)), (mean, noise, marks), out)
        return out


def field_of(spectra: Calibration) -> Field:
    """The field of a product of spectra."""
    scale = scale_of(spectra)
    wavelength = np.asarray(spectra.arrays["wavelength"], np.float64)
    places = np.stack([np.asarray(spectra.arrays[name], np.float64) for name in ("lenslet_x", "lenslet_y")])
    optics = SpectralOptics(wavelength, load_tables().ifs.lenslets.pitch_mas)
    witnesses = witnesses_of(wavelength)
    bands = tuple(band_of(wavelength, int(one)) for one in witnesses)
    return Field(places, optics, grid_of(spectra, scale), scale, witnesses, bands)


def witnesses_of(wavelength_um: Float64) -> NDArray[np.int64]:
    """Up to `WITNESSES` channels, evenly over those in clear air; of all where none is."""
    clear = _window(wavelength_um) >= 0
    among = np.flatnonzero(clear) if clear.any() else np.arange(wavelength_um.size)
    picked = np.linspace(0, among.size - 1, min(WITNESSES, among.size)).round().astype(np.int64)
    return np.asarray(among[picked], np.int64)


def band_of(wavelength_um: Float64, witness: int) -> NDArray[np.int64]:
    """Channels within half a `BAND` of the witness that lie in its own window of clear air."""
    middle, window = wavelength_um[witness], _window(wavelength_um)
    near = np.abs(wavelength_um - middle) <= 0.5 * BAND * middle
    return np.asarray(np.flatnonzero(near & (window == window[witness])), np.int64)


def _window(wavelength_um: Float64) -> NDArray[np.int64]:
    """(k,) which window of clear air a channel lies in; -1 in none."""
    found = np.full(wavelength_um.size, -1, np.int64)
    for number, (low, high) in enumerate(CLEAR_UM):
        found[(wavelength_um > low) & (wavelength_um < high)] = number
    return found


def patch_of(field: Field, images: Planes) -> Patch:
    """Fine structure of the witnesses' images."""
    stamps = []
    for flux, variance in zip(images[0], images[1], strict=True):
        good = np.isfinite(variance) & (variance > 0) & np.isfinite(flux)
        weight = np.where(good, 1.0 / np.where(good, variance, 1.0), 0.0).astype(np.float32)
        placed = cut(np.where(good, flux, np.float32(0)), weight, field.corner, field.corner, STAMP)
        stamps.append(Stamp(placed.values, placed.weight, field.corner, field.corner))
    return high_passed(stamps, tuple(float(one) for one in field.lambda_d[field.witnesses]))


def guess_of(field: Field, images: Float32) -> Pair | None:
    """Where the star must be by symmetry of the witnesses' images, pixels; None where they show nothing."""
    middle = float(field.scale.middle)
    return symmetric_centre(images, (middle, middle))


def waffle_of(field: Field, spectra: Planes, images: Planes) -> CubeWaffle | None:
    """The star of a CENTER plane from its four spots; `images` of the witnesses."""
    middle = float(field.scale.middle)
    guess = guess_of(field, images[0]) or (middle, middle)
    x, y, angle = find_spots(images[0], field.lambda_d[field.witnesses], guess)
    start = ((x - middle) / field.pitch_px, (y - middle) / field.pitch_px, angle)
    return fit_cube_waffle(field.places, spectra[:2], field.optics, start)


@dataclass(frozen=True, slots=True)
class StarSeen:
    """An unocculted star in one plane."""

    center: Float64
    """(k, 2) pitches."""
    error: Float64
    """(2,) standard error, pitches."""
    used: NDArray[np.bool_]
    """(k,) channels that the place rests on."""


def star_of(field: Field, spectra: Planes) -> StarSeen | None:
    """The star of a FLUX plane, None below `MIN_SNR` or where channels do not agree."""
    channels = np.arange(field.optics.wavelength_um.size)
    images = field.images(spectra, channels)
    start = _brightest(images)
    if start is None:
        return None
    state = np.zeros(SIZE)
    state[:2] = [(one - field.scale.middle) / field.pitch_px for one in start]
    state[WIDTH] = FIRST_WIDTH
    fit = fit_spots(field.places, spectra[:2], field.optics, ONE, state)
    if fit is None:
        return None
    variance = mean_offsets(fit.offset, fit.variance)[1]
    error = np.sqrt(1.0 / (1.0 / variance[fit.used]).sum(axis=0))
    if not np.isfinite(error).all():
        return None
    return StarSeen(fit.center, error, fit.used)


def _brightest(images: Planes) -> Pair | None:
    """Brightest 5 x 5 pixels of all channels together, the brightest pixel of each not counted; pixels."""
    good = np.isfinite(images[0]) & (images[1] > 0)
    # A channel's noise is that of its own sky: the star must not weigh itself down.
    noise = np.array(
        [np.median(one[seen]) if seen.any() else np.inf for one, seen in zip(images[1], good, strict=True)]
    )
    weight = np.where(np.isfinite(noise) & (noise > 0), 1.0 / noise, 0.0)
    total = np.einsum("kyx,k->yx", np.where(good, images[0], np.float32(0)), weight)
    box = scipy.ndimage.uniform_filter(total, BOX) * BOX**2 - np.maximum(scipy.ndimage.maximum_filter(total, BOX), 0.0)
    seen = good.any(axis=0)
    if not seen.any():
        return None
    scatter = 1.4826 * float(np.median(np.abs(box[seen] - np.median(box[seen]))))
    row, column = np.unravel_index(int(np.argmax(np.where(seen, box, -np.inf))), box.shape)
    if scatter <= 0.0 or box[row, column] < MIN_SNR * scatter:
        return None
    return float(column), float(row)
