"""CPU and peak memory of one small piece of work, and what the archive's readers say about one file."""

from __future__ import annotations

import os
import resource
import time
import traceback
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from archive_proc.association.classify import classify
from archive_proc.errors import ArchiveProcError
from archive_proc.ingest import frame_issues, raw_frame, scan_header
from archive_proc.ingest.facts import NotRaw
from archive_proc.instruments.tables import Tables, load_tables
from archive_proc.model.frames import RawFrame
from archive_proc.storage.fits import read_planes
from archive_proc.storage.headers import header_batch
from archive_proc.storage.manifests import frames_to_table, table_to_frames
from archive_proc.storage.resident_memory import forget_peak, peak_bytes, resident_bytes

_SIZE = Path("/proc/self/statm")
_TRACEBACK = 1200


@dataclass(frozen=True, slots=True)
class Cost:
    """What one piece of work cost."""

    cpu_s: float
    """This process and the programs it started."""
    peak_bytes: int
    """Resident memory above what there was before; 0 where the system does not tell."""


class Meter:
    """Measures from its making to `cost()`."""

    def __init__(self) -> None:
        # Where a new peak cannot begin, the difference is a lower bound.
        self._before = resident_bytes() if forget_peak() else peak_bytes()
        self._begun = _cpu_s()

    def cost(self) -> Cost:
        """Since the meter was made."""
        return Cost(_cpu_s() - self._begun, max(0, peak_bytes() - self._before))


def _cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def limit_memory(more_bytes: int) -> None:
    """Let this process have so many bytes more than now: asking for more raises MemoryError."""
    pages = int(_SIZE.read_text().split()[0]) if _SIZE.exists() else 0
    most = pages * os.sysconf("SC_PAGE_SIZE") + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def answer(path: Path, *, scan_only: bool = False) -> tuple[str, str]:
    """What ingest, the rules and the pixel reader say about a file: (word, traceback of what escaped).

    `scan_only`: ingest's part alone, cards for the header table included.

    The word is the code of a coded error, `read`, `problems`, `truncated`, `not raw`, or `ESCAPE <type>`.
    """
    try:
        with warnings.catch_warnings():
            # A warning that a user would see is an escape too.
            warnings.simplefilter("error")
            return _answer(path, scan_only), ""
    except ArchiveProcError as error:
        return error.code, ""
    except BaseException as error:  # whatever it is, it is what this looks for
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        text = "".join(traceback.format_exception(error))
        return f"ESCAPE {type(error).__name__}", text[-_TRACEBACK:]


def _answer(path: Path, scan_only: bool) -> str:
    scan = scan_header(path)
    found = raw_frame(scan, uri=f"raw/{path.name}")
    header_batch([("SPHER.2000-01-01T00:00:00.000", "raw", 0, scan.cards)])  # type: ignore[list-item]  # any id
    if isinstance(found, NotRaw):
        return "not raw"
    if not scan_only:
        _follow(path, found)
    if found.truncated:
        return "truncated"
    return "problems" if found.problems else "read"


@cache
def _tables() -> Tables:
    return load_tables()


def _follow(path: Path, frame: RawFrame) -> None:
    """The rest of the way: manifest, issues, rules; the last plane, then first, middle and last."""
    (back,) = table_to_frames(frames_to_table([frame]))
    if back != frame:
        raise AssertionError("the manifest's row reads back differently")
    frame_issues([frame])
    classify([frame], _tables())
    for wanted in ([frame.n_planes - 1], [0, frame.n_planes // 2, frame.n_planes - 1]):
        if frame.n_planes:
            read_planes(path, frame, wanted)
