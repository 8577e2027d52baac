"""Sums over rows against numpy, and what they refuse to compile for."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from archive_proc.kernels.loops.rows import ROW, add_rows, copy_rows, dot_rows, dot_square_rows


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


def test_numbers_that_do_not_follow_each_other_do_not_compile():
    with pytest.raises(TypingError, match="C order"):
        njit(lambda one: dot_rows(one, 0, one, 0, 1))(np.zeros((4, 64), np.float32)[:, ::2])
