"""The catalog as a function of manifests, overrides, decisions, plans, journals and process records.

`publish` reads what is new since the snapshot before (journals from their offset, records not yet known, plans not yet
read) and rewrites only the parts it touches; `rebuild` reads everything. Both end in equal tables: every row depends on
one process, one run or one file alone, and what depends on several (`is_current`) is computed for whole periods.

One compactor at a time: the driver while a run is going, else the verb that holds `locks/driver.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa

from archive_proc.flow.catch_up import CatchUp, catch_up
from archive_proc.flow.frame_rows import frame_tables
from archive_proc.flow.merge import merged_tables
from archive_proc.flow.understanding import Understanding
from archive_proc.instruments.qc_limits import QcLimits
from archive_proc.instruments.tables import load_tables
from archive_proc.model.ids import canonical_json
from archive_proc.storage.atomic import write_bytes
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


def refresh(layout: Layout, state: str, understand: Callable[[], Understanding]) -> Snapshot:
    """Publish what is new, and the understanding's tables only where `state` is not that of the snapshot before.

    `state` stands for all that an understanding is made from. It is kept beside the snapshots as a hint that may be
    deleted at any time, so that a verb that finds nothing new need not make a semester's tables again to see it.
    """
    before, limits = find_current(layout), load_tables().qc
    if before is not None and _hint(before.path.name, state) == _read_hint(layout) and _is_judged_by(before, limits):
        news = catch_up(layout, before)
        if not (news.vanished or news.journals.altered):
            return _hinted(
                layout, state, publish_snapshot(layout, merged_tables(before, news, {}, limits), news.consumed)
            )
    return _hinted(layout, state, publish(layout, understand()))


def _hint(snapshot: str, state: str) -> bytes:
    return canonical_json({"snapshot": snapshot, "state": state})


def _read_hint(layout: Layout) -> bytes:
    try:
        return layout.understood.read_bytes()
    except OSError:
        return b""


def _hinted(layout: Layout, state: str, snapshot: Snapshot) -> Snapshot:
    hint = _hint(snapshot.path.name, state)
    if hint != _read_hint(layout):
        write_bytes(layout.understood, hint)
    return snapshot


def rebuild(layout: Layout, understanding: Understanding, limits: QcLimits | None = None) -> Snapshot:
    """Publish a catalog made from nothing but its sources; equal to one published step by step."""
    return _publish(layout, understanding, None, limits or load_tables().qc)


def _publish(
    layout: Layout, understanding: Understanding | None, before: Snapshot | None, limits: QcLimits
) -> Snapshot:
    if before is not None and understanding is not None and not _is_judged_by(before, limits):
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


def _is_judged_by(snapshot: Snapshot, limits: QcLimits) -> bool:
    """Whether these limits judged a snapshot's quality figures; never where it is older than limits."""
    versions = read_table(snapshot, TABLES["qc_limits"], columns=["limits_version"]).column(0).to_pylist()
    return set(versions) == {limits.version}
