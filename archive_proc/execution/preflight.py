"""Before work starts: raw roots, room, memory, clocks. What is missing ends the run at once, not each process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from archive_proc.errors import MisuseError, PreconditionError
from archive_proc.execution.cookbooks import Cookbook
from archive_proc.execution.memory_sizes import sizes_gb
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import shown
from archive_proc.model.processes import PlannedProcess
from archive_proc.planning.resources import CHUNK_PLANES, MARGIN
from archive_proc.settings import SiteProfile, walltime_seconds
from archive_proc.storage.answers import free_bytes, size_text
from archive_proc.storage.clock_skew import skew_s
from archive_proc.storage.fits_streams import no_gzip
from archive_proc.storage.layout import Layout
from archive_proc.storage.quotas import allowances, tightest

CHUNK_GB = 0.5
"""Raw pixels of `CHUNK_PLANES` planes."""
SKEW_S = 60.0
"""Clocks that differ by more are named."""
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
) -> tuple[str, ...]:
    """Raise PreconditionError for the first thing that is missing; give warnings of what is only odd.

    AP-ING-007 `gzip`, AP-RUN-031 raw root, AP-RUN-032 disk, AP-RUN-036 inodes, AP-RUN-072 quota, AP-RUN-033 memory,
    AP-RUN-034 `pending` on another file system. Warned of: AP-RUN-071 clocks that differ.
    """
    layout.pending.mkdir(parents=True, exist_ok=True)
    layout.products.mkdir(parents=True, exist_ok=True)
    _same_file_system(layout)
    # Looked at one by one: of a large plan they are not all in memory.
    by_root: dict[str, list[str]] = {}
    zipped = False
    for frame in frames:
        by_root.setdefault(frame.uri.partition("/")[0], []).append(frame.uri)
        zipped = zipped or frame.compression == "Z"
    _roots(set(by_root), raw_roots)
    _mounted(by_root, raw_roots)
    if zipped and shutil.which("gzip") is None:
        raise no_gzip("run")
    bytes_out, files = (sum(getattr(one.prediction, name) for one in to_run) for name in ("bytes_out", "inodes"))
    _disk(layout, bytes_out)
    _inodes(layout, files)
    if to_run:
        _quota(layout, bytes_out, files)
    _memory(site, to_run)
    return _clocks(layout)


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


def expect_walltime(site: SiteProfile, to_run: Iterable[PlannedProcess], cookbook: Cookbook) -> None:
    """Raise PreconditionError (AP-RUN-073) for a task that takes longer than its site lets one execute.

    It would be ended and begun again: a worker of a SLURM site lives so long, and nowhere but in the driver's own
    process may a task take longer than `task_hours`. What is cut into chunks counts by the chunk, anything else whole,
    both by the slowest tenth of past processes.
    """
    bounds = [(3600 * site.task_hours, "task may take", "task_hours")] if site.task_hours else []
    if (slurm := site.slurm) is not None:
        lives = (walltime_seconds(slurm.walltime) or 0) - 60 * slurm.retire_minutes
        bounds.append((lives, "worker lives", "slurm.walltime"))
    if site.backend == "serial" or not bounds:
        return
    bound, says, key = min(bounds)
    chunk = max(1.0, site.chunk_gb / CHUNK_GB * CHUNK_PLANES)
    longest, seconds = None, 0.0
    for one in to_run:
        planes = one.prediction.planes
        takes = max(one.prediction.cpu_s, one.prediction.cpu_s_high)
        if planes > chunk and cookbook.recipe(one.process.recipe).axis == "planes":
            takes *= chunk / planes
        if takes > seconds:
            longest, seconds = one.process, takes
    if longest is not None and seconds * MARGIN > bound:
        raise PreconditionError(
            "AP-RUN-073",
            f"{longest.recipe} takes about {seconds / 3600:.1f} h in one go, and a {says} {bound / 3600:.1f} h",
            subject=shown("proc", longest.process_id),
            remedy=f"raise {key} of the site, or lower chunk_gb",
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


def _mounted(by_root: Mapping[str, Sequence[str]], raw_roots: Mapping[str, Path]) -> None:
    """A root that is gone or empty, or of which none of several needed files is there, is not mounted.

    One or two files that vanished from a root that stands are their own processes' failure: they stop no night.
    """
    for name, needed in sorted(by_root.items()):
        sample = needed[:: max(1, len(needed) // _SAMPLE)]
        several = len(sample) >= _SEVERAL and not any(_is_there(uri, raw_roots) for uri in sample)
        if several or roots_gone(raw_roots, [name]):
            raise PreconditionError(
                "AP-RUN-031",
                f"raw root {name!r} holds none of the {len(needed)} raw files needed, for example {needed[0]}",
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
    if bytes_out * MARGIN > free:
        raise PreconditionError(
            "AP-RUN-032",
            f"the plan writes about {size_text(bytes_out)} and {size_text(free)} are free",
            subject=str(layout.root),
            remedy="free space, or select less",
        )


def _inodes(layout: Layout, files: int) -> None:
    counted = os.statvfs(layout.root)
    # Some file systems (btrfs) count no inodes at all.
    if counted.f_files and files * MARGIN > counted.f_favail:
        raise PreconditionError(
            "AP-RUN-036",
            f"the plan makes about {files} files and {counted.f_favail} inodes are free",
            subject=str(layout.root),
            remedy="remove files, ask for more inodes, or select less",
        )


def _quota(layout: Layout, bytes_out: int, files: int) -> None:
    told = allowances(layout.root)
    for what, needed, tight in (
        ("writes", bytes_out, tightest(told, files=False)),
        ("makes", files, tightest(told, files=True)),
    ):
        if tight is None:
            continue
        in_bytes = what == "writes"
        left = (tight.left_bytes if in_bytes else tight.left_files) or 0
        if needed * MARGIN > left:
            asked, has = (size_text(one) if in_bytes else f"{one} files" for one in (needed, left))
            raise PreconditionError(
                "AP-RUN-072",
                f"the plan {what} about {asked} and the quota of {tight.whose} leaves {has}",
                subject=str(layout.root),
                remedy="ask for more quota, free some, or select less",
            )


def _clocks(layout: Layout) -> tuple[str, ...]:
    """A clock that is far off spoils no product: leases go by the file system's alone. But it should be known."""
    ahead = skew_s(layout.pending)
    if abs(ahead) <= SKEW_S:
        return ()
    way = "ahead of" if ahead > 0 else "behind"
    warning = (
        f"warning AP-RUN-071 {layout.root}: the file system's clock is {abs(ahead):.0f} s {way} this host's -> set "
        "this host's clock; products are safe, times in reports are not"
    )
    return (warning,)


def _memory(site: SiteProfile, to_run: Sequence[PlannedProcess]) -> None:
    largest = max(to_run, key=lambda one: one.prediction.memory_gb, default=None)
    sizes = sizes_gb(site)
    if largest is None or not sizes:
        return
    needed = largest.prediction.memory_gb
    if needed * MARGIN > sizes[-1]:
        raise PreconditionError(
            "AP-RUN-033",
            f"{largest.process.recipe} needs about {needed:.1f} GB, the largest worker has {sizes[-1]:.1f}",
            subject=f"process {largest.process.process_id[:12]}",
            remedy=f"larger_workers_gb = [{needed * MARGIN:.1f}] or more in the site's profile, where there is such a "
            "machine; or plan without it",
        )
