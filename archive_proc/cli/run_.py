"""`run [SELECTION|plan:ID]`: do it."""

from __future__ import annotations

import sys

import click

from archive_proc.catalog.selection import Selection
from archive_proc.cli.options import command_words, opened, quiet, selection_options
from archive_proc.cli.outcomes import nothing_planned, print_outcome
from archive_proc.errors import MisuseError, NotFoundError


@click.command("run")
@selection_options
@click.option("--to", multiple=True, metavar="TYPE", help="Product types wanted [the final ones].")
@click.option("--preset", metavar="NAME", help="Parameter set of the recipes: ifs_line, or one of archive.toml.")
@click.option("--site", metavar="NAME", help="Where: local, serial, or a profile of sites/.")
@click.option("--workers", type=click.IntRange(1), help="Worker processes [one a core].")
@click.option("--retry", is_flag=True, help="Try again what failed for its data or code before.")
@click.option("--max-failures", type=click.IntRange(1), help="Stop after so many failed processes.")
@click.option("--notify", metavar="CMD", help="Run by no shell at the end, and when a recipe is paused.")
@click.option("-n", "--dry-run", is_flag=True, help="Show the plan and stop.")
@click.pass_context
def command(
    context: click.Context,
    selection: Selection,
    to: tuple[str, ...],
    preset: str | None,
    site: str | None,
    workers: int | None,
    retry: bool,
    max_failures: int | None,
    notify: str | None,
    dry_run: bool,
) -> None:
    """Make what is missing; sealed products are never made again.

    Ctrl-C and SIGTERM stop gracefully; the same command continues, also after a kill. Exits 3 when something failed,
    8 when nothing could be planned.
    """
    from archive_proc.cli.plan_ import command as plan_command

    if dry_run:
        context.invoke(
            plan_command, site=site, workers=workers, to=to, preset=preset, dry_run=True, **_as_options(selection)
        )
        return
    archive = opened(context, preset)
    profile = archive.site(site, workers, command_words(notify))
    plans = [one for one in selection.ids if one.startswith("plan:")]
    if plans:
        if len(selection.ids) > 1 or to:
            raise MisuseError(
                "AP-CLI-007", "a saved plan and a selection were both given", subject="run", remedy="give one of them"
            )
        plan = archive.load_plan(plans[0])
        outcome = archive.run_plan(plan, site=profile, progress=not quiet(context))
        print_outcome(archive, plan, outcome)
        sys.exit(outcome.exit_status)
    plan, outcomes = archive.run(
        selection,
        to=to,
        site=profile,
        retry=retry,
        max_failures=max_failures,
        progress=not quiet(context),
    )
    for number, one in enumerate(outcomes[:-1], start=1):
        click.echo(f"round {number}: {len(one.failures)} calibrations refused, planned again with the next", err=True)
    print_outcome(archive, plan, outcomes[-1])
    if nothing_planned(plan, selection):
        sys.exit(NotFoundError.exit_status)
    sys.exit(outcomes[-1].exit_status)


def _as_options(selection: Selection) -> dict[str, object]:
    names = ("ids", "night", "period", "program", "target", "arm", "where", "allow_empty")
    return {name: getattr(selection, name) for name in names}
