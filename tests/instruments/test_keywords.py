"""The keyword table: complete, and a wrong row fails with file, line and rule."""

import dataclasses

import pytest

from archive_proc.errors import MisuseError
from archive_proc.instruments.keywords import keyword_table, parse_keywords
from archive_proc.model.frames import RawFrame

HEAD = 'null_words = [""]\nnull_numbers = []\nlamp_prefixes = []\nlamp_numbers = 1\n'
ROW = '[[column]]\nname = "dit_s"\ntype = "number"\nkeys = ["DET SEQ1 DIT"]\n'

# Columns that ingest makes from the file, from structure or from other columns.
MADE = {
    "file_id", "content_id", "uri", "compression", "declared_bytes", "data_offset", "truncated", "size_bytes", "mtime",
    "sha256", "pixels", "arm", "date_obs", "mjd_obs", "mjd_end", "night", "period_date", "period_prog", "prog_type",
    "dit_ms", "naxis1", "naxis2", "naxis3", "bitpix", "bzero", "bscale", "lamp", "drot2_dec_negative", "release_date",
    "access", "n_cards", "header_sha256", "problems", "parser_version",
}  # fmt: skip


def test_every_manifest_column_has_one_source():
    rows = {row.name for row in keyword_table().column}
    assert rows | MADE == {field.name for field in dataclasses.fields(RawFrame)}
    assert rows & MADE == set()


@pytest.mark.parametrize(
    ("text", "line", "rule"),
    [
        (HEAD + ROW + ROW, 9, "two rows"),
        (HEAD + ROW.replace("dit_s", "dits"), 5, "no column of the manifest"),
        (HEAD + ROW.replace('["DET SEQ1 DIT"]', "[]"), 5, "names no keyword"),
        (HEAD + ROW.replace('"number"', '"decimal"'), 5, "decimal"),
        (HEAD + ROW + 'unit = "s"\ncolour = "red"\n', 5, "colour"),
        (HEAD + ROW.replace('"number"', '"text"') + "minimum = 1.0\n", 5, "belong to numbers"),
        (HEAD + ROW + 'sign = "nowhere"\n', 5, "nowhere"),
    ],
)
def test_a_wrong_row_fails_with_line_and_rule(text, line, rule):
    with pytest.raises(MisuseError, match=rule) as caught:
        parse_keywords(text, "keywords.toml")
    assert caught.value.code == "AP-TAB-090"
    assert caught.value.subject == f"keywords.toml:{line}"
