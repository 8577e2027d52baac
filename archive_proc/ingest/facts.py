"""From a header scan to the manifest's row: a RawFrame, or the reason why the file is none."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archive_proc.errors import InputError
from archive_proc.ingest.cards import number_of
from archive_proc.ingest.names import canonical_file_id, file_id_at
from archive_proc.ingest.scan import HeaderScan
from archive_proc.ingest.values import column_values, lamps_on, time_of
from archive_proc.model.calendar import (
    MJD_EPOCH,
    mjd_of,
    night_of,
    one_year_later,
    period_of,
    programme_period,
    programme_type,
)
from archive_proc.model.cards import Card
from archive_proc.model.frames import Arm, HeaderCard, RawFrame
from archive_proc.model.ids import FileId

PARSER_VERSION = "1"
"""Raised when the same header gives another row: `ingest` then reads files again although they did not change."""

_DAY_S = 86400.0
_ARMS = tuple(Arm)
"""Held: iterating an enum class costs more than reading ten keywords."""


@dataclass(frozen=True, slots=True)
class NotRaw:
    """A file that is no raw SPHERE frame: counted and named, not an error."""

    uri: str
    why: str
    """`not FITS (.npz)`, `another instrument (NACO)`, `a reduced product (...)`."""


def raw_frame(
    scan: HeaderScan, *, uri: str, size_bytes: int | None = None, mtime: float | None = None
) -> RawFrame | NotRaw:
    """The manifest row of a scanned file: all columns, NULL (None) where the header says nothing usable.

    `size_bytes` and `mtime` default to the scan's own. `mjd_end` is the end of the last plane present at the planned
    spacing (`SEQ1 EXPTIME / NDIT`, else `(FRAM UTC - DATE-OBS) / NDIT`, else DIT): an aborted cube ends early.

    Raises InputError AP-ING-008 when a SPHERE frame says neither when nor with which arm it was taken.
    """
    values = scan.values
    foreign = _why_not_raw(scan, values)
    if foreign:
        return NotRaw(uri, foreign)
    problems = list(scan.problems)
    columns = column_values(scan.parsed, problems)
    start, mjd = _start(scan, values, problems)
    file_id = _file_id(scan, values, start, problems)
    arm = _arm(scan, values)
    axes = scan.structure.axes
    row: dict[str, Any] = {  # Any: one dictionary of the dataclass's own field types
        **columns,
        "file_id": file_id,
        "content_id": scan.content_id,
        "uri": uri,
        "compression": scan.compression,
        "declared_bytes": scan.structure.declared_bytes,
        "data_offset": scan.structure.data_offset,
        "truncated": scan.structure.truncated,
        "size_bytes": scan.size_bytes if size_bytes is None else size_bytes,
        "mtime": scan.mtime if mtime is None else mtime,
        "arm": arm,
        "date_obs": start,
        "mjd_obs": mjd,
        "night": night_of(start),
        "naxis1": axes[0] if axes else None,
        "naxis2": axes[1] if len(axes) > 1 else None,
        "naxis3": axes[2] if len(axes) > 2 else None,
        "bitpix": scan.structure.bitpix if axes else None,
        "bzero": _scaling(values, "BZERO", 0.0, problems),
        "bscale": _scaling(values, "BSCALE", 1.0, problems),
        "lamp": lamps_on(scan.parsed),
        "n_cards": len(scan.cards),
        "header_sha256": scan.header_sha256,
        "parser_version": PARSER_VERSION,
    }
    dit = row["dit_s"]
    if dit is None and arm is not Arm.SPARTA:
        # EXPTIME equals the DIT in SPHERE headers (trap 1).
        dit = row["dit_s"] = _positive(values, "EXPTIME")
        problems.append("DET SEQ1 DIT: missing" + ("" if dit is None else ", EXPTIME stands in"))
    row["dit_ms"] = None if dit is None else round(1000 * dit)
    row["period_date"] = period_of(row["night"])
    row["period_prog"] = programme_period(row["prog_id"])
    row["prog_type"] = programme_type(row["prog_id"])
    row["release_date"] = one_year_later(start) if row["dpr_catg"] == "SCIENCE" else start
    row["mjd_end"] = _end(mjd, row)
    row["problems"] = tuple(sorted(set(problems)))
    return RawFrame(**row)


def header_cards(scan: HeaderScan, file_id: FileId) -> tuple[HeaderCard, ...]:
    """Every card of the header in its order, for the long table."""
    return tuple(
        HeaderCard(file_id, position, card.key, card.value, card.comment) for position, card in enumerate(scan.cards)
    )


def _why_not_raw(scan: HeaderScan, values: Mapping[str, Card]) -> str:
    instrument = values.get("INSTRUME")
    if instrument is None or not instrument.value.upper().startswith("SPHERE"):
        return f"another instrument ({instrument.value[:20]})" if instrument else "FITS without INSTRUME"
    axes = scan.structure.axes
    if "PRO CATG" in values:
        return f"a reduced product (PRO CATG {values['PRO CATG'].value[:40]})"
    if len(axes) > 3:
        return f"a reduced product ({len(axes)} axes)"
    window = tuple(values[key].value for key in ("DET SEQ1 WIN NX", "DET SEQ1 WIN NY") if key in values)
    if axes and len(window) == 2 and tuple(str(axis) for axis in axes[:2]) != window:
        return f"a reduced product ({axes[:2]} pixels, the detector read {window[0]} x {window[1]})"
    return ""


def _start(scan: HeaderScan, values: Mapping[str, Card], problems: list[str]) -> tuple[dt.datetime, float]:
    stated = values.get("DATE-OBS")
    start = time_of(stated.value) if stated else None
    card = values.get("MJD-OBS")
    number = number_of(card.value) if card else None
    mjd = float(number) if number is not None and 0 < number < 200000 else None
    if start is None and mjd is not None:
        problems.append("DATE-OBS: missing or no ISO time, MJD-OBS stands in")
        start = MJD_EPOCH + dt.timedelta(days=mjd)
    if start is None:
        named = canonical_file_id(values["ARCFILE"].value if "ARCFILE" in values else scan.path.name)
        start = time_of(named.removeprefix("SPHER.")) if named else None
        problems.append("DATE-OBS: missing, the archive name stands in")
    if start is None:
        raise _unidentified(scan, "neither DATE-OBS nor MJD-OBS nor an archive name says when it was taken")
    if mjd is None:
        problems.append("MJD-OBS: missing, DATE-OBS stands in")
    elif abs(mjd - mjd_of(start)) * _DAY_S > 1.0:
        problems.append("MJD-OBS: more than 1 s from DATE-OBS")
    # The two are one time written twice; DATE-OBS has the digits that MJD-OBS rounds away.
    return start, mjd_of(start)


def _file_id(scan: HeaderScan, values: Mapping[str, Card], start: dt.datetime, problems: list[str]) -> FileId:
    stated = canonical_file_id(values["ARCFILE"].value) if "ARCFILE" in values else None
    named = canonical_file_id(scan.path.name)
    if stated and named and stated != named:
        problems.append(f"ARCFILE: {stated} differs from the file's name")
    return stated or named or file_id_at(start)


def _arm(scan: HeaderScan, values: Mapping[str, Card]) -> Arm:
    for key in ("SEQ ARM", "DET ID"):
        word = values[key].value.upper() if key in values else ""
        for arm in _ARMS:
            if word.startswith(arm.value):
                return arm
    raise _unidentified(scan, "neither SEQ ARM nor DET ID names IRDIS, IFS, ZIMPOL or SPARTA")


def _unidentified(scan: HeaderScan, why: str) -> InputError:
    return InputError(
        "AP-ING-008",
        f"SPHERE frame cannot be identified: {why}",
        subject=str(scan.path),
        remedy="fetch the file again, or leave it out",
    )


def _scaling(values: Mapping[str, Card], key: str, default: float, problems: list[str]) -> float:
    if key not in values:
        return default
    number = number_of(values[key].value)
    if number is None:
        problems.append(f"{key}: no number, {default} stands in")
        return default
    return float(number)


def _positive(values: Mapping[str, Card], key: str) -> float | None:
    number = number_of(values[key].value) if key in values else None
    return float(number) if number is not None and number >= 0 else None


def _end(mjd: float, row: Mapping[str, Any]) -> float:  # Any: as `row` above
    planned: int = row["ndit"] or row["naxis3"] or 1
    closed: dt.datetime | None = row["frame_utc_end"]
    written = None if closed is None else (closed - row["date_obs"]).total_seconds()
    if not row["naxis1"] or not row["naxis2"]:
        return mjd + max(written or 0.0, 0.0) / _DAY_S
    present: int = 1 if row["naxis3"] is None else row["naxis3"]
    total: float | None = row["seq_exptime_s"]
    if total:
        spacing = total / planned
    elif written is not None and written > 0:
        spacing = written / planned
    else:
        spacing = float(row["dit_s"] or 0.0)
    return mjd + present * spacing / _DAY_S
