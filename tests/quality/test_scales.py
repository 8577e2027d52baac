"""Scales of a night."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_proc.quality.scales import Limits, Scale, image_limits, nice_above, nice_below, night_scale, night_scales

values = st.floats(-1e6, 1e6, allow_nan=False).map(lambda one: float(f"{one:.5g}"))


@given(values)
def test_rounding_never_cuts_a_value_off(value: float) -> None:
    slack = 1e-8 * abs(value) + 1e-300
    assert nice_below(value) - slack <= value <= nice_above(value) + slack


@given(st.lists(st.tuples(values, st.floats(0, 1e6)), min_size=1, max_size=6))
def test_a_linear_scale_holds_every_page_of_the_night(pages: list[tuple[float, float]]) -> None:
    limits = [Limits(low, low + span) for low, span in pages]
    scale = night_scale(limits)
    slack = 1e-5 * max(abs(scale.low), abs(scale.high))
    assert scale.low - slack <= min(one.low for one in limits)
    assert scale.high + slack >= max(one.high for one in limits)
    assert scale.low < scale.high


@pytest.mark.parametrize("scale", [Scale(-1.0, 200.0, 2.0), Scale(0.9, 1.25)])
def test_shades_rise_from_black_to_white_and_keep_nan(scale: Scale) -> None:
    shades = scale.shade(np.array([-1e9, *np.linspace(scale.low, scale.high, 50), 1e9, np.nan]))
    assert shades[0] == 0.0
    assert shades[-2] == pytest.approx(1.0)
    assert np.all(np.diff(shades[1:-2]) > 0)
    assert np.isnan(shades[-1])


def test_pages_of_one_night_share_each_scale_and_bands_do_not() -> None:
    scales = night_scales(
        [{"stack|H2": Limits(0.0, 90.0), "stack|H3": Limits(0.0, 40.0)}, {"stack|H2": Limits(-3.0, 30.0)}]
    )
    assert scales["stack|H2"].low <= -3.0
    assert scales["stack|H2"].high >= 90.0
    assert scales["stack|H3"].high < 90.0


def test_an_observation_that_fits_leaves_the_scale_as_it_was() -> None:
    night = [Limits(-0.93, 171.0, 0.8), Limits(-0.5, 80.0, 0.9)]
    assert night_scale(night) == night_scale([*night, Limits(-0.7, 130.0, 0.85)])


def test_a_halo_does_not_raise_the_knee() -> None:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[-128:128, -128:128]
    noise = rng.normal(0, 1.0, x.shape).astype(np.float32)
    halo = (3000 / (1 + (x**2 + y**2) / 400)).astype(np.float32)
    with_halo = image_limits(noise + halo)
    assert with_halo is not None
    assert with_halo.knee is not None
    assert 1.5 < with_halo.knee < 4.0


def test_an_image_without_a_value_has_no_limits() -> None:
    assert image_limits(np.full((8, 8), np.nan, np.float32)) is None
