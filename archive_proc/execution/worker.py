"""What runs on a worker: a bundle of tasks. Ids in, pixels from and to the store, small reports out.

Any task may run twice: it writes the same whole shards and files again.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from archive_proc.execution.births import first_answer
from archive_proc.execution.cache import worker_cache
from archive_proc.execution.calls import Bundle, TaskCall, TaskReport, WorkerSettings
from archive_proc.execution.closing import Closing, Gathered, close_process, root_attrs
from archive_proc.execution.compiling import compiling_apart, import_libraries
from archive_proc.execution.cookbooks import Cookbook, cookbook
from archive_proc.execution.failures import facts_of
from archive_proc.execution.inputs import LARGE_GB, Prepared, prepare
from archive_proc.execution.liveness import alive, host_name
from archive_proc.execution.meters import Gauge, Sayings, listening, marked
from archive_proc.execution.planes import RawPlanes, Stripes, compare_digests, file_digests
from archive_proc.execution.receipts import Receipt, read_receipts, write_receipt
from archive_proc.execution.spec import AttemptDir, AttemptSpec, read_spec
from archive_proc.execution.sweeps import chosen_rows, foresee, run_block, run_stripes, settled, shards
from archive_proc.model.phases import Phase
from archive_proc.model.processes import Cause
from archive_proc.model.records import SealedObject
from archive_proc.recipes.recipe import Arrays, BlockOutput
from archive_proc.storage.blocks import read_blocks, write_blocks
from archive_proc.storage.forms import ArrayPlan
from archive_proc.storage.layout import Layout
from archive_proc.storage.products import (
    STORE_NAME,
    ProductFormError,
    create_product,
    create_store,
    limit_threads,
    plan_product,
    write_planes,
)
from archive_proc.storage.resident_memory import give_back, resident_bytes
from archive_proc.storage.seal import is_sealed, remove_tree


class StoppedError(Exception):
    """The task was told to stop between two blocks; what it finished stays."""


def run_bundle(bundle: Bundle, should_stop: Callable[[], bool] | None = None) -> tuple[TaskReport, ...]:
    """Run the tasks of a bundle one after the other: one report a call. None of them can end another's process.

    What would only fail, too, goes back unexecuted: after a full disk, and after as many equal faults of the code as
    pause a recipe.
    """
    reports: list[TaskReport] = []
    faults: Counter[str] = Counter()
    for call in bundle.calls:
        report = run_task(bundle.settings, call, should_stop)
        reports.append(report)
        failure = report.failure
        if failure is not None and failure.cause is Cause.CODE:
            faults[failure.signature] += 1
        hopeless = 0 < bundle.settings.breaker <= max(faults.values(), default=0)
        if report.stopped or hopeless or (failure is not None and failure.disk_full):
            break
    return (*reports, *(_not_begun(one) for one in bundle.calls[len(reports) :]))


def _not_begun(call: TaskCall) -> TaskReport:
    return TaskReport(
        process_id=call.process_id,
        attempt=call.attempt,
        task=call.task,
        host=host_name(),
        pid=os.getpid(),
        stopped=True,
    )


def run_task(settings: WorkerSettings, call: TaskCall, should_stop: Callable[[], bool] | None = None) -> TaskReport:
    """Run one task and report. Every exception becomes a failure with a cause; none leaves this function."""
    gauge = Gauge()
    layout = Layout(Path(settings.root))
    directory = AttemptDir(layout.pending_dir(call.process_id, call.attempt))
    report = partial(
        TaskReport,
        process_id=call.process_id,
        attempt=call.attempt,
        task=call.task,
        host=host_name(),
        pid=os.getpid(),
        started_at=gauge.started_at,
    )
    sealed, stopped, failure = False, False, None
    digests: dict[str, str] | None = None
    try:
        limit_threads()
        if is_sealed(layout, call.process_id):
            sealed = True
        else:
            limit_s = settings.task_limit_s
            with marked(directory, call.task, isolated=settings.isolated, limit_s=limit_s), listening() as said:
                work = _Work(settings, call, layout, directory, gauge, said, should_stop)
                digests = work.run()
            sealed = digests is not None
    except StoppedError:
        stopped = True
    except Exception as error:
        failure = facts_of(error)
    meters = gauge.read()
    return report(
        wall_s=meters.wall_s,
        cpu_s=meters.cpu_s,
        peak_memory_bytes=meters.peak_memory_bytes,
        resident_bytes=resident_bytes(),
        bytes_read=meters.bytes_read,
        planes_read=meters.planes_read,
        phases=meters.phases,
        worker_start=first_answer(),
        sealed=sealed,
        stopped=stopped,
        failure=failure,
        pixel_digests=tuple(sorted((digests or {}).items())),
    )


@dataclass(slots=True)
class _Work:
    """One task at work."""

    settings: WorkerSettings
    call: TaskCall
    layout: Layout
    directory: AttemptDir
    gauge: Gauge
    said: Sayings
    should_stop: Callable[[], bool] | None
    let_go: Callable[[], None] = field(default=lambda: None)
    """Of what compiling kernels left behind."""

    def run(self) -> dict[str, str] | None:
        """Run it; pixel digests when the process ended sealed, None when more tasks are to come."""
        settings, clock = self.settings, self.gauge.clock
        with clock(Phase.START):
            book = cookbook(settings.cookbook)
            import_libraries(book.module)
        spec = read_spec(self.directory)
        roots = {name: Path(path) for name, path in settings.raw_roots}
        prepared = prepare(spec, self.layout, roots, book, worker_cache(settings.root, settings.cache_bytes), clock)
        self.gauge.bytes_read += prepared.loaded_bytes
        closing = Closing(
            spec,
            self.layout,
            self.directory,
            book,
            prepared,
            _block_plans(spec, book, prepared),
            settings.verify_full,
            clock,
        )
        try:
            with compiling_apart(clock) as self.let_go:
                return self._task(closing)
        finally:
            prepared.main.close()

    def _task(self, closing: Closing) -> dict[str, str] | None:
        task, clock = self.call.task, self.gauge.clock
        match task.kind:
            case "all":
                return self._all(closing)
            case "prepare":
                self._create(closing)
                self._receipt()
            case "block":
                self._chunk(closing)
            case "reduce":
                with clock(Phase.REDUCE):
                    shared = self._reduce(closing, task.pass_index, read_receipts(self.directory))
                    kept = self._keep(self.directory.shared(task.pass_index), shared)
                self._receipt(kept=(kept,))
            case "close":
                return self._close(closing)
            case _:
                raise ValueError(f"no task {task.kind}")
        return None

    def check(self) -> None:
        """Between blocks: stop when told to, or when the driver that asked is dead."""
        settings = self.settings
        told = (self.should_stop is not None and self.should_stop()) or (
            settings.stop_file != "" and Path(settings.stop_file).exists()
        )
        if told or alive(settings.driver) is False:
            raise StoppedError

    def _create(self, closing: Closing) -> None:
        with self.gauge.clock(Phase.WRITE):
            self._create_store(closing)

    def _create_store(self, closing: Closing) -> None:
        remove_tree(self.directory.out)
        store = self.directory.out / STORE_NAME
        self.directory.out.mkdir(parents=True)
        create_store(store, root_attrs(closing.spec.process))
        for product_type, plans in closing.block_plans.items():
            create_product(store, product_type, plans)

    def _all(self, closing: Closing) -> dict[str, str]:
        """Every pass in this task, nothing between them on disk."""
        self._create(closing)
        gathered = Gathered()
        prepared = closing.prepared
        sweep = self._rows if prepared.recipe.axis == "rows" else self._planes
        shared = sweep(closing, gathered)
        if isinstance(prepared.main, RawPlanes):
            gathered.plane_digests.extend(prepared.main.plane_digests())
        self._count_reads(prepared)
        return close_process(closing, shared, gathered, self.gauge, self.said)

    def _planes(self, closing: Closing, gathered: Gathered) -> Arrays:
        prepared = closing.prepared
        shared: Arrays = {}
        last = len(prepared.recipe.passes) - 1
        blocks = shards(prepared.n_planes)
        # A few planes are kept from pass to pass: reading compressed ones again costs as much as some of the passes.
        once = prepared.main.few(prepared.n_planes)
        if once:
            foresee(prepared, range(last + 1), blocks)
        for index, sweep in enumerate(prepared.recipe.passes):
            summaries: list[Arrays] = []
            if not once:
                foresee(prepared, (index,), blocks)
            for first, stop in blocks:
                self.check()
                output = run_block(prepared, index, first, stop, shared, self.gauge.clock)
                summaries.append(settled(output.summary))
                self._write(closing, output, first, index == last, gathered)
                # It may lie in its block's pixels, which would stand beside those of the next one.
                del output
            if not once or index == last:
                prepared.main.close()
            self._compare(closing, index)
            with self.gauge.clock(Phase.REDUCE):
                shared = settled(sweep.reduce(summaries, prepared.inputs, shared))
            if prepared.recipe.cost.memory_gb > LARGE_GB and index < last:
                # What a pass leaves lying about in the process would stand beside the next one's arrays.
                self.let_go()
                give_back()
        return shared

    def _rows(self, closing: Closing, gathered: Gathered) -> Arrays:
        prepared = closing.prepared
        shared: Arrays = {}
        if not isinstance(prepared.main, RawPlanes):
            raise ProductFormError(
                "AP-RUN-015",
                "a row-wise recipe works on raw frames only",
                subject=prepared.recipe.name,
                remedy="mend the recipe's declaration",
            )
        subject = closing.spec.process.subject
        rows = chosen_rows(prepared.inputs.planes, f"{subject.kind} {subject.subject_id}")
        if len(rows) < prepared.n_planes:
            gathered.planes_used = tuple(int(one) for one in rows)
        with Stripes(prepared.main, rows, self.directory.scratch, self.settings.spill_bytes) as source:
            self._compare(closing, 0)
            for index, sweep in enumerate(prepared.recipe.passes):
                summaries: list[Arrays] = []
                height, clock = prepared.main.height, self.gauge.clock
                for output in run_stripes(prepared, index, source, height, rows, shared, clock):
                    self.check()
                    summaries.append(settled(output.summary))
                with clock(Phase.REDUCE):
                    shared = settled(sweep.reduce(summaries, prepared.inputs, shared))
        return shared

    def _compare(self, closing: Closing, pass_index: int) -> None:
        """Before the first reduction: other pixels under a known header end the process early."""
        main = closing.prepared.main
        if pass_index == 0 and isinstance(main, RawPlanes):
            found = file_digests(closing.prepared.inputs.frames, main.plane_digests())
            compare_digests(found, closing.spec.pixel_digests)

    def _write(self, closing: Closing, output: BlockOutput, first: int, last: bool, gathered: Gathered) -> None:
        """Frame-axis arrays of a block: only the last pass gives them, and it gives all of them."""
        wanted = set(closing.block_plans) if last else set()
        if set(output.planes) != wanted:
            raise ProductFormError(
                "AP-STO-013",
                f"a block of {'the last' if last else 'an earlier'} pass gave planes of {sorted(output.planes)}, "
                f"expected {sorted(wanted)}",
                subject=closing.prepared.recipe.name,
                remedy="mend the recipe: the last pass writes, the others summarise",
            )
        store = self.directory.out / STORE_NAME
        for product_type, arrays in output.planes.items():
            plans = closing.block_plans[product_type]
            written = write_planes(store, product_type, plans, first, arrays, self.gauge.clock)
            gathered.objects.update({one.name: one for one in written.objects})
            gathered.block_digests.extend(written.digests)

    def _chunk(self, closing: Closing) -> None:
        """Some shards of one pass; summaries and shards stay as files, then the receipt."""
        task, prepared = self.call.task, closing.prepared
        last = len(prepared.recipe.passes) - 1
        shared = self._shared_before(task.pass_index)
        gathered = Gathered()
        kept: list[SealedObject] = []
        blocks = [one for one in shards(prepared.n_planes) if task.first <= one[0] < task.stop]
        foresee(prepared, (task.pass_index,), blocks)
        for first, stop in blocks:
            self.check()
            output = run_block(prepared, task.pass_index, first, stop, shared, self.gauge.clock)
            self._write(closing, output, first, task.pass_index == last, gathered)
            kept.append(self._keep(self.directory.summary(task.pass_index, first), output.summary))
            del output
        prepared.main.close()
        if isinstance(prepared.main, RawPlanes):
            gathered.plane_digests.extend(prepared.main.plane_digests())
            gathered.file_stamps.extend(prepared.main.file_stamps())
        self._count_reads(prepared)
        self._receipt(kept=tuple(kept), gathered=gathered)

    def _count_reads(self, prepared: Prepared) -> None:
        self.gauge.bytes_read += prepared.main.bytes_read
        self.gauge.planes_read += prepared.main.planes_read

    def _keep(self, path: Path, arrays: Arrays) -> SealedObject:
        size, digest = write_blocks(path, arrays)
        return SealedObject(path.relative_to(self.directory.path).as_posix(), size, digest)

    def _shared_before(self, pass_index: int) -> Arrays:
        return {} if pass_index == 0 else read_blocks(self.directory.shared(pass_index - 1))

    def _reduce(self, closing: Closing, pass_index: int, receipts: tuple[Receipt, ...]) -> Arrays:
        """Summaries of a pass, in plane order, to its shared values."""
        kept = {
            one.name: one.sha256
            for receipt in receipts
            if receipt.task.kind == "block" and receipt.task.pass_index == pass_index
            for one in receipt.kept
        }
        frames = closing.prepared.inputs.frames
        planes = [one for receipt in receipts for one in receipt.plane_digests]
        if isinstance(closing.prepared.main, RawPlanes):
            stamps = [one for receipt in receipts for one in receipt.file_stamps]
            closing.prepared.main.expect_one_reading(planes, stamps)
        compare_digests(file_digests(frames, planes), closing.spec.pixel_digests)
        summaries: list[Arrays] = []
        for first, _ in shards(closing.prepared.n_planes):
            path = self.directory.summary(pass_index, first)
            summaries.append(read_blocks(path, kept.get(path.relative_to(self.directory.path).as_posix())))
        sweep = closing.prepared.recipe.passes[pass_index]
        return settled(sweep.reduce(summaries, closing.prepared.inputs, self._shared_before(pass_index)))

    def _close(self, closing: Closing) -> dict[str, str]:
        receipts = read_receipts(self.directory)
        with self.gauge.clock(Phase.REDUCE):
            shared = self._reduce(closing, len(closing.prepared.recipe.passes) - 1, receipts)
        gathered = Gathered()
        for receipt in receipts:
            gathered.add(receipt)
        return close_process(closing, shared, gathered, self.gauge, self.said)

    def _receipt(self, kept: tuple[SealedObject, ...] = (), gathered: Gathered | None = None) -> None:
        done = gathered or Gathered()
        receipt = Receipt(
            task=self.call.task,
            kept=kept,
            objects=tuple(done.objects.values()),
            block_digests=tuple(done.block_digests),
            plane_digests=tuple(done.plane_digests),
            file_stamps=tuple(done.file_stamps),
            meters=self.gauge.read(),
            warnings=self.said.warnings,
            log=self.said.log,
            host=host_name(),
            pid=os.getpid(),
        )
        write_receipt(self.directory, receipt)


def _block_plans(spec: AttemptSpec, book: Cookbook, prepared: Prepared) -> Mapping[str, tuple[ArrayPlan, ...]]:
    """The arrays that blocks write, by product type."""
    given = prepared.recipe.sizes(prepared.inputs) if prepared.recipe.sizes else {}
    plans: dict[str, tuple[ArrayPlan, ...]] = {}
    for product_type in spec.process.product_types:
        form = book.form(product_type)
        if any(one.by_block for one in form.variables):
            sizes = {"frame": prepared.n_planes, **given.get(product_type, {})}
            plans[product_type] = plan_product(form, product_type, sizes, by_block=True)
    return plans
