"""A driver in a process of its own: `python toy_driver.py DIRECTORY BACKEND WORKERS CHUNK [SLOW] [BEHAVE]`."""

from __future__ import annotations

import sys
from pathlib import Path

from toy_night import night, site

from archive_proc.execution.executor import execute


def main() -> int:
    directory, backend, workers, chunk = sys.argv[1:5]
    behave = sys.argv[5] if len(sys.argv) > 5 else ""
    tonight = night(Path(directory), behave=behave)
    outcome = execute(
        tonight.plan,
        tonight.layout,
        tonight.frames,
        site(backend=backend, workers=int(workers)),
        tonight.options(chunk_planes=int(chunk)),
    )
    return outcome.exit_status


if __name__ == "__main__":
    sys.exit(main())
