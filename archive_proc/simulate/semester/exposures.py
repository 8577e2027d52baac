"""The raw files of a night of blocks: exposures of both arms in time, their numbers, and the files that never came."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from archive_proc.simulate.facts import filter_setup
from archive_proc.simulate.ifs.facts import READ_S, mode_named
from archive_proc.simulate.ifs.schedule import IfsExposure, schedule
from archive_proc.simulate.ifs.spec import IfsNight, IfsObservation, IfsTarget
from archive_proc.simulate.semester import shape
from archive_proc.simulate.semester.blocks import Block
from archive_proc.simulate.spec import CalibrationSpec, NightSpec, SequenceSpec
from archive_proc.simulate.timeline import GENERIC_OB, Exposure, timeline

MORNING = dt.timedelta(days=1, hours=11)
"""Start of the calibrations, after 0 h UT of the night's date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFile:
    """One raw file to be, of any arm."""

    exposure: Exposure | IfsExposure
    block: Block | None = None
    """None for calibrations."""
    sequence: SequenceSpec | None = None
    """Of IRDIS's and ZIMPOL's files of a block."""
    observation: IfsObservation | None = None
    mode: str = ""
    """Prism of an IFS file; empty for the others."""
    planes: int = 0
    """Planes in the file: fewer than NDIT in an aborted cube."""

    @property
    def start(self) -> dt.datetime:
        """UTC."""
        return self.exposure.start


def sequences_of(block: Block) -> list[SequenceSpec]:
    """IRDIS's (or ZIMPOL's) half of a block; two where its DITs are mixed."""
    assert block.star is not None
    assert block.start is not None
    dit, ndit, nd = shape.FLUX
    whole = SequenceSpec(
        star=block.star,
        start=block.start,
        filter=block.filter,
        order=block.order,
        dit_s=block.dit_s,
        ndit=block.ndit,
        center_ndit=min(block.ndit, 4),
        flux_dit_s=dit,
        flux_ndit=ndit,
        flux_nd=nd,
        sky_ndit=block.ndit,
        gap_s=0.0,
        continuous_waffle=block.waffle,
        rot_mode=block.rot_mode,
        weather=block.weather,
        ob_id=block.ob_id,
        program=block.program,
        two_arms=block.ifs_files > 0,
        tip_tilt_open=block.tip_tilt_open,
        lost=lost_of(block, block.order) if not block.ifs_files else (),
    )
    if not block.mixed:
        return [whole]
    tail = block.files // 3
    first = replace(whole, order="".join(_without_last(block.order, tail)))
    last = replace(
        whole,
        order="O" * tail,
        dit_s=block.dit_s / 2.0,
        start=block.start + dt.timedelta(seconds=block.seconds + 60.0),
        lost=(),
    )
    return [first, last]


def _without_last(order: str, science: int) -> Iterator[str]:
    seen = order.count("O")
    for letter in order:
        if letter == "O":
            seen -= 1
            if seen < science:
                continue
        yield letter


def lost_of(block: Block, letters: str) -> tuple[int, ...]:
    """Numbers, from 1, of the files that never came, for the block's fault."""
    numbers = range(1, len(letters) + 1)
    science = [n for n, letter in enumerate(letters, start=1) if letter == ("C" if block.waffle else "O")]
    if block.fault == "aborted":
        return tuple(n for n in numbers if n > science[len(science) // 2 - 1])
    if block.fault == "early":
        return tuple(n for n in numbers if n >= (science[2] if block.waffle else science[0]))
    if block.fault == "gap":
        return (science[len(science) // 2],)
    return ()


def calibrations_of(blocks: Sequence[Block], number: int, rng: np.random.Generator) -> tuple[CalibrationSpec, ...]:
    """IRDIS's calibrations of a morning: only for the setups that the night used."""
    imaging = [one for one in blocks if one.kind not in ("zimpol", "long_slit")]
    missing = rng.choice(["DARK", "DARK,BACKGROUND", "FLAT,LAMP"]) if rng.random() < shape.MISSING_CALIBRATIONS else ""
    found: dict[CalibrationSpec, None] = {}
    darks, backgrounds, filters = set[float](), set[tuple[str, float]](), set[str]()
    for one in imaging:
        dits = {one.dit_s, shape.FLUX[0], *([one.dit_s / 2.0] if one.mixed else [])}
        darks |= dits
        filters.add(one.filter)
        kept = dits if filter_setup(one.filter).thermal else {one.dit_s}
        backgrounds |= {(one.filter, dit) for dit in (*kept, *shape.FLAT_DITS_S)}
    for dit in sorted(darks):
        found[CalibrationSpec(kind="DARK", filter="BB_H", dit_s=dit, ndit=_planes(dit), files=shape.DARKS)] = None
    for name, dit in sorted(backgrounds):
        spec = CalibrationSpec(kind="DARK,BACKGROUND", filter=name, dit_s=dit, ndit=_planes(dit), files=shape.DARKS)
        found[spec] = None
    for name in sorted(filters):
        for dit, files in zip(shape.FLAT_DITS_S, shape.FLAT_FILES, strict=True):
            found[CalibrationSpec(kind="FLAT,LAMP", filter=name, dit_s=dit, ndit=1, files=files)] = None
    if number % shape.DISTORTION_EVERY == 0:
        found[CalibrationSpec(kind="LAMP,DISTORT", filter="BB_H", dit_s=2.0, ndit=5)] = None
    return tuple(one for one in found if one.kind != missing)


def _planes(dit_s: float) -> int:
    return 10 if dit_s < 4.0 else 4 if dit_s < 32.0 else 2


def night_spec(night: dt.date, blocks: Sequence[Block], number: int, rng: np.random.Generator) -> NightSpec:
    """IRDIS's night of these blocks, calibrations included."""
    return NightSpec(
        sequences=tuple(one for block in blocks for one in sequences_of(block)),
        calibrations=calibrations_of(blocks, number, rng),
        calibration_start=dt.datetime.combine(night, dt.time()) + MORNING,
    )


def files_of_night(night: dt.date, blocks: Sequence[Block], number: int, rng: np.random.Generator) -> list[RawFile]:
    """Every raw file of a night and its morning, in order of time."""
    spec = night_spec(night, blocks, number, rng)
    owner = [block for block in blocks for _ in sequences_of(block)]
    of_block: defaultdict[int, list[RawFile]] = defaultdict(list)
    found: list[RawFile] = []
    firsts: dict[int, Exposure] = {}
    for exposure in timeline(spec, rng):
        if exposure.sequence < 0:
            found.append(RawFile(exposure=exposure, planes=exposure.ndit))
            continue
        block = owner[exposure.sequence]
        first = firsts.setdefault(id(block), exposure)
        # A block of two DITs is one execution, in two templates.
        second = exposure.template_start != first.template_start
        exposure = replace(exposure, ob_start=first.ob_start, template_number=3 if second else 2)
        one = RawFile(exposure=exposure, block=block, sequence=spec.sequences[exposure.sequence], planes=exposure.ndit)
        of_block[id(block)].append(one)
    for one in _ifs_science(blocks, rng):
        of_block[id(one.block)].append(one)
    for block in blocks:
        found += _numbered(block, of_block[id(block)])
    # The IFS calibrates after IRDIS: lamps of the common path serve one arm at a time.
    last = max((one.start for one in found), default=dt.datetime.combine(night, dt.time()))
    found += _ifs_morning(blocks, max(last, dt.datetime.combine(night, dt.time()) + MORNING), rng)
    return sorted(found, key=lambda one: (one.start, one.exposure.dpr_type))


def _numbered(block: Block, files: list[RawFile]) -> list[RawFile]:
    """The files of a block that came. A template of two arms counts the exposures of both, in order of time."""
    ordered = sorted(files, key=lambda one: one.start)
    if block.ifs_files:
        numbered = [
            replace(one, exposure=replace(one.exposure, exposure_number=n, exposures=len(ordered)))
            for n, one in enumerate(ordered, start=1)
        ]
        gone = {
            arm: lost_of(block, "".join(_letter(one) for one in numbered if bool(one.mode) == arm))
            for arm in (False, True)
        }
        place = {False: 0, True: 0}
        ordered = []
        for one in numbered:
            arm = bool(one.mode)
            place[arm] += 1
            if place[arm] not in gone[arm]:
                ordered.append(one)
    if block.fault == "short_cube":
        at = max((at for at, one in enumerate(ordered) if one.planes > 1), default=None)
        if at is not None:
            ordered[at] = replace(ordered[at], planes=max(1, ordered[at].planes // 2))
    return ordered


def _letter(one: RawFile) -> str:
    return one.exposure.letter if isinstance(one.exposure, Exposure) else one.exposure.kind


def _ifs_science(blocks: Sequence[Block], rng: np.random.Generator) -> Iterator[RawFile]:
    by_mode: defaultdict[str, list[Block]] = defaultdict(list)
    for block in blocks:
        if block.ifs_files:
            by_mode[shape.IFS_MODES[block.filter]].append(block)
    for mode, some in sorted(by_mode.items()):
        seen = tuple(_ifs_half(block) for block in some)
        start = some[0].start
        assert start is not None
        for exposure in schedule(IfsNight(mode=mode, observations=seen, start=start, calibrations=()), rng):
            block = some[exposure.observation]
            observation = seen[exposure.observation]
            # One OB start for both arms.
            assert block.start is not None
            began = block.start - dt.timedelta(seconds=540)
            exposure = replace(exposure, ob_start=began, template_start=block.start - dt.timedelta(seconds=20))
            yield RawFile(exposure=exposure, block=block, observation=observation, mode=mode, planes=exposure.ndit)


def _ifs_half(block: Block) -> IfsObservation:
    assert block.star is not None
    star = block.star
    science = ("C" if block.waffle else "O") * block.ifs_files
    flux = "" if block.fault == "no_flux" else "F"
    center = "" if block.fault == "no_center" or block.waffle else "C"
    dit, ndit = shape.IFS_FLUX
    return IfsObservation(
        scene="star",
        target=IfsTarget(
            name=star.name,
            ra_deg=star.ra_deg,
            dec_deg=star.dec_deg,
            pm_ra_mas=star.pm_ra_mas,
            pm_dec_mas=star.pm_dec_mas,
        ),
        order=f"{flux}{center}{science}{center}{flux}{'SS' if block.ifs_sky else ''}",
        dit_s=block.ifs_dit_s,
        ndit=block.ifs_ndit,
        flux_dit_s=dit,
        flux_ndit=ndit,
        center_ndit=block.ifs_ndit if block.waffle else 1,
        sky_ndit=block.ifs_ndit,
        gap_s=0.0,
        ob_id=block.ob_id,
        ob_name=f"{star.name}_{block.filter}",
        program=block.program,
        start=block.start,
    )


def _ifs_morning(blocks: Sequence[Block], begin: dt.datetime, rng: np.random.Generator) -> Iterator[RawFile]:
    """Two flats a lamp and one frame of each lenslet calibration, per prism; three darks a DIT."""
    modes = sorted({shape.IFS_MODES[one.filter] for one in blocks if one.ifs_files})
    if not modes:
        return
    dits = sorted({READ_S, shape.IFS_FLUX[0], *(one.ifs_dit_s for one in blocks if one.ifs_files)})
    templates: list[tuple[str, str, list[tuple[str, float, int]]]] = []
    for name in modes:
        mode = mode_named(name)
        templates += [(name, "detector_flat", [(lamp.comb, 2.0, 1), (lamp.comb, 10.0, 1)]) for lamp in mode.lamps]
        templates += [(name, kind, [(mode.comb, READ_S, 10)]) for kind in ("ifu_flat", "specpos", "wave")]
    comb = mode_named(modes[0]).comb
    templates += [(modes[0], "dark", [(comb, dit, _planes(dit))] * shape.DARKS) for dit in dits]
    missing = rng.choice(["detector_flat", "dark", "wave"]) if rng.random() < shape.MISSING_CALIBRATIONS else ""
    clock = begin + dt.timedelta(minutes=3)
    for number, (name, kind, files) in enumerate(templates, start=1):
        clock += dt.timedelta(seconds=40)
        start = clock.replace(microsecond=0)
        for file, (setup, dit, ndit) in enumerate(files, start=1):
            clock += dt.timedelta(seconds=12.0 + float(rng.uniform(0.0, 3.0)))
            exposure = IfsExposure(
                start=clock.replace(microsecond=clock.microsecond // 100 * 100),
                kind=kind,
                comb=setup,
                dit_s=dit,
                ndit=ndit,
                nd_filter="ND_1.0",
                observation=-1,
                ob_id=GENERIC_OB,
                ob_name="Calibration",
                ob_start=begin.replace(microsecond=0),
                program="60.A-9255(A)",
                template_number=number,
                template_start=start,
                exposure_number=file,
                exposures=len(files),
                obstype_list="",
            )
            clock = exposure.start + dt.timedelta(seconds=exposure.exposure_time_s)
            if kind != missing:
                yield RawFile(exposure=exposure, mode=name, planes=ndit)
