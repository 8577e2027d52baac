"""The page beside a run's journal (`course.json`): written by the driver, read by `status`, needed by nobody.

It goes stale with a killed driver and may be deleted: what it lacks is in the journal behind it.
"""

from __future__ import annotations

import msgspec

from archive_proc.execution.course import FORMAT, RunCourse
from archive_proc.model.ids import RunId
from archive_proc.storage.journal import read_journal
from archive_proc.storage.layout import Layout


def write_page(layout: Layout, course: RunCourse) -> None:
    """Leave the page, whole or not at all. Raises OSError where the disk takes no more."""
    path = layout.run_course(course.run_id)
    beside = path.with_name(path.name + ".tmp")
    try:
        beside.write_bytes(msgspec.json.encode(course))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_page(layout: Layout, run_id: RunId) -> RunCourse | None:
    """The page as it was left; None where there is none that this package reads."""
    try:
        page = msgspec.json.decode(layout.run_course(run_id).read_bytes(), type=RunCourse)
    except (OSError, msgspec.MsgspecError):
        return None
    return page if page.format == FORMAT else None


def read_course(layout: Layout, run_id: RunId) -> RunCourse | None:
    """The page and what the journal says behind it; None where there is no page that fits the journal."""
    page, path = read_page(layout, run_id), layout.journal(run_id)
    try:
        if page is None or path.stat().st_size < page.end:
            return None
    except OSError:
        return None
    tail = read_journal(path, page.end)
    for event in tail.events:
        page.fold(event)
    page.end, page.torn = tail.end, page.torn + tail.torn
    return page
