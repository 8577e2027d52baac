"""Compiled loops: compiled wherever they are, and the same as the plain formula."""

from __future__ import annotations

import numpy as np
import pytest

from archive_proc.kernels.loops.compiling import compiled
from archive_proc.kernels.loops.stamps import fit_sums
from archive_proc.kernels.stamps import moved, moved_good


def test_a_loop_is_compiled_where_nothing_can_be_kept_on_disk() -> None:
    names: dict[str, object] = {}
    exec("def add(a, b):\n    return a + b\n", names)  # a function of no file
    assert compiled(names["add"])(1.5, 2.0) == 3.5  # type: ignore[arg-type, operator]


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.37, -0.81), (-5.25, 3.5)])
def test_good_pixels_are_moved_as_with_their_variances(shift: tuple[float, float]) -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(0.0, 50.0, (48, 48)).astype(np.float32)
    weight = np.where(rng.random(values.shape) < 0.1, 0.0, rng.uniform(0.5, 2.0, values.shape)).astype(np.float32)
    out, valid = moved_good(values, weight, shift)
    expected, inverse = moved(values, weight, shift)
    assert np.array_equal(valid > 0, inverse > 0)
    assert 1000 < valid.sum() < 48 * 48
    np.testing.assert_allclose(out, expected, atol=2e-4)


def test_sums_of_the_fit_are_those_of_the_weighted_products() -> None:
    rng = np.random.default_rng(6)
    images = rng.normal(size=(3, 400)).astype(np.float32)
    where = np.flatnonzero(rng.random(400) < 0.5)
    value, photon, change = rng.normal(size=where.size), rng.uniform(1, 2, where.size), rng.uniform(0, 1, where.size)
    basis = np.stack([images[0, where], np.ones(where.size), images[1, where], images[2, where], value])
    expected = (basis / (photon + 0.3 * change)) @ basis.T
    np.testing.assert_allclose(fit_sums(images, where, value, photon, change, 0.3), expected, rtol=1e-10, atol=1e-10)
