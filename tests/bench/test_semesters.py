"""`bench catalog`: every step of a small semester is measured, aims stand beside whole ones only."""

from archive_proc.bench.figures import table
from archive_proc.bench.semesters import AIMS, bench_catalog


def test_every_step_of_a_small_semester_is_measured(tmp_path):
    report = bench_catalog(tmp_path, scale=0.003)
    values = {one.name: one.value for one in report.figures}
    assert values["raw files"] > 50
    assert values["processes planned"] > 20
    assert values["ingest and plan"] == values["ingest of the manifest, with association"] + values["plan"]
    assert all(one.value and one.value > 0 and one.aim is None for one in report.figures)
    assert "scale 0.003" in table(report)
    assert AIMS[1].cpu_s == 30.0
    assert AIMS[11].memory_gb == 4.0
