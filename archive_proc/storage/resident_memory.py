"""Memory of this process that is in RAM, now and at its peak, as the kernel counts it.

Not `ru_maxrss` where the kernel tells more: that of a started program begins with the size of the process that started
it, and nothing resets it.
"""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
from pathlib import Path

_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_CLEAR_PEAK = "5"
"""Written to /proc/self/clear_refs, resets the peak of the resident size (proc(5))."""


def give_back() -> bool:
    """Hand memory that was freed back to the system. False where the allocator cannot.

    Arrays of a few megabytes come from the heap once one such array was freed (mallopt(3), M_MMAP_THRESHOLD), and what
    lies free between others stays with the process: a worker would carry half a gigabyte from one task to the next.
    """
    with contextlib.suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).malloc_trim(0))
    return False


def forget_peak() -> bool:
    """Let a new peak begin now. False where the system cannot: the peak stays that of the process' whole life."""
    with contextlib.suppress(OSError):
        _FORGET.write_text(_CLEAR_PEAK)
        return True
    return False


def peak_bytes() -> int:
    """Largest resident size of this process since `forget_peak`, or of its whole life.

    What the process held before counts: a bound on a piece of work can be read off it only in a process of its own.
    """
    if (found := _status_bytes("VmHWM:")) is not None:
        return found
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts kilobytes, macOS bytes.
    return peak if sys.platform == "darwin" else peak * 1024


def resident_bytes() -> int:
    """Resident size of this process now; 0 where the system does not tell."""
    return _status_bytes("VmRSS:") or 0


def _status_bytes(key: str) -> int | None:
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None
