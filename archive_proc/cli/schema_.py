"""`schema [TABLE]`: tables and columns, documented."""

from __future__ import annotations

import click

from archive_proc.cli.options import print_rows


@click.command("schema")
@click.argument("table", required=False)
@click.option("--format", "form", type=click.Choice(["table", "csv", "json", "jsonl"]), default="table")
def command(table: str | None, form: str) -> None:
    """List the tables of the catalog, or the columns of TABLE with type, unit and meaning."""
    from archive_proc.catalog.schema import schema, tables

    if table is None and form == "table":
        print_rows(("table", "columns", "holds"), [(one.name, len(one.columns), one.title) for one in tables()], form)
        click.echo("archive-proc schema TABLE lists its columns")
        return
    columns = ("table", "column", "type", "unit", "meaning")
    print_rows(columns, [tuple(getattr(one, name) for name in columns) for one in schema(table)], form)
