"""Bad raw files, made from good plain ones: what transfers, crashes and mistakes leave in a directory."""

from __future__ import annotations

from pathlib import Path

from archive_proc.errors import MisuseError
from archive_proc.simulate.raw_file import BLOCK, Card, CardValue

_HTML = b"<!DOCTYPE html>\n<html><head><title>503 Service Unavailable</title></head><body>Try later.</body></html>\n"


def split_header(path: Path) -> tuple[list[str], bytes]:
    """Cards before END (80 characters each) and all bytes after the header of a plain FITS file."""
    content = path.read_bytes()
    for at in range(0, len(content), 80):
        if content[at : at + 80].rstrip() == b"END":
            cards = [content[i : i + 80].decode("ascii") for i in range(0, at, 80)]
            return cards, content[-(-(at + 80) // BLOCK) * BLOCK :]
    raise MisuseError("AP-SIM-005", "no END card", subject=str(path), remedy="start from a plain simulated file")


def keyword(card: str) -> str:
    """The key of a card as manifests write it: HIERARCH ESO taken off."""
    head = card.split("=", 1)[0].strip()
    return head.removeprefix("HIERARCH ESO ").strip()


def joined(cards: list[str], *, end: bool = True) -> bytes:
    """Header bytes of cards, padded to whole blocks, with END or without."""
    text = "".join(cards) + ("END".ljust(80) if end else "")
    return text.ljust(-(-len(text) // BLOCK) * BLOCK).encode("ascii")


def truncated(good: Path, to: Path, fraction: float = 0.6) -> Path:
    """The first part of a file: header whole, pixels cut."""
    content = good.read_bytes()
    to.write_bytes(content[: int(len(content) * fraction)])
    return to


def zero_bytes(to: Path) -> Path:
    """An empty file."""
    to.write_bytes(b"")
    return to


def html_page(to: Path) -> Path:
    """A server's error page under a raw frame's name."""
    to.write_bytes(_HTML)
    return to


def without_end(good: Path, to: Path) -> Path:
    """A header that never ends, pixels behind it."""
    cards, pixels = split_header(good)
    to.write_bytes(joined(cards, end=False) + pixels)
    return to


def without_keywords(good: Path, to: Path, *keys: str) -> Path:
    """The file without these keywords (`DET SEQ1 DIT`, `RA`, `DPR TYPE`). Raises MisuseError for one it has not."""
    cards, pixels = split_header(good)
    present = {keyword(card) for card in cards}
    for key in keys:
        if key not in present:
            raise MisuseError("AP-SIM-005", f"no keyword {key}", subject=str(good), remedy="name one it has")
    to.write_bytes(joined([card for card in cards if keyword(card) not in keys]) + pixels)
    return to


def with_keyword(good: Path, to: Path, key: str, value: CardValue) -> Path:
    """The same file with another value of one keyword: same id, other content, when `key` is not the name."""
    cards, pixels = split_header(good)
    changed = [Card(key, value).text() if keyword(card) == key else card for card in cards]
    to.write_bytes(joined(changed) + pixels)
    return to


def aborted_cube(good: Path, to: Path, planes: int) -> Path:
    """Only the first planes, NAXIS3 as they are, DET NDIT as planned."""
    cards, pixels = split_header(good)
    size = {keyword(card): card.split("=", 1)[1].split("/")[0].strip() for card in cards}
    if not 0 < planes < int(size["NAXIS3"]):
        raise MisuseError(
            "AP-SIM-005", f"{planes} planes of {size['NAXIS3']}", subject=str(good), remedy="ask for fewer"
        )
    length = 4 * int(size["NAXIS1"]) * int(size["NAXIS2"]) * planes
    changed = [Card("NAXIS3", planes).text() if keyword(card) == "NAXIS3" else card for card in cards]
    to.write_bytes(joined(changed) + pixels[:length] + bytes(-length % BLOCK))
    return to
