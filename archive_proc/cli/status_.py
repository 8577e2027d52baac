"""`status [RUN]`: where a run stands."""

from __future__ import annotations

import json
import sys

import click

from archive_proc.cli.options import opened
from archive_proc.model.processes import State


@click.command("status")
@click.argument("run", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def command(context: click.Context, run: str | None, as_json: bool) -> None:
    """Counts, rate and time left of RUN (the latest). Exits 3 when something failed or is blocked."""
    status = opened(context).status(run)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "schema": 1,
                    "run_id": status.run_id,
                    "plan_id": status.plan_id,
                    "site": status.site,
                    "state": status.state,
                    "counts": {state.value: number for state, number in status.counts.items()},
                    "elapsed_s": round(status.elapsed_s, 1),
                    "left_s": None if status.left_s is None else round(status.left_s, 1),
                    "failures": [
                        {"process_id": one.process_id, "recipe": one.recipe, "cause": one.cause, "code": one.code}
                        for one in status.failures
                    ],
                },
                indent=1,
            )
        )
    else:
        click.echo("\n".join(status.lines))
    if any(one.is_failure or one is State.BLOCKED for one, count in status.counts.items() if count):
        sys.exit(3)
