"""The header bench runs, and its figures are of the right kind (rates themselves depend on the machine)."""

from astropy.io import fits

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


def test_its_files_end_with_the_pixels_that_they_declare(tmp_path):
    """In anything beyond astropy looks for another header, and is measured at that."""
    bench_headers(None, 1, tmp_path)
    (path,) = (tmp_path / "raw").iterdir()
    with fits.open(path) as found:
        assert len(found) == 1
        assert found[0].header["NAXIS3"] == 16
