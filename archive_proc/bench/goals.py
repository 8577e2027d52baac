"""What is aimed at: the figures of notes/irdis.md section 5, by band and kind of observation. Left half, right half."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Pair = tuple[float, float]

OFFSET_ADU: Mapping[str, Pair] = {"r<100": (0.4, 0.6), "100-285": (0.5, 0.9), "r>285": (0.2, 0.25)}
"""K background, rms over planes of the zone's mean error."""
LARGE_SCALE_ADU: Mapping[str, Pair] = {"r<100": (0.5, 0.8), "100-285": (0.7, 1.2), "r>285": (0.8, 1.3)}
"""K background, rms over planes and blocks of 16 x 16 pixels."""
STACK_ADU: Pair = (0.3, 0.5)
"""K background, the same of the mean of all planes, r<100."""
INJECTED = 0.22
"""Pixel noise that the subtracted background adds to a plane, in units of the plane's own (the note: with 24 skies)."""
FLUX_PERCENT = 0.4
"""Scatter of FLUX photometry over the truth."""


@dataclass(frozen=True, slots=True)
class Goals:
    """Aims of one kind of observation; None where the note has none."""

    center_mas: float | None
    """CENTER planes, total rms."""
    object_mas: float | None
    """OBJECT planes, total rms."""
    jitter_mas: float | None
    """OBJECT planes, rms an axis after the constant."""
    photometry_percent: float | None
    """None: never worse than doing nothing, which holds everywhere, is all that is asked."""


_BY_BAND: Mapping[str, Goals] = {"H": Goals(0.7, 0.5, 0.2, 2.2), "K": Goals(0.5, 0.5, 0.2, 4.0)}
_BY_CASE: Mapping[str, Goals] = {
    "H faint": Goals(0.7, 0.7, None, None),
    # Weak spots, and no OBJECT planes: the science planes are the CENTER planes.
    "H waffle": Goals(1.2, None, None, 1.5),
    "H open loop": Goals(0.7, 2.0, None, None),
}
NONE = Goals(None, None, None, None)


def goals_of(case: str, band: str) -> Goals:
    """The aims of a case of `cases`, else those of its band (the sample sets); Y and J have none."""
    return _BY_CASE.get(case.split(",")[0], _BY_BAND.get(band, NONE))
