"""`help CODE`: the page of an error code."""

from __future__ import annotations

from pathlib import Path

import click

from archive_proc.errors import NotFoundError

PAGES = Path(__file__).resolve().parents[1] / "error_pages"


@click.command("help")
@click.argument("code", required=False)
def command(code: str | None) -> None:
    """Print the page of an error CODE; without one, list them all."""
    pages = {page.stem: page for page in sorted(PAGES.glob("AP-*.md"))}
    if code is None:
        for name, page in pages.items():
            title = page.read_text().splitlines()[0].removeprefix("# ").removeprefix(name).strip()
            click.echo(f"{name}  {title}")
        return
    page_found = pages.get(code.upper())
    if page_found is None:
        family = [name for name in pages if name.startswith(code.upper()[:6])]
        raise NotFoundError(
            "AP-CLI-006",
            "no such error code",
            subject=code,
            remedy=f"known ones of this family: {', '.join(family)}" if family else "archive-proc help lists them",
        )
    click.echo(page_found.read_text().replace("**", "").lstrip("# "), nl=False)
