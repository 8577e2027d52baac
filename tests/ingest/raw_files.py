"""Small raw files written in the test, byte by byte, so that each trap can be set exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from archive_proc.storage.fits import format_card

START = "2017-09-28T08:13:07.975"

IRDIS = {
    "ORIGIN": "ESO-PARANAL",
    "TELESCOP": "ESO-VLT-U3",
    "INSTRUME": "SPHERE",
    "OBJECT": "51 Eri",
    "RA": 69.40055,
    "DEC": -2.47355,
    "EXPTIME": 16.0,
    "MJD-OBS": 58024.34245341,
    "DATE-OBS": START,
    "DPR CATG": "SCIENCE",
    "DPR TYPE": "OBJECT",
    "DPR TECH": "IMAGE,DUAL,CORONOGRAPHY",
    "SEQ ARM": "IRDIS",
    "DET ID": "IRDIS",
    "DET SEQ1 DIT": 16.0,
    "DET SEQ1 REALDIT": 16.0,
    "DET NDIT": 3,
    "DET FRAM UTC": "2017-09-28T08:13:59.175",
    "INS COMB IFLT": "DB_H23",
    "INS COMB ICOR": "N_ALC_YJH_S",
    "INS4 COMB ROT": "PUPIL",
    "OBS ID": 1547110,
    "OBS PROG ID": "099.C-9999(A)",
    "OBS START": "2017-09-28T08:00:03",
    "TPL START": "2017-09-28T08:09:23",
    "TPL EXPNO": 3,
    "TPL NEXP": 8,
    "ARCFILE": f"SPHER.{START}.fits",
}
"""Cards of an IRDIS science frame; a test changes what its trap needs (None takes a card out)."""


def cards_of(**changes: object) -> list[tuple]:
    """The IRDIS cards with changes; `__` in a name stands for a blank, `_` at its end is dropped."""
    cards = dict(IRDIS)
    for name, value in changes.items():
        cards[name.replace("__", " ").replace("_OBS", "-OBS") if "__" in name or "_OBS" in name else name] = value
    return [(key, value) for key, value in cards.items() if value is not None]


def header(lines: list[str], *, end: bool = True) -> bytes:
    """Cards as text to a padded header."""
    text = "".join(line.ljust(80) for line in lines) + ("END".ljust(80) if end else "")
    raw = text.encode("latin-1")
    return raw + b" " * (-len(raw) % 2880)


def lines_of(cards: list[tuple], shape: tuple[int, ...] = (3, 4, 8), bitpix: int = -32) -> list[str]:
    axes = [(f"NAXIS{number}", length) for number, length in enumerate(reversed(shape), 1)]
    structure = [("SIMPLE", True), ("BITPIX", bitpix), ("NAXIS", len(shape)), *axes]
    return [format_card(*card) for card in [*structure, *cards]]


def write_lines(path: Path, lines: list[str], data: bytes = bytes(2880)) -> Path:
    path.write_bytes(header(lines) + data)
    return path


def write_raw(
    path: Path, shape: tuple[int, ...] = (3, 4, 8), extra: list[str] | None = None, **changes: object
) -> Path:
    """A whole float32 IRDIS frame with changed cards and further card texts."""
    lines = [*lines_of(cards_of(**changes), shape), *(extra or [])]
    data = np.arange(np.prod(shape), dtype=">f4").tobytes()
    path.write_bytes(header(lines) + data + bytes(-len(data) % 2880))
    return path
