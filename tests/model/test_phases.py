"""A task's time is shared out among phases without remainder."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from archive_proc.model.phases import Phase, PhaseClock, PhaseCost, summed

STEPS = st.lists(st.one_of(st.sampled_from(list(Phase)), st.just("out"), st.integers(1, 50)), min_size=1, max_size=60)


class Ticks:
    """A clock that is set by hand: CPU runs at half the speed of the wall."""

    def __init__(self) -> None:
        self.wall = 0.0

    def __call__(self) -> tuple[float, float]:
        return self.wall, self.wall / 2


@given(STEPS)
def test_phases_add_up_to_the_task_however_they_nest(steps: list[Phase | str | int]) -> None:
    ticks = Ticks()
    clock = PhaseClock(ticks)
    inside = []
    expected: dict[str, float] = {}
    stack: list[Phase] = [Phase.TASK]
    for step in steps:
        if isinstance(step, Phase):
            inside.append(clock(step))
            inside[-1].__enter__()
            stack.append(step)
        elif step == "out":
            if inside:
                inside.pop().__exit__(None, None, None)
                stack.pop()
        else:
            assert isinstance(step, int)
            ticks.wall += step
            expected[stack[-1].value] = expected.get(stack[-1].value, 0.0) + step
    costs = clock.costs()
    assert {name: one.wall_s for name, one in costs.items() if one.wall_s} == expected
    assert sum(one.wall_s for one in costs.values()) == ticks.wall
    assert sum(one.cpu_s for one in costs.values()) == ticks.wall / 2


def test_a_phase_ends_when_its_work_raises() -> None:
    ticks = Ticks()
    clock = PhaseClock(ticks)
    try:
        with clock(Phase.READ):
            ticks.wall += 3
            raise OSError
    except OSError:
        ticks.wall += 4
    assert clock.costs() == {"task": PhaseCost(4.0, 2.0), "read": PhaseCost(3.0, 1.5)}


def test_phases_of_tasks_add_up_and_unknown_ones_are_kept() -> None:
    one = {"write": PhaseCost(1.0, 1.0), "of a newer package": PhaseCost(0.5, 0.25)}
    other = {"read": PhaseCost(2.0, 1.0), "write": PhaseCost(1.0, 0.5)}
    both = summed(one, other)
    assert both["write"] == PhaseCost(2.0, 1.5)
    assert list(both) == ["read", "write", "of a newer package"]
