"""What a sequence was taken under: field rotation, seeing, coherence time, adaptive optics."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from archive_proc.model.frames import RawFrame

_CLOSED = frozenset({"CLOSED_LOOP", "CLOSED", "T", "TRUE"})


def rotation_deg(frames: Sequence[RawFrame]) -> float | None:
    """Degrees the field turned from the first start to the last end; 0 in field tracking, None without angles.

    Steps are unwrapped, so that passing 180 degrees counts as it should.
    """
    if frames[0].rot_mode == "FIELD":
        return 0.0
    angles = [angle for one in frames for angle in (one.parang_start_deg, one.parang_end_deg) if angle is not None]
    if len(angles) < 2:
        return None
    turned = sum((b - a + 180.0) % 360.0 - 180.0 for a, b in pairwise(angles))
    return abs(turned)


def seeing_arcsec(frames: Sequence[RawFrame]) -> float | None:
    """Median of the site monitor's seeing at start and end of the files."""
    return _median([value for one in frames for value in (one.fwhm_start, one.fwhm_end)])


def tau0_s(frames: Sequence[RawFrame]) -> float | None:
    """Median coherence time, s."""
    return _median([one.tau0_s for one in frames])


def ao_open_fraction(frames: Sequence[RawFrame]) -> float | None:
    """Fraction of files with the high-order or tip-tilt loop not closed; None where no file says."""
    said = [one for one in frames if one.ao_ho is not None or one.ao_tt is not None]
    if not said:
        return None
    return sum(_is_open(one.ao_ho) or _is_open(one.ao_tt) for one in said) / len(said)


def _is_open(state: str | None) -> bool:
    return state is not None and state.upper() not in _CLOSED


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
