"""`verify [--deep]`: products and catalog against their seals."""

from __future__ import annotations

import sys

import click

from archive_proc.cli.fitting import folded
from archive_proc.cli.options import opened


@click.command("verify")
@click.option("--deep", is_flag=True, help="Read and hash every object, not only names and sizes.")
@click.pass_context
def command(context: click.Context, deep: bool) -> None:
    """Compare products, catalog and journals with what was sealed. Exits 4 when something does not fit."""
    archive = opened(context)
    findings = archive.verify(deep=deep)
    for one in findings:
        what = f"{one.severity:<8}  {one.code} {one.subject_kind} {one.subject_id}: {one.message} -> {one.remedy}"
        click.echo(folded(what, 10))
    counted = archive.query("SELECT count(*) AS n FROM products WHERE state = 'ok'").to_pylist()[0]["n"]
    how = "every object read" if deep else "names and sizes; --deep reads every object"
    click.echo(f"{counted} products, {len(findings)} findings ({how})")
    if any(one.severity != "note" for one in findings):
        sys.exit(4)
