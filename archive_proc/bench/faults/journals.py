"""Journals that lost their tail, hold half a line, or a line with a flipped bit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from archive_proc.bench.faults.case import Case
from archive_proc.bench.faults.grounds import Grounds, seals
from archive_proc.bench.faults.kills import in_flight
from archive_proc.storage.journal import iter_journals

SITE = "faults-serial"
TEARS = ("cut", "half a line", "flipped", "noise")


def torn_journals(grounds: Grounds, count: int, rng: random.Random) -> Iterator[Case]:
    """Kill a run, tear its journal, give the same command: no product is lost, and nothing is made twice."""
    for number in range(count):
        how = TEARS[number % len(TEARS)]
        root = grounds.copy()
        grounds.run(root, SITE, grounds.killing(root, "done", rng.randint(2, 6)))
        journal = _newest(root)
        what = _tear(journal, how, rng)
        yield _continued(grounds, root, "torn journal, killed run", f"{how}: {what}")


def lost_lines(grounds: Grounds, finished: Path, count: int, rng: random.Random) -> Iterator[Case]:
    """Tear the journal of a run that had ended and was published."""
    for number in range(count):
        how = TEARS[number % len(TEARS)]
        root = grounds.copy(finished)
        what = _tear(_newest(root), how, rng)
        yield _continued(grounds, root, "torn journal, published run", f"{how}: {what}")


def _newest(root: Path) -> Path:
    return list(iter_journals(root / "runs"))[-1][1]


def _tear(journal: Path, how: str, rng: random.Random) -> str:
    content = journal.read_bytes()
    at = rng.randrange(max(0, len(content) - 900), len(content))
    match how:
        case "cut":
            journal.write_bytes(content[:at])
        case "half a line":
            lines = content.rstrip(b"\n").rsplit(b"\n", 1)
            journal.write_bytes(content + lines[-1][: len(lines[-1]) // 2])
        case "flipped":
            flipped = bytearray(content)
            flipped[at] ^= 1 << rng.randrange(8)
            journal.write_bytes(bytes(flipped))
        case _:
            journal.write_bytes(content + rng.randbytes(200))
    return f"byte {at} of {len(content)}"


def _continued(grounds: Grounds, root: Path, kind: str, what: str) -> Case:
    before = seals(root)
    ended = grounds.run(root, SITE)
    wrong = [] if ended.status == 0 else [f"the same command: {ended.said}: {ended.err.strip()[-300:]}"]
    found = grounds.call(root, "verify", "--deep")
    told = "torn line noted" if "AP-CAT-026" in found.out else "no torn line left"
    wrong += grounds.wrong(root, before)
    case = Case(
        kind=kind,
        what=what,
        found=f"{ended.said}, {told}",
        beyond=grounds.beyond(root),
        bound=in_flight(),
        wrong=tuple(wrong),
    )
    grounds.remove(root)
    return case
