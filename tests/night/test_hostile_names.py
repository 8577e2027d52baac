"""Words of hostile headers, the whole way from ingest to show: never a path, SQL or a terminal's orders."""

from __future__ import annotations

from pathlib import Path

import nights
import pytest

from archive_proc.archive import Archive
from archive_proc.storage.fits import format_card

EVIL = {
    "traversal": "../../../../etc/passwd",
    "shell": "; rm -rf ~; $(reboot) `id` |",
    "sql": "'); DROP TABLE files;--",
    "quotes": "'' \"\" \\' --",
    "markup": "<script>alert(1)</script>&amp;",
    "device": "CON",
    "long": "x" * 47,
    "nul": "a\x00b",
    "newline": "a\nb\r",
    "escape": "\x1b[2J\x1b]0;x\x07",
    "direction": "a\u202eb\u200f",
    "glob": "*?[a-z]{}%s",
}
KEYS = ("OBJECT", "ORIGFILE", "OBS NAME", "OBS TARG NAME", "OBS PROG ID", "INS COMB IFLT", "INS COMB ICOR", "TPL ID")
PAGES = ("files", "issues")


def evil_file(path: Path, number: int, word: str) -> None:
    """A small science frame with the same word in every text a program might use as a name."""
    stated = [
        ("INSTRUME", "SPHERE"), ("DATE-OBS", f"2017-09-28T08:{number:02}:07.9750"), ("SEQ ARM", "IRDIS"),
        ("RA", 69.4), ("DEC", -2.47), ("DPR CATG", "SCIENCE"), ("DPR TYPE", "OBJECT"), ("DPR TECH", "IMAGE,DUAL"),
        ("DET SEQ1 DIT", 16.0), ("DET NDIT", 1), ("OBS ID", 100 + number), ("TPL NEXP", 1), ("TPL EXPNO", 1),
    ]  # fmt: skip
    structure = [("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", 8), ("NAXIS2", 4)]
    cards = [format_card(*card).encode() for card in [*structure, *stated]]
    quoted = word.replace("'", "''").encode("utf-8")
    for key in KEYS:
        head = f"{key:8}= '" if len(key) <= 8 and " " not in key else f"HIERARCH ESO {key} = '"
        cards.append((head.encode() + quoted[: 79 - len(head)] + b"'").ljust(80))
    header = b"".join([*cards, b"END".ljust(80)])
    path.write_bytes(header.ljust(-(-len(header) // 2880) * 2880) + bytes(2880))


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """An archive of such files, and what each verb printed."""
    base = tmp_path_factory.mktemp("evil")
    raw = base / "raw"
    raw.mkdir()
    for number, word in enumerate(EVIL.values()):
        evil_file(raw / f"frame{number}.fits", number, word)
    root = Archive.init(base / "A").root
    calls = [("ingest", str(raw)), ("check", "--all"), ("check", "--format", "csv"), ("plan",), ("rebuild",)]
    calls += [("query", f"SELECT * FROM {table}", "--format", form) for table in PAGES for form in ("table", "csv")]
    said = {}
    for words in calls:
        done = nights.call(root, *words)
        said[" ".join(words)] = done.stdout + done.stderr
        assert done.returncode in (0, 3, 4, 8), (words, done.stderr)
    archive = Archive.open(root)
    ids = archive.query("SELECT file_id FROM files ORDER BY 1")["file_id"].to_pylist()
    observed = archive.query("SELECT obs_id FROM observations ORDER BY 1")["obs_id"].to_pylist()
    for one in [*ids, *(f"obs:{one[:12]}" for one in observed)]:
        said[f"show {one}"] = archive.show(one)
    assert len(ids) == len(EVIL)
    return base, said


def test_no_order_to_a_terminal_comes_out_of_any_verb(answers: tuple[Path, dict[str, str]]) -> None:
    for words, text in answers[1].items():
        odd = {one for one in text if not one.isprintable()} - {"\n", "\t"}
        assert not odd, (words, odd)


def test_no_word_of_a_header_becomes_a_path(answers: tuple[Path, dict[str, str]]) -> None:
    base, _ = answers
    made = {path.relative_to(base).as_posix() for path in base.rglob("*")} - {"raw", "A"}
    for word in EVIL.values():
        assert not any(word.strip("./") in path for path in made), word
    assert {path.name for path in base.iterdir()} == {"raw", "A"}


def test_words_come_back_as_they_are_or_as_nothing(answers: tuple[Path, dict[str, str]]) -> None:
    base, _ = answers
    archive = Archive.open(base / "A")
    rows = archive.query("SELECT object_raw, origfile, ob_name FROM files ORDER BY date_obs").to_pylist()
    for row, word in zip(rows, EVIL.values(), strict=True):
        for value in row.values():
            assert value in (word, None)
    assert archive.query("SELECT count(*) AS n FROM files")["n"].to_pylist() == [len(EVIL)]
