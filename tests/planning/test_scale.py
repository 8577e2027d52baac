"""Planning keeps to its time: a tenth of a semester in the suite, a whole one by hand:

python tests/planning/test_scale.py 110      (nights; 110 give 31 680 frames and 12 650 processes)
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

import toy

from archive_proc.planning.known import KnownProducts
from archive_proc.planning.plan import Selection, Standing, make_plan
from archive_proc.planning.show import plan_lines
from archive_proc.planning.text import plan_from_json, plan_to_json
from archive_proc.planning.universe import Universe

OBSERVATIONS = 28
"""A night, with 10 frames each: as many processes and frames as a semester of 110 nights really has."""


def semester(nights: int) -> Universe:
    return toy.universe(*(toy.plain_night(n, OBSERVATIONS, n_object=6) for n in range(nights)))


def measure(nights: int) -> tuple[int, dict[str, float]]:
    """Number of processes and CPU seconds of each step."""
    universe = semester(nights)
    selection = Selection(obs_ids=frozenset(universe.observations))
    took: dict[str, float] = {}

    def lap(name: str, start: float) -> float:
        took[name] = time.process_time() - start
        return time.process_time()

    clock = time.process_time()
    plan = make_plan(universe, selection, toy.RULEBOOK)
    clock = lap("plan", clock)
    text = plan_to_json(plan)
    clock = lap("write", clock)
    assert plan_from_json(text) == plan
    clock = lap("read", clock)
    known = KnownProducts(sealed=frozenset(one.process.process_id for one in plan.processes))
    clock = time.process_time()
    again = make_plan(universe, selection, toy.RULEBOOK, Standing(known=known))
    assert not any(one.to_run for one in again.processes)
    clock = lap("plan again", clock)
    plan_lines(plan)
    lap("print", clock)
    took["megabytes"] = len(text) / 1e6
    return len(plan.processes), took


def test_a_tenth_of_a_semester_is_planned_in_a_tenth_of_ten_seconds() -> None:
    n, took = measure(11)
    assert n == 11 * (4 * OBSERVATIONS + 3)
    assert took["plan"] < 1.0 * 3  # three times the aim: other work shares the machine's cores and caches


if __name__ == "__main__":
    n_processes, times = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 110)
    print(f"{n_processes} processes; CPU s:", ", ".join(f"{name} {value:.2f}" for name, value in times.items()))
