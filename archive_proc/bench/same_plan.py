"""One plan run twice, on other sites or with more workers: how much faster, how efficiently, with what left serial."""

from __future__ import annotations

from archive_proc.bench.figures import Figure, Report
from archive_proc.bench.project.bench import Measured
from archive_proc.errors import MisuseError


def compared(run: Measured, other: Measured) -> Report:
    """The figures of `run` beside `other`'s. Raises MisuseError AP-BEN-003 where they executed different plans, or
    sealed different processes of it.
    """
    if run.plan.plan_id != other.plan.plan_id:
        raise _incomparable(run, other, f"plan {run.plan.plan_id[:12]} is not plan {other.plan.plan_id[:12]}")
    mine, theirs = ({one.process_id for one in some.records.sealed} for some in (run, other))
    if mine != theirs:
        raise _incomparable(
            run, other, f"of one plan the first made {len(mine)} products' processes, the second {len(theirs)}"
        )
    n = len(mine)
    speed_up = other.records.wall_s / run.records.wall_s
    more = run.workers / other.workers
    cpu_s, other_cpu_s = (sum(one.cpu_s for one in some.records.tasks) for some in (run, other))
    # Karp and Flatt 1990: the share of the work that behaves as if it could not be shared.
    serial = (1.0 / speed_up - 1.0 / more) / (1.0 - 1.0 / more) if more > 1 else None
    case = f"{run.name}, {run.workers} workers, beside {other.name}, {other.workers}"
    return Report(
        "throughput",
        (
            Figure(
                case=case, name="wall", value=run.records.wall_s, unit="s", reference="s of the other",
                reference_value=other.records.wall_s, n=n,
            ),
            Figure(
                case=case, name="CPU of all tasks", value=cpu_s, unit="s", reference="s of the other",
                reference_value=other_cpu_s, n=n,
            ),
            Figure(case=case, name="speed-up", value=speed_up, unit="1", reference="times the workers",
                   reference_value=more, n=n),
            Figure(case=case, name="efficiency", value=speed_up / more, unit="1", n=n),
            Figure(case=case, name="serial fraction (Karp-Flatt)", value=serial, unit="1", n=n),
        ),
    )  # fmt: skip


def _incomparable(run: Measured, other: Measured, what: str) -> MisuseError:
    return MisuseError(
        "AP-BEN-003",
        what,
        subject=f"{run.name} and {other.name}",
        remedy="run the saved plan of one of them on the other site: archive-proc run plan:ID",
    )
