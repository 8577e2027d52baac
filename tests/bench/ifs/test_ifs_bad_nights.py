"""Bad nights are what their names say; labels that slip and cubes that are wrong do not pass for right."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from small_ifs_set import BANDWIDTH_NM, WAVELENGTH_NM, lamp_of, right_spectra, small_known

from archive_proc.archive import Archive
from archive_proc.bench.ifs.judging import Events, Verdict, all_runs, as_expected, lineage, placed, wrong_share
from archive_proc.bench.ifs.raw_set import read_raw_set
from archive_proc.bench.ifs.troubles import TROUBLES, chosen_troubles, plain_night
from archive_proc.errors import MisuseError
from archive_proc.ingest.scan import scan_header
from archive_proc.simulate.ifs import broken
from archive_proc.simulate.ifs.facts import READ_S
from archive_proc.simulate.ifs.night import simulate_ifs_night


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    place = tmp_path_factory.mktemp("good") / "raw"
    night = replace(plain_night("YJ"), field_pitches=8.0, calibrations=("background", "specpos", "wave"))
    simulate_ifs_night(place, night, 3)
    return place


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A night with every calibration, of few lenslets."""
    place = tmp_path_factory.mktemp("whole") / "raw"
    simulate_ifs_night(place, replace(plain_night("YJ"), field_pitches=4.0, background_ndit=1), 3)
    return place


def named_before_a_run(raw, tmp_path):
    """Codes of what an archive with these files is told by `check`."""
    Archive.init(tmp_path / "archive")
    archive = Archive.open(tmp_path / "archive")
    archive.ingest([raw], jobs=1)
    return {one.code for one in archive.campaign.understanding.issues if one.severity != "note"}


HEADERS_TELL = [one for one in TROUBLES if one.says and all(code.startswith("AP-CAL-") for code in one.says)]


@pytest.mark.parametrize("trouble", HEADERS_TELL, ids=lambda one: one.name)
def test_what_headers_tell_is_named_before_anything_runs(whole, tmp_path, trouble):
    trouble.make(whole, tmp_path / "raw", "YJ", 3)
    assert set(trouble.says) <= named_before_a_run(tmp_path / "raw", tmp_path)


def test_a_whole_night_is_told_of_none_of_it(whole, tmp_path):
    assert len(HEADERS_TELL) >= 11
    told = named_before_a_run(whole, tmp_path)
    assert not told & {code for one in HEADERS_TELL for code in one.says}


def made(good, tmp_path, name):
    (trouble,) = (one for one in TROUBLES if one.name == name)
    trouble.make(good, tmp_path / "raw", "YJ", 3)
    return read_raw_set(tmp_path / "raw")


def test_a_missing_calibration_is_missing_and_the_rest_is_linked(good, tmp_path):
    before = read_raw_set(good)
    after = made(good, tmp_path, "no laser frame")
    assert not after.of_type("WAVE,LAMP")
    assert len(after.files) == len(before.files) - 1
    assert all((tmp_path / "raw" / one.path.name).samefile(before.file(one.file_id).path) for one in after.files)


def test_backgrounds_go_by_their_dit(good, tmp_path):
    after = made(good, tmp_path, "no dark of the science DIT")
    assert [one.dit_s for one in after.of_type("DARK,BACKGROUND")] == [pytest.approx(READ_S, abs=1e-3)]


def test_changed_files_say_and_hold_what_they_should(good, tmp_path):
    assert made(good, tmp_path / "a", "spectra positions typed as flat").of_type("SPECPOS,LAMP") == ()
    (wave,) = made(good, tmp_path / "b", "laser frame of the other prism").of_type("WAVE,LAMP")
    assert wave.comb == "OBS_H"
    dark = made(good, tmp_path / "c", "planes of zeros in science").of_type("OBJECT")[0].read()
    assert not dark[0].any()
    assert dark[1].any()
    (faint,) = made(good, tmp_path / "d", "faint lamp").of_type("SPECPOS,LAMP")
    full = read_raw_set(good).file(faint.file_id).read()
    assert faint.read().max() == pytest.approx(0.03 * full.max(), rel=0.01)


def test_lasers_too_old_are_the_same_frame_of_another_day(good, tmp_path):
    (old,) = made(good, tmp_path, "no laser frame within 90 days").of_type("WAVE,LAMP")
    (new,) = read_raw_set(good).of_type("WAVE,LAMP")
    assert old.file_id == "SPHER.2017-02-03" + new.file_id.removeprefix("SPHER.2017-05-14")
    assert np.array_equal(old.read(), new.read())


def test_other_pixels_are_another_frame_to_the_archive(good, tmp_path):
    (faint,) = made(good, tmp_path, "faint lasers").of_type("WAVE,LAMP")
    (full,) = read_raw_set(good).of_type("WAVE,LAMP")
    assert scan_header(faint.path).content_id != scan_header(full.path).content_id


def test_light_of_another_file_comes_under_the_header_of_this_one(good, tmp_path):
    files = read_raw_set(good)
    (wave,), (white,) = files.of_type("WAVE,LAMP"), files.of_type("SPECPOS,LAMP")
    broken.light_of(wave.path, white.path, tmp_path / wave.path.name)
    (mixed,) = read_raw_set(tmp_path).of_type("WAVE,LAMP")
    assert np.array_equal(mixed.read(), white.read())


def test_bad_nights_are_chosen_by_kind_or_name():
    assert chosen_troubles("none") == ()
    assert chosen_troubles("all") == TROUBLES
    assert [one.name for one in chosen_troubles("table")] == [
        "one laser missing",
        "faint lamp",
        "5 % of the detector dead",
    ]
    assert [one.name for one in chosen_troubles("lasers off, no dark")] == ["no dark", "lasers off"]
    with pytest.raises(MisuseError, match="lasers on"):
        chosen_troubles("lasers on")


def test_every_trouble_has_a_name_of_its_own_and_does_something():
    assert len({one.name for one in TROUBLES}) == len(TROUBLES) >= 40
    for one in TROUBLES:
        changes = one.by is not None and (one.changed is not None or one.of_star)
        through = one.changed is not None and (one.through_other or one.aside)
        assert one.night is not None or one.without is not None or changes or through


def arrays_of(known, step=(0, 0)):
    scene = known.scene("uniform")
    x, y = known.positions(np.array([1100.0]), scene.pose.mean(axis=0))
    own = known.complete
    right = right_spectra(known, "uniform", claimed=10.0)
    seconds = 32.0
    return {
        "hex_q": known.q[own] + step[0],
        "hex_r": known.r[own] + step[1],
        "detector_x": x[own, 0],
        "detector_y": y[own, 0],
        "file_id": np.array([scene.file_id] * scene.planes),
        "plane": np.arange(scene.planes),
        "usable": np.ones(scene.planes, bool),
        "exposure_time": np.full(scene.planes, seconds),
        "gain": np.full(39, 1.8),
        "flux": right.flux[:, own] / (1.8 * seconds),
        "variance": right.sigma[:, own] ** 2 / (1.8 * seconds) ** 2,
        "flags": np.zeros(right.flux[:, own].shape, np.uint16),
        "wavelength": 1e-3 * WAVELENGTH_NM,
        "bandwidth": 1e-3 * BANDWIDTH_NM,
    }


def test_labels_that_slip_by_a_lenslet_are_seen():
    known = small_known()
    scene = known.scene("uniform")
    assert placed(known, scene, arrays_of(known))
    assert not placed(known, scene, arrays_of(known, step=(1, 0)))


def test_a_cube_that_is_wrong_in_usable_planes_is_seen():
    known = small_known()
    scene, lamp = known.scene("uniform"), lamp_of(known)
    right = arrays_of(known)
    assert wrong_share(known, scene, lamp, right) == 0.0
    wrong = {**right, "flux": 1.3 * right["flux"]}
    assert wrong_share(known, scene, lamp, wrong) == 1.0
    assert wrong_share(known, scene, lamp, {**wrong, "usable": np.zeros(scene.planes, bool)}) == 0.0
    assert wrong_share(known, scene, lamp, {**wrong, "flags": np.ones_like(right["flags"])}) == 0.0
    assert wrong_share(known, scene, None, right) is None


def test_the_resolution_that_a_product_states_excuses_what_it_explains_and_no_error_of_a_quarter():
    known = small_known()
    scene, lamp = known.scene("uniform"), lamp_of(known)
    right = arrays_of(known)
    dimmed = right["flux"].copy()
    dimmed[:, :, 20] *= 0.85
    assert wrong_share(known, scene, lamp, {**right, "flux": dimmed}) == pytest.approx(1 / 32, abs=1e-3)
    matrix = np.zeros((1, 39, 3), np.float32)
    matrix[..., 1] = 1.0
    matrix[0, 20, 1] = 0.85
    explained = {**right, "flux": dimmed, "resolution": matrix}
    assert wrong_share(known, scene, lamp, explained) == 0.0
    assert wrong_share(known, scene, lamp, explained, as_it_is=True) == pytest.approx(1 / 32, abs=1e-3)
    halved = right["flux"].copy()
    halved[:, :, 20] *= 0.5
    matrix[0, 20, 1] = 0.5
    assert wrong_share(known, scene, lamp, {**right, "flux": halved, "resolution": matrix}) > 0.03


def test_regions_that_see_nothing_make_the_others_no_blurrier():
    known = small_known()
    scene, lamp = known.scene("uniform"), lamp_of(known)
    matrix = np.zeros((25, 39, 3), np.float32)
    matrix[..., 1] = 1.0
    matrix[:7] = 0.0
    matrix[7] = np.nan
    matrix[:, [0, -1], [0, -1]] = np.nan
    assert wrong_share(known, scene, lamp, {**arrays_of(known), "resolution": matrix}) == 0.0
    matrix[8:, :, 1] = 0.85
    assert wrong_share(known, scene, lamp, {**arrays_of(known), "resolution": matrix}) == 1.0, "it is looked at"


def test_a_night_must_say_what_is_wrong_with_it_and_not_anything():
    usual = frozenset({"AP-QCL-001 planes warns"})
    names = usual | {"AP-IFS-004", "AP-IFS-063 flat_residual warns"}
    refused = Verdict(True, "refused", names)
    assert as_expected(refused, ("AP-IFS-004",), usual) == refused
    assert as_expected(refused, ("AP-IFS-004", "AP-IFS-063"), usual) == refused
    for says in (("AP-IFS-004", "AP-IFS-036"), ("AP-QCL-001",), ("AP-IFS-06",)):
        judged = as_expected(refused, says, usual)
        assert not judged.acceptable
        assert f"NOT SAID: {says[-1]}" in judged.words


def test_a_night_without_anything_to_be_said_must_come_out_right():
    right = Verdict(True, "right", frozenset({"AP-IFS-004"}), right=True)
    assert as_expected(right, (), frozenset()) == right
    assert not as_expected(replace(right, right=False), (), frozenset()).acceptable


def test_an_archive_in_which_nothing_ever_ran_has_no_events(tmp_path):
    assert all_runs(tmp_path) == Events((), frozenset())


def test_what_a_cube_is_made_from_is_asked_all_the_way_up_and_nothing_beside_it():
    def record(name, *above):
        inputs = [SimpleNamespace(kind="product", input_id=f"{one}.dark") for one in above]
        process = SimpleNamespace(inputs=[*inputs, SimpleNamespace(kind="file", input_id="SPHER.1")])
        return SimpleNamespace(process_id=name, process=process)

    ids = {name: name * 32 for name in "abcdef"}
    dark, flat, wave = (
        record(ids["a"]),
        record(ids["b"], ids["a"]),
        record(ids["c"], ids["b"], ids["a"]),
    )
    cube, other = record(ids["d"], ids["c"], ids["f"]), record(ids["e"], ids["a"])
    found = lineage([dark, flat, wave, cube, other], cube)
    assert {one.process_id for one in found} == {ids[name] for name in "abcd"}
