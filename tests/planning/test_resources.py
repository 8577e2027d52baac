"""Predicted cost: from the recipe's model, from history, along the longest chain."""

from __future__ import annotations

import pytest
import toy

from archive_proc.planning.plan import Selection, Standing, make_plan
from archive_proc.planning.resources import CHUNK_PLANES, CostHistory, chains_ahead, demand, disk, longest_chain


def a_plan(standing: Standing | None = None, n_object: int = 3):  # type: ignore[no-untyped-def]
    universe = toy.universe(toy.plain_night(n_object=n_object))
    return make_plan(universe, Selection(obs_ids=frozenset(universe.observations)), toy.RULEBOOK, standing)


def predictions(standing: Standing | None = None):  # type: ignore[no-untyped-def]
    return {one.process.recipe: one.prediction for one in a_plan(standing).processes}


def test_the_recipes_model_is_linear_in_main_planes() -> None:
    tracks = predictions()["toy_tracks"]
    assert tracks.planes == 20
    assert tracks.cpu_s == tracks.cpu_s_low == tracks.cpu_s_high == 2.0 + 20 * 0.5
    assert tracks.bytes_out == 1_000_000 + 20 * 8_000_000
    assert tracks.source == "model"


def test_a_product_main_has_the_planes_of_the_process_that_made_it() -> None:
    found = predictions()
    assert found["toy_centered"].planes == found["toy_science"].planes == 12


def test_history_gives_a_median_and_a_band() -> None:
    history = {"toy_tracks": CostHistory(9, (0.1, 0.2, 0.4), 3.5, 1000.0)}
    tracks = predictions(Standing(history=history))["toy_tracks"]
    assert (tracks.cpu_s_low, tracks.cpu_s, tracks.cpu_s_high) == pytest.approx((2.0, 4.0, 8.0))
    assert (tracks.memory_gb, tracks.bytes_out, tracks.source) == (3.5, 20_000, "history")


def test_two_past_processes_are_no_history() -> None:
    history = {"toy_tracks": CostHistory(2, (0.1, 0.2, 0.4), 3.5, 1000.0)}
    assert predictions(Standing(history=history))["toy_tracks"].source == "model"


def test_the_longest_chain_follows_the_edges() -> None:
    plan = a_plan()
    names = {one.process.process_id: one.process.recipe for one in plan.processes}
    chain = longest_chain(plan)
    assert [names[one] for one in chain.processes] == [
        "toy_dark",
        "toy_flat",
        "toy_sky",
        "toy_tracks",
        "toy_science",
        "toy_centered",
    ]
    costs = {one.process.recipe: one.prediction.cpu_s for one in plan.processes}
    assert chain.seconds == pytest.approx(sum(costs.values()))


def test_what_is_ahead_of_the_first_of_the_longest_chain_is_that_chain() -> None:
    plan = a_plan(n_object=CHUNK_PLANES)
    rows = {one.process.process_id: one for one in plan.processes}
    for workers in (1, 4):
        chain, ahead = longest_chain(plan, workers), chains_ahead(rows, workers)
        assert max(ahead.values()) == pytest.approx(chain.seconds)
        along = [ahead[one] for one in chain.processes]
        assert along == sorted(along, reverse=True)
        assert all(ahead[one] > ahead[user] for user in rows for one in rows[user].process.sources)


def test_workers_share_a_process_chunk_by_chunk() -> None:
    plan = a_plan(n_object=CHUNK_PLANES)  # four planes a file: four chunks
    alone, together, crowd = (longest_chain(plan, n).seconds for n in (1, 4, 1000))
    assert alone / 4 < together < alone
    assert crowd > alone / 6


def test_demand_counts_only_what_is_to_run() -> None:
    plan = a_plan()
    asked = demand(plan, workers=2)
    assert asked.to_run == len(plan.processes)
    assert disk(plan) == (asked.bytes_out, asked.inodes)
    assert asked.wall_s(10**6) == asked.chain_s
    assert asked.scratch_bytes <= asked.bytes_out
