"""Tables and lines on narrow terminals."""

from __future__ import annotations

import pytest

from archive_proc.cli.fitting import cut, fitted, folded


def test_a_table_that_fits_is_left_as_it_is() -> None:
    assert fitted([5, 10], 17) == [5, 10]


def test_the_widest_columns_give_way_first_and_just_enough() -> None:
    assert fitted([5, 40, 10], 40) == [5, 21, 10]
    assert fitted([30, 30], 42) == [20, 20]


@pytest.mark.parametrize("room", range(30, 120, 7))
def test_fitted_widths_never_exceed_the_room(room: int) -> None:
    found = fitted([12, 60, 9, 33], room)
    assert found is None or sum(found) + 2 * 3 <= room


def test_a_table_of_too_many_columns_does_not_fit() -> None:
    assert fitted([20] * 20, 80) is None


def test_a_cut_cell_says_so() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcde…"


def test_ids_stay_whole_when_a_line_is_broken() -> None:
    name = "SPHER.2015-09-25T08:46:06.875"
    lines = folded(" ".join([name] * 9), 4).splitlines()
    assert len(lines) > 1
    assert all(word == name for line in lines for word in line.split())
