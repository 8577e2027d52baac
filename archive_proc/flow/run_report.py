"""A run's report put together from its plan, its journal and the catalog."""

from __future__ import annotations

import datetime as dt
import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archive_proc.catalog.query import query
from archive_proc.flow.run_states import RunStates
from archive_proc.model.events import ProcessFailed
from archive_proc.model.ids import ProcessId, sha256_hex, shown
from archive_proc.model.processes import Plan, PlannedProcess, State
from archive_proc.quality.content import (
    CalibrationRow,
    Card,
    Drawing,
    FailureGroup,
    IssueRow,
    NotPlannedRow,
    OverrideRow,
    PlanesBeyond,
    QcRowShown,
    RecipeRow,
    RunFacts,
    RunReport,
)
from archive_proc.quality.drawing import Drawn
from archive_proc.quality.orders import PageOrder, figures_beyond, worst_of
from archive_proc.settings import ArchiveSettings
from archive_proc.storage.layout import Layout
from archive_proc.version import __version__

# Any: rows of the catalog, whose columns `schema` documents.
Row = dict[str, Any]

_SEVERITY = {"blocking": 0, "warning": 1, "note": 2}
_NAMES = 3
"""Observations named beside a calibration; the others are counted."""
_VERDICTS = {"refuse": 0, "warn": 1, "good": 2}


@dataclass(frozen=True, slots=True)
class Story:
    """Everything a report is made from."""

    layout: Layout
    settings: ArchiveSettings
    plan: Plan
    status: RunStates
    cards: tuple[Card, ...]
    drawn: tuple[Drawn, ...]
    orders: tuple[PageOrder, ...]

    @property
    def names(self) -> dict[str, str]:
        """Subject id -> its name with night and short id."""
        return {one.subject_id: f"{one.name}, {one.night}, {one.short_id}" for one in self.orders}

    def named(self, kind: str, subject_id: str) -> str:
        """A subject as people know it."""
        prefix = {"observation": "obs", "group": "group"}.get(kind, kind)
        return self.names.get(subject_id) or (subject_id if kind == "file" else shown(prefix, subject_id))


def run_report(story: Story) -> RunReport:
    """The report as a value."""
    counts = {state.value: number for state, number in story.status.counts.items() if number}
    made = _made(story)
    failures = _failures(story)
    qc = [(order, row) for order in story.orders for row in order.qc]
    return RunReport(
        archive=story.settings.archive_id,
        generated_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        verdict=_verdict(story, failures),
        exit_status=_exit_status(story.status),
        counts=counts,
        total=sum(counts.values()),
        run=_run_facts(story, made),
        observations=tuple(one for one in story.cards if one.kind == "observation"),
        masters=tuple(one for one in story.cards if one.kind != "observation"),
        recipes=_recipes(story, made),
        failures=failures,
        not_planned=tuple(
            NotPlannedRow(
                subject=story.named(one.subject.kind, one.subject.subject_id), product_type=one.product_type,
                code=one.code, message=one.message, remedy=one.remedy,
            )
            for one in story.plan.not_planned
        ),
        calibrations=_calibrations(story),
        outliers=_outliers(qc),
        planes_beyond=_planes_beyond(story.orders),
        qc_counts=dict(sorted(Counter(row.verdict or "not judged" for _, row in qc).items())),
        overrides=_overrides(story),
        issues=_issues(story),
        drawing=_drawing(story.drawn),
        reproduce=_reproduce(story),
    )  # fmt: skip


def _exit_status(status: RunStates) -> int:
    return 3 if any(one.is_failure or one is State.BLOCKED for one, count in status.counts.items() if count) else 0


def _verdict(story: Story, failures: Sequence[FailureGroup]) -> str:
    left = len({one.subject.subject_id for one in story.plan.not_planned})
    said = _outcome(story, failures)
    return f"{said} {left} subject{'' if left == 1 else 's'} could not be planned." if left else said


def _outcome(story: Story, failures: Sequence[FailureGroup]) -> str:
    counts, total = story.status.counts, sum(story.status.counts.values())
    if not total:
        return "Nothing was to do." if story.plan.not_planned else "Nothing was asked for."
    done = counts.get(State.DONE, 0) + counts.get(State.CACHED, 0)
    if done == total:
        new = counts.get(State.DONE, 0)
        what = f"All {total} processes are sealed" if total > 1 else "The process is sealed"
        return f"{what}: {new} made in this run, {total - new} stood already." if new else f"{what}: nothing was to do."
    parts = []
    failed, poison = counts.get(State.FAILED, 0), counts.get(State.QUARANTINED, 0)
    blocked = counts.get(State.BLOCKED, 0)
    if failed:
        causes = f", {len(failures)} kind{'s' if len(failures) > 1 else ''} of failure" if failures else ""
        parts.append(f"{failed} failed{causes}")
    if poison:
        parts.append(f"{poison} quarantined, because they killed their workers")
    if blocked:
        parts.append(f"{blocked} blocked by them")
    rest = total - done - failed - poison - blocked
    if rest:
        parts.append(f"{rest} not finished")
    return f"{done} of {total} processes are sealed; {'; '.join(parts)}."


def _made(story: Story) -> dict[str, Row]:
    """Process id -> what its record says of cost, for the processes made in this run."""
    done = [pid for pid, state in story.status.states.items() if state is State.DONE]
    rows = query(
        story.layout,
        "SELECT process_id, wall_s, cpu_s, max_rss_mb, bytes_written, environment, committed_at FROM processes "
        "WHERE process_id IN (SELECT unnest($ids)) ORDER BY committed_at",
        {"ids": done or [""]},
    ).to_pylist()
    return {row["process_id"]: row for row in rows}


def _run_facts(story: Story, made: Mapping[str, Row]) -> RunFacts:
    status, started = story.status, story.status.started
    newest = list(made.values())[-1] if made else None
    environment = json.loads(newest["environment"] or "{}") if newest else {}
    packages = {str(name): str(value) for name, value in (environment.get("packages") or {}).items()}
    digest = sha256_hex([environment.get("python"), packages, environment.get("platform")])[:12] if environment else ""
    if environment.get("python"):
        packages = {"python": str(environment["python"]), **packages}
    return RunFacts(
        run_id=status.run_id,
        plan_id=status.plan_id,
        command=f"archive-proc run plan:{status.plan_id[:12]}",
        selection=story.plan.selection or "everything",
        preset=story.plan.preset,
        site=status.site,
        backend="" if started is None else started.backend,
        workers=0 if started is None else started.workers,
        asked_by="" if started is None else started.asked_by,
        host="" if started is None else started.host,
        started_at="" if started is None else started.at,
        last_word_at=status.last_at,
        elapsed_s=round(status.elapsed_s, 1),
        state=status.state,
        package_version=__version__ if started is None else started.package_version,
        environment=packages,
        environment_digest=digest,
        ruleset_version=story.plan.ruleset_version,
        as_of=story.plan.as_of,
    )


def _recipes(story: Story, made: Mapping[str, Row]) -> tuple[RecipeRow, ...]:
    by_recipe: dict[tuple[str, str], list[PlannedProcess]] = {}
    for one in story.plan.processes:
        by_recipe.setdefault((one.process.recipe, one.process.recipe_version), []).append(one)
    return tuple(_recipe_row(key, by_recipe[key], story.status.states, made) for key in sorted(by_recipe))


def _recipe_row(
    key: tuple[str, str], planned: Sequence[PlannedProcess], states: Mapping[ProcessId, State], made: Mapping[str, Row]
) -> RecipeRow:
    counts = Counter(states.get(one.process.process_id, State.PLANNED) for one in planned)
    known = (State.DONE, State.CACHED, State.FAILED, State.QUARANTINED, State.BLOCKED)
    rows = [made[one.process.process_id] for one in planned if one.process.process_id in made]
    seconds = sorted(float(row["wall_s"] or 0.0) for row in rows)
    predicted = sum(one.prediction.cpu_s for one in planned if one.process.process_id in made)
    return RecipeRow(
        recipe=key[0],
        version=key[1],
        planned=len(planned),
        made=counts[State.DONE],
        stood=counts[State.CACHED],
        failed=counts[State.FAILED] + counts[State.QUARANTINED],
        blocked=counts[State.BLOCKED],
        other=len(planned) - sum(counts[one] for one in known),
        median_s=round(statistics.median(seconds), 2) if seconds else None,
        p95_s=round(seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))], 2) if seconds else None,
        max_s=round(seconds[-1], 2) if seconds else None,
        cpu_s=round(sum(float(row["cpu_s"] or 0.0) for row in rows), 2),
        predicted_cpu_s=round(predicted, 2),
        peak_memory_mb=round(max((float(row["max_rss_mb"] or 0.0) for row in rows), default=0.0), 1) if rows else None,
        bytes_written=sum(int(row["bytes_written"] or 0) for row in rows),
    )


def _failures(story: Story) -> tuple[FailureGroup, ...]:
    """By signature; what holds up most comes first."""
    subjects = {one.process.process_id: one.process.subject for one in story.plan.processes}
    held = Counter(story.status.blocked.values())
    groups: dict[str, list[ProcessFailed]] = {}
    for one in story.status.failures:
        groups.setdefault(one.signature or f"{one.recipe} {one.code}", []).append(one)
    found = []
    for signature, events in groups.items():
        first = events[0]
        named = [subjects[one.process_id] for one in events if one.process_id in subjects]
        found.append(
            FailureGroup(
                signature=signature,
                cause=first.cause.value,
                code=first.code,
                recipe=first.recipe,
                account=first.account,
                remedy=first.remedy,
                subjects=tuple(sorted({story.named(one.kind, one.subject_id) for one in named})),
                processes=tuple(sorted(shown("proc", one.process_id) for one in events)),
                blocked=sum(held[one.process_id] for one in events),
            )
        )
    return tuple(sorted(found, key=lambda one: (-one.blocked, -len(one.processes), one.signature)))


def _calibrations(story: Story) -> tuple[CalibrationRow, ...]:
    """Calibrations of the run's observations by group and role, risky levels first."""
    observations = [one.subject_id for one in story.orders if one.is_observation]
    rows = query(
        story.layout,
        "SELECT a.calib_group_id, a.role, g.frame_type, g.night, max(a.level) AS level, min(a.dt_days) AS nearest, "
        "max(a.dt_days) AS farthest, bool_or(a.pinned) AS pinned, "
        "list(DISTINCT a.method ORDER BY a.method) AS methods, "
        "list(DISTINCT o.role ORDER BY o.role) AS serves, list(DISTINCT o.obs_id ORDER BY o.obs_id) AS observations "
        "FROM observation_files o JOIN associations a ON a.consumer_group_id = o.group_id "
        "LEFT JOIN groups g ON g.group_id = a.calib_group_id WHERE o.obs_id IN (SELECT unnest($ids)) "
        "GROUP BY ALL ORDER BY level DESC, g.night, g.frame_type, a.role, a.calib_group_id",
        {"ids": sorted(observations) or [""]},
    ).to_pylist()
    origin = _origins(story)
    return tuple(
        CalibrationRow(
            calibration=f"{row['frame_type'] or 'unknown'} of {row['night'] or 'an unknown night'}",
            group_id=shown("group", row["calib_group_id"]),
            role=row["role"],
            serves=tuple(row["serves"]),
            observations=len(row["observations"]),
            names=tuple(story.named("observation", one) for one in row["observations"][:_NAMES]),
            level=row["level"],
            dt_days=None if row["nearest"] is None else (round(row["nearest"], 3), round(row["farthest"], 3)),
            methods=tuple(one for one in row["methods"] if one),
            pinned=bool(row["pinned"]),
            origin=origin.get(row["calib_group_id"], "used as raw frames"),
        )
        for row in rows
    )


def _origins(story: Story) -> dict[str, str]:
    """Group -> where its master comes from in this run."""
    words = {
        State.DONE: "made in this run",
        State.CACHED: "stood before",
        State.FAILED: "failed",
        State.QUARANTINED: "killed its workers",
        State.BLOCKED: "blocked",
    }
    found: dict[str, str] = {}
    for one in story.plan.processes:
        if one.process.subject.kind == "group":
            state = story.status.states.get(one.process.process_id, State.PLANNED)
            found[one.process.subject.subject_id] = words.get(state, state.value)
    return found


def _outliers(qc: Iterable[tuple[PageOrder, Any]]) -> tuple[QcRowShown, ...]:
    found = [
        QcRowShown(
            verdict=row.verdict,
            subject=f"{order.name}, {order.short_id}",
            night=order.night,
            product_type=row.product_type,
            metric=row.metric,
            value=row.value,
            unit="" if row.unit == "1" else row.unit,
            threshold=row.threshold,
            side=row.side,
            product_id=next(
                (
                    shown("prod", one.product_id)
                    for one in order.products.values()
                    if one.product_type == row.product_type
                ),
                "not made",
            ),
        )
        for order, row in qc
        if row.verdict in ("warn", "refuse")
    ]
    return tuple(
        sorted(found, key=lambda one: (_VERDICTS[one.verdict], one.night, one.subject, one.product_type, one.metric))
    )


def _planes_beyond(orders: Iterable[PageOrder]) -> tuple[PlanesBeyond, ...]:
    found = []
    for order in orders:
        if order.planes_beyond:
            verdicts = Counter(one.verdict for one in order.planes_beyond)
            figures = figures_beyond(order.planes_beyond)
            found.append(
                PlanesBeyond(
                    subject=f"{order.name}, {order.short_id}", night=order.night, refuse=verdicts["refuse"],
                    warn=verdicts["warn"], planes=order.planes_judged,
                    figures=tuple(f"{name.replace('_', ' ')} ({number})" for name, number in figures.most_common(6)),
                )
            )  # fmt: skip
    return tuple(sorted(found, key=lambda one: (-one.refuse, -one.warn, one.night, one.subject)))


def _overrides(story: Story) -> tuple[OverrideRow, ...]:
    touched = Counter(one for planned in story.plan.processes for one in planned.process.override_ids)
    rows = query(
        story.layout,
        "SELECT override_id, kind, match, value, reason, author, expires, source FROM overrides "
        "WHERE expires IS NULL OR expires > $as_of::TIMESTAMP ORDER BY kind, override_id",
        {"as_of": story.plan.as_of},
    ).to_pylist()
    return tuple(
        OverrideRow(
            override_id=row["override_id"], kind=row["kind"] or "", match=row["match"] or "", value=row["value"] or "",
            reason=row["reason"] or "", author=row["author"] or "",
            expires="never" if row["expires"] is None else str(row["expires"]),
            source=row["source"] or "", processes=touched[row["override_id"]],
        )
        for row in rows
    )  # fmt: skip


def _issues(story: Story) -> tuple[IssueRow, ...]:
    """Open issues of the run's subjects, files and processes; those of the archive as a whole too."""
    subjects = {one.subject_id for one in story.orders}
    processes = {one.process.process_id for one in story.plan.processes}
    rows = query(
        story.layout,
        "SELECT severity, code, subject_kind, subject_id, obs_id, group_id, process_id, message, remedy FROM issues "
        "WHERE state = 'open' ORDER BY code, subject_id, message",
    ).to_pylist()
    kept = [
        row
        for row in rows
        if row["subject_kind"] == "archive"
        or {row["subject_id"], row["obs_id"], row["group_id"]} & subjects
        or row["process_id"] in processes
    ]
    kept.sort(key=lambda row: (_SEVERITY.get(row["severity"], 3), row["code"], row["subject_id"] or ""))
    return tuple(
        IssueRow(
            severity=row["severity"] or "", code=row["code"] or "",
            subject=story.named(row["subject_kind"] or "", row["subject_id"] or ""),
            message=row["message"] or "", remedy=row["remedy"] or "",
        )
        for row in kept
    )  # fmt: skip


def _drawing(drawn: Sequence[Drawn]) -> Drawing:
    seconds = [one.stamp.cpu_s for one in drawn]
    small = [size for one in drawn for name, size in one.stamp.pages.items() if name.startswith("thumbnail-")]
    return Drawing(
        drawn=sum(one.fresh for one in drawn),
        stood=sum(not one.fresh for one in drawn),
        median_cpu_s=round(statistics.median(seconds), 2) if seconds else None,
        max_cpu_s=round(max(seconds), 2) if seconds else None,
        peak_memory_mb=max((one.stamp.peak_memory_mb for one in drawn), default=None),
        largest_thumbnail_bytes=max(small, default=0),
    )


def _reproduce(story: Story) -> tuple[tuple[str, str], ...]:
    """Three commands, from raw files to the same products."""
    # By name: a report lies in the archive, and nothing there but `archive.toml` says where raw files are.
    roots = ", ".join(sorted(story.settings.raw_roots))
    named = f" (raw root {roots} of archive.toml)" if roots else ""
    plan = f"plan:{story.plan.plan_id[:12]}"
    return (
        ("archive-proc ingest RAW_DIRECTORY", f"headers of the same raw files{named} give the same ids"),
        (f"archive-proc run {plan}", f"executes exactly this plan, plans/{story.plan.plan_id}.json"),
        ("archive-proc verify --deep", "every product against its seal, byte by byte"),
    )


def subject_states(plan: Plan, status: RunStates) -> dict[tuple[str, str], tuple[str, str]]:
    """(subject, preset) -> state of its worst process in this run, and in words what it waits for or how it failed."""
    ranks = {State.QUARANTINED: 0, State.FAILED: 0, State.LOST: 1, State.BLOCKED: 2, State.DONE: 8, State.CACHED: 9}
    words = {State.DONE: "made", State.CACHED: "stands"}
    failures = {one.process_id: f"{one.recipe}: {one.code} {one.account}" for one in status.failures}
    found: dict[tuple[str, str], tuple[int, str, str]] = {}
    for one in plan.processes:
        process = one.process
        state = status.states.get(process.process_id, State.PLANNED)
        root = status.blocked.get(process.process_id)
        why = failures.get(process.process_id, "")
        if root is not None:
            why = f"{process.recipe} waits for {shown('proc', root)}: {failures.get(root, 'failed')}"
        key = (process.subject.subject_id, process.preset)
        entry = (ranks.get(state, 5), words.get(state, state.value), why)
        found[key] = min(found.get(key, entry), entry)
    for missing in plan.not_planned:
        key = (missing.subject.subject_id, plan.preset)
        found.setdefault(key, (3, "not planned", f"{missing.code} {missing.message}"))
    return {key: (state, why) for key, (_, state, why) in found.items()}


def worst(order: PageOrder, product_type: str) -> str:
    """Worst verdict of a page: of one product, or of all of an observation's."""
    return worst_of([row.verdict for row in order.qc if product_type in ("", row.product_type)])
