"""The figures of issue 5's table: unit and aim of each, by mode; and what is published of the references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from archive_proc.bench.ifs.channels import FIXED_FWHM_NM, WIDTHS_NM

PUBLISHED_WITHIN = 0.30
"""A reference must come this near to what the notes say of its kind (DESIGN 10)."""


@dataclass(frozen=True, slots=True)
class Aim:
    """At or below `most`; with `least` also at or above it. None: only printed."""

    unit: str
    most: float | None = None
    least: float | None = None
    judged: str = ""
    """What exactly is compared, where more than one comparison stands in the table."""


_BOTH = {
    "channel bias, T dwarf, rms": Aim("%", 2.2),
    "channel bias, T dwarf, worst": Aim("%", 5.5),
    "channel bias, T dwarf, at the product's resolution, rms": Aim("%"),
    "channel bias, T dwarf, at the product's resolution, worst": Aim("%"),
    "band flux, bias": Aim("%", 0.15),
    "band flux, scatter of lenslets": Aim("%", 0.3),
    "noise over photon limit, one channel": Aim("1", 1.2),
    "noise over photon limit, 4-px sum": Aim("1", 1.28),
    "measured over claimed sigma, one channel": Aim("1", 1.08, 0.92),
    "measured over claimed sigma, 4-channel sum": Aim("1", 1.08, 0.92),
    "measured over claimed sigma, band": Aim("1", 1.08, 0.92),
    "measured over claimed sigma, aperture in the rectified cube": Aim("1", 1.08, 0.92),
    "isolated lenslet, recovered": Aim("1", 1.008, 0.992),
    "isolated lenslet, worst mean leak": Aim("%", 0.2),
    "isolated lenslet, worst leak of a channel": Aim("%", 0.5),
    "catastrophic unflagged, static and unstable": Aim("%", 0.1),
    "catastrophic unflagged, new hot": Aim("%", 0.8),
    "catastrophic unflagged, cosmic": Aim("%", 0.6),
    "flagged among clean elements": Aim("%", 0.5),
    "laser lines, offset": Aim("nm", 0.5),
    "laser lines, scatter": Aim("nm", 0.3),
    "laser lines, lenslets without line": Aim("%", 1.0),
    "shift across the dispersion, worst error": Aim("px", 0.01),
    "shift along the dispersion, worst error over 0.05 px or what is stated": Aim("1", 1.0),
    "channel bias over that with true shift, PSFlets, bad pixels": Aim("1", 1.3),
    "companion T 0.0003, bias": Aim("%", 0.6),
    "companion T 0.0003, rms over channels": Aim("%", 3.0),
    "companion T 0.0003, rms over channels, at the product's resolution": Aim("%"),
    "companion T 0.0003, rms that noise alone gives": Aim("%"),
    "companion T 0.0003, distance from its place on the sky": Aim("mas"),
    "companion L 0.003, bias": Aim("%", 0.6),
    "companion L 0.003, rms over channels": Aim("%", 3.0),
    "companion L 0.003, rms over channels, at the product's resolution": Aim("%"),
    "companion L 0.003, rms that noise alone gives": Aim("%"),
    "companion L 0.003, distance from its place on the sky": Aim("mas"),
    "companion T 0.002, bias": Aim("%", 0.6),
    "companion T 0.002, rms over channels": Aim("%", 3.0),
    "companion T 0.002, rms over channels, at the product's resolution": Aim("%"),
    "companion T 0.002, rms that noise alone gives": Aim("%"),
    "companion T 0.002, distance from its place on the sky": Aim("mas"),
    "centring of CENTER frames, over the cube": Aim("mas", 1.0),
    "centring of CENTER frames, from the stated place": Aim("mas"),
    "centring of CENTER frames, error over claimed": Aim("1"),
    "centring of OBJECT frames, over the cube": Aim("mas"),
    "centring of OBJECT frames, from the stated place": Aim("mas"),
    "centring of OBJECT frames, error over claimed": Aim("1"),
    "bad pixels found, hot and dead": Aim("%"),
    "bad pixels found, unstable": Aim("%"),
    "bad pixels, flagged among good ones": Aim("%"),
    "read noise of a plane, found over true": Aim("1"),
    "flat, error of a pixel": Aim("%"),
    "flat, error over claimed": Aim("1"),
    "spectra positions, lenslets mislabelled": Aim("1"),
    "spectra positions, typical distance from the first laser": Aim("px"),
    "CPU a plane, extraction": Aim("s", 1.5),
    "CPU of each further plane, extraction": Aim("s"),
    "CPU a plane, raw to centred cube": Aim("s", 3.0),
    "compiling kernels for these, once a machine and package, CPU": Aim("s"),
    "calibration set, CPU": Aim("s", 120.0),
    "peak memory of any worker": Aim("GB", 1.5),
}


def _fixed(mode: str) -> str:
    return f"truth spread by {FIXED_FWHM_NM[mode]:g} nm, product as it is"


def _resolutions(mode: str) -> dict[str, Aim]:
    """Rows beside the judged one, none with an aim: a curve over the truth's width, and two that ask nothing of it."""
    widths = [f"truth at {one:g} nm" for one in WIDTHS_NM[mode]]
    others = ("at the product's resolution", "both at fixed resolution")
    rows = [f"channel bias, uniform field, {one}" for one in (*widths, *others)]
    return {f"{row}, {which}": Aim("%") for row in rows for which in ("rms", "worst")}


AIMS: Mapping[str, Mapping[str, Aim]] = {
    "YJ": {
        "channel bias, uniform field, rms": Aim("%", 2.1),
        "channel bias, uniform field, worst": Aim("%", 5.5),
        "channel bias, uniform field, fixed resolution, rms": Aim("%", 1.7, judged=_fixed("YJ")),
        "channel bias, uniform field, fixed resolution, worst": Aim("%", 4.0, judged=_fixed("YJ")),
        **_resolutions("YJ"),
        "channel bias, star x transmission as weights, rms": Aim("%", 1.5),
        "channel bias, star x transmission as weights, worst": Aim("%", 4.5),
        **_BOTH,
    },
    "YH": {
        "channel bias, uniform field, rms": Aim("%", 4.0),
        "channel bias, uniform field, worst": Aim("%", 8.0),
        "channel bias, uniform field, fixed resolution, rms": Aim("%", judged=_fixed("YH")),
        "channel bias, uniform field, fixed resolution, worst": Aim("%", judged=_fixed("YH")),
        **_resolutions("YH"),
        **_BOTH,
    },
}
"""By mode and figure, in the order in which they are printed."""

PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "classic chain": {"isolated lenslet, worst mean leak": 3.0},
    "independent lenslets": {
        "channel bias, uniform field, rms": 8.1,
        "channel bias, uniform field, worst": 25.0,
        "band flux, bias": 0.4,
        "band flux, scatter of lenslets": 0.22,
        "noise over photon limit, one channel": 2.5,
        "noise over photon limit, 4-px sum": 1.6,
        "measured over claimed sigma, one channel": 0.56,
        "isolated lenslet, worst mean leak": 0.54,
        "isolated lenslet, worst leak of a channel": 2.3,
        "catastrophic unflagged, static and unstable": 9.7,
        "catastrophic unflagged, new hot": 5.6,
        "catastrophic unflagged, cosmic": 8.5,
        "flagged among clean elements": 6.0,
        "laser lines, offset": 1.7,
        "laser lines, scatter": 0.23,
    },
}
"""Figures of the notes (sections 3 and 5) for the kind of each reference, on frames of the sample set's kind.

Of the classic chain they only say that each window holds a few per cent of the neighbour: taken for three.
"""
HEADLINES: Mapping[str, tuple[str, ...]] = {
    "classic chain": ("isolated lenslet, worst mean leak",),
    "independent lenslets": (
        "channel bias, uniform field, rms",
        "channel bias, uniform field, worst",
        "noise over photon limit, one channel",
    ),
}
"""What must be reproduced for the rows of which nothing is published."""
