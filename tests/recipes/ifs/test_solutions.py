"""Wavelength solution and PSFlets go into their products and come back."""

from __future__ import annotations

import numpy as np
import pytest

from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.dispersion import Dispersion, field_terms
from archive_proc.kernels.lenslets import FieldStop, all_lenslets
from archive_proc.kernels.psflets import NODES, PsfletModel, orthonormal_field
from archive_proc.recipes.ifs.solutions import (
    Solution,
    psflets_content,
    read_psflets,
    read_solution,
    solution_content,
)
from archive_proc.recipes.recipe import Calibration, ProductContent


def read_back(product_type: str, content: ProductContent) -> Calibration:
    """A product as the next recipe gets it: arrays of the dtypes of the table."""
    wanted = {one.name: one for one in load_tables().product_types[product_type].variables}
    arrays = {name: np.asarray(values).astype(wanted[name].dtype) for name, values in content.arrays.items()}
    for name, values in arrays.items():
        assert values.ndim == len(wanted[name].dims), name
    return Calibration("made-here", product_type, arrays, content.attrs)


@pytest.fixture
def solution() -> Solution:
    rng = np.random.default_rng(3)
    lenslets = all_lenslets(FieldStop(-4.2, 4.2, -3.7, 3.7))
    terms = field_terms(lenslets.x, lenslets.y).shape[1]
    return Solution(
        mode="YJH",
        dispersion=Dispersion(rng.normal(size=(2, terms, 4))),
        lenslets=lenslets,
        complete=rng.random(len(lenslets)) > 0.2,
        throughput=rng.normal(1.0, 0.01, len(lenslets)),
        offset=rng.normal(0.0, 0.01, (2, len(lenslets))),
    )


def test_a_solution_read_from_its_product_places_light_where_the_first_did(solution: Solution) -> None:
    back = read_solution(read_back("ifs_wavelength_solution", solution_content(solution, {}, {})))
    assert back.mode == "YJH"
    assert (back.complete == solution.complete).all()
    assert (back.throughput == solution.throughput).all()
    edges = np.linspace(0.935, 1.735, 40)
    places, wavelengths = back.channel_steps(edges)
    expected, _ = solution.channel_steps(edges)
    assert places.shape == (2, len(solution.lenslets), 39, 6)
    assert (places == expected).all()
    smooth = back.dispersion.positions(back.lenslets.x, back.lenslets.y, wavelengths.ravel()).reshape(places.shape)
    assert places - smooth == pytest.approx(np.broadcast_to(solution.offset[:, :, None, None], places.shape), abs=1e-9)
    assert (np.diff(wavelengths.ravel()) > 0).all()
    assert wavelengths.mean(axis=1) == pytest.approx((edges[1:] + edges[:-1]) / 2)


def test_psflets_read_from_their_product_have_the_same_shapes(solution: Solution) -> None:
    rng = np.random.default_rng(4)
    x, y = solution.lenslets.x, solution.lenslets.y
    powers = np.array([[0, 0], [0, 1], [2, 0], [4, 1]])
    model = PsfletModel(rng.normal(size=(4, NODES, NODES)), powers, (0.98772, 1.54507), orthonormal_field(x, y))
    back = read_psflets(read_back("ifs_psflets", psflets_content(model, {})))
    for wavelength in (0.95, 1.2, 1.6):
        away = back.coefficients(x, y, wavelength) - model.coefficients(x, y, wavelength)
        assert np.abs(away).max() < 1e-5
