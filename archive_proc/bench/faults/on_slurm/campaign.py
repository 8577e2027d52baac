"""The campaign on SLURM: rounds in turn until as many faults were injected as asked for."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from archive_proc.bench.faults.case import Case
from archive_proc.bench.faults.grounds import stand_in_grounds
from archive_proc.bench.faults.on_slurm.cluster import a_slurm
from archive_proc.bench.faults.on_slurm.known import night_of
from archive_proc.bench.faults.on_slurm.rounds import WHOLE, Round, Stage, run_round
from archive_proc.bench.faults.on_slurm.strikes import CONTROLLER_AWAY, ENDS

SLOW_S = 1.5
"""Longer blocks, where a minute has to pass in mid-run."""
SEQUENCES = 3
ROUNDS: Sequence[Round] = (
    Round(
        strikes=("scancel", "scancel", "kill worker", "kill worker", "kill nanny", "kill driver", "kill driver"),
        spoils=("raw file corrupt", "calibration unreadable", "task raises", "task segfaults"),
    ),
    Round(strikes=("disk fills up", "scancel", "scancel", "kill worker", "kill nanny")),
    Round(
        strikes=("slurmctld away", "scancel", "scancel", "kill worker", "kill worker", "kill driver"),
        spoils=("calibration unreadable", "raw file corrupt"),
        pause_s=SLOW_S,
    ),
    # No driver dies: the end of a job is told to the one that was there.
    Round(
        strikes=("job timed out", "job preempted", "node fails", "node fails", "scancel"),
        spoils=("task raises",),
        pause_s=SLOW_S,
    ),
    Round(brief=True, pause_s=0.5, strikes=("kill worker", "job frozen"), spoils=("task segfaults", "task raises")),
    Round(
        strikes=("scancel", "kill worker", "kill worker", "kill driver", "requeue", "requeue"),
        spoils=("memory over the nanny's limit", "memory over the job's --mem", "task hangs"),
    ),
    Round(
        strikes=("scancel", "scancel", "kill worker", "kill nanny", "requeue", "kill driver", "kill driver"),
        spoils=("raw file corrupt", "raw file corrupt", "task segfaults", "task raises", "task raises"),
    ),
)
SHORT = Round(
    strikes=("scancel", "kill worker", "kill driver"),
    spoils=("raw file corrupt", "calibration unreadable", "task raises", "task segfaults"),
)
"""The round of the test suite."""


def slurm_campaign(work: Path, seed: int, faults: int) -> Iterator[Case]:
    """Cases until so many faults were injected. Raises PreconditionError AP-SIM-008 where there is no SLURM."""
    with a_slurm() as cluster:
        place = work / "small"
        place.mkdir(parents=True)
        grounds = stand_in_grounds(place, sequences=SEQUENCES)
        yield from rounds(Stage(grounds, night_of(grounds), cluster), seed, faults)


def rounds(stage: Stage, seed: int, faults: int) -> Iterator[Case]:
    """One round after the other on given grounds."""
    injected = number = 0
    while injected < faults:
        rng = random.Random(f"{seed} slurm {number}")  # noqa: S311 - moments of faults, not secrets
        one = ROUNDS[number % len(ROUNDS)]
        if stage.cluster.place is None:  # somebody else's: neither has it our partitions, nor is it ours to kill
            ours = {CONTROLLER_AWAY, *ENDS}
            one = replace(one, brief=False, strikes=tuple(what for what in one.strikes if what not in ours))
        for case in run_round(stage, one, rng):
            injected += case.kind != WHOLE
            yield case
        number += 1
