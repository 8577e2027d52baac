"""kill -9 of driver, workers and compactor: at random moments, and at each moment of notes/storage 2.6 by name."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from archive_proc.bench.faults.case import Case
from archive_proc.bench.faults.children import PATIENCE_S, Child, Ended
from archive_proc.bench.faults.grounds import WORKERS, Grounds, measure, seals
from archive_proc.bench.kill_points import POINTS
from archive_proc.settings import SiteProfile

_AGAIN = (75, 3)
"""Exit statuses after which a run whose *worker* was killed may have to be given again."""
_TRIES = 4
NEVER_REACHED = "nothing was injected: its first call never came, so this moment is not tried"
"""A fault that strikes nobody must not pass for one that was survived."""
MISSES = 12
"""Commands in a row that may end before the moment of their kill: later than that it is no chance."""


def in_flight(kills: int = 1) -> int:
    """Tasks that may be in flight when a process of a run dies."""
    return kills * WORKERS * SiteProfile(name="", backend="").window_per_worker


def random_kills(grounds: Grounds, victim: str, count: int, rng: random.Random) -> Iterator[Case]:
    """Kill the driver (and with it its workers' reason to go on), or one worker, at moments spread over a whole run."""
    site = "faults" if victim == "worker" or rng.random() < 0.5 else "faults-serial"
    recipes = "stand-ins" if grounds.cookbook else "real recipes"
    kind = f"kill {victim}, random, {recipes}"
    injected = missed = 0
    while injected < count:
        if victim == "driver":
            site = "faults" if injected % 2 else "faults-serial"
        wall = measure(grounds, site)
        root = grounds.copy()
        delay = rng.uniform(0.0, wall)
        process = grounds.start(root, "--quiet", "run", "--site", site)
        began = time.monotonic()
        hit = _strike(process, victim, began + delay, rng)
        before = seals(root)
        ended = process.finish()
        what = f"{victim} on {site} after {delay:.2f} of {wall:.2f} s"
        if not hit:
            grounds.remove(root)
            missed += 1
            # The machine has become faster than it was when the run was measured.
            grounds.walls_s[site] = min(wall, ended.wall_s)
            if missed == MISSES:
                yield Case(kind=kind, what=what, found=ended.said, wrong=(_never(missed),))
                return
            continue
        injected, missed = injected + 1, 0
        yield _continued(grounds, root, site, kind, what, ended, before)


def _strike(process: Child, victim: str, moment: float, rng: random.Random) -> bool:
    """Whether somebody was killed before the run ended. Of one that hangs `finish` tells."""
    while time.monotonic() < moment and process.poll() is None:
        time.sleep(0.005)
    until = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < until:
        if victim == "driver":
            os.kill(process.pid, signal.SIGKILL)
            return True
        workers = workers_of(process.pid)
        if workers:
            try:
                rng.choice(workers).kill()
            except psutil.NoSuchProcess:
                continue
            return True
        time.sleep(0.01)
    return False


def _never(missed: int) -> str:
    return f"nothing was injected: {missed} commands in a row ended before the moment of their kill"


def workers_of(driver: int) -> list[psutil.Process]:
    """Worker processes of a driver, in order of pid."""
    try:
        family = psutil.Process(driver).children(recursive=True)
        found = [one for one in family if "spawn_main" in " ".join(one.cmdline())]
    except psutil.Error:
        return []
    return sorted(found, key=lambda one: int(one.pid))


def kills_at_points(grounds: Grounds, rng: random.Random, rounds: int, site: str = "faults-serial") -> Iterator[Case]:
    """Let a process of the run kill itself at every named point, at its first call and at random later ones."""
    for name, point in POINTS.items():
        for number in [1, *(rng.randint(2, 6) for _ in range(rounds - 1))]:
            root = grounds.copy()
            ended = grounds.run(root, site, grounds.killing(root, name, number))
            before = seals(root)
            kind = "kill compactor at its points" if point.compacts else "kill at named points"
            if not grounds.flag(root).exists():
                grounds.remove(root)
                if number == 1:
                    yield Case(kind=kind, what=point.means, found=ended.said, wrong=(NEVER_REACHED,))
                continue  # fewer calls than that in the whole run
            yield _continued(grounds, root, site, kind, f"{point.means}, call {number}", ended, before)


def compactor_kills(grounds: Grounds, finished: Path, count: int, rng: random.Random) -> Iterator[Case]:
    """Kill `rebuild` at random moments: the catalog named before goes on answering, the next one is equal."""
    kind = "kill compactor, random"
    measured = grounds.copy(finished)
    wall = grounds.call(measured, "rebuild").wall_s
    grounds.remove(measured)
    injected = missed = 0
    while injected < count:
        root = grounds.copy(finished)
        before = seals(root)
        delay = rng.uniform(0.3 * wall, wall)
        process = grounds.start(root, "rebuild")
        began = time.monotonic()
        hit = _strike(process, "driver", began + delay, rng)
        ended = process.finish()
        what = f"rebuild after {delay:.2f} of {wall:.2f} s"
        if not hit:
            grounds.remove(root)
            missed, wall = missed + 1, min(wall, ended.wall_s)
            if missed == MISSES:
                yield Case(kind=kind, what=what, found=ended.said, wrong=(_never(missed),))
                return
            continue
        injected, missed = injected + 1, 0
        asked = grounds.call(root, "query", "SELECT count(*) AS n FROM products")
        wrong = [] if asked.status == 0 else [f"query after the kill: {asked.said}"]
        yield _continued(grounds, root, "faults-serial", kind, what, ended, before, wrong=wrong, counting=False)


def _continued(
    grounds: Grounds,
    root: Path,
    site: str,
    kind: str,
    what: str,
    ended: Ended,
    before: dict[str, bytes],
    *,
    wrong: list[str] | None = None,
    counting: bool = True,
) -> Case:
    """Give the same command again until it ends well, and judge."""
    wrong = wrong or []
    said = "killed" if ended.status == -signal.SIGKILL else ended.said
    tries = 0
    while ended.status != 0 and tries < _TRIES:
        ended = grounds.run(root, site)
        tries += 1
        if ended.status not in (0, *_AGAIN):
            wrong.append(f"the same command again: {ended.said}: {ended.err.strip()[-300:]}")
            break
    if ended.status in _AGAIN:
        wrong.append(f"still {ended.said} after {tries} tries: {ended.err.strip()[-300:]}")
    wrong += grounds.wrong(root, before)
    case = Case(
        kind=kind,
        what=what,
        found=f"{said}, then exit {ended.status}",
        beyond=grounds.beyond(root) if counting else None,
        bound=in_flight(),
        wrong=tuple(wrong),
    )
    grounds.remove(root)
    return case
