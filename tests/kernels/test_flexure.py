"""A place is what files of the night say of it, each as far as it may be believed, and no more certain than that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from archive_proc.kernels.flexure import DRIFT_D, DRIFT_PX, Doubt, Sighting, place_at

HOUR = 1.0 / 24.0
DOUBT = Doubt(moved_px=0.13, shared_px=0.04)
STAR = Sighting(time_d=100.0, place_px=0.1, error_px=0.01, source="star", uneven=0.5)


def test_where_nobody_sees_anything_the_calibrations_place_is_kept_with_all_its_doubt() -> None:
    assert place_at(100.0, [], DOUBT) == (0.0, 0.13)


def test_a_star_places_a_file_that_shows_nothing_the_less_surely_the_later_it_is() -> None:
    found = [place_at(100.0 + late * HOUR, [STAR], DOUBT) for late in (0.0, 0.5, 3.0, 24.0)]
    assert found[0][0] == pytest.approx(0.1 * 0.13**2 / (0.13**2 + 0.04**2 + 0.01**2))
    assert found[0][1] == pytest.approx(0.0395, abs=0.001)
    assert np.all(np.diff([place for place, _ in found]) < 0)
    assert np.all(np.diff([error for _, error in found]) > 0)
    assert place_at(100.0 + 24.0, [STAR], DOUBT) == (0.0, 0.13)


def test_many_sightings_of_one_star_are_no_surer_than_its_speckles() -> None:
    _, once = place_at(100.0, [STAR], DOUBT)
    _, often = place_at(100.0, [STAR] * 20, DOUBT)
    _, stars = place_at(100.0, [replace(STAR, source=str(star)) for star in range(20)], DOUBT)
    assert often > 0.95 * once
    assert stars < 0.78 * once


def test_even_light_is_surer_of_its_place_than_speckles() -> None:
    even = replace(STAR, place_px=0.05, source="sky", uneven=0.0)
    assert place_at(100.0, [even], DOUBT)[1] < 0.92 * place_at(100.0, [STAR], DOUBT)[1]
    both = place_at(100.0, [STAR, even], DOUBT)[0]
    assert both - place_at(100.0, [even], DOUBT)[0] < 0.8 * (place_at(100.0, [STAR], DOUBT)[0] - both)


def test_sightings_that_contradict_each_other_say_so_in_the_error() -> None:
    other = replace(STAR, place_px=-0.1, source="other")
    place, error = place_at(100.0, [STAR, other], DOUBT)
    assert place == pytest.approx(0.0, abs=1e-9)
    assert error > 1.5 * place_at(100.0, [STAR, replace(STAR, source="other")], DOUBT)[1]


def test_a_large_move_that_all_agree_on_is_believed() -> None:
    far = [replace(STAR, place_px=0.4, source=one) for one in "ab"]
    near = [replace(one, place_px=0.04) for one in far]
    assert place_at(100.0, far, DOUBT)[0] == pytest.approx(10.0 * place_at(100.0, near, DOUBT)[0])
    assert place_at(100.0, far, DOUBT)[0] > 0.36


def test_the_order_of_files_means_nothing() -> None:
    some = [replace(STAR, time_d=100.0 + 0.01 * n, place_px=0.02 * n, source=str(n % 2)) for n in range(5)]
    assert place_at(100.02, some[::-1], DOUBT) == pytest.approx(place_at(100.02, some, DOUBT))


@pytest.mark.parametrize(
    ("sources", "uneven"), [("aabc", 0.5), ("aaaaaa", 0.8)], ids=["several stars", "own, OBJECT and CENTER of one star"]
)
def test_errors_are_what_drawn_nights_show(sources: str, uneven: float) -> None:
    rng = np.random.default_rng(5)
    n = len(sources)
    # The last one is asked for.
    times = np.append(np.linspace(0.0, 0.05, n), 0.05 if n > 4 else 0.08)
    errors = np.resize([0.01, 0.03, 0.02, 0.01], n)
    away = np.abs(times[:, None] - times)
    drawn = np.linalg.cholesky(DOUBT.moved_px**2 - 0.5 * DRIFT_PX**2 * away / DRIFT_D + 1e-12 * np.eye(n + 1))
    table = DOUBT.shared_px * np.sqrt(0.5)
    of_star = DOUBT.shared_px * np.sqrt(0.25 + uneven**2)
    pulls, pulls_apart = [], []
    for _ in range(400):
        true = drawn @ rng.standard_normal(n + 1)
        own = dict(zip("abc", of_star * rng.standard_normal(3), strict=True))
        shared = table * rng.standard_normal()
        places = [true[k] + own[one] + shared + errors[k] * rng.standard_normal() for k, one in enumerate(sources)]
        seen = [Sighting(times[k], places[k], errors[k], one, uneven) for k, one in enumerate(sources)]
        apart = [replace(one, source=str(k // 2)) for k, one in enumerate(seen)]
        for told, found in ((seen, pulls), (apart, pulls_apart)):
            place, error = place_at(times[n], told, DOUBT)
            found.append((place - true[n]) / error)
    # 400 draws: 3.5 % of the width. Strained sightings make the error a little too large.
    assert 0.85 < np.std(pulls) < 1.08
    assert abs(np.mean(pulls)) < 0.17
    if len(set(sources)) == 1:
        # What it would be worth were its groups taken for stars of their own.
        assert np.std(pulls_apart) > 1.12
