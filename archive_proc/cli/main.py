"""`archive-proc`: verbs that are imported when called, so that `--help` needs nothing heavy.

Results go to stdout, progress and errors to stderr. Each error is one line with its code; exit statuses are DESIGN 9's.
"""

from __future__ import annotations

import datetime as dt
import importlib
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NoReturn, TextIO

import click

from archive_proc.errors import ArchiveProcError, printable
from archive_proc.execution.threads import limit_environment
from archive_proc.version import __version__

VERBS: tuple[tuple[str, str], ...] = (
    ("init", "Make an archive: settings and an empty tree."),
    ("ingest", "Read raw headers into a manifest; raw files stay where they are."),
    ("check", "List what is incomplete, as coded issues with remedies."),
    ("explain", "Say why this calibration and not each other candidate."),
    ("plan", "Show what would be done, why, and what it costs."),
    ("run", "Do it."),
    ("status", "Counts, rate and time left of a run."),
    ("resume", "Continue a stopped run: same plan, only what is missing."),
    ("cancel", "Stop a run gracefully."),
    ("query", "Ask the catalog in SQL, read-only."),
    ("schema", "Tables and columns of the catalog."),
    ("show", "One page about an observation, product, process, run, plan or file."),
    ("report", "Draw what a run made and write its page."),
    ("verify", "Compare products and catalog with their seals."),
    ("rebuild", "Make the catalog anew from manifests, decisions, plans, journals and products."),
    ("simulate", "Write raw nights with known truth."),
    ("bench", "Measure: accuracy, throughput, behaviour under faults and hostile files."),
    ("doctor", "Look for real whether work could begin here: environment, file system, site, scheduler."),
    ("help", "The page of an error code."),
    ("completion", "Print the completion script of a shell."),
)


class ReaderGone(Exception):
    """Whoever read our output has closed it (`| head`): nothing went wrong here."""


class Verbs(click.Group):
    """A group that lists verbs from `VERBS` and imports the one that is called."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the verb. Raises ReaderGone for a broken pipe, which click would answer with exit status 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as gone:
            raise ReaderGone from gone

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Verbs in the order people use them."""
        return [name for name, _ in VERBS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, imported now; None where there is no such verb."""
        if cmd_name not in dict(VERBS):
            return None
        module = importlib.import_module(f"archive_proc.cli.{cmd_name}_")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs, without importing any."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS))


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--archive", "archive", metavar="DIR", help="The archive [$ARCHIVE_PROC_HOME, else the nearest parent].")
@click.option("--cookbook", metavar="MODULE", hidden=True, help="Recipes of another module (stand-ins of `bench`).")
@click.option("-q", "--quiet", is_flag=True, help="No progress, results only.")
@click.version_option(__version__, prog_name="archive-proc")
@click.pass_context
def program(context: click.Context, archive: str | None, cookbook: str | None, quiet: bool) -> None:
    """Reprocess the VLT/SPHERE archive: raw files in, calibrated cubes and an SQL catalog out.

    \b
    archive-proc init sphere              an archive: settings and an empty tree
    cd sphere
    archive-proc ingest /data/raw         headers only; raw files stay where they are
    archive-proc check                    what is incomplete, with remedies
    archive-proc run                      the same command continues after any stop
    archive-proc query --saved list       questions with a name; or your own SQL
    """  # noqa: D301 - click wants the control character itself
    context.obj = {"archive": archive, "cookbook": cookbook, "quiet": quiet}


def main() -> NoReturn:
    """Run the program and leave with the documented exit status."""
    # Before numpy is loaded: one thread a task, also where recipes run in this very process.
    limit_environment()
    try:
        program.main(prog_name="archive-proc", standalone_mode=False)
        status = 0
    except SystemExit as leave:
        status = int(leave.code or 0)
    except ArchiveProcError as answer:
        click.echo(f"error: {answer.line}", err=True)
        if _has_page(answer.code):
            click.echo(f"       more: archive-proc help {answer.code}", err=True)
        status = answer.exit_status
    except click.exceptions.Exit as leave:
        status = leave.exit_code
    except click.ClickException as misuse:
        misuse.show()
        status = 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("stopped", err=True)
        status = 130
    except ReaderGone:
        status = 0
    except Exception as bug:
        click.echo(f"bug: {type(bug).__name__}: {printable(str(bug))}\n     full account: {_crash_file()}", err=True)
        status = 1
    for stream in (sys.stdout, sys.stderr):
        _flush(stream)
    sys.exit(status)


def _flush(stream: TextIO) -> None:
    """Flush; where the reader has gone (`| head`) there is nothing to say, and nothing more to write at exit."""
    try:
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _has_page(code: str) -> bool:
    return (Path(__file__).resolve().parents[1] / "error_pages" / f"{code}.md").is_file()


def _crash_file() -> Path:
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    path = Path(tempfile.gettempdir()) / f"archive-proc-crash-{stamp}-{os.getpid()}.txt"
    path.write_text(f"archive-proc {__version__}\n{' '.join(sys.argv)}\n\n{traceback.format_exc()}")
    return path


if __name__ == "__main__":
    main()
