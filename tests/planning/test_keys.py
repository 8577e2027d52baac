"""Process ids: what decides a result enters, and nothing else."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from archive_proc.model.processes import ProcessInput
from archive_proc.planning.keys import Ingredients, process_id

MAIN = tuple(ProcessInput("main", "file", f"SPHER.{n}", f"c{n}", frame_role="OBJECT") for n in range(3))
ROLES = st.sampled_from(["flat", "dark", "background"])
OTHERS = st.lists(
    st.builds(
        lambda role, n, serves: ProcessInput(role, "product", f"p{n}.x", f"p{n}.x", serves),
        ROLES,
        st.integers(0, 5),
        st.sampled_from([(), (0,), (1, 2)]),
    ),
    max_size=6,
    unique=True,
)


def made_from(**changes: object) -> Ingredients:
    plain = Ingredients(recipe="r", recipe_version="1", parameters={"a": 1.0, "b": "x"}, tables_digest="t", inputs=MAIN)
    return replace(plain, **changes)  # type: ignore[arg-type]


@given(OTHERS, st.randoms(use_true_random=False))
def test_the_order_of_associated_inputs_does_not_matter(others: list[ProcessInput], random: object) -> None:
    shuffled = list(others)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert process_id(made_from(inputs=(*MAIN, *others))) == process_id(made_from(inputs=(*shuffled, *MAIN)))


def test_the_order_of_main_inputs_does() -> None:
    assert process_id(made_from(inputs=MAIN[::-1])) != process_id(made_from())


def test_the_order_of_parameters_exclusions_and_corrections_does_not_matter() -> None:
    planes, words = [(0, 3), (1, 2)], [("c0", "DET NDIT", "2"), ("c1", "DET NDIT", "2")]
    one = made_from(excluded_planes=planes, corrections=words)
    other = made_from(excluded_planes=planes[::-1], corrections=words[::-1], parameters={"b": "x", "a": 1.0})
    assert process_id(one) == process_id(other)


def test_each_ingredient_changes_the_id() -> None:
    serving = ProcessInput("flat", "product", "p.x", "p.x")
    some = [
        made_from(),
        made_from(recipe="s"),
        made_from(recipe_version="2"),
        made_from(parameters={"a": 2.0, "b": "x"}),
        made_from(tables_digest="u"),
        made_from(inputs=MAIN[:2]),
        made_from(inputs=(replace(MAIN[0], content="other"), *MAIN[1:])),
        made_from(inputs=(replace(MAIN[0], frame_role="CENTER"), *MAIN[1:])),
        made_from(inputs=(*MAIN, serving)),
        made_from(inputs=(*MAIN, replace(serving, role="dark"))),
        made_from(inputs=(*MAIN, replace(serving, serves=(1,)))),
        made_from(excluded_planes=[(0, 1)]),
        made_from(corrections=[("c0", "DET NDIT", "2")]),
    ]
    assert all(process_id(a) != process_id(b) for a, b in itertools.combinations(some, 2))


def test_level_distance_and_path_do_not_enter() -> None:
    moved = tuple(replace(one, level=3, dt_days=1.5, method="rate", input_id=f"{one.input_id}.gz") for one in MAIN)
    assert process_id(made_from(inputs=moved)) == process_id(made_from())


def test_an_id_is_32_digits_and_stays_what_it_was() -> None:
    # A changed literal means that every product of every archive would be made again.
    assert process_id(made_from()) == "09e6ab9eb9732b7c1b0efa6151014db6"
