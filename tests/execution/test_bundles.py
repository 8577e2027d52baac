"""Short processes travel together; what becomes of one touches none of the others."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
from toy_night import Night, night, plan_of, process, product_input, raw_input, site

from archive_proc.execution.backends import Finished, SerialBackend
from archive_proc.execution.calls import Bundle
from archive_proc.execution.executor import execute
from archive_proc.execution.ready import Entry, ReadyQueue
from archive_proc.model.events import ProcessFailed, TaskEnded
from archive_proc.model.ids import ProcessId
from archive_proc.model.processes import Cause, Plan, Process, State
from archive_proc.storage.journal import read_journal

NIGHTS = ("2015-09-24", "2015-09-25")


def entry(name: str, priority: float, seconds: float = 1.0, group: str = "a", *, follows: bool = True) -> Entry:
    return Entry(ProcessId(name), priority, seconds, seconds, group, follows)


def test_the_longest_chain_leads_its_night_follows_then_others_and_what_is_long_only_leads() -> None:
    queue = ReadyQueue()
    for one in [
        entry("short", 1.0),
        entry("other night", 8.0, group="b"),
        entry("another", 7.0, group="c"),
        entry("leader", 9.0, 5.0),
        entry("mate", 5.0, 50.0),
        entry("long", 6.0, 70.0, follows=False),
    ]:
        queue.push(one)
    first = queue.pop()
    assert first is not None
    assert first.process_id == "leader"
    assert [one.process_id for one in queue.mates("a", 52.0, 10)] == ["mate", "short", "other night"]
    assert [one.process_id for one in queue.mates("a", 52.0, 0)] == []
    assert [one.process_id for one in iter(queue.pop, None)] == ["another", "long"]
    assert (len(queue), queue.seconds) == (0, 0.0)


def test_a_process_that_comes_back_is_in_the_queue_once_and_follows_if_it_does_now() -> None:
    queue = ReadyQueue()
    queue.push(entry("one", 5.0))
    queue.push(entry("two", 6.0, follows=False))
    assert [one.process_id for one in queue.mates("a", 100.0, 2)] == ["one"]
    queue.push(entry("two", 6.0))
    queue.push(entry("one", 5.0))
    assert [one.process_id for one in queue.mates("a", 100.0, 1)] == ["two"]
    queue.push(entry("two", 7.0))
    assert [one.process_id for one in iter(queue.pop, None)] == ["two", "one"]


class Watched(SerialBackend):
    """Keeps what it was given; loses, on request, the answer of a bundle that it has executed."""

    def __init__(self, lose: int = 0) -> None:
        super().__init__(lambda: False)
        self.bundles: list[Bundle] = []
        self._lose = lose

    def submit(self, bundle: Bundle, priority: float) -> None:
        self.bundles.append(bundle)
        super().submit(bundle, priority)

    def wait_any(self, timeout_s: float) -> list[Finished]:
        found = super().wait_any(timeout_s)
        if self._lose and len(found[0].bundle.calls) > 1:
            self._lose -= 1
            return [Finished(found[0].bundle, None, "lost on its way")]
        return found


def cubes(tonight: Night, n: int, **parameters: object) -> list[Process]:
    frames = list(tonight.frames.values())
    dark = [product_input("dark", tonight.dark)]
    return [process("toy_cube", [raw_input(frames[3])], dark, subject=str(k), **parameters) for k in range(n)]


def two_nights(tonight: Night, seconds: float) -> Plan:
    """A dark and twelve short observations, in turn of either night."""
    made = [dataclasses.replace(one, night=NIGHTS[at % 2]) for at, one in enumerate(cubes(tonight, 12))]
    plan = plan_of(tonight.dark, *made)
    costs = [dataclasses.replace(one.prediction, cpu_s=seconds) for one in plan.processes]
    rows = [dataclasses.replace(one, prediction=cost) for one, cost in zip(plan.processes, costs, strict=True)]
    return dataclasses.replace(plan, processes=tuple(rows))


def test_short_processes_of_one_night_are_one_bundle_and_long_ones_travel_alone(tmp_path: Path) -> None:
    for seconds, largest in ((20.0, 3), (70.0, 1)):
        tonight = night(tmp_path / str(seconds))
        plan, backend = two_nights(tonight, seconds), Watched()
        outcome = execute(
            plan, tonight.layout, tonight.frames, site(window_per_worker=1), tonight.options(backend=backend)
        )
        assert outcome.counts == {State.DONE: 13}
        assert max(len(one.calls) for one in backend.bundles) == largest
        nights = {one.process.process_id: one.process.night for one in plan.processes}
        for bundle in backend.bundles:
            assert len({nights[call.process_id] for call in bundle.calls}) == 1
            assert bundle.seconds == seconds * len(bundle.calls) <= 120.0
        # What a bundle lasts shrinks with what is left, so that all workers end together.
        assert len(backend.bundles[-1].calls) <= len(backend.bundles[1].calls)


def test_what_lasts_a_minute_is_not_cut_and_more_is_sent_in_chunks_that_share_a_bundle(tmp_path: Path) -> None:
    """With enough other work that all workers are busy; a sequence alone is spread over them, chunk by chunk."""
    tonight = night(tmp_path, science=(20, 60))
    for others, seconds, kinds, together in ((9, 100.0, {"all"}, 1), (9, 360.0, {"prepare", "block", "close"}, 2)):
        backend, long = Watched(), cubes(tonight, 1, gain=seconds)[0]
        rows = plan_of(tonight.dark, long, *cubes(tonight, others, gain=seconds + 1)).processes
        cost = {long.process_id: seconds}
        plan = dataclasses.replace(
            plan_of(*(one.process for one in rows)),
            processes=tuple(
                dataclasses.replace(
                    one, prediction=dataclasses.replace(one.prediction, cpu_s=cost.get(one.process.process_id, 100.0))
                )
                for one in rows
            ),
        )
        here = site(window_per_worker=1, chunk_gb=1e-5)  # 16 planes of the toy
        execute(plan, tonight.layout, tonight.frames, here, tonight.options(backend=backend))
        mine = [[call for call in one.calls if call.process_id == long.process_id] for one in backend.bundles]
        assert {call.task.kind for calls in mine for call in calls} - {"reduce"} == kinds
        assert max(len(calls) for calls in mine) == together


@pytest.mark.parametrize(("others", "beside"), [(24, 4), (10, 1)], ids=["one of many", "the tail of the run"])
def test_what_is_beside_the_blocks_of_a_long_process_travels_with_other_work(
    tmp_path: Path, others: int, beside: int
) -> None:
    """Unless its own chunks would wait for that, and the run for them: 300 s beside 480 s of others, or 200 s."""
    tonight = night(tmp_path, science=(20, 60))  # of the second file: 60 planes in chunks of 16, 16, 16 and 12
    long, *short = cubes(tonight, 1 + others)
    rows = [
        dataclasses.replace(
            one,
            process=one.process if one.process == long else dataclasses.replace(one.process, night=NIGHTS[at % 2]),
            prediction=dataclasses.replace(one.prediction, cpu_s=300.0 if one.process == long else 20.0),
        )
        for at, one in enumerate(plan_of(tonight.dark, long, *short).processes)
    ]
    plan = dataclasses.replace(plan_of(tonight.dark, long, *short), processes=tuple(rows))
    backend = Watched()
    here = site(window_per_worker=1, chunk_gb=1e-5)  # 16 planes of the toy
    outcome = execute(plan, tonight.layout, tonight.frames, here, tonight.options(backend=backend))
    assert outcome.counts == {State.DONE: 2 + others}
    mine = [
        ([call.task.kind for call in bundle.calls if call.process_id == long.process_id], len(bundle.calls))
        for bundle in backend.bundles
    ]
    # Prepared and reduced beside three processes of 20 s, whatever their night; blocks of 40 s go two by two.
    blocks = [(["block"] * 2, 2)] * 2
    expected = [(["prepare"], beside), *blocks, (["reduce"], beside), *blocks]
    assert [one for one in mine if one[0]][:6] == expected
    assert all(bundle.seconds < 120.0 for bundle in backend.bundles)


def test_an_answer_that_is_lost_costs_nobody_a_try(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    backend = Watched(lose=2)
    bad = cubes(tonight, 1, behave="data", gain=9.0)
    plan = plan_of(tonight.dark, *cubes(tonight, 8), *bad)
    outcome = execute(plan, tonight.layout, tonight.frames, site(window_per_worker=1), tonight.options(backend=backend))
    # What was sealed counts as done, what had failed without a witness fails once more.
    assert outcome.counts == {State.DONE: 9, State.FAILED: 1}
    events = read_journal(tonight.layout.journal(outcome.run_id)).events
    assert [one.process_id for one in events if isinstance(one, ProcessFailed)] == [bad[0].process_id]
    assert list(tonight.layout.pending.iterdir()) == []


def test_chunks_that_ended_before_their_bundle_was_lost_are_not_done_again(tmp_path: Path) -> None:
    tonight = night(tmp_path, science=(20, 60))
    backend = Watched(lose=2)
    plan = plan_of(tonight.dark, *cubes(tonight, 6))
    costs = [dataclasses.replace(one.prediction, cpu_s=360.0) for one in plan.processes]
    rows = [dataclasses.replace(one, prediction=cost) for one, cost in zip(plan.processes, costs, strict=True)]
    plan = dataclasses.replace(plan, processes=tuple(rows))
    here = site(window_per_worker=1, chunk_gb=1e-5)  # 16 planes of the toy
    outcome = execute(plan, tonight.layout, tonight.frames, here, tonight.options(backend=backend))
    assert outcome.counts == {State.DONE: 7}
    assert any(len({one.task for one in bundle.calls}) > 1 for bundle in backend.bundles), "chunks share a bundle"
    sent = Counter((call.process_id, call.task) for bundle in backend.bundles for call in bundle.calls)
    assert set(sent.values()) == {1}


@pytest.mark.parametrize("backend", ["serial", "local"])
def test_one_bad_process_of_a_bundle_is_nobody_elses_business(tmp_path: Path, backend: str) -> None:
    tonight = night(tmp_path)
    poison = cubes(tonight, 1, behave="kill", gain=7.0) if backend == "local" else []
    bad = [*cubes(tonight, 1, behave="code", gain=5.0), *cubes(tonight, 1, behave="data", gain=6.0)]
    good = cubes(tonight, 9)
    plan = plan_of(tonight.dark, *good, *bad, *poison)
    here = site(backend=backend, workers=1, window_per_worker=1)
    outcome = execute(plan, tonight.layout, tonight.frames, here, tonight.options())
    assert outcome.counts.get(State.DONE) == 10
    causes = {one.process_id: (one.cause, one.poison) for one in outcome.failures}
    expected = {bad[0].process_id: (Cause.CODE, False), bad[1].process_id: (Cause.DATA, False)}
    assert causes == expected | {one.process_id: (Cause.MEMORY, True) for one in poison}
    events = read_journal(tonight.layout.journal(outcome.run_id)).events
    # Of the bundle that lost its worker, what was not executing is done again at no charge: no failure is theirs.
    assert {one.process_id for one in events if isinstance(one, ProcessFailed)} == set(causes)
    answers = Counter(one.process_id for one in events if isinstance(one, TaskEnded))
    assert all(answers[one.process_id] <= 1 for one in good)
    assert list(tonight.layout.pending.iterdir()) == []


def test_a_recipe_that_is_broken_is_paused_within_one_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tonight = night(tmp_path)
    plan = plan_of(tonight.dark, *cubes(tonight, 30, behave="code"))
    outcome = execute(plan, tonight.layout, tonight.frames, site(window_per_worker=1), tonight.options())
    assert outcome.counts == {State.DONE: 1, State.FAILED: 5, State.BLOCKED: 25}
    assert "paused toy_cube" in capsys.readouterr().err
