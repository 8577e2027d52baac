"""What a killed driver left under `pending/`: finished, continued or removed (notes/storage 2.6).

An attempt is touched only when its driver and every worker that left a mark in it are dead. It is continued under a
new number: should a writer of the old one still live against all signs, its paths are gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from archive_proc.execution.liveness import Writer, alive, this_writer
from archive_proc.execution.meters import marks
from archive_proc.execution.receipts import Receipt, drop_receipt, holds, read_receipts
from archive_proc.execution.slurm_queries import listed
from archive_proc.execution.spec import AttemptDir, AttemptSpec, attempts, read_spec, write_spec
from archive_proc.model.ids import ProcessId
from archive_proc.storage.layout import Layout
from archive_proc.storage.objects import hashed
from archive_proc.storage.seal import commit, is_sealed, object_names, read_seal, remove_gone, remove_tree


@dataclass(frozen=True, slots=True)
class Adopted:
    """What was found for one process."""

    attempt: int
    """The highest number seen; the next attempt takes the one after."""
    sealed: bool = False
    """A complete `out/` was published."""
    receipts: tuple[Receipt, ...] = ()
    """Tasks that need not be done again; they lie in attempt `attempt`."""


def dead(directory: AttemptDir) -> bool:
    """Whether nobody works on it any more. Undecidable counts as alive.

    Attempts that this very process made belong to a run it has ended: a driver looks before it makes any.
    """
    me = this_writer()
    try:
        driver = read_spec(directory).driver
    except (OSError, msgspec.MsgspecError, KeyError, TypeError):
        pass  # killed before its spec was written: no worker ever saw it
    else:
        if driver != me and not _gone(driver):
            return False
    return all(mark.writer == me or _gone(mark.writer) for mark in marks(directory))


def _gone(writer: Writer) -> bool:
    """Whether it is dead for certain: by this host's word, else by SLURM's about its job."""
    living = alive(writer)
    if living is None and writer.job:
        living = listed(writer.job)
    return living is False


def adopt(layout: Layout, process_id: ProcessId, numbers: Sequence[int], *, keep_chunks: bool) -> Adopted:
    """Judge the attempts of one process, newest first; what is no longer needed is removed.

    `keep_chunks`: the process will run in chunks again, so receipts that hold are worth keeping.
    """
    highest = max(numbers, default=0)
    kept: tuple[Receipt, ...] = ()
    for number in sorted(numbers, reverse=True):
        directory = AttemptDir(layout.pending_dir(process_id, number))
        if not dead(directory):
            continue
        if publish_whole(layout, process_id, directory):
            remove_tree(directory.path)
            return Adopted(highest, sealed=True)
        held = _held(directory) if keep_chunks and not kept else ()
        if not held:
            remove_tree(directory.path)
            continue
        kept, highest = held, highest + 1
        directory.path.rename(layout.pending_dir(process_id, highest))
    return Adopted(highest, receipts=kept)


def publish_whole(layout: Layout, process_id: ProcessId, directory: AttemptDir) -> bool:
    """Publish an `out/` that was sealed before its writer died and still holds bit by bit."""
    seal = read_seal(directory.out)
    if seal is None or seal.process_id != process_id:
        return False
    if {one.name for one in seal.objects} != set(object_names(directory.out)):
        return False
    if any(hashed(directory.out, one.name) != one for one in seal.objects):
        return False
    commit(directory.out, layout.product_dir(process_id), seal)
    return True


def _held(directory: AttemptDir) -> tuple[Receipt, ...]:
    """Receipts whose objects are all there; the others are dropped. Without the first task nothing counts."""
    try:
        read_spec(directory)
    except (OSError, msgspec.MsgspecError, KeyError, TypeError):
        return ()
    found: list[Receipt] = []
    for receipt in read_receipts(directory):
        if holds(directory, receipt):
            found.append(receipt)
        else:
            drop_receipt(directory, receipt)
    created = any(one.task.kind == "prepare" for one in found)
    remove_tree(directory.marks)
    return tuple(found) if created else ()


def renew(layout: Layout, process_id: ProcessId, attempt: int, spec: AttemptSpec) -> None:
    """Rewrite the spec of a continued attempt for its new driver."""
    write_spec(AttemptDir(layout.pending_dir(process_id, attempt)), replace(spec, attempt=attempt))


def sweep_sealed(layout: Layout) -> None:
    """Remove dead attempts of processes that are sealed: what a kill after the rename leaves, or amid a removal."""
    remove_gone(layout.pending)
    for process_id, numbers in attempts(layout).items():
        if is_sealed(layout, process_id):
            for number in numbers:
                directory = AttemptDir(layout.pending_dir(process_id, number))
                if dead(directory):
                    remove_tree(directory.path)
