"""What a semester, or eleven of them, cost before the first job: ingest of a manifest, association, plan, status.

Semesters are simulated without pixels; every verb is a command of its own process, whose CPU seconds (those of its
children too) and peak memory the kernel counted.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from archive_proc.bench.figures import Figure, Report
from archive_proc.errors import InfraFailure
from archive_proc.execution.course import course_of
from archive_proc.execution.course_page import write_page
from archive_proc.execution.interpreters import module_command, same_paths
from archive_proc.model.events import Event, ProcessChanged, RunStarted
from archive_proc.model.ids import PlanId, ProcessId, RunId
from archive_proc.model.processes import State
from archive_proc.planning.text import plan_from_json
from archive_proc.storage.journal import JournalWriter
from archive_proc.storage.layout import Layout
from archive_proc.storage.runs import RunFile, write_run
from archive_proc.version import __version__

FIRST_PERIOD = 95
_SINCE_PAGE = 40
"""Lines of the journal that a driver writes after the page it leaves for `status`, at most: those of a few seconds."""
LATE = "2030-01-01T00:00:00"
"""When the run that `status` is asked about happened; nobody compares it with now."""
_RUN = RunId("f" * 32)


@dataclass(frozen=True, slots=True)
class Aims:
    """Bounds for some number of whole semesters."""

    cpu_s: float
    memory_gb: float
    again_s: float | None


AIMS = {1: Aims(30.0, 1.5, 5.0), 11: Aims(360.0, 4.0, None)}
"""By number of semesters."""
STATUS_S = 1.0


@dataclass(frozen=True, slots=True)
class Spent:
    """What one command cost."""

    cpu_s: float
    peak_gb: float
    out: str


def bench_catalog(folder: Path, semesters: int = 1, scale: float = 1.0) -> Report:
    """Cost of ingest, plan, plan again and status of some semesters, simulated below `folder`.

    Aims stand beside whole semesters only, one or eleven of them. Raises InfraFailure AP-SIM-007 with the command that
    failed.
    """
    periods = [folder / f"P{FIRST_PERIOD + number}" for number in range(semesters)]
    for one in periods:
        if not one.is_dir():
            _command("simulate", "semester", str(one), "--period", one.name, "--scale", str(scale))
    archive = folder / "archive"
    _command("init", str(archive))
    home = ("--archive", str(archive))
    ingest = _command(*home, "ingest", *map(str, periods))
    plan = _command(*home, "plan")
    again = _command(*home, "plan")
    layout = Layout(archive)
    (path,) = layout.plans.glob("*.json")
    _pretend_half_done(layout, PlanId(path.stem))
    status = _command(*home, "status")
    said = re.search(r"(\d+) raw frames in \d+ exposure groups, (\d+) observations", ingest.out)
    frames, observations = map(int, said.groups()) if said else (0, 0)
    processes = len(_process_ids(path))
    aims = AIMS.get(semesters) if scale == 1.0 else None
    case = f"{semesters} semester{'s' if semesters > 1 else ''}" + ("" if scale == 1.0 else f", scale {scale:g}")
    cpu, memory = ingest.cpu_s + plan.cpu_s, max(ingest.peak_gb, plan.peak_gb)
    whole = aims is not None and semesters == 1
    return Report(
        "catalog",
        (
            Figure(case=case, name="raw files", value=frames, unit="1", n=frames),
            Figure(case=case, name="observations", value=observations, unit="1", n=frames),
            Figure(case=case, name="processes planned", value=processes, unit="1", n=frames),
            Figure(
                case=case, name="ingest of the manifest, with association", value=ingest.cpu_s, unit="s CPU", n=frames,
            ),
            Figure(case=case, name="plan", value=plan.cpu_s, unit="s CPU", n=frames),
            Figure(
                case=case, name="ingest and plan", value=cpu, unit="s CPU", aim=aims.cpu_s if aims else None, n=frames,
            ),
            Figure(
                case=case, name="peak memory", value=memory, unit="GB", aim=aims.memory_gb if aims else None, n=frames,
            ),
            Figure(
                case=case, name="plan again, nothing to do", value=again.cpu_s, unit="s CPU",
                aim=aims.again_s if aims else None, n=processes, reference="the first", reference_value=plan.cpu_s,
            ),
            Figure(
                case=case, name="status of a run half done", value=status.cpu_s, unit="s CPU",
                aim=STATUS_S if whole else None, n=processes,
            ),
        ),
    )  # fmt: skip


def _process_ids(plan: Path) -> list[ProcessId]:
    return [ProcessId(one["process"]["process_id"]) for one in json.loads(plan.read_bytes())["processes"]]


def _pretend_half_done(layout: Layout, plan_id: PlanId) -> None:
    """A run of the plan whose driver died when half of the processes were done."""
    write_run(
        layout,
        RunFile(
            run_id=_RUN, plan_id=plan_id, asked_by="bench", site="local", created_at=LATE, package_version=__version__
        ),
    )
    plan = plan_from_json(layout.plan(plan_id).read_bytes())
    events: list[Event] = [
        RunStarted(
            run_id=_RUN, plan_id=plan_id, at=LATE, site="local", backend="bench", workers=2, asked_by="bench",
            package_version=__version__, host="bench", pid=1, processes=len(plan.processes),
        )
    ]  # fmt: skip
    for one in plan.processes[: len(plan.processes) // 2]:
        running = ProcessChanged(
            process_id=one.process.process_id, state=State.RUNNING, at=LATE, attempt=1, recipe=one.process.recipe,
            planes=one.prediction.planes, predicted_s=one.prediction.cpu_s,
        )  # fmt: skip
        events += [running, replace(running, state=State.DONE, cpu_s=1.0, tasks=1)]
    course = course_of(_RUN, plan_id, plan.processes, frozenset())
    with JournalWriter(layout.journal(_RUN)) as writer:
        for number, event in enumerate(events, start=1):
            writer.append(event)
            course.fold(event)
            if number == len(events) - _SINCE_PAGE:
                course.end = layout.journal(_RUN).stat().st_size
                write_page(layout, course)


def _command(*words: str) -> Spent:
    """Run a command; its CPU and peak memory. Raises InfraFailure AP-SIM-007 where it failed."""
    with subprocess.Popen(
        module_command("archive_proc.cli.main", *words),
        stdout=subprocess.PIPE,
        env=same_paths(),
        text=True,
    ) as child:
        assert child.stdout is not None
        out = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise InfraFailure(
            "AP-SIM-007",
            f"exit status {child.returncode}",
            subject=f"archive-proc {' '.join(words)}",
            remedy="read what it wrote to stderr, then run it by hand",
        )
    return Spent(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6, out)
