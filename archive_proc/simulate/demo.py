"""The night of `scripts/demo`: two targets, DB_H23 without FLUX and DB_K12 complete."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from archive_proc.simulate.night import simulate_night
from archive_proc.simulate.spec import Companion, NightSpec, SequenceSpec, Star, Weather
from archive_proc.simulate.truth import Truth

DEMO_SEED = 20170929


def demo_spec() -> NightSpec:
    """Small on purpose: some sixty planes. The H sequence lacks FLUX, so that `check` has something to say."""
    first = SequenceSpec(
        star=Star(
            name="SIM_ERI",
            ra_deg=69.40055,
            dec_deg=-2.47355,
            pm_ra_mas=44.2,
            pm_dec_mas=-64.4,
            flux_adu_s=(1.3e7, 1.2e7),
            companions=(Companion(860.0, 128.0, (3e-4, 3e-4)), Companion(1200.0, 20.0, (1.5e-4, 1.5e-4))),
        ),
        start=dt.datetime(2017, 9, 29, 8, 20, 0),
        filter="DB_H23",
        order="COOOCS",
        ndit=3,
        sky_ndit=2,
        gap_s=480.0,
        ob_id=2100011,
        program="099.C-9998(A)",
        weather=Weather(),
    )
    second = SequenceSpec(
        star=Star(
            name="SIM_PSC",
            ra_deg=341.25,
            dec_deg=-33.26,
            pm_ra_mas=93.9,
            pm_dec_mas=-40.8,
            flux_adu_s=(6.5e6, 5.8e6),
            companions=(Companion(1080.0, 305.0, (4e-4, 5e-4)),),
        ),
        start=dt.datetime(2017, 9, 29, 3, 5, 0),
        filter="DB_K12",
        order="FCSOOSOCFSB",
        ndit=3,
        flux_ndit=1,
        sky_ndit=2,
        gap_s=420.0,
        ob_id=2100012,
        program="099.C-9998(A)",
        weather=Weather(),
    )
    return NightSpec(sequences=(first, second))


def demo_night(directory: Path, seed: int = DEMO_SEED) -> Truth:
    """Write the demo night's raw files into `directory`, truth beside them."""
    return simulate_night(directory, demo_spec(), seed)
