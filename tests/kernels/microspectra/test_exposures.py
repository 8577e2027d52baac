"""Planes of a group side by side, results in the place of their pixels."""

from __future__ import annotations

import numpy as np
import pytest

from archive_proc.kernels.exposures import put_in_order, room_for_results


@pytest.mark.parametrize("seed", range(4))
def test_planes_are_put_in_order_where_they_are(seed: int):
    order = np.random.default_rng(seed).permutation(11)
    before = np.arange(11.0 * 6).reshape(11, 2, 3)
    planes = before.copy()
    put_in_order(planes, order)
    assert np.array_equal(planes, before[order])
    put_in_order(planes, np.argsort(order))
    assert np.array_equal(planes, before)


def test_results_of_some_planes_lie_where_those_of_all_planes_do():
    light = np.zeros((5, 8, 8), np.float32)
    every, some = room_for_results(light, (5, 4, 5)), room_for_results(light[2:4], (2, 4, 5))
    for of_all, of_some in zip(every, some, strict=True):
        of_some[:] = np.arange(40).reshape(2, 4, 5)
        assert np.array_equal(of_all[2:4], of_some)
        assert not of_all[[0, 1, 4]].any()
