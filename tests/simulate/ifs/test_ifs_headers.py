"""Simulated IFS headers carry what real ones carry, traps included, and the archive knows every frame by them."""

import dataclasses

import numpy as np
import pytest

from archive_proc.archive import Archive
from archive_proc.catalog.selection import Selection
from archive_proc.errors import MisuseError
from archive_proc.ingest import raw_frame, scan_header
from archive_proc.ingest.display import header_of_display
from archive_proc.simulate.headers import cards_of as irdis_cards_of
from archive_proc.simulate.ifs.facts import MODES
from archive_proc.simulate.ifs.headers import cards_of
from archive_proc.simulate.ifs.irdifs import ifs_beside, irdifs_sequence
from archive_proc.simulate.ifs.schedule import schedule
from archive_proc.simulate.ifs.spec import IfsNight, scene_night
from archive_proc.simulate.raw_file import header_bytes
from archive_proc.simulate.spec import NightSpec
from archive_proc.simulate.timeline import timeline

SCENES = ("star", "uniform", "comb")


def headers_only(directory, mode, scenes=SCENES):
    """A night's files with the pixels never written: (exposure, path) in order of time."""
    directory.mkdir(parents=True)
    night = scene_night(mode, scenes)
    return [(exposure, write_header(directory, exposure, cards, 2048)) for exposure, cards in ifs_cards(night)]


def ifs_cards(night):
    """(exposure, cards) of every file of an IFS night."""
    mode = MODES[night.mode]
    for counter, exposure in enumerate(schedule(night, np.random.default_rng(3)), start=1):
        observation = night.observations[exposure.observation] if exposure.science else None
        yield exposure, cards_of(exposure, mode, observation, counter)


def write_header(directory, exposure, cards, rows):
    """A file as long as its header says, all holes."""
    path = directory / f"{exposure.file_id}.fits"
    header = header_bytes(cards)
    with path.open("wb") as stream:
        stream.write(header)
        stream.truncate(len(header) + -(-4 * 2048 * rows * exposure.ndit // 2880) * 2880)
    return path


@pytest.fixture(scope="module", params=["YJ", "YH"])
def night(request, tmp_path_factory):
    return request.param, headers_only(tmp_path_factory.mktemp("headers") / "raw", request.param)


@pytest.fixture(scope="module")
def frames(night):
    return [(exposure, raw_frame(scan_header(path), uri="raw/x")) for exposure, path in night[1]]


def of_kind(frames, kind):
    return [frame for exposure, frame in frames if exposure.kind == kind]


def test_every_frame_is_known_for_what_it_is(night, tmp_path):
    mode, files = night
    archive = Archive.init(tmp_path / "A")
    archive.ingest([files[0][1].parent])
    counts = {
        row["frame_type"]: row["n"]
        for row in archive.query("SELECT frame_type, count(*) AS n FROM files GROUP BY frame_type").to_pylist()
    }
    lamps = 5 if mode == "YH" else 4
    assert counts == {
        "IFS_DARK_RAW": 1,
        "IFS_CAL_BACKGROUND_RAW": 2,
        "IFS_DETECTOR_FLAT_FIELD_RAW": 2 * lamps,
        "IFS_FLAT_RAW": 1,
        "IFS_SPECPOS_RAW": 1,
        "IFS_WAVECALIB_RAW": 1,
        "IFS_FLUX_CALIB_RAW": 1,
        "IFS_STAR_CENTER_WAFFLE_RAW": 1,
        "IFS_SCIENCE_DR_RAW": 4,
    }
    observations = archive.query("SELECT mode, complete FROM observations").to_pylist()
    assert [one["mode"] for one in observations] == ["ifs"] * 3
    # The template counts both arms' files and one arm was delivered: whether it is complete is not known.
    assert {one["complete"] for one in observations} == {None}
    blocking = [issue for issue in archive.check(Selection()) if issue.severity.value == "blocking"]
    assert blocking == []


def test_a_calibration_is_found_for_every_role(night, tmp_path):
    mode, files = night
    archive = Archive.init(tmp_path / "A")
    archive.ingest([files[0][1].parent])
    roles = {row["role"] for row in archive.query("SELECT DISTINCT role FROM associations").to_pylist()}
    wanted = {"background", "dark", "wave", "specpos", "lenslet_flat", "center", "flux", "detector_flat_white"}
    wanted |= {f"detector_flat_nb{n}" for n in range(1, 5 if mode == "YH" else 4)}
    assert wanted <= roles


def test_facts_of_exposure_and_template_are_consistent(frames):
    for exposure, frame in frames:
        assert frame.file_id == exposure.file_id
        assert frame.problems == ()
        assert frame.seq_exptime_s == pytest.approx(exposure.exposure_time_s, abs=1e-5)
        assert frame.ndit == exposure.ndit
        assert frame.gain == 1.8
        assert (frame.ra_deg is None) == (not exposure.science)


def test_the_traps_of_real_headers_are_there(night, frames):
    mode, files = night
    wave = of_kind(frames, "wave")[0]
    lasers = sorted(laser.name for laser in MODES[mode].lasers)
    assert wave.lamp == "+".join(lasers)
    text = next(path for exposure, path in files if exposure.kind == "wave").read_bytes()[:40000].decode("ascii")
    assert "INS2 CAL = 'OFF" in text
    assert "INS4 LAMPTCL3 ST = T" in text
    assert "Laser 980nm." in text
    assert "INS2 COMB ILAM" not in text
    assert "DET CHIP1 RON = 0." in text
    assert of_kind(frames, "O")[0].inst_filter == MODES[mode].irdis_filter
    assert of_kind(frames, "F")[0].nd_filter == "ND_1.0"
    flats = of_kind(frames, "detector_flat")
    assert {frame.dit_s for frame in flats} == {2.0, 10.0}
    assert {frame.dpr_tech for frame in flats} == {"IMAGE"}
    assert {frame.tpl_nexp for frame in of_kind(frames, "O")} >= {8}


def test_both_arms_of_one_template_are_halves_of_one_execution(tmp_path):
    directory = tmp_path / "raw"
    directory.mkdir()
    sequence = irdifs_sequence()
    night = IfsNight(mode="YJ", observations=(ifs_beside(sequence, (), 32.0, 2),), start=sequence.start)
    for exposure, cards in ifs_cards(night):
        write_header(directory, exposure, cards, 2048)
    rng = np.random.default_rng(4)
    for counter, exposure in enumerate(timeline(NightSpec(sequences=(sequence,)), rng), start=1):
        of_sequence = sequence if exposure.sequence >= 0 else None
        write_header(directory, exposure, irdis_cards_of(exposure, of_sequence, rng, counter), 1024)
    archive = Archive.init(tmp_path / "A")
    archive.ingest([directory])
    rows = archive.query("SELECT arm, obs_id, paired_obs_id, complete FROM observations ORDER BY arm").to_pylist()
    assert [one["arm"] for one in rows] == ["IFS", "IRDIS"]
    assert [one["paired_obs_id"] for one in rows] == [rows[1]["obs_id"], rows[0]["obs_id"]]
    assert all(one["complete"] for one in rows)
    assert archive.check(Selection()) == ()


def test_a_sky_is_a_sky_beside_the_target(tmp_path):
    night = scene_night("YH", ("star",))
    night = dataclasses.replace(night, observations=(dataclasses.replace(night.observations[0], order="OS"),))
    found = []
    for exposure, cards in ifs_cards(night):
        if exposure.science:
            found.append(raw_frame(scan_header(write_header(tmp_path, exposure, cards, 2048)), uri="x"))
    assert [one.dpr_type for one in found] == ["OBJECT", "SKY"]
    assert found[1].dec_deg - found[0].dec_deg == pytest.approx(11 / 3600, abs=1e-5)
    assert found[1].ao_ho == "OPEN_LOOP"


def test_a_sequence_of_one_arm_has_no_ifs_half():
    with pytest.raises(MisuseError, match="AP-SIM-002"):
        ifs_beside(dataclasses.replace(irdifs_sequence(), two_arms=False), (), 32.0, 2)


def test_every_column_that_real_headers_fill_is_filled(night, frames, shared, tmp_path):
    mode, _ = night
    ignored = {"datasum", "release_date", "period_prog", "content_id", "header_md5", "truncated", "n_cards", "problems"}
    for number, (display, kind) in enumerate(
        {
            "SPHER.2020-03-08T16:53:05.173.hdr": "wave",
            "SPHER.2020-03-08T07:29:43.729.hdr": "O",
            "SPHER.2020-03-08T07:05:15.511.hdr": "C",
            "SPHER.2020-03-08T07:48:21.618.hdr": "F",
        }.items()
    ):
        path = tmp_path / f"{number}.fits"
        path.write_bytes(header_of_display((shared / "data" / "headers" / display).read_text()))
        real = dataclasses.asdict(raw_frame(scan_header(path), uri="x"))
        ours = dataclasses.asdict(of_kind(frames, kind)[0])
        missing = [name for name, value in real.items() if value is not None and ours[name] is None]
        assert set(missing) - ignored == set(), f"{mode} {kind}"
