"""What README, CHANGELOG and error pages tell people to type exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from archive_proc.cli.main import program

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "archive_proc" / "error_pages").glob("*.md"))


def quoted(path: Path) -> Iterator[str]:
    """Command lines of a text: lines of a block that begin with the program, and what stands between backticks."""
    for line in path.read_text().splitlines():
        if line.startswith("archive-proc "):
            yield line.split("  #")[0].strip()
        for words in re.findall(r"`((?:archive-proc|bench|simulate) [^`]+)`", line):
            yield words if words.startswith("archive-proc ") else f"archive-proc {words}"


def unknown(line: str) -> str | None:
    """The first word of a command line that is no verb, no command of that verb or none of its options."""
    words = shlex.split(line.replace("...", ""))[1:]
    command: click.Command = program
    while words and isinstance(command, click.Group):
        word = words.pop(0)
        if word == "--archive":
            words.pop(0)
            continue
        if word == "VERB":
            return None
        found = command.get_command(click.Context(command), word)
        if found is None:
            return word
        command = found
    options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help", "-h"}
    return next((word for word in words if re.match(r"--?[a-z]", word) and word.split("=")[0] not in options), None)


@pytest.mark.parametrize("path", [ROOT / "README.md", ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_every_command_that_a_reader_is_told_exists(path: Path) -> None:
    lines = list(quoted(path))
    assert len(lines) > 1
    assert {line: word for line in lines if (word := unknown(line)) is not None} == {}


def test_every_command_of_an_error_page_exists() -> None:
    lines = {line: path.name for path in PAGES for line in quoted(path)}
    assert len(lines) > 20
    assert {(page, line, word) for line, page in lines.items() if (word := unknown(line)) is not None} == set()


def test_a_command_that_is_not_there_is_noticed() -> None:
    assert unknown("archive-proc bench none --run latest") == "none"
    assert unknown("archive-proc run --no-such-option") == "--no-such-option"
    assert unknown("archive-proc run --workers 4") is None
