"""A simulated semester: its counts, its true headers, what goes wrong in it; taken in, planned, and not run."""

import shutil
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archive_proc.archive import Archive
from archive_proc.catalog.selection import Selection
from archive_proc.errors import ArchiveProcError, InputError, MisuseError, PreconditionError
from archive_proc.ingest.facts import raw_frame
from archive_proc.ingest.scan import scan_header
from archive_proc.planning.text import plan_to_json
from archive_proc.simulate.raw_file import header_bytes
from archive_proc.simulate.semester import shape
from archive_proc.simulate.semester.blocks import draw_blocks
from archive_proc.simulate.semester.headers import cards_of
from archive_proc.simulate.semester.measured import MODEL_FILES, MODEL_PLANES, measured_lines
from archive_proc.simulate.semester.nights import period_named
from archive_proc.simulate.semester.write import SemesterSpec, raw_files, simulate_semester

SPEC = SemesterSpec(period=97, scale=0.02, seed=3)
SCALE = 0.02
QUARANTINE = """\
- match: {{file: "{}"}}
  kind: quarantine
  reason: test
  author: pd
  date: 2026-01-01
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    directory = tmp_path_factory.mktemp("semester") / "P97"
    return directory, simulate_semester(directory, SPEC)


@pytest.fixture(scope="module")
def archive(made, tmp_path_factory):
    archive = Archive.init(tmp_path_factory.mktemp("A") / "A")
    return archive, archive.ingest([made[0]])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_whole_semester_has_the_sequences_of_the_notes(seed):
    blocks = draw_blocks(1.0, np.random.default_rng(seed), 97)
    whole = [one for one in blocks if one.fault != "early"]
    assert Counter(one.kind for one in whole) == Counter(shape.SEQUENCES)
    irdis = np.array([one.files * one.ndit for one in whole if one.kind != "zimpol"])
    ifs = np.array([one.ifs_files * one.ifs_ndit for one in whole if one.ifs_files])
    assert irdis.max() == 3360
    assert sum(irdis == 3360) == 1
    assert 55 <= np.median(irdis) <= 80
    assert abs(irdis.sum() / MODEL_PLANES["IRDIS"] - 1) < 0.2
    assert abs(ifs.sum() / MODEL_PLANES["IFS"] - 1) < 0.2
    kinds = {one.fault for one in blocks}
    assert {"no_flux", "no_center", "aborted", "gap", "short_cube", "early"} <= kinds
    assert any(one.repeats >= 0 for one in blocks)
    assert any(one.mixed for one in blocks)
    assert {one.rot_mode for one in blocks if one.kind == "irdis"} == {"PUPIL", "FIELD"}


def test_the_counts_are_the_part_asked_for(made):
    frames = made[1]
    assert abs(len(frames) / (SCALE * sum(MODEL_FILES.values())) - 1) < 0.4
    assert {(one.arm.value, one.dpr_type) for one in frames} >= {kind for kind in MODEL_FILES if kind[1] != "SKY"}
    assert {one.period_date for one in frames} == {97}
    assert len({one.file_id for one in frames}) == len(frames)
    text = "\n".join(measured_lines(frames, SCALE))
    assert "science planes IRDIS" in text
    assert f"{len(frames)}" in text


def test_the_same_seed_gives_the_same_bytes_and_another_another(made, tmp_path):
    simulate_semester(tmp_path / "again", SPEC)
    for name in ("manifest.parquet", "headers.parquet"):
        assert (tmp_path / "again" / name).read_bytes() == (made[0] / name).read_bytes()
    first = next(iter(raw_files(SemesterSpec(period=97, scale=SCALE, seed=4))))
    assert first.exposure.file_id != made[1][0].file_id


def test_a_row_is_what_ingest_reads_in_a_file_of_these_cards(made, tmp_path):
    """Every arm and kind, through the file: only where it lies and that it has pixels differs."""
    rng, by_id, seen = np.random.default_rng(0), {one.file_id: one for one in made[1]}, set()
    for counter, one in enumerate(raw_files(SPEC), start=1):
        kind = (one.exposure.dpr_type, one.mode, one.block.kind if one.block else "")
        if kind in seen:
            continue
        seen.add(kind)
        path = tmp_path / f"{one.exposure.file_id}.fits"
        path.write_bytes(header_bytes(cards_of(one, rng, counter)))
        row, found = by_id[one.exposure.file_id], raw_frame(scan_header(path), uri="x")
        assert (row.declared_bytes, row.dpr_tech, row.dit_ms) == (found.declared_bytes, found.dpr_tech, found.dit_ms)
        assert (row.tpl_nexp, row.n_cards, row.n_planes) == (found.tpl_nexp, found.n_cards, found.n_planes)
        assert row.size_bytes >= row.declared_bytes + path.stat().st_size
        assert (row.pixels, found.problems) == ("absent", ())
    assert len(seen) > 20


def test_every_frame_has_a_type_and_every_whole_sequence_a_plan(archive):
    archive, intake = archive
    assert (
        len(intake.result.frames)
        == archive.query("SELECT count(*) n FROM files WHERE pixels = 'absent'")["n"][0].as_py()
    )
    assert not [one for one in archive.campaign.early_issues if one.code.startswith("AP-CLS")]
    plan = archive.plan(Selection())
    wanted = {one.obs_id for one in archive.campaign.observations if one.reduced}
    made = {one.process.subject.subject_id for one in plan.processes if "centered" in one.process.recipe}
    lacking = {one.subject.subject_id: one.code for one in plan.not_planned if one.subject.subject_id in wanted}
    assert made | lacking.keys() == wanted
    assert len(made) >= 0.8 * len(wanted)
    cards = archive.query(
        "SELECT count(DISTINCT obs_id) n FROM observations WHERE arm = 'IFS' AND paired_obs_id IS NOT NULL"
    )
    assert cards["n"][0].as_py() >= 5
    assert archive.explain(next(iter(made)))


def test_the_header_table_has_every_card_of_every_frame(archive, made):
    layout = archive[0].layout
    (part,) = layout.headers.glob("period=97.*.parquet")
    counted = Counter(pq.read_table(part, columns=["file_id"])["file_id"].to_pylist())
    assert counted == {one.file_id: one.n_cards for one in made[1]}
    assert part.read_bytes()[:4] == b"PAR1"
    assert pq.read_schema(part).names == pq.read_schema(made[0] / "headers.parquet").names


def test_taken_in_twice_changes_nothing(archive, made):
    archive, first = archive
    before = sorted(archive.layout.manifests.iterdir()), archive.layout.current.resolve()
    again = archive.ingest([made[0]])
    assert (again.manifest_id, again.result.frames) == (None, ())
    assert len(again.result.unchanged) == len(first.result.frames)
    assert len(again.result.duplicates) == len(first.result.duplicates)
    assert (sorted(archive.layout.manifests.iterdir()), archive.layout.current.resolve()) == before
    assert not again.gone


def test_a_plan_asked_again_is_read_and_made_anew_where_anything_changed(tmp_path):
    frames = simulate_semester(tmp_path / "P97", SemesterSpec(scale=0.003, seed=3))
    root = Archive.init(tmp_path / "A").root
    Archive.open(root).ingest([tmp_path / "P97"])
    selection = Selection(arm="irdis")

    def plan(**how):
        """The plan as a new process would make it, and whether the archive was read for it."""
        archive = Archive.open(root, **how)
        found = archive.plan(selection)
        return plan_to_json(found), archive._read is not None

    first, was_read = plan()
    assert was_read
    assert plan() == (first, False)
    assert plan(preset="ifs_line") != (first, False)
    assert plan() == (first, True)  # only the last one is kept
    hint = root / "catalog" / "planned.txt"
    hint.write_bytes(hint.read_bytes().replace(b"irdis_dark", b"irdis_dusk", 1))
    assert plan() == (first, True)
    dark = next(one.file_id for one in frames if one.dpr_type == "OBJECT" and one.arm == "IRDIS")
    (root / "overrides" / "bad.yaml").write_text(QUARANTINE.format(dark))
    other, was_read = plan()
    assert was_read
    assert other != first
    (root / "overrides" / "bad.yaml").unlink()
    assert plan() == (first, True)


def test_what_has_no_pixels_is_refused_before_any_job(archive):
    archive = archive[0]
    plan = archive.plan(Selection())
    files = {one.input_id for p in plan.processes for one in p.process.inputs if one.kind == "file"}
    for refused in (lambda: archive.run(Selection(arm="irdis")), lambda: archive.run_plan(plan)):
        with pytest.raises(PreconditionError, match="have no pixels, first SPHER") as caught:
            refused()
        assert (caught.value.code, caught.value.exit_status) == ("AP-RUN-060", 5)
    assert f"{len(files)} of {len(files)}" in str(caught.value)
    assert not list(archive.layout.runs.glob("*"))


def test_files_that_come_later_take_the_place_of_rows_without_pixels(made, tmp_path):
    """The same frames from another place: their content is the same, now there is something to read."""
    archive = Archive.init(tmp_path / "A")
    archive.ingest([made[0]])
    dark = next(one for one in raw_files(SPEC) if one.exposure.dpr_type == "DARK" and not one.mode)
    counter = next(n for n, one in enumerate(raw_files(SPEC), start=1) if one.exposure == dark.exposure)
    rng = np.random.default_rng(np.random.SeedSequence([SPEC.seed, SPEC.period, 4]))
    for number, one in enumerate(raw_files(SPEC), start=1):
        cards = cards_of(one, rng, number)
        if number == counter:
            break
    (tmp_path / "raw").mkdir()
    with (tmp_path / "raw" / f"{dark.exposure.file_id}.fits").open("wb") as stream:
        stream.write(header_bytes(cards))
        stream.truncate(stream.tell() + 2048 * 1024 * 4 * dark.planes)
    archive.ingest([tmp_path / "raw"])
    frame = archive.campaign.frames[dark.exposure.file_id]
    assert (frame.pixels, frame.uri) == ("present", f"raw/{dark.exposure.file_id}.fits")
    again = archive.ingest([made[0]])
    assert f"p97/{dark.exposure.file_id}.fits" in again.result.duplicates
    assert again.manifest_id is None
    assert archive.campaign.frames[dark.exposure.file_id] == frame


def damaged_manifest(directory):
    (directory / "manifest.parquet").write_bytes(b"PAR1 and no more")


def foreign_manifest(directory):
    pq.write_table(pa.table({"a": [1]}), directory / "manifest.parquet")


def escaping_manifest(directory):
    table = pq.read_table(directory / "manifest.parquet")
    uris = pa.array([f"../{one}" for one in table["uri"].to_pylist()])
    pq.write_table(table.set_column(table.column_names.index("uri"), "uri", uris), directory / "manifest.parquet")


def missing_headers(directory):
    (directory / "headers.parquet").unlink()


def fewer_headers(directory):
    table = pq.read_table(directory / "headers.parquet")
    first = table["file_id"][0].as_py()
    keep = [one != first for one in table["file_id"].to_pylist()]
    pq.write_table(table.filter(pa.array(keep)), directory / "headers.parquet")


@pytest.mark.parametrize(
    "damage", [damaged_manifest, foreign_manifest, escaping_manifest, missing_headers, fewer_headers]
)
def test_a_manifest_that_cannot_be_used_is_named_and_leaves_nothing(made, tmp_path, damage):
    shutil.copytree(made[0], tmp_path / "bad")
    damage(tmp_path / "bad")
    archive = Archive.init(tmp_path / "A")
    with pytest.raises(InputError, match="AP-ING-050"):
        archive.ingest([tmp_path / "bad"])
    assert not list(archive.layout.manifests.glob("*"))
    assert not list(archive.layout.headers.glob("*")) if archive.layout.headers.is_dir() else True


@pytest.mark.parametrize("text", ["P80", "P0", "x", "", "-97", "P٩٧"])
def test_a_period_without_sphere_is_named(text):
    with pytest.raises(MisuseError, match="AP-SIM-009"):
        period_named(text)


def test_nothing_is_written_among_other_files(made):
    with pytest.raises(ArchiveProcError, match="AP-SIM-004"):
        simulate_semester(made[0], SPEC)
