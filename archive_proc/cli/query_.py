"""`query "SQL"|@file|--saved NAME`: ask the catalog."""

from __future__ import annotations

from pathlib import Path

import click

from archive_proc.cli.options import opened, print_rows
from archive_proc.errors import MisuseError


@click.command("query")
@click.argument("sql", required=False, metavar='["SQL"|@FILE]')
@click.option("--saved", metavar="NAME", help="A saved query; `list` shows them.")
@click.option("-p", "--parameter", multiple=True, metavar="NAME=VALUE", help="A value of the query, bound.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json", "jsonl", "parquet"]), default="table")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("-o", "--output", metavar="FILE", help="Where a Parquet file goes.")
@click.pass_context
def command(
    context: click.Context,
    sql: str | None,
    saved: str | None,
    parameter: tuple[str, ...],
    form: str,
    as_json: bool,
    output: str | None,
) -> None:
    """Answer one SELECT from the catalog, read-only."""
    form = "json" if as_json else form
    if (sql is None) == (saved is None):
        raise MisuseError("AP-CLI-007", "one of SQL or --saved is needed", subject="query", remedy="query --saved list")
    if saved == "list":
        from archive_proc.catalog.query import saved_queries

        rows = [
            (
                one.name.replace("_", "-"),
                ", ".join(f"{p.name}{'?' if p.optional else ''}" for p in one.parameters),
                one.title,
            )
            for one in saved_queries().values()
        ]
        print_rows(("name", "parameters", "answers"), rows, form)
        return
    values: dict[str, object] = {}
    for one in parameter:
        name, equals, value = one.partition("=")
        if not equals:
            raise MisuseError("AP-CLI-007", "is not NAME=VALUE", subject=f"-p {one}", remedy="-p name=51eri")
        values[name] = value
    archive = opened(context)
    if saved is not None:
        found = archive.saved(saved, values)
    else:
        assert sql is not None
        found = archive.query(_text(sql[1:]) if sql.startswith("@") else sql, values)
    if form == "parquet":
        if output is None:
            raise MisuseError("AP-CLI-007", "Parquet needs a file", subject="query", remedy="-o rows.parquet")
        from archive_proc.storage.atomic import write_parquet

        write_parquet(found, Path(output))
        click.echo(f"{found.num_rows} rows in {output}")
        return
    rows_found = [tuple(row.values()) for row in found.to_pylist()] if found.num_columns else []
    print_rows(found.column_names, rows_found, form)
    if form == "table":
        click.echo(f"({found.num_rows} row{'' if found.num_rows == 1 else 's'})")


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
        raise MisuseError(
            "AP-CLI-007", f"cannot be read: {why}", subject=f"query @{path}", remedy="give a file that holds one SELECT"
        ) from problem
