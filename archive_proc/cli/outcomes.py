"""How a run ended, in lines: counts that add up, root causes before consequences, what to do next."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from archive_proc.cli.fitting import folded
from archive_proc.model.ids import shown
from archive_proc.model.processes import Plan, State

if TYPE_CHECKING:
    from archive_proc.archive import Archive
    from archive_proc.catalog.selection import Selection
    from archive_proc.execution.outcome import RunOutcome

_SHOWN = 10


def nothing_planned(plan: Plan, selection: Selection) -> bool:
    """Whether a selection came to nothing that can be made: never a success, unless it may be empty."""
    return not plan.processes and not selection.allow_empty


def print_outcome(archive: Archive, plan: Plan, outcome: RunOutcome) -> None:
    """Print the end of a run to stdout."""
    total = sum(outcome.counts.values())
    counts = ", ".join(f"{number} {state.value}" for state, number in outcome.counts.items() if number)
    made = outcome.counts.get(State.DONE, 0)
    if not total:
        click.echo("nothing could be planned" if plan.not_planned else "nothing is selected")
    elif outcome.counts.get(State.CACHED, 0) == total:
        click.echo(f"nothing to do: all {total} processes are sealed")
    else:
        click.echo(f"{total} process{'' if total == 1 else 'es'}: {counts}")
    for failure in outcome.failures[:_SHOWN]:
        again = f" (stands from run:{failure.earlier_run[:12]}; --retry tries again)" if failure.earlier_run else ""
        then = f" -> {failure.remedy}" if failure.remedy else ""
        what = f"  failed ({failure.cause}) {failure.recipe} {shown('proc', failure.process_id)}: "
        click.echo(folded(f"{what}{failure.code} {failure.account}{then}{again}", 4))
    if len(outcome.failures) > _SHOWN:
        click.echo(f"  ... and {len(outcome.failures) - _SHOWN} more: archive-proc query --saved failures")
    for root, number in Counter(outcome.blocked.values()).most_common(_SHOWN):
        click.echo(f"  blocked by {shown('proc', root)}: {number}")
    for code, number in Counter(one.code for one in plan.not_planned).most_common():
        first = next(one for one in plan.not_planned if one.code == code)
        click.echo(folded(f"  not planned {code}: {number}, first: {first.message} -> {first.remedy}", 4))
    if outcome.stopped:
        click.echo(f"stopped: {outcome.stopped}; what is sealed is kept, the same command continues")
    if outcome.note:
        click.echo(outcome.note)
    click.echo(f"run:{outcome.run_id}")
    if made:
        click.echo("next: archive-proc query --saved star-history, archive-proc show run:" + outcome.run_id[:12])
