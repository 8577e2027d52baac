"""Which lenslets a flat is of: the fine pattern of throughputs agrees with its own copy and with nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from archive_proc.kernels.lenslet_pattern import beside_neighbours, pattern_agreement
from archive_proc.kernels.lenslets import ADJACENT, FieldStop, Lenslets, all_lenslets


@pytest.fixture(scope="module")
def lenslets() -> Lenslets:
    return all_lenslets(FieldStop(-30.0, 30.0, -30.0, 30.0))


def test_what_is_smooth_over_the_field_is_no_pattern(lenslets: Lenslets):
    smooth = 1.0 + 0.1 * np.sin(lenslets.x / 20.0) * np.cos(lenslets.y / 20.0)
    away = beside_neighbours(smooth, lenslets.steps(ADJACENT))
    assert np.nanmax(np.abs(away)) < 0.01
    assert np.isfinite(away).mean() > 0.95


def test_a_lenslet_among_too_few_known_ones_is_not_judged(lenslets: Lenslets):
    steps = lenslets.steps(ADJACENT)
    one = int(np.argmin(np.hypot(lenslets.x, lenslets.y)))
    values = np.ones(len(lenslets))
    values[steps[one][:3]] = np.nan
    found = beside_neighbours(values, steps)
    assert np.isnan(found[one])
    assert np.isnan(found[steps[one][0]]), "unknown itself"
    assert found[steps[one][4]] == 0.0


def test_a_pattern_agrees_with_its_own_noisy_copy_and_not_with_that_of_the_next_lenslet(lenslets: Lenslets):
    rng = np.random.default_rng(5)
    steps = lenslets.steps(ADJACENT)
    own = rng.normal(1.0, 0.013, len(lenslets))
    # A speck of dust in both must not make an agreement: it is cut off where the others end.
    own[100] = 0.2
    spots = own * rng.normal(1.0, 0.02, len(lenslets)) * (1.0 + 0.003 * lenslets.x)
    pattern = beside_neighbours(own, steps)
    assert pattern_agreement(pattern, beside_neighbours(spots, steps)) == pytest.approx(0.545, abs=0.06)
    aside = np.where(steps[:, 0] >= 0, own[steps[:, 0]], np.nan)
    assert pattern_agreement(beside_neighbours(aside, steps), beside_neighbours(spots, steps)) < 0.0
    other = rng.normal(1.0, 0.013, len(lenslets))
    assert abs(pattern_agreement(beside_neighbours(other, steps), beside_neighbours(spots, steps))) < 0.05


def test_nothing_is_said_of_few_lenslets_or_of_no_pattern(lenslets: Lenslets):
    rng = np.random.default_rng(5)
    some = rng.normal(0.0, 0.01, 99)
    assert np.isnan(pattern_agreement(some, some))
    many = rng.normal(0.0, 0.01, 200)
    assert np.isnan(pattern_agreement(many, np.zeros(200)))
    assert pattern_agreement(many, many) == pytest.approx(1.0)
