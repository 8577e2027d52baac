"""Parameters: defaults, preset and overrides, each in the default's type."""

from __future__ import annotations

import pytest
import toy

from archive_proc.errors import MisuseError
from archive_proc.instruments.tables import load_tables
from archive_proc.model.frames import Arm
from archive_proc.planning.preset import Preset, parameters_of
from archive_proc.planning.rulebook import make_rulebook
from archive_proc.recipes.recipe import RawMain


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


def test_final_products_come_from_the_product_table_and_the_cookbook() -> None:
    centered = toy.recipe("c", RawMain(roles=("SCIENCE",)), ["irdis_centered_cube"], subject_kind="observation")
    assert make_rulebook([centered], load_tables()).finals == {Arm.IRDIS: ("irdis_centered_cube",)}
    assert make_rulebook(toy.COOKBOOK, load_tables()).finals == {Arm.IRDIS: ()}
