"""The simulated grid has the figures of notes/ifs.md 1, and moves as an instrument does."""

import numpy as np
import pytest

from archive_proc.simulate.ifs.facts import MODES, SIZE, mode_named, period_s, real_dit_s, samples
from archive_proc.simulate.ifs.geometry import Pose, make_grid, make_lenslets, through_lenslets_of
from archive_proc.simulate.ifs.instrument import draw_flexure, stream
from archive_proc.simulate.ifs.prism import displacement_px


def grid_of(mode, seed):
    lenslets = make_lenslets(MODES[mode], stream(seed, "lenslets"))
    return make_grid(MODES[mode], lenslets, stream(seed, "grid"))


@pytest.mark.parametrize(
    ("mode", "dispersion", "offsets", "length"),
    [
        ("YJ", {988: 9.3, 1124: 11.0, 1309: 13.3}, (0.0, 13.43, 28.75), (950, 1350, 35.9)),
        ("YH", {988: 14.6, 1124: 18.2, 1309: 21.1, 1545: 21.9}, (0.0, 8.29, 17.65, 28.47), (950, 1660, 36.5)),
    ],
)
def test_the_prism_disperses_as_measured(mode, dispersion, offsets, length):
    prism = MODES[mode]
    for wavelength, nm_per_px in dispersion.items():
        pair = displacement_px(prism, np.array([wavelength - 0.5, wavelength + 0.5]))
        assert 1.0 / (pair[1] - pair[0]) == pytest.approx(nm_per_px, abs=0.11)
    lasers = np.array(sorted(laser.wavelength_nm for laser in prism.lasers))
    assert displacement_px(prism, lasers) == pytest.approx(offsets, abs=0.012)
    ends = displacement_px(prism, np.array(length[:2]))
    assert ends[1] - ends[0] == pytest.approx(length[2], abs=0.03)


def test_the_dispersion_is_no_polynomial_that_three_lasers_fix():
    lasers = np.array(sorted(laser.wavelength_nm for laser in MODES["YJ"].lasers))
    parabola = np.polyfit(np.log(lasers), displacement_px(MODES["YJ"], lasers), 2)
    ends = np.array([945.0, 1345.0])
    assert np.abs(np.polyval(parabola, np.log(ends)) - displacement_px(MODES["YJ"], ends)).max() > 0.008


def test_neighbours_stand_where_the_packing_says():
    grid = grid_of("YJ", 3)
    x, y = grid.positions(np.array([1100.0]))
    lenslets = grid.lenslets
    place = {pair: row for row, pair in enumerate(zip(lenslets.q.tolist(), lenslets.r.tolist(), strict=True))}
    centre = place[0, 0]
    for pair, step in {(1, 0): (15.26, -2.93), (0, 1): (10.17, 11.76), (-1, 1): (-5.09, 14.69)}.items():
        found = x[place[pair], 0] - x[centre, 0], y[place[pair], 0] - y[centre, 0]
        assert found == pytest.approx(step, abs=0.08)


@pytest.mark.parametrize("mode", ["YJ", "YH"])
def test_as_many_lenslets_as_the_instrument_has_reach_the_detector(mode):
    grid = grid_of(mode, 5)
    x, y = grid.positions(np.array([MODES[mode].edges_nm]).ravel())
    on = ((x > -8) & (x < SIZE + 7) & (y > -8) & (y < SIZE + 7)).any(axis=1).sum()
    assert 18_500 < on < 18_850
    assert 17_900 < grid.complete().sum() < 18_400


def test_traces_lean_differently_over_the_field():
    x, _ = grid_of("YJ", 3).positions(np.array([950.0, 1350.0]))
    lean = x[:, 1] - x[:, 0]
    assert lean.mean() == pytest.approx(-0.2, abs=0.05)
    assert -0.9 < lean.min() < -0.55
    assert 0.1 < lean.max() < 0.4


def test_a_seed_moves_the_grid_by_up_to_a_pixel_and_bends_it_a_little():
    grids = [grid_of("YJ", seed) for seed in range(6)]
    moved = np.array([(grid.pose.dx, grid.pose.dy) for grid in grids])
    assert np.abs(moved).max() < 1.0
    assert np.abs(moved - moved[0]).max() > 0.2
    nearest = [np.stack(grid.positions(np.array([1100.0])), axis=-1)[:, 0] for grid in grids[:2]]
    bent = nearest[1] - nearest[0]
    assert 0.03 < (bent - bent.mean(axis=0)).std() < 0.3


def test_a_pose_moves_and_turns_about_the_middle():
    middle = (SIZE - 1) / 2
    x, y = Pose(0.1, -0.2, 0.01).apply(np.array([middle, middle + 1000.0]), np.array([middle, middle]))
    assert (x - middle).tolist() == pytest.approx([0.1, 1000.1])
    assert (y - middle).tolist() == pytest.approx([-0.2, -0.2 + 1000 * np.radians(0.01)])


def test_flexure_starts_with_science_and_goes_on():
    flexure = draw_flexure(58000.0, np.random.default_rng(2))
    assert flexure.at(57999.6) == Pose()
    first, later = flexure.at(58000.0), flexure.at(58000.0 + 1 / 24)
    assert 0.03 <= np.hypot(first.dx, first.dy) <= 0.2
    assert later.dx - first.dx == pytest.approx(flexure.rate.dx)


@pytest.mark.parametrize(
    ("dit", "reads", "real", "period"),
    [(1.650726, 2, 1.650726, 35.01457 / 10), (12.0, 8, 12.003082, 13.853813), (64.0, 39, 63.981588, 526.658552 / 8)],
)
def test_times_are_those_of_real_headers(dit, reads, real, period):
    assert samples(dit) == reads
    assert real_dit_s(dit) == pytest.approx(real, abs=1e-6)
    assert period_s(dit) == pytest.approx(period, abs=1e-5)


def test_the_lattice_is_the_one_of_the_sample_set(shared):
    with np.load(shared / "samples" / "ifs" / "truth" / "geometry.npz") as of:
        sample = {name: of[name] for name in ("hx", "hy", "lasers", "x_laser", "y_laser")}
    grid = grid_of("YJ", 9)
    lenslets = grid.lenslets
    place = {pair: row for row, pair in enumerate(zip(lenslets.q.tolist(), lenslets.r.tolist(), strict=True))}
    r = np.rint(sample["hy"] / np.sqrt(0.75)).astype(int)
    q = np.rint(-sample["hx"] - 0.5 * r - 0.5).astype(int)
    rows = np.array([place[pair] for pair in zip(q.tolist(), r.tolist(), strict=True)])
    x, y = grid.positions(sample["lasers"])
    for ours, theirs in ((x, sample["x_laser"]), (y, sample["y_laser"])):
        offset = ours[rows] - theirs
        assert abs(offset.mean()) < 1.7
        assert (offset - offset.mean(axis=0)).std() < 0.2


def test_lenslets_of_another_mode_bring_their_throughputs_to_the_same_indices():
    own, other = (make_lenslets(mode_named(one), np.random.default_rng(4)) for one in ("YH", "YJ"))
    found = through_lenslets_of(own, other)
    place = {(int(q), int(r)): i for i, (q, r) in enumerate(zip(other.q, other.r, strict=True))}
    rows = np.array([place.get((int(q), int(r)), -1) for q, r in zip(own.q, own.r, strict=True)])
    assert np.mean(rows >= 0) > 0.95
    assert np.array_equal(found.throughput[rows >= 0], other.throughput[rows[rows >= 0]])
    assert np.array_equal(found.throughput[rows < 0], own.throughput[rows < 0])
    assert np.array_equal(found.x, own.x)
