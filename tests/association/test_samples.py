"""The team's sample sets group into what their README says."""

from __future__ import annotations

from pathlib import Path

import pytest

from archive_proc.ingest.ingest import ingest

from .conftest import Understand, Understood


def understood(folder: Path, understand: Understand) -> Understood:
    return understand(ingest([folder], roots={"raw": folder}).frames)


EXPECTED = {
    "DB_H23": {
        "files": {"FLUX": 2, "CENTER": 2, "OBJECT": 3, "SKY": 1},
        "science background": "IRD_SKY_BG_RAW",
        "flux background": "IRD_INS_BG_RAW",
    },
    "DB_K12": {
        "files": {"FLUX": 2, "CENTER": 2, "OBJECT": 3, "SKY": 4},
        "science background": "IRD_SKY_BG_RAW",
        "flux background": "IRD_SKY_BG_RAW",
    },
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_irdis_sample_is_one_observation_with_level_0_calibrations(
    shared: Path, understand: Understand, name: str
) -> None:
    found = understood(shared / "samples" / "irdis" / name, understand)
    (one,) = found.observations
    wanted = EXPECTED[name]
    assert {role: len(one.file_ids(role)) for role in ("FLUX", "CENTER", "OBJECT", "SKY")} == wanted["files"]
    assert (one.inst_filter, one.mode, one.complete, one.object_raw) == (name, "dual_band", True, "51Eri")
    frames = {each.file_id: each for each in found.frames}
    science, flux = frames[one.science_files[0]], frames[one.file_ids("FLUX")[0]]
    assert found.chosen(science, "background") == [wanted["science background"]]
    assert found.chosen(flux, "background") == [wanted["flux background"]]
    assert found.chosen(science, "flat") == ["IRD_FLAT_FIELD_RAW"]
    assert found.chosen(science, "center") == ["IRD_STAR_CENTER_WAFFLE_RAW"]
    assert {each.level for each in found.found.chosen} == {0}
    assert not [each for each in found.issues if each.severity == "blocking"]
    for dit in (1000, 3000):
        flat = next(each for each in found.frames if each.dpr_type == "FLAT,LAMP" and each.dit_ms == dit)
        assert found.chosen(flat, "dark") == ["IRD_INS_BG_RAW"]


def test_ifs_sample_is_three_observations_that_share_center_and_flux_of_the_night(
    shared: Path, understand: Understand
) -> None:
    found = understood(shared / "samples" / "ifs" / "raw", understand)
    assert sorted(one.object_raw or "" for one in found.observations) == ["SIM-COMB", "SIM-STAR", "SIM-UNIFORM"]
    assert {(one.mode, one.inst_filter) for one in found.observations} == {("ifs", "YJ")}
    assert not [each for each in found.issues if each.severity == "blocking"]
    assert {one.object_raw: len(one.files) for one in found.observations}["SIM-STAR"] == 3
