"""The table of the air: as nature has it, and refused where it contradicts itself."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest

from archive_proc.errors import DataFailure, MisuseError
from archive_proc.instruments.tables import FILES, load_tables, parse_tables


def texts() -> dict[str, str]:
    folder = resources.files("archive_proc.instruments")
    return {name: folder.joinpath(name).read_text(encoding="utf-8") for name in FILES}


def test_water_stands_where_it_does_and_windows_are_clear() -> None:
    table = load_tables().air
    middle = 1e3 * (table.first_edge_um + table.step_um * (np.arange(len(table.depth.water)) + 0.5))
    water, dry = np.array(table.depth.water), np.array(table.depth.dry)
    for low, high, depth in ((1115, 1150, 0.1), (930, 965, 0.08), (1350, 1430, 0.5)):
        assert water[(middle > low) & (middle < high)].mean() > depth
    for low, high in ((1000, 1060), (1228, 1245), (1550, 1560)):
        assert water[(middle > low) & (middle < high)].mean() < 0.005
    assert 1263 < middle[np.argmax(np.where(middle < 1300, dry, 0.0))] < 1272


def test_a_mode_without_a_band_is_named() -> None:
    with pytest.raises(DataFailure, match="AP-TAB-004"):
        load_tables().air.band_of("K")


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("water = [\n    0.027,", "water = [\n    0.027, 0.027,", "one value a step"),
        ("water = [\n    0.027,", "water = [\n    -0.027,", "below zero"),
        ("to_um = 1.180", "to_um = 1.050", "must rise"),
        ('mode = "YJH"\nfrom_um', 'mode = "YJ"\nfrom_um', "one band a mode"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(old: str, new: str, rule: str) -> None:
    changed = texts()
    assert old in changed["air.toml"]
    changed["air.toml"] = changed["air.toml"].replace(old, new, 1)
    with pytest.raises(MisuseError, match="AP-TAB-003") as caught:
        parse_tables(changed)
    assert rule in str(caught.value)
