"""The observing blocks of a semester, drawn from its distributions: what is observed, how, and what goes wrong."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from archive_proc.simulate.facts import filter_setup, plane_period_s
from archive_proc.simulate.ifs.facts import period_s as ifs_period_s
from archive_proc.simulate.semester import shape
from archive_proc.simulate.spec import Star, Weather

IMAGING = ("irdifs", "irdis")
"""Kinds that IRDIS's imaging recipes reduce."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One execution of an observing block."""

    kind: str
    """irdifs, irdis, dpi, long_slit, aperture_mask, zimpol."""
    filter: str
    dit_s: float
    ndit: int
    files: int
    """Of IRDIS's (or ZIMPOL's) science."""
    ifs_dit_s: float = 0.0
    ifs_ndit: int = 0
    ifs_files: int = 0
    """0: the IFS takes none."""
    waffle: bool = False
    sky: bool = False
    ifs_sky: bool = False
    rot_mode: str = "PUPIL"
    tip_tilt_open: bool = False
    mixed: bool = False
    """The last third of the science files has half the DIT: another observation of the same execution."""
    fault: str = ""
    """Of `shape.FAULTS`, or `early`: aborted before the first science frame."""
    program: str = ""
    ob_id: int = 0
    weather: Weather = field(default_factory=Weather)
    magnitude_h: float = 6.0
    hour_angle_deg: float = 0.0
    """Of the star when the sequence is half done."""
    dec_deg: float = -30.0
    star: Star | None = None
    """Where it is known before the night: a repeated block's."""
    repeats: int = -1
    """Index of the block that this one executes again, -1 for none."""
    start: dt.datetime | None = None
    """UTC; given with the night."""

    @property
    def order(self) -> str:
        """Letters of its files, as planned."""
        if self.kind == "zimpol":
            return "O" * self.files
        science = ("C" if self.waffle else "O") * self.files
        flux = "" if self.fault == "no_flux" else "F"
        center = "" if self.fault == "no_center" or self.waffle or self.kind in ("long_slit", "aperture_mask") else "C"
        sky = "SS" if self.sky else ""
        return f"{flux}{center}{science}{center}{flux}{sky}"

    @property
    def seconds(self) -> float:
        """How long it takes, roughly."""
        science = self.files * (self.ndit * plane_period_s(self.dit_s) + 12.0)
        return science + 300.0 + (2 * self.ndit * plane_period_s(self.dit_s) if self.sky else 0.0)


def draw_blocks(scale: float, rng: np.random.Generator, period: int, *, pixels: bool = False) -> list[Block]:
    """The blocks of a part of a semester, in no order. With `pixels`: IRDIS imaging alone."""
    blocks: list[Block] = []
    for kind, count in _counts(scale, pixels).items():
        blocks += _of_kind(kind, count, rng)
    if scale >= shape.LONGEST_FROM_SCALE:
        dit, ndit, files = shape.LONGEST
        at = next(at for at, one in enumerate(blocks) if one.kind == "irdis")
        blocks[at] = replace(blocks[at], dit_s=dit, ndit=ndit, files=files, waffle=False, mixed=False, filter="DB_H23")
    blocks = _with_faults(blocks, rng)
    blocks = [_named(one, rng, period) for one in blocks]
    blocks = _with_repeats(blocks, rng)
    early = round(shape.ABORTED_EARLY * len(blocks))
    some = [one for one in blocks if one.repeats < 0 and one.kind in IMAGING][:early]
    return [*blocks, *(_named(replace(one, fault="early", mixed=False), rng, period) for one in some)]


def _counts(scale: float, pixels: bool) -> dict[str, int]:
    if pixels:
        return {"irdis": max(1, math.ceil(scale * sum(shape.SEQUENCES[one] for one in IMAGING)))}
    return {kind: max(1 if kind == "irdis" else 0, round(scale * count)) for kind, count in shape.SEQUENCES.items()}


def _of_kind(kind: str, n: int, rng: np.random.Generator) -> list[Block]:
    filters = shape.shared(shape.FILTERS[kind], n, rng)
    pairs = shape.dit_ndit_at(shape.stratified(n, rng))
    lengths = shape.durations_s(shape.stratified(n, rng))
    ifs_dits = shape.shared({str(dit): share for dit, share in shape.IFS_DITS.items()}, n, rng)
    weather = _weather(n, rng)
    magnitudes = shape.magnitudes_h(shape.stratified(n, rng))
    waffle, sky, ifs_sky, field_mode, tip, mixed = (shape.stratified(n, rng) for _ in range(6))
    found = []
    for at in range(n):
        dit, ndit = pairs[at]
        seconds = float(lengths[at])
        if kind == "zimpol":
            found.append(_zimpol(filters[at], weather[at], rng))
            continue
        cycle = ndit * plane_period_s(dit) + 8.0
        files = max(1, min(round(seconds / cycle), (shape.MOST_FRAMES - 1) // ndit))
        on = kind in IMAGING and waffle[at] < shape.WAFFLE
        # A waffle sequence is told from aborted ones by its many CENTER files.
        files = max(files, 4) if on else files
        block = Block(
            kind=kind,
            filter=filters[at],
            dit_s=dit,
            ndit=ndit,
            files=files,
            waffle=on,
            sky=kind not in ("long_slit",) and sky[at] < shape.SKY[filter_setup(filters[at]).thermal],
            rot_mode=_rotation(kind, float(field_mode[at])),
            tip_tilt_open=bool(tip[at] < shape.TIP_TILT_OPEN),
            mixed=kind == "irdis" and not on and files >= 3 and dit >= 2.0 and bool(mixed[at] < shape.DIT_MIX),
            weather=weather[at],
            magnitude_h=float(magnitudes[at]),
            hour_angle_deg=float(rng.normal(0.0, 12.0)),
            dec_deg=float(np.clip(rng.normal(-32.0, 22.0), -78.0, 12.0)),
        )
        if kind == "irdifs":
            block = _with_ifs(block, float(ifs_dits[at]), seconds, bool(ifs_sky[at] < shape.IFS_SKY))
        found.append(block)
    return found


def _rotation(kind: str, drawn: float) -> str:
    return "FIELD" if kind == "dpi" or (kind == "irdis" and drawn < shape.FIELD_TRACKING) else "PUPIL"


def _with_ifs(block: Block, dit_s: float, seconds: float, sky: bool) -> Block:
    ndit = max(1, min(16, int(256.0 / dit_s)))
    files = max(4 if block.waffle else 1, round(shape.IFS_LONGER * seconds / (ndit * ifs_period_s(dit_s) + 15.0)))
    return replace(block, ifs_dit_s=dit_s, ifs_ndit=ndit, ifs_files=files, ifs_sky=sky)


def _zimpol(filter_name: str, weather: Weather, rng: np.random.Generator) -> Block:
    dit, ndit, files = shape.ZIMPOL
    return Block(
        kind="zimpol",
        filter=filter_name,
        dit_s=dit,
        ndit=ndit,
        files=files + int(rng.integers(-30, 31)),
        rot_mode="FIELD",
        weather=weather,
        hour_angle_deg=float(rng.normal(0.0, 12.0)),
        dec_deg=float(np.clip(rng.normal(-32.0, 22.0), -78.0, 12.0)),
    )


def _weather(n: int, rng: np.random.Generator) -> list[Weather]:
    seeing = shape.seeings_arcsec(shape.stratified(n, rng))
    tau0 = shape.tau0s_s(shape.stratified(n, rng))
    return [
        Weather(
            seeing_arcsec=round(float(one), 2),
            tau0_s=round(float(other), 6),
            wind_position_angle_deg=float(rng.integers(0, 360)),
        )
        for one, other in zip(seeing, tau0, strict=True)
    ]


def _with_faults(blocks: Sequence[Block], rng: np.random.Generator) -> list[Block]:
    """Faults dealt out among imaging executions; what a waffle or a single file cannot have is left out."""
    imaging = [at for at, one in enumerate(blocks) if one.kind in IMAGING]
    dealt = iter([imaging[at] for at in rng.permutation(len(imaging))])
    found = list(blocks)
    for fault, share in shape.FAULTS.items():
        for at in (next(dealt) for _ in range(round(share * len(imaging)))):
            one = found[at]
            if (fault, one.waffle) == ("no_center", True) or one.files < 2 or one.files * one.ndit == shape.MOST_FRAMES:
                continue
            found[at] = replace(one, fault=fault)
    return found


def _named(block: Block, rng: np.random.Generator, period: int) -> Block:
    visitor = rng.random() < shape.VISITOR
    ob_id = int(rng.integers(200282040, 200433907) if visitor else rng.integers(1158220, 2485392))
    number = int(rng.integers(1, 900))
    run = "ABCDEF"[int(rng.integers(0, 6))]
    letters = f"{period:03d}" if period < 100 else f"{period:04d}"
    program = f"198.C-{209 + number % 4:04d}({run})" if number % 3 == 0 else f"{letters}.C-{number:04d}({run})"
    return replace(block, ob_id=ob_id, program=program)


def _with_repeats(blocks: Sequence[Block], rng: np.random.Generator) -> list[Block]:
    """Some executions become the repeat of another one's block, with its star, setup and id."""
    found = list(blocks)
    imaging = [at for at, one in enumerate(found) if one.kind in IMAGING and not one.mixed]
    order = [imaging[at] for at in rng.permutation(len(imaging))]
    by_kind: dict[str, list[int]] = {kind: [at for at in order if found[at].kind == kind] for kind in IMAGING}
    for some in by_kind.values():
        for _ in range(round(shape.REPEATED * len(some))):
            first, again = some.pop(), some.pop()
            one = found[first]
            if one.files * one.ndit == shape.MOST_FRAMES or found[again].files * found[again].ndit == shape.MOST_FRAMES:
                continue
            found[again] = replace(one, fault="", repeats=first, weather=found[again].weather)
            if one.files >= 2 and rng.random() < 0.6:
                found[first] = replace(one, fault="aborted")
    return found
