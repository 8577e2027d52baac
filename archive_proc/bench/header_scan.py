"""How fast headers are ingested: `python -m archive_proc.bench.header_scan [--headers DIR] [--files N]`.

Writes N plain files with headers of the size of real ones (or with the displayed headers of a directory, varied as
consecutive real frames vary: about 100 of 980 cards), without pixels on disk, and times scan, manifest and a second
ingest in CPU seconds of one process.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gc
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from archive_proc.ingest import ingest, raw_frame, scan_header
from archive_proc.ingest.display import header_of_display
from archive_proc.storage.fits import format_card
from archive_proc.storage.headers import write_headers
from archive_proc.storage.layout import Layout
from archive_proc.storage.manifests import read_manifests, write_manifest

_CARD, _BLOCK = 80, 2880
_VARIED = 0.33
"""Share of the cards with decimals that get a new value in each file: gives the 110 new cards measured."""


def measure(headers: Sequence[bytes], files: int, folder: Path) -> dict[str, float]:
    """CPU figures by name: rates in files per CPU second, times in CPU seconds."""
    root, layout = folder / "raw", Layout(folder / "archive")
    root.mkdir()
    _write(headers, files, root)
    paths = sorted(root.iterdir())
    figures: dict[str, float] = {"cards a file": len(headers[0]) / _CARD}
    gc.collect()
    gc.disable()  # as ingest does
    begun = time.process_time()
    for path in paths:
        raw_frame(scan_header(path), uri=path.name)
    figures["scan and row, files/s"] = files / (time.process_time() - begun)
    gc.enable()
    begun = time.process_time()
    result = ingest([root], roots={"raw": root})
    figures["ingest with header table, files/s"] = files / (time.process_time() - begun)
    begun = time.process_time()
    manifest_id = write_manifest(layout, result.frames)
    write_headers(layout, result.cards, manifest_id)
    figures["write manifest and headers, s"] = time.process_time() - begun
    begun = time.process_time()
    known = {frame.uri: frame for frame in read_manifests(layout)}
    again = ingest([root], roots={"raw": root}, known=known)
    figures["second ingest, s"] = time.process_time() - begun
    if len(again.unchanged) != files:
        raise AssertionError(f"{files - len(again.unchanged)} of {files} files were read again")
    return figures


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
            # A hole in place of pixels: their size is checked, they are not read.
            target.truncate(len(content) + 2048 * 2048 * 4 * 10 + _BLOCK)


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--headers", type=Path, help="directory of displayed headers (SPHER.*.hdr)")
    parser.add_argument("--files", type=int, default=1000)
    given = parser.parse_args(arguments)
    displays = sorted(given.headers.glob("SPHER.*.hdr")) if given.headers else []
    headers = [header_of_display(display.read_text()) for display in displays] or [_synthetic()]
    with tempfile.TemporaryDirectory() as folder:
        for name, figure in measure(headers, given.files, Path(folder)).items():
            print(f"{name:36} {figure:10.2f}")


if __name__ == "__main__":
    main()
