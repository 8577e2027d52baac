"""Nights of the accuracy bench: complete, apart in time, drawn from the seed, and what their cases are named after."""

import numpy as np
import pytest

from archive_proc.bench.cases import CASES, DEFAULT_SEEDS, chosen_cases, nights
from archive_proc.bench.goals import goals_of
from archive_proc.errors import MisuseError
from archive_proc.simulate.detector import make_detector, with_new_hot_pixels
from archive_proc.simulate.timeline import timeline


@pytest.mark.parametrize("seed", [33, 34])
def test_nights_have_all_kinds_of_files_and_sequences_that_do_not_overlap(seed):
    found = nights(CASES, seed)
    assert sum(len(members) for members, _ in found) == len(CASES)
    for members, night in found:
        exposures = timeline(night, np.random.default_rng(0))
        assert len({one.file_id for one in exposures}) == len(exposures)
        assert {one.dpr_type for one in exposures} >= {"OBJECT", "OBJECT,CENTER", "OBJECT,FLUX", "SKY", "FLAT,LAMP"}
        ends = []
        for index in range(len(members)):
            mine = [one for one in exposures if one.sequence == index]
            assert all(one.mjd > end for one in mine for end in ends)
            ends.append(max(one.mjd + one.exposure_time_s / 86400 for one in mine))
        assert all(one.mjd > max(ends) for one in exposures if one.sequence < 0)


def test_seeds_differ_and_repeat_and_a_case_does_not_depend_on_its_company():
    alone = nights(chosen_cases(["k-hits"]), 33)[0][1].sequences[0]
    among = {
        one.name: spec
        for members, night in nights(CASES, 33)
        for one, spec in zip(members, night.sequences, strict=True)
    }
    assert alone.weather == among["K hits"].weather
    assert alone.star.flux_adu_s == among["K hits"].star.flux_adu_s
    assert nights(CASES, 33) == nights(CASES, 33)
    assert nights(CASES, 33) != nights(CASES, 34)


def test_cases_are_what_their_names_say():
    specs = {
        one.name: spec
        for members, night in nights(CASES, 33)
        for one, spec in zip(members, night.sequences, strict=True)
    }
    assert specs["H faint"].star.flux_adu_s[0] < 0.06 * 1.5e7
    assert specs["H waffle"].continuous_waffle
    assert "O" not in specs["H waffle"].order
    assert specs["H open loop"].weather.against_mask == 1.0
    assert specs["H open loop"].tip_tilt_open
    assert "F" not in specs["H no FLUX"].order
    assert specs["K few skies"].order.count("S") == 1
    assert specs["K NDIT 2"].ndit == 2
    assert specs["K hits"].new_hot_pixels > 1000
    assert specs["K hits"].cosmics_per_s > 2.0


def test_an_unknown_case_is_refused_with_the_known_ones():
    with pytest.raises(MisuseError, match=r"k-few-skies"):
        chosen_cases(["k-many-skies"])


def test_the_default_seeds_are_no_test_seeds():
    assert not set(DEFAULT_SEEDS) & {33, 34, 241, 231}


def test_goals_are_those_of_the_note():
    assert goals_of("H, seeds 1 2", "H").object_mas == 0.5
    assert goals_of("H waffle, seeds 1", "H").center_mas == 1.2
    assert goals_of("H faint", "H").photometry_percent is None
    assert goals_of("DB_K12", "K").center_mas == 0.5
    assert goals_of("Y", "Y").object_mas is None


def test_new_hot_pixels_are_unknown_to_the_calibrations():
    detector = make_detector(np.random.default_rng(1))
    hot, turned = with_new_hot_pixels(detector, 500, np.random.default_rng(2))
    assert turned.size == 500
    assert not detector.bad.reshape(-1)[turned].any()
    assert (hot.dark_adu_s.reshape(-1)[turned] > detector.dark_adu_s.reshape(-1)[turned]).all()
    assert (hot.dark_adu_s != detector.dark_adu_s).sum() == 500
