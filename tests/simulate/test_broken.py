"""Bad files are bad in exactly the way they are named."""

import numpy as np
import pytest

from archive_proc.errors import MisuseError
from archive_proc.simulate import broken
from archive_proc.simulate.raw_file import Card, header_bytes, write_raw

CARDS = [
    Card("SIMPLE", True),
    Card("BITPIX", -32),
    Card("NAXIS", 3),
    Card("NAXIS1", 7),
    Card("NAXIS2", 5),
    Card("NAXIS3", 3),
    Card("RA", 12.5, "[deg]"),
    Card("DET SEQ1 DIT", 16.0, "[s] Integration time"),
    Card("DET NDIT", 3),
]


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "SPHER.2018-09-25T08:00:00.000.fits"
    write_raw(path, CARDS, [np.full((5, 7), k, np.float32) for k in range(3)])
    return path


def test_a_written_file_is_whole_blocks_with_big_endian_planes(good):
    content = good.read_bytes()
    assert len(content) == 2 * 2880
    assert np.array_equal(np.frombuffer(content[2880:], ">f4", 105), np.repeat([0.0, 1.0, 2.0], 35))


def test_a_cut_file_keeps_its_header(good, tmp_path):
    cut = broken.truncated(good, tmp_path / "cut.fits", 0.55).read_bytes()
    assert cut == good.read_bytes()[: len(cut)]
    assert 2880 < len(cut) < 5760


def test_an_aborted_cube_has_fewer_planes_than_planned(good, tmp_path):
    cards, pixels = broken.split_header(broken.aborted_cube(good, tmp_path / "a.fits", 2))
    values = {broken.keyword(card): card.split("=")[1].split("/")[0].strip() for card in cards}
    assert (values["NAXIS3"], values["DET NDIT"]) == ("2", "3")
    assert len(pixels) == 2880


def test_missing_keywords_are_missing_and_nothing_else(good, tmp_path):
    cards, pixels = broken.split_header(broken.without_keywords(good, tmp_path / "m.fits", "DET SEQ1 DIT", "RA"))
    assert {card.key for card in CARDS} - {broken.keyword(card) for card in cards} == {"DET SEQ1 DIT", "RA"}
    assert pixels == good.read_bytes()[2880:]


def test_a_header_without_end_has_none(good, tmp_path):
    assert b"END  " not in broken.without_end(good, tmp_path / "e.fits").read_bytes()[:2880]


def test_the_same_name_with_another_value_is_other_content(good, tmp_path):
    (tmp_path / "other").mkdir()
    copy = broken.with_keyword(good, tmp_path / "other" / good.name, "RA", 13.5)
    cards, _ = broken.split_header(copy)
    assert next(card for card in cards if card.startswith("RA")).split("=")[1].strip().startswith("13.5")


def test_empty_and_html_files_are_no_fits(tmp_path):
    assert broken.zero_bytes(tmp_path / "z.fits").read_bytes() == b""
    assert broken.html_page(tmp_path / "h.fits").read_bytes().startswith(b"<!DOCTYPE html>")


def test_breaking_what_is_not_there_is_refused(good, tmp_path):
    with pytest.raises(MisuseError, match="AP-SIM-005"):
        broken.without_keywords(good, tmp_path / "x.fits", "TEL ALT")
    with pytest.raises(MisuseError, match="AP-SIM-005"):
        broken.aborted_cube(good, tmp_path / "x.fits", 3)


@pytest.mark.parametrize(
    ("card", "text"),
    [
        (Card("OBJECT", "O'Hara"), "OBJECT  = 'O''Hara '"),
        (Card("DET SEQ1 DIT", 16.0, "[s]"), "HIERARCH ESO DET SEQ1 DIT = 16.0 / [s]"),
        (Card("NAXIS", 3), "NAXIS   =                    3"),
        (Card("INS4 SHUT ST", True), "HIERARCH ESO INS4 SHUT ST = T"),
        (Card("TEL TARG PMA", 1e-05), "HIERARCH ESO TEL TARG PMA = 1E-05"),
    ],
)
def test_cards_have_eso_form(card, text):
    assert card.text().rstrip() == text
    assert len(card.text()) == 80


def test_headers_are_whole_blocks():
    assert len(header_bytes(CARDS)) == 2880
