"""The header bench runs, and its figures are of the right kind (rates themselves depend on the machine)."""

from archive_proc.bench.header_scan import _synthetic, measure


def test_the_header_bench_measures_what_it_says(tmp_path):
    figures = measure([_synthetic()], 12, tmp_path)
    assert figures["cards a file"] > 900
    assert figures["scan and row, files/s"] > 20
    assert figures["second ingest, s"] < 2
