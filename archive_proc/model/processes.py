"""Processes, plans, their records: what is to be done, and what was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from archive_proc.model.frames import Arm
from archive_proc.model.ids import PlanId, ProcessId, ProductId, product_id

Parameter: TypeAlias = bool | int | float | str | tuple[float, ...] | tuple[str, ...] | None


class State(StrEnum):
    """States of a process in a run; the counts at the end add up to the plan."""

    PLANNED = "planned"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    CACHED = "cached"
    FAILED = "failed"
    BLOCKED = "blocked"
    LOST = "lost"
    QUARANTINED = "quarantined"
    """It killed a worker at each of its tries; left alone until `run --retry`."""
    WAIVED = "waived"
    CANCELLED = "cancelled"

    @property
    def is_failure(self) -> bool:
        """It was tried, and there is no product."""
        return self in (State.FAILED, State.QUARANTINED, State.LOST)


class Cause(StrEnum):
    """Why a process failed; decides what happens next (DESIGN 3.5)."""

    INFRA = "infra"
    MEMORY = "memory"
    DATA = "data"
    CODE = "code"
    CONFIG = "config"


class Reason(StrEnum):
    """Why a process is in the plan."""

    NEW = "new"
    CACHED = "cached"
    INPUT = "input"
    RECIPE = "recipe"
    PARAMETER = "parameter"
    TABLE = "table"
    OVERRIDE = "override"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a product is about."""

    kind: str
    """observation, group, frame, library."""
    subject_id: str
    arm: Arm


@dataclass(frozen=True, slots=True)
class ProcessInput:
    """One input of a process. Main raw inputs have role `main` and stand in order of time."""

    role: str
    kind: str
    """file or product."""
    input_id: str
    """file_id, or product_id."""
    content: str
    """What enters the key: content_id of a raw frame, product_id of a product."""
    serves: tuple[int, ...] = ()
    """Positions among the main inputs that it serves; empty: all of them. Part of the key."""
    frame_role: str = ""
    """For raw main inputs: OBJECT, CENTER, FLUX, SKY or CALIB."""
    level: int = 0
    """Association level, outside the key."""
    dt_days: float = 0.0
    """Signed time distance, outside the key."""
    method: str = "match"
    """How the association was made; part of the key only through the inputs it brings."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted cost of one process."""

    cpu_s: float
    memory_gb: float
    bytes_in: int
    bytes_out: int
    inodes: int
    planes: int
    source: str = "model"
    """`model` (the recipe's own) or `history` (quantiles of past processes)."""
    cpu_s_low: float = 0.0
    """10 % quantile of past processes; equals cpu_s without history."""
    cpu_s_high: float = 0.0
    """90 % quantile of past processes; equals cpu_s without history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One recipe on definite inputs. Everything that decides the result, and nothing else, is in the id."""

    process_id: ProcessId
    recipe: str
    recipe_version: str
    preset: str
    subject: Subject
    parameters: Mapping[str, Parameter]
    """All parameters, defaults filled in."""
    excluded_planes: tuple[tuple[int, int], ...] = ()
    """(position among main inputs, plane) that overrides exclude; part of the key."""
    tables_digest: str
    inputs: Sequence[ProcessInput]
    """Main inputs first, then by role in alphabetical order: a tuple, or one packed (`packed.py`)."""
    corrections: tuple[tuple[str, str, str], ...] = ()
    """(content_id, keyword, new value) of header corrections on its frames; part of the key."""
    product_types: tuple[str, ...]
    night: str
    """ISO date; partition and report only."""
    period_date: int
    level: int = 0
    """Worst association level of its whole chain."""
    override_ids: tuple[str, ...] = ()
    """Overrides in force on it; outside the key."""
    fallbacks: tuple[str, ...] = ()
    """What stood in for what was missing, in words; outside the key."""

    @property
    def sources(self) -> tuple[ProcessId, ...]:
        """Processes it depends on, sorted, each once."""
        return sources_of(self.inputs)

    @property
    def main(self) -> tuple[ProcessInput, ...]:
        """The main inputs, in order."""
        return tuple(entry for entry in self.inputs if entry.role == "main")

    @property
    def product_ids(self) -> tuple[ProductId, ...]:
        """What it makes."""
        return tuple(product_id(self.process_id, one) for one in self.product_types)


def sources_of(inputs: Sequence[ProcessInput]) -> tuple[ProcessId, ...]:
    """Processes that made some of these inputs, sorted, each once. Packed inputs have them at hand."""
    known: tuple[ProcessId, ...] | None = getattr(inputs, "sources", None)
    if known is not None:
        return known
    found = {entry.input_id.partition(".")[0] for entry in inputs if entry.kind == "product"}
    return tuple(ProcessId(one) for one in sorted(found))


@dataclass(frozen=True, slots=True)
class PlannedProcess:
    """A process in a plan, with why it is there and what it will cost (all outside plan_id)."""

    process: Process
    reason: Reason
    because: str
    """The reason in words: `irdis_dark 1.0.0 -> 1.1.0`, `dark of 2017-09-29 in place of ...`."""
    prediction: Prediction

    @property
    def to_run(self) -> bool:
        """False when a sealed product of this id already stands."""
        return self.reason is not Reason.CACHED


@dataclass(frozen=True, slots=True)
class NotPlanned:
    """A subject that the selection asked for and that cannot be planned, with the issue that says why."""

    subject: Subject
    product_type: str
    code: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A directed acyclic graph of processes: a value, JSON on disk, executed exactly."""

    plan_id: PlanId
    processes: tuple[PlannedProcess, ...]
    """Sorted by process id."""
    not_planned: tuple[NotPlanned, ...]
    as_of: str
    """ISO time that expiries are judged against: the newest ingest."""
    ruleset_version: str
    preset: str
    selection: str
    """The selection in words, as given."""


@dataclass(frozen=True, slots=True)
class QcValue:
    """One quality-control figure of a product."""

    product_type: str
    metric: str
    value: float
    unit: str
    verdict: str = ""
    """`refuse` where the recipe itself refused for it. Everything else is judged when catalog rows are made."""
    threshold: float | None = None
    inst_filter: str = ""
    """Setup it was measured in, which limits may depend on."""
    dit_s: float | None = None
    """s."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A coded remark a process makes about its products, kept in its record."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ProductRecord:
    """One product in a process record."""

    product_type: str
    shape: tuple[int, ...]
    dtype: str
    size_bytes: int
    sha256: str
    """sha256 over the sorted (object name, sha256) of its group in the seal."""
    array_digests: Mapping[str, str] = field(default_factory=dict)
    """Array name to digest of its decoded values, C order: what `equal arrays` means (`storage/values.py:
    array_digest`). Before the colon stands the form of the digest; those of another form, or of none (older packages:
    sha256 of all the values), cannot be compared with it."""
