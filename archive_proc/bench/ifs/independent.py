"""Independent-lenslet least squares (notes/ifs 4): each lenslet fitted alone with PSFlets, one step of refinement.

PSFlets laid over one another from laser spots, 21 channels of constant resolving power, weights from the data, the
model of all lenslets subtracted and the fit repeated on the residual, a diagonal inverse variance. As the notes say of
the published pipeline, electrons and ADU are mixed in its claimed errors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.bench.ifs.known import Float, Known, Scene
from archive_proc.bench.ifs.plain_detector import READ_NOISE_E, PlainDetector, bridged
from archive_proc.bench.ifs.raw_set import GAIN, Float32
from archive_proc.bench.ifs.spectra import Lamp, Spectra
from archive_proc.bench.ifs.spot_places import find_spots
from archive_proc.bench.ifs.spot_shapes import HALF, WIDTH, SpotShapes, measure_shapes, stamps

CHANNELS = 21
RANGE_NM = {"YJ": (940.0, 1370.0), "YH": (940.0, 1690.0)}
SUBSTEPS = 3
_BATCH = 1500
_MARGIN = 5
"""Rows beyond the ends of the spectrum."""
_SHIFT_STEP = 0.1
_LOST = 0.5
"""Share of a channel's own light in bad pixels above which its element is flagged."""


class IndependentLenslets:
    """Calibrated on one night; `reduce` gives spectra of any of its files."""

    label = "independent lenslets"

    def __init__(self, known: Known, detector: PlainDetector) -> None:
        self._known = known
        self._detector = detector
        low, high = RANGE_NM[known.mode]
        self._edges = np.geomspace(low, high, CHANNELS + 1)
        wave = detector.raw.of_type("WAVE,LAMP")[0]
        frame = detector.light(wave.read().mean(axis=0)[None], detector.background(wave.dit_s))[0]
        frame = bridged(frame, detector.bad)
        self._places = find_spots(frame, detector.bad, known)
        self._shapes: SpotShapes = measure_shapes(frame, detector.bad, self._places)
        self._flat = np.ones(len(known.x))
        flat = detector.raw.of_type("FLAT,LAMP", tech="IFU")[0]
        found, _, _ = self._fit(flat.read().mean(axis=0)[None], flat.dit_s, (0.0, 0.0))
        light = found[0]
        good = known.complete & np.isfinite(light).all(axis=1)
        middle = np.median(light[good], axis=0)
        core = middle > 0.3 * middle.max()
        measured = np.median(light[:, core] / middle[core], axis=1)
        # Lenslets off the detector have no light to divide by.
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
        """Spectra of all planes of a file; flagged where bad pixels took half of an element's light."""
        planes = self._detector.raw.file(scene.file_id).read()
        laser = scene.name == "wave"
        flat = np.ones_like(self._flat) if laser else self._flat
        # The published pipeline does not shift FLUX frames; lamps have nothing to be shifted by.
        still = laser or scene.frame_type in ("FLUX", "CALIB")
        shift = (0.0, 0.0) if still else self._shift(planes.mean(axis=0), scene.dit_s)
        flux, sigma, flagged = self._fit(planes, scene.dit_s, shift)
        flux, sigma = flux / flat[:, None], sigma / flat[:, None]
        return Spectra(
            flux=flux.astype(np.float32),
            sigma=sigma.astype(np.float32),
            flagged=flagged | ~np.isfinite(flux),
            wavelength_nm=self._middle,
            bandwidth_nm=np.diff(self._edges),
        )

    def _templates(
        self, which: NDArray[np.int64], shift: tuple[float, float]
    ) -> tuple[Float32, NDArray[np.int64], NDArray[np.int64]]:
        """Templates (n, k, h, w) of some lenslets, and first row and column of each window."""
        n = len(which)
        share = (np.arange(SUBSTEPS) + 0.5) / SUBSTEPS
        steps = (self._edges[:-1, None] + np.diff(self._edges)[:, None] * share).reshape(-1)
        x, y = self._places.at(steps, shift)
        x, y = x[which], y[which]
        left = np.rint(x.mean(axis=1)).astype(int) - HALF - 1
        bottom = np.rint(y[:, 0]).astype(int) - HALF
        height = int(np.ceil((y[:, -1] - y[:, 0]).max())) + 2 * HALF + 3
        width = WIDTH + 2
        out = np.zeros((n, CHANNELS, height, width), np.float32)
        lasers = self._shapes.laser_nm
        region = self._shapes.region[which]
        rows, columns = np.arange(WIDTH), np.arange(WIDTH)
        for step, wavelength in enumerate(steps):
            at = float(np.clip(np.interp(wavelength, lasers, np.arange(len(lasers))), 0, len(lasers) - 1.000001))
            low = int(at)
            xi, yi = np.rint(x[:, step]).astype(int), np.rint(y[:, step]).astype(int)
            shape = np.empty((n, WIDTH, WIDTH), np.float32)
            for part in np.unique(region):
                own = np.flatnonzero(region == part)
                pair = self._shapes.images[part, low : low + 2]
                image = (low + 1 - at) * pair[0] + (at - low) * pair[1]
                shape[own] = stamps(image, x[own, step] - xi[own], y[own, step] - yi[own])
            row = np.clip(yi - HALF - bottom, 0, height - WIDTH)[:, None] + rows
            column = np.clip(xi - HALF - left, 0, width - WIDTH)[:, None] + columns
            lens = np.arange(n)[:, None, None]
            out[lens, step // SUBSTEPS, row[:, :, None], column[:, None, :]] += shape / SUBSTEPS
        return out, bottom, left

    def _fit(
        self, planes: Float32, dit_s: float, shift: tuple[float, float], every: int = 1
    ) -> tuple[Float, Float, NDArray[np.bool_]]:
        """(n, l, k) electrons, claimed sigma, flagged; with `every` > 1 only some lenslets, without refinement."""
        detector = self._detector
        background = detector.background(dit_s)
        light = np.float32(GAIN) * detector.light(planes, background)
        level = np.clip(np.float32(GAIN) * background, 0.0, None)
        weight = 1.0 / (np.abs(light) + level + np.float32(READ_NOISE_E**2))
        weight[:, detector.bad] = 0.0
        count = len(self._known.x)
        flux = np.full((len(planes), count, CHANNELS), np.nan)
        sigma, flagged = np.full_like(flux, np.nan), np.zeros(flux.shape, np.bool_)
        data = light
        for refine in (False, True) if every == 1 else (False,):
            residual = data.astype(np.float64) if not refine and every == 1 else None
            for part in _parts(np.arange(0, count, every)):
                model, bottom, left = self._templates(part, shift)
                rows, columns, inside = _window(model, bottom, left, light.shape[1])
                for plane in range(len(planes)):
                    solved, noise, lost = _solve(model, rows, columns, inside, weight[plane], data[plane])
                    flux[plane, part] = solved if not refine else flux[plane, part] + solved
                    sigma[plane, part], flagged[plane, part] = noise, lost
                    if residual is not None:
                        shape = np.einsum("nkhw,nk->nhw", model, solved) * inside
                        np.subtract.at(residual[plane], (rows, columns), shape)
            if residual is not None:
                data = residual.astype(np.float32)
        return flux, sigma, flagged

    def _shift(self, plane: Float32, dit_s: float) -> tuple[float, float]:
        """Of a science frame against the laser frame: least residual over trial shifts, parabolas in x and y."""
        found = []
        for axis in (0, 1):
            left = []
            for trial in (-_SHIFT_STEP, 0.0, _SHIFT_STEP):
                shift = (trial, 0.0) if axis == 0 else (0.0, trial)
                left.append(self._residual(plane, dit_s, shift))
            curve = left[0] - 2 * left[1] + left[2]
            step = 0.5 * (left[0] - left[2]) / curve * _SHIFT_STEP if curve > 0 else 0.0
            found.append(float(np.clip(step, -3 * _SHIFT_STEP, 3 * _SHIFT_STEP)))
        return found[0], found[1]

    def _residual(self, plane: Float32, dit_s: float, shift: tuple[float, float]) -> float:
        detector = self._detector
        light = np.float32(GAIN) * detector.light(plane[None], detector.background(dit_s))[0]
        flux = self._fit(plane[None], dit_s, shift, every=40)[0][0]
        some = np.arange(0, len(self._known.x), 40)
        some = some[self._known.complete[some]]
        model, bottom, left = self._templates(some, shift)
        rows, columns, inside = _window(model, bottom, left, len(light))
        near = slice(HALF - 1, HALF + 4)
        shape = np.einsum("nkhw,nk->nhw", model, np.nan_to_num(flux[some]))
        miss = np.where(detector.bad[rows, columns] | ~inside, 0.0, light[rows, columns] - shape)[:, :, near]
        each = (miss**2).sum(axis=(1, 2))
        return float(np.sum(np.minimum(each, 10 * np.median(each))))


def _solve(
    model: Float32,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    inside: NDArray[np.bool_],
    weight: Float32,
    data: Float32,
) -> tuple[Float, Float, NDArray[np.bool_]]:
    """(n, k) flux, claimed sigma and whether too much light fell on bad pixels, of lenslets fitted alone."""
    n = len(model)
    near = slice(3, model.shape[3] - 3)
    cut = (model[..., near] * inside[:, None, :, near]).reshape(n, CHANNELS, -1)
    w = weight[rows[..., near], columns[..., near]].reshape(n, -1)
    d = data[rows[..., near], columns[..., near]].reshape(n, -1)
    weighted = cut * w[:, None, :]
    normal = np.matmul(weighted, cut.transpose(0, 2, 1)).astype(np.float64)
    right = np.matmul(weighted, d[:, :, None]).astype(np.float64)
    size = np.einsum("nkk->nk", normal)
    normal += 1e-9 * np.eye(CHANNELS) * np.maximum(size.max(axis=1), 1e-12)[:, None, None]
    inverse = np.linalg.inv(normal)
    solved = np.matmul(inverse, right)[:, :, 0]
    # Variance in electrons beside fluxes taken for ADU: too large by the gain (notes/ifs 6.8).
    noise = GAIN * np.sqrt(np.clip(np.einsum("nkk->nk", inverse), 0.0, None))
    lost = np.matmul(cut * cut, (w == 0).astype(np.float32)[:, :, None])[:, :, 0]
    return solved, noise, lost > _LOST * np.maximum((cut * cut).sum(axis=2), 1e-12)


def _parts(chosen: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [chosen[first : first + _BATCH] for first in range(0, len(chosen), _BATCH)]


def _window(
    model: Float32, bottom: NDArray[np.int64], left: NDArray[np.int64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Rows and columns (n, h, w) of the windows, clipped to the detector, and what lies on it."""
    height, width = model.shape[2:]
    rows = np.broadcast_to((bottom[:, None] + np.arange(height))[:, :, None], (len(model), height, width))
    columns = np.broadcast_to((left[:, None] + np.arange(width))[:, None, :], (len(model), height, width))
    inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
    return np.clip(rows, 0, size - 1), np.clip(columns, 0, size - 1), inside
