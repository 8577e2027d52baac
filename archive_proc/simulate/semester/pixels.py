"""A small part of a semester with pixels: IRDIS imaging, a folder of raw files a night, truth beside."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from archive_proc.errors import PreconditionError
from archive_proc.simulate.night import simulate_night
from archive_proc.simulate.semester.blocks import Block, draw_blocks
from archive_proc.simulate.semester.exposures import night_spec
from archive_proc.simulate.semester.nights import observed_nights, placed
from archive_proc.simulate.semester.write import SemesterSpec, stream
from archive_proc.simulate.spec import Companion, NightSpec
from archive_proc.simulate.truth import Truth, truth_directory

DISTINCT_PLANES = 2
"""Science planes rendered for each dither of a sequence; the others repeat them under their own headers."""
COMPANION = Companion(850.0, 70.0, (4e-4, 4e-4))


@dataclass(frozen=True, slots=True)
class PixelSemester:
    """What was written."""

    truths: tuple[Truth, ...]
    """By night."""
    blocks: tuple[Block, ...]
    """The executions, in order of time."""


def simulate_pixels(directory: Path, spec: SemesterSpec, binning: int = 1) -> PixelSemester:
    """Write raw files of IRDIS imaging below `directory`, a folder a night; truth goes into `<directory>.truth`.

    Files have the number of planes that the semester gives them, of 2048 x 1024 pixels over `binning`. About 0.2 s CPU
    for each of the planes that are rendered: calibrations, CENTER, FLUX, SKY, and DISTINCT_PLANES of each dither.

    Raises PreconditionError AP-SIM-004 when `directory` already holds files, MisuseError AP-SIM-002 for another binning
    than 1 and 2, AP-SIM-009 for a period without SPHERE.
    """
    if directory.exists() and any(directory.iterdir()):
        raise PreconditionError(
            "AP-SIM-004", "the directory is not empty", subject=str(directory), remedy="give a new directory"
        )
    nights = observed_nights(spec.period, spec.scale, stream(spec, 0))
    blocks = draw_blocks(spec.scale, stream(spec, 1), spec.period, pixels=True)
    truths: list[Truth] = []
    seen: list[Block] = []
    for number, (night, some) in enumerate(placed(blocks, nights, stream(spec, 2)).items()):
        whole = night_spec(night, some, number, stream(spec, 3, number))
        place, beside = directory / night.isoformat(), truth_directory(directory) / night.isoformat()
        truths.append(simulate_night(place, _rendered(whole, binning), spec.seed, beside=beside))
        seen += some
    return PixelSemester(tuple(truths), tuple(seen))


def _rendered(night: NightSpec, binning: int) -> NightSpec:
    sequences = tuple(replace(one, star=replace(one.star, companions=(COMPANION,))) for one in night.sequences)
    # A distortion map shows a grid of holes, which is not simulated and not reduced.
    kept = tuple(one for one in night.calibrations or () if one.kind != "LAMP,DISTORT")
    return replace(night, sequences=sequences, calibrations=kept, binning=binning, distinct_planes=DISTINCT_PLANES)
