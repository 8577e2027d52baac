"""What a reduced archive promises whoever opens it: complete attributes, no absolute paths, plain answers."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import nights
import pytest
import xarray as xr

from archive_proc.archive import Archive

EVERY_PRODUCT = {
    "product_type", "schema_version", "process_id", "subject_kind", "subject_id", "target", "night", "setup", "units",
    "provenance", "access", "release_date",
}  # fmt: skip


def groups(archive: Archive) -> list[Path]:
    return sorted(path.parent for path in archive.layout.products.glob("*/*/product.zarr/*/zarr.json"))


def opened(group: Path) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Cc]onsolidated.*")
        dataset: xr.Dataset = xr.open_zarr(group)
    return dataset


def test_every_product_says_what_it_is_of_which_star_and_setup_and_who_may_see_it(reduced: Archive) -> None:
    products = [(group.name, opened(group)) for group in groups(reduced)]
    assert {name for name, _ in products} >= {"dark", "center", "psf", "irdis_science_cube", "irdis_centered_cube"}
    for name, one in products:
        assert one.attrs.keys() >= EVERY_PRODUCT, name
        assert json.loads(one.attrs["provenance"])["inputs"]
        assert all(array.attrs.get("units") and array.attrs.get("long_name") for array in one.variables.values()), name
    setups = {name: json.loads(one.attrs["setup"]) for name, one in products}
    # The tracks begin with FLUX frames of another DIT and density: the setup is that of the science frames.
    assert setups["center"] == setups["irdis_science_cube"] == setups["irdis_centered_cube"]


def test_values_of_a_frame_or_channel_are_coordinates_of_the_cube(reduced: Archive) -> None:
    (product,) = reduced.products("irdis_centered_cube")
    cube = opened(product.path)
    expected = {"time", "file_id", "derotation_angle", "star_x", "relative_flux", "wavelength", "pixel_scale", "usable"}
    assert expected <= set(cube.coords)
    assert set(cube.data_vars) == {"flux", "variance", "variance_common", "flags", "resampling_correlation"}


def test_nothing_in_an_archive_holds_an_absolute_path_but_the_raw_roots(reduced: Archive) -> None:
    root = str(reduced.root.parent).encode()
    raw = [str(path).encode() for path in reduced.settings.raw_roots.values()]
    texts = [
        path
        for path in reduced.root.rglob("*")
        if path.is_file() and path.suffix in {".json", ".jsonl", ".txt", ".sql", ".parquet"}
    ]
    assert texts
    guilty = [path.name for path in texts if any(one in path.read_bytes() for one in (root, *raw))]
    assert guilty == []


def test_a_product_type_that_nothing_makes_is_refused_and_the_nearest_named(reduced: Archive) -> None:
    done = nights.call(reduced.root, "plan", "--to", "detectorflat", "-n")
    assert done.returncode == 2
    assert "nearest: detector_flat" in done.stderr


def test_a_file_of_sql_that_is_not_there_is_misuse_and_no_bug(reduced: Archive) -> None:
    done = nights.call(reduced.root, "query", "@nowhere.sql")
    assert done.returncode == 2
    assert "nowhere.sql" in done.stderr


@pytest.mark.parametrize(
    "words",
    [("check", "--json"), ("query", "FROM targets", "--json"), ("status", "--json"), ("status", "--all", "--json")],
)
def test_what_promises_json_prints_one_object(reduced: Archive, words: tuple[str, ...]) -> None:
    assert isinstance(json.loads(nights.call(reduced.root, *words).stdout), dict)


def test_a_reader_that_leaves_early_is_no_error(reduced: Archive) -> None:
    words = [sys.executable, "-m", "archive_proc.cli.main", "--archive", str(reduced.root)]
    asked = subprocess.Popen(
        [*words, "query", "FROM files, range(2000)", "--format", "jsonl"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert asked.stdout is not None
    assert asked.stderr is not None
    assert asked.stdout.readline()
    asked.stdout.close()
    said = asked.stderr.read()
    asked.stderr.close()
    assert asked.wait(timeout=60) == 0
    assert said == b""


def test_a_raw_file_that_changed_is_named_in_the_failure_the_issue_and_by_no_path(
    reduced_copy: Archive, tmp_path: Path
) -> None:
    moved = tmp_path / "raw"
    archive = nights.with_raw_files_of_its_own(reduced_copy, moved)
    (bad,) = archive.query(
        "SELECT uri, file_id FROM files WHERE dpr_type = 'OBJECT' AND role = 'OBJECT' ORDER BY file_id LIMIT 1"
    ).to_pylist()
    victim = moved / Path(bad["uri"]).relative_to(Path(bad["uri"]).parts[0])
    victim.write_bytes(victim.read_bytes()[:-2880])
    nights.without_products(archive, "subject_kind = 'observation'", tmp_path / "gone")
    done = nights.call(archive.root, "run", "--site", "serial")
    assert done.returncode == 3
    assert bad["file_id"] in done.stdout
    assert {"file_id": bad["file_id"]} in archive.query(
        "SELECT file_id FROM issues WHERE origin = 'process'"
    ).to_pylist()
    assert all(str(moved) not in path.read_text() for path in archive.layout.runs.rglob("*.json*"))
