"""What people do with deliveries: other spellings and forms, copies, links, odd names, disks that are not mounted."""

import gzip
import shutil

import pytest
from raw_files import write_raw

from archive_proc.errors import MisuseError, TemporaryError
from archive_proc.ingest import ingest
from archive_proc.simulate.lzw import compress

TIME = "2017-09-28T08:13:07.975"
SPELLINGS = [f"SPHER.{TIME}", f"SPHER.{TIME.replace(':', '_')}", f"SPHER.{TIME.replace(':', '-')}IRD_SCIENCE_DBI_RAW"]


@pytest.fixture
def root(tmp_path):
    place = tmp_path / "raw"
    place.mkdir()
    return place


def taken(root, *paths, known=()):
    return ingest(paths or [root], roots={"raw": root}, known={one.uri: one for one in known})


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("form", [".fits", ".fits.Z", ".fits.gz"])
def test_one_frame_whatever_its_spelling_and_form(root, tmp_path, spelling, form):
    plain = write_raw(tmp_path / "plain").read_bytes()
    pack = {".fits": bytes, ".fits.Z": compress, ".fits.gz": gzip.compress}[form]
    (root / f"{spelling}{form}").write_bytes(pack(plain))
    write_raw(root / "reference.fits", OBJECT="51 Eri")
    result = taken(root)
    assert [frame.file_id for frame in result.frames] == [f"SPHER.{TIME}"]
    assert len(result.duplicates) == 1, "the reference is the same frame"
    assert not result.rejected


def test_a_redelivery_in_a_better_form_is_the_same_frame_in_its_new_place(root):
    first = root / f"{SPELLINGS[1]}.fits.Z"
    first.write_bytes(compress(write_raw(root / "plain.tmp").read_bytes()))
    (before,) = taken(root).frames
    assert before.compression == "Z"
    (root / "plain.tmp").rename(root / f"{SPELLINGS[0]}.fits")
    both = taken(root, known=[before])
    assert (both.frames, len(both.duplicates)) == ((), 1)
    first.unlink()
    (after,) = taken(root, known=[before]).frames
    assert (after.compression, after.content_id) == ("none", before.content_id)


def test_a_link_inside_a_raw_root_stands_for_its_file(root):
    (root / "store").mkdir()
    (root / "night").mkdir()
    write_raw(root / "store" / "a.fits")
    (root / "night" / "b.fits").symlink_to("../store/a.fits")
    (root / "latest").symlink_to("night")
    result = taken(root)
    assert [frame.uri for frame in result.frames] == ["raw/store/a.fits"]
    assert dict(result.reasons)["a link to a directory of a raw root"] == 1
    (alone,) = taken(root, root / "night").frames
    assert alone.uri == "raw/store/a.fits"


def test_links_that_lead_away_are_named_and_not_followed(root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    write_raw(outside / "a.fits")
    (root / "file.fits").symlink_to(outside / "a.fits")
    (root / "directory").symlink_to(outside)
    (root / "nothing.fits").symlink_to(outside / "gone.fits")
    (root / "itself.fits").symlink_to("itself.fits")
    (root / "device.fits").symlink_to("/dev/zero")
    result = taken(root)
    assert not result.frames
    assert {issue.subject_id.split("/")[1] for issue in result.rejected} == {
        "file.fits", "directory", "nothing.fits", "itself.fits", "device.fits"
    }  # fmt: skip
    assert {issue.code for issue in result.rejected} == {"AP-ING-001"}
    assert all(issue.remedy and str(tmp_path) not in issue.message for issue in result.rejected)


ODD = [
    "SPHER.a\nb.fits",
    "SPHER.\x1b[2J.fits",
    "SPHER.\u202etxt.fits",
    b"SPHER.\xff\xfe.fits".decode("utf-8", "surrogateescape"),
]


@pytest.mark.parametrize("name", ODD)
def test_names_that_cannot_be_kept_are_refused_by_an_escaped_name(root, name):
    good = write_raw(root / "good.fits")
    shutil.copy(good, root / name)
    (root / f"dir{name}").mkdir()
    shutil.copy(good, root / f"dir{name}" / "x.fits")
    (root / f"{name}.txt").write_text("x")
    result = taken(root)
    assert [frame.uri for frame in result.frames] == ["raw/good.fits"]
    assert [issue.code for issue in result.rejected] == ["AP-ING-009"] * 2
    assert all(issue.subject_id.isprintable() and "\\" in issue.subject_id for issue in result.rejected)
    assert dict(result.reasons) == {"a name that cannot be kept": 1}


def test_harmless_names_that_look_dangerous_are_kept_as_they_are(root):
    names = [
        "; rm -rf ~.fits",
        "CON.fits",
        "'); DROP TABLE files;--.fits",
        "<script>.fits",
        f"{'x' * 240}.fits",
        "é β.fits",
    ]
    for number, name in enumerate(names):
        write_raw(root / name, ARCFILE=f"SPHER.2017-09-28T08:13:0{number}.000.fits")
    result = taken(root)
    assert sorted(frame.uri for frame in result.frames) == sorted(f"raw/{name}" for name in names)


def test_a_given_path_that_cannot_be_kept_is_misuse(tmp_path):
    place = tmp_path / "ra\nw"
    place.mkdir()
    with pytest.raises(MisuseError, match="AP-ING-009"):
        taken(place)


@pytest.mark.parametrize("how", ["empty", "away"])
def test_a_root_that_is_not_mounted_is_no_empty_directory(root, how):
    write_raw(root / "a.fits")
    known = taken(root).frames
    root.rename(root.with_name("elsewhere"))
    if how == "empty":
        root.mkdir()
    for path in (root, root / "."):
        with pytest.raises(TemporaryError, match=r"AP-ING-022.*1 raw frames are known below") as caught:
            taken(root, path, known=known)
        assert caught.value.exit_status == 75
    if how == "empty":
        root.rmdir()
    root.with_name("elsewhere").rename(root)
    assert taken(root, known=known).unchanged == ("raw/a.fits",)


def test_a_root_that_goes_while_it_is_read_ends_the_ingest(root, monkeypatch):
    write_raw(root / "a.fits")
    module = __import__("archive_proc.ingest.ingest", fromlist=["scan_header"])
    scan = module.scan_header

    def unmounted(path):
        if root.exists():
            root.rename(root.with_name("elsewhere"))
        return scan(path)

    monkeypatch.setattr(module, "scan_header", unmounted)
    with pytest.raises(TemporaryError, match=r"AP-ING-022.*went away"):
        taken(root)


def test_one_missing_file_is_no_missing_root(root):
    write_raw(root / "a.fits")
    write_raw(root / "b.fits", ARCFILE="SPHER.2017-09-28T09:00:00.000.fits")
    known = taken(root).frames
    (root / "b.fits").unlink()
    assert taken(root, known=known).unchanged == ("raw/a.fits",)


def test_nothing_is_written_below_a_raw_root(root):
    write_raw(root / "a.fits")
    (root / "b.fits.Z").write_bytes(compress(write_raw(root / "c.fits").read_bytes()))
    before = {path: path.stat().st_mtime_ns for path in (root, *root.iterdir())}
    for path in root.iterdir():
        path.chmod(0o444)
    root.chmod(0o555)
    try:
        assert len(taken(root).frames) == 1
    finally:
        root.chmod(0o755)
    assert {path: path.stat().st_mtime_ns for path in before} == before
