"""What a run report says, as values: `index.html` and `report.json` are two spellings of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SCHEMA = 1
"""Version of `report.json`; fields are only ever added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What ran, where, for whom."""

    run_id: str
    plan_id: str
    command: str
    selection: str
    preset: str
    site: str
    backend: str
    workers: int
    asked_by: str
    host: str
    started_at: str
    """ISO UTC."""
    last_word_at: str
    """ISO UTC: the end, or the journal's last line."""
    elapsed_s: float
    state: str
    """running, ended, stopped (...), or dead."""
    package_version: str
    """Of the run."""
    environment: Mapping[str, str]
    """Distribution -> version, as the newest process of the run recorded it."""
    environment_digest: str
    """First 12 digits of a digest over python, packages and platform: equal for equal environments."""
    ruleset_version: str
    as_of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A subject in a grid, with its page."""

    subject_id: str
    name: str
    night: str
    setup: str
    kind: str
    """observation, or the product type of a master."""
    state: str
    """made, stands, failed, blocked, not planned, ... in a word."""
    words: str
    """Why, where it is not made."""
    verdict: str
    """Worst QC verdict: good, warn, refuse, or empty."""
    planes: int
    page: str
    """Link to its PNG page; empty where none was drawn."""
    thumbnail: str
    """Link to its small picture; empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeRow:
    """What one recipe did in the run."""

    recipe: str
    version: str
    planned: int
    made: int
    stood: int
    """Sealed before."""
    failed: int
    blocked: int
    other: int
    median_s: float | None
    """Wall seconds of processes made in this run; None where none was."""
    p95_s: float | None
    max_s: float | None
    cpu_s: float
    predicted_cpu_s: float
    """Of the processes made."""
    peak_memory_mb: float | None
    bytes_written: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Failures of one signature: one root cause."""

    signature: str
    cause: str
    code: str
    recipe: str
    account: str
    """The first of them in one line."""
    remedy: str
    subjects: tuple[str, ...]
    """Subjects that failed, named."""
    processes: tuple[str, ...]
    blocked: int
    """Processes that wait for one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotPlannedRow:
    """A subject that was asked for and could not be planned."""

    subject: str
    product_type: str
    code: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRow:
    """A calibration that observations of the run use in one role."""

    calibration: str
    """Frame type and night of the calibration group."""
    group_id: str
    role: str
    serves: tuple[str, ...]
    """Roles of the frames it serves."""
    observations: int
    """How many observations use it so."""
    names: tuple[str, ...]
    """The first of them."""
    level: int | None
    """The worst: 0 follows the calibration plan, 3 is risky."""
    dt_days: tuple[float, float] | None
    """Shortest and longest signed distance in time."""
    methods: tuple[str, ...]
    pinned: bool
    origin: str
    """made in this run, stood before, failed, not made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QcRowShown:
    """A QC figure outside its limit."""

    verdict: str
    subject: str
    night: str
    product_type: str
    metric: str
    value: float | None
    unit: str
    threshold: float | None
    side: int | None
    """1: values above the threshold break it, -1: values below."""
    product_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanesBeyond:
    """Planes of one observation with a figure beyond its limit."""

    subject: str
    night: str
    refuse: int
    warn: int
    planes: int
    """All that were judged."""
    figures: tuple[str, ...]
    """Which figures, those of most planes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideRow:
    """A human decision in force."""

    override_id: str
    kind: str
    match: str
    value: str
    reason: str
    author: str
    expires: str
    source: str
    processes: int
    """Processes of the run that it touches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueRow:
    """A problem that a person may have to resolve."""

    severity: str
    code: str
    subject: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What the pictures cost."""

    drawn: int
    """Subjects drawn for this report."""
    stood: int
    """Subjects whose pictures were up to date."""
    median_cpu_s: float | None
    """CPU seconds a subject, of all pictures linked here, whenever they were drawn."""
    max_cpu_s: float | None
    peak_memory_mb: float | None
    largest_thumbnail_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """One run, told to someone who was not there."""

    schema: int = SCHEMA
    archive: str
    generated_at: str
    verdict: str
    """One sentence."""
    exit_status: int
    counts: Mapping[str, int]
    """State -> processes; adds up to `total`."""
    total: int
    run: RunFacts
    observations: tuple[Card, ...]
    """By night and time."""
    masters: tuple[Card, ...]
    recipes: tuple[RecipeRow, ...]
    failures: tuple[FailureGroup, ...]
    """Root causes, those that hold up most first."""
    not_planned: tuple[NotPlannedRow, ...]
    calibrations: tuple[CalibrationRow, ...]
    outliers: tuple[QcRowShown, ...]
    planes_beyond: tuple[PlanesBeyond, ...]
    qc_counts: Mapping[str, int]
    """Verdict -> figures."""
    overrides: tuple[OverrideRow, ...]
    issues: tuple[IssueRow, ...]
    drawing: Drawing
    reproduce: tuple[tuple[str, str], ...] = field(default=())
    """(command, what it does)."""
