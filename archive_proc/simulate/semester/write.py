"""A semester without pixels: `manifest.parquet` of kind found, and `headers.parquet` with every card.

Every header is made as bytes of a FITS file and read as `ingest` reads one: the rows are those that the files would
give, at the files' true sizes, and say `pixels = absent`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from archive_proc.errors import PreconditionError
from archive_proc.ingest.facts import raw_frame
from archive_proc.ingest.header import parse_header
from archive_proc.ingest.scan import HeaderScan
from archive_proc.ingest.structure import read_structure
from archive_proc.model.frames import ABSENT, RawFrame
from archive_proc.simulate.raw_file import Card, header_bytes
from archive_proc.simulate.semester import shape
from archive_proc.simulate.semester.blocks import draw_blocks
from archive_proc.simulate.semester.exposures import RawFile, files_of_night
from archive_proc.simulate.semester.headers import cards_of
from archive_proc.simulate.semester.nights import observed_nights, placed
from archive_proc.storage.found import FoundWriter

_BLOCK = 2880
_BATCH = 4096
"""Headers held at a time: 25 MB of cards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SemesterSpec:
    """Which semester is made."""

    period: int = 97
    """ESO period."""
    scale: float = 1.0
    """Part of a busy semester's nights and sequences."""
    seed: int = 1


def raw_files(spec: SemesterSpec) -> Iterator[RawFile]:
    """Every raw file of the semester, in order of time. Raises MisuseError AP-SIM-009 for a period without SPHERE."""
    nights = observed_nights(spec.period, spec.scale, stream(spec, 0))
    blocks = draw_blocks(spec.scale, stream(spec, 1), spec.period)
    seen: set[str] = set()
    for number, (night, some) in enumerate(placed(blocks, nights, stream(spec, 2)).items()):
        for one in files_of_night(night, some, number, stream(spec, 3, number)):
            # Two arms may start within one millisecond; the archive would not give one name twice.
            if one.exposure.file_id not in seen:
                seen.add(one.exposure.file_id)
                yield one


def stream(spec: SemesterSpec, *number: int) -> np.random.Generator:
    """One of the streams of random numbers of a semester."""
    return np.random.default_rng(np.random.SeedSequence([spec.seed, spec.period, *number]))


def simulate_semester(directory: Path, spec: SemesterSpec) -> list[RawFrame]:
    """Write `manifest.parquet` and `headers.parquet` into `directory`; the frames, in order of time.

    The same spec gives the same bytes. About 1.5 ms CPU a file. Raises PreconditionError AP-SIM-004 when `directory`
    already holds files, MisuseError AP-SIM-009 for a period without SPHERE.
    """
    if directory.exists() and any(directory.iterdir()):
        raise PreconditionError(
            "AP-SIM-004", "the directory is not empty", subject=str(directory), remedy="give a new directory"
        )
    directory.mkdir(parents=True, exist_ok=True)
    rng, again = stream(spec, 4), stream(spec, 5)
    frames: list[RawFrame] = []
    with FoundWriter(directory) as sink:
        for counter, one in enumerate(raw_files(spec), start=1):
            scan = _scan(one, cards_of(one, rng, counter))
            frame = raw_frame(scan, uri=f"{one.exposure.file_id}.fits")
            assert isinstance(frame, RawFrame)
            frame = replace(frame, pixels=ABSENT)
            frames.append(frame)
            sink.add(frame, scan.cards)
            if again.random() < shape.REDELIVERED:
                sink.add_copy(replace(frame, uri=f"again/{frame.file_id}.fits.Z", compression="Z"))
    return frames


def _scan(file: RawFile, cards: list[Card]) -> HeaderScan:
    """What the scanner would find in the file."""
    content = header_bytes(cards)
    # As the scanner hands it over: without END and padding.
    header = content[: 80 * len(cards)]
    path = Path(f"{file.exposure.file_id}.fits")
    parsed = parse_header(header)
    structure = read_structure(parsed.values, len(content), path)
    return HeaderScan(
        path=path,
        compression="none",
        size_bytes=structure.file_bytes,
        mtime=0.0,
        header=header,
        parsed=parsed,
        structure=structure,
    )
