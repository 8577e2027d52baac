"""What a subject's pictures were made from, beside them: they are drawn again only when that changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

import msgspec

from archive_proc.model.ids import sha256_hex
from archive_proc.quality.file_names import stamp_file
from archive_proc.quality.orders import PageOrder, QcRow
from archive_proc.quality.scales import Limits, Scale
from archive_proc.storage.atomic import write_bytes

FORMAT = 1


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """`stamp-<preset>.json` in the directory of a subject's pictures. Disposable like them."""

    format: int = FORMAT
    made_from: str
    """Digest of everything that the order says: product ids, QC rows, words of the title."""
    code: str
    """Digest of the code that draws."""
    limits: dict[str, tuple[float, float, float | None]]
    """What the pages span: joined over the night they give its scales without reading a pixel again."""
    scales: dict[str, tuple[float, float, float | None]]
    """The night's scales that the pages were drawn with."""
    pages: dict[str, int]
    """File name -> bytes."""
    cpu_s: float
    """CPU of reading and drawing."""
    peak_memory_mb: float
    """Largest resident size of the process that drew."""


def order_digest(order: PageOrder) -> str:
    """Digest of what a page shows, paths left out: an archive may be moved."""
    return sha256_hex(
        [
            order.subject_kind, order.subject_id, order.preset, order.night, order.arm, order.name, order.setup,
            [list(one) for one in order.facts],
            sorted(one.product_id for one in order.products.values()),
            sorted(order.missing.items()),
            [_figure(one) for one in order.qc],
            [[one.file_id, one.plane, one.verdict, one.beyond] for one in order.planes_beyond], order.planes_judged,
            None if order.raw is None else [order.raw.frame.content_id, order.raw.plane],
            order.raw_missing, list(order.bands), order.mask_diameter_mas, sorted(order.dithers.items()),
            order.package_version,
        ]
    )  # fmt: skip


def _figure(row: QcRow) -> list[str]:
    return [row.product_type, row.metric, _text(row.value), row.unit, row.verdict, _text(row.threshold), str(row.side)]


def _text(value: float | None) -> str:
    # NaN and infinities are no JSON.
    return "" if value is None else repr(float(value))


@cache
def drawing_code() -> str:
    """Digest of this package's sources: pages drawn by other code are outdated."""
    digest = hashlib.sha256()
    for one in sorted(resources.files("archive_proc.quality").iterdir(), key=lambda entry: entry.name):
        if one.name.endswith(".py"):
            digest.update(one.name.encode() + b"\0" + one.read_bytes())
    return digest.hexdigest()


def stamp_path(directory: Path, preset: str) -> Path:
    """The stamp of one preset's pictures."""
    return directory / stamp_file(preset)


def read_stamp(directory: Path, preset: str) -> Stamp | None:
    """The stamp, None where there is none or it cannot be read: then the pictures are drawn anew."""
    try:
        stamp = msgspec.json.decode(stamp_path(directory, preset).read_bytes(), type=Stamp)
    except (OSError, msgspec.MsgspecError):
        return None
    return stamp if stamp.format == FORMAT else None


def write_stamp(directory: Path, preset: str, stamp: Stamp) -> None:
    """Written last: a stamp stands for pictures that are all there."""
    write_bytes(stamp_path(directory, preset), msgspec.json.format(msgspec.json.encode(stamp), indent=1) + b"\n")


def as_rows(found: Mapping[str, Limits] | Mapping[str, Scale]) -> dict[str, tuple[float, float, float | None]]:
    """Limits or scales as a stamp keeps them."""
    return {key: _row(found[key]) for key in sorted(found)}


def _row(one: Limits | Scale) -> tuple[float, float, float | None]:
    # numpy's floats are no JSON.
    return float(one.low), float(one.high), None if one.knee is None else float(one.knee)


def limits_of(stamp: Stamp) -> dict[str, Limits]:
    """The limits that a stamp keeps."""
    return {key: Limits(*row) for key, row in stamp.limits.items()}


def pictures_stand(directory: Path, stamp: Stamp) -> bool:
    """Whether every picture of the stamp is there, at its size."""
    return all(
        path.is_file() and path.stat().st_size == size
        for name, size in stamp.pages.items()
        for path in (directory / name,)
    )
