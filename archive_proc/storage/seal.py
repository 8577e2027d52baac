"""Seal, commit, verify: how a private directory becomes a product, once (notes/storage 2.6).

`seal.json` names every other object with size and sha256 and is written last; everything is forced to disk bottom up;
one rename publishes. The first rename wins. Nothing under `products/` changes afterwards.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from archive_proc.errors import InfraFailure, ProcessFailure
from archive_proc.model.ids import ID_DIGITS, ProcessId, canonical_json
from archive_proc.model.records import Seal, SealedObject, SealProblem
from archive_proc.storage.layout import Layout
from archive_proc.storage.objects import hashed

SEAL_NAME = "seal.json"
GONE = ".gone"
"""End of the name of a tree that is being removed."""
SYNCED_AT_ONCE = 8
"""Files forced to disk side by side."""
SAMPLE_EVERY = 10
"""With `sample` verification one shard in ten (and all metadata) is read again before the rename."""
MISSING = "AP-STO-021"
EXTRA = "AP-STO-022"
SIZE = "AP-STO-023"
CONTENT = "AP-STO-024"
UNREADABLE = "AP-STO-025"


class UnsealedError(ProcessFailure):
    """What a worker wrote is not on disk as it was written."""

    cause = "infra"


@dataclass(frozen=True, slots=True)
class Committed:
    """How a commit ended."""

    won: bool
    """False when another writer had sealed this process first; its product was verified and ours dropped."""
    seal: Seal


def object_names(directory: Path) -> Iterator[str]:
    """Every file below a directory but the seal, sorted, `/` between parts."""
    found = (Path(parent) / name for parent, _, names in os.walk(directory) for name in names)
    yield from sorted(name for path in found if (name := path.relative_to(directory).as_posix()) != SEAL_NAME)


def drop_leftovers(directory: Path) -> None:
    """Remove what an interrupted writer left: zarr's `*.partial`, our `*.tmp`."""
    for name in list(object_names(directory)):
        if name.endswith((".partial", ".tmp")):
            (directory / name).unlink()


def make_seal(
    out: Path,
    process_id: ProcessId,
    attempt: int,
    written: Mapping[str, SealedObject],
    expected: Iterable[str],
    *,
    full: bool = False,
) -> Seal:
    """Check what is in `out` against what was written, then write `seal.json` last, by one rename.

    `written`: objects whose digest was taken when they were written; they are compared in size, one in ten (all with
    `full`) also in content. `expected`: names that must be there, whoever wrote them. Raises UnsealedError
    (AP-STO-020) naming the first object that is missing or differs.
    """
    drop_leftovers(out)
    names = list(object_names(out))
    present = set(names)
    for name in (*written, *expected):
        if name not in present:
            raise _unsealed(name, "is missing")
    objects: list[SealedObject] = []
    for position, name in enumerate(names):
        known = written.get(name)
        if known is None:
            objects.append(hashed(out, name))
            continue
        if (size := (out / name).stat().st_size) != known.size:
            raise _unsealed(name, f"has {size} bytes, {known.size} were written")
        if (full or position % SAMPLE_EVERY == 0) and hashed(out, name) != known:
            raise _unsealed(name, "does not read back as it was written")
        objects.append(known)
    seal = Seal(process_id, attempt, tuple(objects))
    _write_durably(out / SEAL_NAME, canonical_json(msgspec.to_builtins(seal)) + b"\n")
    return seal


def _unsealed(name: str, problem: str) -> UnsealedError:
    return UnsealedError(
        "AP-STO-020",
        f"{name} {problem}",
        subject="product before its seal",
        remedy="the attempt is made again; look at the file system if it happens twice",
    )


def _write_durably(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def fsync_path(path: Path) -> None:
    """Force one file or directory to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(directory: Path) -> None:
    """Force every file and directory to disk, children before parents.

    Files side by side: each alone waits for a commit of the file system's journal, together they share one (thirteen
    files: 92 ms one by one, 17 ms together, on a busy disk).
    """
    walked = [(Path(parent), names) for parent, _, names in os.walk(directory, topdown=False)]
    files = [parent / name for parent, names in walked for name in names]
    with ThreadPoolExecutor(max_workers=max(1, min(SYNCED_AT_ONCE, len(files)))) as pool:
        for _ in pool.map(fsync_path, files):  # raises what one of them raised
            pass
    for parent, _ in walked:
        fsync_path(parent)


def commit(out: Path, destination: Path, seal: Seal) -> Committed:
    """Publish a sealed directory by one rename; the first wins.

    A loser verifies the winner and drops its own. Raises InfraFailure (AP-STO-026) when the name is taken by something
    that is not a sealed product of this process, UnsealedError (AP-STO-020) when a twin has begun `out` anew.
    """
    _make_files_read_only(out)
    fsync_tree(out)
    destination.parent.mkdir(parents=True, exist_ok=True)
    if out.exists() and read_seal(out) != seal:
        # A worker that SLURM ends has no time to end its task: another executes it while this one still goes on.
        raise _unsealed(SEAL_NAME, "is not the one that was written")
    try:
        out.rename(destination)
    except OSError as error:
        # On NFS a rename may report an error after it happened: look before believing it.
        winner = read_seal(destination)
        if winner is None:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise InfraFailure(
                    "AP-STO-026",
                    "the name is taken by a directory without a valid seal",
                    subject=destination.name,
                    remedy="archive-proc verify, remove that directory, run again",
                ) from error
            raise
        if winner.attempt == seal.attempt and not out.exists():
            return Committed(True, winner)
        remove_tree(out)
        return Committed(False, winner)
    fsync_path(destination.parent)
    _make_directories_read_only(destination)
    return Committed(True, seal)


def _make_files_read_only(directory: Path) -> None:
    for parent, _, names in os.walk(directory):
        for name in names:
            (Path(parent) / name).chmod(0o444)


def _make_directories_read_only(directory: Path) -> None:
    # After the rename: moving a directory needs write permission on the directory itself.
    for parent, _, _ in os.walk(directory, topdown=False):
        Path(parent).chmod(0o555)


def remove_tree(directory: Path) -> None:
    """Remove a directory tree, read-only or not; nothing where there is none.

    It is gone at once: a writer that still works in it, and is about to publish it, finds nothing, never half of it.
    """
    if not directory.exists():
        return
    aside = directory.with_name(f"{directory.name}.{uuid.uuid4().hex[:8]}{GONE}")
    try:
        directory.rename(aside)
    except FileNotFoundError:
        return
    except OSError:
        aside = directory  # a full disk may have no room for the name
    for parent, _, _ in os.walk(aside):
        mode = stat.S_IMODE(Path(parent).stat().st_mode)
        if not mode & stat.S_IWUSR:
            Path(parent).chmod(mode | stat.S_IRWXU)
    shutil.rmtree(aside)


def remove_gone(directory: Path) -> None:
    """Remove what `remove_tree` was killed over, among the entries of a directory."""
    for left in directory.glob(f"*{GONE}"):
        shutil.rmtree(left, ignore_errors=True)


def read_seal(product_dir: Path) -> Seal | None:
    """The seal of a process directory; None where there is none that counts."""
    try:
        return msgspec.json.decode((product_dir / SEAL_NAME).read_bytes(), type=Seal)
    except (OSError, msgspec.MsgspecError):
        return None


def is_sealed(layout: Layout, process_id: ProcessId) -> bool:
    """Whether the process is done: its directory stands under `products/` with a seal of its own."""
    seal = read_seal(layout.product_dir(process_id))
    return seal is not None and seal.process_id == process_id


def sealed_processes(layout: Layout) -> tuple[ProcessId, ...]:
    """Every process that has a directory with a seal file, sorted: one listing of 256 directories."""
    found: list[ProcessId] = []
    for prefix in _directories(layout.products):
        found.extend(
            ProcessId(entry.name)
            for entry in _directories(prefix)
            if len(entry.name) == ID_DIGITS and (entry / SEAL_NAME).is_file()
        )
    return tuple(sorted(found))


def _directories(path: Path) -> list[Path]:
    try:
        return sorted(entry for entry in path.iterdir() if entry.is_dir())
    except FileNotFoundError:
        return []


def verify(product_dir: Path, process_id: ProcessId, *, deep: bool = False) -> tuple[SealProblem, ...]:
    """Compare a sealed process with its seal: names and sizes; `deep`, the content of every object too.

    Gives one problem per object: AP-STO-021 missing, -022 not in the seal, -023 size, -024 content; or a single
    AP-STO-025 where the seal itself is missing, unreadable or another process's.
    """
    seal = read_seal(product_dir)
    if seal is None or seal.process_id != process_id:
        return (SealProblem(process_id, SEAL_NAME, UNREADABLE, "missing, unreadable or of another process"),)
    problems: list[SealProblem] = []
    present = set(object_names(product_dir))
    for one in seal.objects:
        if one.name not in present:
            problems.append(SealProblem(process_id, one.name, MISSING, "missing"))
        elif (size := (product_dir / one.name).stat().st_size) != one.size:
            problems.append(SealProblem(process_id, one.name, SIZE, f"{size} bytes, sealed with {one.size}"))
        elif deep and hashed(product_dir, one.name) != one:
            problems.append(SealProblem(process_id, one.name, CONTENT, "content differs from what was sealed"))
    sealed = {one.name for one in seal.objects}
    problems += [SealProblem(process_id, name, EXTRA, "not in the seal") for name in sorted(present - sealed)]
    return tuple(problems)


def expect_whole(product_dir: Path, process_id: ProcessId, group: Path) -> None:
    """Check what somebody is about to read of a sealed process, all below `group`, against its seal.

    Names and sizes, and the content of metadata: a shard that is gone would read as NaN without an error, and only the
    chunks' own bytes carry a checksum. Raises InfraFailure (AP-STO-014) naming product and object.
    """
    seal = read_seal(product_dir)
    if seal is None or seal.process_id != process_id:
        raise _damaged(process_id, group, SEAL_NAME, "missing, unreadable or of another process")
    inside = group.relative_to(product_dir).as_posix() + "/"
    for one in seal.objects:
        if not one.name.startswith(inside):
            continue
        try:
            size = (product_dir / one.name).stat().st_size
            same = size == one.size and (not one.name.endswith(".json") or hashed(product_dir, one.name) == one)
        except OSError as error:
            raise _damaged(process_id, group, one.name, error.strerror or "unreadable") from error
        if not same:
            problem = f"{size} bytes, sealed with {one.size}" if size != one.size else "content differs from its seal"
            raise _damaged(process_id, group, one.name, problem)


def _damaged(process_id: ProcessId, group: Path, name: str, problem: str) -> InfraFailure:
    return InfraFailure(
        "AP-STO-014",
        f"cannot be read: {name}: {problem}",
        subject=f"product {process_id}/{group.name}",
        remedy="move that process out of products/, then run again: it is made anew under the same id",
    )


def verify_products(layout: Layout, *, deep: bool = False) -> tuple[SealProblem, ...]:
    """`verify` over every directory below `products/`, sealed or not."""
    problems: list[SealProblem] = []
    for prefix in _directories(layout.products):
        for entry in _directories(prefix):
            problems.extend(verify(entry, ProcessId(entry.name), deep=deep))
    return tuple(problems)
