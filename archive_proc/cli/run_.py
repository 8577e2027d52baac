"""`run [SELECTION|plan:ID]`: do it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from archive_proc.catalog.selection import Selection
from archive_proc.cli.options import command_words, opened, quiet, selection_options, shown_path
from archive_proc.cli.outcomes import nothing_planned, print_outcome
from archive_proc.errors import MisuseError, NotFoundError

if TYPE_CHECKING:
    from archive_proc.archive import Archive
    from archive_proc.settings import SiteProfile


@click.command("run")
@selection_options
@click.option("--to", multiple=True, metavar="TYPE", help="Product types wanted [the final ones].")
@click.option("--preset", metavar="NAME", help="Parameter set of the recipes: ifs_line, or one of archive.toml.")
@click.option("--site", metavar="NAME", help="Where: local, serial, slurm:NAME, or a profile of sites/.")
@click.option("--workers", type=click.IntRange(1), help="Worker processes [one a core; those of the SLURM profile].")
@click.option("--retry", is_flag=True, help="Try again what failed for its data or code before.")
@click.option("--max-failures", type=click.IntRange(1), help="Stop after so many failed processes.")
@click.option("--notify", metavar="CMD", help="Run by no shell at the end, and when a recipe is paused.")
@click.option("--detach", is_flag=True, help="On SLURM: the driver, too, becomes a small job.")
@click.option("--no-submit", is_flag=True, help="On SLURM: write the job scripts, submit nothing.")
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
    detach: bool,
    no_submit: bool,
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
    if detach or no_submit:
        words = _same_command(context, selection, to, site or archive.settings.default_site)
        _in_jobs(archive, words, profile, submit=not no_submit)
        return
    plans = [one for one in selection.ids if one.startswith("plan:")]
    if plans:
        if len(selection.ids) > 1 or to:
            raise MisuseError(
                "AP-CLI-007", "a saved plan and a selection were both given", subject="run", remedy="give one of them"
            )
        plan = archive.load_plan(plans[0])
        outcome = archive.run_plan(
            plan, site=profile, retry=retry, max_failures=max_failures, progress=not quiet(context)
        )
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
        click.echo(f"round {number}: {len(one.failures)} failed; planned again with what stands in for them", err=True)
    print_outcome(archive, plan, outcomes[-1])
    if nothing_planned(plan, selection):
        sys.exit(NotFoundError.exit_status)
    sys.exit(outcomes[-1].exit_status)


def _in_jobs(archive: Archive, words: list[str], site: SiteProfile, *, submit: bool) -> None:
    """Write job scripts; submit the driver's."""
    if not submit:
        driver, worker = archive.job_scripts(words, site)
        click.echo(f"driver  {shown_path(driver)}\nworker  {shown_path(worker)}\nnothing was submitted")
        return
    job, output = archive.detach(words, site)
    click.echo(f"job {job} is the driver of this run")
    click.echo(f"next: archive-proc status; squeue -j {job}; tail -f {shown_path(output)}; archive-proc cancel")


def _same_command(context: click.Context, selection: Selection, to: tuple[str, ...], site: str) -> list[str]:
    """The words of this very command, for a job: archive and site by name, nothing from standard input."""
    archive, given = opened(context), context.params
    words = ["--archive", str(archive.root)]
    words += ["--cookbook", context.obj["cookbook"]] if context.obj["cookbook"] else []
    words += ["--quiet"] if quiet(context) else []
    words += ["run", *selection.ids, "--site", site]
    for option, value in (
        *((name, getattr(selection, name)) for name in ("night", "period", "program", "target", "arm", "where")),
        *(("to", one) for one in to),
        *((name, given[name]) for name in ("preset", "workers", "max_failures", "notify")),
    ):
        words += [f"--{option.replace('_', '-')}", str(value)] if value is not None else []
    words += ["--allow-empty"] if selection.allow_empty else []
    return [*words, "--retry"] if given["retry"] else words


def _as_options(selection: Selection) -> dict[str, object]:
    names = ("ids", "night", "period", "program", "target", "arm", "where", "allow_empty")
    return {name: getattr(selection, name) for name in names}
