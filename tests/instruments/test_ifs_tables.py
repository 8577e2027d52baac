"""The IFS's rows hold together, and a wrong one is named."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest

from archive_proc.errors import DataFailure, MisuseError
from archive_proc.instruments.tables import FILES, Tables, load_tables, parse_tables


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    folder = resources.files("archive_proc.instruments")
    return {name: folder.joinpath(name).read_text(encoding="utf-8") for name in FILES}


@pytest.fixture(scope="module")
def tables() -> Tables:
    return load_tables()


def test_the_lattice_has_the_pitch_and_the_angle_of_the_lenslet_array(tables: Tables) -> None:
    q, r = (np.array(one) for one in tables.ifs.lenslets.lattice_px)
    for step in (q, r, r - q):
        assert np.hypot(*step) == pytest.approx(15.54, rel=0.003)
    assert np.degrees(np.arctan2(q[1], q[0])) == pytest.approx(-10.88, abs=0.1)


@pytest.mark.parametrize(("mode", "count"), [("YJ", 3), ("YJH", 4)])
def test_lasers_of_a_mode_come_by_wavelength_and_up_the_detector(tables: Tables, mode: str, count: int) -> None:
    lasers = tables.ifs.lasers_of(mode)
    assert len(lasers) == count
    assert [one.wavelength_um for one in lasers] == sorted(one.wavelength_um for one in lasers)
    places = np.array([one.offset_px[mode] for one in lasers])
    # The spectrum of 0.95 to 1.35 (1.66) um is 36 px long.
    assert (np.diff(places[:, 1]) > 5.0).all()
    assert places[-1, 1] < tables.ifs.geometry(mode).trace_px


def test_only_lasers_that_burn_are_named(tables: Tables) -> None:
    on = tables.ifs.lasers_on("YJH", "CBL1+CBL3")
    assert [one.name for one in on] == ["CBL3", "CBL1"]
    assert tables.ifs.lasers_on("YJ", "CBL2+QTH1") == ()
    assert tables.ifs.lasers_on("YJ", None) == ()


@pytest.mark.parametrize("mode", ["YJ", "YJH"])
def test_channels_are_even_and_cover_the_mode_with_guards(tables: Tables, mode: str) -> None:
    edges = np.array(tables.ifs.channels(mode).edges_um)
    assert len(edges) == 40
    assert np.diff(edges) == pytest.approx(np.diff(edges).mean())
    low, high = tables.ifs.modes[mode].wavelength_um
    # Two pixels before the band, one behind: light below 0.935 um, that no channel held, was taken for the first one's.
    assert edges[0] < low - 0.02
    assert edges[-1] > high + 0.0134


def test_epsilon_of_the_ifs_ends_on_2016_07_12(tables: Tables) -> None:
    assert tables.ifs.orientation(57580.9).epsilon
    assert not tables.ifs.orientation(57581.0).epsilon
    with pytest.raises(DataFailure, match="AP-TAB-004"):
        tables.ifs.orientation(56000.0)


def test_a_mode_without_a_row_is_named(tables: Tables) -> None:
    with pytest.raises(DataFailure, match=r"AP-TAB-004.*geometry.*'K'"):
        tables.ifs.geometry("K")
    with pytest.raises(DataFailure, match=r"AP-TAB-004.*channels"):
        tables.ifs.channels(None)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('"CAL_BB_2_YJH", ', '"CAL_BB_2_YJ", ', r"mode YJH: CAL_BB_2_YJ belongs to mode YJ"),
        ("YJ = [-0.09, 13.43]", "YJ = [-0.09, 33.43]", "wavelength grows with y"),
        ("YJ = [0.0, 0.0]", "YJ = [0.0, 1.0]", "the first laser of YJ has offset 0, 0"),
        ("YJH = [-0.02, 8.29]", "YJK = [-0.02, 8.29]", "there is no mode YJK"),
        ("first_edge_um = 0.92371795", "first_edge_um = 1.4", "edges must rise"),
        ("edges_um = [0.944, 1.347]", "edges_um = [1.347, 0.944]", "edges must rise"),
        ('mode = "YJH"\ncount', 'mode = "YJ"\ncount', "YJ is there twice"),
        ("valid_from = 2016-07-12", "valid_from = 2016-07-13", "validity must begin"),
    ],
)
def test_a_wrong_row_of_the_ifs_is_named(texts: dict[str, str], old: str, new: str, named: str) -> None:
    assert old in texts["ifs.toml"]
    with pytest.raises(MisuseError, match=named) as caught:
        parse_tables({**texts, "ifs.toml": texts["ifs.toml"].replace(old, new, 1)})
    assert "ifs.toml line" in caught.value.line


def test_rules_do_not_change_with_the_lenslets(texts: dict[str, str], tables: Tables) -> None:
    changed = texts["ifs.toml"].replace("pixel_mas = 7.46 ", "pixel_mas = 7.40 ", 1)
    assert changed != texts["ifs.toml"]
    assert parse_tables({**texts, "ifs.toml": changed}).ruleset_version == tables.ruleset_version
