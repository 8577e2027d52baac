"""Values that frames and groups are compared by: manifest columns, and the few derived from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from archive_proc.instruments.tables import Tables
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import FileId
from archive_proc.model.observations import ExposureGroup

Value = str | int | float | None


def column_value(frame: RawFrame, column: str, tables: Tables) -> Value:
    """The value a frame has in a match column, None where the header is silent.

    `inst_filter` falls back on the filter wheels, `nd_filter` on OPEN (old headers leave it out), `ifs_mode` is derived
    from the IFS setup or its prism.
    """
    if column == "ifs_mode":
        return tables.ifs.mode_of(frame.ifs_comb, frame.prism)
    value = getattr(frame, column)
    if value is None:
        if column == "inst_filter" and frame.arm is Arm.IRDIS:
            return tables.irdis.filter_name(frame.ins1_filt, frame.ins1_opti2)
        if column == "nd_filter":
            return "OPEN"
    if isinstance(value, str | int | float):
        return value
    return None if value is None else str(value)


def with_filters(frames: Iterable[RawFrame], tables: Tables) -> tuple[RawFrame, ...]:
    """IRDIS frames whose header lacks `INS COMB IFLT` with the one that their wheels make, in the order given.

    Made once, after header corrections and before anything reads the frames: rules, keys and recipes then see one
    filter. Frames whose wheels make no combination, and all others, are the same objects.
    """
    found = []
    for one in frames:
        name = column_value(one, "inst_filter", tables) if one.inst_filter is None else None
        found.append(replace(one, inst_filter=name) if isinstance(name, str) else one)
    return tuple(found)


def group_value(group: ExposureGroup, column: str, frames: Mapping[FileId, RawFrame], tables: Tables) -> Value:
    """The value of a group in a match column: its key, else its first frame's."""
    for name, value in group.keys:
        if name == column:
            return value
    return column_value(frames[group.file_ids[0]], column, tables)


def values_of(frame: RawFrame, columns: tuple[str, ...], tables: Tables) -> tuple[tuple[str, Value], ...]:
    """(column, value) pairs of a frame, in the order asked for."""
    return tuple((column, column_value(frame, column, tables)) for column in columns)


def filter_of(frame: RawFrame, tables: Tables) -> Value:
    """What a frame was seen through: filter combination, IFS mode, ZIMPOL filter."""
    if frame.arm is Arm.IFS:
        return tables.ifs.mode_of(frame.ifs_comb, frame.prism)
    if frame.arm is Arm.ZIMPOL:
        return frame.zimpol_filter1
    return column_value(frame, "inst_filter", tables)


def is_thermal(frame: RawFrame, tables: Tables) -> bool:
    """Whether the frame's filter row says thermal. The IFS never is."""
    name = column_value(frame, "inst_filter", tables)
    return frame.arm is Arm.IRDIS and isinstance(name, str) and tables.irdis.is_thermal(name)
