"""`status [RUN]`: where a run stands."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from archive_proc.cli.fitting import cut, folded, terminal_width
from archive_proc.cli.options import opened, print_rows
from archive_proc.errors import NotFoundError
from archive_proc.model.processes import State

if TYPE_CHECKING:
    from archive_proc.archive import Archive
    from archive_proc.flow.status import RunStatus

_ON_TERMINAL_S, _ELSEWHERE_S = 2.0, 60.0


@click.command("status")
@click.argument("run", required=False)
@click.option("--watch", "watching", is_flag=True, help="Follow it to its end; Ctrl-C leaves the run alone.")
@click.option("--every", type=click.FloatRange(0.1), metavar="S", help="With --watch [2 s; 60 s off a terminal].")
@click.option("--all", "every_run", is_flag=True, help="List the runs, oldest first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; with --watch one a line.")
@click.pass_context
def command(
    context: click.Context, run: str | None, watching: bool, every: float | None, every_run: bool, as_json: bool
) -> None:
    """Counts, rates, end and failures of RUN (the latest). Exits 3 when something failed or is blocked."""
    archive = opened(context)
    if every_run:
        _list(archive.runs(), as_json=as_json)
        return
    idle = run is None and not _runs(archive)
    waits = idle and _waits(archive)
    if watching:
        while waits:
            time.sleep(every or _ON_TERMINAL_S)
            waits = not _runs(archive) and _waits(archive, before=waits)
    if idle and not waits:
        _refused(archive)
    if watching:
        status = _follow(archive, archive.run_id(run), every, as_json=as_json)
    else:
        try:
            status = archive.status(run)
        except NotFoundError:
            if not waits:
                raise
            return  # all that there is to say was said
        click.echo(json.dumps(_json(status), indent=1) if as_json else "\n".join(_page(status)))
    if any(one.is_failure or one is State.BLOCKED for one, count in status.counts.items() if count):
        sys.exit(3)


def _runs(archive: Archive) -> bool:
    """Whether the latest run has a driver."""
    try:
        return archive.status().is_running
    except NotFoundError:
        return False


def _waits(archive: Archive, before: str = "") -> str:
    """Say, where it is news, that a detached driver has begun no run; what was said, empty where there is none."""
    jobs = archive.detached().items()
    text = "\n".join(f"job {job} is a detached driver without a run yet: {word}" for job, word in jobs)
    if text and text != before:
        click.echo(f"{text}; archive-proc cancel takes it back", err=True)
    return text


def _refused(archive: Archive) -> None:
    """Say why the last detached driver began no run."""
    from archive_proc.flow.detaching import refused

    if text := refused(archive.layout):
        click.echo(f"the last detached driver ended without a run: {text}", err=True)


def _list(runs: Sequence[RunStatus], *, as_json: bool) -> None:
    from archive_proc.flow.status_text import clock

    columns = ("run", "state", "site", "began", "lasted", "sealed", "of", "failed", "blocked")
    rows = []
    for one in runs:
        count = one.counts.get
        failed = sum(number for state, number in one.counts.items() if state.is_failure)
        sealed = count(State.DONE, 0) + count(State.CACHED, 0)
        lasted = round(one.elapsed_s) if as_json else clock(one.elapsed_s)
        began = one.began_at if as_json else one.began_at[:16].replace("T", " ")
        total = sum(one.counts.values())
        run = one.run_id if as_json else one.run_id[:12]
        rows.append((run, one.state, one.site, began, lasted, sealed, total, failed, count(State.BLOCKED, 0)))
    print_rows(columns, rows, "json" if as_json else "table")


def _follow(archive: Archive, run: str, every: float | None, *, as_json: bool) -> RunStatus:
    """Show a run until nobody works on it any more."""
    screen = sys.stdout.isatty() and not as_json
    pause = every or (_ON_TERMINAL_S if screen else _ELSEWHERE_S)
    try:
        with _screen(screen) as show:
            while (status := archive.status(run)).is_running:
                if screen:
                    show(_page(status))
                else:
                    click.echo(_line(status, as_json=as_json))
                time.sleep(pause)
    except KeyboardInterrupt:
        click.echo("the run goes on; archive-proc cancel stops it", err=True)
        sys.exit(0)
    click.echo(_line(status, as_json=True) if as_json else "\n".join(_page(status)))
    return status


class _screen:  # noqa: N801 - a context manager, read as one
    """The other screen of a terminal, so that what stood there comes back. Calling it shows a page."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted

    def __enter__(self) -> _screen:
        if self._wanted:
            click.echo("\x1b[?1049h\x1b[?25l", nl=False)
        return self

    def __call__(self, page: list[str]) -> None:
        # From the top, each line cut off behind its end, then everything below: nothing flickers, nothing scrolls.
        lines, room = "\n".join(page).split("\n"), shutil.get_terminal_size().lines - 2
        if len(lines) > room:
            lines = [*lines[: room - 1], "... the rest does not fit: archive-proc status prints all"]
        click.echo("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J", nl=False)

    def __exit__(self, *_: object) -> None:
        if self._wanted:
            click.echo("\x1b[?25h\x1b[?1049l", nl=False)


def _page(status: RunStatus) -> list[str]:
    from archive_proc.flow.status_text import status_lines

    lines = status_lines(status)
    width = terminal_width()
    if width is None:
        return lines
    return [one if len(one) <= width else folded(one, 4) if _is_prose(one) else cut(one, width) for one in lines]


def _is_prose(line: str) -> bool:
    return not line.startswith("  ")


def _line(status: RunStatus, *, as_json: bool) -> str:
    from archive_proc.flow.status_text import status_line

    return json.dumps(_json(status)) if as_json else status_line(status)


# Any: JSON values.
def _json(status: RunStatus) -> dict[str, Any]:
    import msgspec

    found = msgspec.to_builtins(status)
    assert isinstance(found, dict)
    return {"schema": 2, **found}
