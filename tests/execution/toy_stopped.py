"""A driver that will be stopped by a signal: one long observation in chunks."""

from __future__ import annotations

import sys
from pathlib import Path

from toy_night import night, site

from archive_proc.execution.executor import execute


def main() -> int:
    tonight = night(Path(sys.argv[1]), science=(200,), behave="slow:0.1")
    return execute(
        tonight.plan,
        tonight.layout,
        tonight.frames,
        site(backend=sys.argv[2], workers=2),
        tonight.options(chunk_planes=16),
    ).exit_status


if __name__ == "__main__":
    sys.exit(main())
