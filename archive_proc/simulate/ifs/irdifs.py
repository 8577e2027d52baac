"""One target with both arms at once: one observing block, one template, IRDIS behind the dichroic, IFS before it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from archive_proc.errors import MisuseError
from archive_proc.simulate.ifs.facts import MODES
from archive_proc.simulate.ifs.night import simulate_ifs_night
from archive_proc.simulate.ifs.spec import IfsCompanion, IfsNight, IfsObservation, IfsTarget
from archive_proc.simulate.ifs.truth import IfsTruth
from archive_proc.simulate.night import simulate_night
from archive_proc.simulate.spec import Companion, NightSpec, SequenceSpec, Star
from archive_proc.simulate.truth import Truth, truth_directory

IRDIFS_SEED = 20180507


@dataclass(frozen=True, slots=True)
class IrdifsTruth:
    """Truth of both arms."""

    irdis: Truth
    ifs: IfsTruth


def irdifs_sequence() -> SequenceSpec:
    """The IRDIS half of the demo's target: DB_H23, four files of three planes at most."""
    star = Star(
        name="SIM_LUP",
        ra_deg=226.4,
        dec_deg=-40.0,
        flux_adu_s=(1.2e7, 1.1e7),
        companions=(Companion(560.0, 247.0, (3e-3, 3e-3)),),
    )
    return SequenceSpec(
        star=star,
        start=dt.datetime(2018, 5, 7, 4, 40),
        filter="DB_H23",
        order="FCOO",
        ndit=3,
        gap_s=420.0,
        ob_id=2100021,
        program="0101.C-9999(A)",
        two_arms=True,
    )


def ifs_beside(sequence: SequenceSpec, companions: tuple[IfsCompanion, ...], dit_s: float, ndit: int) -> IfsObservation:
    """The IFS half of an IRDIS sequence. Raises MisuseError AP-SIM-002 when the sequence has no such half."""
    if not sequence.two_arms or set(sequence.order) - set("FCOS"):
        raise MisuseError(
            "AP-SIM-002",
            f"order {sequence.order}, two_arms {sequence.two_arms}",
            subject=sequence.star.name,
            remedy="give a sequence with two_arms and an order of F, C, O, S",
        )
    star = sequence.star
    return IfsObservation(
        scene="star",
        target=IfsTarget(
            name=star.name,
            ra_deg=star.ra_deg,
            dec_deg=star.dec_deg,
            pm_ra_mas=star.pm_ra_mas,
            pm_dec_mas=star.pm_dec_mas,
            companions=companions,
        ),
        order=sequence.order,
        dit_s=dit_s,
        ndit=ndit,
        flux_ndit=1,
        gap_s=sequence.gap_s,
        ob_id=sequence.ob_id,
        ob_name=f"{star.name}_{sequence.filter}",
        program=sequence.program,
        start=sequence.start,
    )


def irdifs_night(directory: Path, seed: int = IRDIFS_SEED, mode: str = "YJ") -> IrdifsTruth:
    """Write raw files of IRDIS into `directory`, of the IFS into `IFS` in it, truth into `<directory>.truth` likewise.

    About 70 s CPU and 0.7 GB. Raises PreconditionError AP-SIM-004 when `directory` already holds files.
    """
    sequence = irdifs_sequence()
    companions = (IfsCompanion(350.0, 115.0, 3e-4, "T"), IfsCompanion(560.0, 247.0, 3e-3, "L"))
    night = IfsNight(
        mode=MODES[mode].name,
        observations=(ifs_beside(sequence, companions, 32.0, 2),),
        start=sequence.start,
        lamp_ndit=1,
        background_ndit=2,
    )
    return IrdifsTruth(
        simulate_night(directory, NightSpec(sequences=(sequence,)), seed),
        simulate_ifs_night(directory / "IFS", night, seed, truth_directory(directory) / "IFS"),
    )
