"""Parameters: defaults, preset and overrides, each in the default's type."""

from __future__ import annotations

import msgspec
import pytest
import toy

from archive_proc.errors import MisuseError
from archive_proc.flow.campaign import preset_of
from archive_proc.instruments.tables import load_tables
from archive_proc.model.frames import Arm
from archive_proc.planning.preset import SHIPPED, Preset, parameters_of
from archive_proc.planning.rulebook import make_rulebook
from archive_proc.recipes.cookbook import COOKBOOK, recipe
from archive_proc.recipes.recipe import RawMain
from archive_proc.settings import ArchiveSettings


def test_an_override_wins_over_the_preset_and_the_preset_over_the_default() -> None:
    preset = Preset("deep", {"toy_tracks": {"radius": 15, "order": 3}})
    found = parameters_of(toy.TRACKS, preset, {"radius": 20})
    assert found == {"radius": 20.0, "terms": (1.0, 2.0), "method": "spots", "order": 3, "robust": True}
    assert [type(found[name]) for name in ("radius", "order")] == [float, int]


def test_lists_of_yaml_become_tuples_of_the_defaults_kind() -> None:
    assert parameters_of(toy.TRACKS, Preset(), {"terms": [1, 2]}) == parameters_of(toy.TRACKS, Preset(), {})


@pytest.mark.parametrize(
    ("name", "value"),
    [("radius", "12"), ("order", 2.5), ("robust", 1), ("method", 3), ("terms", ["a"]), ("terms", 1.0)],
)
def test_a_value_of_another_kind_is_refused(name: str, value: object) -> None:
    with pytest.raises(MisuseError, match="AP-PLN-011"):
        parameters_of(toy.TRACKS, Preset(), {name: value})


def test_a_preset_with_an_unknown_recipe_or_parameter_is_refused_before_anything_is_planned() -> None:
    for values, code in (({"toy_track": {}}, "AP-PLN-012"), ({"toy_tracks": {"radios": 1}}, "AP-PLN-010")):
        with pytest.raises(MisuseError, match=code):
            make_rulebook(toy.COOKBOOK, load_tables(), Preset("deep", values))


def test_shipped_presets_fit_the_shipped_recipes_and_change_them() -> None:
    for name, values in SHIPPED.items():
        make_rulebook(COOKBOOK, load_tables(), Preset(name, values))
        for recipe_name in values:
            found = recipe(recipe_name)
            assert parameters_of(found, Preset(name, values), {}) != parameters_of(found, Preset(), {})


def test_a_preset_is_shipped_or_defined_by_the_archive_or_refused() -> None:
    settings = ArchiveSettings(
        archive_id="0" * 12,
        preset="ifs_line",
        presets={"deep": {"irdis_tracks": {}}, "ifs_line": {"ifs_extract_frame": {"mu": 0.01}}},
    )
    assert preset_of(settings).values["ifs_extract_frame"] == {
        "mu": 0.01,
        "find_outliers": False,
        "measure_shift": False,
    }
    assert preset_of(msgspec.structs.replace(settings, preset="deep")).name == "deep"
    with pytest.raises(MisuseError, match="AP-PLN-013"):
        preset_of(msgspec.structs.replace(settings, preset="deeper"))


def test_final_products_come_from_the_product_table_and_the_cookbook() -> None:
    centered = toy.recipe("c", RawMain(roles=("SCIENCE",)), ["irdis_centered_cube"], subject_kind="observation")
    assert make_rulebook([centered], load_tables()).finals == {Arm.IRDIS: ("irdis_centered_cube",)}
    assert make_rulebook(toy.COOKBOOK, load_tables()).finals == {Arm.IRDIS: ()}
