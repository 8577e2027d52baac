"""One round: a copy of the archive, a run on SLURM, several faults in it, and what came of each."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from archive_proc.bench.faults.case import Case
from archive_proc.bench.faults.children import Child, Ended
from archive_proc.bench.faults.grounds import Grounds
from archive_proc.bench.faults.on_slurm.cluster import Cluster
from archive_proc.bench.faults.on_slurm.judging import (
    after_the_run,
    came_to_their_time,
    ended_as_slurm_says,
    ends_of_jobs,
    exactly_these_failed,
    no_job_left,
    tasks_beyond_need,
)
from archive_proc.bench.faults.on_slurm.known import Night
from archive_proc.bench.faults.on_slurm.sites import BRIEF, ORDINARY, WINDOW, write_sites
from archive_proc.bench.faults.on_slurm.spoiling import GENTLE, Done, Spoiled, spoil
from archive_proc.bench.faults.on_slurm.strikes import CONTROLLER_AWAY, KILL_DRIVER, STRIKES, Scene
from archive_proc.bench.faults.room import fill, needed_bytes, small_disk
from archive_proc.bench.stand_ins import PAUSE_UNTIL

WHOLE = "whole run"
"""Kind of the case that is no fault of its own: a run's tasks beyond need."""
FULL_DISK = "disk fills up"
AGAIN = 75
"""Exit status after which the same command is given again."""
TRIES = 4
TIMES = 2
"""Jobs whose time ends under a run on the brief partition, at least."""
STRUCK = 0.8
"""Everything is struck in this first part of the work: later there may be nobody to strike at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What is to be done to one run."""

    strikes: tuple[str, ...] = ()
    """At random moments, in random order."""
    spoils: tuple[str, ...] = ()
    """Before it begins."""
    brief: bool = False
    """On the partition whose jobs live two minutes at most."""
    down_s: float = 60.0
    """How long the controller stays away."""
    pause_s: float = 0.3
    """How much longer a block lasts, so that there is a moment to strike."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where rounds are played."""

    grounds: Grounds
    night: Night
    cluster: Cluster


@dataclass(slots=True)
class _Play:
    """A round being played."""

    stage: Stage
    one: Round
    rng: random.Random
    root: Path
    disk: Path | None
    """The small disk it lies on."""
    spoiled: Spoiled
    faults: list[Done]
    general: list[str] = field(default_factory=list)
    """Broken promises that belong to no single fault."""

    @property
    def struck_file(self) -> Path:
        """Blocks last longer until it is there: every strike has its moment, and nobody waits afterwards."""
        return self.root.with_name(f"{self.root.name}.struck")

    def start(self) -> Child:
        """The one command."""
        words = ("--quiet", "run", "--site", BRIEF if self.one.brief else ORDINARY)
        given = {**self.stage.cluster.environment, PAUSE_UNTIL: str(self.struck_file)}
        return self.stage.grounds.start(self.root, *words, environment=given)

    def finish(self, child: Child) -> Ended:
        """Its end; one that hangs is killed, and told of."""
        try:
            return child.finish()
        except TimeoutError as hangs:
            self.general.append(str(hangs))
            os.kill(child.pid, signal.SIGKILL)
            return child.finish()

    def moments(self) -> list[tuple[str, int]]:
        """(strike, lines that the tally has to have before it)."""
        night = self.stage.night
        lost = set(self.spoiled.processes) | night.below(self.spoiled.processes)
        whole = sum(known.tasks for known in night.in_order if known.process_id not in lost)
        strikes = list(self.one.strikes)
        self.rng.shuffle(strikes)
        # At last: no job is replaced while it is away, and the run may end before it is back.
        strikes.sort(key=lambda one: one == CONTROLLER_AWAY)
        return list(
            zip(strikes, sorted(self.rng.randint(1, max(1, int(STRUCK * whole))) for _ in strikes), strict=True)
        )

    def strike(self) -> Ended:
        """Every strike at its moment, and the command again until it ends by itself."""
        spared = frozenset(self.spoiled.processes)
        scene = Scene(self.stage.cluster, self.root, self.start(), self.rng, spared, self.one.down_s)
        try:
            return self.struck(scene)
        except (KeyboardInterrupt, SystemExit):
            if scene.child.poll() is None:
                os.kill(scene.child.pid, signal.SIGKILL)  # or the bench would wait for its end, and SLURM is gone
            raise

    def struck(self, scene: Scene) -> Ended:
        """The same, on a scene that is set."""
        stage = self.stage
        for kind, lines in self.moments():
            while scene.child.poll() is None and len(stage.grounds.tallied(self.root)) < lines:
                time.sleep(0.02)
            if kind == FULL_DISK:
                self.fill_disk(scene)
            elif what := STRIKES[kind](scene):
                self.faults.append(Done(kind, what))
                if kind == KILL_DRIVER:
                    ended = self.finish(scene.child)
                    if ended.status != -signal.SIGKILL:
                        self.faults.pop()  # it had just ended
                    scene.child = self.start()
        while self.one.brief and scene.child.poll() is None and len(ends_of_jobs(self.root)) < TIMES:
            time.sleep(0.2)
        self.struck_file.touch()
        ended = self.finish(scene.child)
        for _ in range(TRIES):
            if ended.status != AGAIN:
                break
            scene.child = self.start()
            ended = self.finish(scene.child)
        return ended

    def fill_disk(self, scene: Scene) -> None:
        """No room in mid-run: it has to end with 5 and a code. Then there is room again."""
        if self.disk is None or scene.child.poll() is not None:
            return
        filler = fill(self.disk, 0)
        ended = self.finish(scene.child)
        full = Done(FULL_DISK, f"{len(self.stage.grounds.tallied(self.root))} blocks done", found=ended.said)
        if ended.status != 5 or "AP-" not in ended.said:
            full.wrong.append(f"{ended.said} in place of exit 5 with a code: {ended.err.strip()[-300:]}")
        self.faults.append(full)
        filler.unlink()
        scene.child = self.start()

    def judge(self, ended: Ended, before: set[str]) -> Iterator[Case]:
        """A case a fault; what cannot be laid at the door of one of them is held against all."""
        stage, root, bad = self.stage, self.root, self.spoiled.processes
        ended_as_slurm_says(ends_of_jobs(root), self.faults)
        if self.one.brief:
            self.faults += came_to_their_time(ends_of_jobs(root), self.faults)
        wanted = 3 if bad else 0
        if ended.status != wanted:
            said = (ended.err or ended.out).strip()[-400:]
            self.general.append(f"{ended.said} in place of exit {wanted}: {said}")
        self.general += exactly_these_failed(root, stage.night, bad)
        self.general += no_job_left(stage.cluster, before)
        beyond = tasks_beyond_need(stage.grounds, root, stage.night, bad)
        self.general += after_the_run(stage.grounds, root, self.spoiled)
        deaths = sum(one.kind not in GENTLE for one in self.faults)
        deaths += sum("meanwhile" in one.what for one in self.faults)
        said = f"exit {ended.status}"
        for fault in self.faults:
            wrong = (*fault.wrong, *self.general)
            yield Case(kind=fault.kind, what=fault.what, found=fault.found or said, wrong=wrong)
        kinds = ", ".join(dict.fromkeys(one.kind for one in self.faults))
        yield Case(
            kind=WHOLE,
            what=f"{len(self.faults)} faults: {kinds}",
            found=said,
            beyond=beyond,
            bound=WINDOW * deaths,
            wrong=tuple(self.general),
        )


def run_round(stage: Stage, one: Round, rng: random.Random) -> Iterator[Case]:
    """Play a round; a case a fault, and one of the tasks that the run executed beyond need."""
    grounds = stage.grounds
    grounds.pause_s = one.pause_s
    with contextlib.ExitStack() as stack:
        disk = None
        if FULL_DISK in one.strikes:
            disk = stack.enter_context(small_disk(grounds.work, f"size={8 * needed_bytes(grounds)}"))
        root = grounds.copy(into=disk)
        raw = _own_raw(grounds, root)
        spoiled = spoil(stage.night, one.spoils, raw, root.with_name(f"{root.name}.poisons"), rng)
        write_sites(root, spoiled.poisons)
        play = _Play(stage, one, rng, root, disk, spoiled, list(spoiled.faults))
        before = stage.cluster.queue()
        yield from play.judge(play.strike(), before)
        spoiled.poisons.unlink()
        play.struck_file.unlink(missing_ok=True)
        shutil.rmtree(raw)
        grounds.remove(root)


def _own_raw(grounds: Grounds, root: Path) -> Path:
    """A copy of the raw night for this archive alone."""
    raw = grounds.work / f"{root.name}.raw"
    shutil.copytree(grounds.raw, raw)
    settings = root / "archive.toml"
    settings.write_text(settings.read_text().replace(str(grounds.raw), str(raw)))
    return raw
