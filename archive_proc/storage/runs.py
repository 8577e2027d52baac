"""`runs/<run_id>/run.json`: what a run executes, for whom, where. Its course is in the journal beside it."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from archive_proc.errors import NotFoundError
from archive_proc.model.ids import PlanId, RunId
from archive_proc.storage.layout import Layout

_TIME_DIGITS = 12
_RANDOM_BYTES = 10
_RUN_NAME = re.compile(rf"([0-9a-f]{{{_TIME_DIGITS}}})[0-9a-f]{{{2 * _RANDOM_BYTES}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """Facts of a run that never change."""

    run_id: RunId
    plan_id: PlanId
    asked_by: str
    site: str
    created_at: str
    """ISO UTC."""
    package_version: str


def new_run_id(layout: Layout) -> RunId:
    """A time-ordered id, newer than every run of the archive: 12 hex digits of milliseconds since 1970, 20 random ones.

    Which product is current is decided by the order of run ids, so a clock that was set back must not change it: then
    the millisecond after the newest run is taken. Call it with the driver's lease held.
    """
    moment = max(int(time.time() * 1000), _newest_ms(layout) + 1)
    return RunId(f"{moment:0{_TIME_DIGITS}x}{secrets.token_hex(_RANDOM_BYTES)}")


def _newest_ms(layout: Layout) -> int:
    # Directories without run.json count too: a killed driver may have journalled nothing else.
    names = [entry.name for entry in layout.runs.iterdir()] if layout.runs.is_dir() else []
    return max((int(found[1], 16) for name in names if (found := _RUN_NAME.fullmatch(name))), default=-1)


def write_run(layout: Layout, run: RunFile) -> None:
    """Write `run.json`, once; a resumed run keeps its first."""
    path = _path(layout, run.run_id)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")
    temporary.replace(path)


def read_run(layout: Layout, run_id: RunId) -> RunFile:
    """The facts of a run. Raises NotFoundError (AP-STO-027) where there is no such run."""
    try:
        return msgspec.json.decode(_path(layout, run_id).read_bytes(), type=RunFile)
    except (OSError, msgspec.MsgspecError):
        raise NotFoundError(
            "AP-STO-027", "no such run", subject=f"run {run_id}", remedy="archive-proc status --all lists the runs"
        ) from None


def run_ids(layout: Layout) -> tuple[RunId, ...]:
    """All runs, oldest first."""
    if not layout.runs.is_dir():
        return ()
    return tuple(RunId(entry.name) for entry in sorted(layout.runs.iterdir()) if (entry / "run.json").is_file())


def _path(layout: Layout, run_id: RunId) -> Path:
    return layout.run_dir(run_id) / "run.json"
