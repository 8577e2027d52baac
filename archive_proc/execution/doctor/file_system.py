"""The archive's file system, tried for real: what commits, leases and journals rest on.

Everything happens in one directory of its own beside `products/`, which is removed again.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from archive_proc.execution.doctor.finding import Finding, judged, survived
from archive_proc.storage.answers import free_bytes, size_text
from archive_proc.storage.clock_skew import skew_s
from archive_proc.storage.quotas import allowances, mount_of
from archive_proc.storage.seal import remove_tree

PART = "file system"
ROUNDS = 20
"""Repeats of what is timed; medians are told."""
RIVALS = 4
NAMES = 25
"""Each fought for by all rivals."""
SLOW_SYNC_S = 0.1
SLOW_FILE_S = 0.02
SKEW_WARN_S, SKEW_FAIL_S = 5.0, 300.0
"""SLURM's own messages are refused where clocks differ by five minutes."""
LITTLE_SHARE = 0.05
LITTLE_BYTES = 1e9
MEMORY_KINDS = frozenset({"tmpfs", "ramfs", "overlay"})


def file_system(root: Path) -> list[Finding]:
    """Try the file system that holds an archive."""
    ground = root / f".doctor-{uuid.uuid4().hex}"
    try:
        ground.mkdir()
    except OSError as error:
        remedy = "mount the archive for writing, or mend its permissions"
        return [judged(PART, "writing", "AP-DOC-010", f"{root}: {error.strerror}", fail=True, remedy=remedy)]
    try:
        found = [*kind(root)]
        for name, code, remedy, look in _LOOKS:
            found += survived(PART, name, code, remedy, lambda look=look: look(ground))  # type: ignore[misc]  # mypy: default of a lambda
        return [*found, *room(root)]
    finally:
        with contextlib.suppress(OSError):
            remove_tree(ground)


def kind(root: Path) -> Iterator[Finding]:
    """What it is."""
    mount = mount_of(root)
    if mount is not None:
        yield judged(
            PART,
            "kind",
            "AP-DOC-010",
            f"{mount.kind}, {mount.source} on {mount.point}",
            warn=mount.kind in MEMORY_KINDS,
            remedy="an archive there ends with the machine or its container: move it to a disk",
        )


def renames(ground: Path) -> Iterator[Finding]:
    """A product appears by one rename, and the first wins: a full directory must not be replaced."""
    first, second, place = ground / "first", ground / "second", ground / "place"
    for one in (first, second):
        one.mkdir()
        (one / "x").write_text(one.name)
    first.rename(place)
    try:
        second.rename(place)
    except OSError:
        replaced = False
    else:
        replaced = True
    file, other = ground / "file", ground / "other"
    file.write_text("old")
    with file.open() as reader:
        other.write_text("new")
        other.replace(file)
        kept = reader.read() == "old"
    wrong = [
        *(["a rename replaced a full directory"] if replaced else []),
        *(["a renamed directory has other content"] if (place / "x").read_text() != "first" else []),
        *(["a replaced file does not show its new content"] if file.read_text() != "new" else []),
        *(["a reader lost the file that was replaced under it"] if not kept else []),
    ]
    yield judged(
        PART,
        "renames",
        "AP-DOC-011",
        "; ".join(wrong) or "one step, the first wins, readers keep what they opened",
        fail=bool(wrong),
        remedy="put the archive on another file system: two workers could destroy each other's product here",
    )


def locks(ground: Path) -> Iterator[Finding]:
    """One of several rivals gets a name, by exclusive creation and by link: what leases are made of."""
    wins = {"O_EXCL": _contest(ground, _exclusive), "link": _contest(ground, _linked)}
    wrong = [f"{how}: {won} winners of {NAMES} names" for how, won in wins.items() if won != NAMES]
    yield judged(
        PART,
        "locks",
        "AP-DOC-012",
        "; ".join(wrong) or f"{RIVALS} rivals, {NAMES} names, one winner each",
        fail=bool(wrong),
        remedy="put the archive on another file system: two drivers could work on it at once here",
    )


def _contest(ground: Path, take: Callable[[Path, str], None]) -> int:
    """How often a name was won."""
    won: list[str] = []
    start = threading.Barrier(RIVALS)
    tag = uuid.uuid4().hex

    def rival(number: int) -> None:
        start.wait()
        for at in range(NAMES):
            with contextlib.suppress(FileExistsError):
                take(ground / f"{tag}.{at}", f"{number}.{at}")
                won.append(f"{at}")

    threads = [threading.Thread(target=rival, args=(number,)) for number in range(RIVALS)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return len(won)


def _exclusive(name: Path, mine: str) -> None:
    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))


def _linked(name: Path, mine: str) -> None:
    own = name.with_name(f"{name.name}.{mine}")
    own.write_text(mine)
    try:
        os.link(own, name)
    finally:
        own.unlink()


def links(ground: Path) -> Iterator[Finding]:
    """The catalog's newest snapshot is a symbolic link that is replaced by rename."""
    link, fresh = ground / "current", ground / "fresh"
    link.symlink_to("one")
    fresh.symlink_to("two")
    fresh.replace(link)
    wrong = link.readlink() != Path("two")
    yield judged(
        PART,
        "links",
        "AP-DOC-013",
        "a link could not be replaced" if wrong else "replaced in one step",
        fail=wrong,
        remedy="put the archive on a file system with symbolic links",
    )


def syncs(ground: Path) -> Iterator[Finding]:
    """Files and directories forced to disk, as each product is before its rename."""
    directory = os.open(ground, os.O_RDONLY)
    try:
        taken = statistics.median(_timed(lambda at=at: _synced(ground / f"s{at}", directory)) for at in range(ROUNDS))  # type: ignore[misc]  # as above
    finally:
        os.close(directory)
    yield judged(
        PART,
        "sync",
        "AP-DOC-014",
        f"{1e3 * taken:.1f} ms for a file and its directory",
        warn=taken > SLOW_SYNC_S,
        remedy="a product needs some ten of them: prefer a faster file system for many small processes",
    )


def _synced(path: Path, directory: int) -> None:
    with path.open("wb") as stream:
        stream.write(bytes(4096))
        stream.flush()
        os.fsync(stream.fileno())
    path.replace(path.with_suffix(".there"))
    os.fsync(directory)


def latency(ground: Path) -> Iterator[Finding]:
    """A small file made, looked at and removed."""

    def once(path: Path) -> None:
        path.touch()
        path.stat()
        path.unlink()

    taken = statistics.median(_timed(lambda at=at: once(ground / f"l{at}")) for at in range(ROUNDS))  # type: ignore[misc]  # as above
    yield judged(
        PART,
        "latency",
        "AP-DOC-014",
        f"{1e3 * taken:.1f} ms to make and remove a file",
        warn=taken > SLOW_FILE_S,
        remedy="a busy metadata server: run at another time, or on another file system",
    )


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def clocks(ground: Path) -> Iterator[Finding]:
    """The file system's clock against this host's."""
    ahead = skew_s(ground)
    yield clock_finding(ahead, "the file system's clock")


def clock_finding(ahead: float, whose: str, part: str = PART) -> Finding:
    """What a difference of clocks means."""
    far = abs(ahead)
    way = "ahead of" if ahead > 0 else "behind"
    return judged(
        part,
        "clocks",
        "AP-DOC-015",
        f"{whose} agrees with this host's" if far <= 1 else f"{whose} is {far:.0f} s {way} this host's",
        fail=far > SKEW_FAIL_S,
        warn=far > SKEW_WARN_S,
        remedy="set this host's clock (chronyc tracking shows it); products are safe, times in reports are not",
    )


def room(root: Path) -> Iterator[Finding]:
    """Free space, free inodes, quotas."""
    counted = os.statvfs(root)
    free, size = free_bytes(root), counted.f_frsize * counted.f_blocks
    few = counted.f_files and counted.f_favail < LITTLE_SHARE * counted.f_files
    inodes = f"{counted.f_favail} inodes" if counted.f_files else "it counts no inodes"
    yield judged(
        PART,
        "room",
        "AP-DOC-016",
        f"{size_text(free)} free of {size_text(size)}, {inodes}",
        fail=free < LITTLE_BYTES or (bool(counted.f_files) and not counted.f_favail),
        warn=bool(few) or free < LITTLE_SHARE * size,
        remedy="free space; `archive-proc plan` says what a selection needs",
    )
    told = allowances(root)
    for one in told:
        full = [left == 0 for left in (one.left_bytes, one.left_files)]
        near = one.limit_bytes is not None and one.used_bytes > 0.9 * one.limit_bytes
        near = near or (one.limit_files is not None and one.used_files > 0.9 * one.limit_files)
        yield judged(
            PART,
            f"quota of {one.whose}",
            "AP-DOC-016",
            f"{size_text(one.used_bytes)} of {_limit(one.limit_bytes, size_text)}, "
            f"{one.used_files} files of {_limit(one.limit_files, str)}",
            fail=any(full),
            warn=near,
            remedy="remove what is not needed, or ask for more",
        )
    if not told:
        yield judged(PART, "quota", "AP-DOC-016", "no tool tells of one")


def _limit(limit: int | None, text: Callable[[int], str]) -> str:
    return "no limit" if limit is None else text(limit)


_LOOKS: tuple[tuple[str, str, str, Callable[[Path], Iterator[Finding]]], ...] = (
    ("renames", "AP-DOC-011", "put the archive on another file system", renames),
    ("locks", "AP-DOC-012", "put the archive on a file system with hard links", locks),
    ("links", "AP-DOC-013", "put the archive on a file system with symbolic links", links),
    ("sync", "AP-DOC-014", "put the archive on a file system that can be forced to disk", syncs),
    ("latency", "AP-DOC-014", "look at the file system", latency),
    ("clocks", "AP-DOC-015", "look at the file system", clocks),
)
