"""The catalog as a function of manifests, overrides, decisions, plans, journals and process records.

`publish` reads what is new since the snapshot before (journals from their offset, records not yet known, plans not yet
read) and rewrites only the parts it touches; `rebuild` reads everything. Both end in equal tables: every row depends on
one process, one run or one file alone, and what depends on several (`is_current`) is computed for whole periods.

One compactor at a time: the driver while a run is going, else the verb that holds `locks/driver.json`.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from archive_proc.flow.catch_up import CatchUp, catch_up
from archive_proc.flow.frame_rows import frame_tables
from archive_proc.flow.merge import merged_tables
from archive_proc.flow.understanding import Understanding
from archive_proc.instruments.qc_limits import QcLimits
from archive_proc.instruments.tables import load_tables
from archive_proc.storage.layout import Layout
from archive_proc.storage.snapshots import Snapshot, TableChange, find_current, publish_snapshot, read_table
from archive_proc.storage.tables import TABLES

_SHARED = frozenset({"issues", "recipes"})
"""Tables to which both an understanding and processes add rows."""


def publish(layout: Layout, understanding: Understanding | None = None, limits: QcLimits | None = None) -> Snapshot:
    """Publish what is new since the snapshot before, and the understanding's tables where one is given.

    Without an understanding (during a run) its tables are linked from the snapshot before. Returns that snapshot itself
    where nothing changed. Where other limits than those of this package (or `limits`) judged the snapshot before,
    everything is read and judged anew.
    """
    return _publish(layout, understanding, find_current(layout), limits or load_tables().qc)


def rebuild(layout: Layout, understanding: Understanding, limits: QcLimits | None = None) -> Snapshot:
    """Publish a catalog made from nothing but its sources; equal to one published step by step."""
    return _publish(layout, understanding, None, limits or load_tables().qc)


def _publish(
    layout: Layout, understanding: Understanding | None, before: Snapshot | None, limits: QcLimits
) -> Snapshot:
    if before is not None and understanding is not None and _judged_by(before) != {limits.version}:
        before = None
    frames: Mapping[str, pa.Table] = frame_tables(understanding) if understanding is not None else {}
    news: CatchUp = catch_up(layout, before, listing=understanding is not None)
    if (news.vanished or news.journals.altered) and understanding is not None:
        # Someone took sealed products away (a damaged one, as `verify` advises), or lines of a journal are not what
        # they were: what remains is read from the start.
        before = None
        news = catch_up(layout, None)
    changes = {name: TableChange(rows) for name, rows in frames.items() if name not in _SHARED}
    changes |= merged_tables(before, news, frames, limits)
    return publish_snapshot(layout, changes, news.consumed)


def _judged_by(snapshot: Snapshot) -> set[str]:
    """Versions of the limits that judged a snapshot's quality figures; none where it is older than limits."""
    return set(read_table(snapshot, TABLES["qc_limits"], columns=["limits_version"]).column(0).to_pylist())
