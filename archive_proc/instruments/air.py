"""The air over the telescope: what water and other gases take out of starlight, and where a spectrum shows how much."""

from __future__ import annotations

from itertools import pairwise

import msgspec

from archive_proc.errors import DataFailure
from archive_proc.instruments.toml_rows import wrong_row


class AirBand(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where spectra of one mode show the strength of water."""

    mode: str
    from_um: float
    to_um: float
    degree: int
    """Of the polynomial that stands for star and instrument there."""
    lines_um: tuple[float, ...] = ()
    """Vacuum: where stars have lines that would pass for the air's."""
    worst_residual: float
    """Relative: where a fit leaves more, something else than the table's air bends the spectrum."""
    place_error_px: float
    """Of the band's place along the dispersion, which the fit does not show."""


class AirDepth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Optical depth of each step: -ln of its mean transmission."""

    water: tuple[float, ...]
    dry: tuple[float, ...]


class AirFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """air.toml."""

    reference: str
    first_edge_um: float
    step_um: float
    """Vacuum."""
    dwarf_lines_um: tuple[tuple[float, ...], ...]
    """Vacuum: groups of equally strong narrow lines that brown dwarfs have, whose light shows no air."""
    depth_error: float
    """Of depths averaged over channels, relative."""
    band: tuple[AirBand, ...]
    depth: AirDepth

    def band_of(self, mode: str) -> AirBand:
        """The band of a mode. Raises DataFailure AP-TAB-004 for a mode without a row."""
        for one in self.band:
            if one.mode == mode:
                return one
        raise DataFailure(
            "AP-TAB-004",
            f"no row for {mode!r}; there are {', '.join(one.mode for one in self.band)}",
            subject="air.toml band",
            remedy="add a row with its reference, or correct the header by an override",
        )


def check_air(table: AirFile, text: str) -> None:
    """As many dry depths as wet ones, none below zero; one band a mode, inside the table.

    Raises MisuseError AP-TAB-003 naming the row.
    """
    depth = table.depth
    if len(depth.water) != len(depth.dry) or not depth.water:
        raise wrong_row(text, "air.toml", ("depth",), "water and dry must have one value a step", "dry")
    if min(*depth.water, *depth.dry) < 0.0:
        raise wrong_row(text, "air.toml", ("depth",), "no depth lies below zero", "water")
    last = table.first_edge_um + table.step_um * len(depth.water)
    for at, band in enumerate(table.band):
        if not table.first_edge_um < band.from_um < band.to_um < last:
            raise wrong_row(text, "air.toml", ("band", at), "it must rise and lie inside the table", "to_um")
    if any(one.mode == other.mode for one, other in pairwise(sorted(table.band, key=lambda band: band.mode))):
        raise wrong_row(text, "air.toml", ("band", 0), "one band a mode", "mode")
