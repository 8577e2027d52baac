"""One small night of full-size planes, for kills of the real recipes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from archive_proc.simulate.night import simulate_night
from archive_proc.simulate.spec import NightSpec, SequenceSpec, Star

SEED = 29


def full_size_night(directory: Path) -> Path:
    """Write nine planes on sky and their calibrations (145 MB, 5 CPU seconds) into a directory."""
    sequence = SequenceSpec(
        star=Star(name="SIM_FAULTS", ra_deg=341.25, dec_deg=-33.26, flux_adu_s=(1.2e7, 1.1e7)),
        start=dt.datetime(2017, 9, 29, 3, 0),
        filter="DB_H23",
        order="FCOOCS",
        ndit=2,
        flux_ndit=1,
        sky_ndit=1,
        gap_s=900.0,
        ob_id=2100082,
        program="0100.C-9998(A)",
    )
    simulate_night(directory, NightSpec(sequences=(sequence,)), SEED)
    return directory
