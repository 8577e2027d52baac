"""Before work starts: raw roots, disk, memory. What is missing ends the run at once, not process by process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from archive_proc.errors import MisuseError, PreconditionError
from archive_proc.execution.cookbooks import Cookbook
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import shown
from archive_proc.model.processes import PlannedProcess
from archive_proc.settings import SiteProfile
from archive_proc.storage.answers import free_bytes, size_text
from archive_proc.storage.fits_streams import no_gzip
from archive_proc.storage.layout import Layout

DISK_MARGIN = 1.1
_SAMPLE = 20
"""Needed files of a raw root that are looked for before a run."""
_SEVERAL = 5
"""Files of one root that must all be missing before the root itself is doubted."""


def preflight(
    layout: Layout,
    site: SiteProfile,
    to_run: Sequence[PlannedProcess],
    frames: Iterable[RawFrame],
    raw_roots: Mapping[str, Path],
) -> None:
    """Raise PreconditionError for the first thing that is missing.

    AP-ING-007 `gzip`, AP-RUN-031 raw root, AP-RUN-032 disk, AP-RUN-036 inodes, AP-RUN-033 memory, AP-RUN-034
    `pending` on another file system.
    """
    layout.pending.mkdir(parents=True, exist_ok=True)
    layout.products.mkdir(parents=True, exist_ok=True)
    _same_file_system(layout)
    needed = tuple(frames)
    _roots({frame.uri.partition("/")[0] for frame in needed}, raw_roots)
    _mounted(needed, raw_roots)
    if any(frame.compression == "Z" for frame in needed) and shutil.which("gzip") is None:
        raise no_gzip("run")
    _disk(layout, sum(one.prediction.bytes_out for one in to_run))
    _inodes(layout, sum(one.prediction.inodes for one in to_run))
    _memory(site, to_run)


def expect_recipes(to_run: Iterable[PlannedProcess], cookbook: Cookbook) -> None:
    """Raise MisuseError (AP-RUN-039) for a process planned with another version of its recipe than this package has.

    Its id stands for what that version makes: sealed by other code, the same id would mean two things. A recipe that
    is unknown here fails where it is asked for.
    """
    for one in to_run:
        process = one.process
        try:
            version = cookbook.recipe(process.recipe).version
        except MisuseError:
            continue
        if version != process.recipe_version:
            raise MisuseError(
                "AP-RUN-039",
                f"was planned with {process.recipe} {process.recipe_version}, and this package has {version}",
                subject=shown("proc", process.process_id),
                remedy="plan anew: archive-proc run without a plan; or use the release that made the plan",
            )


def _same_file_system(layout: Layout) -> None:
    if layout.pending.stat().st_dev != layout.products.stat().st_dev:
        raise PreconditionError(
            "AP-RUN-034",
            "pending/ and products/ lie on different file systems, so a product could not appear by one rename",
            subject=str(layout.root),
            remedy="move both to one file system",
        )


def _roots(names: set[str], raw_roots: Mapping[str, Path]) -> None:
    for name in sorted(names):
        root = raw_roots.get(name)
        if root is None or not root.exists():
            raise PreconditionError(
                "AP-RUN-031",
                f"raw root {name!r} is {'not set' if root is None else f'not there: {root}'}",
                subject="archive.toml",
                remedy="mount it, or set its directory under [raw_roots]",
            )


def _mounted(frames: Sequence[RawFrame], raw_roots: Mapping[str, Path]) -> None:
    """A root that is gone or empty, or of which none of several needed files is there, is not mounted.

    One or two files that vanished from a root that stands are their own processes' failure: they stop no night.
    """
    by_root: dict[str, list[RawFrame]] = {}
    for frame in frames:
        by_root.setdefault(frame.uri.partition("/")[0], []).append(frame)
    for name, needed in sorted(by_root.items()):
        sample = needed[:: max(1, len(needed) // _SAMPLE)]
        several = len(sample) >= _SEVERAL and not any(_is_there(frame.uri, raw_roots) for frame in sample)
        if several or roots_gone(raw_roots, [name]):
            raise PreconditionError(
                "AP-RUN-031",
                f"raw root {name!r} holds none of the {len(needed)} raw files needed, for example {needed[0].uri}",
                subject="archive.toml",
                remedy="mount it, or ingest the files where they are now; then give the same command",
            )


def _is_there(uri: str, raw_roots: Mapping[str, Path]) -> bool:
    name, _, inside = uri.partition("/")
    try:
        return (raw_roots[name] / inside).exists()
    except OSError:
        return False


def roots_gone(raw_roots: Mapping[str, Path], names: Iterable[str]) -> bool:
    """Whether one of these raw roots is not there now, or is an empty mount point."""
    for name in names:
        try:
            if name not in raw_roots or next(raw_roots[name].iterdir(), None) is None:
                return True
        except OSError:
            return True
    return False


def _disk(layout: Layout, bytes_out: int) -> None:
    free = free_bytes(layout.root)
    if bytes_out * DISK_MARGIN > free:
        raise PreconditionError(
            "AP-RUN-032",
            f"the plan writes about {size_text(bytes_out)} and {size_text(free)} are free",
            subject=str(layout.root),
            remedy="free space, or select less",
        )


def _inodes(layout: Layout, files: int) -> None:
    counted = os.statvfs(layout.root)
    # Some file systems (btrfs) count no inodes at all.
    if counted.f_files and files * DISK_MARGIN > counted.f_favail:
        raise PreconditionError(
            "AP-RUN-036",
            f"the plan makes about {files} files and {counted.f_favail} inodes are free",
            subject=str(layout.root),
            remedy="remove files, ask for more inodes, or select less",
        )


def _memory(site: SiteProfile, to_run: Sequence[PlannedProcess]) -> None:
    largest = max(to_run, key=lambda one: one.prediction.memory_gb, default=None)
    if largest is None or not site.memory_per_worker_gb:
        return
    needed = largest.prediction.memory_gb
    if needed > site.memory_per_worker_gb:
        raise PreconditionError(
            "AP-RUN-033",
            f"{largest.process.recipe} needs about {needed:.1f} GB, a worker has {site.memory_per_worker_gb:.1f}",
            subject=f"process {largest.process.process_id[:12]}",
            remedy="raise memory_per_worker_gb of the site, with fewer workers if need be",
        )
