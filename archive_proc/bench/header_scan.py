"""How fast headers are ingested, beside astropy reading the same files in the same run.

Writes N plain files with headers of the size of real ones (or with the displayed headers of a directory, varied as
consecutive real frames vary: about 100 of 980 cards), without pixels on disk, and measures scan, manifest and a second
ingest in CPU time of one process. On a busy machine the ratio to astropy is the figure to trust.
"""

from __future__ import annotations

import datetime as dt
import math
import random
import re
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from archive_proc.bench.figures import Figure, Report
from archive_proc.ingest import ingest
from archive_proc.ingest.display import header_of_display
from archive_proc.storage.fits import format_card
from archive_proc.storage.headers import write_headers
from archive_proc.storage.layout import Layout
from archive_proc.storage.manifests import read_manifests, write_manifest

T = TypeVar("T")
_CARD, _BLOCK = 80, 2880
_VARIED = 0.33
"""Share of the cards with decimals that get a new value in each file: gives the 110 new cards measured."""
_AIM_MS = 1000 / 600
"""600 files a second and core, everything included."""
_AIM_AGAIN_S = 2.0
"""CPU seconds of a second ingest of 1 000 files."""
_REFERENCE_FILES = 40
"""Files that astropy reads: enough for a mean."""


def bench_headers(displays: Path | None, files: int, folder: Path) -> Report:
    """Scan and second ingest of `files` files written below `folder`; headers varied from displays, else made up."""
    shown = sorted(displays.glob("SPHER.*.hdr")) if displays else []
    headers = [header_of_display(one.read_text()) for one in shown] or [_synthetic()]
    root, layout = folder / "raw", Layout(folder / "archive")
    root.mkdir()
    _write(headers, files, root)
    case = f"{files} files, {len(headers[0]) // _CARD} cards"
    _in_page_cache(root)
    result, scanned = _timed(lambda: ingest([root], roots={"raw": root}))
    _, written = _timed(lambda: write_headers(layout, result.cards, write_manifest(layout, result.frames)))
    sample = sorted(root.iterdir())[:: max(1, files // _REFERENCE_FILES)]
    # Once before: importing astropy is not reading.
    _astropy_cards(sample[0])
    _, all_cards = _timed(lambda: [_astropy_cards(path) for path in sample])
    _, few_cards = _timed(lambda: [_astropy_lookup(path) for path in sample])
    known = {frame.uri: frame for frame in read_manifests(layout)}
    again, second = _timed(lambda: ingest([root], roots={"raw": root}, known=known))
    if len(again.unchanged) != files:
        raise AssertionError(f"{files - len(again.unchanged)} of {files} files were read again")
    ours, theirs, looked_up = (1000 * spent / number for spent, number in (
        (scanned, files), (all_cards, len(sample)), (few_cards, len(sample)),
    ))  # fmt: skip
    return Report(
        "headers",
        (
            Figure(
                case=case, name="header scan, everything included", value=ours, unit="ms CPU a file", aim=_AIM_MS,
                reference="astropy, all cards", reference_value=theirs, n=files,
            ),
            Figure(
                case=case, name="header scan, everything included", value=1000 / ours, unit="files/s/core",
                reference="astropy, all cards", reference_value=1000 / theirs, n=files,
            ),
            Figure(
                case=case, name="times as fast as astropy", value=theirs / ours, unit="1",
                reference="astropy, three keywords, against all cards", reference_value=theirs / looked_up,
                n=len(sample),
            ),
            Figure(case=case, name="manifest and header table written", value=written, unit="s CPU", n=files),
            Figure(
                case=case, name="second ingest of 1000 files", value=1000 * second / files, unit="s CPU",
                aim=_AIM_AGAIN_S, reference="the first", reference_value=1000 * scanned / files, n=files,
            ),
        ),
    )  # fmt: skip


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    """What some work gives, and its CPU seconds in this process."""
    begun = time.process_time()
    result = work()
    return result, time.process_time() - begun


def _in_page_cache(root: Path) -> None:
    for path in root.iterdir():
        with path.open("rb") as file:
            file.read(40 * _BLOCK)


def _astropy_cards(path: Path) -> int:
    """Every card of the header, parsed: what our scan gives."""
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sum(len((card.keyword, card.value, card.comment)) for card in fits.getheader(path).cards)


def _astropy_lookup(path: Path) -> int:
    """Three keywords looked up: the least one can ask of astropy."""
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = fits.getheader(path)
        return sum(key in header and bool(header[key]) for key in ("OBJECT", "DATE-OBS", "ESO DPR TYPE"))


def _write(headers: Sequence[bytes], files: int, root: Path) -> None:
    rng = random.Random(1)  # noqa: S311  # varies values, guards nothing
    for number in range(files):
        start = dt.datetime(2018, 1, 1) + dt.timedelta(seconds=137 * number)
        header = headers[number % len(headers)]
        cards = [_varied(header[at : at + _CARD], start, rng) for at in range(0, len(header), _CARD)]
        content = b"".join(cards)
        path = root / f"SPHER.{start.isoformat()}.000.fits"
        with path.open("wb") as target:
            target.write(content)
            # A hole in place of pixels: their size is checked, they are not read. Nothing beyond: astropy would look
            # for another header in it, to the file's end.
            target.truncate(len(content) + _data_bytes(content))


def _data_bytes(header: bytes) -> int:
    """Bytes of the pixels that a primary header declares, in whole blocks."""
    stated = {key: int(value) for key, value in re.findall(rb"(BITPIX|NAXIS\d?) *= *(-?\d+)", header)}
    sides = [stated[b"NAXIS%d" % (axis + 1)] for axis in range(stated[b"NAXIS"])]
    size = math.prod(sides) * abs(stated[b"BITPIX"]) // 8 if sides else 0
    return -(-size // _BLOCK) * _BLOCK


def _varied(card: bytes, start: dt.datetime, rng: random.Random) -> bytes:
    if card.startswith(b"ARCFILE"):
        return format_card("ARCFILE", f"SPHER.{start.isoformat()}.000.fits").encode()
    if card.startswith((b"DATE-OBS", b"MJD-OBS")):
        return format_card("DATE-OBS", f"{start.isoformat()}.0000").encode() if card[:4] == b"DATE" else b" " * _CARD
    key, _, rest = card.partition(b"=")
    value, _, comment = rest.partition(b"/")
    if not key.startswith(b"HIERARCH") or b"." not in value or b"'" in value or rng.random() > _VARIED:
        return card
    try:
        shifted = float(value) + 0.01 * rng.random()
    except ValueError:
        return card
    return (key + b"= %.5f /" % shifted + comment)[:_CARD].ljust(_CARD)


def _synthetic() -> bytes:
    """963 cards: the ones that matter, and sensors that do not."""
    stated: list[tuple[str, str | bool | int | float]] = [
        ("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 3), ("NAXIS1", 2048), ("NAXIS2", 1024), ("NAXIS3", 16),
        ("INSTRUME", "SPHERE"), ("OBJECT", "51 Eri"), ("RA", 69.40055), ("DEC", -2.47355), ("MJD-OBS", 58024.5),
        ("DATE-OBS", "2018-01-01"), ("ARCFILE", "SPHER"), ("DPR CATG", "SCIENCE"), ("DPR TYPE", "OBJECT"),
        ("DPR TECH", "IMAGE,DUAL,CORONOGRAPHY"), ("SEQ ARM", "IRDIS"), ("DET SEQ1 DIT", 16.0), ("DET NDIT", 16),
        ("INS COMB IFLT", "DB_H23"), ("OBS ID", 1547110), ("OBS PROG ID", "099.C-9999(A)"),
    ]  # fmt: skip
    for number in range(313):
        stated += [
            (f"INS4 SENS{number} VAL", number * 0.37),
            (f"INS4 SENS{number} ID", f"SENSOR_{number}"),
            (f"DET CLDC1 CLKHI{number}", number),
        ]
    header = "".join([*(format_card(*card, "a comment") for card in stated), "END".ljust(_CARD)]).encode()
    return header + b" " * (-len(header) % _BLOCK)
