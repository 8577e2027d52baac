"""Runs and plans by name, and how to stop a run: light, so that `status` and `cancel` answer at once."""

from __future__ import annotations

import re

from archive_proc.errors import MisuseError, NotFoundError
from archive_proc.execution.stopping import STOP_NAME
from archive_proc.model.ids import PlanId, RunId
from archive_proc.storage.layout import Layout
from archive_proc.storage.runs import read_run, run_ids


def cancel(layout: Layout, run_id: RunId) -> None:
    """Ask the driver of a run to stop: running tasks may end, nothing new starts."""
    read_run(layout, run_id)
    (layout.run_dir(run_id) / STOP_NAME).touch()


def named_run(layout: Layout, text: str | None) -> RunId:
    """The run whose id begins so (`run:` before it or not), the latest where nothing is given.

    Raises NotFoundError (AP-CLI-009) where there is none, or several.
    """
    runs = run_ids(layout)
    start = (text or "").removeprefix("run:")
    found = [one for one in runs if one.startswith(start)] if start else list(runs[-1:])
    if len(found) != 1:
        what = "no such run" if not found else f"{len(found)} runs begin so"
        remedy = f"latest: run:{runs[-1][:12]}" if runs else "archive-proc run"
        raise NotFoundError("AP-CLI-009", what, subject=text or "run", remedy=remedy)
    return found[0]


def named_plan(layout: Layout, text: str) -> PlanId:
    """The saved plan whose id begins so (`plan:` before it or not).

    Raises MisuseError (AP-CLI-007) for what is no id, NotFoundError (AP-PLN-031) where there is none, or several.
    """
    start = text.removeprefix("plan:")
    if not re.fullmatch(r"[0-9a-f]+", start):
        raise MisuseError("AP-CLI-007", "is no plan id", subject=text, remedy="plan:<hex>, as `plan` prints it")
    found = sorted(path.stem for path in layout.plans.glob(f"{start}*.json"))
    if len(found) != 1:
        what = "no such plan" if not found else f"{len(found)} plans begin so"
        raise NotFoundError("AP-PLN-031", what, subject=text, remedy="archive-proc plan prints and saves one")
    return PlanId(found[0])
