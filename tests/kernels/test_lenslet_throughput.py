"""Throughputs of lenslets: what is their own, and what changes slowly over the field and belongs to something else."""

from __future__ import annotations

import numpy as np
import pytest

from archive_proc.kernels.lenslet_throughput import local_scatter
from archive_proc.kernels.lenslets import ADJACENT, FieldStop, all_lenslets

LENSLETS = all_lenslets(FieldStop(-40.0, 40.0, -40.0, 40.0))
BESIDE = LENSLETS.steps(ADJACENT)


def scatter(sigma: float, slope: float) -> float:
    own = np.random.default_rng(5).normal(1.0, sigma, len(LENSLETS))
    slow = 1.0 + slope * (LENSLETS.x / 40.0 + (LENSLETS.y / 40.0) ** 2)
    return local_scatter(own * slow, BESIDE)


def test_the_scatter_is_of_single_lenslets_whatever_changes_slowly_over_the_field() -> None:
    assert scatter(0.013, 0.0) == pytest.approx(0.013, rel=0.03)
    assert scatter(0.013, 0.1) == pytest.approx(0.013, rel=0.05)
    assert scatter(0.06, 0.1) > 0.055


def test_lenslets_without_measurement_or_neighbour_have_no_say() -> None:
    own = np.random.default_rng(5).normal(1.0, 0.013, len(LENSLETS))
    own[::3] = np.nan
    assert local_scatter(own, BESIDE) == pytest.approx(0.013, rel=0.05)
    assert np.isnan(local_scatter(own, np.full_like(BESIDE, -1)))
