"""Run a plan: dispatch processes whose inputs are committed, answer what comes back, write the diary.

The plan is executed exactly. The driver holds all state; back ends only run tasks. What decides is on disk: a process
is done when its seal stands under `products/`.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from archive_proc.errors import PreconditionError, TemporaryError
from archive_proc.execution.attempting import Attempts
from archive_proc.execution.backends import Backend, SerialBackend
from archive_proc.execution.bundling import Bundler
from archive_proc.execution.calls import WorkerSettings
from archive_proc.execution.cookbooks import cookbook
from archive_proc.execution.driver import Driver
from archive_proc.execution.heap import frozen
from archive_proc.execution.larger import WithLarger
from archive_proc.execution.ledger import Ledger
from archive_proc.execution.liveness import host_name, this_writer
from archive_proc.execution.lock import Lease, acquire
from archive_proc.execution.memory_sizes import sizes_gb
from archive_proc.execution.meters import utc_now
from archive_proc.execution.notifying import Notice, PauseNotifier
from archive_proc.execution.outcome import RunOptions, RunOutcome
from archive_proc.execution.preflight import expect_recipes, expect_walltime, preflight
from archive_proc.execution.progress import progress_for
from archive_proc.execution.publishing import Publisher
from archive_proc.execution.schedule import Schedule
from archive_proc.execution.stopping import STOP_NAME, Stopper
from archive_proc.execution.watching import Watch, Watched, watch
from archive_proc.model.events import RunEnded, RunStarted
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId, ProcessId, RunId
from archive_proc.model.packed import PACKED_FROM
from archive_proc.model.processes import Plan, PlannedProcess
from archive_proc.settings import SiteProfile, SlurmProfile
from archive_proc.storage.answers import is_full
from archive_proc.storage.forms import SHARD_PLANES
from archive_proc.storage.journal import JournalWriter
from archive_proc.storage.layout import Layout
from archive_proc.storage.runs import RunFile, new_run_id, write_run
from archive_proc.storage.seal import is_sealed
from archive_proc.version import __version__


def execute(
    plan: Plan,
    layout: Layout,
    frames: Mapping[FileId, RawFrame],
    site: SiteProfile,
    options: RunOptions | None = None,
    lease: Lease | None = None,
) -> RunOutcome:
    """Execute a plan on a site; everything that happened is in the run's journal.

    `frames`: the raw frames of the plan's main inputs, header corrections applied. `lease`: held by the caller, else
    taken for the run. A plan with nothing to do starts no cluster and is recorded all the same. Raises LockedError
    (AP-RUN-001) when another driver lives, PreconditionError before work starts, TemporaryError when the site's
    workers do not come up.
    """
    given = options or RunOptions()
    held = lease or acquire(layout, f"run {given.run_id or f'plan {plan.plan_id[:12]}'}")
    try:
        # With the lease held: no other run can begin, or end, between this id and the work.
        return _run(plan, layout, frames, site, given, given.run_id or new_run_id(layout), held)
    finally:
        if lease is None:
            held.release()


def _run(
    plan: Plan,
    layout: Layout,
    frames: Mapping[FileId, RawFrame],
    site: SiteProfile,
    options: RunOptions,
    run_id: RunId,
    lease: Lease,
) -> RunOutcome:
    to_run = processes_to_run(plan, layout)
    wanted = [one for one in to_run if one.process.process_id not in options.earlier_failures]
    book = cookbook(options.cookbook)
    expect_recipes(wanted, book)
    expect_walltime(site, wanted, book)
    warnings = preflight(layout, site, wanted, _frames_of(wanted, frames), options.raw_roots)
    schedule = Schedule(plan.processes)
    stop_file = layout.run_dir(run_id) / STOP_NAME
    with Stopper(stop_file, options.stop_grace_s, lease.stop_file) as stopper:
        backend = options.backend or backend_for(site, lambda: stopper.now, wanted, layout.run_dir(run_id))
        write_run(
            layout,
            RunFile(
                run_id=run_id,
                plan_id=plan.plan_id,
                asked_by=options.asked_by,
                site=site.name,
                created_at=utc_now(),
                package_version=__version__,
            ),
        )
        watching = watch(layout, run_id, plan.plan_id, schedule, [one.process.process_id for one in to_run], backend)
        pauses = PauseNotifier(site.notify, partial(_paused, layout, site, watching))
        with JournalWriter(layout.journal(run_id), watching.heard, pauses.heard) as journal:
            journal.append(_started(plan, site, options, run_id, backend, len(plan.processes) - len(to_run)))
            watching.write()
            shown = progress_for(
                {one.process.process_id: one for one in to_run}, watching.left_s, wanted=options.progress
            )
            progress = Watched(shown, watching)
            for line in warnings:
                progress.warn(line)
            attempts = Attempts(
                plan_id=plan.plan_id, run_id=run_id, layout=layout, frames=frames, site=site, options=options
            )
            driver = Driver(
                ledger=Ledger(schedule=schedule, journal=journal, progress=progress, breaker=site.breaker),
                attempts=attempts,
                backend=backend,
                lease=lease,
                bundler=Bundler(
                    settings=_worker_settings(attempts, backend, str(stop_file.resolve())),
                    sizes=sizes_gb(site),
                    one_machine=site.backend == "local",
                ),
                stopper=stopper,
                publisher=Publisher(
                    publish=_after_sync(options.publish, journal),
                    every_s=options.publish_every_s,
                    stopper=stopper,
                    say=progress.warn,
                ),
            )
            try:
                with frozen(large=len(plan.processes) >= PACKED_FROM):
                    driver.begin({one.process.process_id for one in to_run})
                    driver.loop()
            except OSError as error:
                if not is_full(error):
                    raise
                backend.stop()  # nobody works on what is tidied away
                driver.give_up()
            except (TemporaryError, PreconditionError) as end:
                # Of the back end: no worker will come, or none that is fit. The run is recorded as any that ended.
                backend.stop()
                driver.abandon(end.code)
                _end(driver, journal)
                watching.write()
                raise
            finally:
                backend.stop()
                progress.close()
                pauses.close()
            _end(driver, journal)
            watching.write()
            return driver.outcome()


def _paused(layout: Layout, site: SiteProfile, watching: Watch, what: str) -> Notice:
    """What is told of a recipe that was paused."""
    course = watching.course
    return Notice(
        root=layout.root,
        state="paused",
        run_id=course.run_id,
        plan_id=course.plan_id,
        site=site.name,
        reason=what,
        counts=course.counts,
    )


def _after_sync(publish: Callable[[], None] | None, journal: JournalWriter) -> Callable[[], None] | None:
    """The compactor reads no line that a power cut could still take back."""
    if publish is None:
        return None

    def synced() -> None:
        journal.sync()
        publish()

    return synced


def _end(driver: Driver, journal: JournalWriter) -> None:
    """Write down that the run ended and publish; on a full disk what can be written, stderr has the rest."""
    try:
        journal.append(_ended(driver), durable=True)
    except OSError as error:
        if not is_full(error):
            raise
        driver.give_up()
    driver.publisher.now(last=True)
    if driver.publisher.behind:
        # Said after the end, because it happened after it.
        with contextlib.suppress(OSError):
            journal.append(_ended(driver), durable=True)


def processes_to_run(plan: Plan, layout: Layout) -> list[PlannedProcess]:
    """What the plan wants made and is not sealed, with everything in the plan that it needs and is not sealed either.

    The plan calls a process cached, too, when its product was pruned and nothing that runs needs it.
    """
    by_id = {one.process.process_id: one for one in plan.processes}
    queue = [one for one in plan.processes if one.to_run]
    found: dict[ProcessId, PlannedProcess] = {}
    while queue:
        one = queue.pop()
        process_id = one.process.process_id
        if process_id not in found and not is_sealed(layout, process_id):
            found[process_id] = one
            queue.extend(by_id[source] for source in one.process.sources if source in by_id)
    return [found[process_id] for process_id in sorted(found)]


def backend_for(
    site: SiteProfile, should_stop: Callable[[], bool], to_run: Sequence[PlannedProcess], directory: Path
) -> Backend:
    """The back end of a site profile; serial, too, when there is nothing to run: no cluster is started for that.

    `directory`: the run's, where a cluster leaves its configuration and logs.
    """
    if site.backend == "serial" or not to_run:
        return SerialBackend(should_stop)
    # Never more workers than there are blocks of planes to work on.
    useful = sum(max(1, math.ceil(one.prediction.planes / SHARD_PLANES)) for one in to_run)
    if site.backend == "slurm":
        from archive_proc.execution.slurm import DaskSlurm

        def jobs(size_gb: float) -> Backend:
            slurm = msgspec.structs.replace(site.slurm or SlurmProfile(), workers_per_job=1, job_memory_gb=0.0)
            larger = msgspec.structs.replace(site, memory_per_worker_gb=size_gb, slurm=slurm)
            return DaskSlurm(larger, directory / f"workers-{size_gb:g}-gb", 1, beside=True)

        return WithLarger(DaskSlurm(site, directory, min(site.workers, useful)), jobs)
    from archive_proc.execution.clusters import DaskLocal

    workers = min(site.workers or os.cpu_count() or 1, useful)
    return WithLarger(DaskLocal(workers, site.memory_per_worker_gb), lambda size_gb: DaskLocal(1, size_gb))


def _worker_settings(attempts: Attempts, backend: Backend, stop_file: str) -> WorkerSettings:
    """What every task of the run is told."""
    options, site = attempts.options, attempts.site
    return WorkerSettings(
        root=str(attempts.layout.root.resolve()),
        cookbook=options.cookbook,
        raw_roots=tuple(sorted((name, str(path)) for name, path in options.raw_roots.items())),
        cache_bytes=int(site.calibration_cache_gb * 1e9),
        verify_full=site.verify == "full",
        driver=this_writer(),
        isolated=backend.isolated,
        stop_file=stop_file,
        task_limit_s=3600.0 * site.task_hours,
        breaker=site.breaker,
    )


def _frames_of(processes: Sequence[PlannedProcess], frames: Mapping[FileId, RawFrame]) -> Iterator[RawFrame]:
    wanted = {entry.input_id for one in processes for entry in one.process.main if entry.kind == "file"}
    found = (frames.get(FileId(one)) for one in sorted(wanted))
    return (one for one in found if one is not None)


def _ended(driver: Driver) -> RunEnded:
    outcome = driver.outcome()
    return RunEnded(
        run_id=outcome.run_id,
        at=utc_now(),
        counts={state.value: count for state, count in outcome.counts.items()},
        stopped=outcome.stopped,
        wall_s=driver.elapsed_s,
        note=outcome.note,
    )


def _started(
    plan: Plan, site: SiteProfile, options: RunOptions, run_id: RunId, backend: Backend, cached: int
) -> RunStarted:
    return RunStarted(
        run_id=run_id,
        plan_id=plan.plan_id,
        at=utc_now(),
        site=site.name,
        backend=backend.name,
        workers=backend.workers,
        asked_by=options.asked_by,
        package_version=__version__,
        host=host_name(),
        pid=this_writer().pid,
        processes=len(plan.processes),
        cached=cached,
        config={name: str(value) for name, value in msgspec.to_builtins(site).items()},
    )
