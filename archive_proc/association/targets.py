"""Targets: which star a frame points at, by position alone; names are rows."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from archive_proc.instruments.tables import Tables
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId, TargetId, digest32
from archive_proc.model.observations import ClassifiedFrame, Target

_ON_STAR = ("OBJECT", "CENTER", "FLUX")
_NO_NAME = frozenset({"", "object", "objectcenter", "objectflux", "sky", "none", "noname", "std"})


@dataclass(frozen=True, slots=True)
class TargetAssignment:
    """Targets and the frames that point at them."""

    targets: tuple[Target, ...]
    """Sorted by id."""
    of_file: Mapping[FileId, TargetId]
    """Frames on a star; SKY frames follow their OB (observe.py)."""


def normalised_name(name: str | None) -> str:
    """A name as it is compared: lower case, letters and digits only.

    >>> normalised_name("HIP_78416"), normalised_name("bet Pic")
    ('hip78416', 'betpic')
    """
    return _normalised(name or "")


@lru_cache(maxsize=16_384)
def _normalised(name: str) -> str:
    # Thousands of frames carry one name.
    return re.sub(r"[^0-9a-z]", "", name.lower())


def resolve_targets(classified: Iterable[ClassifiedFrame], tables: Tables) -> TargetAssignment:
    """Stars from pointings: positions closer than the table's radius, also through others between, are one star.

    Linking through neighbours follows proper motion over the years. The id comes from the earliest pointing, so that
    frames ingested later, or in another order, leave it as it is. Frames without a position have no target.
    """
    radius = tables.grouping.target_radius_arcsec / 3600.0
    on_star = [
        one.frame
        for one in classified
        if one.role in _ON_STAR and one.frame.ra_deg is not None and one.frame.dec_deg is not None
    ]
    places: defaultdict[tuple[float, float], list[RawFrame]] = defaultdict(list)
    for frame in on_star:
        places[round(frame.ra_deg or 0.0, 5), round(frame.dec_deg or 0.0, 5)].append(frame)
    targets: list[Target] = []
    of_file: dict[FileId, TargetId] = {}
    for cluster in _linked(sorted(places), radius):
        frames = sorted((one for place in cluster for one in places[place]), key=lambda f: (f.mjd_obs, f.file_id))
        target = _target(frames)
        targets.append(target)
        of_file.update((frame.file_id, target.target_id) for frame in frames)
    return TargetAssignment(tuple(sorted(targets, key=lambda one: one.target_id)), of_file)


def _target(frames: list[RawFrame]) -> Target:
    first = frames[0]
    assert first.ra_deg is not None
    assert first.dec_deg is not None
    spellings = Counter(one.object_raw for one in frames if normalised_name(one.object_raw) not in _NO_NAME)
    main = min(spellings, key=lambda name: (-spellings[name], name or "")) if spellings else None
    names = {normalised_name(name) for one in frames for name in (one.object_raw, one.obs_targ_name)} - _NO_NAME
    # 1 arcsec: header positions of one pointing agree far better, two stars are told apart by 15.
    target_id = TargetId(digest32("target", round(first.ra_deg * 3600), round(first.dec_deg * 3600)))
    return Target(
        target_id=target_id,
        main_id=main or f"J{first.ra_deg:.4f}{first.dec_deg:+.4f}",
        ra_deg=first.ra_deg,
        dec_deg=first.dec_deg,
        names=tuple(sorted(names)),
    )


def _linked(places: list[tuple[float, float]], radius: float) -> list[list[tuple[float, float]]]:
    """Connected components of positions closer than `radius` degrees; components and members sorted."""
    parent = list(range(len(places)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    by_declination = sorted(range(len(places)), key=lambda at: places[at][1])
    for order, at in enumerate(by_declination):
        for later in by_declination[order + 1 :]:
            if places[later][1] - places[at][1] > radius:
                break
            if separation_deg(*places[at], *places[later]) <= radius:
                a, b = sorted((root(at), root(later)))
                parent[b] = a
    found: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for at, place in enumerate(places):
        found[root(at)].append(place)
    return [found[key] for key in sorted(found)]


def separation_deg(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    """Great-circle distance of two positions, degrees (haversine)."""
    a1, d1, a2, d2 = map(math.radians, (ra1, dec1, ra2, dec2))
    h = math.sin((d2 - d1) / 2) ** 2 + math.cos(d1) * math.cos(d2) * math.sin((a2 - a1) / 2) ** 2
    return math.degrees(2 * math.asin(min(1.0, math.sqrt(h))))
