"""`ingest PATH...`: raw headers into a manifest."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from archive_proc.cli.options import opened
from archive_proc.flow.expecting import SUFFIXES
from archive_proc.model.observations import Issue

_SHOWN = 10


@click.command("ingest")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...|MANIFEST")
@click.option("--jobs", type=click.IntRange(1), help="Processes that read headers [one a core].")
@click.option(
    "--expected", metavar="MANIFEST", help="A list of what should be there, kept: check names what is missing."
)
@click.option(
    "--digest", type=click.Choice(["header", "full"]), default="header", help="full: sha256 of each file's bytes too."
)
@click.option("--allow-empty", is_flag=True, help="No file at all is not an error.")
@click.option("-n", "--dry-run", is_flag=True, help="Read, count, write nothing.")
@click.pass_context
def command(
    context: click.Context,
    paths: tuple[str, ...],
    jobs: int | None,
    expected: str | None,
    digest: str,
    allow_empty: bool,
    dry_run: bool,
) -> None:
    """Read the headers of raw files below PATH. Raw files stay where they are; twice changes nothing."""
    archive = opened(context)
    lists = [path for path in paths if Path(path).suffix.lower() in SUFFIXES and Path(path).is_file()]
    lists += [expected] if expected else []
    raw = [path for path in paths if path not in lists]
    # Lists first: a manifest that cannot be read must not leave half of what was asked done.
    for one in () if dry_run else lists:
        archive.expect(one)
    if not raw:
        _compared(archive.campaign.early_issues)
        return
    intake = archive.ingest(raw, jobs=jobs, dry_run=dry_run, allow_empty=allow_empty, full_digest=digest == "full")
    for line in intake.lines:
        click.echo(line)
    if lists and not dry_run:
        _compared(archive.campaign.early_issues)
    if dry_run:
        click.echo("dry run: nothing was written")
    elif intake.result.frames or intake.result.unchanged:
        campaign = archive.campaign
        reduced = sum(map(campaign.understanding.has_recipe, campaign.observations))
        click.echo(
            f"{len(campaign.raw_frames)} raw frames in {len(campaign.groups)} exposure groups, "
            f"{len(campaign.observations)} observations ({reduced} can be reduced)"
        )
        click.echo("next: archive-proc check, archive-proc plan")
    if intake.result.rejected or intake.result.conflicts:
        sys.exit(4)


def _compared(issues: tuple[Issue, ...]) -> None:
    """Say how what was found compares with the lists of what was expected."""
    differing = [one for one in issues if one.code in ("AP-ING-040", "AP-ING-041")]
    for one in differing[:_SHOWN]:
        click.echo(f"  {one.code} {one.message} -> {one.remedy}")
    if len(differing) > _SHOWN:
        click.echo(f"  ... and {len(differing) - _SHOWN} more: archive-proc check --all")
    if not differing:
        click.echo("all expected files are here, and no other")
