"""How the light of every lenslet and channel reaches the detector, put together from a file's calibrations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure
from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.fine_response import finer_edges
from archive_proc.kernels.lenslets import Lenslets
from archive_proc.kernels.microspectra import Templates, build_templates, empty_templates
from archive_proc.kernels.psflets import PsfletModel
from archive_proc.kernels.spectra_shift import turned
from archive_proc.recipes.ifs.solutions import Solution, inside_channels, read_psflets, read_solution
from archive_proc.recipes.recipe import Calibration, InputRole, RecipeInputs

Float64 = NDArray[np.float64]

WAVE = InputRole("wave", ("ifs_wavelength_solution",))
PSFLETS = InputRole("psflets", ("ifs_psflets",), association_roles=("wave",))
"""Roles of recipes that extract spectra."""
_TOGETHER = 2048
"""Lenslets whose templates are made at a time."""


@dataclass(frozen=True, slots=True)
class Spectrograph:
    """Wavelength solution, PSFlets and channels of one mode; n lenslets, m channels."""

    solution: Solution
    psflets: PsfletModel
    edges_um: Float64
    """(m + 1,)"""
    wavelengths_um: Float64
    """(m, steps) inside the channels."""
    weight: Float64 | None
    """(m, steps) relative flux density that templates average over; None: none is known (`parabolas`)."""
    scattered: float = 0.0
    """Share of the light that is scattered beyond the PSFlets (`kernels.scattered`)."""

    @property
    def lenslets(self) -> Lenslets:
        """All that reach the detector."""
        return self.solution.lenslets

    @property
    def ends(self) -> Float64:
        """(2, n, 2) places of the bluest and the reddest light."""
        return self.solution.places(self.wavelengths_um[[0, -1], [0, -1]])

    @property
    def middles(self) -> Float64:
        """(2, n) middles of the spectra."""
        return np.asarray(self.ends.mean(axis=2))

    def in_parts(self, parts: int) -> Spectrograph:
        """The same with each channel cut into equal parts, evenly lit, as channels."""
        edges = finer_edges(self.edges_um, parts)
        wavelengths = inside_channels(edges, 2)
        return replace(self, edges_um=edges, wavelengths_um=wavelengths, weight=np.ones_like(wavelengths))

    def templates(self, shift_x: float = 0.0, shift_y: float = 0.0, turn: float = 0.0) -> Templates:
        """Of all lenslets, moved across and along the dispersion by this many pixels, then turned (rad)."""
        everyone = np.arange(len(self.lenslets))
        offset = np.array([[0.0], [shift_y]]) + turned(turn, self.middles)
        return self.some_templates(everyone, offset, shift_x, None)

    def some_templates(
        self, members: NDArray[np.intp], offset: Float64, shift_x: float, windows: Templates | None
    ) -> Templates:
        """Of some lenslets; `offset` (2, n or 1) px is added to their places (`spectra_shift.Build`)."""
        made = empty_templates(members.size, len(self.wavelengths_um))
        moved = np.broadcast_to(offset + np.array([[shift_x], [0.0]]), (2, members.size))
        # Places at all steps of all channels fill more memory than one would think.
        for first in range(0, members.size, _TOGETHER):
            some = slice(first, first + _TOGETHER)
            own = members[some]
            places = self.solution.places(self.wavelengths_um.ravel(), own) + moved[:, some, None]
            places = places.reshape(2, own.size, *self.wavelengths_um.shape)
            where = (self.lenslets.x[own], self.lenslets.y[own])
            old = None if windows is None else windows.part(some)
            build_templates(self.psflets, where, places, self.wavelengths_um, self.weight, old, made.part(some))
        return made


def spectrograph(inputs: RecipeInputs, file: int, channel_weight: Sequence[float] = ()) -> Spectrograph:
    """What serves one main file; `channel_weight` (m,) expected spectrum, none if empty.

    Inside a channel the weight follows the straight lines between the channels' values. Raises DataFailure AP-IFS-060
    without wavelength solution or PSFlets, AP-IFS-061 for weights that do not fit the channels.
    """
    frame = inputs.frames[file]
    for role in (WAVE.role, PSFLETS.role):
        if not inputs.serving(role, file):
            raise DataFailure(
                "AP-IFS-060",
                f"no {role} serves this file: where its light falls is not known",
                subject=frame.file_id,
                remedy=f"`explain` it: role {role} lists the candidates and why each was refused",
            )
    solution = read_solution(inputs.serving(WAVE.role, file)[0])
    edges = np.array(load_tables().ifs.channels(solution.mode).edges_um)
    wavelengths = inside_channels(edges)
    weight = None
    if channel_weight:
        middles = 0.5 * (edges[1:] + edges[:-1])
        if len(channel_weight) != middles.size or min(channel_weight) < 0 or max(channel_weight) <= 0:
            raise DataFailure(
                "AP-IFS-061",
                f"{len(channel_weight)} channel weights for {middles.size} channels, or negative ones",
                subject=frame.file_id,
                remedy="give one weight a channel (parameter channel_weight), none below zero",
            )
        # No step without weight: a template needs light to have a shape.
        least = 1e-3 * max(channel_weight)
        weight = np.maximum(np.interp(wavelengths, middles, np.asarray(channel_weight, np.float64)), least)
    given = inputs.serving(PSFLETS.role, file)[0]
    scattered = float(given.attrs.get("scattered", 0.0))
    return Spectrograph(solution, read_psflets(given), edges, wavelengths, weight, scattered)


def products_of(inputs: RecipeInputs, file: int, roles: Sequence[str]) -> tuple[str, ...]:
    """The ids of what serves a main file in these roles: files with equal ones share masters and spectrograph."""
    found: list[Calibration] = [one for role in roles for one in inputs.serving(role, file)]
    return tuple(one.product_id for one in found)
