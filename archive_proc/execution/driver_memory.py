"""What a driver takes that is a job of its own: for its plan, and for the process that makes the catalog beside it."""

from __future__ import annotations

from archive_proc.storage.layout import Layout

_BASE_GB, _RAW_FILE_GB = 0.7, 16e-6
"""Of a driver's job: what it takes at all, and more for every raw file that the archive knows. One semester (31,000
files) is planned in 0.55 GB (`bench catalog`), and the process that makes its catalog beside the driver takes another
0.52 (`bench engine --processes 8000`); eleven are planned in 3.0, and both leave a tenth to spare.
"""


def driver_needs_gb(raw_files: int) -> float:
    """Memory of a driver's job, GB (10^9 bytes), in an archive that knows so many raw files.

    In tenths, as messages say it: a profile that asks for what it was told to is not refused again.

    >>> driver_needs_gb(31_000), driver_needs_gb(344_000)
    (1.2, 6.2)
    """
    return round(_BASE_GB + _RAW_FILE_GB * raw_files, 1)


def known_raw_files(layout: Layout) -> int:
    """Raw files that the catalog knows; 0 before there is one."""
    # Here: it loads pyarrow, and `status`, which asks for detached drivers, has no need of that.
    from archive_proc.storage.snapshots import find_current

    known = find_current(layout)
    return sum(one.rows for one in known.manifest.tables["files"].parts.values()) if known is not None else 0
