"""The IFS's tables as the kernels want them: field stop, lattice, lasers' spots, channels of one file's mode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.ifs import IfsLaser
from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.lenslets import FieldStop
from archive_proc.model.frames import RawFrame

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where one mode's light is to be looked for; px are of the detector, 0-based."""

    mode: str
    """YJ or YJH."""
    lattice: Float64
    """(2, 2) detector steps (x, y) of q and of r, px."""
    stop: FieldStop
    first_laser: tuple[float, float]
    """x, y of the first laser of lenslet (0, 0), px, right to a lenslet or two."""
    white_to_first: tuple[float, float]
    """First laser minus lattice point of white light, px, modulo the lattice."""
    lasers: tuple[IfsLaser, ...]
    """Of the mode, by wavelength."""
    edges: Float64
    """(channels + 1,) um."""

    @property
    def laser_offsets(self) -> Float64:
        """(lasers, 2) expected places of the spots from the first laser's, px."""
        return np.array([one.offset_px[self.mode] for one in self.lasers], np.float64)

    @property
    def laser_um(self) -> Float64:
        """(lasers,) vacuum wavelengths."""
        return np.array([one.wavelength_um for one in self.lasers], np.float64)


def layout_of(frame: RawFrame) -> Layout:
    """The layout of a file's mode, from `INS2 COMB IFS` or else its prism.

    Raises DataFailure AP-TAB-004 for a mode that the tables do not have.
    """
    tables = load_tables().ifs
    mode = tables.mode_of(frame.ifs_comb, frame.prism)
    geometry = tables.geometry(mode)
    lenslets = tables.lenslets
    return Layout(
        mode=geometry.mode,
        lattice=np.array(lenslets.lattice_px, np.float64),
        stop=FieldStop(*lenslets.field_stop, offset=lenslets.x_offset),
        first_laser=geometry.first_laser_px,
        white_to_first=geometry.white_to_first_px,
        lasers=tables.lasers_of(geometry.mode),
        edges=np.array(tables.channels(geometry.mode).edges_um, np.float64),
    )
