"""Pages of IFS calibration sets: every product is shown, what is wrong with one is said in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ifs_products as products
import numpy as np
import pytest
from PIL import Image

from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.psflets import HALF, PsfletModel, stamp
from archive_proc.model.flags import Flag
from archive_proc.quality.drawing import DrawOptions, draw_all
from archive_proc.quality.hexagons import hexagon_field
from archive_proc.quality.master import measure_master
from archive_proc.quality.orders import PageOrder
from archive_proc.quality.psflet_page import FINE

MADE: dict[str, Callable[[], tuple[dict[str, Any], dict[str, Any]]]] = {
    "ifs_spectra_positions": lambda: products.positions(30.0),
    "ifs_wavelength_solution": lambda: products.wavelength_solution(30.0),
    "ifs_psflets": products.psflets,
    "ifs_lenslet_flat": lambda: products.lenslet_flat(30.0),
}


def page_of(order: PageOrder, root: Path) -> np.ndarray:
    """The one page of a calibration set in grey, drawn as `report` does."""
    [drawn] = draw_all([order], DrawOptions(root=root))
    [name] = [one for one in drawn.stamp.pages if not one.startswith("thumbnail-")]
    return np.asarray(Image.open(drawn.directory / name).convert("L"))


@pytest.mark.parametrize("product_type", sorted(MADE))
def test_a_page_has_ink_all_over_and_a_small_picture(product_type: str, tmp_path: Path) -> None:
    product = products.stored(tmp_path / "S", product_type, *MADE[product_type]())
    order = products.calibration_set(product)
    assert not measure_master(order).notes
    page = page_of(order, tmp_path / "q")
    middle = page[150:-200]
    rows = [middle[at : at + 250] for at in range(0, len(middle) - 250, 250)]
    assert all((one < 120).mean() > 0.003 for one in rows), "a strip of the page is empty"
    [folder] = (tmp_path / "q").iterdir()
    assert list(folder.glob("thumbnail-*.png"))


def test_every_product_of_a_calibration_set_is_read_whatever_it_holds(tmp_path: Path) -> None:
    """Zeros everywhere, no attributes: what a type's page cannot show is said in words, never raised."""
    kinds = [name for name, row in load_tables().product_types.items() if row.subject == "group"]
    order = products.calibration_set(*(products.stored(tmp_path / kind, kind, {}) for kind in kinds))
    found = measure_master(order)
    for kind in kinds:
        shown = [*found.arrays, *found.facts]
        assert kind in found.notes or any(name.startswith(f"{kind}|") for name in shown)


def test_a_type_without_a_page_of_its_own_gets_a_plain_one(tmp_path: Path) -> None:
    product = products.stored(tmp_path / "S", "photometry", {"relative_flux": np.full((4, 3), 1.25)})
    order = products.calibration_set(product)
    assert "1.25" in measure_master(order).facts["photometry|lines"]
    assert (page_of(order, tmp_path / "q") < 120).any()


def test_a_product_that_lost_an_array_says_which(tmp_path: Path) -> None:
    arrays, attrs = MADE["ifs_wavelength_solution"]()
    product = products.stored(tmp_path / "S", "ifs_wavelength_solution", arrays, attrs)
    for part in (product.group / "spot_y").rglob("*"):
        if part.is_file():
            part.unlink()
    found = measure_master(products.calibration_set(product))
    assert "spot_y" in found.notes["ifs_wavelength_solution"]


def test_a_lenslet_flat_without_residual_image_is_shown_all_the_same(tmp_path: Path) -> None:
    arrays, attrs = MADE["ifs_lenslet_flat"]()
    product = products.stored(tmp_path / "S", "ifs_lenslet_flat", {**arrays, "residual": None}, attrs)
    order = products.calibration_set(product)
    assert not measure_master(order).notes
    assert (page_of(order, tmp_path / "q") < 120).any()


def test_each_place_of_the_field_belongs_to_the_nearest_lenslet() -> None:
    some = products.lenslets(6.0)
    field = hexagon_field(some.q, some.r, some.x, some.y, fine=7)
    image = field.image(np.arange(len(some), dtype=float))
    left, _, low, _ = field.frame.extent
    ny, nx = image.shape
    x, y = np.meshgrid(left + (np.arange(nx) + 0.5) / 7, low + (np.arange(ny) + 0.5) / 7)
    away = np.hypot(x[..., None] - some.x, y[..., None] - some.y)
    near = away.min(axis=-1)
    inner = near < 0.49
    assert np.array_equal(image[inner], away.argmin(axis=-1)[inner])
    assert np.isnan(image[near > 0.59]).all(), "farther than a hexagon's corner"


def test_the_psflet_that_is_drawn_is_the_one_that_fits_use(tmp_path: Path) -> None:
    arrays, attrs = products.psflets()
    order = products.calibration_set(products.stored(tmp_path / "S", "ifs_psflets", arrays, attrs))
    found = measure_master(order)
    drawn = found.arrays["ifs_psflets|shapes"][0, 4]
    x, y = found.arrays["ifs_psflets|places"][4]
    model = PsfletModel(arrays["terms"], arrays["powers"], tuple(attrs["colour_um"]), arrays["orthonormal"])
    coefficients = model.coefficients(np.array([x]), np.array([y]), 0.98772)[0]
    phase = 1.0 / (2 * FINE)
    there = np.empty((2 * HALF + 1, 2 * HALF + 1), np.float32)
    # A pixel at the spot's own pixel lies half a sample to the left of it: sample 4 n + 1 of the drawing, from 0.
    stamp(coefficients, 50.0 + phase, 50.0 + phase, there)
    np.testing.assert_allclose(drawn[FINE // 2 - 1 :: FINE, FINE // 2 - 1 :: FINE], there, atol=2e-5)


def test_spots_off_the_solution_show_in_the_map_of_residuals(tmp_path: Path) -> None:
    arrays, attrs = products.wavelength_solution(30.0)
    far = (arrays["lenslet_x"] > 10) & (np.hypot(arrays["lenslet_x"], arrays["lenslet_y"]) < 27)
    arrays["spot_y"][far, 1] += 0.3
    order = products.calibration_set(products.stored(tmp_path / "S", "ifs_wavelength_solution", arrays, attrs))
    found = measure_master(order).arrays
    kind = "ifs_wavelength_solution"
    moved, others = found[f"{kind}|residual_y_1"], found[f"{kind}|residual_y_0"]
    left, right, _, _ = found[f"{kind}|extent"]
    column = left + (np.arange(moved.shape[1]) + 0.5) / moved.shape[1] * (right - left)
    assert np.nanmedian(moved[:, column > 12]) == pytest.approx(0.3, abs=0.01)
    assert abs(np.nanmedian(moved[:, column < 8])) < 0.01
    assert abs(np.nanmedian(others)) < 0.01


def test_a_whole_frame_is_drawn_with_its_flags(tmp_path: Path) -> None:
    """A square frame keeps its single dead pixels, and its panel is square."""
    side = 2048
    flags = np.zeros((side, side), np.uint16)
    flags[::256, ::256] = int(Flag.DEAD)
    level = np.random.default_rng(1).normal(20.0, 2.0, (side, side))
    arrays = {"level": level, "variance": np.ones((side, side)), "read_noise": np.ones((side, side)), "flags": flags}
    order = products.calibration_set(products.stored(tmp_path / "S", "dark", arrays))
    found = measure_master(order).arrays
    assert found["dark|level"].shape == (512, 512)
    assert (found["dark|flag_image"] != 0).sum() == 64
