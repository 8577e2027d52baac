"""How far the clock of a file system is from this host's."""

from __future__ import annotations

import contextlib
import time
import uuid
from pathlib import Path


def skew_s(directory: Path) -> float:
    """Seconds that the file system is ahead of this host, 0 within what the look itself took.

    Raises OSError where nothing can be written.
    """
    probe = directory / f".clock-{uuid.uuid4().hex}"
    try:
        before = time.time()
        probe.touch()
        written = probe.stat().st_mtime
        after = time.time()
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    if before <= written <= after:
        return 0.0
    return written - after if written > after else written - before
