"""Calibrations made from truth say what truth says: places to a hundredth of a pixel, PSFlets of sum 1."""

from dataclasses import replace

import numpy as np
import pytest
from small_ifs_set import small_known

from archive_proc.bench.ifs.known import load_simulated
from archive_proc.bench.ifs.other_runs import channel_weight
from archive_proc.bench.ifs.true_knowledge import true_dispersion, true_flags, true_psflets, true_solution
from archive_proc.kernels.psflets import WINDOW, stamp
from archive_proc.model.flags import Flag
from archive_proc.recipes.ifs.solutions import read_psflets, read_solution
from archive_proc.recipes.recipe import Calibration
from archive_proc.simulate.ifs.instrument import make_instrument
from archive_proc.simulate.ifs.psflets import psflet_image
from archive_proc.simulate.ifs.truth import load_ifs_truth, save_instrument

PSFLETS = Calibration(
    product_id="p.ifs_psflets",
    product_type="ifs_psflets",
    arrays={
        "terms": np.zeros((1, 40, 40), np.float32),
        "powers": np.zeros((1, 2), np.int32),
        "orthonormal": np.eye(10),
    },
    attrs={"colour_um": [0.98772, 1.30937]},
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("truth")
    instrument = make_instrument("YJ", 31, 17.0)
    save_instrument(folder, instrument, 31)
    return instrument, load_ifs_truth(folder), load_simulated(folder, {})


def test_true_places_are_those_of_the_displaced_file(drawn):
    _, _, known = drawn
    law = true_dispersion(known, np.array([0.1, -0.05, 0.001]))
    found = law.positions(known.x, known.y, np.array([1.0, 1.2]))
    x, y = known.positions(np.array([1000.0, 1200.0]), np.array([0.1, -0.05, 0.001]))
    # What is left are the lenslets' own displacements, of up to 0.015 px rms.
    assert np.std(found[0] - x) < 0.02
    assert np.std(found[1] - y) < 0.02
    assert abs(np.mean(found[0] - x)) < 1e-3
    still = true_dispersion(known, np.zeros(3)).positions(known.x, known.y, np.array([1.0]))
    assert np.median(found[0, :, 0] - still[0, :, 0]) == pytest.approx(0.1, abs=0.01)


def test_true_psflets_are_the_images_that_were_drawn(drawn):
    instrument, truth, known = drawn
    model = read_psflets(true_psflets(known, truth, PSFLETS))
    coefficients = model.coefficients(np.array([0.0]), np.array([0.0]), 1.12371)
    out = np.empty((WINDOW, WINDOW), np.float32)
    stamp(coefficients[0], 100.0, 100.0, out)
    assert out.sum() == pytest.approx(1.0, abs=0.01)
    image = psflet_image(instrument.optics, 0.0, 0.0, 1123.71)
    pixels = image[88 - 64 : 88 + 65 : 8, 88 - 64 : 88 + 65 : 8]
    kernel = truth.facts["ipc"]
    pixels = (1 - 4 * kernel) * pixels + kernel * sum(
        np.roll(image, step, axis)[88 - 64 : 88 + 65 : 8, 88 - 64 : 88 + 65 : 8] for axis in (0, 1) for step in (-8, 8)
    )
    assert np.sqrt(np.sum((out - pixels) ** 2) / np.sum(pixels**2)) < 0.02


def test_a_true_solution_has_the_lenslets_of_truth():
    known = small_known()
    found = Calibration(
        product_id="w",
        product_type="ifs_wavelength_solution",
        arrays={
            "coefficients": np.zeros((2, 10, 3)),
            "hex_q": np.zeros(1, np.int32),
            "hex_r": np.zeros(1, np.int32),
            "lenslet_x": np.zeros(1),
            "lenslet_y": np.zeros(1),
            "complete": np.ones(1, bool),
            "throughput": np.ones(1),
            "offset_x": np.zeros(1),
            "offset_y": np.zeros(1),
        },
        attrs={"mode": "YJ"},
    )
    solution = read_solution(true_solution(known, np.zeros(3), found))
    assert len(solution.lenslets) == len(known.q)
    x, _ = known.positions(np.array([1050.0]))
    assert np.max(np.abs(solution.places(np.array([1.05]))[0] - x)) < 1e-3
    assert np.array_equal(solution.complete, known.complete)


def test_true_flags_name_the_kind_and_clear_what_was_found_elsewhere():
    known = small_known()
    found = Calibration(
        product_id="b", product_type="bad_pixels", arrays={"flags": np.full((2048, 2048), 1, np.uint16)}, attrs={}
    )
    flags = true_flags(known, found).arrays["flags"]
    y, x = known.bad["new"][0]
    assert flags[y, x] == int(Flag.NEW_BAD)
    assert (flags != 0).sum() == len({tuple(one) for kind in known.bad.values() for one in kind.tolist()})
    dark = replace(found, product_type="dark")
    assert not true_flags(known, dark).arrays["flags"].any()


def test_channel_weights_are_the_light_of_the_median_lenslet():
    known = small_known()
    edges = np.linspace(935.0, 1375.0, 40)
    weight = channel_weight(known, known.scene("uniform"), edges)
    assert max(weight) == 1.0
    assert weight[-1] == 0.0
    assert weight[5] < weight[30]
