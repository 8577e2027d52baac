"""A run's report put together from its plan, its journal and the catalog."""

from __future__ import annotations

import datetime as dt
import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence

from archive_proc.catalog.query import query
from archive_proc.flow.report_tables import (
    Row,
    calibrations,
    failures,
    issues,
    outliers,
    overrides,
    planes_beyond,
    recipes,
)
from archive_proc.flow.run_states import RunStates
from archive_proc.flow.story import Story
from archive_proc.model.ids import sha256_hex, shown
from archive_proc.model.processes import Plan, State
from archive_proc.quality.content import (
    Drawing,
    FailureGroup,
    NotPlannedRow,
    RunFacts,
    RunReport,
)
from archive_proc.quality.drawing import Drawn
from archive_proc.quality.orders import PageOrder, worst_of
from archive_proc.version import __version__


def run_report(story: Story) -> RunReport:
    """The report as a value."""
    counts = {state.value: number for state, number in story.status.counts.items() if number}
    made = _made(story)
    failed = failures(story)
    qc = [(order, row) for order in story.orders for row in order.qc]
    return RunReport(
        archive=story.settings.archive_id,
        generated_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        verdict=_verdict(story, failed),
        exit_status=_exit_status(story.status),
        counts=counts,
        total=sum(counts.values()),
        run=_run_facts(story, made),
        observations=tuple(one for one in story.cards if one.kind == "observation"),
        masters=tuple(one for one in story.cards if one.kind != "observation"),
        recipes=recipes(story, made),
        failures=failed,
        not_planned=tuple(
            NotPlannedRow(
                subject=story.named(one.subject.kind, one.subject.subject_id), product_type=one.product_type,
                code=one.code, message=one.message, remedy=one.remedy,
            )
            for one in story.plan.not_planned
        ),
        calibrations=calibrations(story),
        outliers=outliers(qc),
        planes_beyond=planes_beyond(story.orders),
        qc_counts=dict(sorted(Counter(row.verdict or "not judged" for _, row in qc).items())),
        overrides=overrides(story),
        issues=issues(story),
        drawing=_drawing(story.drawn),
        reproduce=_reproduce(story),
    )  # fmt: skip


def _exit_status(status: RunStates) -> int:
    return 3 if any(one.is_failure or one is State.BLOCKED for one, count in status.counts.items() if count) else 0


def _verdict(story: Story, failed: Sequence[FailureGroup]) -> str:
    left = len({one.subject.subject_id for one in story.plan.not_planned})
    said = _outcome(story, failed)
    return f"{said} {left} subject{'' if left == 1 else 's'} could not be planned." if left else said


def _outcome(story: Story, kinds: Sequence[FailureGroup]) -> str:
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
        causes = f", {len(kinds)} kind{'s' if len(kinds) > 1 else ''} of failure" if kinds else ""
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
