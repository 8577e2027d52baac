"""The team's real headers and sample sets as a second parametrisation."""

import csv
import datetime as dt
import math

import pytest

from archive_proc.ingest import NotRaw, ingest, raw_frame, scan_header
from archive_proc.ingest.display import header_of_display
from archive_proc.model.frames import Arm

# column of the recorded facts: column of ours
SAME = {
    "ra_deg": "ra_deg", "dec_deg": "dec_deg", "object": "object_raw", "origfile": "origfile", "dpr_catg": "dpr_catg",
    "dpr_type": "dpr_type", "dpr_tech": "dpr_tech", "dit_s": "dit_s", "ndit": "ndit", "real_dit_s": "realdit_s",
    "seq_exptime_s": "seq_exptime_s", "dit_delay_s": "ditdelay_s", "readout": "readout", "det_chip_gain": "gain",
    "naxis1": "naxis1", "naxis2": "naxis2", "naxis3": "naxis3", "ins_comb_iflt": "inst_filter",
    "ins_comb_icor": "coro_ir", "ins_comb_vcor": "coro_vis", "ins1_filt": "ins1_filt", "ins1_opti1": "ins1_opti1",
    "ins1_opti2": "ins1_opti2", "ins1_pac_x": "pac_x", "ifs_comb": "ifs_comb", "ifs_prism": "prism",
    "nd_filter": "nd_filter", "wfs_filter": "wfs_filter", "spatial_filter": "spatial_filter", "dichroic": "dichroic",
    "rot": "rot_mode", "drot2_mode": "drot2_mode", "drot2_begin": "drot2_begin_deg", "drot2_end": "drot2_end_deg",
    "drot2_ra": "drot2_ra", "drot2_dec": "drot2_dec", "obs_id": "ob_id", "obs_name": "ob_name",
    "obs_prog_id": "prog_id", "obs_exectime_s": "ob_exectime_s", "tpl_id": "tpl_id", "tpl_nexp": "tpl_nexp",
    "tpl_expno": "tpl_expno", "obstype_list": "obstype_list", "airmass_start": "airmass_start",
    "parang_start": "parang_start_deg", "parang_end": "parang_end_deg", "tel_alt": "alt_deg", "tel_az": "az_deg",
    "fwhm_start": "fwhm_start", "tau0_s": "tau0_s", "wind_speed": "wind_ms", "wind_dir": "wind_dir_deg",
    "targ_alpha": "targ_alpha", "targ_delta": "targ_delta", "ao_ho": "ao_ho", "viswfs_mode": "viswfs_mode",
    "datasum": "datasum", "waffle_ampl": "waffle_ampl",
}  # fmt: skip


@pytest.fixture(scope="module")
def real(shared, tmp_path_factory):
    """(recorded facts, scan) of each raw header of the team."""
    folder = tmp_path_factory.mktemp("real")
    with (shared / "data" / "sphere_raw_metadata.csv").open() as table:
        rows = [row for row in csv.DictReader(table) if row["header_file"].startswith("headers/SPHER.")]
    scans = []
    for row in rows:
        path = folder / f"{row['file_id']}.fits"
        text = (shared / "data" / row["header_file"]).read_text()
        path.write_bytes(header_of_display(text))
        scans.append((row, scan_header(path)))
    return scans


def test_every_recorded_fact_is_found(real):
    assert len(real) == 8
    for row, scan in real:
        frame = raw_frame(scan, uri="raw/x")
        for theirs, ours in SAME.items():
            want, got = row[theirs], getattr(frame, ours)
            if want in ("", "N/A"):
                assert got is None, (row["file_id"], ours, got)
            elif isinstance(got, int | float):
                assert math.isclose(float(want), got), (row["file_id"], ours)
            else:
                assert got == want, (row["file_id"], ours)
        assert frame.file_id == row["file_id"]
        assert frame.arm is Arm.IFS
        assert frame.n_cards == int(row["n_header_cards"]) - 1 or frame.n_cards == int(row["n_header_cards"])
        assert frame.truncated, "headers without pixels are cut files"
        assert frame.ob_container_id is None
        assert frame.period_prog == (104 if frame.dpr_catg == "SCIENCE" else None)
        assert (frame.release_date.date() == dt.date(2021, 3, 8)) == (frame.dpr_catg == "SCIENCE")
        assert frame.problems == ()


def test_lamps_of_a_wave_frame(real):
    lamps = {raw_frame(scan, uri="x").lamp for row, scan in real if row["dpr_type"] == "WAVE,LAMP"}
    assert lamps == {"CBL1+CBL3+CBL6", "CBL1+CBL2+CBL3+CBL6"}, "three lasers for YJ, four for YJH"


def test_headers_of_reduced_products_are_not_raw(shared, tmp_path):
    displays = sorted((shared / "data" / "headers").glob("dcproduct_*.hdr"))
    assert len(displays) == 4
    for number, display in enumerate(displays):
        path = tmp_path / f"{number}.fits"
        path.write_bytes(header_of_display(display.read_text()))
        assert isinstance(raw_frame(scan_header(path), uri="x"), NotRaw)


def test_reduced_pixels_are_not_raw(shared):
    result = ingest([shared / "data" / "pixels"], roots={"x": shared / "data" / "pixels"})
    assert (result.frames, result.rejected) == ((), ())
    assert len(result.not_raw) == 10


def test_the_samples_are_read_whole(shared):
    result = ingest([shared / "samples"], roots={"samples": shared / "samples"})
    assert len(result.frames) == 45
    assert result.rejected == ()
    arms = [frame.arm for frame in result.frames]
    assert (arms.count(Arm.IRDIS), arms.count(Arm.IFS), arms.count(Arm.SPARTA)) == (31, 12, 2)
    assert not any(frame.truncated or frame.problems for frame in result.frames)
    assert {frame.bzero for frame in result.frames if frame.arm is Arm.IRDIS} == {32668.0}
    assert {frame.n_planes for frame in result.frames if frame.arm is Arm.SPARTA} == {0}
