"""The same waiting by a SLURM array of chunks: no driver, no record, no dependencies; for comparison."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path

from archive_proc.errors import ArchiveProcError
from archive_proc.execution.slurm_queries import answer, submit

NAME = "SLURM array of chunks"
CHUNKS_A_WORKER = 3
"""So many elements follow each other on a worker, as where their lengths are not known beforehand."""
_ASK_EVERY_S = 1.0
_GIVE_UP_S = 600.0
"""A queue that has not let the elements through by then."""
_WAIT = """\
import sys, time
from pathlib import Path
place, seconds, n = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
begun = float(sys.argv[4])
for _ in range(n):
    time.sleep(seconds)
place.with_suffix(".tmp").write_text(f"{begun} {time.time()}")
place.with_suffix(".tmp").rename(place)
"""


def script_of(work: Path, workers: int, processes: int, each_s: float) -> str:
    """The array's script: elements of one interpreter each, so many at a time as there are workers."""
    elements = CHUNKS_A_WORKER * workers
    words = [sys.executable, str(work / "wait.py"), f"{work}/element"]
    return "\n".join(
        (
            "#!/bin/sh",
            "#SBATCH --job-name=bench-engine --ntasks=1 --cpus-per-task=1 --mem=200M --time=00:10:00",
            f"#SBATCH --array=1-{elements}%{workers} --output=/dev/null",
            "begun=$(date +%s.%N)",
            f"exec {shlex.join(words)}-$SLURM_ARRAY_TASK_ID {each_s} {processes // elements} $begun",
            "",
        )
    )


def array_efficiency(work: Path, workers: int, processes: int, each_s: float) -> float | None:
    """The processes' own time over the workers', from the first element's begin to the last one's end.

    None where there is no SLURM, or one that did not do it. `work`: a directory that its nodes see.
    """
    if answer(["sinfo", "--noheader"]) is None:
        return None
    work.mkdir(parents=True, exist_ok=True)
    (work / "wait.py").write_text(_WAIT)
    script = work / "array.sh"
    script.write_text(script_of(work, workers, processes, each_s))
    try:
        job = submit(script)
    except ArchiveProcError:
        return None
    elements = CHUNKS_A_WORKER * workers
    until = time.monotonic() + _GIVE_UP_S
    waits = True
    while waits and time.monotonic() < until:
        time.sleep(_ASK_EVERY_S)
        queued = answer(["squeue", "--noheader", "--jobs", job])
        waits = queued is None or bool(queued[0].strip())
    answer(["scancel", "--quiet", job])
    found = [one for one in work.glob("element-*") if one.suffix != ".tmp"]
    if len(found) < elements:
        return None
    spans = [tuple(map(float, one.read_text().split())) for one in found]
    held = workers * (max(end for _, end in spans) - min(begin for begin, _ in spans))
    return elements * (processes // elements) * each_s / held
