"""Sums over rows and lanes against numpy, and what they refuse to compile for."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from archive_proc.kernels.loops.lanes import BESIDE, LANES, settle_lanes
from archive_proc.kernels.loops.rows import (
    ROW,
    add_rows,
    copy_rows,
    count_rows,
    dot_rows,
    dot_square_rows,
    largest_in_rows,
    mix_rows,
)


@njit
def all_of_them(counts, values, into, picture, cut, rows):
    add_rows(counts, 2, 0.5, into, 3, rows)
    copy_rows(picture, 5, picture.shape[1], cut, ROW, ROW, rows)
    return dot_rows(counts, 2, values, 7, rows), dot_square_rows(counts, 2, values, 7, rows)


@pytest.mark.parametrize("rows", [1, 4, 7])
def test_sums_of_rows_are_those_of_numpy_from_any_place_on(rows):
    rng = np.random.default_rng(3)
    size = rows * ROW
    counts = rng.integers(-32000, 32000, size + 40).astype(np.int16)
    values = rng.normal(size=size + 40).astype(np.float32)
    into, picture = np.zeros(size + 40, np.float32), rng.normal(size=(rows + 2, 31)).astype(np.float32)
    cut = np.zeros((rows + 2) * ROW, np.float32)
    dot, square = all_of_them(counts, values, into, picture, cut, rows)
    own, other = counts[2 : 2 + size].astype(float), values[7 : 7 + size].astype(float)
    assert dot == pytest.approx(own @ other, abs=0.1)
    assert square == pytest.approx(own**2 @ other, rel=1e-4)
    assert np.array_equal(into[3 : 3 + size], 0.5 * own)
    assert not into[:3].any()
    assert not into[3 + size :].any()
    assert np.array_equal(cut.reshape(-1, ROW)[1 : rows + 1], picture[:rows, 5 : 5 + ROW])
    assert not cut[:ROW].any()
    assert not cut[(rows + 1) * ROW :].any()


@njit
def mixed_and_counted(runs, places, weights, rows, mixed, counts):
    mix_rows(runs, places, weights, places.size, ROW, mixed, ROW, rows)
    largest = largest_in_rows(mixed, ROW, rows)
    return largest, count_rows(mixed, ROW, np.float32(1000.0) / largest, counts, 3, rows)


@pytest.mark.parametrize("rows", [1, 4, 7])
def test_runs_of_rows_are_mixed_and_counted(rows):
    rng = np.random.default_rng(5)
    runs, size = rng.normal(size=400).astype(np.float32), rows * ROW
    places, weights = np.array([3, 200, 17]), rng.normal(size=3).astype(np.float32)
    mixed, counts = np.zeros(size + 2 * ROW, np.float32), np.zeros(size + 5, np.int16)
    largest, total = mixed_and_counted(runs, places, weights, rows, mixed, counts)
    expected = sum(weight * runs[place : place + size] for place, weight in zip(places, weights, strict=True))
    assert mixed[ROW : ROW + size] == pytest.approx(expected, abs=1e-5)
    assert largest == np.abs(mixed).max()
    assert np.array_equal(counts[3 : 3 + size], np.rint(mixed[ROW : ROW + size] * (np.float32(1000.0) / largest)))
    assert total == counts.sum()
    assert not mixed[:ROW].any()
    assert not mixed[ROW + size :].any()
    assert not counts[:3].any()
    assert not counts[3 + size :].any()


@njit
def settled(one, two, out, times):
    settle_lanes(one, LANES, 2 * LANES, two, 0, LANES, 3 * LANES, 2, out, LANES, 2 * LANES, times, 0)


def test_lanes_are_settled_each_for_itself():
    rng = np.random.default_rng(7)
    one, two, times = (rng.normal(size=(count, LANES)) for count in (4, 3 * BESIDE, 1))
    out = rng.normal(size=(2 * BESIDE, LANES))
    expected = out.copy()
    for result in range(BESIDE):
        products = one[1] * two[3 * result] + one[3] * two[3 * result + 1]
        expected[1 + 2 * result] = (out[1 + 2 * result] - products) * times[0]
    flat = out.reshape(-1)
    settled(one.reshape(-1), two.reshape(-1), flat, times.reshape(-1))
    assert flat == pytest.approx(expected.reshape(-1))
    with pytest.raises(TypingError, match="float64"):
        njit(settled.py_func)(one.reshape(-1).astype(np.float32), two.reshape(-1), flat, times.reshape(-1))


def test_numbers_that_do_not_follow_each_other_do_not_compile():
    with pytest.raises(TypingError, match="C order"):
        njit(lambda one: dot_rows(one, 0, one, 0, 1))(np.zeros((4, 64), np.float32)[:, ::2])
