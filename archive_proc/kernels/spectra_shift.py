"""How far spectra stand across the dispersion from where the wavelength solution puts them (notes/ifs 6.5).

Variable projection in some patches of the detector: spectra are fitted, and so is the image that a small shift would
add; what free spectra cannot explain of that image tells the shift. Along the dispersion this says nothing, because a
free spectrum takes most of a shift up: that one is not measured here. What differs between patches above each other is
the turn of the whole image: x moves by `-turn (y - middle)`, y by `turn (x - middle)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.common_light import Summed, summed
from archive_proc.kernels.extraction import LANES, subtract_model
from archive_proc.kernels.fine_response import fine_response
from archive_proc.kernels.joint_fit import Equations, joint_equations, relax
from archive_proc.kernels.microspectra import HIGH, WIDE, Templates

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
T = TypeVar("T", bound=np.generic)

CELL = 256
"""Pixels along a side of the cells that hold one patch each, in the middle."""
PATCH = 128
LIT = 0.05
"""Of the 90th percentile of all lenslets' light: those above it show the spectrum."""
OUTLYING = 5.0
"""Robust sigma beyond which a channel of a lenslet is not its light."""
MIDDLE_PX = 1023.5
"""Of the detector, from the middle of its first pixel; what a turn is about."""
PLAUSIBLE_PX = 0.3
"""What spectra may stand from their templates."""
FAR_PX = 0.05
"""Last step above which another one is made, `FAR_STEPS` at most."""
FAR_STEPS = 5
SEEN = 1.0
"""Of what noise alone makes slopes of: a patch with less beside it shows no light."""
LEVEL_E = 100.0
"""What the level of a patch may be off by, a priori, e- a pixel."""
NO_LINE = 0.5
"""Share of a typical patch in all from which on no line is fitted: two patches, or a few of which one or two count."""
LEAST_SCATTER_PX = 0.002
"""Of patches about their line: what PSFlets are wrong by."""
TURN_RAD = 5e-5
"""What flexure may turn the image by, a priori: 2e-3 deg are 3.5e-5 (notes/ifs 6.5), 0.035 px at the field's edge. It
keeps a file whose light fills a few patches from inventing a turn."""
RESPONDING = 100
"""Lenslets that tell what all of them show of light finer than channels: they stand at all phases of the pixels."""
_EDGE = 24
_TILE = PATCH + 2 * _EDGE
_STEP = 0.05
"""Difference, px, that derivatives are taken over."""
_SWEEPS = 8


@dataclass(frozen=True, slots=True)
class Shift:
    """Of p planes."""

    x: Float64
    """(p,) px at the height `lever`, NaN where it could not be measured."""
    error: Float64
    """(p,) standard error from the patches' scatter, px."""
    lever: Float64
    """(p,) px above the detector's middle: where x does not depend on the turn."""
    turn: Float64
    """(p,) rad counter-clockwise, most likely with `TURN_RAD` known beforehand."""
    turn_error: Float64
    """(p,) rad, `TURN_RAD` where nothing was measured."""
    patches: int
    light: Float64
    """(p, m) e-, mean shape of the lit lenslets that the patches show whole, times their light."""
    response: Float64
    """(m, m parts) what `light` shows of light in equal parts of channels; NaN without patches."""
    common: tuple[Summed, ...]
    """(p) equations of the spectrum that the same lenslets share."""
    uneven: Float64
    """(p,) 0: all those lenslets are as bright, 1: some are dark. Speckles move spectra inside their lenslets."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Patches of the detector side by side in a small image, and the lenslets whose light falls on them."""

    members: NDArray[np.intp]
    """(n,) positions in the full list."""
    offset: Float64
    """(2, n) to be added to detector places, px: whole numbers."""
    tile_of: NDArray[np.intp]
    """(n,) which patch."""
    origins: tuple[tuple[int, int], ...]
    """(y, x) on the detector of each tile's first pixel."""
    shape: tuple[int, int]
    columns: int
    heights: Float64
    """(tiles,) of the patches' middles above the detector's, px."""

    def cut(self, image: NDArray[T], fill: float = 0.0) -> NDArray[T]:
        """An image (..., ny, nx) as tiles (..., *shape); `fill` beyond the detector."""
        out = np.full((*image.shape[:-2], *self.shape), fill, image.dtype)
        ny, nx = image.shape[-2:]
        for number, (y, x) in enumerate(self.origins):
            ty, tx = self.place(number)
            y0, y1, x0, x1 = max(y, 0), min(y + _TILE, ny), max(x, 0), min(x + _TILE, nx)
            out[..., ty + y0 - y : ty + y1 - y, tx + x0 - x : tx + x1 - x] = image[..., y0:y1, x0:x1]
        return out

    def place(self, number: int) -> tuple[int, int]:
        """(y, x) of a tile in the small image."""
        return (number // self.columns) * _TILE, (number % self.columns) * _TILE

    def inner(self, number: int) -> tuple[slice, slice]:
        """The patch of a tile, without its edges."""
        y, x = self.place(number)
        return slice(y + _EDGE, y + _EDGE + PATCH), slice(x + _EDGE, x + _EDGE + PATCH)


def choose_tiles(light: Float32, floor: Float32, good: Mask, places: Float64, most: int = 12) -> Tiles:
    """The patches where a shift across the traces would show best.

    `light` (ny, nx) e-; `places` (2, n, 2) detector x and y of the bluest and reddest light of all lenslets, px.
    """
    ny, nx = light.shape
    slope = np.zeros_like(light)
    slope[:, 1:-1] = 0.5 * (light[:, 2:] - light[:, :-2])
    usable = good.copy()
    usable[:, 1:-1] &= good[:, 2:] & good[:, :-2]
    worth = np.where(usable, 2.0 * slope**2 / (floor + np.maximum(light, 0.0)), 0.0)
    # No pixel may decide: hits and hot pixels have the steepest slopes.
    worth = np.minimum(worth, np.percentile(worth[::3, ::3], 99.5))
    scores, noise = {}, {}
    for row in range(ny // CELL):
        for column in range(nx // CELL):
            y, x = row * CELL + (CELL - PATCH) // 2, column * CELL + (CELL - PATCH) // 2
            there = slice(y, y + PATCH), slice(x, x + PATCH)
            noise[y - _EDGE, x - _EDGE] = float(usable[there].sum())
            scores[y - _EDGE, x - _EDGE] = float(worth[there].sum()) - noise[y - _EDGE, x - _EDGE]
    ranked = sorted(scores, key=lambda one: -scores[one])[:most]
    # The derivative of noise is no sign of a shift: patches of it would claim the place where templates stand.
    lit = [one for one in ranked if scores[one] > SEEN * noise[one]]
    chosen = tuple(sorted(one for one in lit if scores[one] > 0.02 * scores[ranked[0]]))
    columns = max(int(np.ceil(np.sqrt(len(chosen)))), 1)
    members, offsets, numbers = [np.empty(0, np.intp)], [np.empty((2, 0))], [np.empty(0, np.intp)]
    for number, (y, x) in enumerate(chosen):
        near = (places[0].max(axis=1) > x + _EDGE - WIDE / 2) & (places[0].min(axis=1) < x + _EDGE + PATCH + WIDE / 2)
        near &= (places[1].max(axis=1) > y + _EDGE - HIGH / 2) & (places[1].min(axis=1) < y + _EDGE + PATCH + HIGH / 2)
        found = np.flatnonzero(near)
        members.append(found)
        numbers.append(np.full(found.size, number))
        ty, tx = (number // columns) * _TILE, (number % columns) * _TILE
        offsets.append(np.repeat(np.array([[tx - x], [ty - y]], np.float64), found.size, axis=1))
    shape = (-(-len(chosen) // columns) * _TILE + 1, columns * _TILE + 24)
    heights = np.array([y + 0.5 * (_TILE - 1) - MIDDLE_PX for y, _ in chosen])
    which = np.concatenate(numbers)
    return Tiles(np.concatenate(members), np.concatenate(offsets, axis=1), which, chosen, shape, columns, heights)


def turned(turn: float, places: Float64) -> Float64:
    """(2, ...) px that a turn (rad, counter-clockwise) about the detector's middle moves places (2, ...) by."""
    return np.asarray(turn * np.stack([MIDDLE_PX - places[1], places[0] - MIDDLE_PX]))


Build = Callable[[NDArray[np.intp], Float64, float, Templates | None], Templates]
"""Templates of some lenslets whose places (2, n) are moved by whole pixels and by a shift in x, in given windows."""


def measure_shift(
    light: Float32,
    floor: Float32,
    response: Float32,
    good: Mask,
    places: Float64,
    build: Build,
    *,
    fine: Build | None = None,
    start: float = 0.0,
    steps: int = 2,
    mu: float = 0.1,
) -> Shift:
    """Shift in x and turn of up to eight planes (or means of planes) against the wavelength solution.

    `light` (p, ny, nx) e-, level off; `floor`, `response`, `good` as in `plane_spectra.Exposures`; `places` as in
    `choose_tiles`. Templates of step two stand at the median of step one, which finds four fifths in speckles. `fine`
    as `build`, in equal parts of channels (None: in channels).
    Raises ValueError for more planes than are solved together.
    """
    planes = len(light)
    if planes > LANES:
        raise ValueError(f"{planes} planes, {LANES} at most are solved together")
    common = np.median(light, axis=0) if planes > 2 else light.min(axis=0)
    tiles = choose_tiles(common, floor, good, places)
    if not tiles.origins:
        unknown: Float64 = np.full(planes, np.nan)
        zero, doubt = np.zeros(planes), np.full(planes, TURN_RAD)
        return Shift(
            unknown, unknown, zero, zero, doubt, 0, np.zeros((planes, 0)), np.zeros((0, 0)), (), unknown
        )  # fmt: skip
    pixels = np.asarray(tiles.cut(light), np.float32)
    base, sensitivity = tiles.cut(floor, 1.0), tiles.cut(response, 1.0)
    model = np.asarray(_smooth(tiles.cut(common), tiles.cut(good.astype(np.uint8))), np.float32)
    inside = np.zeros(tiles.shape, bool)
    for number in range(len(tiles.origins)):
        inside[tiles.inner(number)] = True
    variance = base + np.maximum(model, 0.0) / sensitivity
    weight = np.where(inside & (tiles.cut(good.astype(np.uint8)) > 0), 1.0 / variance, 0.0).astype(np.float32)
    order = np.argsort(tiles.members)
    members, offset, tile_of = tiles.members[order], tiles.offset[:, order], tiles.tile_of[order]
    middles = places[:, members].mean(axis=2)
    at = stood = start
    turn = 0.0
    moved = offset
    flux = change = even = level = levels = None
    for step in range(FAR_STEPS):
        stood, moved = at, offset + turned(turn, middles)
        here = build(members, moved, at, None)
        equations = joint_equations(weight, here, mu=mu)
        flux, residual = _fit(equations, pixels, flux)
        if change is None or even is None:
            # The steps after the first are so small that they need no derivative of their own.
            beside = build(members, moved, at + _STEP, here)
            image = np.zeros_like(pixels)
            for templates, sign in ((here, 1.0), (beside, -1.0)):
                place = (templates.counts, templates.scale, templates.x0, templates.y0)
                subtract_model(*place, np.float32(sign / _STEP) * flux, image)
            _, change = _fit(equations, image, None)
            level, even = _fit(equations, np.ones_like(pixels[:1]), None)
        found, levels = _regress(residual, (change, even[0]), weight, tiles, (at, turn))
        known = np.isfinite(found.x)
        if not known.any():
            break
        turn = float(np.median(found.turn[known]))
        at = float(np.median(found.at_middle(turn)[known]))
        if step >= steps - 1 and abs(at - stood) < FAR_PX:
            break
    whole = whole_lenslets(equations)
    assert flux is not None
    assert level is not None
    assert levels is not None
    seen = flux[:, whole].astype(np.float64)
    seen -= levels[:, tile_of[whole], None] * level[0, whole]
    spectrum, common, uneven = np.zeros((planes, seen.shape[2])), [], np.ones(planes)
    for plane, one in enumerate(seen):
        lit, shapes, total = _shapes(one)
        common.append(summed(equations, whole[lit], shapes, total))
        # All lenslets count alike: a sum is the spectrum of the few in the brightest speckles, each of which has its
        # own colour; a median is no better.
        if lit.size:
            spectrum[plane] = shapes.mean(axis=0) * total.sum()
            faint, bright = np.percentile(one.sum(axis=1), (10.0, 90.0))
            uneven[plane] = 1.0 - np.clip(faint / bright, 0.0, 1.0)
    some = whole[:: -(-whole.size // RESPONDING)] if whole.size else whole
    made = (build if fine is None else fine)(members[some], moved[:, some], stood, None)
    shown = fine_response(equations, some, made)
    return Shift(
        found.x, found.error, found.lever, found.turn, found.turn_error, len(tiles.origins),
        spectrum, shown, tuple(common), uneven,
    )  # fmt: skip


def _shapes(spectra: Float64) -> tuple[NDArray[np.intp], Float64, Float64]:
    """Which of the spectra (n, m) are lit; their shapes (i, m) of sum 1 without hits and hot pixels; their light."""
    total = spectra.sum(axis=1)
    lit = total > LIT * np.percentile(total, 90.0) if total.size else np.zeros(0, bool)
    if not lit.any() or float(np.median(total)) <= 0.0:
        return np.empty(0, np.intp), np.empty((0, spectra.shape[1])), np.empty(0)
    shape = spectra[lit] / total[lit, None]
    middle = np.median(shape, axis=0)
    unit = np.maximum(middle, 0.02 * middle.max())
    ratio = shape / unit
    around = np.pad(ratio, ((0, 0), (2, 2)), mode="edge")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(around, 5, axis=1), axis=2)
    away = np.abs(ratio - smooth)
    hit = away > OUTLYING * 1.4826 * np.median(away, axis=0)
    return np.flatnonzero(lit), np.where(hit, smooth * unit, shape), total[lit]


def whole_lenslets(equations: Equations) -> NDArray[np.intp]:
    """Lenslets that show half of every template at least: no edge of a patch cuts them, no cluster of bad pixels.

    Their information would not do: the photons' own noise leaves the bright ones little of it.
    """
    return np.flatnonzero((equations.shares() > 0.5).all(axis=1))


def _smooth(image: Float32, good: NDArray[np.uint8]) -> Float32:
    from archive_proc.kernels.loops.medians import along_median

    out = np.empty(image.shape, np.float32)
    along_median(image, good, 3, out)
    return out


def _fit(equations: Equations, data: Float32, flux: Float32 | None) -> tuple[Float32, Float32]:
    """Spectra (p, n, m) and residual (p, ny, nx); `flux` to begin with, of templates close by, None: nothing."""
    residual = data.copy()
    if flux is None:
        flux = np.zeros((len(data), *equations.hold.shape), np.float32)
        sweeps = _SWEEPS
    else:
        subtract_model(*equations.place, flux, residual)
        sweeps = _SWEEPS // 2
    relax(equations, residual, flux, sweeps)
    return flux, residual


@dataclass(frozen=True, slots=True)
class _Pose:
    """Of p planes; as in `Shift`."""

    x: Float64
    error: Float64
    lever: Float64
    turn: Float64
    turn_error: Float64

    def at_middle(self, turn: float) -> Float64:
        """(p,) shift at the detector's middle, px, of an image turned by so much (rad)."""
        return np.asarray(self.x + turn * self.lever)


def _regress(
    residual: Float32, patterns: tuple[Float32, Float32], weight: Float32, tiles: Tiles, stand: tuple[float, float]
) -> tuple[_Pose, Float64]:
    """Weighted regression of residual on change in every patch; a line through the patches that agree.

    `patterns`: what spectra leave of the change (p, ny, nx), and of an even light (ny, nx). A level that is not that of
    the background frame fills the gaps between spectra, which are not alike on both sides of them: 20 e- moved a
    star's spectra by 0.01 px. It is returned (p, tiles), e- a pixel. `stand`: shift at the detector's middle (px) and
    turn (rad) of the templates.
    """
    p, n = len(residual), len(tiles.origins)
    change, even = patterns
    unknown, levels = np.full((2, p), np.nan), np.zeros((p, n))
    found = _Pose(unknown[0], unknown[1], np.zeros(p), np.zeros(p), np.full(p, TURN_RAD))
    for plane in range(p):
        top, bottom = np.zeros((2, n))
        for number in range(n):
            where = tiles.inner(number)
            w, r, d = weight[where].astype(np.float64), residual[plane][where], change[plane][where]
            # Hits and new hot pixels have no say; what a shift leaves of bright light is far beyond noise, too.
            beyond = np.maximum(np.abs(r) - PLAUSIBLE_PX * np.abs(d), 0.0)
            w, e = np.where(beyond * beyond * w < 36.0, w, 0.0), even[where]
            firm = float((w * e * e).sum()) + LEVEL_E**-2
            both, level = float((w * d * e).sum()) / firm, float((w * r * e).sum()) / firm
            top[number] = (w * r * d).sum() - both * level * firm
            bottom[number] = (w * d * d).sum() - both * both * firm
            if bottom[number] > 0:
                levels[plane, number] = level - both * top[number] / bottom[number]
        known = bottom > 0
        if known.sum() < 2:
            continue
        value, weights, height = top[known] / bottom[known], bottom[known], tiles.heights[known]
        middle = np.median(value)
        far = 4.0 * max(1.4826 * float(np.median(np.abs(value - middle))), 0.002)
        kept = np.abs(value - middle) <= far
        at, turn = stand
        value, weights, height = value[kept] + at - turn * height[kept], weights[kept], height[kept]
        line = _line(height, value, np.minimum(weights, 3.0 * np.median(weights)))
        for name, one in zip(("x", "error", "lever", "turn", "turn_error"), line, strict=True):
            getattr(found, name)[plane] = one
        found.error[plane] = np.hypot(line[1], np.sqrt(1.0 / bottom[known].sum()))
    return found, levels


def _line(height: Float64, value: Float64, weights: Float64) -> tuple[float, float, float, float, float]:
    """`value - turn x height` through shifts of patches: value and its error at the height `lever`, turn, its error.

    Patches differ by speckles and PSFlet errors, not by photons: their own scatter says what they are worth, and none
    counts for more than three typical ones. Two of them lie on a line whatever they say: they tell no turn.
    """
    total = weights.sum()
    lever = float((weights * height).sum() / total)
    mean = float((weights * value).sum() / total)
    away = height - lever
    spread = float((weights * away**2).sum() / total)
    share = float((weights**2).sum() / total**2)
    if share >= NO_LINE:
        scatter = float((weights * (value - mean) ** 2).sum() / total) / max(1.0 - share, 0.2)
        return mean, float(np.sqrt(scatter * share)), lever, 0.0, TURN_RAD
    steepness = float((weights * away * value).sum() / total) / spread if spread > 0.0 else 0.0
    scatter = float((weights * (value - mean - steepness * away) ** 2).sum() / total) / max(1.0 - 2.0 * share, 0.2)
    # Patches are never better than this: an accident of a few that agree must not outweigh what is known beforehand.
    known = spread / (share * max(scatter, LEAST_SCATTER_PX**2))
    turn_error = float(1.0 / np.sqrt(known + TURN_RAD**-2))
    turn = -steepness * known * turn_error**2
    return mean, float(np.sqrt(scatter * share)), lever, turn, turn_error
