"""Exactly one frame type, or an issue."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from archive_proc.association.classify import classify
from archive_proc.instruments.tables import Tables
from archive_proc.model.frames import Arm

from .conftest import EVENING, Frames

CASES = [
    ("IRDIS", "CALIB", "DARK", "IMAGE", {}, "IRD_DARK_RAW", True),
    ("IRDIS", "CALIB", "DARK,BACKGROUND", "IMAGE", {}, "IRD_INS_BG_RAW", True),
    ("IRDIS", "SCIENCE", "SKY", "IMAGE,DUAL,CORONOGRAPHY", {}, "IRD_SKY_BG_RAW", True),
    ("IRDIS", "CALIB", "SKY", "IMAGE", {}, "IRD_SKY_BG_RAW", True),
    ("IRDIS", "SCIENCE", "SKY", "SPECTRUM", {}, "IRD_SKY_SPECTROSCOPY_RAW", False),
    ("IRDIS", "CALIB", "FLAT,LAMP", "IMAGE", {}, "IRD_FLAT_FIELD_RAW", True),
    ("IRDIS", "CALIB", "FLAT,LAMP", "SPECTRUM", {}, "IRD_SPECTRUM_CALIB_RAW", False),
    ("IRDIS", "CALIB", "FLAT,LAMP", "POLARIMETRY", {}, "IRD_POLARIMETRY_CALIB_RAW", False),
    ("IRDIS", "CALIB", "FLAT,LAMP,RONGAIN", "IMAGE", {}, "IRD_GAIN_RAW", False),
    ("IRDIS", "CALIB", "LAMP,DISTORT", "IMAGE", {}, "IRD_DISTORTION_MAP_RAW", False),
    ("IRDIS", "CALIB", "WAVE,LAMP", "SPECTRUM", {}, "IRD_WAVECALIB_RAW", False),
    ("IRDIS", "SCIENCE", "OBJECT", "IMAGE,DUAL,CORONOGRAPHY", {}, "IRD_SCIENCE_DBI_RAW", True),
    ("IRDIS", "SCIENCE", "OBJECT", "IMAGE,DUAL", {}, "IRD_SCIENCE_DBI_RAW", True),
    ("IRDIS", "SCIENCE", "OBJECT", "IMAGE,CLASSICAL,CORONOGRAPHY", {}, "IRD_SCIENCE_IMAGING_RAW", True),
    ("IRDIS", "SCIENCE", "OBJECT", "IMAGE", {}, "IRD_SCIENCE_IMAGING_RAW", True),
    ("IRDIS", "SCIENCE", "OBJECT", "POLARIMETRY,CORONOGRAPHY", {}, "IRD_SCIENCE_DPI_RAW", False),
    ("IRDIS", "SCIENCE", "OBJECT", "SPECTRUM,CORONOGRAPHY", {}, "IRD_SCIENCE_SPECTROSCOPY_RAW", False),
    ("IRDIS", "SCIENCE", "OBJECT", "IMAGE,DUAL", {"ins1_opti1": "ST_SAM"}, "IRD_SCIENCE_SAM_RAW", False),
    ("IRDIS", "SCIENCE", "OBJECT,CENTER", "IMAGE,DUAL,CORONOGRAPHY", {}, "IRD_STAR_CENTER_WAFFLE_RAW", True),
    ("IRDIS", "SCIENCE", "OBJECT,FLUX", "IMAGE,DUAL,CORONOGRAPHY", {}, "IRD_FLUX_CALIB_CORO_RAW", True),
    ("IRDIS", "SCIENCE", "OBJECT,FLUX", "IMAGE,CLASSICAL", {}, "IRD_FLUX_CALIB_NO_CORO_RAW", True),
    ("IFS", "CALIB", "DARK", "IMAGE", {}, "IFS_DARK_RAW", True),
    ("IFS", "CALIB", "DARK,BACKGROUND", "IMAGE", {}, "IFS_CAL_BACKGROUND_RAW", True),
    ("IFS", "CALIB", "FLAT,LAMP", "IMAGE", {"ifs_comb": "CAL_NB4_2_YJH"}, "IFS_DETECTOR_FLAT_FIELD_RAW", True),
    ("IFS", "CALIB", "FLAT,LAMP", "IFU", {"ifs_comb": "OBS_H"}, "IFS_FLAT_RAW", True),
    ("IFS", "CALIB", "SPECPOS,LAMP", "IFU", {}, "IFS_SPECPOS_RAW", True),
    ("IFS", "CALIB", "WAVE,LAMP", "IFU", {"inst_filter": "DB_NDH23"}, "IFS_WAVECALIB_RAW", True),
    ("IFS", "SCIENCE", "OBJECT", "IFU", {}, "IFS_SCIENCE_DR_RAW", True),
    ("IFS", "SCIENCE", "OBJECT,CENTER", "IFU", {}, "IFS_STAR_CENTER_WAFFLE_RAW", True),
    ("IFS", "SCIENCE", "OBJECT,FLUX", "IFU", {}, "IFS_FLUX_CALIB_RAW", True),
    ("IFS", "SCIENCE", "SKY", "IFU", {}, "IFS_SKY_BG_RAW", True),
    (
        "ZIMPOL",
        "SCIENCE",
        "OBJECT",
        "POLARIMETRY",
        {"readout": "FastPolarimetry"},
        "ZPL_SCIENCE_POLARIMETRY_RAW",
        False,
    ),
    ("ZIMPOL", "SCIENCE", "OBJECT", "IMAGE", {"readout": "StandardImaging"}, "ZPL_SCIENCE_IMAGING_RAW", False),
    ("ZIMPOL", "CALIB", "BIAS", "IMAGE", {}, "ZPL_BIAS_RAW", False),
    ("SPARTA", "SCIENCE", "OBJECT,AO", "IMAGE", {}, "SPH_AO_TELEMETRY_RAW", False),
    ("IRDIS", "SCIENCE", "OBJECT,AO", "IMAGE", {}, "SPH_AO_TELEMETRY_RAW", False),
    ("IRDIS", "ACQUISITION", "OBJECT", "IMAGE", {}, "SPH_ACQUISITION_RAW", False),
    ("IFS", "CALIB", "STD", "IFU", {}, "SPH_STANDARD_RAW", False),
    ("IRDIS", "SCIENCE", "OBJECT,ASTROMETRY", "IMAGE,DUAL", {}, "SPH_STANDARD_RAW", False),
]


@pytest.mark.parametrize(("arm", "catg", "kind", "tech", "facts", "name", "reduced"), CASES)
def test_header_words_give_one_frame_type(
    make: Frames,
    tables: Tables,
    arm: str,
    catg: str,
    kind: str,
    tech: str,
    facts: dict[str, str],
    name: str,
    reduced: bool,
) -> None:
    frame = make.make(EVENING, kind, **({"arm": Arm(arm), "dpr_catg": catg, "dpr_tech": tech} | facts))
    classified, issues = classify([frame], tables)
    assert not issues
    assert (classified[0].frame_type, classified[0].reduced) == (name, reduced)


def test_no_row_is_an_issue_that_names_the_nearest(make: Frames, tables: Tables) -> None:
    classified, issues = classify([make.make(EVENING, "FLAT,SKY")], tables)
    assert not classified
    assert issues[0].code == "AP-CLS-001"
    assert "nearest IRD_" in issues[0].message
    assert issues[0].remedy


def test_missing_dpr_type_is_never_a_guess(make: Frames, tables: Tables) -> None:
    frame = replace(make.make(EVENING, "x"), dpr_type=None, dpr_catg=None)
    classified, issues = classify([frame], tables)
    assert not classified
    assert "DPR TYPE is missing" in issues[0].message


def test_lamp_of_unknown_setup_is_neither_flat(make: Frames, tables: Tables) -> None:
    frame = make.make(EVENING, "FLAT,LAMP", arm=Arm.IFS, dpr_tech="IMAGE", ifs_comb="OBS_YJ")
    assert classify([frame], tables)[1][0].code == "AP-CLS-001"


def test_two_rows_are_an_issue(make: Frames, tables: Tables) -> None:
    twice = msgspec.structs.replace(tables, frame_types=(*tables.frame_types, tables.frame_type("IRD_DARK_RAW")))
    classified, issues = classify([make.make(EVENING, "DARK")], twice)
    assert not classified
    assert issues[0].code == "AP-CLS-002"


def test_dark_without_dit_is_an_issue(make: Frames, tables: Tables) -> None:
    classified, issues = classify([make.make(EVENING, "DARK", dit_s=None)], tables)
    assert not classified
    assert (issues[0].code, issues[0].severity) == ("AP-CLS-003", "blocking")
    assert "dit_ms" in issues[0].message


def test_filter_wheels_stand_in_for_a_missing_combination(make: Frames, tables: Tables) -> None:
    frame = make.star(EVENING, "OBJECT", inst_filter=None, ins1_filt="B_Ks", ins1_opti2="D_K12")
    assert not classify([frame], tables)[1]
