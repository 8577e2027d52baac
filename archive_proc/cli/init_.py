"""`init DIR`: an archive."""

from __future__ import annotations

import click

from archive_proc.cli.options import shown_path


@click.command("init")
@click.argument("directory", metavar="DIR")
def command(directory: str) -> None:
    """Make an archive in DIR: settings with comments and an empty tree."""
    from archive_proc.archive import Archive

    archive = Archive.init(directory)
    where = shown_path(archive.root)
    click.echo(f"archive {archive.settings.archive_id} in {where}")
    for entry in sorted(archive.root.iterdir()):
        click.echo(f"  {entry.name}{'/' if entry.is_dir() else ''}")
    click.echo(f"next: archive-proc --archive {where} ingest RAW_DIRECTORY")
