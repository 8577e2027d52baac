"""Semesters with pixels: smaller files whose geometry the instrument tables know, reduced as whole ones are."""

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from archive_proc.archive import Archive
from archive_proc.catalog.selection import Selection
from archive_proc.errors import DataFailure, MisuseError
from archive_proc.ingest.facts import raw_frame
from archive_proc.ingest.scan import scan_header
from archive_proc.instruments.tables import irdis_tables
from archive_proc.recipes.irdis.scenes import scene_of
from archive_proc.simulate.night import simulate_night
from archive_proc.simulate.semester.pixels import simulate_pixels
from archive_proc.simulate.semester.write import SemesterSpec
from archive_proc.simulate.spec import CalibrationSpec, NightSpec, SequenceSpec, Star
from archive_proc.simulate.truth import load_truth

NIGHT = NightSpec(
    sequences=(
        SequenceSpec(
            star=Star(name="SIM_BIN", ra_deg=250.0, dec_deg=-30.0),
            start=dt.datetime(2016, 8, 3, 1, 0),
            filter="DB_H23",
            order="CO",
            ndit=2,
            gap_s=0.0,
            dithers=((2, -4),),
        ),
    ),
    calibrations=(CalibrationSpec(kind="DARK", filter="DB_H23", dit_s=16.0),),
    binning=2,
    distinct_planes=1,
)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("binned")
    return simulate_night(folder / "raw", NIGHT, 5, beside=folder / "elsewhere")


def test_a_binned_file_has_a_quarter_of_the_pixels_and_says_so(night):
    by_type = {fits.getheader(one)["ESO DPR TYPE"]: one for one in night.files}
    frame = raw_frame(scan_header(by_type["OBJECT"]), uri="x")
    assert (frame.naxis1, frame.naxis2, frame.naxis3, frame.binning, frame.n_planes) == (1024, 512, 2, 2, 2)
    assert fits.getdata(by_type["OBJECT"]).shape == (2, 512, 1024)
    dark = fits.getdata(by_type["DARK"])[0]
    assert 0.2 < np.median(np.abs(dark - np.median(dark))) < 20
    assert night.truth_directory.name == "elsewhere"
    assert sorted(one.name for one in night.directory.parent.iterdir()) == ["elsewhere", "raw"]


def test_the_star_stands_where_the_binned_tables_expect_it(night):
    """Scale, first guess and dither of the scaled tables against simulated truth, in the file's own pixels."""
    truth = night.sequences[0]
    for name, center in zip(truth.raw_file, truth.center, strict=True):
        frame = raw_frame(scan_header(night.directory / f"{name}.fits"), uri="x")
        scene = scene_of(frame)
        assert np.abs((center - 0.5) / 2 - np.array(scene.guess)).max() < 2.0
        whole = irdis_tables().filter("DB_H23").pixel_scale_mas
        assert scene.optics[0].pixel_scale_mas == 2 * whole[0]
    data = fits.getdata(night.directory / f"{truth.raw_file[-1]}.fits")[0]
    x, y = (center[0] - 0.5) / 2
    rows, columns = np.mgrid[0:512, 0:512]
    away = np.hypot(columns - x, rows - y)
    ring = np.median(data[:, :512][(away > 8) & (away < 14)]) - np.median(data[:, :512][(away > 120) & (away < 140)])
    assert ring > 20


def test_tables_of_another_binning_are_refused():
    assert irdis_tables(1) is irdis_tables()
    for wrong in (0, 3, 64):
        with pytest.raises(DataFailure, match="AP-TAB-007"):
            irdis_tables(wrong)
    with pytest.raises(MisuseError, match="binning 8 destroys"):
        NightSpec(sequences=(), binning=8)


@pytest.mark.slow  # a night rendered and reduced: 40 s of CPU
def test_complete_observations_of_a_binned_semester_end_in_a_centred_cube(tmp_path: Path):
    made = simulate_pixels(tmp_path / "P97", SemesterSpec(scale=0.001, seed=5), 2)
    archive = Archive.init(tmp_path / "A")
    archive.ingest([tmp_path / "P97"])
    assert not [one for one in archive.check(Selection()) if one.code in ("AP-SEQ-015", "AP-ING-053")]
    _, outcomes = archive.run(Selection(), site=archive.site("serial"))
    assert not outcomes[-1].failures
    complete = [one.obs_id for one in archive.campaign.observations if one.complete]
    cubes = {one.subject_id: one.to_xarray() for one in archive.products("irdis_centered_cube")}
    assert complete
    assert len(cubes.keys() & complete) >= 0.9 * len(complete)
    assert sum(one.sizes["frame"] for one in cubes.values()) == sum(one.ndit * one.files for one in made.blocks)
    assert all((one.sizes["y"], one.sizes["x"]) == (512, 512) for one in cubes.values())
    truths = [load_truth(one) for night in made.truths for one in sorted(night.truth_directory.iterdir())]
    known = {(f, int(k)): c for t in truths for f, k, c in zip(t.raw_file, t.frame_idx, t.center, strict=True)}
    for one in archive.products("irdis_science_cube"):
        cube = one.to_xarray()
        frames = zip(cube["file_id"].values, cube["plane"].values, strict=True)
        rows = [(at, known[key]) for at, key in enumerate((str(f), int(k)) for f, k in frames) if key in known]
        found = np.stack([cube["star_x"].values, cube["star_y"].values], -1)
        away = np.stack([found[at] - (center - 0.5) / 2 for at, center in rows])
        assert np.sqrt((away**2).mean()) < 0.06  # 1.5 mas
