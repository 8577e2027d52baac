"""dask-jobqueue without what its import does to the process.

It sets a handler of its own for SIGINT, which leaves with status 0 at once: Ctrl-C would end a run without a word, its
state unsaved. It is imported when a run has begun, so whatever handler stands then is put back.
"""

from __future__ import annotations

import signal

from archive_proc.errors import PreconditionError

_before = signal.getsignal(signal.SIGINT)
try:
    from dask_jobqueue.slurm import SLURMCluster, SLURMJob
except ImportError:
    raise PreconditionError(
        "AP-RUN-040", "dask-jobqueue is not installed", subject="site", remedy="pip install '.[slurm]'"
    ) from None
finally:
    if signal.getsignal(signal.SIGINT) is not _before:
        signal.signal(signal.SIGINT, _before)

__all__ = ["SLURMCluster", "SLURMJob"]
