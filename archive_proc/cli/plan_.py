"""`plan [SELECTION]`: what would be done."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from archive_proc.catalog.selection import Selection
from archive_proc.cli.options import opened, selection_options, shown_path
from archive_proc.cli.outcomes import nothing_planned
from archive_proc.errors import NotFoundError


@click.command("plan")
@selection_options
@click.option("--to", multiple=True, metavar="TYPE", help="Product types wanted [the final ones].")
@click.option("--preset", metavar="NAME", help="Parameter set of the recipes: ifs_line, or one of archive.toml.")
@click.option("--site", metavar="NAME", help="Site whose workers and memory are assumed.")
@click.option("--workers", type=click.IntRange(1), help="Workers assumed.")
@click.option("--save", metavar="FILE", help="Write the plan there as well.")
@click.option("--json", "as_json", is_flag=True, help="The plan itself, as JSON.")
@click.option("-n", "--dry-run", is_flag=True, help="Print only, save nothing.")
@click.pass_context
def command(
    context: click.Context,
    selection: Selection,
    to: tuple[str, ...],
    preset: str | None,
    site: str | None,
    workers: int | None,
    save: str | None,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Show what would be done and why, how long it takes, what it needs, and what is not planned.

    Exits 8 when nothing could be planned.
    """
    import os

    from archive_proc.execution.memory_sizes import sizes_gb
    from archive_proc.flow.collector import paused
    from archive_proc.planning.show import Room, plan_lines
    from archive_proc.planning.text import plan_to_json
    from archive_proc.storage.quotas import allowances, tightest

    archive = opened(context, preset)
    profile = archive.site(site, workers)
    with paused():
        plan = archive.plan(selection, to)
        if not dry_run:
            saved = archive.save_plan(plan)
        if save:
            Path(save).write_bytes(plan_to_json(plan))
    status = NotFoundError.exit_status if nothing_planned(plan, selection) else 0
    if as_json:
        click.echo(plan_to_json(plan).decode(), nl=False)
        sys.exit(status)
    free, inodes = archive.free_space()
    quota = tightest(allowances(archive.root), files=False)
    room = Room(
        workers=profile.workers or os.cpu_count() or 1,
        memory_gb=max(sizes_gb(profile), default=None),
        free_bytes=free,
        quota_bytes=None if quota is None else quota.left_bytes,
        free_inodes=inodes,
    )
    with paused():
        lines = plan_lines(plan, room)
    for line in lines:
        click.echo(line)
    if not dry_run:
        click.echo(f"saved {shown_path(saved)}; archive-proc run plan:{plan.plan_id[:12]} executes exactly it")
    sys.exit(status)
