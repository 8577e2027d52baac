"""The variance bench tells honest claims from false ones: planted noise comes back as the ratio it was planted with."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from archive_proc.bench.variance import Errors, Honesty, aperture_pulls, width

SHAPE = (2, 420, 420)
ZONES = {(half, zone) for half in (0, 1) for zone in ("r<100", "100-285", "r>285")}


def planes(n, *, noise, claimed, fixed=0.0, seed=7):
    """Planes of white noise of this sigma beside a pattern of sigma `fixed` that all share."""
    rng = np.random.default_rng(seed)
    y, x = np.ogrid[: SHAPE[1], : SHAPE[2]]
    radius = np.broadcast_to(np.hypot(x - 210, y - 30).astype(np.float32), SHAPE)
    pattern = fixed * rng.standard_normal(SHAPE)
    sky = np.ones(SHAPE, bool)
    flagged = np.zeros(SHAPE, bool)
    flagged[:, ::9], sky[:, ::9] = True, False
    for _ in range(n):
        error = (noise * rng.standard_normal(SHAPE) + pattern).astype(np.float32)
        error[flagged] *= 3.0
        yield Errors(error, np.full(SHAPE, claimed**2, np.float32), sky, flagged, radius)


def collected(n, *, common=0.0, **kinds):
    found = Honesty(np.full(SHAPE, common**2, np.float32))
    for one in planes(n, **kinds):
        found.add(one)
    found.finish()
    return found


def test_honest_claims_give_one_in_planes_scatter_and_stacks():
    found = collected(6, noise=2.0, claimed=2.0, fixed=0.8, common=0.8)
    assert set(found.planes) == ZONES
    assert np.mean([one for values in found.planes.values() for one in values]) == pytest.approx(1.0, abs=0.01)
    assert np.mean(list(found.scatter().values())) == pytest.approx(1.0, abs=0.01)
    assert sorted(found.stacks) == [1, 2, 4, 6]
    for zones in found.stacks.values():
        assert np.mean(list(zones.values())) == pytest.approx(1.0, abs=0.02)
    assert found.floors[0] == pytest.approx(0.4, abs=0.001)


def test_understated_noise_is_as_wide_as_it_is_understated():
    found = collected(4, noise=3.0, claimed=2.0)
    assert np.mean(found.planes[0, "r>285"]) == pytest.approx(1.5, abs=0.02)
    assert found.scatter()[0, "r>285"] == pytest.approx(1.5, abs=0.02)
    assert found.stacks[4][1, "100-285"] == pytest.approx(1.5, abs=0.02)


def test_a_forgotten_common_term_shows_in_stacks_and_not_in_the_scatter():
    found = collected(8, noise=2.0, claimed=2.0, fixed=1.0, common=0.0)
    assert found.scatter()[0, "r>285"] == pytest.approx(1.0, abs=0.02)
    assert found.stacks[8][0, "r>285"] == pytest.approx(np.sqrt((4 / 8 + 1) / (4 / 8)), rel=0.02)


def test_flagged_pixels_are_counted_apart():
    found = collected(2, noise=1.0, claimed=1.0)
    assert np.mean(found.flagged) == pytest.approx(3.0, rel=0.02)
    assert found.planes[0, "r>285"][0] == pytest.approx(1.0, abs=0.02)


def test_a_few_pixels_have_no_width():
    assert np.isnan(width(np.zeros(20)))


def test_sums_of_correlated_pixels_need_their_correlation():
    rng = np.random.default_rng(11)
    error = np.stack([gaussian_filter(rng.standard_normal(SHAPE[1:]), 0.6) for _ in range(2)]).astype(np.float32)
    lags = range(4)
    middle = error[:, 8:-8, 8:-8]
    power = np.mean(middle**2)
    correlation = np.array(
        [
            [np.mean(error[:, 8 + dy : 412 + dy, 8 + dx : 412 + dx][:, :404, :404] * middle) / power for dx in lags]
            for dy in lags
        ]
    ).astype(np.float32)
    radius = np.full(SHAPE, 300.0, np.float32)
    every, none = np.ones(SHAPE, bool), np.zeros(SHAPE, bool)
    one = Errors(error, np.full(SHAPE, 0.75 * power, np.float32), every, none, radius)
    common = np.full(SHAPE, 0.25 * power, np.float32)
    assert np.std(aperture_pulls(one, common, correlation)) == pytest.approx(1.0, abs=0.05)
    alone = np.ones((1, 1), np.float32)
    assert np.std(aperture_pulls(one, common, alone)) > 1.3
