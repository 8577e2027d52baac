"""The two reference reductions on a small simulated night: they work, and fail where the notes say that they do."""

from dataclasses import replace

import numpy as np
import pytest

from archive_proc.bench.ifs.bench import simulated_night
from archive_proc.bench.ifs.night import reference_values
from archive_proc.bench.ifs.plain_detector import bridged
from archive_proc.simulate.ifs.night import simulate_ifs_night
from archive_proc.simulate.ifs.spec import scene_night


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    place = tmp_path_factory.mktemp("ifs") / "raw"
    night = replace(scene_night("YJ", ("uniform", "comb")), field_pitches=17.0, lamp_ndit=1, background_ndit=2)
    two = replace(night.observations[0], ndit=2)
    truth = simulate_ifs_night(place, replace(night, observations=(two, night.observations[1])), 29)
    return reference_values(simulated_night(place, truth.directory, "small"))


def test_both_references_find_the_spectra_of_a_night_that_they_calibrate_themselves(values):
    for label in ("classic chain", "independent lenslets"):
        found = values[label]
        assert found["isolated lenslet, recovered"].value == pytest.approx(1.0, abs=0.1), label
        assert found["channel bias, uniform field, rms"].value < 15.0, label
        assert found["laser lines, lenslets without line"].value < 10.0, label


def test_the_classic_window_holds_a_few_per_cent_of_the_neighbour(values):
    assert 1.0 < values["classic chain"]["isolated lenslet, worst mean leak"].value < 6.0


def test_independent_lenslets_pay_for_narrow_channels_with_noise_and_claim_too_much(values):
    found = values["independent lenslets"]
    assert found["noise over photon limit, one channel"].value > 1.8
    assert found["measured over claimed sigma, one channel"].value < 0.75
    assert values["classic chain"]["noise over photon limit, one channel"].value < 1.3


def test_bad_pixels_are_bridged_along_the_column_and_only_over_short_gaps():
    image = np.repeat(np.arange(60, dtype=np.float32)[:, None], 5, axis=1)
    bad = np.zeros(image.shape, bool)
    bad[10:12, 2] = True
    bad[20:50, 3] = True
    broken = np.where(bad, np.float32(1e6), image)
    whole = bridged(broken, bad)
    assert whole[10:12, 2] == pytest.approx([10.0, 11.0])
    assert whole[35, 3] == 0.0
    assert np.array_equal(whole[~bad], image[~bad])
