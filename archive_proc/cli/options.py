"""What several verbs share: the selection, the archive they work in, how rows are printed."""

from __future__ import annotations

import csv
import datetime as dt
import functools
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from archive_proc.cli.fitting import cut, fitted, terminal_width
from archive_proc.errors import printable

if TYPE_CHECKING:
    from archive_proc.archive import Archive

# Any: decorators must accept every command function.
Command = TypeVar("Command", bound=Callable[..., Any])


def selection_options(command: Command) -> Command:
    """Add the selection that is the same everywhere: ids and filters."""
    decorators = (
        click.argument("ids", nargs=-1, metavar="[SELECTION]"),
        click.option("--night", metavar="DATE|FROM..TO", help="Evening dates, inclusive."),
        click.option("--period", metavar="P95", help="ESO period of the night."),
        click.option("--program", metavar="ID", help="Programme id."),
        click.option("--target", metavar="NAME", help="Star, by any of its names."),
        click.option("--arm", type=click.Choice(["irdis", "ifs", "zimpol"], case_sensitive=False), help="Arm."),
        click.option("--where", metavar="SQL", help="Predicate on table observations."),
        click.option("--allow-empty", is_flag=True, help="An empty selection is not an error."),
    )

    @functools.wraps(command)
    def wrapped(**given: Any) -> Any:  # Any: click passes options of every verb
        from archive_proc.catalog.selection import Selection

        ids = tuple(given.pop("ids"))
        if ids == ("-",):
            ids = tuple(line.strip() for line in sys.stdin if line.strip())
        given["selection"] = Selection(
            ids=ids,
            night=given.pop("night"),
            period=given.pop("period"),
            program=given.pop("program"),
            target=given.pop("target"),
            arm=given.pop("arm"),
            where=given.pop("where"),
            allow_empty=given.pop("allow_empty"),
        )
        return command(**given)

    for decorator in reversed(decorators):
        wrapped = decorator(wrapped)
    return wrapped  # type: ignore[return-value]  # the wrapper keeps the verb's name and options, not its signature


def opened(context: click.Context, preset: str | None = None) -> Archive:
    """The archive this call works in; `preset` takes the place of that of `archive.toml`."""
    from archive_proc.archive import Archive

    return Archive.open(context.obj["archive"], cookbook=context.obj["cookbook"], preset=preset)


def command_words(text: str | None) -> list[str] | None:
    """The words of a command as a shell would split them; none where none was given.

    Raises MisuseError AP-CLI-011 for a quotation that does not end.
    """
    import shlex

    from archive_proc.errors import MisuseError

    try:
        return None if text is None else shlex.split(text)
    except ValueError as problem:
        raise MisuseError(
            "AP-CLI-011", f"cannot be split into words: {problem}", subject=f"--notify {text}", remedy="mend the quotes"
        ) from None


def quiet(context: click.Context) -> bool:
    """True with `--quiet`."""
    return bool(context.obj["quiet"])


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[object]], form: str) -> None:
    """Print rows as an aligned table, csv, json or jsonl."""
    if form == "csv":
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([["" if one is None else plain(one) for one in row] for row in rows])
        # Words of raw headers are among them, and a table may be looked at in a terminal.
        click.echo(printable(out.getvalue()), nl=False)
    elif form == "json":
        items = [dict(zip(columns, map(plain, row), strict=True)) for row in rows]
        click.echo(json.dumps({"schema": 1, "counts": {"rows": len(rows)}, "items": items}, indent=1))
    elif form == "jsonl":
        for row in rows:
            click.echo(json.dumps(dict(zip(columns, map(plain, row), strict=True))))
    else:
        _print_table(columns, rows)


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """An aligned table; on a terminal too narrow for it the widest cells are cut, or each row becomes a block."""
    text = [[cell(one) for one in row] for row in rows]
    widths = [max([len(name), *(len(row[at]) for row in text)]) for at, name in enumerate(columns)]
    numeric = [bool(rows) and all(_is_number(row[at]) for row in rows) for at in range(len(widths))]
    room = terminal_width()
    shown = widths if room is None else fitted(widths, room)
    if shown is None:
        longest = max(map(len, columns))
        for number, row in enumerate(text, start=1):
            click.echo(f"-- row {number}")
            for name, value in zip(columns, row, strict=True):
                click.echo(f"{name.ljust(longest)}  {value}".rstrip())
        return
    click.echo("  ".join(cut(name, width).ljust(width) for name, width in zip(columns, shown, strict=True)).rstrip())
    click.echo("  ".join("-" * width for width in shown))
    for row in text:
        cells = zip(row, shown, numeric, strict=True)
        click.echo(
            "  ".join(
                cut(one, width).rjust(width) if right else cut(one, width).ljust(width) for one, width, right in cells
            ).rstrip()
        )
    if shown != widths:
        click.echo("(cut to the terminal; --format csv or jsonl gives all)", err=True)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def plain(value: object) -> object:
    """A value as JSON has it: bytes in hex, times in ISO, lists kept."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    return str(value)


def cell(value: object) -> str:
    """A value as a table cell: short, one line, control characters shown."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, bytes):
        return value.hex()[:12]
    if isinstance(value, list | tuple):
        return ", ".join(map(cell, value))
    text = json.dumps(plain(value)) if isinstance(value, dict) else str(plain(value))
    return "".join(one if one.isprintable() else "�" for one in text)


def shown_path(path: Path) -> str:
    """A path relative to here where it is below, else as it is."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
