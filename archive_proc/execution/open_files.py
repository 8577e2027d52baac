"""Files that a driver may have open: its scheduler holds a connection to every worker."""

from __future__ import annotations

import resource

_BASE, _A_WORKER = 512, 4
"""Of the driver itself, and for each worker: 1,805 were open with 700 of them (`bench engine --simulated 1000`), and
one that is replaced is there twice for a while."""
NO_LIMIT = 2**31
"""More than anybody has open."""


def files_needed(workers: int) -> int:
    """How many a driver of so many workers may have open at once."""
    return _BASE + _A_WORKER * workers


def files_allowed() -> int:
    """How many this process may have open, once it has asked for more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return NO_LIMIT if hard == resource.RLIM_INFINITY else hard


def allow_files(workers: int) -> None:
    """Ask for as many as a driver of so many workers needs, as far as the hard limit goes; never for fewer.

    Login nodes grant 1,024 unless they are asked. Jobs that are submitted from then on inherit the limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(files_needed(workers), files_allowed())
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
