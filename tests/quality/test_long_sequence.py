"""The longest sequence there is costs no more memory than a short one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cubes
import numpy as np

from archive_proc.quality.measured import Measured
from archive_proc.quality.observation import measure_observation
from archive_proc.quality.orders import PageOrder
from archive_proc.quality.stacks import chosen_planes, read_runs

MEASURE = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from test_long_sequence import order_of
from archive_proc.quality.observation import measure_observation
from archive_proc.quality.orders import SourceProduct
kinds = ("irdis_science_cube", "irdis_centered_cube")
products = [SourceProduct("0." + kind, kind, "r", "1", Path({root!r}) / kind / "product.zarr" / kind) for kind in kinds]
found = measure_observation(order_of(products))
assert not found.notes, found.notes
print(found.facts["stack_planes"])
# Not ru_maxrss: that of a started program begins with the size of the process that started it.
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line).split()[1])
"""


def order_of(products: list[object]) -> PageOrder:
    """An observation that has these cubes and nothing else."""
    return PageOrder(
        subject_kind="observation", subject_id="a" * 32, preset="default", night="2017-09-28", arm="IRDIS", name="SIM",
        setup="DB_H23", products={one.product_type: one for one in products}, bands=("H2", "H3"),
    )  # fmt: skip


def test_3360_full_size_planes_are_measured_in_less_than_one_GB(tmp_path: Path) -> None:
    planes = cubes.noise(16, 1024)
    for kind in ("irdis_science_cube", "irdis_centered_cube"):
        cubes.write_cube(tmp_path / kind, kind, 3360, planes, 1024)
    del planes
    script = MEASURE.format(path=[str(Path(__file__).parent)], root=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    words, peak_kb = done.stdout.splitlines()
    assert words == "32 of 3360 planes"
    assert int(peak_kb) * 1024 < 1_000_000_000


def test_a_run_is_all_that_is_read_at_a_time(tmp_path: Path) -> None:
    product = cubes.write_cube(tmp_path, "irdis_centered_cube", 200, cubes.noise(16, 64), 64)
    chosen = chosen_planes(np.ones(200, bool))
    sizes = [len(flux) for _, flux, _ in read_runs(product.group, chosen)]
    assert sum(sizes) == len(chosen)
    assert max(sizes) <= 4


def measured(tmp_path: Path) -> Measured:
    product = cubes.write_cube(tmp_path, "irdis_centered_cube", 16, cubes.noise(16, 256), 256)
    return measure_observation(order_of([product]))


def test_medians_keep_flagged_outside_and_valued_pixels_apart(tmp_path: Path) -> None:
    found = measured(tmp_path)
    image, black = found.arrays["median_0"], found.arrays["median_flagged_0"]
    assert np.isnan(image[:4]).all()
    assert not black[:4].any(), "outside the lit field is hatched, not black"
    inner, inner_black = found.arrays["median_inner_0"], found.arrays["median_inner_flagged_0"]
    middle = inner.shape[1] // 2
    assert inner_black[:, middle + 20].all()
    assert np.isnan(inner[:, middle + 20]).all()
    assert np.isfinite(inner[:, middle + 25]).all()
    assert found.facts["stack_planes"] == "16 planes"
    assert found.facts["rotation"] == "60.0 deg"
    assert set(found.limits) == {"stack|H2", "stack|H3", "inner|H2", "inner|H3"}


def test_what_was_measured_survives_the_way_to_the_process_that_draws(tmp_path: Path) -> None:
    from archive_proc.quality.measured import read_measured

    found = measured(tmp_path / "cube")
    found.write(tmp_path / "kept.npz")
    again = read_measured(tmp_path / "kept.npz", found.limits)
    assert again.facts == found.facts
    assert again.notes == found.notes
    assert again.arrays.keys() == found.arrays.keys()
    for name, values in found.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], values)
