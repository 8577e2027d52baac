"""The page of an IFS observation: drawn from sealed products alone, whichever of them there are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import chromium
import ifs_products as products
import numpy as np
import pytest
import reports
from PIL import Image

from archive_proc.flow.reporting import Links, cards_of
from archive_proc.quality.drawing import DrawOptions, draw_all
from archive_proc.quality.ifs_observation import measure_ifs_observation
from archive_proc.quality.measured import Measured
from archive_proc.quality.orders import PageOrder

PA = 70.0


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> PageOrder:
    root = tmp_path_factory.mktemp("observation")
    made = {
        "ifs_spectra": products.spectra(), "ifs_centered_cube": products.centered_cube(PA), **products.tracks()
    }  # fmt: skip
    return products.observation(*(products.stored(root / kind, kind, *given) for kind, given in made.items()))


@pytest.fixture(scope="module")
def found(order: PageOrder) -> Measured:
    return measure_ifs_observation(order)


def page_of(order: PageOrder, root: Path) -> np.ndarray:
    [drawn] = draw_all([order], DrawOptions(root=root))
    pictured = {"ifs_centered_cube", "ifs_spectra"} & set(order.products)
    assert ("thumbnail-observation-default.png" in drawn.stamp.pages) is bool(pictured)
    return np.asarray(Image.open(drawn.directory / "observation-default.png").convert("L"))


def test_the_page_has_ink_all_over(order: PageOrder, found: Measured, tmp_path: Path) -> None:
    assert not found.notes
    page = page_of(order, tmp_path)
    rows = [page[at : at + 150] for at in range(150, 1900, 150)]
    assert all((one < 120).mean() > 0.003 for one in rows), "a strip of the page is empty"


def test_a_companion_stands_at_its_position_angle_in_the_derotated_median(found: Measured) -> None:
    image = found.arrays["derotated"]
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] - image.shape[0] // 2
    far = np.where(np.hypot(x, y) > 10, image, np.nan)
    row, column = np.unravel_index(np.nanargmax(far), image.shape)
    there = (-20 * np.sin(np.radians(PA)), 20 * np.cos(np.radians(PA)))
    assert np.hypot(column - image.shape[1] // 2 - there[0], row - image.shape[0] // 2 - there[1]) < 1.5
    smeared = found.arrays["collapsed"][row, column]
    assert image[row, column] > 2 * smeared, "the centred median is not turned"


def test_the_mosaic_shows_every_third_channel_with_its_wavelength(found: Measured) -> None:
    wavelengths, _ = products.channels_um()
    assert found.arrays["mosaic_um"] == pytest.approx(wavelengths[1::3])
    brightness = np.nanmedian(found.arrays["mosaic"], axis=(1, 2))
    expected = np.linspace(0.5, 1.5, len(wavelengths))[1::3]
    assert brightness / brightness[0] == pytest.approx(expected / expected[0], rel=0.1)
    assert found.arrays["mosaic_lit"].tolist() == [False, *[True] * 12], "the bluest guards the filter's edge"


def test_the_brightest_lenslet_is_one_without_flags(found: Measured) -> None:
    """A lenslet ten times brighter than any is flagged in all channels: it is a cosmic ray, not a star."""
    assert found.arrays["flux_brightest"].max() < 100
    assert found.arrays["flux_brightest"].sum() > 2 * found.arrays["flux_median"].sum()
    assert found.arrays["flags_brightest"][20] == 512


@pytest.mark.parametrize("left", [(), ("ifs_spectra",), ("center", "photometry")], ids=["nothing", "spectra", "tracks"])
def test_what_is_missing_is_said_in_words(order: PageOrder, left: tuple[str, ...], tmp_path: Path) -> None:
    some = {kind: one for kind, one in order.products.items() if kind in left}
    missing = {kind: "failed: AP-IFS-101 no star" for kind in order.products if kind not in left}
    less = dataclasses.replace(order, products=some, missing=missing)
    assert not measure_ifs_observation(less).notes
    page = page_of(less, tmp_path)
    panel = page[1190:1460, 80:350]
    assert 0.0005 < (panel < 120).mean() < 0.2, "words, and nothing but words"


def test_a_frame_extracted_by_itself_has_a_page_with_its_light_in_the_field(order: PageOrder, tmp_path: Path) -> None:
    frame = products.single_frame(order.products["ifs_spectra"])
    [drawn] = draw_all([frame], DrawOptions(root=tmp_path))
    assert set(drawn.stamp.pages) == {"ifs_spectra-default.png", "thumbnail-ifs_spectra-default.png"}
    page = np.asarray(Image.open(drawn.directory / "ifs_spectra-default.png").convert("L"))
    field = page[150 : 150 + 494, 84 : 84 + 560]
    middle, edge = field[220:270, 250:310], field[220:270, 20:60]
    assert np.median(middle) > np.median(edge[edge < 200]) + 30, "brighter towards the middle, as the light is"


@pytest.mark.browser
def test_what_a_run_made_of_the_ifs_is_listed_and_opens_in_a_browser(order: PageOrder, tmp_path: Path) -> None:
    if chromium.BINARY is None:
        pytest.skip("no Chromium is installed")
    flat = products.stored(tmp_path / "flat", "ifs_lenslet_flat", *products.lenslet_flat(8.0))
    orders = [order, products.calibration_set(flat), products.single_frame(order.products["ifs_spectra"])]
    drawn = draw_all(orders, DrawOptions(root=tmp_path / "quicklook"))
    place = tmp_path / "R"
    cards = [card for one in drawn for card in cards_of(one, {}, Links(place, None))]
    report = dataclasses.replace(
        reports.made_up(1), observations=tuple(one for one in cards if one.kind == "observation"),
        masters=tuple(one for one in cards if one.kind != "observation"),
    )  # fmt: skip
    index = reports.written(report, place)
    with chromium.Chromium(tmp_path / "profile") as browser:
        tab = browser.open(index)
        shown = "[...document.querySelectorAll('%s .card')].map(one => one.innerText.split('\\n')[0])"
        assert tab.evaluate(shown % "#observations") == ["SIM"]
        assert tab.evaluate(shown % "#masters") == ["IFS_FLAT_RAW", "IFS_STAR_CENTER_WAFFLE_RAW"]
        opened = """Promise.all([...document.querySelectorAll('.card a')].map(async one => {
            const page = new Image(); page.src = one.href; await page.decode(); return page.naturalWidth }))"""
        assert tab.evaluate(opened) == [1488, 1488, 1488]
        assert tab.console == []
