"""Cosmic rays are found in time; the star, its spots and its changes are not."""

from __future__ import annotations

import numpy as np
import pytest

from archive_proc.kernels.calibrate import join_halves
from archive_proc.kernels.cosmic import Witnesses, chosen_witnesses, cosmic_rays

SHAPE = (2, 96, 96)


def planes(n: int, scale: np.ndarray | None = None, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :96]
    star = 3000.0 * np.exp(-((x - 50.0) ** 2 + (y - 40.0) ** 2) / (2 * 1.6**2))
    factor = np.ones(n) if scale is None else scale
    light = 200.0 + factor[:, None, None, None] * star
    light = np.broadcast_to(light, (n, *SHAPE))
    return (rng.poisson(light * 1.75) / 1.75 + 10.0 + rng.normal(0.0, 2.5, light.shape)).astype(np.float32)


def find(plane: np.ndarray, near: list[np.ndarray]) -> np.ndarray:
    witnesses = Witnesses(
        [join_halves(one) for one in near],
        background=np.full(SHAPE, 210.0, np.float32),
        pedestal=np.full(SHAPE, 10.0, np.float32),
        read_noise=np.full(SHAPE, 2.5, np.float32),
        gain=1.75,
        good=np.ones(SHAPE, bool),
    )
    return cosmic_rays(join_halves(plane), witnesses)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_hits_are_found_whatever_the_number_of_neighbours(n: int) -> None:
    given = planes(n + 1)
    given[0, 0, 70, 20] += 400.0
    given[0, 1, 30:32, 80] += 300.0
    found = find(given[0], list(given[1:]))
    assert found[0, 70, 20]
    assert found[1, 30:32, 80].all()
    assert found.sum() <= 4


def test_a_hit_in_a_neighbour_marks_nothing_here() -> None:
    given = planes(3)
    given[1, 0, 70, 20] += 900.0
    assert not find(given[0], list(given[1:])).any()


def test_a_star_that_brightens_or_moves_is_no_hit() -> None:
    brighter = planes(3, np.array([1.2, 1.0, 0.95]))
    assert not find(brighter[0], list(brighter[1:])).any()
    moved = planes(2)
    shifted = np.roll(planes(2, seed=9)[0], 1, axis=2)
    assert not find(shifted, [moved[1]])[:, 30:50, 40:60].any()


def test_without_neighbours_nothing_is_claimed() -> None:
    assert not find(planes(1)[0], []).any()


def test_witnesses_are_the_nearest_of_the_block_and_others_only_where_it_has_too_few():
    block = range(16, 32)
    assert chosen_witnesses(24, range(64), block) == [22, 23, 25, 26]
    assert chosen_witnesses(16, range(64), block) == [17, 18, 19, 20]
    assert chosen_witnesses(31, range(64), block) == [27, 28, 29, 30]
    assert chosen_witnesses(16, [8, 12, 16, 20, 28, 32], block) == [20, 28]
    assert chosen_witnesses(31, [14, 15, 30, 31, 32, 33, 34], block) == [15, 30, 32, 33]
    assert chosen_witnesses(20, [4, 20, 36], block) == [4, 36]
    assert chosen_witnesses(20, [20], block) == []
