"""An archive's own tree: raw roots, one file system, who holds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from archive_proc.execution.doctor.finding import Finding, judged
from archive_proc.execution.lock import holder_of, silence_s
from archive_proc.execution.preflight import roots_gone
from archive_proc.storage.layout import Layout

PART = "archive"


def tree(layout: Layout, raw_roots: Mapping[str, Path]) -> Iterator[Finding]:
    """What a run would find at once."""
    for name, root in sorted(raw_roots.items()):
        yield judged(
            PART,
            f"raw root {name}",
            "AP-RUN-031",
            str(root) if not roots_gone(raw_roots, [name]) else f"{root} is not there, or empty",
            fail=roots_gone(raw_roots, [name]),
            remedy="mount it, or set its directory under [raw_roots] in archive.toml",
        )
    if layout.pending.is_dir() and layout.products.is_dir():
        apart = layout.pending.stat().st_dev != layout.products.stat().st_dev
        yield judged(
            PART,
            "one file system",
            "AP-RUN-034",
            "pending/ and products/ lie on " + ("different file systems" if apart else "one"),
            fail=apart,
            remedy="move both to one file system",
        )
    holder = holder_of(layout)
    silence = silence_s(layout) if holder is not None else None
    said = "nobody" if holder is None else f"`{holder.purpose}`, pid {holder.writer.pid} on {holder.writer.host}"
    beat = f", last heartbeat {silence:.0f} s ago" if silence is not None else ""
    yield judged(
        PART,
        "held by",
        "AP-RUN-001",
        said + beat,
        warn=holder is not None,
        remedy="a second driver is refused: wait for it, or archive-proc cancel",
    )
