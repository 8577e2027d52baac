"""Doing it: rounds of plan and run, resume; the catalog is published as work goes on."""

from __future__ import annotations

import contextlib
import getpass
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from archive_proc.errors import ArchiveProcError, NotFoundError, PreconditionError
from archive_proc.execution.cookbooks import DEFAULT_COOKBOOK
from archive_proc.execution.executor import execute
from archive_proc.execution.lock import Lease, acquire
from archive_proc.execution.notifying import Notice, notify
from archive_proc.execution.outcome import EarlierFailure, RunOptions, RunOutcome
from archive_proc.flow.campaign import Campaign
from archive_proc.flow.compactor import APART_FROM, Compactor
from archive_proc.flow.publish import publish
from archive_proc.model.events import ProcessChanged, ProcessFailed
from archive_proc.model.frames import ABSENT, RawFrame
from archive_proc.model.ids import FileId, ObsId, PlanId, ProcessId, RunId
from archive_proc.model.packed import PACKED_FROM, PackedFrames, packed_plan
from archive_proc.model.processes import Cause, Plan, State
from archive_proc.planning.text import plan_from_json, plan_lines
from archive_proc.settings import SiteProfile
from archive_proc.storage.atomic import write_pieces
from archive_proc.storage.journal import iter_journals, read_journal
from archive_proc.storage.layout import Layout
from archive_proc.storage.resident_memory import give_back
from archive_proc.storage.runs import read_run

ROUNDS = 3
"""Plans that `run SELECTION` makes at most, where something failed that others replace or do without (DESIGN 4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How the user wants a run done; nothing of it can change a result."""

    site: SiteProfile
    retry: bool = False
    """Try again what failed for its data or code before."""
    max_failures: int | None = None
    progress: bool = True
    chunk_planes: int | None = None


def save_plan(layout: Layout, plan: Plan) -> Path:
    """Write `plans/<plan_id>.json`, once: its reasons and predictions are those that processes were made with."""
    path = layout.plan(plan.plan_id)
    if not path.is_file():
        write_pieces(path, plan_lines(plan))
    return path


def load_plan(layout: Layout, plan_id: PlanId) -> Plan:
    """A saved plan. Raises NotFoundError (AP-PLN-031) where it is not there, MisuseError where its text was edited."""
    path = layout.plan(plan_id)
    if not path.is_file():
        raise NotFoundError("AP-PLN-031", "no such plan", subject=f"plan {plan_id[:12]}", remedy="archive-proc plan")
    return plan_from_json(path.read_bytes(), f"plans/{path.name}", small=True)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be planned and run."""

    obs_ids: tuple[ObsId, ...]
    product_types: tuple[str, ...]
    words: str
    """As the user gave it."""
    file_ids: tuple[FileId, ...] = ()


class Source(Protocol):
    """Where the campaign comes from (`Archive`). While a large plan runs nobody holds it: it is a kilobyte and more a
    raw file.
    """

    @property
    def campaign(self) -> Campaign:
        """As it was read, or anew."""

    def forget(self) -> None:
        """What was read may go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Means:
    """What a run needs of its campaign."""

    layout: Layout
    raw_roots: Mapping[str, Path]
    cookbook: str
    frames: Mapping[FileId, RawFrame]
    """Of the plan's main inputs; of a large plan packed."""
    pixel_digests: Mapping[str, str]


def _means(source: Source, plan: Plan) -> _Means:
    """Taken from the campaign, which is forgotten where the plan is large."""
    campaign = source.campaign
    expect_pixels(campaign, plan)
    frames: Mapping[FileId, RawFrame] = campaign.frames
    large = len(plan.processes) >= PACKED_FROM
    if large:
        main = {FileId(entry.input_id) for one in plan.processes for entry in one.process.main if entry.kind == "file"}
        frames = PackedFrames(frames[one] for one in sorted(main & frames.keys()))
    found = _Means(
        layout=campaign.layout,
        raw_roots={name: Path(root) for name, root in campaign.settings.raw_roots.items()},
        cookbook=campaign.cookbook_module or DEFAULT_COOKBOOK,
        frames=frames,
        pixel_digests=_pixel_digests(campaign, plan),
    )
    if large:
        del campaign
        source.forget()
        give_back()
    return found


def run_selection(source: Source, asked: Asked, order: Order, lease: Lease) -> tuple[Plan, tuple[RunOutcome, ...]]:
    """Plan and run; where a calibration refused itself, or something failed that others can do without, plan again with
    the next candidate, at most three rounds.
    """
    plan = _planned(source, asked, retry=order.retry)
    outcomes: list[RunOutcome] = []
    while True:
        means = _means(source, plan)
        save_plan(means.layout, plan)
        outcomes.append(_execute(means, plan, order, lease))
        last = outcomes[-1]
        # What failed may be a calibration that another replaces, or one of many that each may lack.
        news = any(one.earlier_run is None for one in last.failures)
        if last.stopped or not news or len(outcomes) == ROUNDS:
            break
        again = _planned(source, asked, again=True)
        if again.plan_id == plan.plan_id:
            break
        plan = again
    if len(outcomes) > 1:
        # What the rounds refused changes the associations: a fresh look at the same archive, for the catalog.
        publish(means.layout, replace(source.campaign).understanding)
    return plan, tuple(outcomes)


def _planned(source: Source, asked: Asked, *, retry: bool = False, again: bool = False) -> Plan:
    found = source.campaign.plan(
        asked.obs_ids, asked.product_types, asked.words, file_ids=asked.file_ids, retry=retry, again=again
    )
    return packed_plan(found)


def run_plan(source: Source, plan: Plan, order: Order, run_id: RunId | None = None) -> RunOutcome:
    """Run a saved plan exactly; nothing is planned again. `run_id`: a run to be continued."""
    layout = source.campaign.layout
    with telling(layout, order) as ended, acquire(layout, f"run plan {plan.plan_id[:12]}") as lease:
        publish(layout, source.campaign.understanding)
        ended.append(_execute(_means(source, plan), plan, order, lease, run_id))
    return ended[-1]


def resume(source: Source, run_id: RunId, order: Order) -> RunOutcome:
    """Continue a run: same plan, only what is missing."""
    layout = source.campaign.layout
    return run_plan(source, load_plan(layout, read_run(layout, run_id).plan_id), order, run_id)


def standing_failures(layout: Layout) -> dict[ProcessId, EarlierFailure]:
    """Failures by `data` and `code`, and poison, that no later attempt mended: not tried again without `--retry` or a
    changed id.
    """
    found: dict[ProcessId, EarlierFailure] = {}
    for run_id, path in iter_journals(layout.runs):
        for event in read_journal(path).events:
            if isinstance(event, ProcessFailed) and event.final:
                if event.cause in (Cause.DATA, Cause.CODE) or event.poison:
                    found.setdefault(event.process_id, EarlierFailure(event.earlier_run or RunId(run_id), event))
            elif isinstance(event, ProcessChanged) and event.state in (State.DONE, State.RUNNING):
                found.pop(event.process_id, None)
    return found


def expect_pixels(campaign: Campaign, plan: Plan) -> None:
    """Raise PreconditionError AP-RUN-060 where what is to run reads raw files of which only the headers are known."""
    if campaign.cookbook_module is not None:
        return  # stand-ins of `bench` cost what recipes cost, and read no pixel
    read = {
        FileId(one.input_id)
        for planned in plan.processes
        if planned.to_run
        for one in planned.process.inputs
        if one.kind == "file"
    }
    absent = sorted(one for one in read if campaign.frames[one].pixels == ABSENT)
    if absent:
        raise PreconditionError(
            "AP-RUN-060",
            f"{len(absent)} of {len(read)} raw files have no pixels, first {absent[0]}",
            subject=f"plan {plan.plan_id[:12]}",
            remedy="ingest the files themselves, or select observations that have them",
        )


@contextlib.contextmanager
def telling(layout: Layout, order: Order) -> Iterator[list[RunOutcome]]:
    """Run the user's command at the end of what happens inside, also where it ends in a refusal.

    What is done inside puts its outcome into the list. To stand outside the lease: the command may be the next run.
    """
    ended: list[RunOutcome] = []
    site = order.site.name
    try:
        yield ended
    except ArchiveProcError as answer:
        status = answer.exit_status
        _tell(order, Notice(root=layout.root, state="refused", site=site, reason=answer.line, exit_status=status))
        raise
    if ended:
        last = ended[-1]
        notice = Notice(
            root=layout.root,
            state="stopped" if last.stopped else "ended",
            run_id=last.run_id,
            plan_id=last.plan_id,
            site=site,
            reason=last.stopped,
            exit_status=last.exit_status,
            counts=last.counts,
        )
        _tell(order, notice)


def _tell(order: Order, notice: Notice) -> None:
    if order.site.notify and (warning := notify(order.site.notify, notice)):
        print(warning, file=sys.stderr, flush=True)


def _execute(means: _Means, plan: Plan, order: Order, lease: Lease, run_id: RunId | None = None) -> RunOutcome:
    layout = means.layout
    planned = {one.process.process_id for one in plan.processes}
    earlier = {} if order.retry else standing_failures(layout)
    # The catalog of a large run is made by another process: it takes memory for whole tables.
    large = sum(one.to_run for one in plan.processes) >= APART_FROM
    compactor = Compactor(layout) if large else None
    options = RunOptions(
        raw_roots=means.raw_roots,
        pixel_digests=means.pixel_digests,
        earlier_failures={pid: one for pid, one in earlier.items() if pid in planned},
        asked_by=_user(),
        run_id=run_id,
        chunk_planes=order.chunk_planes,
        max_failures=order.max_failures,
        publish=compactor or (lambda: _publish(layout)),
        progress=order.progress,
        cookbook=means.cookbook,
    )
    try:
        return execute(plan, layout, means.frames, order.site, options, lease)
    finally:
        if compactor is not None:
            compactor.close()


def _publish(layout: Layout) -> None:
    publish(layout)


def _pixel_digests(campaign: Campaign, plan: Plan) -> dict[str, str]:
    """What earlier processes read in the files of this plan, so that other pixels under one header are noticed."""
    from archive_proc.catalog.pixels import known_pixels

    if not any(one.to_run for one in plan.processes):
        return {}
    return known_pixels(campaign.layout, {one.file_id: one.content_id for one in campaign.raw_frames})


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
