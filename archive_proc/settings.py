"""Settings as values: `archive.toml` and site profiles, read once, checked, passed on; no module reads a global.

`archive.toml` says what an archive is: id, format version, raw roots, preset, default site. A site profile says where
work runs: backend, workers, memory. Nothing of either can change a result, so none of it enters a process id.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from archive_proc.errors import MisuseError, NotFoundError

FORMAT_VERSION = 1
ARCHIVE_FILE = "archive.toml"
HOME_VARIABLE = "ARCHIVE_PROC_HOME"

BACKENDS = ("serial", "local", "slurm")
NANNY_SHARE = 1.1
"""SLURM counts nanny and worker; the nanny only the worker. With equal limits SLURM kills the job first."""
NANNY_GB = 0.1
"""Of each worker process, for its nanny."""
_COMMENT = re.compile(r"\s*--comment\b")

NEW_ARCHIVE = """\
# An archive of archive_proc. It may be moved: nothing else in it holds an absolute path.
archive_id = "{archive_id}"
format_version = 1

# Parameter set of the recipes, and the site that `run` uses without --site (cluster/*.toml, or sites/*.toml here).
preset = "default"
default_site = "local"

# Parameters for the whole archive, e.g.
# [parameters.irdis_tracks]
# some_parameter = 1.0

# Short name = directory of raw files. `ingest` adds what it needs; change a path here when raw files move.
[raw_roots]
"""
"""The `archive.toml` that `init` writes."""

Known = TypeVar("Known", "ArchiveSettings", "SiteProfile")


class ArchiveSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `archive.toml` holds."""

    archive_id: str
    """Made once by `init`; 12 hex digits."""
    format_version: int = FORMAT_VERSION
    raw_roots: dict[str, str] = {}
    """Short name -> absolute directory. The only absolute paths in an archive; uris are `<name>/<path inside>`."""
    preset: str = "default"
    """Parameter set of the recipes."""
    default_site: str = "local"
    notify: tuple[str, ...] = ()
    """Command, word by word, run by no shell when a run ends or a recipe is paused; a site's own goes before it."""
    parameters: dict[str, dict[str, bool | int | float | str]] = {}
    """recipe -> parameter -> value, for the whole archive; enters the process ids they touch."""
    presets: dict[str, dict[str, dict[str, bool | int | float | str]]] = {}
    """Named parameter sets besides `default`: preset -> recipe -> parameter -> value."""


class SlurmProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Table `[slurm]` of a site profile. Each key is documented in `cluster/slurm.toml`."""

    partition: str = ""
    account: str = ""
    qos: str = ""
    walltime: str = "04:00:00"
    """Of a worker job, as sbatch takes it."""
    retire_minutes: float = 20.0
    """Workers end by themselves so long before the walltime, and are replaced; 0: never."""
    workers_per_job: int = 1
    """Worker processes of one thread in one job."""
    job_memory_gb: float = 0.0
    """What one job asks for; 0: 1.15 x its workers' limits and 0.2 GB a worker."""
    interface: str = ""
    """Network interface of driver and workers; empty: the one with the route."""
    tls: str = "auto"
    """auto: whenever the interface is not loopback; always."""
    scratch: str = "${TMPDIR:-/tmp}"
    """Node-local directory, expanded by the job's own shell."""
    python: str = ""
    """Interpreter on the compute nodes; empty: the driver's."""
    prologue: tuple[str, ...] = ()
    """Shell lines before the worker starts."""
    directives: tuple[str, ...] = ()
    """More options of sbatch."""
    queue_wait_minutes: float = 720.0
    """With no worker for so long the run gives up, with SLURM's own reason."""
    lost_jobs: int = 5
    """Jobs that may end beyond those of the run before any task is done."""
    query_seconds: float = 30.0
    """SLURM is asked at most so often."""
    death_timeout_seconds: float = 120.0
    """A worker that finds no driver for so long ends."""
    driver_walltime: str = "2-00:00:00"
    """Of the driver's own job (`run --detach`)."""
    driver_memory_gb: float = 4.0
    driver_partition: str = ""
    """Empty: `partition`."""


class SiteProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where and how work runs. Each key is documented in `cluster/local.toml` and `cluster/slurm.toml`."""

    name: str
    backend: str
    """serial, local or slurm."""
    workers: int = 0
    """Worker processes, one thread each; 0: one a core."""
    memory_per_worker_gb: float = 4.0
    """A process that predicts more is refused before the run; a worker above 95 % of it is restarted."""
    larger_workers_gb: tuple[float, ...] = ()
    """Memory of larger workers that are started when a process needs one."""
    chunk_gb: float = 0.5
    """Raw pixels in one chunk, GB (10^9 bytes of float32): the unit a worker executes."""
    calibration_cache_gb: float = 1.0
    """Calibration products kept decoded in each worker."""
    window_per_worker: int = 3
    """Tasks in flight per worker."""
    max_retries: int = 2
    """Tries again after an `infra` failure."""
    task_hours: float = 12.0
    """A task that executes for longer hangs: its worker process is ended, with a traceback; 0: never. Not in serial."""
    breaker: int = 5
    """Equal `code` signatures after which a recipe is paused."""
    verify: str = "sample"
    """Before the rename: `sample` (sizes, metadata, one shard in ten) or `full` (every object re-read)."""
    notify: tuple[str, ...] = ()
    """Command, word by word, run by no shell when a run ends or a recipe is paused."""
    slurm: SlurmProfile | None = None
    """With backend slurm."""

    @property
    def job_memory_gb(self) -> float:
        """What a worker job asks SLURM for: more than its workers may use (10^9 bytes)."""
        slurm = self.slurm or SlurmProfile()
        return slurm.job_memory_gb or round(slurm.workers_per_job * (1.15 * self.memory_per_worker_gb + 0.2), 3)


def parse_archive_settings(text: str, source: str) -> ArchiveSettings:
    """Check the text of an `archive.toml`.

    Raises MisuseError (AP-CLI-003) naming the file and the key, PreconditionError-like misuse (AP-CLI-004) for a
    format version this package does not know.
    """
    settings = _convert(text, source, ArchiveSettings)
    if settings.format_version != FORMAT_VERSION:
        newer = "newer" if settings.format_version > FORMAT_VERSION else "older"
        raise MisuseError(
            "AP-CLI-004",
            f"format version {settings.format_version} is {newer} than this package's {FORMAT_VERSION}",
            subject=source,
            remedy="use the archive_proc release that wrote it",
        )
    return settings


def parse_site(text: str, source: str) -> SiteProfile:
    """Check the text of a site profile.

    Raises MisuseError (AP-CLI-003) naming the file and the key; of an unknown key, the nearest that is known.
    """
    profile = _convert(text, source, SiteProfile)
    if profile.backend not in BACKENDS:
        raise _wrong(source, f"backend = {profile.backend!r} is not one of {', '.join(BACKENDS)}")
    for key in (
        "workers",
        "memory_per_worker_gb",
        "chunk_gb",
        "window_per_worker",
        "max_retries",
        "breaker",
        "task_hours",
    ):
        if getattr(profile, key) < 0:
            raise _wrong(source, f"{key} must not be negative")
    if any(one <= 0 for one in profile.larger_workers_gb):
        raise _wrong(source, "larger_workers_gb must be positive")
    if profile.backend != "slurm":
        if profile.slurm is not None:
            raise _wrong(source, f"table [slurm] with backend = {profile.backend!r}")
        return profile
    profile = msgspec.structs.replace(profile, slurm=profile.slurm or SlurmProfile())
    _check_slurm(profile, source)
    return profile


def _check_slurm(profile: SiteProfile, source: str) -> None:
    slurm = profile.slurm
    assert slurm is not None
    if not profile.workers:
        raise _wrong(source, "workers = 0: a SLURM site says how many worker processes a run may have")
    if not profile.memory_per_worker_gb:
        raise _wrong(source, "memory_per_worker_gb = 0: SLURM jobs need a limit")
    if slurm.workers_per_job < 1:
        raise _wrong(source, "slurm.workers_per_job must be 1 or more")
    for key in ("retire_minutes", "queue_wait_minutes", "lost_jobs", "query_seconds", "death_timeout_seconds"):
        if getattr(slurm, key) < 0:
            raise _wrong(source, f"slurm.{key} must not be negative")
    for key in ("walltime", "driver_walltime"):
        seconds = walltime_seconds(getattr(slurm, key))
        if seconds is None:
            raise _wrong(source, f"slurm.{key} = {getattr(slurm, key)!r} is not minutes, HH:MM:SS or D-HH:MM:SS")
        if key == "walltime" and 60 * slurm.retire_minutes >= seconds:
            raise _wrong(
                source, f"slurm.retire_minutes = {slurm.retire_minutes:g} leaves nothing of walltime {slurm.walltime}"
            )
    if own := next((one for one in slurm.directives if _COMMENT.match(one)), None):
        raise _wrong(
            source,
            f"slurm.directives has {own!r}: by a comment of ours a driver finds what a killed one left in the queue",
            remedy="a line of slurm.prologue can set another once a job runs: "
            'scontrol update JobId="$SLURM_JOB_ID" Comment=...',
        )
    if slurm.tls not in ("auto", "always"):
        raise _wrong(source, f"slurm.tls = {slurm.tls!r} is not one of auto, always")
    least = slurm.workers_per_job * (NANNY_SHARE * profile.memory_per_worker_gb + NANNY_GB)
    if slurm.job_memory_gb and slurm.job_memory_gb < least:
        raise _wrong(
            source,
            f"slurm.job_memory_gb = {slurm.job_memory_gb:g} is less than 1.1 x its workers' limits and 0.1 GB for each "
            f"({least:.1f}): SLURM would kill the job before a worker reaches its own limit",
        )


def _wrong(source: str, what: str, *, remedy: str = "") -> MisuseError:
    page = "cluster/slurm.toml" if "slurm" in what else "cluster/local.toml"
    return MisuseError("AP-CLI-003", what, subject=source, remedy=remedy or f"see {page}, which documents every key")


def walltime_seconds(text: str) -> int | None:
    """Seconds of a time limit as sbatch takes it, None where it is none.

    >>> walltime_seconds("90"), walltime_seconds("01:30:00"), walltime_seconds("2-12"), walltime_seconds("soon")
    (5400, 5400, 216000, None)
    """
    days, dash, rest = text.strip().rpartition("-")
    parts = rest.split(":")
    if not all(one.isdecimal() for one in (*parts, *([days] if dash else []))) or len(parts) > 3:
        return None
    numbers = [int(one) for one in parts]
    if dash:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:
        hours, minutes, seconds = (0, *(*numbers, 0)[:2])
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


# Any: a TOML tree holds mixed values.
def _unknown_key(tree: Any, kind: type[msgspec.Struct], source: str, inside: str = "") -> None:
    """Raise MisuseError for the first key that is not known, naming the nearest one that is."""
    known = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in tree.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.5)
            raise MisuseError(
                "AP-CLI-003",
                f"key {inside}{key} is not known" + (f"; the nearest is {inside}{near[0]}" if near else ""),
                subject=source,
                remedy="mend or remove that key",
            )
        if key == "slurm" and isinstance(value, dict):
            _unknown_key(value, SlurmProfile, source, "slurm.")


def _convert(text: str, source: str, kind: type[Known]) -> Known:
    try:
        tree = tomllib.loads(text)
        _unknown_key(tree, kind, source)
        return msgspec.convert(tree, kind)
    except tomllib.TOMLDecodeError as problem:
        raise MisuseError("AP-CLI-003", f"not TOML: {problem}", subject=source, remedy="mend that line") from None
    except msgspec.ValidationError as problem:
        raise MisuseError("AP-CLI-003", str(problem), subject=source, remedy="mend or remove that key") from None


def find_archive(
    named: str | Path | None, environment: dict[str, str] | None = None, start: Path | None = None
) -> Path:
    """The archive's root: `named`, else `$ARCHIVE_PROC_HOME`, else the nearest parent of `start` that is one.

    Raises NotFoundError (AP-CLI-002) saying where it looked.
    """
    variables = os.environ if environment is None else environment
    asked = named or variables.get(HOME_VARIABLE)
    if asked:
        root = Path(asked).expanduser().resolve()
        if (root / ARCHIVE_FILE).is_file():
            return root
        raise NotFoundError(
            "AP-CLI-002",
            f"no {ARCHIVE_FILE} in it",
            subject=str(root),
            remedy=f"archive-proc init {asked}, or another --archive",
        )
    here = (start or Path.cwd()).resolve()
    for candidate in (here, *here.parents):
        if (candidate / ARCHIVE_FILE).is_file():
            return candidate
    raise NotFoundError(
        "AP-CLI-002",
        f"no {ARCHIVE_FILE} here or in any parent, and ${HOME_VARIABLE} is not set",
        subject=str(here),
        remedy="archive-proc init DIR, or --archive DIR",
    )
