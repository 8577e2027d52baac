"""What is spoiled before a run: tasks that misbehave, raw files that cannot be read; and how each has to fail."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from archive_proc.bench.faults.on_slurm.known import Known, Night
from archive_proc.bench.faults.on_slurm.sites import MEMORY_BYTES
from archive_proc.model.processes import Cause


@dataclass(frozen=True, slots=True)
class Expected:
    """How a spoiled process has to fail."""

    cause: Cause
    codes: tuple[str, ...]


@dataclass(slots=True)
class Done:
    """A fault that was injected, and what came of it."""

    kind: str
    what: str
    process: str = ""
    """That has to fail for it; empty where none has to."""
    expected: Expected | None = None
    found: str = ""
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Spoil:
    """A kind of fault that makes a process fail for good."""

    expected: Expected
    poison: str = ""
    """What its task does (`poisons.py`); empty: its raw file is spoiled."""


UNREADABLE, CORRUPT = "calibration unreadable", "raw file corrupt"
RAISES = "task raises"
GENTLE = frozenset({UNREADABLE, CORRUPT, RAISES})
"""Nobody dies of these: no task in flight is lost."""
SPOILS: Mapping[str, Spoil] = {
    UNREADABLE: Spoil(Expected(Cause.INFRA, ("AP-ING-033",))),
    CORRUPT: Spoil(Expected(Cause.DATA, ("AP-ING-032", "AP-ING-030"))),
    RAISES: Spoil(Expected(Cause.CODE, ("AP-RUN-012",)), "raise"),
    "task segfaults": Spoil(Expected(Cause.CODE, ("AP-RUN-017",)), "segfault"),
    "memory over the nanny's limit": Spoil(Expected(Cause.MEMORY, ("AP-RUN-017",)), "memory"),
    "memory over the job's --mem": Spoil(Expected(Cause.MEMORY, ("AP-RUN-017", "AP-RUN-045")), "job-memory"),
    "task hangs": Spoil(Expected(Cause.INFRA, ("AP-RUN-019",)), "hang"),
}


@dataclass(slots=True)
class Spoiled:
    """What was spoiled for one run."""

    faults: list[Done]
    poisons: Path
    raw: dict[Path, bytes]
    """File -> what it held."""

    @property
    def processes(self) -> dict[str, Done]:
        """By the process that has to fail."""
        return {one.process: one for one in self.faults if one.process}

    def heal(self) -> None:
        """Put everything right again."""
        self.poisons.write_text("")
        for path, content in self.raw.items():
            path.unlink(missing_ok=True)
            path.write_bytes(content)


def spoil(night: Night, kinds: tuple[str, ...], raw: Path, poisons: Path, rng: random.Random) -> Spoiled:
    """Spoil a process for each kind, at random: none stands on another, and most of the night is not touched."""
    chosen: dict[str, str] = {}
    done = Spoiled([], poisons, {})
    lines = []
    for kind in kinds:
        able = [known for known in night.in_order if _suits(kind, known, night, list(chosen))]
        if not able:
            continue
        known = rng.choice(able)
        chosen[known.process_id] = kind
        how = SPOILS[kind]
        if how.poison:
            amount = MEMORY_BYTES.get(how.poison, 0)
            lines.append(f"{rng.choice(known.steps)} {known.subject} {how.poison} {amount}\n")
        else:
            path = raw / f"{rng.choice(known.files)}.fits"
            done.raw[path] = path.read_bytes()
            _spoil_file(path, kind, rng)
        what = f"{known.recipe} {known.process_id[:12]}"
        done.faults.append(Done(kind, what, known.process_id, how.expected))
    poisons.write_text("".join(lines))
    return done


def _suits(kind: str, known: Known, night: Night, others: list[str]) -> bool:
    """Whether this process may be spoiled so, beside others that are."""
    below = night.below([known.process_id, *others])
    if not known.steps or known.process_id in others or 3 * len(below) > len(night.processes):
        return False
    if any(night.related(known.process_id, other) for other in others):
        return False
    if SPOILS[kind].poison:
        return True
    # A raw file that it alone reads; a calibration's: something stands on it.
    shared = any(one != known and set(one.files) & set(known.files) for one in night.processes.values())
    stood_on = bool(night.below([known.process_id])) and "science" not in known.recipe
    return bool(known.files) and not shared and (kind != UNREADABLE or stood_on)


def _spoil_file(path: Path, kind: str, rng: random.Random) -> None:
    content = path.read_bytes()
    if kind == UNREADABLE:
        path.unlink()  # taking its rights away would not keep root from reading it
        if rng.random() < 0.5:
            path.symlink_to("nowhere.fits")
    elif rng.random() < 0.5:
        path.write_bytes(content[: rng.randrange(len(content))])
    else:
        path.write_bytes(bytes(byte ^ 0x5A for byte in content[:2880]) + content[2880:])
