"""Figures become rows with verdicts: judged at compaction, by the limits of the package, again when these change."""

from __future__ import annotations

from pathlib import Path

import making
import msgspec
import numpy as np
import pyarrow as pa
import pytest

from archive_proc.catalog.query import query
from archive_proc.errors import InputError
from archive_proc.flow.judging import limit_rows, plane_table, planes_issue, qc_rows, unknown_figures
from archive_proc.flow.publish import publish, rebuild
from archive_proc.instruments.qc_limits import LimitRow, MetricRow, QcLimits
from archive_proc.instruments.tables import load_tables
from archive_proc.model.processes import QcValue
from archive_proc.storage.plane_figures import FIGURES_NAME, read_figures, write_figures
from archive_proc.storage.snapshots import equal_snapshots, find_current
from archive_proc.storage.tables import TABLES, table_from_rows


def limits(warn: float = 6.0, plane: float = 5.0) -> QcLimits:
    """Limits of the toy recipes' figure `n`, which is 7, and of one figure of planes."""
    types = ("dark", "sky_basis", "irdis_science_cube", "irdis_centered_cube")
    rows = (
        MetricRow(
            products=types, metric="n", unit="1", meaning="toy", code="AP-QCL-001",
            limit=(LimitRow(warn_above=warn, refuse_above=100.0, reference="toy"),),
        ),
        MetricRow(
            products=("center",), metric="center_jump", of="plane", unit="mas", meaning="toy", code="AP-QCL-010",
            limit=(LimitRow(warn_above=plane, refuse_above=50.0, reference="toy"),),
        ),
    )  # fmt: skip
    return QcLimits(rows)


@pytest.fixture
def archive(tmp_path: Path) -> making.Archive:
    return making.archive(tmp_path / "A")


def sealed(archive: making.Archive) -> making.Night:
    night = making.night()
    run = archive.start("20261102T120001-aaaa", making.plan_of([night.dark]))
    archive.seal(run, night.dark)
    archive.end(run, done=1)
    return night


def test_rows_say_which_limit_judged_and_issues_what_to_do(archive: making.Archive) -> None:
    sealed(archive)
    publish(archive.layout, making.understanding(), limits())
    rows = query(archive.layout, "SELECT metric, verdict, threshold, side, limits_version FROM qc ORDER BY metric")
    assert rows.to_pylist() == [
        {"metric": "n", "verdict": "warn", "threshold": 6.0, "side": 1, "limits_version": limits().version},
        {"metric": "rms", "verdict": None, "threshold": None, "side": None, "limits_version": limits().version},
    ]
    (issue,) = query(archive.layout, "SELECT * FROM issues WHERE origin = 'quality'").to_pylist()
    assert (issue["code"], issue["severity"], issue["state"]) == ("AP-QCL-001", "warning", "open")
    assert issue["message"] == "dark n 7 (warns above 6)"


def test_other_limits_judge_everything_anew_and_make_no_product_anew(archive: making.Archive) -> None:
    sealed(archive)
    publish(archive.layout, making.understanding(), limits())
    before = sorted(archive.layout.products.rglob("*"))
    stepwise = publish(archive.layout, making.understanding(), limits(warn=8.0))
    rows = query(archive.layout, "SELECT verdict, limits_version FROM qc WHERE metric = 'n'").to_pylist()
    assert rows == [{"verdict": "good", "limits_version": limits(warn=8.0).version}]
    assert query(archive.layout, "FROM issues WHERE origin = 'quality'").num_rows == 0
    assert equal_snapshots(stepwise, rebuild(archive.layout, making.understanding(), limits(warn=8.0)))
    assert sorted(archive.layout.products.rglob("*")) == before


def test_the_same_limits_publish_nothing_anew(archive: making.Archive) -> None:
    sealed(archive)
    first = publish(archive.layout, making.understanding(), limits())
    again = publish(archive.layout, making.understanding(), limits())
    current = find_current(archive.layout)
    assert current is not None
    assert again.path == first.path == current.path


def test_what_a_recipe_refused_stays_refused_whatever_the_limits_say() -> None:
    process = making.night().dark
    rows, _ = qc_rows(process, [QcValue("dark", "n", 1.0, "1", "refuse"), QcValue("dark", "odd", 1.0, "1")], limits())
    assert [row["verdict"] for row in rows] == ["refuse", None]


def test_planes_are_judged_one_by_one_and_counted_in_one_issue(tmp_path: Path) -> None:
    write_figures(tmp_path / FIGURES_NAME, making.figures([1.0, 6.0, float("nan"), 70.0]))
    found = read_figures(tmp_path)
    assert found is not None
    process = making.night().cube
    rows = plane_table(process, found, "DB_H23", limits())
    assert rows.schema.equals(TABLES["plane_qc"].arrow_schema)
    right = [row for row in rows.to_pylist() if row["channel"] == 1]
    assert [(row["plane"], row["verdict"], row["beyond"]) for row in right] == [
        (0, "good", None), (1, "warn", "center_jump"), (2, None, None), (3, "refuse", "center_jump")
    ]  # fmt: skip
    (issue,) = planes_issue(process, rows, None)
    # Plane 3 is excluded by a person already.
    assert (issue["message"], issue["severity"]) == ("1 of 3 planes beyond limits: center_jump 1", "note")


def test_a_plane_has_the_worst_verdict_of_its_figures_and_names_them_worst_first(tmp_path: Path) -> None:
    both = {**making.figures([6.0, 70.0, 1.0]), "smear": np.array([[0.0, 0.9], [0.0, 0.5], [0.0, np.nan]])}
    write_figures(tmp_path / FIGURES_NAME, both)
    found = read_figures(tmp_path)
    assert found is not None
    smear = MetricRow(
        products=("irdis_science_cube",), metric="smear", of="plane", unit="1", meaning="toy", code="AP-QCL-010",
        limit=(LimitRow(warn_above=0.3, refuse_above=0.8, reference="toy"),),
    )  # fmt: skip
    for rows in ((*limits().rows, smear), (smear, *limits().rows)):
        table = plane_table(making.night().cube, found, "DB_H23", QcLimits(rows)).to_pylist()
        assert [(row["verdict"], row["beyond"]) for row in table if row["channel"] == 1] == [
            ("refuse", "smear center_jump"), ("refuse", "center_jump smear"), ("good", None)
        ]  # fmt: skip


def test_figures_without_a_column_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"AP-STO-501 .*hops"):
        write_figures(tmp_path / FIGURES_NAME, {**making.figures([1.0]), "hops": np.zeros((1, 2))})
    with pytest.raises(InputError, match="shapes differ"):
        write_figures(tmp_path / FIGURES_NAME, {**making.figures([1.0]), "smear": np.zeros((1, 3))})


def test_every_figure_of_planes_has_a_column_of_its_unit_and_a_row_of_limits() -> None:
    assert unknown_figures(load_tables().qc) == ()
    wrong = msgspec.structs.replace(limits().rows[1], unit="arcsec")
    assert "center_jump" in unknown_figures(QcLimits((wrong,)))


def test_limits_are_a_table_of_the_catalog(archive: making.Archive) -> None:
    publish(archive.layout, making.understanding())
    qc = load_tables().qc
    rows = query(archive.layout, "FROM qc_limits")
    assert rows.num_rows == len(limit_rows(qc))
    assert set(rows.column("limits_version").to_pylist()) == {qc.version}
    again = table_from_rows(TABLES["qc_limits"], limit_rows(qc))
    assert isinstance(again, pa.Table)
    assert again.num_rows == rows.num_rows
