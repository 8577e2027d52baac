"""Attempts of processes: made, adopted, made anew, removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from archive_proc.errors import InputError
from archive_proc.execution.adoption import adopt, renew
from archive_proc.execution.cookbooks import Cookbook, cookbook
from archive_proc.execution.liveness import Writer, this_writer
from archive_proc.execution.memory_sizes import MARGIN
from archive_proc.execution.outcome import RunOptions
from archive_proc.execution.preflight import roots_gone
from archive_proc.execution.spec import AttemptDir, AttemptSpec, attempts, write_spec
from archive_proc.execution.work import ProcessWork, chunk_planes, main_size
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId, PlanId, ProcessId, RunId, shown
from archive_proc.model.packed import unpacked
from archive_proc.model.processes import PlannedProcess
from archive_proc.settings import SiteProfile
from archive_proc.storage.layout import Layout
from archive_proc.storage.seal import remove_tree


@dataclass(slots=True, kw_only=True)
class Attempts:
    """Everything under `pending/` that this run owns."""

    plan_id: PlanId
    run_id: RunId
    layout: Layout
    frames: Mapping[FileId, RawFrame]
    site: SiteProfile
    options: RunOptions
    digests: dict[str, str] = field(default_factory=dict)
    """file_id -> pixel digest, of files read whole in this run."""
    _driver: Writer = field(default_factory=this_writer)
    _left_behind: dict[ProcessId, list[int]] = field(default_factory=dict)

    def look_around(self) -> None:
        """Note which attempts earlier drivers left; before this one makes any."""
        self._left_behind = attempts(self.layout)

    def take(self, planned: PlannedProcess, priority: float, whole_s: float = 0.0) -> ProcessWork | None:
        """Begin to work on a process: adopt or make its attempt; in one piece where it is predicted to last no longer
        than `whole_s` and nobody has begun with its chunks.

        None when an earlier driver had sealed it and it is published now. Raises what makes an attempt impossible.
        """
        planned = unpacked(planned)
        process_id = planned.process.process_id
        left = self._left_behind.pop(process_id, [])
        frames = self._main_frames(planned)
        work = self._work(planned, priority, frames, whole=not left and planned.prediction.cpu_s <= whole_s)
        adopted = adopt(self.layout, process_id, left, keep_chunks=work.chunked)
        if adopted.sealed:
            return None
        if adopted.receipts:
            work.attempt = adopted.attempt
            work.adopt(adopted.receipts)
            renew(self.layout, process_id, work.attempt, self._spec(work, frames))
        else:
            work.attempt = adopted.attempt + 1
            write_spec(self.directory(work), self._spec(work, frames))
        return work

    def again(self, work: ProcessWork) -> None:
        """Try again under a new number: finished chunks move along, a writer that still lived would find nothing."""
        before = self.directory(work)
        work.attempt += 1
        work.retrying = work.counted = False
        if work.chunked and before.path.exists():
            remove_tree(before.marks)
            before.path.rename(self.directory(work).path)
        else:
            remove_tree(before.path)
            work.done.clear()
        write_spec(self.directory(work), self._spec(work, self._main_frames(work.planned)))

    def remove(self, work: ProcessWork) -> None:
        """Remove what an ended process left."""
        remove_tree(self.directory(work).path)

    def directory(self, work: ProcessWork) -> AttemptDir:
        """Where its present attempt lies."""
        return AttemptDir(self.layout.pending_dir(work.process.process_id, work.attempt))

    @property
    def _cookbook(self) -> Cookbook:
        return cookbook(self.options.cookbook)

    def _work(
        self, planned: PlannedProcess, priority: float, frames: tuple[RawFrame, ...], *, whole: bool
    ) -> ProcessWork:
        recipe = self._cookbook.recipe(planned.process.recipe)
        size = main_size(planned.process, recipe, frames, self.layout, self._cookbook)
        asked = self.options.chunk_planes
        chunk = asked or (max(1, size.planes) if whole else chunk_planes(size, self.site.chunk_gb))
        return ProcessWork(
            planned=planned,
            priority=priority,
            attempt=1,
            size=size,
            chunk=chunk,
            passes=len(recipe.passes),
            needs_gb=MARGIN * planned.prediction.memory_gb,
            chunked=recipe.axis == "planes" and size.planes > chunk,
        )

    def roots_gone(self, planned: PlannedProcess) -> bool:
        """Whether a raw root that a process reads is not there now, seen from the driver."""
        names = {frame.uri.partition("/")[0] for frame in self._main_frames(planned)}
        return roots_gone(self.options.raw_roots, names)

    def _main_frames(self, planned: PlannedProcess) -> tuple[RawFrame, ...]:
        process = planned.process
        found: list[RawFrame] = []
        for entry in process.main:
            if entry.kind != "file":
                continue
            frame = self.frames.get(FileId(entry.input_id))
            if frame is None:
                raise InputError(
                    "AP-RUN-018",
                    f"its main file {entry.input_id} is in no manifest",
                    subject=shown("proc", process.process_id),
                    remedy="archive-proc ingest, then plan again",
                )
            found.append(frame)
        return tuple(found)

    def _spec(self, work: ProcessWork, frames: tuple[RawFrame, ...]) -> AttemptSpec:
        return AttemptSpec(
            process=work.process,
            frames=frames,
            pixel_digests=self._known(frames),
            run_id=self.run_id,
            plan_id=self.plan_id,
            attempt=work.attempt,
            asked_by=self.options.asked_by,
            driver=self._driver,
        )

    def _known(self, frames: tuple[RawFrame, ...]) -> dict[str, str]:
        found: dict[str, str] = {}
        for one in frames:
            digest = self.options.pixel_digests.get(one.file_id) or self.digests.get(one.file_id)
            if digest:
                found[one.file_id] = digest
        return found
