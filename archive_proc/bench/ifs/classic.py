"""The classic chain (notes/ifs 3): bad pixels interpolated, aperture sums on traces, a wavelength law per lenslet.

Background, flat, bad pixels bridged along the column; a box of 5 pixels by one row on each trace; three or four laser
peaks fitted in every lenslet's own spectrum; division by the lenslet flat; 39 channels by interpolation in wavelength.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.bench.ifs.known import Float, Known, Scene
from archive_proc.bench.ifs.plain_detector import READ_NOISE_E, PlainDetector, bridged
from archive_proc.bench.ifs.raw_set import GAIN, Float32
from archive_proc.bench.ifs.spectra import Lamp, Spectra
from archive_proc.bench.ifs.spot_places import SpotPlaces, find_spots

CHANNELS = 39
RANGE_NM = {"YJ": (935.0, 1375.0), "YH": (925.0, 1724.5)}
_HALF_BOX = 2
_MARGIN = 4
"""Rows beyond the band's ends."""
_PEAK = 2
"""Half width of the window about an expected laser peak, rows."""


@dataclass(frozen=True, slots=True)
class _Traces:
    rows: NDArray[np.int64]
    """(l, h) detector rows."""
    columns: NDArray[np.int64]
    """(l, h) detector column of the trace."""
    inside: NDArray[np.bool_]
    """(l,) wholly on the detector."""


class ClassicChain:
    """Calibrated on one night; `reduce` gives spectra of any of its files."""

    label = "classic chain"

    def __init__(self, known: Known, detector: PlainDetector) -> None:
        self._known = known
        self._detector = detector
        raw = detector.raw
        low, high = RANGE_NM[known.mode]
        self._edges = np.linspace(low, high, CHANNELS + 1)
        wave = raw.of_type("WAVE,LAMP")[0]
        frame = self._image(wave.read().mean(axis=0), detector.background(wave.dit_s))
        spots = find_spots(frame, detector.bad, known)
        self._traces = _traces(spots, self._edges)
        self._law = self._wavelengths(spots, self._rows(frame))
        self._flat = np.ones(len(known.x))
        flat = raw.of_type("FLAT,LAMP", tech="IFU")[0]
        light, _ = self._channels(self._image(flat.read().mean(axis=0), detector.background(flat.dit_s)), flat.dit_s)
        good = known.complete & np.isfinite(light).all(axis=1)
        middle = np.median(light[good], axis=0)
        core = middle > 0.3 * middle.max()
        measured = np.median(light[:, core] / middle[core], axis=1)
        self._flat = np.where(measured > 0.1, measured, np.nan)
        self.lamp = Lamp(
            median=np.nanmedian((light / self._flat[:, None])[good], axis=0),
            wavelength_nm=self._middle,
            bandwidth_nm=np.diff(self._edges),
        )

    @property
    def _middle(self) -> Float:
        return 0.5 * (self._edges[1:] + self._edges[:-1])

    def reduce(self, scene: Scene) -> Spectra:
        """Spectra of all planes of a file; nothing is flagged but what left the detector or has no wavelengths."""
        planes = self._detector.raw.file(scene.file_id).read()
        background = self._detector.background(scene.dit_s)
        flat = np.ones_like(self._flat) if scene.name == "wave" else self._flat
        flux = np.empty((len(planes), len(flat), CHANNELS), np.float32)
        sigma = np.empty_like(flux)
        for plane, pixels in enumerate(planes):
            light, noise = self._channels(self._image(pixels, background), scene.dit_s)
            flux[plane], sigma[plane] = light / flat[:, None], noise / flat[:, None]
        return Spectra(
            flux=flux,
            sigma=sigma,
            flagged=~np.isfinite(flux),
            wavelength_nm=self._middle,
            bandwidth_nm=np.diff(self._edges),
        )

    def _image(self, plane: Float32, background: Float32) -> Float32:
        """(ny, nx) electrons."""
        return bridged(np.float32(GAIN) * self._detector.light(plane[None], background)[0], self._detector.bad)

    def _rows(self, image: Float32) -> Float:
        """(l, h) sums over the box, electrons."""
        traces = self._traces
        total = np.zeros(traces.rows.shape)
        for step in range(-_HALF_BOX, _HALF_BOX + 1):
            total += image[traces.rows, np.clip(traces.columns + step, 0, image.shape[1] - 1)]
        total[~traces.inside] = np.nan
        return total

    def _wavelengths(self, spots: SpotPlaces, rows: Float) -> Float:
        """(l, lasers) row coordinate of each laser's peak, measured in the lenslet's own spectrum; NaN: not found."""
        found = np.full(spots.y.shape, np.nan)
        start = self._traces.rows[:, 0]
        index = np.arange(len(rows))[:, None]
        for laser in range(spots.y.shape[1]):
            near = np.rint(spots.y[:, laser]).astype(int) - start
            at = np.clip(near[:, None] + np.arange(-_PEAK, _PEAK + 1), 0, rows.shape[1] - 1)
            peak = rows[index, at]
            weight = np.clip(peak - np.minimum(peak[:, :1], peak[:, -1:]), 0.0, None)
            total = weight.sum(axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                found[:, laser] = start + (weight * at).sum(axis=1) / total
        return found

    def _channels(self, image: Float32, dit_s: float) -> tuple[Float, Float]:
        """(l, k) flux and claimed sigma, electrons per channel."""
        rows = self._rows(image)
        level = GAIN * float(np.median(self._detector.background(dit_s)))
        box = 2 * _HALF_BOX + 1
        variance = np.clip(rows, 0.0, None) + box * (max(level, 0.0) + READ_NOISE_E**2)
        law = SpotPlaces(self._known.laser_nm, np.zeros_like(self._law), self._law)
        _, at = law.at(self._middle)
        _, ends = law.at(self._edges)
        place = at - self._traces.rows[:, :1]
        height = np.diff(ends, axis=1)
        bad = ~np.isfinite(place) | (place < 0) | (place > rows.shape[1] - 1.001)
        place = np.where(bad, 0.0, place)
        low = place.astype(int)
        share = place - low
        lens = np.arange(len(rows))[:, None]
        flux = (rows[lens, low] * (1 - share) + rows[lens, low + 1] * share) * height
        noise = np.sqrt(variance[lens, low] * (1 - share) ** 2 + variance[lens, low + 1] * share**2) * np.abs(height)
        flux[bad], noise[bad] = np.nan, np.nan
        return flux, noise


def _traces(spots: SpotPlaces, edges: Float) -> _Traces:
    _, ends = spots.at(edges[[0, -1]])
    height = int(np.ceil(np.median(ends[:, 1] - ends[:, 0]))) + 2 * _MARGIN
    start = np.floor(ends[:, 0]).astype(int) - _MARGIN
    rows = start[:, None] + np.arange(height)
    slope = (spots.x[:, -1] - spots.x[:, 0]) / (spots.y[:, -1] - spots.y[:, 0])
    columns = np.rint(spots.x[:, :1] + slope[:, None] * (rows - spots.y[:, :1])).astype(int)
    # The band's own rows must be there; the margins may be cut.
    inside = (columns > _HALF_BOX) & (columns < 2047 - _HALF_BOX) & (rows >= -_MARGIN) & (rows <= 2047 + _MARGIN)
    return _Traces(np.clip(rows, 0, 2047), columns, np.asarray(inside.all(axis=1)))
