"""Catalog snapshots: directories of Parquet that never change once `catalog/current` names them.

A snapshot is written beside, synced, renamed, and only then named by one rename of the link, so a reader who resolved
the link once sees one state whatever is published meanwhile (notes/storage 4.3). Parts whose bytes did not change are
hard links to the snapshot before; `views.sql` has relative paths only, so a snapshot may be copied anywhere.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from archive_proc.errors import ArchiveProcError, InputError, MisuseError, NotFoundError
from archive_proc.storage.layout import Layout
from archive_proc.storage.tables import PERIOD_COLUMN, TABLES, Table, cast, empty
from archive_proc.storage.views import views_sql
from archive_proc.version import __version__

KEPT_SNAPSHOTS = 20
KEPT_FOR = dt.timedelta(hours=24)
ROW_GROUP = 32_768
"""Rows of a row group: one process of 1.1 million products is found in 8 ms of CPU (notes/storage 4.1)."""
ZSTD_LEVEL = 3
WHOLE = "all"
"""Name of the one part of a table that is not cut by period."""
FORMAT = 1


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One Parquet file of a snapshot."""

    path: str
    """Relative to the snapshot."""
    rows: int
    size: int
    sha256: str


class TableParts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The files of one table."""

    version: int
    """Schema version they were written with."""
    parts: dict[str, Part]
    """By part name: `period=95`, `period=none`, or `all`."""


class Consumed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far the sources of a snapshot were read, so that the next compaction reads only what is new."""

    journals: dict[str, int] = {}
    """Run id to byte offset behind its last whole line."""
    journal_crcs: dict[str, int] = {}
    """Run id to the CRC-32 of all bytes up to there: a line that changed since is noticed."""
    plans: dict[str, tuple[int, int]] = {}
    """Plan id to size and modification time (ns) of its file: a plan saved anew is read anew."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`manifest.json` of a snapshot."""

    format: int
    number: int
    created_at: str
    package_version: str
    tables: dict[str, TableParts]
    consumed: Consumed


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of the catalog: a resolved directory and its manifest."""

    path: Path
    manifest: Manifest

    def files(self, table: str) -> tuple[Path, ...]:
        """The Parquet files of a table, in order of part name."""
        found = self.manifest.tables.get(table)
        return tuple(self.path / found.parts[name].path for name in sorted(found.parts)) if found else ()


@dataclass(frozen=True, slots=True)
class TableChange:
    """New rows of a table: of all of it, or of the named parts only (the others are linked)."""

    rows: pa.Table
    """In the table's schema (`tables.cast`); for named parts, all rows of those parts and no other."""
    parts: frozenset[str] | None = None
    """Part names; None: the whole table."""


def part_name(table: Table, period: int | None) -> str:
    """The part that a row of this ESO period stands in.

    >>> part_name(TABLES["files"], 95), part_name(TABLES["targets"], None)
    ('period=95', 'all')
    """
    if not table.by_period:
        return WHOLE
    return f"period={'none' if period is None else period}"


def open_current(layout: Layout) -> Snapshot:
    """The snapshot that `catalog/current` names, the link resolved once.

    Raises NotFoundError AP-STO-502 where nothing was published yet, InputError AP-STO-503 where it cannot be read,
    MisuseError AP-STO-504 where a newer package wrote it.
    """
    found = find_current(layout)
    if found is None:
        raise NotFoundError(
            "AP-STO-502",
            "this archive has no catalog yet",
            subject=str(layout.root),
            remedy="run `archive-proc ingest PATH`, or `archive-proc rebuild`",
        )
    return found


def find_current(layout: Layout) -> Snapshot | None:
    """As `open_current`, None where nothing was published yet."""
    if not layout.current.is_symlink() and not layout.current.exists():
        return None
    return open_snapshot(Path(os.path.realpath(layout.current)))


def open_snapshot(path: Path) -> Snapshot:
    """A snapshot directory, wherever it stands. Raises InputError AP-STO-503 where it cannot be read."""
    try:
        manifest = msgspec.json.decode((path / "manifest.json").read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(
            "AP-STO-503",
            f"the snapshot has no readable manifest.json ({error})",
            subject=path.name,
            remedy="run `archive-proc rebuild`",
        ) from error
    newer = sorted(name for name, held in manifest.tables.items() if name in TABLES and held.version > _version(name))
    if manifest.format > FORMAT or newer:
        what = f"format {manifest.format}" if manifest.format > FORMAT else f"table {newer[0]}"
        raise MisuseError(
            "AP-STO-504",
            f"the catalog was published by archive_proc {manifest.package_version}: its {what} is newer than this "
            f"package's ({__version__})",
            subject=path.name,
            remedy="use that release, or a newer one; `archive-proc rebuild` makes the catalog of this one anew",
        )
    return Snapshot(path, manifest)


def _version(table: str) -> int:
    return TABLES[table].version


def forget_unreadable(layout: Layout) -> None:
    """Before a rebuild: drop the link to a snapshot that this package cannot read; the snapshot itself stays."""
    try:
        find_current(layout)
    except ArchiveProcError:
        layout.current.unlink(missing_ok=True)


def read_table(
    snapshot: Snapshot,
    table: Table,
    *,
    parts: Collection[str] | None = None,
    columns: list[str] | None = None,
) -> pa.Table:
    """Rows of a table in its schema of today (columns added since are NULL), sorted; some parts or columns if asked.

    With `columns` the rows come as stored, without the cast.
    """
    held = snapshot.manifest.tables.get(table.name)
    names = [name for name in sorted(held.parts) if parts is None or name in parts] if held else []
    if held is None or not names:
        found = empty(table)
        return found.select(columns) if columns else found
    files = [pq.ParquetFile(snapshot.path / held.parts[name].path).read(columns=columns) for name in names]
    if columns:
        return pa.concat_tables([one.replace_schema_metadata(None) for one in files], promote_options="default")
    return cast(table, pa.concat_tables([cast(table, one) for one in files]))


def differing_tables(one: Snapshot, other: Snapshot) -> tuple[str, ...]:
    """Names of the tables whose rows differ, whatever parts and files they stand in."""
    return tuple(name for name, table in TABLES.items() if not read_table(one, table).equals(read_table(other, table)))


def equal_snapshots(one: Snapshot, other: Snapshot) -> bool:
    """Whether two snapshots hold the same rows: what `rebuild gives an equal catalog` means."""
    return not differing_tables(one, other)


def publish_snapshot(
    layout: Layout,
    changes: Mapping[str, TableChange],
    consumed: Consumed,
    *,
    now: dt.datetime | None = None,
) -> Snapshot:
    """Write the next snapshot, name it by one rename of the link, drop snapshots that nobody needs.

    Tables and parts without a change are hard links to the snapshot before; so are rewritten parts whose bytes come
    out equal. Where nothing changed at all, the snapshot before is returned and nothing is written. Only one writer may
    call it at a time (`locks/driver.json`).
    """
    before = find_current(layout)
    moment = now or dt.datetime.now(dt.UTC).replace(tzinfo=None)
    layout.snapshots.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(one.name) for one in layout.snapshots.iterdir() if one.name.isdigit()), default=0)
    building = layout.snapshots / f"{number:06d}.tmp"
    for stump in layout.snapshots.glob("*.tmp"):
        shutil.rmtree(stump)
    for stump in layout.catalog.glob("current.*.tmp"):  # killed between link and rename
        stump.unlink()
    building.mkdir()
    try:
        return _publish(layout, building, changes, consumed, before, moment)
    except OSError:
        # A full disk, most often: what was begun would only take the room that is needed to end in good order.
        shutil.rmtree(building, ignore_errors=True)
        raise


def _publish(
    layout: Layout,
    building: Path,
    changes: Mapping[str, TableChange],
    consumed: Consumed,
    before: Snapshot | None,
    moment: dt.datetime,
) -> Snapshot:
    number = int(building.stem)
    tables = {name: _write_table(building, table, changes.get(name), before) for name, table in TABLES.items()}
    if before and tables == before.manifest.tables and consumed == before.manifest.consumed:
        shutil.rmtree(building)
        return before
    _write(building / "views.sql", views_sql(_paths(tables)).encode())
    manifest = Manifest(FORMAT, number, moment.isoformat(timespec="seconds"), __version__, tables, consumed)
    _write(building / "manifest.json", msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    _sync_directory(building)
    final = layout.snapshots / f"{number:06d}"
    building.rename(final)
    _sync_directory(layout.snapshots)
    _point(layout, final)
    _drop_old(layout, number, moment)
    return Snapshot(Path(os.path.realpath(final)), manifest)


def _paths(tables: Mapping[str, TableParts]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(one.parts[key].path for key in sorted(one.parts)) for name, one in tables.items()}


def _write_table(building: Path, table: Table, change: TableChange | None, before: Snapshot | None) -> TableParts:
    held = before.manifest.tables.get(table.name) if before else None
    if held is not None and held.version != table.version:
        # Every part of a snapshot has the columns of its schema version, so that a view never lacks one.
        rows = change.rows if change and change.parts is None else _merged(before, table, change)
        change, held = TableChange(rows), None
    directory = building / table.name
    directory.mkdir()
    parts: dict[str, Part] = {}
    if held is not None and before is not None:
        replaced = frozenset[str]() if change is None else change.parts
        for name, part in held.parts.items():
            if replaced is not None and name not in replaced:
                _link(before.path / part.path, building / part.path)
                parts[name] = part
    if change is not None or not parts:
        fresh = _cut(table, change.rows if change else empty(table), need_one=not parts)
        for name, rows in fresh.items():
            parts[name] = _write_part(building, table, name, rows, held, before)
    if len(parts) > 1:
        parts = _without_placeholder(building, parts)
    _sync_directory(directory)
    return TableParts(table.version, dict(sorted(parts.items())))


def _merged(before: Snapshot | None, table: Table, change: TableChange | None) -> pa.Table:
    if before is None:
        return change.rows if change else empty(table)
    held = before.manifest.tables[table.name].parts
    kept = [name for name in held if change is None or change.parts is None or name not in change.parts]
    rows = read_table(before, table, parts=kept)
    return pa.concat_tables([rows, change.rows]) if change else rows


def _cut(table: Table, rows: pa.Table, *, need_one: bool) -> dict[str, pa.Table]:
    """Rows by part. An empty table keeps one empty part, so that its view has columns."""
    if not table.by_period:
        return {WHOLE: rows}
    periods = rows.column(PERIOD_COLUMN)
    found = {
        part_name(table, one): rows.filter(pc.is_null(periods) if one is None else pc.equal(periods, one))
        for one in pc.unique(periods).to_pylist()
    }
    return found or ({part_name(table, None): rows} if need_one else {})


def _without_placeholder(building: Path, parts: dict[str, Part]) -> dict[str, Part]:
    kept = {name: part for name, part in parts.items() if part.rows}
    for name, part in parts.items():
        if name not in kept:
            (building / part.path).unlink()
    return kept


def _write_part(
    building: Path, table: Table, name: str, rows: pa.Table, held: TableParts | None, before: Snapshot | None
) -> Part:
    sink = io.BytesIO()
    # One chunk: the bytes must depend on the rows, not on how many tables they were joined from.
    pq.write_table(
        rows.combine_chunks(), sink, compression="zstd", compression_level=ZSTD_LEVEL, row_group_size=ROW_GROUP
    )
    data = sink.getbuffer()
    part = Part(f"{table.name}/{name}.parquet", rows.num_rows, len(data), hashlib.sha256(data).hexdigest())
    old = held.parts.get(name) if held else None
    if old == part and before is not None:
        _link(before.path / part.path, building / part.path)
    else:
        _write(building / part.path, data)
    return part


def _link(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except OSError:
        # Some file systems have no hard links; the whole catalog is tens of MB.
        shutil.copy2(old, new)


def _write(path: Path, content: bytes | memoryview) -> None:
    # x: a name that stands already is a hard link into the snapshot before, and writing would change that one too.
    with path.open("xb") as sink:
        sink.write(content)
        sink.flush()
        os.fsync(sink.fileno())
    path.chmod(0o444)


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _point(layout: Layout, snapshot: Path) -> None:
    fresh = layout.catalog / f"current.{os.getpid()}.tmp"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(Path("snapshots") / snapshot.name)
    _rename_link(fresh, layout.current)
    _sync_directory(layout.catalog)


def _rename_link(fresh: Path, current: Path) -> None:
    fresh.replace(current)


def _drop_old(layout: Layout, newest: int, now: dt.datetime) -> None:
    for path in layout.snapshots.iterdir():
        if not path.name.isdigit() or int(path.name) > newest - KEPT_SNAPSHOTS:
            continue
        try:
            made = dt.datetime.fromisoformat(open_snapshot(path).manifest.created_at)
        except InputError:
            # Nobody can read it, so nobody misses it.
            made = now - 2 * KEPT_FOR
        if now - made > KEPT_FOR:
            shutil.rmtree(path)
