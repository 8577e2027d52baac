"""Planes chosen, medians, turning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_proc.quality.stacks import MOST_PLANES, RUN, binned, chosen_planes, derotated, holes, median_of, runs_of


@given(st.lists(st.booleans(), max_size=400))
def test_chosen_planes_are_usable_few_and_in_order(flags: list[bool]) -> None:
    usable = np.array(flags, bool)
    chosen = chosen_planes(usable)
    assert len(chosen) <= MOST_PLANES
    assert usable[chosen].all()
    assert np.all(np.diff(chosen) > 0)
    if usable.any():
        assert len(chosen) > 0


@pytest.mark.parametrize("n", [33, 100, 3360])
def test_chosen_planes_span_the_sequence(n: int) -> None:
    chosen = chosen_planes(np.ones(n, bool))
    assert chosen[0] == 0
    assert chosen[-1] >= n - RUN
    assert np.diff(chosen).max() <= 2 * n / (MOST_PLANES / RUN - 1)


@given(st.sets(st.integers(0, 90), max_size=40))
def test_runs_are_consecutive_and_within_one_chunk(planes: set[int]) -> None:
    wanted = np.array(sorted(planes), np.int32)
    runs = list(runs_of(wanted)) if len(wanted) else []
    assert [int(one) for run in runs for one in run] == sorted(planes)
    for run in runs:
        assert np.all(np.diff(run) == 1)
        assert len({int(one) // RUN for one in run}) == 1


def test_a_source_turns_counter_clockwise_by_the_derotation_angle() -> None:
    """A source at position angle p lies p - D counter-clockwise from +y; turning by D puts it p east of north."""
    angle, position = 37.0, 110.0
    image = np.zeros((201, 201), np.float32)
    turn = np.radians(position - angle)
    y, x = np.mgrid[:201, :201]
    image += np.exp(-((x - (100 - 60 * np.sin(turn))) ** 2 + (y - (100 + 60 * np.cos(turn))) ** 2) / 8).astype(
        np.float32
    )
    north_up = derotated(image, angle, (100.0, 100.0))
    row, column = np.unravel_index(np.nanargmax(north_up), north_up.shape)
    assert column == pytest.approx(100 - 60 * np.sin(np.radians(position)), abs=1)
    assert row == pytest.approx(100 + 60 * np.cos(np.radians(position)), abs=1)


@given(st.integers(1, 9), st.integers(0, 40))
def test_median_is_that_of_finite_values(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    stack = rng.normal(size=(n, 4, 5)).astype(np.float32)
    stack[rng.random(stack.shape) < 0.4] = np.nan
    found = median_of(stack)
    for row in range(4):
        for column in range(5):
            finite = stack[:, row, column][np.isfinite(stack[:, row, column])]
            expected = np.median(finite) if finite.size else np.nan
            assert found[row, column] == pytest.approx(expected, rel=1e-6, nan_ok=True)


def test_binning_averages_what_is_finite() -> None:
    image = np.array([[1, 3, np.nan, np.nan], [np.nan, 5, np.nan, np.nan]], np.float32)
    assert binned(image, 2)[0, 0] == pytest.approx(3.0)
    assert np.isnan(binned(image, 2)[0, 1])


def test_a_hole_is_flagged_and_the_open_border_is_not() -> None:
    image = np.ones((40, 40), np.float32)
    image[:, :5] = np.nan
    image[20, 20] = np.nan
    found = holes(image)
    assert found[20, 20]
    assert found.sum() == 1
