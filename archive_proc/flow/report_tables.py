"""The tables of a run's report: recipes, failures, calibrations, figures beyond limits, overrides, issues."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from archive_proc.catalog.query import query
from archive_proc.flow.story import Story
from archive_proc.model.events import ProcessFailed
from archive_proc.model.ids import ProcessId, shown
from archive_proc.model.processes import PlannedProcess, State
from archive_proc.quality.content import (
    CalibrationRow,
    FailureGroup,
    IssueRow,
    OverrideRow,
    PlanesBeyond,
    QcRowShown,
    RecipeRow,
)
from archive_proc.quality.orders import PageOrder, figures_beyond

# Any: rows of the catalog, whose columns `schema` documents.
Row = dict[str, Any]

_SEVERITY = {"blocking": 0, "warning": 1, "note": 2}
_NAMES = 3
"""Observations named beside a calibration; the others are counted."""
_VERDICTS = {"refuse": 0, "warn": 1, "good": 2}


def recipes(story: Story, made: Mapping[str, Row]) -> tuple[RecipeRow, ...]:
    """What each recipe was planned for, made and cost; `made`: catalog rows of what this run made, by process id."""
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


def failures(story: Story) -> tuple[FailureGroup, ...]:
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


def calibrations(story: Story) -> tuple[CalibrationRow, ...]:
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


def outliers(qc: Iterable[tuple[PageOrder, Any]]) -> tuple[QcRowShown, ...]:
    """Figures beyond a limit, refusing ones first."""
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


def planes_beyond(orders: Iterable[PageOrder]) -> tuple[PlanesBeyond, ...]:
    """Observations with planes beyond a limit, most refused ones first."""
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


def overrides(story: Story) -> tuple[OverrideRow, ...]:
    """Those in force, with the number of processes that each touches."""
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


def issues(story: Story) -> tuple[IssueRow, ...]:
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
