"""Clocks that are an hour off, and that step in the midst of a run: order and results must not follow them."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from archive_proc.archive import Archive
from archive_proc.bench.faults.case import Case
from archive_proc.bench.faults.grounds import Grounds, measure, seals
from archive_proc.bench.faults.kills import in_flight
from archive_proc.errors import PreconditionError
from archive_proc.storage.runs import run_ids

SITES = ("faults-serial", "faults")
_LIBRARIES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1")


def fake_clock(file: Path) -> Mapping[str, str]:
    """The environment in which processes see the system clock shifted by what `file` says (`-1h`), at any moment.

    The monotonic clock and file times stay true, as when a time service steps the clock. Raises PreconditionError
    AP-SIM-008 where libfaketime is not installed.
    """
    found = [path for pattern in _LIBRARIES for path in Path("/").glob(pattern.lstrip("/"))]
    if shutil.which("faketime") is None or not found:
        raise PreconditionError(
            "AP-SIM-008",
            "libfaketime is not installed",
            subject="bench faults",
            remedy="install the package `faketime`",
        )
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def off_clocks(grounds: Grounds, count: int, rng: random.Random) -> Iterator[Case]:
    """One clock after the other: a run killed under the first, continued under the second, a third that does nothing.

    Half of them step in the midst of the first run.
    """
    shifts = ("+1h", "-1h", "-2h", "+0")
    for number in range(count):
        root = grounds.copy()
        clock = root.with_name(f"{root.name}.clock")
        environment = fake_clock(clock)
        first, second, third = (rng.choice(shifts) for _ in range(3))
        site = SITES[number % 2]
        clock.write_text(first)
        kill = grounds.killing(root, "done", rng.randint(2, 6)) if site == "faults-serial" else {}
        process = grounds.start(root, "--quiet", "run", "--site", site, environment={**environment, **kill})
        time.sleep(rng.uniform(0.2, 0.9) * measure(grounds, site))
        clock.write_text(second)
        one = process.finish()
        before = seals(root)
        two = grounds.run(root, site, environment)
        clock.write_text(third)
        three = grounds.run(root, site, environment)
        wrong = [f"{ended.said}: {ended.err.strip()[-300:]}" for ended in (two, three) if ended.status]
        if "nothing to do" not in three.out:
            wrong.append("the third run found something to do")
        wrong += _order(grounds, root)
        wrong += grounds.wrong(root, before)
        said = "killed" if one.status < 0 else one.said
        yield Case(
            kind="clock an hour off, stepping back",
            what=f"{site}: {first}, then {second}, then {third}",
            found=f"{said}, {two.said}, {three.said}",
            beyond=grounds.beyond(root),
            bound=in_flight(),
            wrong=tuple(wrong),
        )
        clock.unlink()
        grounds.remove(root)


def ingest_under_a_clock_set_back(grounds: Grounds) -> Iterator[Case]:
    """The content of a file that was ingested first stays, though a later ingest believes to be earlier."""
    root = grounds.copy()
    clock = root.with_name(f"{root.name}.clock")
    clock.write_text("-1h")
    file = next(grounds.raw.glob("*.fits"))
    other = root.with_name(f"{root.name}.raw")
    other.mkdir()
    content = file.read_bytes()
    (other / file.name).write_bytes(content.replace(b"'SIM_SMALL'", b"'SIM_OTHER'").replace(b"UNKNOWN", b"SOMEONE", 1))
    before = {one.file_id: one.content_id for one in Archive.open(root).campaign.raw_frames}
    ended = grounds.call(root, "ingest", str(other), environment=fake_clock(clock))
    after = {one.file_id: one.content_id for one in Archive.open(root).campaign.raw_frames}
    wrong = [] if before == after else ["the file ingested first gave way to a later one"]
    if "AP-ING-010" not in ended.out + ended.err:
        wrong.append(f"other content under a known id was not named: {ended.said}")
    shutil.rmtree(other)
    clock.unlink()
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
