"""IRDIS as tables: filters, neutral densities, coronagraphs, geometry by date, detector."""

from __future__ import annotations

import datetime as dt
from typing import Literal

import msgspec

from archive_proc.errors import DataFailure

MJD_ZERO = dt.date(1858, 11, 17)
"""Day 0 of the modified Julian date."""

Pair = tuple[float, float]
"""(left half, right half)."""
BLOCK_PX = 64
"""Columns of an output: a binned half-frame is a whole number of these."""


class IrdisFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One filter combination; pairs are (left half, right half)."""

    name: str
    """`INS COMB IFLT`."""
    kind: Literal["dual", "broad", "narrow"]
    bands: tuple[str, str]
    """Keys of the neutral density table."""
    wavelength_um: Pair
    bandwidth_um: Pair
    thermal: bool
    """The sky's and instrument's own light dominates: backgrounds must match in ND, a dark is none."""
    pixel_scale_mas: Pair
    """mas per pixel along x; along y it is `IrdisGeometry.anamorphism_y` times that."""
    pixel_scale_error_mas: float
    ins1_filt: str
    ins1_opti2: str
    first_guess_px: tuple[Pair, Pair]
    """(x, y) of the star behind the mask in each half, 0-based pixel of the half: where to look, never a result."""
    reference: str


class NeutralDensity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One neutral density filter (`INS4 FILT2`)."""

    name: str
    clear: bool = False
    transmission: dict[str, float] = msgspec.field(default_factory=dict)
    """Band to mean transmission."""
    reference: str

    def of(self, filter_: IrdisFilter) -> Pair:
        """Transmission in the (left, right) half of a filter.

        Raises DataFailure AP-TAB-005 where no curve covers one of its bands.
        """
        if self.clear:
            return (1.0, 1.0)
        missing = [band for band in filter_.bands if band not in self.transmission]
        if missing:
            raise DataFailure(
                "AP-TAB-005",
                f"neutral density {self.name} has no transmission for band {missing[0]} of {filter_.name}",
                subject="irdis.toml neutral_density",
                remedy="add the band to the row, with its reference",
            )
        left, right = filter_.bands
        return (self.transmission[left], self.transmission[right])


class Coronagraph(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One infrared coronagraph combination (`INS COMB ICOR`)."""

    name: str
    kind: Literal["apodised_lyot", "classical_lyot", "phase_mask", "bar", "slit", "none"]
    occulting: bool
    """The star is behind a mask: it needs a CENTER frame to be found."""
    mask_diameter_mas: float | None = None
    reference: str


class IrdisGeometry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Orientation and distortion within [valid_from, valid_to)."""

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
    anamorphism_x: float
    anamorphism_y: float
    """Sky over detector along y, relative to x."""
    reference: str

    def covers(self, mjd: float) -> bool:
        """Whether this row is valid at a time, d UTC."""
        start = (self.valid_from - MJD_ZERO).days
        return start <= mjd and (self.valid_to is None or mjd < (self.valid_to - MJD_ZERO).days)


class IrdisDetector(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The detector: levels in ADU of one DIT, pixels 0-based."""

    gain_e_per_adu: float
    read_noise_e: float
    soft_limit_adu: float
    hard_limit_adu: float
    saturation_adu: float
    pixel_um: float
    half_width_px: int
    outputs: int
    output_columns_px: int
    lit_left_px: tuple[int, int, int, int]
    """x first, x last, y first, y last of the lit field, pixels of the left half."""
    lit_right_px: tuple[int, int, int, int]
    """The same of the right half, pixels of that half."""
    reference: str


class IrdisFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """irdis.toml as it stands."""

    detector: IrdisDetector
    geometry: tuple[IrdisGeometry, ...]
    filter: tuple[IrdisFilter, ...]
    neutral_density: tuple[NeutralDensity, ...]
    coronagraph: tuple[Coronagraph, ...]


class IrdisTables(msgspec.Struct, frozen=True, kw_only=True):
    """IRDIS's tables with look-ups."""

    detector: IrdisDetector
    geometries: tuple[IrdisGeometry, ...]
    filters: dict[str, IrdisFilter]
    neutral_densities: dict[str, NeutralDensity]
    coronagraphs: dict[str, Coronagraph]

    def binned(self, pixels: int) -> IrdisTables:
        """The tables of frames whose pixels hold so many of the detector's along each side.

        What stands in pixels scales; levels in ADU are means over the pixels that became one, and stay.

        Raises DataFailure AP-TAB-007 where that many do not divide the detector.
        """
        if pixels < 1 or self.detector.half_width_px % (pixels * BLOCK_PX):
            raise DataFailure(
                "AP-TAB-007",
                f"binning {pixels} does not divide the detector's {self.detector.half_width_px} pixels into blocks",
                subject="irdis.toml detector",
                remedy="use frames binned by 2, or not at all",
            )
        return msgspec.structs.replace(
            self,
            detector=msgspec.structs.replace(
                self.detector,
                pixel_um=self.detector.pixel_um * pixels,
                half_width_px=self.detector.half_width_px // pixels,
                outputs=self.detector.outputs // pixels,
                lit_left_px=_box(self.detector.lit_left_px, pixels),
                lit_right_px=_box(self.detector.lit_right_px, pixels),
            ),
            filters={name: _binned_filter(row, pixels) for name, row in self.filters.items()},
        )

    def filter(self, name: str | None) -> IrdisFilter:
        """The filter combination of this name.

        Raises DataFailure AP-TAB-004 naming the nearest row.
        """
        found = self.filters.get(name or "")
        if found is None:
            raise _unknown("filter", name, tuple(self.filters))
        return found

    def nd(self, name: str | None) -> NeutralDensity:
        """The neutral density of this name; None, as in files without the keyword, is OPEN.

        Raises DataFailure AP-TAB-004 naming the nearest row.
        """
        found = self.neutral_densities.get(name or "OPEN")
        if found is None:
            raise _unknown("neutral_density", name, tuple(self.neutral_densities))
        return found

    def coronagraph(self, name: str | None) -> Coronagraph | None:
        """The coronagraph of this name, None for one the table does not know."""
        return self.coronagraphs.get(name or "")

    def geometry(self, mjd: float) -> IrdisGeometry:
        """The geometry valid at a time, d UTC.

        Raises DataFailure AP-TAB-004 for a time before the first row.
        """
        for row in self.geometries:
            if row.covers(mjd):
                return row
        raise _unknown("geometry", f"MJD {mjd:.5f}", tuple(row.valid_from.isoformat() for row in self.geometries))

    def is_thermal(self, name: str | None) -> bool:
        """Whether the filter's row says thermal; False for a filter the table does not know."""
        found = self.filters.get(name or "")
        return found is not None and found.thermal

    def filter_name(self, ins1_filt: str | None, ins1_opti2: str | None) -> str | None:
        """The combination that a pair of filter wheels makes, for headers without `INS COMB IFLT`."""
        for row in self.filters.values():
            if row.ins1_filt == ins1_filt and row.ins1_opti2 == ins1_opti2:
                return row.name
        return None


def _binned_filter(row: IrdisFilter, pixels: int) -> IrdisFilter:
    left, right = row.pixel_scale_mas
    # A pixel's index is that of its middle.
    (x0, y0), (x1, y1) = ((_index(x, pixels), _index(y, pixels)) for x, y in row.first_guess_px)
    return msgspec.structs.replace(
        row,
        pixel_scale_mas=(left * pixels, right * pixels),
        pixel_scale_error_mas=row.pixel_scale_error_mas * pixels,
        first_guess_px=((x0, y0), (x1, y1)),
    )


def _index(at: float, pixels: int) -> float:
    return (at - 0.5 * (pixels - 1)) / pixels


def _box(box: tuple[int, int, int, int], pixels: int) -> tuple[int, int, int, int]:
    x0, x1, y0, y1 = (one // pixels for one in box)
    return x0, x1, y0, y1


def _unknown(table: str, name: str | None, rows: tuple[str, ...]) -> DataFailure:
    from difflib import get_close_matches

    near = get_close_matches(name or "", rows, n=1) or list(rows[:1])
    return DataFailure(
        "AP-TAB-004",
        f"no row for {name!r}; the nearest is {near[0] if near else 'none'}",
        subject=f"irdis.toml {table}",
        remedy="add a row with its reference, or correct the header by an override",
    )
