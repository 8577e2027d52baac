"""`check [SELECTION]`: what is incomplete."""

from __future__ import annotations

import sys

import click

from archive_proc.catalog.selection import Selection
from archive_proc.cli.fitting import folded
from archive_proc.cli.options import opened, print_rows, selection_options


@click.command("check")
@selection_options
@click.option("--format", "form", type=click.Choice(["table", "csv", "json", "jsonl"]), default="table")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--all", "every", is_flag=True, help="Every issue on its own line, not grouped by code.")
@click.pass_context
def command(context: click.Context, selection: Selection, form: str, as_json: bool, every: bool) -> None:
    """List issues with remedies: frames, sequences, calibrations. No pixel is read. Exits 4 when one blocks."""
    form = "json" if as_json else form
    archive = opened(context)
    issues = archive.check(selection)
    if form != "table":
        columns = ("code", "severity", "subject_kind", "subject_id", "message", "remedy")
        print_rows(columns, [[getattr(one, name) for name in columns] for one in issues], form)
    elif not issues:
        click.echo("no issues")
    else:
        _print(issues, every)
    if any(one.severity == "blocking" for one in issues):
        sys.exit(4)


def _print(issues: tuple[object, ...], every: bool) -> None:
    from archive_proc.model.observations import Issue

    known = [one for one in issues if isinstance(one, Issue)]
    codes = dict.fromkeys((one.severity, one.code) for one in known)
    for severity, code in codes:
        some = [one for one in known if (one.severity, one.code) == (severity, code)]
        click.echo(f"{severity:<8}  {code}  {len(some)}")
        for one in some if every else some[:3]:
            click.echo(folded(f"    {_short(one.subject_kind, one.subject_id)}: {one.message}", 6))
        if len(some) > 3 and not every:
            click.echo(f"    ... and {len(some) - 3} more (--all)")
        for remedy in dict.fromkeys(one.remedy for one in some if one.remedy):
            click.echo(folded(f"    -> {remedy}", 7))
    click.echo("archive-proc help CODE explains a code")


def _short(kind: str, subject: str) -> str:
    prefix = {"observation": "obs", "group": "group", "process": "proc"}.get(kind)
    return f"{prefix}:{subject[:12]}" if prefix else f"{kind} {subject}"
