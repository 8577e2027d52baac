"""Quality of a night in SQL and on the command line: every figure known, judged, and the bad FLUX file named."""

from __future__ import annotations

import json

import nights
import numpy as np
import pytest

from archive_proc.archive import Archive
from archive_proc.instruments.tables import load_tables
from archive_proc.simulate.truth import Truth


def test_every_figure_has_a_row_of_limits_with_its_unit_and_setup(reduced: Archive) -> None:
    strangers = reduced.query(
        "SELECT q.product_type, q.metric, q.unit FROM qc q LEFT JOIN qc_limits l "
        "ON l.product_type = q.product_type AND l.metric = q.metric AND l.of = 'product' AND l.unit = q.unit "
        "WHERE l.metric IS NULL OR q.inst_filter IS NULL OR q.dit_s IS NULL OR q.limits_version <> l.limits_version"
    )
    assert strangers.to_pylist() == []


def test_every_row_of_limits_has_figures(reduced: Archive) -> None:
    columns = set(reduced.query("FROM plane_qc LIMIT 0").column_names)
    silent = reduced.query(
        "SELECT DISTINCT l.product_type, l.metric, l.of FROM qc_limits l LEFT JOIN qc q USING (product_type, metric) "
        "WHERE q.metric IS NULL AND l.of = 'product'"
    ).to_pylist()
    # One sky file cannot be held out; and its basis was made, not refused for planes without a level in common.
    unseen = {"sky_basis held_out_error", "sky_basis level_spread"}
    tables = load_tables()
    others = {
        f"{product} {name}"
        for row in tables.qc.rows
        for product in row.products
        for name in row.names
        if row.arm == "IFS" or tables.product_types[product].arm == "IFS"
    }
    assert {f"{row['product_type']} {row['metric']}" for row in silent} - others <= unseen
    planes = reduced.query("SELECT DISTINCT metric FROM qc_limits WHERE of = 'plane'")["metric"].to_pylist()
    assert set(planes) <= columns
    measured = reduced.query(f"SELECT {', '.join(f'count({one}) AS {one}' for one in planes)} FROM plane_qc")
    assert all(count > 0 for count in measured.to_pylist()[0].values()), measured.to_pylist()


def test_the_flux_file_without_its_star_is_named_and_left_out_and_the_observation_reduced(
    reduced: Archive, night: Truth
) -> None:
    (product,) = reduced.products("psf")
    psf = product.to_xarray()
    first, second = (name for name, kind in zip(night.sequences[0].raw_file, night.sequences[0].frame_type, strict=True)
                     if kind == "OBJECT,FLUX")  # fmt: skip
    assert dict(zip([file for file, _ in psf.attrs["planes"]], psf.attrs["planes_combined"], strict=True)) == {
        first: True,
        second: False,
    }
    rows = {row["metric"]: row for row in reduced.query("FROM qc WHERE product_type = 'psf'").to_pylist()}
    assert rows["acquisition_ratio"]["verdict"] == "refuse"
    assert rows["acquisition_ratio"]["threshold"] == 3.0
    assert rows["acquisition_ratio"]["value"] == pytest.approx(104, rel=0.25)
    assert rows["acquisition_offset"]["value"] == pytest.approx(np.hypot(70, 70) / 12.25, abs=1.5)
    assert rows["acquisitions_left_out"]["value"] == 1.0
    assert {rows[f"{one}_left"]["verdict"] for one in ("fwhm", "concentration", "background_residual")} == {"good"}
    (remark,) = reduced.query("SELECT message FROM remarks WHERE code = 'AP-IRD-049'").to_pylist()
    assert second in remark["message"]
    assert "FLUX file 2 of 2" in remark["message"]
    (issue,) = reduced.query("FROM issues WHERE code = 'AP-QCL-006'").to_pylist()
    assert (issue["severity"], issue["origin"], issue["state"]) == ("warning", "quality", "open")
    assert "acquisition_ratio" in issue["message"]
    assert issue["obs_id"]
    assert [one.product_type for one in reduced.products("irdis_centered_cube")] == ["irdis_centered_cube"]
    truth = night.sequences[0]
    good = truth.raw_file.index(first)
    (flux,) = reduced.query("SELECT value FROM qc WHERE metric = 'star_flux_left'").to_pylist()
    assert flux["value"] == pytest.approx(0.75 * truth.core[good, 0] * truth.flux_star[0], rel=0.15)


def test_planes_have_rows_that_agree_with_the_products(reduced: Archive) -> None:
    (product,) = reduced.products("irdis_centered_cube")
    cube = product.to_xarray()
    rows = reduced.query(
        "SELECT * FROM plane_qc q JOIN processes p USING (process_id) WHERE p.recipe = 'irdis_tracks' "
        "AND frame_type = 'OBJECT' AND channel = 1 ORDER BY time"
    ).to_pylist()
    assert [(row["file_id"], row["plane"]) for row in rows] == list(
        zip(cube.file_id.values.tolist(), cube.plane.values.tolist(), strict=True)
    )
    np.testing.assert_allclose([row["time"] for row in rows], cube.time.values, rtol=0, atol=1e-9)
    np.testing.assert_allclose([row["relative_flux_error"] for row in rows], cube.relative_flux_error.values[:, 1])
    np.testing.assert_allclose([row["background_level"] for row in rows], cube.background_level.values[:, 1], rtol=1e-6)
    of_cube = reduced.query(
        "SELECT * FROM plane_qc q JOIN processes p USING (process_id) WHERE p.recipe = 'irdis_science' "
        "AND channel = 0 ORDER BY time"
    ).to_pylist()
    (science,) = reduced.products("irdis_science_cube")
    flags = science.to_xarray().flags.values[:, 0]
    lit = (flags & 1) == 0
    assert [row["filled_pixels"] for row in of_cube] == [float(n) for n in (((flags & 256) != 0) & lit).sum((1, 2))]
    assert [row["cosmic_pixels"] for row in of_cube] == [float(n) for n in (((flags & 64) != 0) & lit).sum((1, 2))]
    assert all(0.9 < row["noise_ratio"] < 1.1 for row in of_cube), [row["noise_ratio"] for row in of_cube]
    assert {row["verdict"] for row in of_cube} == {"good"}


def test_the_cubes_of_a_good_night_are_beyond_no_limit_but_those_of_its_bad_flux_file(reduced: Archive) -> None:
    beyond = reduced.query("SELECT product_type, metric, value, verdict FROM qc WHERE verdict IN ('warn', 'refuse')")
    lost_star = {"acquisition_ratio", "acquisition_offset", "acquisitions_left_out", "star_flux_change_left",
                 "star_flux_change_right"}  # fmt: skip
    # True of this night: masters of one plane, a star in a sky, and a target that moves by 5 mas an axis and half hour.
    of_the_night = {"planes", "files_with_star", "drift"}
    assert {row["metric"] for row in beyond.to_pylist()} == lost_star | of_the_night, beyond.to_pylist()


def test_show_prints_figures_with_verdict_and_limit(reduced: Archive) -> None:
    (product,) = reduced.products("psf")
    page = reduced.show(f"prod:{product.product_id}")
    (line,) = [one for one in page.splitlines() if "acquisition_ratio" in one]
    assert "refuse" in line
    assert "> 3" in line
    (cube,) = reduced.products("irdis_centered_cube")
    (observation,) = reduced.query("SELECT obs_id FROM observations").to_pylist()
    page = reduced.show(f"obs:{observation['obs_id']}")
    assert "quality beyond limits" in page
    assert "acquisition_ratio" in page
    assert cube.subject_id == observation["obs_id"]


def test_check_lists_issues_of_quality_with_remedies_and_blocks_for_none_of_them(reduced: Archive) -> None:
    done = nights.call(reduced.root, "check")
    assert done.returncode == 0, done.stdout
    assert "AP-QCL-006" in done.stdout
    assert "acquisition_ratio" in done.stdout
    found = json.loads(nights.call(reduced.root, "check", "--json").stdout)
    (issue,) = [row for row in found["items"] if row["code"] == "AP-QCL-006"]
    assert issue["remedy"]


@pytest.mark.parametrize(
    ("name", "parameters", "column"),
    [
        ("qc_outliers", {}, "verdict"),
        ("qc_trend", {"metric": "typical_noise"}, "from_history"),
        ("qc_trend", {"metric": "slope_left", "product_type": "detector_flat"}, "from_history"),
        ("plane_quality", {"obs": "OBS"}, "noise_ratio"),
        ("qc_summary", {}, "beyond"),
    ],
)
def test_saved_questions_about_quality_have_answers(
    reduced: Archive, name: str, parameters: dict[str, str], column: str
) -> None:
    (observation,) = reduced.query("SELECT obs_id FROM observations").to_pylist()
    given = {key: observation["obs_id"][:12] if value == "OBS" else value for key, value in parameters.items()}
    rows = reduced.saved(name, given)
    assert rows.num_rows > 0
    assert column in rows.column_names


def test_planes_of_an_observation_stand_in_one_row_with_both_processes_figures(reduced: Archive) -> None:
    (observation,) = reduced.query("SELECT obs_id FROM observations").to_pylist()
    rows = reduced.saved("plane_quality", {"obs": f"obs:{observation['obs_id'][:12]}"}).to_pylist()
    science = [row for row in rows if row["frame_type"] == "OBJECT"]
    assert len(science) == 2 * 4
    assert all(row["noise_ratio"] is not None and row["center_error"] is not None for row in science)
