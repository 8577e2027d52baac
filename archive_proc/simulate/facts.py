"""The instrument that is simulated, in numbers: filters, neutral densities, coronagraphs, detector, site.

The simulator keeps its own copy of these facts (notes/irdis.md section 1): a wrong row in `instruments` must show up
as a wrong result against simulated truth, which it could not if both read one table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from archive_proc.errors import MisuseError

HALF = 1024
"""Pixels of a half-frame, both axes."""
TELESCOPE_M = 8.0
"""Pupil diameter that lambda/D refers to, m."""
ANAMORPHISM = 1.0062
"""Angle on the sky per pixel along y over that along x (Maire et al. 2016)."""
TRUE_NORTH_DEG = -1.75
PUPIL_OFFSET_DEG = 135.99
"""Maire et al. 2016."""
DEROTATOR_REPAIR_MJD = 57581.0
"""2016-07-12: before it the derotator followed a wrong clock."""
LATITUDE_DEG = -24.6268
LONGITUDE_DEG = -70.4045
"""East positive."""
ELEVATION_M = 2648.0
GAIN = 1.75
"""e-/ADU."""
SATURATION_ADU = 42000.0
NONLINEARITY_AT_20K = 0.01
"""Fraction lost at 20 000 ADU, growing linearly with the level."""
SHORTEST_DIT_S = 0.837464
"""One full-frame read."""
READ_OVERHEAD_S = 0.837469
"""Between two DITs besides DITDELAY: (DET SEQ1 EXPTIME / NDIT) - REALDIT - DITDELAY in four real headers."""
DITDELAY_S = 0.1
LIT_FIELD = ((36, 934, 15, 1014), (38, 935, 15, 1014))
"""Per half: first column, end column, first row, end row of the lit field."""


@dataclass(frozen=True, slots=True)
class Band:
    """One half's filter."""

    name: str
    wavelength_um: float
    width_um: float
    scale_mas: float
    """Along x."""
    thermal_adu_s: float
    """Mean thermal background, ADU/s per pixel."""
    nd: tuple[float, float, float]
    """Transmission of ND_1.0, ND_2.0, ND_3.5."""

    @property
    def lambda_over_d_mas(self) -> float:
        """lambda/D at the central wavelength, mas."""
        return lambda_over_d_mas(self.wavelength_um)

    def nd_transmission(self, nd_filter: str) -> float:
        """Transmission behind `INS4 FILT2 NAME`. Raises MisuseError AP-SIM-001 for an unknown name."""
        known = {"OPEN": 1.0, "ND_1.0": self.nd[0], "ND_2.0": self.nd[1], "ND_3.5": self.nd[2]}
        if nd_filter not in known:
            raise MisuseError(
                "AP-SIM-001",
                f"unknown neutral density {nd_filter!r}",
                subject=self.name,
                remedy=f"use one of {', '.join(known)}",
            )
        return known[nd_filter]


@dataclass(frozen=True, slots=True)
class FilterSetup:
    """`INS COMB IFLT` with what the other keywords say for it."""

    name: str
    broad_band: str
    """`INS1 FILT NAME`."""
    dual: str
    """`INS1 OPTI2 NAME`."""
    bands: tuple[Band, Band]
    coronagraph: str
    lyot_stop: str
    mask_mas: float
    """Diameter of the occulting mask."""
    star: tuple[tuple[float, float], tuple[float, float]]
    """Star behind the mask, (x, y) 0-based pixels of each half."""
    lamp_adu_s: float = 3500.0
    """Lamp flat level."""

    @property
    def dual_band(self) -> bool:
        """True where the halves see two filters."""
        return self.name.startswith("DB_")

    @property
    def thermal(self) -> bool:
        """True in the K bands, where the sky outshines the read noise."""
        return max(band.thermal_adu_s for band in self.bands) > 5.0


def lambda_over_d_mas(wavelength_um: float) -> float:
    """lambda/D for the pupil of TELESCOPE_M, mas."""
    return wavelength_um * 1e-6 / TELESCOPE_M * 206264806.247


_Y2 = Band("Y2", 1.022, 0.049, 12.283, 0.02, (0.0993, 8.83e-3, 3.1e-4))
_Y3 = Band("Y3", 1.076, 0.050, 12.278, 0.02, (0.0778, 5.32e-3, 1.3e-4))
_J2 = Band("J2", 1.190, 0.042, 12.262, 0.03, (0.0614, 3.22e-3, 6e-5))
_J3 = Band("J3", 1.273, 0.046, 12.261, 0.03, (0.0610, 3.18e-3, 5e-5))
_H2 = Band("H2", 1.593, 0.052, 12.255, 0.13, (0.1164, 0.01227, 5.6e-4))
_H3 = Band("H3", 1.667, 0.054, 12.250, 0.24, (0.1397, 0.01789, 1.06e-3))
_H4 = Band("H4", 1.733, 0.057, 12.250, 0.35, (0.1564, 0.02262, 1.57e-3))
_K1 = Band("K1", 2.110, 0.102, 12.267, 11.0, (0.1484, 0.02212, 1.39e-3))
_K2 = Band("K2", 2.251, 0.109, 12.263, 27.5, (0.1400, 0.02205, 1.44e-3))
_BY = Band("Y", 1.043, 0.140, 12.283, 0.03, (0.0900, 7.3e-3, 2.3e-4))
_BJ = Band("J", 1.245, 0.240, 12.263, 0.05, (0.0620, 3.3e-3, 6e-5))
_BH = Band("H", 1.625, 0.290, 12.251, 0.60, (0.1330, 0.0165, 9e-4))
_BK = Band("Ks", 2.182, 0.300, 12.265, 28.0, (0.1440, 0.0220, 1.42e-3))

_H_STAR = ((486.0, 524.0), (488.0, 514.0))
_K_STAR = ((480.0, 525.0), (483.0, 511.0))

FILTERS: Mapping[str, FilterSetup] = MappingProxyType(
    {
        one.name: one
        for one in (
            FilterSetup("DB_Y23", "B_Y", "D_Y23", (_Y2, _Y3), "N_ALC_YJ_S", "ST_ALC1", 145.0, _H_STAR),
            FilterSetup("DB_J23", "B_J", "D_J23", (_J2, _J3), "N_ALC_YJ_S", "ST_ALC1", 145.0, _H_STAR),
            FilterSetup("DB_H23", "B_H", "D_H23", (_H2, _H3), "N_ALC_YJH_S", "ST_ALC2", 185.0, _H_STAR),
            FilterSetup("DB_H34", "B_H", "D_H34", (_H3, _H4), "N_ALC_YJH_S", "ST_ALC2", 185.0, _H_STAR),
            FilterSetup("DB_K12", "B_Ks", "D_K12", (_K1, _K2), "N_ALC_Ks", "ST_ALC3", 240.0, _K_STAR),
            FilterSetup("BB_Y", "B_Y", "CLEAR", (_BY, _BY), "N_ALC_YJ_S", "ST_ALC1", 145.0, _H_STAR),
            FilterSetup("BB_J", "B_J", "CLEAR", (_BJ, _BJ), "N_ALC_YJ_S", "ST_ALC1", 145.0, _H_STAR),
            FilterSetup("BB_H", "B_H", "CLEAR", (_BH, _BH), "N_ALC_YJH_S", "ST_ALC2", 185.0, _H_STAR),
            FilterSetup("BB_Ks", "B_Ks", "CLEAR", (_BK, _BK), "N_ALC_Ks", "ST_ALC3", 240.0, _K_STAR),
        )
    }
)


def filter_setup(name: str) -> FilterSetup:
    """The setup behind `INS COMB IFLT`. Raises MisuseError AP-SIM-001 for a name that is not simulated."""
    if name not in FILTERS:
        raise MisuseError(
            "AP-SIM-001", f"filter {name!r} is not simulated", subject=name, remedy=f"use one of {', '.join(FILTERS)}"
        )
    return FILTERS[name]


def real_dit_s(dit_s: float) -> float:
    """`DET SEQ1 REALDIT`: what the detector integrates for a DIT asked for (measured on four real headers), s."""
    if dit_s < 1.5 * SHORTEST_DIT_S:
        return dit_s
    return dit_s * (1.0 + (4.64e-4 if dit_s < 8.0 else 4.26e-4))


def plane_period_s(dit_s: float) -> float:
    """From the start of one DIT to the start of the next, s: `DET SEQ1 EXPTIME` / NDIT."""
    return real_dit_s(dit_s) + READ_OVERHEAD_S + DITDELAY_S


def read_noise_adu(dit_s: float) -> float:
    """Read noise of one plane, ADU: up-the-ramp sampling averages more reads in a longer DIT (4 e- to 10 e-)."""
    reads = min(max(dit_s / SHORTEST_DIT_S, 1.0), 20.0)
    return (9.8 - 5.6 * (reads - 1.0) / 19.0) / GAIN
