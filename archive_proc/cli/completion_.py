"""`completion SHELL`: the completion script, made by click."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script; `eval "$(archive-proc completion bash)"` in your shell's start file."""
    from archive_proc.cli.main import program

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(program, {}, "archive-proc", "_ARCHIVE_PROC_COMPLETE").source())
