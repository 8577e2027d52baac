"""What makes a stand-in misbehave, for chosen steps of chosen subjects: `bench faults` writes them into a file.

`ARCHIVE_PROC_POISONS` names the file; a site's prologue hands it to the workers. A line is `step subject kind amount`;
a line taken out heals the subject.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from archive_proc.storage.resident_memory import resident_bytes

POISONS = "ARCHIVE_PROC_POISONS"
_MIB = 2**20
_PATIENCE_S = 60.0
"""What nobody ends for so long raises: then the limit that should have struck did not."""
_EATER = "import sys, time\nheld = b'1' * int(sys.argv[1])\ntime.sleep(60)\n"


def _raise(amount: int) -> None:
    raise ValueError("poisoned")


def _segfault(amount: int) -> None:
    ctypes.string_at(0)


def _eat(amount: int) -> None:
    """Grow until the process holds so much, then wait to be ended for it."""
    held: list[bytes] = []
    while resident_bytes() < amount:
        held.append(b"1" * (16 * _MIB))
    time.sleep(_PATIENCE_S)
    raise RuntimeError(f"holds {resident_bytes()} bytes, and nobody ended it")


def _eat_beside(amount: int) -> None:
    """Let a child hold so much: a nanny looks at its worker only, SLURM at the whole job."""
    subprocess.run([sys.executable, "-S", "-E", "-c", _EATER, str(amount)], check=False)
    raise RuntimeError(f"its child held {amount} bytes, and nobody ended the job")


def _hang(amount: int) -> None:
    time.sleep(3600.0)


KINDS: Mapping[str, Callable[[int], None]] = {
    "raise": _raise,
    "segfault": _segfault,
    "memory": _eat,
    "job-memory": _eat_beside,
    "hang": _hang,
}


def misbehave(step: str, subject: str) -> None:
    """Do what the file says for this step of this subject, if it says anything."""
    where = os.environ.get(POISONS)
    if not where or not Path(where).is_file():
        return
    for line in Path(where).read_text().splitlines():
        at, of, kind, amount = line.split(" ")
        if (at, of) == (step, subject):
            KINDS[kind](int(amount))
