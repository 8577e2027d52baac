"""What lives as long as a run, out of the collector's sight.

The plan and the states of 100,000 processes are millions of objects without a cycle among them. Python looks through
all of them again whenever the young ones have grown by a quarter, in whichever thread makes the next one.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def frozen(*, large: bool) -> Iterator[None]:
    """Inside, the collector looks at nothing that was there before; only where that is `large`."""
    if not large:
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
