"""Fit PSFlets, spot places and lenslet throughputs to a laser frame (notes/ifs 6.4).

Everything is fitted to the whole frame at once: spots overlap, and a wing seen only beside a neighbour's spot could be
that neighbour's light. What decides is one throughput per lenslet for all lasers, deviations over the field that are
bound, and the lenslets at the edge of the field stop, which have no neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.dispersion import field_terms, fit_field
from archive_proc.kernels.psflet_equations import LaserEquations, Spots, batches, split_terms, spot_image, spots_at
from archive_proc.kernels.psflets import NODES, PsfletModel, field_degrees, orthonormal_field
from archive_proc.kernels.scattered import spread_light

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

FIELD_DEGREE = 6
"""Of the polynomials by which PSFlets vary over the field: they change within a sixth of it."""
_THROUGHPUT_SPREAD = 0.05
"""Relative; lenslets within the field stop are alike to better."""
_DARK = 0.1
"""Throughput below which a lenslet sends no light."""
_ENOUGH_DARK = 1000
"""Pixels without light that tell the frame's level."""
_BRIGHT = 0.3
"""Of the frame's 99th percentile: pixels near the spots' peaks."""
_NODE = np.arange(NODES) * 0.5 - 9.5
_RADIUS = np.hypot(_NODE[:, None], _NODE[None, :])


@dataclass(frozen=True, slots=True)
class FitPlan:
    """Rounds of the fit: conjugate-gradient steps, and the degree of the field polynomials per power of colour."""

    iterations: tuple[int, ...] = (2, 2, 2, 4, 5)
    degrees: tuple[tuple[int, ...], ...] = ()
    """Empty: one image, then one a laser, then a square over the field and a plane that changes with colour, then all
    that the field may do."""
    model_error: float = 0.02
    """Of the brightest pixels, relative: what the model is not trusted to better."""
    edge: float = 10.0
    """Weight of pixels near lenslets that lack a neighbour, over what noise gives them, at the most. They alone tell
    wings from the neighbours' light, and what the model cannot do is the same in all the others: a hundred to one, they
    outvote."""
    distrust: float = 13.0
    """What chi squared less one, of all the others, adds to that weight. Where the model explains the frame to its
    noise nobody is outvoted, and the few at the edge would bring in nothing but their own noise."""
    smooth: float = 4e-7
    """Weight of second differences between nodes, growing with radius, relative to a node's information."""
    negative: float = 1e-3
    """Weight that holds nodes beyond 3 px which came out negative."""
    colour: float = 1e-14
    """Weight that binds changes with colour to the PSFlet's own height: with 1e5 electrons a spot, a laser's PSFlet may
    have three times the wing of another's."""
    change: float = 0.4
    """Of the PSFlet's height over half the range of colour, relative; its square per square of colour, and so on."""
    wing: float = 1e-9
    """Weight that binds wings to zero, times (radius - 4 px)^2."""


def _degrees(plan: FitPlan, lasers: int) -> tuple[tuple[int, ...], ...]:
    if plan.degrees:
        return plan.degrees
    # As many powers of colour as lasers: each has an image of its own.
    first = (2, 1, *(0,) * lasers)[:lasers]
    wide = (FIELD_DEGREE, 2, 1, *(0,) * lasers)[:lasers]
    return ((0,), (0,) * lasers, first, *(wide,) * max(len(plan.iterations) - 3, 0))


@dataclass(frozen=True, slots=True)
class SpotFit:
    """What a laser frame says."""

    model: PsfletModel
    spots: Spots
    measured: Float64
    """(2, n, m) px, where single spots are; NaN where too few good pixels tell."""
    throughput: Float64
    """(n,) of lenslets, median 1 locally: the smooth part is in the lasers' brightness."""
    scattered: float
    """Share of the light that is scattered beyond the windows (`kernels.scattered`)."""
    residual_rms: Float64
    """(2, m) rms of single spots' places about the smooth model, px."""
    used: Float64
    """(m,) share of the spots that the smooth model kept."""
    chi: float
    """Robust width of residual over noise."""
    bright_residual: float
    """Root mean square residual of bright pixels over their light."""


def start_model(spots: Spots) -> PsfletModel:
    """A Gaussian of 0.95 px everywhere."""
    image = np.exp(-(_RADIUS**2) / (2 * 0.95**2))
    image *= 4.0 / image.sum()
    span = (float(spots.wavelengths[0]), float(spots.wavelengths[-1]))
    if span[0] == span[1]:
        # One laser knows no colour; its coordinate must have a scale all the same.
        span = (0.9 * span[0], 1.1 * span[1])
    return PsfletModel(image[None], np.zeros((1, 2), np.int64), span, orthonormal_field(spots.x, spots.y, FIELD_DEGREE))


def widened(model: PsfletModel, degrees: tuple[int, ...]) -> PsfletModel:
    """The model with terms up to a field degree per power of colour; those it had are kept."""
    columns = field_degrees(FIELD_DEGREE)
    powers = np.array([(k, m) for m, highest in enumerate(degrees) for k in np.flatnonzero(columns <= highest)])
    terms = np.zeros((len(powers), NODES, NODES))
    for index, one in enumerate(model.powers):
        place = np.flatnonzero((powers == one).all(axis=1))
        if place.size:
            terms[place[0]] = model.terms[index]
    return replace(model, terms=terms, powers=powers)


def fit_laser_frame(
    data: Float32,
    good: NDArray[np.bool_],
    noise: Float32,
    spots: Spots,
    lonely: NDArray[np.bool_],
    plan: FitPlan | None = None,
) -> SpotFit:
    """PSFlets, places and throughputs from one laser frame.

    `data` (ny, nx) electrons, background off, flat-divided; `good` pixels that count; `noise` (ny, nx) variance without
    the spots' photons, electrons^2; `spots` places to start from, right to 0.4 px; `lonely` (n,) lenslets that lack a
    neighbour, being at the edge of the field stop.
    """
    plan = plan or FitPlan()
    model = start_model(spots)
    degrees = _degrees(plan, spots.wavelengths.size)
    throughput = np.ones(spots.x.size)
    edge = _near(spots, lonely, data.shape)
    level = _level(data, good & ~_near(spots, np.ones(lonely.size, bool), data.shape), noise, spread_light(data, good))
    data = data - np.float32(level)
    field = field_terms(spots.x, spots.y)
    image = np.zeros(data.shape, np.float32)
    far, scattered, shines = np.zeros_like(image), 0.0, True
    for turn, iterations in enumerate(plan.iterations):
        model = widened(model, degrees[turn])
        light = np.maximum(image, 0.0) if turn else np.maximum(data, 0.0)
        weight = (good / (light + noise + (plan.model_error * light) ** 2)).astype(np.float32)
        if turn > len(plan.iterations) - 3:
            weight[edge] *= np.float32(edge_weight(plan, _chi(data - image, image, noise, good & ~edge)))
        else:
            # Until PSFlets vary over the field, chi tells nothing.
            weight[edge] *= np.float32(plan.edge)
        image = spot_image(model, spots, data.shape) + far
        found = _corrections(model, spots, data - image, weight)
        spots = _move(spots, found).spots
        spots, throughput = _brighten(spots, found, lonely)
        information = 1.0 / np.clip(found[..., 3], 1e-12, None)
        halo = spread_light(image)[None] if shines else np.zeros((0, *data.shape), np.float32)
        problem = LaserEquations(model, spots, weight, field, edge, halo, *_bounds(model, spots, weight, plan))
        change = problem.solve(data, np.nan_to_num(information), iterations)
        grown = spots.amplitude * (1.0 + np.stack([field @ one for one in change.brightness], axis=1))
        model = replace(model, terms=model.terms + change.terms)
        spots = replace(spots, amplitude=grown)
        far = np.tensordot(change.scatter.astype(np.float32), halo, axes=1)
        scattered = float(change.scatter.sum())
        # Nothing takes light away: where there is none to be seen, the PSFlets explain the frame better without. Before
        # they vary over the field, what they lack decides on its sign.
        shines = shines and (scattered > 0.0 or turn < len(plan.iterations) - 3)
        image = spot_image(model, spots, data.shape) + far
    last = _move(spots, _corrections(model, spots, data - image, weight))
    chi = _chi(data - image, image, noise, good)
    bright = good & (image > _BRIGHT * np.percentile(image[good], 99.0))
    poor = float(np.sqrt(np.mean((data[bright] / image[bright] - 1.0) ** 2))) if bright.any() else np.inf
    return SpotFit(model, last.spots, last.measured, throughput, scattered, last.rms, last.used, chi, poor)


def edge_weight(plan: FitPlan, chi: float) -> float:
    """Weight of pixels at the edge of the field stop where all the others are explained to `chi`."""
    return min(1.0 + plan.distrust * max(chi**2 - 1.0, 0.0), plan.edge)


def _chi(residual: Float32, image: Float32, noise: Float32, where: NDArray[np.bool_]) -> float:
    """Robust width of a residual over the noise of the model `image` and of the read-out."""
    away = (residual / np.sqrt(np.maximum(image, 0.0) + noise))[where]
    return 1.4826 * float(np.median(np.abs(away - np.median(away))))


def _near(spots: Spots, lonely: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(ny, nx) pixels within a window of a lonely lenslet's spots."""
    near = np.zeros(shape, bool)
    for x, y in np.rint(spots.places[:, lonely].reshape(2, -1).T).astype(int):
        near[max(0, y - 8) : max(0, y + 9), max(0, x - 8) : max(0, x + 9)] = True
    return near


def _level(data: Float32, dark: NDArray[np.bool_], noise: Float32, halo: Float32) -> float:
    """Electrons in each pixel that the frame's dark left over, from `dark` pixels that no window reaches; 0 without.

    Within the field an electron that is everywhere looks like scattered light, and like wings: half an electron is a
    fifth of a per cent of what the lasers send there. Scattered light, some of which reaches the dark pixels, goes
    with the `halo` of all the frame's light.
    """
    if np.count_nonzero(dark) < _ENOUGH_DARK:
        return 0.0
    terms = np.stack([np.ones_like(halo[dark]), halo[dark]], axis=1).astype(np.float64)
    value, width = data[dark].astype(np.float64), np.sqrt(noise[dark].astype(np.float64))
    kept = np.ones(value.size, bool)
    found = np.zeros(2)
    for _ in range(4):
        found[:] = np.linalg.lstsq(terms[kept] / width[kept, None], value[kept] / width[kept], rcond=None)[0]
        away = np.abs(value - terms @ found) / width
        kept = away <= 4.0 * 1.4826 * float(np.median(away))
    return float(found[0])


def _corrections(model: PsfletModel, spots: Spots, residual: Float32, weight: Float32) -> Float64:
    """(n, m, 6) as `fit_spots`."""
    from archive_proc.kernels.loops.spots import fit_spots

    flat = split_terms(model)
    out = np.full((*spots.amplitude.shape, 6), np.nan)
    for laser, some in batches(spots):
        shapes = model.design(spots.x[some], spots.y[some], float(spots.wavelengths[laser])) @ flat
        part = np.empty((some.stop - some.start, 6))
        amplitude = np.ascontiguousarray(spots.amplitude[some, laser])
        fit_spots(residual, weight, shapes.reshape(-1, NODES, NODES), *spots_at(spots, some, laser), amplitude, part)
        out[some, laser] = part
    return out


@dataclass(frozen=True, slots=True)
class _Moved:
    """Places after a correction, (2, n, m) px `measured`; the smooth model through them, and how well it fits."""

    spots: Spots
    measured: Float64
    rms: Float64
    used: Float64


def _move(spots: Spots, found: Float64) -> _Moved:
    """Places moved to the smooth model through the corrected ones."""
    places, measured = spots.places.copy(), np.full_like(spots.places, np.nan)
    rms, used = np.zeros((2, spots.wavelengths.size)), np.zeros(spots.wavelengths.size)
    terms = field_terms(spots.x, spots.y)
    for laser in range(spots.wavelengths.size):
        one = found[:, laser]
        with np.errstate(invalid="ignore"):
            sound = (np.abs(one[:, 1:3]) < 1.0).all(axis=1) & (one[:, 4:6] < 0.05**2).all(axis=1)
        kept = sound.copy()
        for axis in (0, 1):
            measured[axis, sound, laser] = places[axis, sound, laser] + one[sound, 1 + axis]
            coefficients, near = fit_field(spots.x, spots.y, measured[axis, :, laser])
            places[axis, :, laser] = terms @ coefficients
            away = (measured[axis, :, laser] - places[axis, :, laser])[near]
            rms[axis, laser] = float(np.std(away)) if away.size else np.inf
            kept = kept & near
        used[laser] = float(kept.sum() / max(int(sound.sum()), 1))
    return _Moved(replace(spots, places=places), measured, rms, used)


def _brighten(spots: Spots, found: Float64, lonely: NDArray[np.bool_]) -> tuple[Spots, Float64]:
    """Amplitudes as throughput of the lenslet times smooth brightness of the laser."""
    raw = spots.amplitude * (1.0 + np.clip(found[..., 0], -1.0, 2.0))
    terms = field_terms(spots.x, spots.y)
    smooth = np.empty_like(raw)
    for laser in range(spots.wavelengths.size):
        with np.errstate(invalid="ignore"):
            light = np.where(np.isfinite(raw[:, laser]), np.log(np.clip(raw[:, laser], 1.0, None)), np.nan)
        coefficients, _ = fit_field(spots.x, spots.y, np.where(lonely, np.nan, light))
        smooth[:, laser] = np.exp(terms @ coefficients)
    ratio = raw / smooth
    weight = np.where(np.isfinite(ratio), 1.0 / np.clip(found[..., 3], 1e-8, None), 0.0)
    # Beside the detector's edge nothing but a lenslet's wings is seen: it shines as the others do.
    known = np.where(lonely, 0.0, 1.0 / _THROUGHPUT_SPREAD**2)
    total = weight.sum(axis=1) + known
    throughput = (np.sum(weight * np.nan_to_num(ratio), axis=1) + known) / np.maximum(total, 1e-12)
    # A dark lenslet stays dark: left free, those beyond the stop would take what is a wing of their lit neighbours.
    throughput[lonely & ((throughput < _DARK) | ~(spots.amplitude > 0).any(axis=1))] = 0.0
    return replace(spots, amplitude=throughput[:, None] * smooth), throughput


def _bounds(model: PsfletModel, spots: Spots, weight: Float32, plan: FitPlan) -> tuple[Float64, Float64]:
    """Ridge (n_terms, nodes, nodes) and smoothness (nodes, nodes) of the coefficient images."""
    unit = float(np.mean(weight)) * float(np.mean(spots.amplitude**2)) * spots.amplitude.size
    profile = _profile(model.terms[0])
    peak = float(profile.max())
    # Deviations over the field: a fifth of the PSFlet where there is light, next to nothing in the wings.
    allowed = 0.2 * profile / peak + 3e-4 * np.exp(-((_RADIUS / 6.0) ** 2))
    ridge = np.broadcast_to(unit * 1e-8 / allowed**2, model.terms.shape).copy()
    for index, (column, power) in enumerate(model.powers):
        if column == 0:
            ridge[index] = unit * plan.wing * np.clip(_RADIUS - 4.0, 0.0, None) ** 2
            if power:
                ridge[index] += unit * plan.colour / (plan.change**power * profile) ** 2
    ridge[0][(model.terms[0] < 0) & (_RADIUS > 3.0)] += unit * plan.negative
    return ridge, unit * plan.smooth * np.clip(_RADIUS / 3.0, 1.0, None) ** 3


def _profile(image: Float64) -> Float64:
    """(nodes, nodes) typical height of an image at each node's radius, never below 1e-5 of its peak."""
    ring = np.rint(_RADIUS * 2.0).astype(int)
    heights = np.array([np.median(image[np.abs(ring - one) <= (one > 4)]) for one in range(int(ring.max()) + 1)])
    falling = np.maximum.accumulate(np.maximum(heights, 1e-5 * heights.max())[::-1])[::-1]
    return np.asarray(falling[ring], np.float64)
