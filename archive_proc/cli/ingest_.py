"""`ingest PATH...`: raw headers into a manifest."""

from __future__ import annotations

import sys

import click

from archive_proc.cli.options import opened


@click.command("ingest")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--jobs", type=click.IntRange(1), help="Processes that read headers [one a core].")
@click.option("--expected", metavar="MANIFEST", help="A list of what should be there; missing and surplus are named.")
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
    intake = archive.ingest(paths, jobs=jobs, dry_run=dry_run, allow_empty=allow_empty, full_digest=digest == "full")
    for line in intake.lines:
        click.echo(line)
    if expected is not None:
        differing = archive.expected(expected)
        for issue in differing:
            click.echo(f"  {issue.code} {issue.subject_id}: {issue.message} -> {issue.remedy}")
        if not differing:
            click.echo("all expected files are here, and no other")
    if dry_run:
        click.echo("dry run: nothing was written")
    elif intake.manifest_id:
        campaign = archive.campaign
        reduced = sum(one.reduced for one in campaign.observations)
        click.echo(
            f"{len(campaign.raw_frames)} raw frames in {len(campaign.groups)} exposure groups, "
            f"{len(campaign.observations)} observations ({reduced} can be reduced)"
        )
        click.echo("next: archive-proc check, archive-proc plan")
    if intake.result.rejected or intake.result.conflicts:
        sys.exit(4)
