"""Normal equations of PSFlets and of the lasers' smooth brightness on a whole laser frame, never formed but in part.

Coefficients of the spline and brightness trade light: a wing that always meets a neighbour's spot is the neighbour's
brightness as well. What decides is the edge of the field stop, a few hundred spots of fifty thousand, so that plain
conjugate gradients would take hundreds of steps. The mean PSFlet of each laser and its brightness are therefore solved
directly, from a part of the field and from the whole edge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.psflets import HALF, NODES, START, PsfletModel, joined_columns, split_columns

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

_BATCH = 256
"""Spots worked on together: their coefficients stay in the cache."""
_SAMPLED = 4
"""One lenslet of so many stands for all in the diagonal of the equations."""
_PATCH = 64
_ENOUGH = 2**17
"""Pixels in patches that stand for the field in the mean PSFlets' information."""
_DAMPING = 1e-3
"""Of the mean PSFlets' information, relative: directions below it drown in single-precision images."""
_SIZE = NODES * NODES
_CENTRAL = 4.0
"""px: light farther away does not count for a PSFlet's centre."""


@dataclass(frozen=True, slots=True)
class Spots:
    """n lenslets, m lasers."""

    x: Float64
    """(n,) lenslet, pitches."""
    y: Float64
    wavelengths: Float64
    """(m,) um."""
    places: Float64
    """(2, n, m) detector x and y, px."""
    amplitude: Float64
    """(n, m) electrons."""


def batches(spots: Spots) -> Iterator[tuple[int, slice]]:
    """Laser and lenslets of every batch of spots."""
    n, m = spots.amplitude.shape
    for laser in range(m):
        for first in range(0, n, _BATCH):
            yield laser, slice(first, min(first + _BATCH, n))


def split_terms(model: PsfletModel) -> Float32:
    """(terms, nodes^2) float32 coefficient images with split columns."""
    return split_columns(model.terms.astype(np.float32)).reshape(len(model.terms), _SIZE)


def spot_image(model: PsfletModel, spots: Spots, shape: tuple[int, ...], lasers: tuple[int, ...] = ()) -> Float32:
    """(ny, nx) electrons: the modelled laser frame, of some lasers only where `lasers` names them."""
    from archive_proc.kernels.loops.spots import add_spots

    image = np.zeros(shape, np.float32)
    flat = split_terms(model)
    for laser, some in batches(spots):
        if lasers and laser not in lasers:
            continue
        shapes = model.design(spots.x[some], spots.y[some], float(spots.wavelengths[laser])) @ flat
        amplitude = np.ascontiguousarray(spots.amplitude[some, laser])
        add_spots(image, shapes.reshape(-1, NODES, NODES), *spots_at(spots, some, laser), amplitude)
    return image


def spots_at(spots: Spots, some: slice, laser: int) -> tuple[Float64, Float64]:
    """Detector x and y of some lenslets' spots of one laser."""
    return (
        np.ascontiguousarray(spots.places[0, some, laser]),
        np.ascontiguousarray(spots.places[1, some, laser]),
    )


@dataclass(frozen=True, slots=True)
class Change:
    """A change of everything that is solved for together, or the gradient with respect to it."""

    terms: Float64
    """(terms, nodes, nodes) coefficient images."""
    brightness: Float64
    """(m, field terms) relative brightness of each laser over the field."""
    scatter: Float64
    """(s,) shares of scattered light."""

    def plus(self, other: Change, length: float = 1.0) -> Change:
        """The sum of it and `length` times another."""
        return Change(
            self.terms + length * other.terms,
            self.brightness + length * other.brightness,
            self.scatter + length * other.scatter,
        )

    def dot(self, other: Change) -> float:
        """Scalar product."""
        pairs = (self.terms, other.terms), (self.brightness, other.brightness), (self.scatter, other.scatter)
        return sum(float(np.vdot(one, another)) for one, another in pairs)


def moments() -> Float64:
    """(3, nodes, nodes): products with them are an image's sum over its window, and its centre x and y within 4 px."""
    at = np.arange(NODES) * 0.5 - START
    near = np.hypot(at[:, None], at[None, :]) < _CENTRAL
    # A node's spline reaches one pixel to each side, the window half a pixel beyond its outermost pixels.
    seen = np.clip((HALF + 1.5 - np.abs(at)) / 2.0, 0.0, 1.0)
    return np.stack([seen[:, None] * seen[None, :], near * at[None, :], near * at[:, None]])


@dataclass(frozen=True, slots=True)
class _Preconditioner:
    """What a gradient calls for, where no image's sum and centre may change: amplitudes and places tell those.

    The PSFlets' mean over the field and the lasers' mean brightness, which trade light, follow from the inverse of
    their information; everything else from the diagonal.
    """

    factor: tuple[Float32, bool]
    columns: NDArray[np.int64]
    """(p,) terms that do not vary over the field, by power of colour."""
    scale: Float64
    """(terms, nodes, nodes)"""
    scale_b: Float64
    """(m, field terms)"""
    held: Float64
    """(p nodes^2 + m + s, 3 p) what the mean images would do to change one of their sums or centres."""

    def step(self, left: Change) -> Change:
        """For a gradient."""
        way, way_b = left.terms / self.scale, left.brightness / self.scale_b
        fixed = moments().reshape(3, _SIZE)
        for one, scale in zip(way.reshape(len(way), _SIZE), self.scale.reshape(len(way), _SIZE), strict=True):
            turned = fixed / scale
            one -= np.linalg.solve(turned @ fixed.T, fixed @ one) @ turned
        p, lasers = len(self.columns), len(way_b)
        means = split_columns(left.terms[self.columns]).ravel()
        found = self._solved(np.concatenate([means, left.brightness[:, 0], left.scatter]))
        fixed = split_columns(moments()).reshape(3, _SIZE)
        sums = (found[: p * _SIZE].reshape(p, _SIZE) @ fixed.T).ravel()
        own = np.einsum("afc,mf->amc", self.held[: p * _SIZE].reshape(p, _SIZE, 3 * p), fixed).reshape(3 * p, 3 * p)
        found = found - self.held @ np.linalg.solve(own, sums)
        way[self.columns] = joined_columns(found[: p * _SIZE].reshape(p, NODES, NODES))
        way_b[:, 0] = found[p * _SIZE : p * _SIZE + lasers]
        return Change(way, way_b, found[p * _SIZE + lasers :])

    def _solved(self, right: Float64) -> Float64:
        # scipy.linalg and its like cost a tenth of a second to import, which planning need not pay.
        from scipy import linalg

        return np.asarray(linalg.cho_solve(self.factor, right.astype(np.float32), check_finite=False), np.float64)


@dataclass
class LaserEquations:
    """The equations at one state of model and spots."""

    model: PsfletModel
    spots: Spots
    weight: Float32
    field: Float64
    edge: NDArray[np.bool_]
    scattered: Float32
    """(s, ny, nx) light that the windows do not hold, each for a share of 1."""
    ridge: Float64
    smooth: Float64

    @cached_property
    def _flat(self) -> Float32:
        return split_terms(self.model)

    @cached_property
    def _designs(self) -> list[Float32]:
        spots = self.spots
        return [self.model.design(spots.x, spots.y, float(one)) for one in spots.wavelengths]

    def forward(self, change: Change) -> Float32:
        """(ny, nx) image of a change."""
        from archive_proc.kernels.loops.spots import add_spots

        image = np.tensordot(change.scatter.astype(np.float32), self.scattered, axes=1)
        flat = split_columns(change.terms.astype(np.float32)).reshape(len(change.terms), _SIZE)
        bright = bool(change.brightness.any())
        if bright:
            flat = np.concatenate([flat, self._flat])
        for laser, some in batches(self.spots):
            design = self._designs[laser][some]
            if bright:
                more = (self.field[some] @ change.brightness[laser]).astype(np.float32)
                design = np.concatenate([design, design * more[:, None]], axis=1)
            shapes = (design @ flat).reshape(-1, NODES, NODES)
            amplitude = np.ascontiguousarray(self.spots.amplitude[some, laser])
            add_spots(image, shapes, *spots_at(self.spots, some, laser), amplitude)
        return image

    def adjoint(self, image: Float32) -> Change:
        """The transpose of `forward`."""
        from archive_proc.kernels.loops.spots import gather_spots

        terms = np.zeros((len(self.model.terms), _SIZE))
        brightness = np.zeros((self.spots.wavelengths.size, self.field.shape[1]))
        gathered = np.empty((_BATCH, NODES, NODES), np.float32)
        turned = np.ascontiguousarray(self._flat.T)
        for laser, some in batches(self.spots):
            design = self._designs[laser][some]
            part = gathered[: len(design)]
            amplitude = np.ascontiguousarray(self.spots.amplitude[some, laser])
            gather_spots(image, *spots_at(self.spots, some, laser), amplitude, part)
            flat = part.reshape(len(design), _SIZE)
            terms += design.T @ flat
            dots = np.sum((flat @ turned) * design, axis=1, dtype=np.float64)
            brightness[laser] += self.field[some].T @ dots
        scatter = np.array([np.vdot(one, image) for one in self.scattered], np.float64)
        return Change(joined_columns(terms.reshape(-1, NODES, NODES)), brightness, scatter)

    def penalty(self, terms: Float64) -> Float64:
        """What ridge and smoothness add to the normal equations' left side."""
        out = self.ridge * terms
        for axis in (1, 2):
            turned = np.moveaxis(terms, axis, 1)
            weight = self.smooth if axis == 1 else self.smooth.T
            bend = (turned[:, 2:] - 2 * turned[:, 1:-1] + turned[:, :-2]) * weight[1:-1]
            back = np.zeros_like(turned)
            back[:, 2:] += bend
            back[:, 1:-1] -= 2 * bend
            back[:, :-2] += bend
            out = out + np.moveaxis(back, 1, axis)
        return out

    def scale(self, information: Float64) -> tuple[Float64, Float64]:
        """Diagonals to precondition with; `information` (n, m) of each spot's relative amplitude."""
        from archive_proc.kernels.loops.spots import gather_squares

        terms = np.zeros((len(self.model.terms), _SIZE))
        gathered = np.empty((_BATCH, NODES, NODES), np.float32)
        for laser, some in batches(self.spots):
            few = slice(some.start, some.stop, _SAMPLED)
            amplitude = np.ascontiguousarray(self.spots.amplitude[few, laser])
            part = gathered[: amplitude.size]
            gather_squares(self.weight, *spots_at(self.spots, few, laser), amplitude, part)
            terms += _SAMPLED * ((self._designs[laser][few] ** 2).T @ part.reshape(amplitude.size, -1))
        # A node shares its pixels with about four others' worth of overlap.
        diagonal = joined_columns(terms.reshape(-1, NODES, NODES)) * 4.0 + self.ridge + 12.0 * self.smooth
        brightness = np.stack([(self.field**2 * one[:, None]).sum(axis=0) for one in information.T]) * 3.0 + 1.0
        return np.maximum(diagonal, diagonal.max() * 1e-9), brightness

    def preconditioner(self, information: Float64) -> _Preconditioner:
        """From a part of the field, and from all that lies near spots without a neighbour, which decide.

        `information` (n, m) of each spot's relative amplitude.
        """
        from scipy import linalg

        lasers = self.spots.wavelengths.size
        half, beside = self._laser_normal()
        extra = beside.shape[1]
        columns = np.flatnonzero(self.model.powers[:, 0] == 0)
        colour = self.model.colour(self.spots.wavelengths)
        turn = (colour[:, None] ** self.model.powers[columns, 1][None, :]).astype(np.float32)
        parts = [slice(one * _SIZE, (one + 1) * _SIZE) for one in range(max(lasers, len(columns)))]
        n = len(columns) * _SIZE
        normal = np.zeros((n + extra, n + extra), np.float32)
        for a in range(len(columns)):
            rows = sum(turn[one, a] * half[parts[one]] for one in range(lasers))
            for b in range(len(columns)):
                block = sum(turn[one, b] * rows[:, parts[one]] for one in range(lasers))
                normal[parts[a], parts[b]] += block
                normal[parts[b], parts[a]] += block.T
            normal[parts[a], n:] = sum(turn[one, a] * beside[parts[one]] for one in range(lasers))
        del half
        normal[n:, :n] = normal[:n, n:].T
        normal[n:, n:] = beside[-extra:]
        smooth = self._held()
        diagonal = np.arange(_SIZE)
        for part, column in zip(parts, columns, strict=False):
            block = normal[part, part]
            block += smooth
            block[diagonal, diagonal] += split_columns(self.ridge[column]).ravel().astype(np.float32)
        diagonal = np.arange(len(normal))
        normal[diagonal, diagonal] *= np.float32(1.0 + _DAMPING)
        normal[diagonal, diagonal] += np.float32(1e-7 * float(np.max(np.diag(normal)[:_SIZE])))
        # The transpose is in the order that the library works in: nothing is copied.
        factor = linalg.cho_factor(normal.T, lower=True, overwrite_a=True, check_finite=False)
        fixed = split_columns(moments()).reshape(3, _SIZE).astype(np.float32)
        pulls = np.zeros((len(normal), 3 * len(columns)), np.float32)
        for at in range(len(columns)):
            pulls[parts[at], 3 * at : 3 * at + 3] = fixed.T
        held = np.asarray(linalg.cho_solve(factor, pulls, check_finite=False), np.float64)
        return _Preconditioner(factor, columns, *self.scale(information), held)

    def _laser_normal(self) -> tuple[Float32, Float64]:
        """Half of the normal matrix of each laser's mean image, and its columns of brightness and scatter.

        Columns of the images are split.
        """
        from archive_proc.kernels.loops import spots as loops

        ny, nx = self.weight.shape
        rows, columns = (np.arange(size) // _PATCH for size in (ny, nx))
        one_of = max(1, ny * nx // _ENOUGH)
        share = np.where((rows[:, None] * 7 + columns[None, :]) % one_of == 0, np.float32(one_of), np.float32(0))
        share[self.edge] = 1.0
        sampled = (self.weight * share).ravel()
        pixels = np.flatnonzero(sampled > 0)
        chosen = np.full(ny * nx, -1, np.int32)
        chosen[pixels] = np.arange(pixels.size, dtype=np.int32)
        chosen = chosen.reshape(ny, nx)
        lasers = self.spots.wavelengths.size
        images = np.stack([spot_image(self.model, self.spots, (ny, nx), (one,)).ravel() for one in range(lasers)])
        x, y = (np.ascontiguousarray(one.ravel()) for one in self.spots.places)
        kind = np.tile(np.arange(lasers, dtype=np.int64), self.spots.x.size)
        start = np.zeros(pixels.size + 1, np.int64)
        loops.count_members(chosen, x, y, start)
        member, key = np.empty(start[-1], np.int32), np.zeros(pixels.size, np.int64)
        loops.list_members(chosen, x, y, kind, start, member, key)
        # Pixels that stand alike under their spots meet the same part of the matrix, which then stays in the cache.
        order = np.argsort(key, kind="stable")
        images = np.concatenate([images, self.scattered.reshape(len(self.scattered), ny * nx)])
        half, beside = (
            np.zeros((lasers * _SIZE,) * 2, np.float32),
            np.zeros((lasers * _SIZE + len(images), len(images))),
        )
        amplitude = np.ascontiguousarray(self.spots.amplitude.ravel())
        loops.add_normal(pixels, order, nx, sampled[pixels], start, member, x, y, amplitude, kind, images, half, beside)
        return half, beside

    def _held(self) -> Float32:
        """(nodes^2, nodes^2) the smoothness of one image, with split columns, as a matrix."""
        from scipy import sparse

        bend = sparse.diags_array([1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(NODES - 2, NODES))
        one = sparse.eye_array(NODES)
        across = sparse.kron(one, bend)
        along = sparse.kron(bend, one)
        weight_x = sparse.diags_array(self.smooth.T[1:-1].T.ravel())
        weight_y = sparse.diags_array(self.smooth[1:-1].ravel())
        held = across.T @ weight_x @ across + along.T @ weight_y @ along
        order = split_columns(np.arange(_SIZE).reshape(NODES, NODES)).ravel()
        return np.asarray(held.toarray()[np.ix_(order, order)], np.float32)

    def solve(self, data: Float32, information: Float64, iterations: int) -> Change:
        """The change that least squares call for, after some steps, among images that keep their sums and centres."""
        m, terms = self.spots.wavelengths.size, self.model.terms
        nothing = Change(np.zeros_like(terms), np.zeros((m, self.field.shape[1])), np.zeros(len(self.scattered)))
        state = Change(terms, nothing.brightness, nothing.scatter)
        left = self.adjoint((data - self.forward(state)) * self.weight)
        left = left.plus(Change(self.penalty(terms), nothing.brightness, nothing.scatter), -1.0)
        conditioned = self.preconditioner(information)
        found, way, size = nothing, nothing, 1.0
        for _ in range(iterations):
            step = conditioned.step(left)
            new = left.dot(step)
            way = step.plus(way, new / size)
            size = new
            image = self.adjoint(self.weight * self.forward(way))
            image = image.plus(Change(self.penalty(way.terms), nothing.brightness, nothing.scatter))
            length = new / max(way.dot(image), 1e-300)
            found = found.plus(way, length)
            left = left.plus(image, -length)
        return found
