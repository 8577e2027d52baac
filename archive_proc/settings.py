"""Settings as values: `archive.toml` and site profiles, read once, checked, passed on; no module reads a global.

`archive.toml` says what an archive is: id, format version, raw roots, preset, default site. A site profile says where
work runs: backend, workers, memory. Nothing of either can change a result, so none of it enters a process id.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

from archive_proc.errors import MisuseError, NotFoundError

FORMAT_VERSION = 1
ARCHIVE_FILE = "archive.toml"
HOME_VARIABLE = "ARCHIVE_PROC_HOME"

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


class SiteProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where and how work runs. Each key is documented in `cluster/local.toml`."""

    name: str
    backend: str
    """serial or local."""
    workers: int = 0
    """Worker processes, one thread each; 0: one a core."""
    memory_per_worker_gb: float = 4.0
    """A process that predicts more is refused before the run; a worker above 95 % of it is restarted."""
    chunk_gb: float = 0.5
    """Raw pixels in one chunk, GB (10^9 bytes of float32): the unit a worker executes."""
    calibration_cache_gb: float = 1.0
    """Calibration products kept decoded in each worker."""
    window_per_worker: int = 3
    """Tasks in flight per worker."""
    max_retries: int = 2
    """Tries again after an `infra` failure."""
    breaker: int = 5
    """Equal `code` signatures after which a recipe is paused."""
    verify: str = "sample"
    """Before the rename: `sample` (sizes, metadata, one shard in ten) or `full` (every object re-read)."""
    notify: tuple[str, ...] = ()
    """Command, word by word, run by no shell when a run ends or a recipe is paused."""


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
    """Check the text of a site profile. Raises MisuseError (AP-CLI-003) naming the file and the key."""
    profile = _convert(text, source, SiteProfile)
    if profile.backend not in ("serial", "local"):
        raise MisuseError(
            "AP-CLI-003",
            f"backend = {profile.backend!r} is not one of serial, local",
            subject=source,
            remedy="see cluster/local.toml",
        )
    for key in ("workers", "memory_per_worker_gb", "chunk_gb", "window_per_worker", "max_retries", "breaker"):
        if getattr(profile, key) < 0:
            raise MisuseError(
                "AP-CLI-003", f"{key} must not be negative", subject=source, remedy="see cluster/local.toml"
            )
    return profile


def _convert(text: str, source: str, kind: type[Known]) -> Known:
    try:
        return msgspec.convert(tomllib.loads(text), kind)
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
