"""Bad IFS files, made from good plain ones, and bad nights, made from good specs: what goes wrong at the telescope.

Files: the first argument is a plain simulated file, the second the file to write. Nights: specs to simulate.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import MisuseError
from archive_proc.simulate.broken import joined, keyword, split_header
from archive_proc.simulate.ifs.facts import SATURATION_ADU, SIZE, mode_named
from archive_proc.simulate.ifs.spec import IfsNight
from archive_proc.simulate.raw_file import BLOCK, Card, CardValue

Planes = NDArray[np.float32]
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?=T\d)")


def night_without(night: IfsNight, *kinds: str) -> IfsNight:
    """The night without these kinds of calibrations (`spec.CALIBRATIONS`)."""
    return replace(night, calibrations=tuple(one for one in night.calibrations if one not in kinds))


def night_without_background(night: IfsNight, dit_s: float) -> IfsNight:
    """The night with neither dark nor background of one DIT."""
    return replace(night, dits_without_background_s=(*night.dits_without_background_s, dit_s))


def night_with_lamps(night: IfsNight, factor: float) -> IfsNight:
    """The night with lamps this much brighter: 0.02 is too faint to see spectra by, 40 saturates."""
    return replace(night, lamp_level=factor)


def night_without_lasers(night: IfsNight, *names: str, claimed: bool = True) -> IfsNight:
    """The night with these lasers off (all without names); `claimed`: the header says that they burn."""
    every = tuple(laser.name for laser in mode_named(night.mode).lasers)
    return replace(night, lasers_off=names or every, lasers_claimed=claimed)


def mislabelled(good: Path, to: Path, dpr_type: str) -> Path:
    """The file under another type: spectra positions as FLAT,LAMP, for instance."""
    return _rewritten(good, to, {"DPR TYPE": dpr_type, "OBJECT": dpr_type}, None)


def claims_prism(good: Path, to: Path, mode: str) -> Path:
    """The file with the header of the other prism: light of YH that says YJ."""
    claimed = mode_named(mode)
    cards = {"INS2 COMB IFS": claimed.comb, "INS2 OPTI2 NAME": claimed.prism, "INS2 OPTI2 ID": claimed.prism_id}
    return _rewritten(good, to, cards, None)


def light_of(good: Path, other: Path, to: Path) -> Path:
    """The pixels of another file under the header of this one: a prism that stood elsewhere than it says."""
    return _rewritten(good, to, {}, lambda planes: np.resize(_planes(other), planes.shape))


def taken_earlier(good: Path, to: Path, days: int) -> Path:
    """The file as if taken this many days before; its name follows. Returns where it was written, beside `to`."""
    cards, content = split_header(good)
    changed = [_earlier(card, days) for card in cards]
    moved = to.with_name(_dates_moved(to.name, days))
    moved.write_bytes(joined(changed) + content)
    return moved


def scaled(good: Path, to: Path, factor: float) -> Path:
    """All pixels times a factor, up to saturation: a lamp too faint or too bright, without a new simulation."""
    return _rewritten(good, to, {}, lambda planes: np.minimum(planes * np.float32(factor), np.float32(SATURATION_ADU)))


def lamp_left_on(science: Path, lamp: Path, to: Path) -> Path:
    """A science file with the light of a lamp's file added to every plane; its header says nothing."""
    added = _planes(lamp)[0]
    return _rewritten(science, to, {}, lambda planes: np.minimum(planes + added, np.float32(SATURATION_ADU)))


def planes_of_zeros(good: Path, to: Path, *planes: int) -> Path:
    """Some planes all zero (all without numbers): a read-out that failed."""

    def emptied(light: Planes) -> Planes:
        light[list(planes) if planes else slice(None)] = 0.0
        return light

    return _rewritten(good, to, {}, emptied)


def dead_quadrant(good: Path, to: Path, quadrant: int = 0) -> Path:
    """A quarter of the detector at zero: 0 lower left, 1 lower right, 2 upper left, 3 upper right."""

    def emptied(light: Planes) -> Planes:
        half = SIZE // 2
        y, x = half * (quadrant // 2), half * (quadrant % 2)
        light[:, y : y + half, x : x + half] = 0.0
        return light

    return _rewritten(good, to, {}, emptied)


def dead_pixels(good: Path, to: Path, share: float = 0.05, seed: int = 0) -> Path:
    """A share of the pixels at zero, the same for a seed: apply it to every file of a night."""
    dead = np.random.default_rng(seed).random((SIZE, SIZE)) < share

    def emptied(light: Planes) -> Planes:
        light[:, dead] = 0.0
        return light

    return _rewritten(good, to, {}, emptied)


def _planes(path: Path) -> Planes:
    """(n, SIZE, SIZE) pixels of a plain file."""
    _, content = split_header(path)
    size = SIZE * SIZE * 4
    if len(content) < size:
        raise MisuseError("AP-SIM-005", "no full plane", subject=str(path), remedy="start from a plain simulated file")
    count = len(content) // size
    return np.frombuffer(content[: count * size], ">f4").reshape(count, SIZE, SIZE).astype(np.float32)


def _rewritten(
    good: Path, to: Path, values: Mapping[str, CardValue], change: Callable[[Planes], Planes] | None
) -> Path:
    cards, content = split_header(good)
    present = {keyword(card) for card in cards}
    for key in values:
        if key not in present:
            raise MisuseError("AP-SIM-005", f"no keyword {key}", subject=str(good), remedy="name one it has")
    if change is not None:
        pixels = change(_planes(good)).astype(">f4").tobytes()
        content = pixels + bytes(-len(pixels) % BLOCK)
        # Frames are told apart by their headers: other pixels must not go under the one of the good file.
        values = {**values, "ORIGFILE": f"SPHERE_CHANGED_{hashlib.sha256(pixels).hexdigest()[:12]}.fits"}
    changed = [Card(keyword(card), values[keyword(card)]).text() if keyword(card) in values else card for card in cards]
    to.write_bytes(joined(changed) + content)
    return to


def _dates_moved(text: str, days: int) -> str:
    """Every calendar date before a time of day, moved."""
    return _DATE.sub(lambda found: str(dt.date.fromisoformat(found[0]) - dt.timedelta(days=days)), text)


def _earlier(card: str, days: int) -> str:
    if keyword(card) == "MJD-OBS":
        value = float(card.split("=", 1)[1].split("/")[0])
        return Card(keyword(card), round(value - days, 8)).text()
    return _dates_moved(card, days)
