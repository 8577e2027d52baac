"""Two drivers on one archive, a lease left by the dead, and readers while snapshots are published."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from archive_proc.bench.faults.case import Case
from archive_proc.bench.faults.children import Ended
from archive_proc.bench.faults.grounds import Grounds, measure, seals
from archive_proc.bench.faults.kills import in_flight
from archive_proc.catalog.query import query
from archive_proc.execution.lock import holder_of
from archive_proc.storage.layout import Layout

SITE = "faults-serial"
STEPS = ("dark", "instrument_background", "detector_flat", "sky_basis", "irdis_science_cube")
CONSISTENT = """
SELECT
  (SELECT count(*) FROM products LEFT JOIN processes q USING (process_id) WHERE q.committed_at IS NULL) AS torn,
  (SELECT count(*) FROM process_inputs LEFT JOIN processes q USING (process_id) WHERE q.process_id IS NULL) AS loose
"""


def two_drivers(grounds: Grounds, count: int, rng: random.Random) -> Iterator[Case]:
    """Start two: at the same instant, or the second at a random moment of the first."""
    wall = measure(grounds, SITE)
    for number in range(count):
        root = grounds.copy()
        first = grounds.start(root, "--quiet", "run", "--site", SITE)
        if number % 2:
            _until_held(root, wall)
            time.sleep(rng.uniform(0.0, 0.3) * wall)
        second = grounds.start(root, "--quiet", "run", "--site", SITE)
        ended = [first.finish(), second.finish()]
        statuses = sorted(one.status for one in ended)
        wrong = []
        refused = [one for one in ended if one.status == 6]
        if statuses not in ([0, 6], [0, 0]) or (statuses == [0, 0] and not _one_after_the_other(ended[1].out)):
            wrong.append(f"exits {statuses}: {' '.join(one.err.strip()[-200:] for one in ended)}")
        if refused and not ("AP-RUN-001" in refused[0].err and f"pid {_other(first.pid, second.pid, ended)}" in
                            refused[0].err):  # fmt: skip
            wrong.append(f"the holder is not named: {refused[0].err.strip()}")
        wrong += grounds.wrong(root, seals(root))
        yield Case(
            kind="two drivers",
            what="the second during the first" if number % 2 else "at the same instant",
            found=f"exits {statuses}",
            beyond=grounds.beyond(root),
            bound=in_flight(),
            wrong=tuple(wrong),
        )
        grounds.remove(root)


def _until_held(root: Path, wall: float) -> None:
    until = time.monotonic() + 10 * wall
    while holder_of(Layout(root)) is None and time.monotonic() < until:
        time.sleep(0.01)


def _one_after_the_other(out: str) -> bool:
    return "nothing to do" in out


def _other(first: int, second: int, ended: Sequence[Ended]) -> int:
    return first if ended[1].status == 6 else second


def readers(grounds: Grounds, rounds: int) -> Iterator[Case]:
    """Poll `query` while one run after the other publishes its beginning and its end, for as many product types."""
    root = grounds.copy()
    steps = [("--quiet", "run", "--site", SITE, "--to", one) for one in STEPS[:rounds]]
    reads, wrong, seen = 0, [], set()
    for words in (*steps, ("--quiet", "run", "--site", SITE), ("rebuild",)):
        process = grounds.start(root, *words)
        while process.poll() is None:
            seen.add((Layout(root).current).resolve().name)
            try:
                (row,) = query(Layout(root), CONSISTENT).to_pylist()
            except Exception as error:
                # Whatever it is: a reader must never see publishing.
                wrong.append(f"a reader failed: {type(error).__name__}: {error}")
                continue
            reads += 1
            if row["torn"] or row["loose"]:
                wrong.append(f"two snapshots mixed: {row}")
        ended = process.finish()
        if ended.status:
            wrong.append(f"{words}: {ended.said}")
    wrong += grounds.wrong(root, seals(root))
    grounds.remove(root)
    found = "every read consistent" if not wrong else "inconsistent reads"
    what = f"{reads} reads over {len(seen)} snapshots"
    yield Case(kind="reader while publishing", what=what, found=found, wrong=tuple(wrong[:3]))
