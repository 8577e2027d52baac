"""A refused calibration of the IFS gives way, by the packaged rules and recipes, down to the plan."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from archive_proc.instruments.tables import Tables
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import GroupId
from archive_proc.planning.plan import Selection, Standing, make_settled_plan
from archive_proc.planning.rulebook import make_rulebook
from archive_proc.planning.universe import Universe
from archive_proc.recipes.cookbook import COOKBOOK

if TYPE_CHECKING:
    from .conftest import Frames, Understand

EVENING = dt.datetime(2016, 9, 15, 22)
HOUR = dt.timedelta(hours=1)


def calibrations(make: Frames) -> tuple[list[RawFrame], RawFrame, RawFrame, RawFrame]:
    """All calibrations of an evening; lenslet flat, spectra positions, lasers."""
    image: dict[str, object] = {"arm": Arm.IFS, "dpr_tech": "IMAGE"}
    ifu: dict[str, object] = {"arm": Arm.IFS, "dpr_tech": "IFU", "dit_s": 1.650726, "ifs_comb": "OBS_YJ"}
    flat = make.make(EVENING + HOUR, "FLAT,LAMP", **ifu)
    specpos = make.make(EVENING + 1.1 * HOUR, "SPECPOS,LAMP", **ifu)
    wave = make.make(EVENING + 1.2 * HOUR, "WAVE,LAMP", **ifu)
    lamps = [
        make.make(EVENING + 0.5 * HOUR, "FLAT,LAMP", dit_s=dit, ifs_comb="CAL_BB_2_YJ", **image) for dit in (2, 10)
    ]
    dark = make.make(EVENING, "DARK", dit_s=1.650726, ifs_comb="OBS_YJ", **image)
    return [flat, specpos, wave, *lamps, dark], flat, specpos, wave


def test_refused_spectra_positions_give_way_to_the_lenslet_flats(
    make: Frames, understand: Understand, tables: Tables
) -> None:
    frames, flat, specpos, wave = calibrations(make)
    first = understand(frames)
    of_wave, of_flat = first.group_of(wave).group_id, first.group_of(flat).group_id

    def universe(banned: frozenset[GroupId]) -> Universe:
        found = understand(frames, refused=banned)
        return Universe.of(
            classified=found.classified,
            groups=found.groups,
            observations=found.observations,
            associations=found.found.chosen,
            issues=found.found.issues,
        )

    rulebook = make_rulebook(COOKBOOK, tables)
    selection = Selection(group_ids=frozenset({of_wave}), product_types=("ifs_wavelength_solution",))
    plan, _ = make_settled_plan(universe, selection, rulebook, Standing())
    (positions,) = (one.process for one in plan.processes if "positions" in one.process.recipe)
    assert positions.subject.subject_id == first.group_of(specpos).group_id
    refused = positions.process_id
    again, banned = make_settled_plan(universe, selection, rulebook, Standing(refused=frozenset({refused})))
    assert banned == {first.group_of(specpos).group_id}
    assert not again.not_planned
    assert [one.process.subject.subject_id for one in again.processes if "positions" in one.process.recipe] == [of_flat]
