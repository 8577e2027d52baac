"""Any run is a benchmark: what `bench throughput --run latest` says of the night that these tests reduce."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from archive_proc.archive import Archive
from archive_proc.catalog.query import query_saved
from archive_proc.cli.main import program


def test_a_run_is_measured_from_its_records(reduced: Archive) -> None:
    answer = CliRunner().invoke(
        program, ["--archive", str(reduced.root), "bench", "throughput", "--run", "latest", "--json"]
    )
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.output)
    figures = {one["name"]: one for one in told["figures"]}
    chain = "irdis_tracks + irdis_science + irdis_centered: "
    assert told["bench"] == "throughput"
    assert figures["worker time: sum"]["value"] == pytest.approx(100.0)
    assert figures[chain + "CPU a science plane"]["value"] > 0
    assert figures[chain + "CPU a science plane"]["aim"] == 0.8
    assert figures[chain + "CPU a science plane"]["reference_value"] > 0, "the plain reduction stands beside it"
    parts = [one["value"] for name, one in figures.items() if name.startswith(chain + "CPU a science plane, ")]
    assert sum(parts) == pytest.approx(figures[chain + "CPU a science plane"]["value"])
    for recipe in ("irdis_tracks", "irdis_science", "irdis_centered", "irdis_flat", "irdis_sky"):
        assert figures[f"{recipe}: CPU a plane"]["value"] > 0
        # The night was reduced in this process, which holds what earlier tests left: no bound can be read off it.
        memory = figures[f"{recipe}: peak memory"]
        assert memory["value"] > 50
        assert memory["aim"] is None
    assert figures["run: science planes"]["n"] == 4


def test_each_raw_plane_is_read_at_most_twice(reduced: Archive) -> None:
    answer = CliRunner().invoke(program, ["--archive", str(reduced.root), "bench", "throughput", "--run", "latest"])
    line = next(one for one in answer.output.splitlines() if "reads of a raw plane" in one)
    assert " yes " in line, line


def test_sql_says_where_the_time_went(reduced: Archive) -> None:
    rows = query_saved(reduced.layout, "phase-costs", {}).to_pylist()
    sealed = reduced.query("SELECT recipe, sum(cpu_s) AS cpu_s FROM processes GROUP BY recipe").to_pylist()
    for one in sealed:
        parts = [row["cpu_s"] for row in rows if row["recipe"] == one["recipe"]]
        assert sum(parts) == pytest.approx(one["cpu_s"], abs=1e-3)
