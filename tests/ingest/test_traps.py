"""Each header trap of the archive notes on a small header."""

import datetime as dt

import pytest
from raw_files import cards_of, lines_of, write_lines, write_raw

from archive_proc.ingest import NotRaw, frame_issues, header_cards, raw_frame, scan_header
from archive_proc.ingest.display import cards_of_display, header_of_display
from archive_proc.ingest.names import canonical_file_id
from archive_proc.model.calendar import night_of, period_of, programme_period
from archive_proc.model.frames import Arm, RawFrame

NAME = "SPHER.2017-09-28T08:13:07.975.fits"


def frame_of(path):
    frame = raw_frame(scan_header(path), uri=f"raw/{path.name}")
    assert isinstance(frame, RawFrame)
    return frame


def test_exptime_is_the_dit_and_the_total_is_seq1_exptime(tmp_path):
    frame = frame_of(
        write_raw(
            tmp_path / NAME,
            shape=(6, 4, 8),
            EXPTIME=64.0,
            DET__SEQ1__DIT=64.0,
            DET__NDIT=6,
            DET__SEQ1__EXPTIME=394.993914,
            DET__SEQ1__REALDIT=63.981588,
        )
    )
    assert (frame.dit_s, frame.dit_ms, frame.ndit, frame.realdit_s) == (64.0, 64000, 6, 63.981588)
    assert frame.seq_exptime_s == 394.993914
    assert (frame.mjd_end - frame.mjd_obs) * 86400 == pytest.approx(394.993914, abs=1e-4)


def test_missing_dit_is_taken_from_exptime_and_named(tmp_path):
    frame = frame_of(write_raw(tmp_path / NAME, DET__SEQ1__DIT=None))
    assert frame.dit_ms == 16000
    assert "DET SEQ1 DIT: missing, EXPTIME stands in" in frame.problems
    assert [one.code for one in frame_issues([frame])] == ["AP-ING-052"]


def test_ifs_files_keep_the_irdis_filter_apart_from_their_own_mode(tmp_path):
    changes = {"SEQ__ARM": "IFS", "DET__ID": "IFS", "INS__COMB__IFLT": "BB_H"}
    frame = frame_of(write_raw(tmp_path / NAME, ["HIERARCH ESO INS2 COMB IFS = 'OBS_YJ'"] and (3, 4, 8), **changes))
    assert (frame.arm, frame.inst_filter, frame.ifs_comb) == (Arm.IFS, "BB_H", None)
    lines = [*lines_of(cards_of(**changes)), "HIERARCH ESO INS2 COMB IFS = 'OBS_YJ  ' / IFS device combination"]
    assert frame_of(write_lines(tmp_path / "b.fits", lines)).ifs_comb == "OBS_YJ"


def test_lamp_files_have_no_pointing_and_a_closed_shutter(tmp_path):
    extra = [
        "HIERARCH ESO INS4 SHUT ST = F / Shutter open [T] or closed [F].",
        "HIERARCH ESO INS4 DROT2 MODE = 'STAT    '",
        "HIERARCH ESO INS4 LAMP3 NAME = 'CBL1    ' / Laser 1310nm.",
        "HIERARCH ESO INS4 LAMP3 ST =                    T / Lamp activated.",
        "HIERARCH ESO INS4 LAMP5 NAME = 'CBL3    ' / Laser 980nm.",
        "HIERARCH ESO INS4 LAMP5 ST =                    T / Lamp activated.",
        "HIERARCH ESO INS4 LAMP8 NAME = 'CBL6    '",
        "HIERARCH ESO INS4 LAMP8 ST =                    F",
    ]
    frame = frame_of(
        write_raw(
            tmp_path / NAME,
            extra=extra,
            RA=None,
            DEC=None,
            OBJECT="WAVE,LAMP",
            DPR__TYPE="WAVE,LAMP",
            DPR__CATG="CALIB",
            OBS__ID=200313600,
            DPR__TECH="IFU",
        )
    )
    assert (frame.ra_deg, frame.dec_deg, frame.shutter, frame.drot2_mode) == (None, None, False, "STAT")
    assert (frame.lamp, frame.ob_id, frame.object_raw) == ("CBL1+CBL3", 200313600, "WAVE,LAMP")
    assert frame_issues([frame]) == ()
    assert frame.release_date == frame.date_obs


@pytest.mark.parametrize("year", range(2014, 2041))
def test_a_night_begins_at_sixteen_hours_ut(year):
    before = dt.datetime(year, 4, 1, 15, 59, 59, 999000)
    assert night_of(before) == dt.date(year, 3, 31)
    assert night_of(before + dt.timedelta(milliseconds=1)) == dt.date(year, 4, 1)


def test_a_lamp_after_the_boundary_falls_in_the_next_night(tmp_path):
    path = write_raw(tmp_path / "a.fits", DATE_OBS="2020-03-08T16:53:05.173", MJD_OBS=58916.70353209, ARCFILE=None)
    frame = frame_of(path)
    assert (frame.night, frame.period_date) == (dt.date(2020, 3, 8), 104)
    assert frame.file_id == "SPHER.2020-03-08T16:53:05.173"


@pytest.mark.parametrize(
    ("night", "period"), [((2015, 9, 24), 95), ((2016, 1, 15), 96), ((2017, 6, 28), 99), ((2020, 3, 8), 104)]
)
def test_periods_of_real_nights(night, period):
    assert period_of(dt.date(*night)) == period


@pytest.mark.parametrize(
    ("prog_id", "period"),
    [
        ("095.C-0298(D)", 95),
        ("0104.C-0007(B)", 104),
        ("117.2A06.001", 117),
        ("198.C-0209(D)", 98),
        ("1100.C-0481(D)", 100),
        ("296.C-5038(A)", 96),
        ("60.A-9255(A)", None),
        ("nonsense", None),
        (None, None),
    ],
)
def test_programme_ids_of_three_grammars(prog_id, period):
    assert programme_period(prog_id) == period


@pytest.mark.parametrize(
    ("text", "negative", "value"),
    [
        ("-84016.833", True, -84016.833),
        ("-3015.25", True, -3015.25),
        ("-0.0", True, 0.0),
        ("124520.1", False, 124520.1),
    ],
)
def test_packed_declinations_keep_their_sign(tmp_path, text, negative, value):
    frame = frame_of(
        write_raw(tmp_path / NAME, extra=[f"HIERARCH ESO INS4 DROT2 DEC = {text} / Telescope declination."])
    )
    assert (frame.drot2_dec, frame.drot2_dec_negative) == (value, negative)


def test_apparent_place_does_not_become_the_pointing(tmp_path):
    extra = ["HIERARCH ESO INS4 DROT2 RA = 124523.297660", "HIERARCH ESO TEL TARG ALPHA = 124420.236"]
    frame = frame_of(write_raw(tmp_path / NAME, extra=extra))
    assert (frame.drot2_ra, frame.targ_alpha, frame.ra_deg) == (124523.29766, 124420.236, 69.40055)


@pytest.mark.parametrize("text", ["'@>      '", "''", "'        '", "'UNKNOWN '", "'unknown'", "'N/A'", "'Null'"])
def test_words_for_nothing_become_null_and_the_header_keeps_them(tmp_path, text):
    path = write_raw(tmp_path / NAME, extra=[f"HIERARCH ESO INS4 FILT2 NAME = {text}"])
    scan = scan_header(path)
    frame = raw_frame(scan, uri="raw/x")
    assert frame.nd_filter is None
    kept = {card.key: card.value for card in header_cards(scan, frame.file_id)}
    assert kept["INS4 FILT2 NAME"] == text.strip("'").rstrip()
    assert ("INS4 FILT2 NAME: corrupt text" in frame.problems) == ("@" in text)


@pytest.mark.parametrize("value", [-999, "'U'", "1e999", 12345678901234567890123])
def test_numbers_for_nothing_become_null(tmp_path, value):
    frame = frame_of(write_raw(tmp_path / NAME, extra=[f"HIERARCH ESO OBS CONTAINER ID = {value}"]))
    assert frame.ob_container_id is None
    assert any(one.startswith("OBS CONTAINER ID") for one in frame.problems) == (value != -999)


def test_frame_types_are_upper_case_and_filters_keep_their_case(tmp_path):
    frame = frame_of(write_raw(tmp_path / NAME, DPR__TYPE="Object,Center", INS__COMB__IFLT="BB_Ks"))
    assert (frame.dpr_type, frame.inst_filter) == ("OBJECT,CENTER", "BB_Ks")


@pytest.mark.parametrize("word", ["BEGIN", "START"])
def test_the_derotator_begins_or_starts(tmp_path, word):
    frame = frame_of(write_raw(tmp_path / NAME, extra=[f"HIERARCH ESO INS4 DROT2 {word} = 214.5106"]))
    assert frame.drot2_begin_deg == 214.5106


def test_the_list_of_kinds_and_the_plan_are_kept_as_written(tmp_path):
    frame = frame_of(write_raw(tmp_path / NAME, extra=["HIERARCH ESO OCS OBSTYPE LIST = 'C O F   '"]))
    assert (frame.obstype_list, frame.tpl_expno, frame.tpl_nexp) == ("C O F", 3, 8)


def test_an_aborted_cube_ends_after_the_planes_that_are_there(tmp_path):
    whole = frame_of(write_raw(tmp_path / "a.fits", shape=(4, 4, 8), DET__NDIT=4, DET__SEQ1__EXPTIME=68.0))
    cut = frame_of(write_raw(tmp_path / "b.fits", shape=(2, 4, 8), DET__NDIT=4, DET__SEQ1__EXPTIME=68.0))
    assert (cut.ndit, cut.n_planes) == (4, 2)
    assert (cut.mjd_end - cut.mjd_obs) == pytest.approx((whole.mjd_end - whole.mjd_obs) / 2)


def test_spacing_comes_from_the_end_time_where_the_total_is_missing(tmp_path):
    frame = frame_of(write_raw(tmp_path / NAME))
    assert (frame.mjd_end - frame.mjd_obs) * 86400 == pytest.approx(51.2, abs=1e-4)


def test_a_reduced_product_with_a_raw_header_is_not_raw(tmp_path):
    window = ["HIERARCH ESO DET SEQ1 WIN NX = 2048", "HIERARCH ESO DET SEQ1 WIN NY = 1024"]
    cube = raw_frame(scan_header(write_raw(tmp_path / "a.fits", extra=window)), uri="a")
    axes = raw_frame(scan_header(write_raw(tmp_path / "b.fits", shape=(2, 2, 4, 8))), uri="b")
    made = raw_frame(scan_header(write_raw(tmp_path / "c.fits", extra=["HIERARCH ESO PRO CATG = 'IRD_X'"])), uri="c")
    other = raw_frame(scan_header(write_raw(tmp_path / "d.fits", INSTRUME="NACO")), uri="d")
    assert [type(one) for one in (cube, axes, made, other)] == [NotRaw] * 4
    assert [one.why.split(" (")[0] for one in (cube, made, other)] == [
        "a reduced product", "a reduced product", "another instrument"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "SPHER.2019-11-25T06:44:20.835.fits",
        "SPHER.2019-11-25T06_44_20.835.fits.Z",
        "SPHER.2019-11-25T06-44-20.835IRD_SCIENCE_DBI_RAW.fits",
        "SPHER.2019-11-25T06.44.20.835IFS_DETECTOR_FLAT_FIELD_RAW.fits",
    ],
)
def test_one_canonical_name_for_three_spellings(name):
    assert canonical_file_id(name) == "SPHER.2019-11-25T06:44:20.835"


@pytest.mark.parametrize("name", ["README.md", "SPHER.2019-13-25T06:44:20.835.fits", "../../etc/passwd", "truth.npz"])
def test_other_names_have_no_canonical_form(name):
    assert canonical_file_id(name) is None


def test_the_archive_name_rounds_where_date_obs_has_more_digits(tmp_path):
    path = write_raw(tmp_path / "x.fits", DATE_OBS="2017-06-28T03:46:56.2396", MJD_OBS=57932.15759537, ARCFILE=None)
    assert frame_of(path).file_id == "SPHER.2017-06-28T03:46:56.240"


def test_the_arm_comes_from_the_detector_where_the_sequence_is_silent(tmp_path):
    assert frame_of(write_raw(tmp_path / NAME, SEQ__ARM=None, DET__ID="IFS")).arm is Arm.IFS


def test_zimpol_columns(tmp_path):
    extra = [
        "HIERARCH ESO DET DIT1 = 10.0",
        "HIERARCH ESO INS3 OPTI5 NAME = 'N_R     '",
        "HIERARCH ESO INS3 OPTI6 NAME = 'Cnt820  '",
        "HIERARCH ESO INS COMB VCOR = 'V_CLC_S_WF'",
        "HIERARCH ESO DET READ CURNAME = 'FastPolarimetry'",
    ]
    frame = frame_of(write_raw(tmp_path / NAME, extra=extra, SEQ__ARM="ZIMPOL", DET__SEQ1__DIT=None))
    assert (frame.arm, frame.zimpol_filter1, frame.zimpol_filter2, frame.dit_s) == (Arm.ZIMPOL, "N_R", "Cnt820", 10.0)
    assert (frame.coro_vis, frame.readout) == ("V_CLC_S_WF", "FastPolarimetry")


def test_displays_in_free_columns_are_read_and_fitted_into_cards():
    text = (
        "SIMPLE  =                T / Standard FITS\n"
        "RA = 191.08 / [deg] pointing\n"
        "HIERARCH ESO INS4 TILT1 FRML = 'ENC=OFFSET+RESOL*asin(2*POS-(MAX+MIN)/(MAX-MIN))' /\n"
        "HIERARCH ESO DET CLDC1 DCNM16 = 'DC16_RelaySwitchLowActive' / Name of bias voltage that is much longer\n"
        "END\nnot a card"
    )
    cards = {card.key: card for card in cards_of_display(text)}
    assert cards["RA"].value == "191.08"
    assert cards["INS4 TILT1 FRML"].value == "ENC=OFFSET+RESOL*asin(2*POS-(MAX+MIN)/(MAX-MIN))"
    fitted = header_of_display(text)
    assert len(fitted) == 2880
    assert b"RELAYSWITCH" in fitted.upper()
    assert b"(MAX-MIN))'" in fitted


def test_end_inside_values_does_not_end_the_header(tmp_path):
    extra = ["COMMENT this is not the END     ", "HIERARCH ESO ADA ABSROT END = 0.00000", "ENDING  = 3"]
    scan = scan_header(write_raw(tmp_path / NAME, extra=extra))
    assert scan.values["ENDING"].value == "3"
    assert scan.structure.axes == (8, 4, 3)


def test_the_access_and_release_follow_the_category(tmp_path):
    frame = frame_of(write_raw(tmp_path / NAME))
    assert frame.release_date == frame.date_obs.replace(year=2018)
