"""The header bench runs, and its figures are of the right kind (rates themselves depend on the machine)."""

from archive_proc.bench.header_scan import bench_headers


def test_the_header_bench_measures_what_it_says(tmp_path):
    report = bench_headers(None, 12, tmp_path)
    figures = {(one.name, one.unit): one for one in report.figures}
    scan = figures["header scan, everything included", "ms CPU a file"]
    assert (scan.n, scan.aim) == (12, 1000 / 600)
    assert scan.value > 0
    assert scan.reference_value > 0
    assert figures["second ingest of 1000 files", "s CPU"].aim == 2.0
    assert "12 files" in scan.case
