"""Clocks that are an hour off, and that step in the midst of a run: order and results must not follow them."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from archive_proc.archive import Archive
from archive_proc.bench import shifted_clock
from archive_proc.bench.faults.case import Case
from archive_proc.bench.faults.children import Ended
from archive_proc.bench.faults.grounds import Grounds, measure, seals
from archive_proc.bench.faults.kills import in_flight
from archive_proc.errors import PreconditionError
from archive_proc.storage.runs import run_ids

SITES = ("faults-serial", "faults")
_LIBRARIES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1")


def fake_clock(shift: str) -> Mapping[str, str]:
    """The environment in which a process sees the system clock shifted (`-1h`); its monotonic clock stays true.

    Raises PreconditionError AP-SIM-008 where libfaketime is not installed.
    """
    found = [path for pattern in _LIBRARIES for path in Path("/").glob(pattern.lstrip("/"))]
    if not found:
        raise PreconditionError(
            "AP-SIM-008",
            "libfaketime is not installed",
            subject="bench faults",
            remedy="install the package `faketime`",
        )
    return {"LD_PRELOAD": str(found[0]), "FAKETIME": shift, "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}


def off_clocks(grounds: Grounds, count: int, rng: random.Random) -> Iterator[Case]:
    """A run killed under one clock, continued under another, and once more under a third: hours apart, out of order."""
    shifts = ("+1h", "-1h", "-2h", "+0")
    for number in range(count):
        root = grounds.copy()
        site = SITES[number % 2]
        first, second, third = rng.sample(shifts, 3)
        kill = grounds.killing(root, "done", rng.randint(2, 6))
        one = grounds.run(root, site, {**fake_clock(first), **kill})
        before = seals(root)
        two = grounds.run(root, site, fake_clock(second))
        three = grounds.run(root, site, fake_clock(third))
        what = f"{site}: {first}, then {second}, then {third}"
        yield _judged(grounds, root, "clock hours off (libfaketime)", what, one, two, three, before)


def stepping_clocks(grounds: Grounds, count: int, rng: random.Random) -> Iterator[Case]:
    """The clock steps in the midst of a run that is killed, and again in the midst of the one that continues it."""
    for number in range(count):
        root = grounds.copy()
        site = SITES[number % 2]
        clock = root.with_name(f"{root.name}.clock")
        shifts = rng.sample((3600, -3600, -7200, 0, 60), 3)
        clock.write_text(str(shifts[0]))
        environment = {shifted_clock.VARIABLE: str(clock)}
        kill = grounds.killing(root, "done", rng.randint(3, 6))
        wall = measure(grounds, site)
        ended: list[Ended] = []
        before: dict[str, bytes] = {}
        for shift, more in ((shifts[1], kill), (shifts[2], {})):
            process = grounds.start(root, "--quiet", "run", "--site", site, environment={**environment, **more})
            time.sleep(rng.uniform(0.3, 0.9) * wall)
            _write(clock, shift)
            ended.append(process.finish())
            before = before or seals(root)
        three = grounds.run(root, site, environment)
        what = f"{site}: {', then '.join(f'{one:+d} s' for one in shifts)}"
        yield _judged(grounds, root, "clock steps in mid-run (seam)", what, ended[0], ended[1], three, before)
        clock.unlink()


def _write(clock: Path, shift: int) -> None:
    fresh = clock.with_name(clock.name + ".new")
    fresh.write_text(str(shift))
    fresh.replace(clock)


def _judged(
    grounds: Grounds,
    root: Path,
    kind: str,
    what: str,
    one: Ended,
    two: Ended,
    three: Ended,
    before: Mapping[str, bytes],
) -> Case:
    wrong = [f"{ended.said}: {ended.err.strip()[-300:]}" for ended in (two, three) if ended.status]
    if "nothing to do" not in three.out:
        wrong.append("the third run found something to do")
    wrong += _order(grounds, root)
    wrong += grounds.wrong(root, before)
    said = "killed" if one.status < 0 else one.said
    case = Case(
        kind=kind,
        what=what,
        found=f"{said}, {two.said}, {three.said}",
        beyond=grounds.beyond(root),
        bound=in_flight(),
        wrong=tuple(wrong),
    )
    grounds.remove(root)
    return case


def ingest_under_a_clock_set_back(grounds: Grounds) -> Iterator[Case]:
    """The content of a file that was ingested first stays, though a later ingest believes to be earlier."""
    root = grounds.copy()
    file = next(grounds.raw.glob("*.fits"))
    other = root.with_name(f"{root.name}.raw")
    other.mkdir()
    content = file.read_bytes()
    (other / file.name).write_bytes(content.replace(b"'SIM_SMALL'", b"'SIM_OTHER'").replace(b"UNKNOWN", b"SOMEONE", 1))
    before = {one.file_id: one.content_id for one in Archive.open(root).campaign.raw_frames}
    ended = grounds.call(root, "ingest", str(other), environment=fake_clock("-1h"))
    after = {one.file_id: one.content_id for one in Archive.open(root).campaign.raw_frames}
    wrong = [] if before == after else ["the file ingested first gave way to a later one"]
    if "AP-ING-010" not in ended.out + ended.err:
        wrong.append(f"other content under a known id was not named: {ended.said}")
    shutil.rmtree(other)
    grounds.remove(root)
    yield Case(kind="ingest, clock set back", what="other content, -1h", found=ended.said, wrong=tuple(wrong))


def _order(grounds: Grounds, root: Path) -> list[str]:
    """Run ids grow as runs began, and the newest names what is current."""
    archive = grounds.open(root)
    ids = run_ids(archive.layout)
    made = sorted(ids, key=lambda one: (root / "runs" / one).stat().st_ctime_ns)
    wrong = [] if list(ids) == made else ["run ids do not follow the order in which runs began"]
    stale = archive.query("SELECT count(*) AS n FROM products WHERE NOT is_current").to_pylist()[0]["n"]
    return [*wrong, *([f"{stale} products are not current"] if stale else [])]
