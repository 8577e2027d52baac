"""Pages of a night: one scale for all, drawn again only where something changed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cubes
import numpy as np
import pytest
from PIL import Image
from test_long_sequence import order_of

from archive_proc.quality.drawing import Drawn, DrawOptions, draw_all
from archive_proc.quality.orders import PageOrder, PlaneVerdict, QcRow

LEFT, TOP, SIDE = 74, 508, 300
"""Where a page has its first centred median (observation_page.py)."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[PageOrder]:
    """Three observations of one night; the third is a hundred times brighter."""
    orders = []
    for number, brightness in enumerate((1.0, 1.0, 100.0)):
        planes = cubes.noise(4, 256, seed=number)
        planes["flux"] *= brightness
        root = tmp_path_factory.mktemp(f"obs{number}")
        order = order_of([cubes.write_cube(root, "irdis_centered_cube", 4, planes, 256)])
        orders.append(dataclasses.replace(order, subject_id=f"{number:032x}", name=f"SIM_{number}"))
    return orders


def drawn(orders: list[PageOrder], root: Path) -> list[Drawn]:
    return list(draw_all(orders, DrawOptions(root=root)))


def page(one: Drawn) -> np.ndarray:
    return np.asarray(Image.open(one.directory / "observation-default.png").convert("L"))


def test_a_brighter_observation_changes_the_scale_of_the_whole_night(made: list[PageOrder], tmp_path: Path) -> None:
    first = drawn(made[:2], tmp_path)
    assert first[0].stamp.scales == first[1].stamp.scales
    before = page(first[0])
    later = drawn(made, tmp_path)
    assert [one.fresh for one in later] == [True, True, True]
    assert later[0].stamp.scales == later[1].stamp.scales == later[2].stamp.scales
    assert later[0].stamp.scales["stack|H2"][1] > first[0].stamp.scales["stack|H2"][1]
    faint, bright = (page(one)[TOP : TOP + SIDE, LEFT : LEFT + SIDE] for one in (later[0], later[2]))
    assert bright.mean() > faint.mean(), "on one scale the brighter star is brighter"
    assert faint.mean() < before[TOP : TOP + SIDE, LEFT : LEFT + SIDE].mean()
    again = drawn(made, tmp_path)
    assert [one.fresh for one in again] == [False, False, False]


def test_what_the_page_says_decides_whether_it_is_drawn(made: list[PageOrder], tmp_path: Path) -> None:
    [one] = drawn(made[:1], tmp_path)
    moved = dataclasses.replace(made[0], products=made[0].products)
    assert not drawn([moved], tmp_path)[0].fresh
    judged = dataclasses.replace(
        made[0],
        qc=(QcRow("center", "closure", 7.0, "mas", "warn", 5.0, 1),),
        planes_beyond=(PlaneVerdict("SPHER.2017-09-29T03:00:00.000", 1, "warn", "center_jump"),),
        planes_judged=4,
    )
    [again] = drawn([judged], tmp_path)
    assert again.fresh
    assert again.stamp.made_from != one.stamp.made_from


def test_outside_flagged_and_valued_pixels_look_different_in_grey(made: list[PageOrder], tmp_path: Path) -> None:
    """Hatched white, black, and greys of the scale, which never get as dark as black."""
    [one] = drawn(made[:1], tmp_path)
    panel = page(one)[TOP : TOP + SIDE, LEFT : LEFT + SIDE]
    outside = panel[-8:-2]
    assert (outside > 230).any()
    assert ((outside > 100) & (outside < 230)).any(), "hatching"
    inner = page(one)[866 : 866 + SIDE, LEFT : LEFT + SIDE]
    near = SIDE // 2 + round(20 * SIDE / 165)
    black = (inner[20:200, near - 3 : near + 4] == 0).mean(axis=0)
    assert black.max() > 0.8, "the flagged column"
    assert black.min() == 0.0
    assert (panel[20:90, 20:90] > 40).all()
