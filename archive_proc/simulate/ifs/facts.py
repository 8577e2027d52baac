"""The IFS that is simulated, in numbers (notes/ifs.md sections 1 and 2; real headers of March 2020).

As in `simulate.facts`, these are the simulator's own copies: a wrong row in `instruments` must show up against truth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from archive_proc.errors import MisuseError

SIZE = 2048
"""Pixels of the detector, both axes."""
GAIN = 1.8
"""e-/ADU."""
SATURATION_ADU = 65535.0
PITCH_MAS = 12.92
"""One lenslet pitch on the sky: 7.46 mas times sqrt(3)."""
IFS_OFFSET_DEG = -100.48
"""Orientation of the IFS against IRDIS (Maire et al. 2016)."""
WAFFLE_AXES_DEG = 102.0
"""Axes of the four spots for `OCS WAFFLE ORIENT = +`, counter-clockwise from +X of the rectified image; 45 deg more for
`x`. The sample set has them mirrored, counted in the lenslets' own (h1, h2), whose h1 points to -X."""
WAFFLE_CYCLES = 13.72
"""lambda/D of the spots: 10 sqrt(2) times 0.97, for a pupil of 8.0 m."""
READ_S = 1.650726
"""One full-frame read: the shortest DIT, `MINDIT` of real headers."""
PERIOD_OVERHEAD_S = 1.850731
"""From the end of a DIT to the start of the next: `EXPTIME` / NDIT - REALDIT in eight real headers."""
DITDELAY_S = 0.2


@dataclass(frozen=True, slots=True)
class Laser:
    """One calibration laser."""

    wavelength_nm: float
    lamp: int
    """n of `INS4 LAMPn`."""
    name: str
    loop: int
    """n of `INS4 LAMPTCLn`, its temperature loop."""
    label: str
    """What the headers' comments call it."""


@dataclass(frozen=True, slots=True)
class ColourLamp:
    """A lamp for the detector's flat."""

    comb: str
    """`INS2 COMB IFS`."""
    number: int
    """n of `INS2 LAMPn`."""
    name: str
    wavelength_nm: float
    """Mean wavelength of its light."""


@dataclass(frozen=True, slots=True)
class Mode:
    """One prism with its setup."""

    name: str
    comb: str
    """`INS2 COMB IFS` of science."""
    prism: str
    prism_id: str
    prism_number: int
    mode_keyword: str
    """`INS2 MODE` of day calibrations."""
    common_mode: str
    """`INS4 MODE`."""
    dichroic: tuple[str, str, int]
    """`INS4 OPTI13` name, id, number."""
    irdis_filter: str
    """What `INS COMB IFLT` says: the other arm's filter."""
    grid_nm: tuple[float, float]
    """Range of simulated wavelengths."""
    edges_nm: tuple[float, float]
    """Half transmission of the band's filter."""
    glasses: tuple[float, float, float]
    """Pixels per unit of refractive index of the three glasses (`prism`)."""
    tilt: float
    """Drift across the dispersion over the field's range, relative to YJ."""
    lasers: tuple[Laser, ...]
    lamps: tuple[ColourLamp, ...]


_CBL3 = Laser(987.72, 5, "CBL3", 3, "980nm")
_CBL6 = Laser(1123.71, 8, "CBL6", 6, "1080nm")
_CBL1 = Laser(1309.37, 3, "CBL1", 1, "1310nm")
_CBL2 = Laser(1545.07, 4, "CBL2", 2, "1550nm")


def _lamps(prism: str) -> tuple[ColourLamp, ...]:
    lamps = [
        ColourLamp(f"CAL_BB_2_{prism}", 5, "BB", 1180.0),
        ColourLamp(f"CAL_NB1_1_{prism}", 1, "NB1", 1020.0),
        ColourLamp(f"CAL_NB2_1_{prism}", 2, "NB2", 1230.0),
        ColourLamp(f"CAL_NB3_1_{prism}", 3, "NB3", 1300.0),
    ]
    if prism == "YJH":
        lamps.append(ColourLamp(f"CAL_NB4_2_{prism}", 4, "NB4", 1540.0))
    return tuple(lamps)


MODES: Mapping[str, Mode] = MappingProxyType(
    {
        one.name: one
        for one in (
            Mode(
                name="YJ",
                comb="OBS_YJ",
                prism="PRI_YJ",
                prism_id="PRIS_YJ",
                prism_number=1,
                mode_keyword="NIROBS",
                common_mode="IRDIFS",
                dichroic=("DIC_H", "DICR_YJ_H", 2),
                irdis_filter="DB_H23",
                grid_nm=(920.0, 1392.0),
                edges_nm=(944.0, 1347.0),
                glasses=(19279.751, 42989.52, -202484.453),
                tilt=1.0,
                lasers=(_CBL1, _CBL3, _CBL6),
                lamps=_lamps("YJ"),
            ),
            Mode(
                name="YH",
                comb="OBS_H",
                prism="PRI_YJH",
                prism_id="PRIS_YJH",
                prism_number=3,
                mode_keyword="IFS-H",
                common_mode="IRDIFS_EXT",
                dichroic=("DIC_K", "DICR_YJH_K", 3),
                irdis_filter="DB_K12",
                grid_nm=(920.0, 1712.0),
                edges_nm=(944.0, 1658.0),
                glasses=(-4470.55, -8336.29, 29744.29),
                tilt=0.6,
                lasers=(_CBL1, _CBL2, _CBL3, _CBL6),
                lamps=_lamps("YJH"),
            ),
        )
    }
)


def mode_named(name: str) -> Mode:
    """The mode YJ or YH. Raises MisuseError AP-SIM-001 for another name."""
    if name not in MODES:
        raise MisuseError("AP-SIM-001", f"IFS mode {name!r} is not simulated", subject=name, remedy="use YJ or YH")
    return MODES[name]


def samples(dit_s: float) -> int:
    """`DET NDSAMPLES`: non-destructive reads in one DIT, the first included."""
    return max(2, int(dit_s / READ_S + 1e-6) + 1)


def real_dit_s(dit_s: float) -> float:
    """`DET SEQ1 REALDIT`: whole reads plus whole milliseconds after each (from 1.65, 12, 64 s of real headers)."""
    if dit_s < READ_S:
        return dit_s
    reads = samples(dit_s) - 1
    shortest = reads * READ_S
    return shortest + reads * round((dit_s - shortest) / reads, 3)


def period_s(dit_s: float) -> float:
    """From the start of one DIT to the start of the next."""
    return real_dit_s(dit_s) + PERIOD_OVERHEAD_S


def read_noise_e(dit_s: float, factor: float = 1.0) -> float:
    """Read noise of one plane, e-: a slope over n samples (Rauscher et al. 2007), with a floor that never averages.

    13 e- at the shortest DIT, 9.1 at 32 s, 8.2 at 64 s, times `factor`.
    """
    n = samples(dit_s)
    return factor * math.sqrt(7.0**2 + 11.0**2 * 6.0 * (n - 1) / (n * (n + 1)))
