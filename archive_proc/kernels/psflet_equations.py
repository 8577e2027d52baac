"""Normal equations of PSFlets and of the lasers' smooth brightness on a whole laser frame, never formed but in part.

Coefficients of the spline and brightness trade light: a wing that always meets a neighbour's spot is the neighbour's
brightness as well. What decides is the edge of the field stop, a few hundred spots of fifty thousand, so that plain
conjugate gradients would take hundreds of steps. The mean PSFlet of each laser and its brightness are therefore solved
directly, from an eighth of the field and from the whole edge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.psflets import (
    NODES,
    PsfletModel,
    add_spots,
    common_normal,
    dot_spots,
    gather_spots,
    gather_squares,
)

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

_BATCH = 2000
_PATCH = 64
_SHARE = 8
"""One patch of so many stands for the field in the mean PSFlets' information."""
_CYCLES = 2
_DAMPING = 1e-3
"""Of the mean PSFlets' information, relative: directions below it drown in single-precision images."""


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


def spot_image(model: PsfletModel, spots: Spots, shape: tuple[int, int], amplitude: Float64 | None = None) -> Float32:
    """(ny, nx) electrons: the modelled laser frame."""
    image = np.zeros(shape, np.float32)
    values = spots.amplitude if amplitude is None else amplitude
    for laser, some in batches(spots):
        shapes = model.coefficients(spots.x[some], spots.y[some], float(spots.wavelengths[laser]))
        add_spots(image, shapes, *spots_at(spots, some, laser), np.ascontiguousarray(values[some, laser]))
    return image


def spots_at(spots: Spots, some: slice, laser: int) -> tuple[Float64, Float64]:
    """Detector x and y of some lenslets' spots of one laser."""
    return (
        np.ascontiguousarray(spots.places[0, some, laser]),
        np.ascontiguousarray(spots.places[1, some, laser]),
    )


@dataclass(frozen=True, slots=True)
class _Common:
    """Inverse of the information on each laser's mean PSFlet and brightness: they trade light."""

    factor: tuple[Float64, bool]
    columns: NDArray[np.int64]
    """(m,) terms that do not vary over the field, by power of colour."""
    powers: Float64
    """(m lasers, m powers) of the lasers' colour coordinate."""

    def step(self, left: Float64, left_b: Float64) -> tuple[Float64, Float64]:
        """What the gradient of all terms and of mean brightness (m,) calls for, in the terms of `columns`."""
        # scipy.linalg and its like cost a tenth of a second to import, which planning need not pay.
        from scipy import linalg

        turn = np.linalg.inv(self.powers)
        by_laser = np.tensordot(turn.T, left[self.columns], axes=1)
        found = linalg.cho_solve(self.factor, np.concatenate([by_laser.ravel(), left_b]))
        out = np.zeros_like(left)
        images = found[: by_laser.size].reshape(by_laser.shape)
        out[self.columns] = np.tensordot(turn, images, axes=1)
        return out, found[by_laser.size :]


@dataclass(slots=True)
class LaserEquations:
    """The equations at one state of model and spots."""

    model: PsfletModel
    spots: Spots
    weight: Float32
    field: Float64
    edge: NDArray[np.bool_]
    ridge: Float64
    smooth: Float64

    def forward(self, terms: Float64, brightness: Float64) -> Float32:
        """(ny, nx) image of changed coefficient images and of relative changes of brightness (m, field terms)."""
        image = np.zeros(self.weight.shape, np.float32)
        other = replace(self.model, terms=terms)
        for laser, some in batches(self.spots):
            x, y = self.spots.x[some], self.spots.y[some]
            wavelength = float(self.spots.wavelengths[laser])
            at = spots_at(self.spots, some, laser)
            amplitude = np.ascontiguousarray(self.spots.amplitude[some, laser])
            add_spots(image, other.coefficients(x, y, wavelength), *at, amplitude)
            if brightness.any():
                change = amplitude * (self.field[some] @ brightness[laser])
                add_spots(image, self.model.coefficients(x, y, wavelength), *at, change)
        return image

    def adjoint(self, image: Float32) -> tuple[Float64, Float64]:
        """The transpose of `forward`."""
        terms = np.zeros((len(self.model.terms), NODES * NODES))
        brightness = np.zeros((self.spots.wavelengths.size, self.field.shape[1]))
        for laser, some in batches(self.spots):
            x, y = self.spots.x[some], self.spots.y[some]
            wavelength = float(self.spots.wavelengths[laser])
            at = spots_at(self.spots, some, laser)
            amplitude = np.ascontiguousarray(self.spots.amplitude[some, laser])
            gathered = np.empty((amplitude.size, NODES, NODES), np.float32)
            gather_spots(image, *at, amplitude, gathered)
            terms += self.model.design(x, y, wavelength).T @ gathered.reshape(amplitude.size, -1)
            dots = np.empty(amplitude.size)
            dot_spots(image, self.model.coefficients(x, y, wavelength), *at, amplitude, dots)
            brightness[laser] += self.field[some].T @ dots
        return terms.reshape(-1, NODES, NODES), brightness

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
        terms = np.zeros((len(self.model.terms), NODES * NODES))
        for laser, some in batches(self.spots):
            amplitude = np.ascontiguousarray(self.spots.amplitude[some, laser])
            gathered = np.empty((amplitude.size, NODES, NODES), np.float32)
            gather_squares(self.weight, *spots_at(self.spots, some, laser), amplitude, gathered)
            design = self.model.design(self.spots.x[some], self.spots.y[some], float(self.spots.wavelengths[laser]))
            terms += (design**2).T @ gathered.reshape(amplitude.size, -1)
        # A node shares its pixels with about four others' worth of overlap.
        diagonal = terms.reshape(-1, NODES, NODES) * 4.0 + self.ridge + 12.0 * self.smooth
        brightness = np.stack([(self.field**2 * one[:, None]).sum(axis=0) for one in information.T]) * 3.0 + 1.0
        return np.maximum(diagonal, diagonal.max() * 1e-9), brightness

    def common(self) -> _Common:
        """From an eighth of the field, and from all that lies near spots without a neighbour, which decide."""
        from scipy import linalg

        shape = self.weight.shape
        rows, columns = np.indices(shape) // _PATCH
        chosen = np.where((rows * 3 + columns) % _SHARE == 0, np.float32(_SHARE), np.float32(0))
        chosen[self.edge] = 1.0
        sampled = self.weight * chosen
        images = np.zeros((self.spots.wavelengths.size, *shape), np.float32)
        for laser, some in batches(self.spots):
            shapes = self.model.coefficients(
                self.spots.x[some], self.spots.y[some], float(self.spots.wavelengths[laser])
            )
            amplitude = np.ascontiguousarray(self.spots.amplitude[some, laser])
            add_spots(images[laser], shapes, *spots_at(self.spots, some, laser), amplitude)
        constant = np.flatnonzero(self.model.powers[:, 0] == 0)
        lasers = len(constant)
        nodes = NODES * NODES
        normal = np.zeros((lasers * nodes + len(images),) * 2)
        x, y = (np.ascontiguousarray(one.ravel()) for one in self.spots.places)
        kind = np.tile(np.arange(len(images), dtype=np.int64), self.spots.x.size)
        if lasers == 1:
            kind[:] = 0
        amplitude = np.ascontiguousarray(self.spots.amplitude.ravel())
        common_normal(sampled, x, y, amplitude, kind, lasers, images, normal)
        normal = np.triu(normal) + np.triu(normal, 1).T
        for one in range(lasers):
            some = slice(one * nodes, (one + 1) * nodes)
            normal[some, some] += self._held()
        size = len(normal)
        normal[np.diag_indices(size)] *= 1.0 + _DAMPING
        normal[np.diag_indices(size)] += 1e-9 * float(np.max(np.diag(normal)[:nodes]))
        colour = self.model.colour(self.spots.wavelengths)
        powers = np.vander(colour, increasing=True) if lasers > 1 else np.ones((1, 1))
        return _Common(linalg.cho_factor(normal, lower=False, overwrite_a=True), constant, powers)

    def _held(self) -> Float64:
        """(nodes^2, nodes^2) the penalty on the common image as a matrix."""
        from scipy import sparse

        bend = sparse.diags_array([1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(NODES - 2, NODES))
        one = sparse.eye_array(NODES)
        across = sparse.kron(one, bend)
        along = sparse.kron(bend, one)
        weight_x = sparse.diags_array(self.smooth.T[1:-1].T.ravel())
        weight_y = sparse.diags_array(self.smooth[1:-1].ravel())
        held = across.T @ weight_x @ across + along.T @ weight_y @ along + sparse.diags_array(self.ridge[0].ravel())
        return np.asarray(held.toarray())

    def solve(self, data: Float32, information: Float64, iterations: int) -> tuple[Float64, Float64]:
        """Coefficient images, and relative changes of brightness (m, field terms), after some steps from the model."""
        nothing = np.zeros((self.spots.wavelengths.size, self.field.shape[1]))
        residual = (data - self.forward(self.model.terms, nothing)) * self.weight
        left, left_b = self.adjoint(residual)
        left = left - self.penalty(self.model.terms)
        scale, scale_b = self.scale(information)
        common = self.common()
        found, found_b = np.zeros_like(left), nothing.copy()
        for _ in range(_CYCLES):
            # Where wings and brightness trade light: the direct step, as long as the frame itself likes it.
            way_b = nothing.copy()
            way, way_b[:, 0] = common.step(left, left_b[:, 0])
            length, image, image_b = self._along(way, way_b, left, left_b)
            found, found_b = found + length * way, found_b + length * way_b
            left, left_b = left - length * image, left_b - length * image_b
            size, way, way_b = 1.0, np.zeros_like(left), nothing.copy()
            for _ in range(max(1, iterations // _CYCLES)):
                step, step_b = left / scale, left_b / scale_b
                new = _product(left, step, left_b, step_b)
                way, way_b = step + new / size * way, step_b + new / size * way_b
                size = new
                length, image, image_b = self._along(way, way_b, left, left_b)
                found, found_b = found + length * way, found_b + length * way_b
                left, left_b = left - length * image, left_b - length * image_b
        return self.model.terms + found, found_b

    def _along(self, way: Float64, way_b: Float64, left: Float64, left_b: Float64) -> tuple[float, Float64, Float64]:
        """How far to go along a direction, and what the gradient loses per unit of it."""
        image, image_b = self.adjoint(self.weight * self.forward(way, way_b))
        image = image + self.penalty(way)
        length = _product(left, way, left_b, way_b) / max(_product(way, image, way_b, image_b), 1e-300)
        return length, image, image_b


def _product(a: Float64, b: Float64, c: Float64, d: Float64) -> float:
    return float(np.vdot(a, b)) + float(np.vdot(c, d))
