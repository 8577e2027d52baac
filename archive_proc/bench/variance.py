"""Whether products know their own noise: measured errors over claimed sigma, for planes, scatter and stacks.

An error is value minus the noise-free truth where the set keeps its starlight (own simulated nights), else value minus
the mean of its surroundings in the same plane (sample sets; beyond 100 px only, where surroundings are smooth). Widths
are robust: half the distance between the 16th and 84th percentile. Flagged pixels are counted apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, uniform_filter

from archive_proc.bench.background import BRIGHTEST_ADU, NO_MEASUREMENT, ZONES, CubePlane
from archive_proc.model.flags import Flag
from archive_proc.simulate.facts import ANAMORPHISM
from archive_proc.simulate.truth import SequenceTruth

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

RATIO_AIMS = (0.9, 1.1)
"""Issue: measured over claimed sigma in sky regions, per plane and for stacks."""
BOX = 25
"""Pixels along a side of the surroundings that stand for the truth where it is not known: few enough for the halo's
slope, and so many that sums over apertures of 29 pixels lose 2 % of their noise only."""
FAINT_ADU = 20.0
"""Where the truth is not known, only surroundings fainter than this are sky: the halo's own fine structure, the flat's
error times its light, would count as noise."""
FEWEST = 1500
"""Pixels that a width needs."""
KEPT_FLAGS = int(Flag.SUSPECT | Flag.NONLINEAR | Flag.EDGE)
"""Flags of pixels that keep their value: measured, but apart."""


def width(values: NDArray[np.floating]) -> float:
    """Robust standard deviation: half of the 16th to 84th percentile; NaN for fewer than FEWEST values."""
    if values.size < FEWEST:
        return float("nan")
    low, high = np.percentile(values, [15.8655, 84.1345])
    return float(0.5 * (high - low))


@dataclass(frozen=True, slots=True)
class Errors:
    """One plane of a cube against the truth; arrays (2, ny, nx), ADU/s."""

    error: Float32
    """Value minus truth; NaN where either is unknown."""
    variance: Float32
    sky: Mask
    """Unflagged pixels with at most BRIGHTEST_ADU of starlight."""
    flagged: Mask
    """The same with a flag that keeps the value."""
    radius: Float32
    """Pixels from the star."""


def errors_of_plane(plane: CubePlane, variance: Float32, truth: SequenceTruth, row: int) -> Errors:
    """A science plane against its own starlight, or its surroundings."""
    starlight = truth.starlight(row)
    exposure = np.float32(plane.exposure_s)
    kept = np.isfinite(variance) & np.isfinite(plane.flux) & ((plane.flags & NO_MEASUREMENT) == 0)
    if starlight is None:
        model = surroundings(plane.flux, kept)
        bright = model * exposure
    else:
        model = starlight * (_normal(truth) / exposure)
        bright = starlight
    radius = _radius(truth.center[row], plane.flux.shape[-2:])
    seen = kept & (bright < (BRIGHTEST_ADU if starlight is not None else FAINT_ADU))
    if starlight is None:
        seen &= radius > ZONES[0][2]
    error = np.where(kept, plane.flux - model, np.float32(np.nan))
    flagged = (plane.flags & KEPT_FLAGS) != 0
    return Errors(error, variance, seen & ~flagged, seen & flagged, radius)


def _normal(truth: SequenceTruth) -> Float32:
    """(2, 1, 1) median response of each half's lit field: what products are brighter by than before the response."""
    halves = np.stack([truth.flat[:, :1024], truth.flat[:, 1024:]])
    return np.array([np.median(one[one > 0.3]) for one in halves], np.float32)[:, None, None]


def surroundings(flux: Float32, kept: Mask) -> Float32:
    """Mean over BOX x BOX kept pixels around each; NaN where fewer than half are."""
    found = np.empty_like(flux)
    for half in range(len(flux)):
        share = uniform_filter(kept[half].astype(np.float32), BOX)
        mean = uniform_filter(np.where(kept[half], flux[half], np.float32(0.0)), BOX)
        with np.errstate(divide="ignore", invalid="ignore"):
            found[half] = np.where(share > 0.5, mean / share, np.nan)
    return found


def _radius(star: Float64, shape: tuple[int, int]) -> Float32:
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.stack([np.hypot(x - at[0], y - at[1]) for at in star]).astype(np.float32)


@dataclass(slots=True)
class Honesty:
    """Collects planes of one cube; all widths are of errors over claimed sigma."""

    common: Float32
    """(2, ny, nx) `variance_common`."""
    planes: dict[tuple[int, str], list[float]] = field(default_factory=dict)
    """Per half and zone, the width in each plane against variance + variance_common."""
    flagged: list[float] = field(default_factory=list)
    outliers: list[float] = field(default_factory=list)
    """Fraction of sky pixels beyond five sigma."""
    stacks: dict[int, dict[tuple[int, str], float]] = field(default_factory=dict)
    """By number of planes: per half and zone, against variance / n + variance_common."""
    floors: dict[int, float] = field(default_factory=dict)
    """Per half: sqrt(variance_common / variance), the noise that no stack goes below, in units of one plane's."""
    n: int = 0
    _sum: Float64 | None = None
    _squares: Float64 | None = None
    _variance: Float64 | None = None
    _sky: Mask | None = None
    _radius: Float32 | None = None

    def add(self, one: Errors) -> None:
        """The next plane in order of time."""
        total = np.sqrt(one.variance + self.common)
        with np.errstate(invalid="ignore"):
            pull = one.error / total
        for key, where in _zones(one.sky & np.isfinite(pull), one.radius):
            self.planes.setdefault(key, []).append(width(pull[key[0]][where]))
        inside = pull[one.sky & np.isfinite(pull)]
        self.outliers.append(float(np.mean(np.abs(inside) > 5.0)) if inside.size else float("nan"))
        self.flagged.append(width(pull[one.flagged & np.isfinite(pull)]))
        self._accumulate(one)
        if self.n & (self.n - 1) == 0:
            self._stack()

    def finish(self) -> None:
        """The stack of all planes, where their number is no power of two."""
        if self.n and self.n not in self.stacks:
            self._stack()

    def _accumulate(self, one: Errors) -> None:
        if self._sum is None or self._squares is None or self._variance is None or self._sky is None:
            shape = one.error.shape
            self._sum, self._squares, self._variance = np.zeros(shape), np.zeros(shape), np.zeros(shape)
            self._sky, self._radius = np.ones(shape, bool), one.radius
        good = one.sky & np.isfinite(one.error)
        self._sky &= good
        filled = np.where(good, one.error, 0.0)
        self._sum += filled
        self._squares += filled * filled
        self._variance += np.where(good, one.variance, 0.0)
        self.n += 1

    def _stack(self) -> None:
        if self._sum is None or self._variance is None or self._sky is None or self._radius is None:
            return
        n = self.n
        sigma = np.sqrt(self._variance / n**2 + self.common)
        with np.errstate(invalid="ignore", divide="ignore"):
            pull = self._sum / n / sigma
        good = self._sky & np.isfinite(pull)
        self.stacks[n] = {key: width(pull[key[0]][where]) for key, where in _zones(good, self._radius)}
        for half in range(len(good)):
            if good[half].any():
                ratio = self.common[half][good[half]] / (self._variance[half][good[half]] / n)
                self.floors[half] = float(np.sqrt(np.median(ratio)))

    def scatter(self) -> dict[tuple[int, str], float]:
        """Per half and zone: scatter of a pixel from plane to plane over sqrt(variance); empty for one plane.

        Root of the median over pixels of the sample variance over the mean claimed one, the median of chi squared for
        n - 1 degrees of freedom taken out.
        """
        from scipy.stats import chi2

        if self.n < 2 or self._sum is None or self._squares is None or self._variance is None:
            return {}
        assert self._sky is not None
        assert self._radius is not None
        n = self.n
        sample = np.maximum(self._squares - self._sum**2 / n, 0.0) / (n - 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = sample / (self._variance / n)
        typical = float(chi2.median(n - 1)) / (n - 1)
        return {
            key: float(np.sqrt(np.median(ratio[key[0]][where]) / typical))
            for key, where in _zones(self._sky & np.isfinite(ratio), self._radius)
            if int(where.sum()) >= FEWEST
        }


def _zones(good: Mask, radius: Float32) -> list[tuple[tuple[int, str], Mask]]:
    """((half, zone), (ny, nx) mask) of all six."""
    return [
        ((half, zone), good[half] & (radius[half] >= low) & (radius[half] < high))
        for half in range(len(good))
        for zone, low, high in ZONES
    ]


APERTURE_PX = 3.0
"""Radius of the apertures whose sums are compared: about lambda/D."""
APERTURE_STEP = 12
"""Pixels between apertures."""


def centred_errors(plane: CubePlane, variance: Float32, truth: SequenceTruth, row: int, star: Float64) -> Errors:
    """A plane of a centred cube, (2, size, size), against its own starlight moved to the cube's pixels.

    `star` (2, 2) is where the reduction saw the star in the un-resampled half, x and y: the truth is read there, so
    that errors of the centre are not counted as noise. The starlight is noise-free and well sampled: a cubic spline
    moves it.
    """
    size = plane.flux.shape[-1]
    kept = np.isfinite(variance) & np.isfinite(plane.flux) & ((plane.flags & NO_MEASUREMENT) == 0)
    starlight = truth.starlight(row)
    exposure = np.float32(plane.exposure_s)
    if starlight is None:
        model = surroundings(plane.flux, kept)
    else:
        scale = _normal(truth)[:, 0, 0] / exposure / np.float32(ANAMORPHISM)
        model = np.stack(
            [scale[half] * _moved(starlight[half], star[half], size) for half in range(len(starlight))]
        ).astype(np.float32)
    middle = np.full((2, 2), size // 2, np.float64)
    radius = _radius(middle, plane.flux.shape[-2:])
    seen = kept & (model * exposure < (BRIGHTEST_ADU if starlight is not None else FAINT_ADU))
    if starlight is None:
        seen &= radius > ZONES[0][2]
    error = np.where(kept, plane.flux - model, np.float32(np.nan))
    flagged = (plane.flags & KEPT_FLAGS) != 0
    return Errors(error, variance, seen & ~flagged, seen & flagged, radius)


def _moved(starlight: Float32, star: Float64, size: int) -> Float32:
    """(size, size) starlight at the places that a centred cube's pixels come from."""
    step = np.array([1.0 / ANAMORPHISM, 1.0])
    offset = np.array([star[1], star[0]]) - step * (size // 2)
    moved: Float32 = affine_transform(starlight, step, offset, output_shape=(size, size), order=3, mode="nearest")
    return moved


def aperture_pulls(one: Errors, common: Float32, correlation: Float32) -> Float64:
    """Errors of aperture sums over their claimed sigma, all zones and halves, beyond 100 px from the star.

    `correlation` (lags, lags) of the cube, even in both: the variance of a sum is the sum over pairs of pixels of
    sigma x sigma x correlation, variance and variance_common alike. Only apertures without any flagged pixel.
    """
    reach = int(APERTURE_PX)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside = np.hypot(y, x) <= APERTURE_PX
    dy, dx = y[inside], x[inside]
    lag_y, lag_x = np.abs(dy[:, None] - dy), np.abs(dx[:, None] - dx)
    lags = correlation.shape[0]
    near = (lag_y < lags) & (lag_x < lags)
    related = np.where(near, correlation[np.minimum(lag_y, lags - 1), np.minimum(lag_x, lags - 1)], 0.0)
    pulls = []
    for half in range(len(one.error)):
        good = one.sky[half] & (one.radius[half] > ZONES[0][2]) & np.isfinite(common[half])
        at_y, at_x = np.mgrid[
            reach : good.shape[0] - reach : APERTURE_STEP, reach : good.shape[1] - reach : APERTURE_STEP
        ]
        rows, columns = at_y.ravel()[:, None] + dy, at_x.ravel()[:, None] + dx
        whole = good[rows, columns].all(axis=1)
        rows, columns = rows[whole], columns[whole]
        sigma = np.sqrt((one.variance[half] + common[half])[rows, columns].astype(np.float64))
        claimed = np.einsum("ai,ij,aj->a", sigma, related, sigma)
        pulls.append(one.error[half][rows, columns].sum(axis=1, dtype=np.float64) / np.sqrt(claimed))
    return np.concatenate(pulls)
