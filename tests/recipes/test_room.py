"""Blocks leave their memory to the next one."""

from __future__ import annotations

import numpy as np

from archive_proc.recipes.recipe import Room


def test_the_next_block_gets_the_same_memory_and_a_short_one_a_part_of_it() -> None:
    room = Room()
    first = room.array("flux", (16, 2, 3), np.float32)
    again = room.array("flux", (16, 2, 3), np.float32)
    last = room.array("flux", (5, 2, 3), np.float32)
    assert np.shares_memory(first, again)
    assert np.shares_memory(first, last)
    assert last.shape == (5, 2, 3)
    assert last.flags.c_contiguous


def test_arrays_of_other_names_shapes_or_types_are_their_own() -> None:
    room = Room()
    flux = room.array("flux", (4, 2, 3), np.float32)
    for other in (
        room.array("variance", (4, 2, 3), np.float32),
        room.array("flux", (4, 2, 5), np.float32),
        room.array("flux", (4, 2, 5), np.uint16),
    ):
        assert not np.shares_memory(flux, other)
    assert room.array("flux", (9, 2, 5), np.uint16).shape == (9, 2, 5)
