"""A header read through one before it is what reading every card gives."""

import random

import pytest
from raw_files import cards_of, lines_of

from archive_proc.ingest import header as reading
from archive_proc.ingest.header import parse_header
from archive_proc.ingest.values import column_values, lamps_on

BASE = lines_of([*cards_of(), *((f"INS4 SENS{n} VAL", n * 0.37) for n in range(40)), ("COMMENT", "one")])


def content(lines):
    return "".join(line.ljust(80) for line in lines).encode("latin-1")


def read_both(lines):
    """The header as read through what came before, and read for itself."""
    through = parse_header(content(lines))
    kept = dict(reading._patterns)
    reading._patterns.clear()
    alone = parse_header(content(lines))
    reading._patterns.update(kept)
    return through, alone


def told(one):
    problems: list[str] = []
    columns = column_values(one, problems)
    return one.cards, one.values, one.problems, list(filter(None, one.lines)), columns, problems, lamps_on(one)


CHANGES = {
    "DPR TYPE": "HIERARCH ESO DPR TYPE = 'DARK' / kind",
    "DET SEQ1 DIT": "HIERARCH ESO DET SEQ1 DIT = 4.0 / s",
    "no number": "HIERARCH ESO DET SEQ1 DIT = 'many' / s",
    "a packed declination": "HIERARCH ESO INS4 DROT2 DEC = -22829.7",
    "scaling by nothing": "BZERO   =                    0",
    "another keyword": "HIERARCH ESO DET SEQ2 DIT = 4.0 / s",
    "a repeated keyword": "HIERARCH ESO DPR CATG = 'TEST'",
    "no end of a string": "HIERARCH ESO DPR TYPE = 'DARK",
    "no printable text": "HIERARCH ESO DPR TYPE = 'DA\x01\xffRK'",
    "a long string": "CONTINUE  'and more'",
    "a comment": "COMMENT another",
    "blank": "",
    "an end": "END",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("seed", range(4))
def test_a_changed_header_reads_the_same_whatever_came_before(change, seed):
    rng = random.Random(seed)
    parse_header(content(BASE))
    lines = list(BASE)
    key = CHANGES[change].partition(" = ")[0]
    at = next((n for n, line in enumerate(lines) if line.startswith(f"{key} =")), rng.randrange(9, len(lines)))
    lines[at] = CHANGES[change]
    for n in rng.sample(range(len(lines)), 8):
        if "SENS" in lines[n] and n != at:
            lines[n] = f"{lines[n].partition('=')[0]}= {rng.random() - 0.5:.4f}"
    through, alone = read_both(lines)
    assert told(through) == told(alone)
    assert through.digest(1) == alone.digest(1)


def test_what_a_header_says_does_not_leak_into_the_next():
    signed = [*BASE, "HIERARCH ESO INS4 DROT2 DEC = -22829.7", "HIERARCH ESO INS2 LAMP1 ST = T"]
    silent = [*BASE, "HIERARCH ESO INS4 DROT2 DEC = 'x'", "HIERARCH ESO INS2 LAMP1 ST = F"]
    for lines in (signed, silent, signed, silent):
        through, alone = read_both(lines)
        assert told(through) == told(alone)
    assert through.like is not None


def test_headers_of_many_lengths_keep_little():
    for n in range(3 * reading._KEPT):
        parse_header(content(BASE[:20] + [f"KEY{m:<5}= {m}" for m in range(n)]))
    assert len(reading._patterns) <= reading._KEPT


def test_a_pattern_saves_the_reading_of_equal_cards(monkeypatch):
    parse_header(content(BASE))
    calls = []
    real = reading.parse_same
    monkeypatch.setattr(reading, "parse_same", lambda text, keys: calls.append(len(keys)) or real(text, keys))
    lines = [line.replace("= 0.37", "= 0.38") for line in BASE]
    assert parse_header(content(lines)).like is not None
    assert calls == [1]
