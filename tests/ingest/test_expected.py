"""Campaign lists: by hand, from the query form, from TAP; what is hostile or not whole is refused by name."""

import base64
import struct
import tracemalloc
from pathlib import Path

import pytest
from astropy.table import MaskedColumn, Table

from archive_proc.errors import InputError
from archive_proc.ingest.expected import read_expected

MANIFESTS = Path(__file__).parents[2] / "manifests"
A, B = "SPHER.2017-09-28T08:09:43.200", "SPHER.2017-09-28T08:09:44.200"
HEAD = '<?xml version="1.0"?>\n<VOTABLE version="1.4"><RESOURCE type="results">'
TAIL = "</RESOURCE></VOTABLE>"
FIELDS = '<FIELD name="object" datatype="char" arraysize="*"/><FIELD name="dp_id" datatype="char" arraysize="*"/>'


def rows(*names):
    return "".join(f"<TR><TD>51 Eri</TD><TD>{name}</TD></TR>" for name in names)


def table(*names):
    return f"<TABLE>{FIELDS}<DATA><TABLEDATA>{rows(*names)}</TABLEDATA></DATA></TABLE>"


def written(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("example", sorted(one.name for one in MANIFESTS.glob("example_*")))
def test_every_example_in_manifests_names_the_same_six_files(example):
    first = read_expected(MANIFESTS / "demo_night.txt").file_ids
    assert read_expected(MANIFESTS / example).file_ids == first[:6]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", f"\ufeff{A}\r\n{B}.fits.Z  # the cut one\r\n"),
        ("a.lst", f"wget https://host/{A} -O {A.replace(':', '_')}.fits.Z\n/data/x/{B.replace(':', '-')}IRD_RAW.fits"),
        ("a.csv", f"{A},star\n{B},star\n"),
        ("a.csv", f"star,{A}\nstar,{B}\n"),
        ("a.csv", f"\n#query\nObject;dp id;Dataset ID\nx;1;{A}\ny;2;{B}\n\n# A total of 2 were found matching.\n"),
        ("a.csv", f'name,comment,whatever\n51 Eri,"two\nlines",{A}\n51 Eri,one,{B}\n'),
        ("a.tsv", f"DP.ID\tx\n{A}\t1\n{B}\t2\n"),
        ("a.vot", HEAD + table(A, B) + TAIL),
        ("a.xml", HEAD + table(A) + table(B) + TAIL),
        ("a.vot", (HEAD + table(A, B) + TAIL).replace("<", "<v:").replace("<v:/", "</v:").replace("<v:?", "<?")
         .replace("<v:VOTABLE", '<v:VOTABLE xmlns:v="http://www.ivoa.net/xml/VOTable/v1.3"')),
    ],
)  # fmt: skip
def test_lists_as_people_and_archives_write_them(tmp_path, name, text):
    assert read_expected(written(tmp_path, name, text)).file_ids == (A, B)


@pytest.mark.parametrize("form", ["tabledata", "binary", "binary2"])
def test_votables_of_every_serialisation_as_astropy_writes_them(tmp_path, form):
    rows = Table(
        {
            "ob_id": [1, 2],
            "dit": MaskedColumn([1.0, 2.0], mask=[False, True]),
            "good": [True, False],
            "pair": [[1.0, 2.0], [3.0, 4.0]],
            "dp_id": [A, B],
            "object": ["51 Eri", "é β"],
        }
    )
    path = tmp_path / "a.vot"
    rows.write(path, format="votable", tabledata_format=form)
    assert read_expected(path).file_ids == (A, B)


LOL = '<!DOCTYPE lolz [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9)
)
HOSTILE = {
    "entity bomb": (f'<?xml version="1.0"?>{LOL}]><VOTABLE>&j;</VOTABLE>', "AP-ING-045.*document type"),
    "quadratic bomb": (
        f'<?xml version="1.0"?><!DOCTYPE v [<!ENTITY a "{"x" * 50_000}">]><VOTABLE>{"&a;" * 9000}</VOTABLE>',
        "AP-ING-045",
    ),
    "file of the host": (
        '<?xml version="1.0"?><!DOCTYPE v [<!ENTITY a SYSTEM "file:///etc/passwd">]><VOTABLE>&a;</VOTABLE>',
        "AP-ING-045",
    ),
    "nesting": (HEAD + "<RESOURCE>" * 5000, "AP-ING-045.*inside each other"),
    "cell without end": (HEAD + table("x" * 10_000_000) + TAIL, "AP-ING-045.*characters"),
    "forged rows": (HEAD + table(A).replace("<TABLE>", '<TABLE nrows="999999999999">')[:-30], "AP-ING-042.*broken"),
    "forged cell": (
        HEAD + f"<TABLE>{FIELDS}<DATA><BINARY><STREAM encoding='base64'>"
        + base64.b64encode(struct.pack(">I", 2**31) + b"x").decode()
        + "</STREAM></BINARY></DATA></TABLE>" + TAIL,
        "AP-ING-042.*binary rows",
    ),
    "forged arraysize": (
        HEAD + "<TABLE><FIELD name='dp_id' datatype='double' arraysize='99999x99999x99999'/><DATA><BINARY><STREAM>"
        + base64.b64encode(b"x" * 64).decode() + "</STREAM></BINARY></DATA></TABLE>" + TAIL,
        "AP-ING-042.*binary rows",
    ),
    "no base64": (
        HEAD + f"<TABLE>{FIELDS}<DATA><BINARY2><STREAM>%%%</STREAM></BINARY2></DATA></TABLE>" + TAIL, "AP-ING-042"
    ),
    "rows elsewhere": (
        HEAD + f"<TABLE>{FIELDS}<DATA><BINARY><STREAM href='http://x/'/></BINARY></DATA></TABLE>" + TAIL,
        "AP-ING-042.*another file",
    ),
    "cut query": (HEAD + table(A) + '<INFO name="QUERY_STATUS" value="OVERFLOW"/>' + TAIL, "AP-ING-044.*row limit"),
    "failed query": (HEAD + '<INFO name="QUERY_STATUS" value="ERROR">no col x</INFO>' + TAIL, "AP-ING-044.*col x"),
    "no names": (HEAD + table("51 Eri") + TAIL, "AP-ING-042.*line"),
    "no table": (HEAD + TAIL, "AP-ING-042.*no table"),
    "no xml": ("<?xml version='1.0'?><VOTABLE", "AP-ING-042.*broken"),
    "html": ("<!DOCTYPE html><html><body>503</body></html>", "AP-ING-042.*HTML page"),
    "binary": (bytes(range(256)) * 40, "AP-ING-042.*UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_or_broken_lists_are_refused_by_name_and_cost_little(tmp_path, case):
    text, match = HOSTILE[case]
    path = written(tmp_path, "a.vot", text)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=match):
            read_expected(path)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    [
        f"DP.ID\n{A}\n{B}\n# A total of 344 were found matching the provided criteria.\n",
        f"# Query result too big: truncated to 2 rows\nDP.ID\n{A}\n{B}\n",
        f"# found 1,234 files\nDP.ID\n{A}\n{B}\n",
        f"# Matched: 1'234'567.\nDP.ID\n{A}\n{B}\n",
        f"# 344 records were found between 2017-09-28 and 2017-09-30\nDP.ID\n{A}\n{B}\n",
    ],
)
def test_a_query_that_was_cut_is_no_list(tmp_path, text):
    with pytest.raises(InputError, match=r"AP-ING-044.*2 rows"):
        read_expected(written(tmp_path, "a.csv", text))


@pytest.mark.parametrize(
    "note",
    [
        "files matched in 2017",
        "found 2017-09-28 to 2017-09-30",
        "matched 2017.09.28",
        "what was found between 2016 and 2019 (program 099.C-0255)",
        "A total of 2 were found matching the provided criteria; 2 found",
    ],
)
def test_years_and_dates_beside_such_words_are_no_number_of_rows(tmp_path, note):
    path = written(tmp_path, "a.csv", f"# {note}\nDP.ID\n{A}\n{B}\n")
    assert read_expected(path).file_ids == (A, B)


@pytest.mark.parametrize("text", ["DP.ID\n", "object\n51 Eri\n", f'DP.ID\n{A}\n"NACO.2017"\n', '"\n'])
def test_tables_without_names_are_refused(tmp_path, text):
    with pytest.raises(InputError, match=r"AP-ING-042.*line"):
        read_expected(written(tmp_path, "a.csv", text))


def test_a_list_that_is_not_there_or_too_large_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"AP-ING-042.*No such file"):
        read_expected(tmp_path / "absent.txt")
    path = tmp_path / "big.txt"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(InputError, match=r"AP-ING-042.*more than"):
        read_expected(path)
