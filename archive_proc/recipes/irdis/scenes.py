"""Where things are expected in a raw frame, from its header and the instrument's tables."""

from __future__ import annotations

import math
from dataclasses import dataclass

from archive_proc.instruments.irdis import IrdisFilter, IrdisGeometry
from archive_proc.instruments.tables import irdis_tables
from archive_proc.kernels.waffle import WaffleOptics
from archive_proc.model.frames import RawFrame
from archive_proc.recipes.detector import true_dit

Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Scene:
    """Where things are expected in the planes of one file."""

    guess: tuple[Pair, Pair]
    """Star behind the mask, table plus dither: a first guess."""
    optics: tuple[WaffleOptics, WaffleOptics]
    dither: Pair
    dit_s: float
    gain: float
    nd: Pair

    @property
    def lambda_d(self) -> Pair:
        """Pixels of lambda / D in the two halves."""
        return self.optics[0].lambda_d, self.optics[1].lambda_d


def dither_of(frame: RawFrame) -> Pair:
    """(x, y) pixels by which the detector was moved; from the stage in um where the pixel keywords are absent."""
    tables, whole = irdis_tables(frame.binning), irdis_tables()
    # The keywords count the detector's own pixels.
    unit = whole.detector.pixel_um / tables.detector.pixel_um
    x = frame.dith_x * unit if frame.dith_x is not None else (frame.pac_x or 0.0) / tables.detector.pixel_um
    y = frame.dith_y * unit if frame.dith_y is not None else (frame.pac_y or 0.0) / tables.detector.pixel_um
    return x, y


def scene_of(frame: RawFrame) -> Scene:
    """What the tables and header say of one file."""
    tables = irdis_tables(frame.binning)
    row: IrdisFilter = tables.filter(frame.inst_filter)
    geometry: IrdisGeometry = tables.geometry(frame.mjd_obs)
    dither = dither_of(frame)
    orientation = 0.0 if (frame.waffle_orient or "x").strip() == "+" else math.pi / 4
    left, right = (
        WaffleOptics(
            row.wavelength_um[half],
            row.bandwidth_um[half],
            row.pixel_scale_mas[half],
            geometry.anamorphism_y / geometry.anamorphism_x,
            orientation,
        )
        for half in range(2)
    )
    guess_left, guess_right = ((x + dither[0], y + dither[1]) for x, y in row.first_guess_px)
    return Scene(
        guess=(guess_left, guess_right),
        optics=(left, right),
        dither=dither,
        dit_s=true_dit(frame),
        gain=frame.gain or tables.detector.gain_e_per_adu,
        nd=tables.nd(frame.nd_filter).of(row),
    )
