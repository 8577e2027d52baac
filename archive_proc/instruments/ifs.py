"""The IFS as tables: modes, detector, lenslets on the detector, lasers, channels, orientation by date."""

from __future__ import annotations

import datetime as dt
from difflib import get_close_matches
from itertools import pairwise

import msgspec

from archive_proc.errors import DataFailure
from archive_proc.instruments.irdis import MJD_ZERO
from archive_proc.instruments.toml_rows import wrong_row

Pair = tuple[float, float]
"""(x, y), or (from, to)."""


class IfsModeRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One mode of the IFS and the setups that belong to it."""

    name: str
    """YJ or YJH."""
    obs_comb: str
    prism: str
    combs: tuple[str, ...]
    wavelength_um: Pair
    reference: str


class IfsDetector(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The detector: levels in ADU of one DIT."""

    gain_e_per_adu: float
    read_noise_e: float
    """A starting value: darks measure it, per DIT."""
    saturation_adu: float
    """Raw level beyond which a pixel is not used."""
    pixel_um: float
    size_px: int
    outputs: int
    output_columns_px: int
    reference: str


class IfsLenslets(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The lenslet array and how it lies on the detector and in the rectified cube."""

    lattice_px: tuple[Pair, Pair]
    """Detector steps (x, y) of q and of r, right to 1 %."""
    x_offset: float
    """X of lenslet (0, 0), pitches."""
    field_stop: tuple[float, float, float, float]
    """X from, X to, Y from, Y to, pitches from the field's centre."""
    pitch_mas: float
    pixel_mas: float
    """Of the rectified cube."""
    pixel_error_mas: float
    cube_px: int
    """Pixels along a side of the rectified cube."""
    reference: str


class IfsGeometry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the spectra of one mode fall, px: where to look, never a result."""

    mode: str
    first_laser_px: Pair
    """(x, y) of the first laser of lenslet (0, 0)."""
    white_to_first_px: Pair
    """First laser minus the lattice point of white light, modulo the lattice."""
    trace_px: float
    """Length of a spectrum."""
    reference: str


class IfsLaser(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One calibration laser."""

    name: str
    """`INS4 LAMPn NAME`."""
    wavelength_um: float
    """Vacuum."""
    offset_px: dict[str, Pair]
    """Mode to (x, y) of its spot from the first laser's."""
    reference: str


class IfsChannels(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The linear channels of one mode."""

    mode: str
    count: int
    first_edge_um: float
    last_edge_um: float
    reference: str

    @property
    def edges_um(self) -> tuple[float, ...]:
        """(count + 1,) edges, rising."""
        step = (self.last_edge_um - self.first_edge_um) / self.count
        return (*(self.first_edge_um + step * at for at in range(self.count)), self.last_edge_um)


class IfsBand(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where white light ends in one mode."""

    mode: str
    edges_um: Pair
    """Half-light points of the filter, blue and red."""
    reference: str


class IfsOrientation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Angles of the rectified cube within [valid_from, valid_to), DESIGN 8."""

    valid_from: dt.date
    valid_to: dt.date | None = None
    epsilon: bool
    """True while the derotator read a wrong clock: epsilon is added to the parallactic angle."""
    true_north_deg: float
    true_north_error_deg: float
    pupil_offset_deg: float
    """Pupil tracking only."""
    pupil_offset_error_deg: float
    instrument_offset_deg: float
    instrument_offset_error_deg: float
    anamorphism_x: float
    anamorphism_y: float
    """Sky over cube along x and y."""
    waffle_plus_deg: float
    """Axes of the waffle spots, counter-clockwise from +X, modulo 90 deg, for `OCS WAFFLE ORIENT = +`."""
    waffle_cross_deg: float
    """The same for `x`."""
    reference: str

    def covers(self, mjd: float) -> bool:
        """Whether this row is valid at a time, d UTC."""
        start = (self.valid_from - MJD_ZERO).days
        return start <= mjd and (self.valid_to is None or mjd < (self.valid_to - MJD_ZERO).days)


class IfsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """ifs.toml as it stands."""

    detector: IfsDetector
    lenslets: IfsLenslets
    mode: tuple[IfsModeRow, ...]
    geometry: tuple[IfsGeometry, ...]
    laser: tuple[IfsLaser, ...]
    channels: tuple[IfsChannels, ...]
    band: tuple[IfsBand, ...]
    orientation: tuple[IfsOrientation, ...]


class IfsTables(msgspec.Struct, frozen=True, kw_only=True):
    """The IFS's tables with look-ups."""

    detector: IfsDetector
    lenslets: IfsLenslets
    modes: dict[str, IfsModeRow]
    geometries: dict[str, IfsGeometry]
    """By mode."""
    lasers: tuple[IfsLaser, ...]
    """By wavelength."""
    channel_rows: dict[str, IfsChannels]
    """By mode."""
    bands: dict[str, IfsBand]
    """By mode."""
    orientations: tuple[IfsOrientation, ...]

    def mode_of(self, ifs_comb: str | None, prism: str | None = None) -> str | None:
        """YJ or YJH: from `INS2 COMB IFS`, else from the prism; None when neither says."""
        for row in self.modes.values():
            if ifs_comb in row.combs:
                return row.name
        for row in self.modes.values():
            if prism is not None and prism == row.prism:
                return row.name
        return None

    def geometry(self, mode: str | None) -> IfsGeometry:
        """Where the spectra of a mode fall. Raises DataFailure AP-TAB-004 for a mode without a row."""
        found = self.geometries.get(mode or "")
        if found is None:
            raise _unknown("geometry", mode, tuple(self.geometries))
        return found

    def channels(self, mode: str | None) -> IfsChannels:
        """The channels of a mode. Raises DataFailure AP-TAB-004 for a mode without a row."""
        found = self.channel_rows.get(mode or "")
        if found is None:
            raise _unknown("channels", mode, tuple(self.channel_rows))
        return found

    def band(self, mode: str | None) -> IfsBand:
        """Where white light ends in a mode. Raises DataFailure AP-TAB-004 for a mode without a row."""
        found = self.bands.get(mode or "")
        if found is None:
            raise _unknown("band", mode, tuple(self.bands))
        return found

    def lasers_of(self, mode: str) -> tuple[IfsLaser, ...]:
        """The lasers whose light falls on the detector in a mode, by wavelength."""
        return tuple(one for one in self.lasers if mode in one.offset_px)

    def lasers_on(self, mode: str, lamp: str | None) -> tuple[IfsLaser, ...]:
        """Those of a mode's lasers that a header says burn: `RawFrame.lamp`, names joined by +."""
        names = set((lamp or "").split("+"))
        return tuple(one for one in self.lasers_of(mode) if one.name in names)

    def orientation(self, mjd: float) -> IfsOrientation:
        """The orientation valid at a time, d UTC. Raises DataFailure AP-TAB-004 for a time before the first row."""
        for row in self.orientations:
            if row.covers(mjd):
                return row
        raise _unknown("orientation", f"MJD {mjd:.5f}", tuple(row.valid_from.isoformat() for row in self.orientations))


def ifs_tables(table: IfsFile) -> IfsTables:
    """Look-ups over the rows of ifs.toml."""
    return IfsTables(
        detector=table.detector,
        lenslets=table.lenslets,
        modes={row.name: row for row in table.mode},
        geometries={row.mode: row for row in table.geometry},
        lasers=tuple(sorted(table.laser, key=lambda row: row.wavelength_um)),
        channel_rows={row.mode: row for row in table.channels},
        bands={row.mode: row for row in table.band},
        orientations=table.orientation,
    )


def check_ifs(table: IfsFile, text: str) -> None:
    """Every setup in one mode, one row a mode in each table, lasers and channels in order, validity without gap.

    Raises MisuseError AP-TAB-003 naming the row.
    """
    source = "ifs.toml"
    seen: dict[str, str] = {}
    for at, row in enumerate(table.mode):
        for comb in row.combs:
            if seen.setdefault(comb, row.name) != row.name:
                raise wrong_row(text, source, ("mode", at), f"{comb} belongs to mode {seen[comb]} already", "combs")
    modes = {row.name for row in table.mode}
    for name, rows in (("geometry", table.geometry), ("channels", table.channels), ("band", table.band)):
        found = [one.mode for one in rows]
        for at, mode in enumerate(found):
            if mode not in modes:
                raise wrong_row(text, source, (name, at), f"there is no mode {mode}", "mode")
            if mode in found[:at]:
                raise wrong_row(text, source, (name, at), f"{mode} is there twice", "mode")
        if missing := modes - set(found):
            raise wrong_row(text, source, (name, max(0, len(found) - 1)), f"no row for mode {min(missing)}")
    for at, laser in enumerate(table.laser):
        if unknown := set(laser.offset_px) - modes:
            raise wrong_row(text, source, ("laser", at), f"there is no mode {min(unknown)}", "offset_px")
    for mode in sorted(modes):
        ordered = [one for one in sorted(table.laser, key=lambda one: one.wavelength_um) if mode in one.offset_px]
        if not ordered or ordered[0].offset_px[mode] != (0.0, 0.0):
            raise wrong_row(text, source, ("laser", 0), f"the first laser of {mode} has offset 0, 0", "offset_px")
        for before, after in pairwise(ordered):
            if after.offset_px[mode][1] <= before.offset_px[mode][1]:
                place = ("laser", table.laser.index(after))
                raise wrong_row(text, source, place, "wavelength grows with y", "offset_px")
    for at, channels in enumerate(table.channels):
        if channels.count < 1 or not 0 < channels.first_edge_um < channels.last_edge_um:
            raise wrong_row(text, source, ("channels", at), "edges must rise")
    for at, band in enumerate(table.band):
        if not 0 < band.edges_um[0] < band.edges_um[1]:
            raise wrong_row(text, source, ("band", at), "edges must rise", "edges_um")
    for at, (one, following) in enumerate(pairwise(table.orientation)):
        if one.valid_to != following.valid_from:
            place = ("orientation", at + 1)
            raise wrong_row(text, source, place, "validity must begin where the row before ends", "valid_from")
    if not table.orientation or table.orientation[-1].valid_to is not None:
        place = ("orientation", max(0, len(table.orientation) - 1))
        raise wrong_row(text, source, place, "the last row has no valid_to")


def _unknown(table: str, name: str | None, rows: tuple[str, ...]) -> DataFailure:
    near = get_close_matches(name or "", rows, n=1) or list(rows[:1])
    return DataFailure(
        "AP-TAB-004",
        f"no row for {name!r}; the nearest is {near[0] if near else 'none'}",
        subject=f"ifs.toml {table}",
        remedy="add a row with its reference, or correct the header by an override",
    )
