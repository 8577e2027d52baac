"""`rebuild`: the catalog from its sources."""

from __future__ import annotations

import click

from archive_proc.cli.options import opened


@click.command("rebuild")
@click.pass_context
def command(context: click.Context) -> None:
    """Make the catalog anew from manifests, overrides, decisions, plans, journals and process records."""
    snapshot = opened(context).rebuild()
    rows = {name: sum(part.rows for part in table.parts.values()) for name, table in snapshot.manifest.tables.items()}
    click.echo(f"snapshot {snapshot.path.name}: {len(rows)} tables, {sum(rows.values())} rows")
    for name in ("files", "observations", "associations", "processes", "products", "runs", "issues"):
        click.echo(f"  {name:<14} {rows.get(name, 0)}")
