"""What several files say of the air becomes one answer, and a place that nothing measures has an honest doubt."""

from __future__ import annotations

import numpy as np
import pytest

from archive_proc.recipes.ifs.extraction import ExtractionParameters
from archive_proc.recipes.ifs.through_air import Seen, settled

EDGES = np.linspace(0.935, 1.375, 40)


def test_without_air_the_prior_is_flat_and_the_place_doubtful() -> None:
    found = settled([], 1.1, 0.13, 0.03)
    assert np.isnan(found["air"]).all()
    assert (found["shift_y"][0], found["shift_y_used"][0], found["shift_y_error"][0]) == (0.0, 0.0, 0.13)
    assert ExtractionParameters().prior(found, EDGES) is None


def test_files_that_agree_move_the_templates_together() -> None:
    found = settled([Seen(1.6, 0.02, 0.11, 0.01), Seen(1.7, 0.03, 0.13, 0.02)], 1.1, 0.13, 0.03)
    assert found["air"][0] == pytest.approx(1.65)
    assert found["shift_y"][0] == pytest.approx(0.112, abs=0.003)
    assert found["shift_y_used"][0] == pytest.approx(0.12)
    assert 0.03 < found["shift_y_error"][0] < 0.04


def test_a_file_just_beyond_the_limit_counts_nearly_as_one_within_it() -> None:
    found = settled([Seen(1.2, 0.04, -0.08, 0.0535), Seen(1.3, 0.03, -0.04, 0.039)], 1.1, 0.13, 0.03)
    assert found["shift_y"][0] == pytest.approx(-0.048, abs=0.002)
    assert 0.045 < found["shift_y_error"][0] < 0.06


def test_files_that_contradict_each_other_say_so_in_the_error() -> None:
    found = settled([Seen(1.6, 0.02, -0.1, 0.01), Seen(1.6, 0.02, 0.1, 0.01)], 1.1, 0.13, 0.03)
    assert found["shift_y_error"][0] > 0.07


def test_speckles_may_show_the_strength_and_not_the_place() -> None:
    found = settled([Seen(1.6, 0.06, -0.12, 0.07)], 1.1, 0.13, 0.03)
    assert found["air"][0] == 1.6
    assert (found["shift_y"][0], found["shift_y_error"][0]) == (0.0, 0.13)


def test_the_prior_follows_the_air_and_a_spectrum_that_is_given_goes_before_it() -> None:
    found = settled([Seen(1.6, 0.02, 0.0, 0.01)], 1.1, 0.13, 0.03)
    shape = ExtractionParameters().prior(found, EDGES)
    assert shape is not None
    middle = 0.5 * (EDGES[1:] + EDGES[:-1])
    assert shape.max() == pytest.approx(1.0, abs=0.001)
    assert shape[np.argmin(np.abs(middle - 1.135))] < 0.8
    given = ExtractionParameters(channel_weight=(1.0,) * 20 + (0.5,) * 19).prior(found, EDGES)
    assert given is not None
    assert given[-1] == 0.5
