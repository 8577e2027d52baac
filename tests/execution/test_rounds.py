"""A run plans again where something failed that others can do without; otherwise what needs it waits, and names it."""

from __future__ import annotations

import gc
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from archive_proc.archive import Archive
from archive_proc.bench.faults.grounds import STAND_INS, Grounds, measure, prepared_grounds, seals
from archive_proc.bench.small_night import small_night
from archive_proc.catalog.selection import Selection
from archive_proc.execution.outcome import RunOutcome
from archive_proc.flow import running
from archive_proc.flow.campaign import Campaign
from archive_proc.model.events import Event, RunEnded, RunStarted
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId
from archive_proc.model.packed import PackedFrames
from archive_proc.model.processes import Cause, Plan, State
from archive_proc.storage.journal import iter_journals, read_journal
from archive_proc.storage.layout import Layout


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("rounds") / "raw"
    small_night(directory, ndit=4, sequences=1)
    return directory


def run(root: Path, raw: Path, cookbook: str) -> tuple[Archive, Plan, tuple[RunOutcome, ...]]:
    """What a run makes of a night whose sky was cut short after it was ingested."""
    Archive.init(root)
    archive = Archive.open(root, cookbook=cookbook)
    archive.ingest([raw], jobs=1)
    (sky,) = (raw.parent / one.uri for one in archive.campaign.raw_frames if one.dpr_type == "SKY")
    content = sky.read_bytes()
    sky.write_bytes(content[: len(content) // 2])
    try:
        return archive, *archive.run(Selection(), site=archive.site("serial"))
    finally:
        sky.write_bytes(content)


def test_one_of_many_that_each_may_lack_keeps_nobody_waiting(raw: Path, tmp_path: Path) -> None:
    archive, plan, outcomes = run(tmp_path / "A", raw, "toy_lacking")
    first, last = outcomes
    assert [one.code for one in first.failures] == ["AP-ING-032"]
    assert first.counts[State.BLOCKED] > 0
    assert {*last.counts} == {State.DONE, State.CACHED}
    (science,) = (one.process for one in plan.processes if one.process.recipe == "irdis_science")
    assert any("left out of background" in word and "irdis_sky failed before" in word for word in science.fallbacks)
    # The next run finds nothing to do; asked to try again, it takes the sky that stands there now.
    _, again = archive.run(Selection(), site=archive.site("serial"))
    assert [{*one.counts} for one in again] == [{State.CACHED}]
    whole, mended = archive.run(Selection(), site=archive.site("serial"), retry=True)
    assert [{*one.counts} for one in mended] == [{State.DONE, State.CACHED}]
    (science,) = (one.process for one in whole.processes if one.process.recipe == "irdis_science")
    assert not any("background" in word for word in science.fallbacks)


def test_while_a_large_plan_runs_nobody_holds_its_campaign(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "PACKED_FROM", 1)
    execute, given = running.execute, []

    def campaigns() -> list[Campaign]:
        gc.collect()
        return [one for one in gc.get_objects() if isinstance(one, Campaign)]

    # Those of other tests, held so that none of this one takes the place of one.
    others = campaigns()

    # Any: the arguments of `execute`.
    def watched(plan: Plan, layout: Layout, frames: Mapping[FileId, RawFrame], *more: Any) -> RunOutcome:
        own = [one for one in campaigns() if not any(one is other for other in others)]
        given.append((type(frames), len(frames), len(own)))
        return execute(plan, layout, frames, *more)

    monkeypatch.setattr(running, "execute", watched)
    archive, plan, outcomes = run(tmp_path / "A", raw, "toy_lacking")
    assert {*outcomes[-1].counts} == {State.DONE, State.CACHED}, "two rounds, as when it is held"
    main = {entry.input_id for one in plan.processes for entry in one.process.main if entry.kind == "file"}
    assert [one[0] for one in given] == [PackedFrames] * 2
    assert given[-1][1] == len(main)
    assert [one[2] for one in given] == [0, 0]
    assert archive.campaign.raw_frames, "read anew when it is asked for"


def test_one_that_failed_for_a_passing_cause_is_tried_again_by_the_same_command_later(
    raw: Path, tmp_path: Path
) -> None:
    Archive.init(tmp_path / "A")
    archive = Archive.open(tmp_path / "A", cookbook="toy_lacking")
    archive.ingest([raw], jobs=1)
    (sky,) = (raw.parent / one.uri for one in archive.campaign.raw_frames if one.dpr_type == "SKY")
    away = sky.rename(tmp_path / sky.name)
    try:
        _, (first, last) = archive.run(Selection(), site=archive.site("serial"))
        assert [(one.code, one.cause) for one in first.failures] == [("AP-ING-033", Cause.INFRA)]
        assert {*last.counts} == {State.DONE, State.CACHED}, "nobody waits in the rounds of the command"
        # Still away: tried again, and once more nothing waits for it.
        _, (again, _) = archive.run(Selection(), site=archive.site("serial"))
        assert [one.code for one in again.failures] == ["AP-ING-033"]
    finally:
        away.rename(sky)
    whole, (mended,) = archive.run(Selection(), site=archive.site("serial"))
    assert {*mended.counts} == {State.DONE, State.CACHED}
    (science,) = (one.process for one in whole.processes if one.process.recipe == "irdis_science")
    assert not any("background" in word for word in science.fallbacks)


def test_what_must_not_lack_is_waited_for_and_nothing_is_planned_twice(raw: Path, tmp_path: Path) -> None:
    _, _, (only,) = run(tmp_path / "A", raw, STAND_INS)
    assert [one.code for one in only.failures] == ["AP-ING-032"]
    assert only.counts[State.BLOCKED] > 0


SITE = "faults-serial"


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Grounds:
    """A night that takes two rounds: undisturbed, what its sky fed is made without it in the second."""
    work = tmp_path_factory.mktemp("killed")
    small_night(work / "raw", ndit=4, sequences=1)
    made = prepared_grounds(work, work / "raw", "toy_lacking")
    (sky,) = (work / one.uri for one in made.open(made.template).campaign.raw_frames if one.dpr_type == "SKY")
    sky.write_bytes(sky.read_bytes()[: sky.stat().st_size // 2])
    whole = dict(made.digests)
    made.digests = {}
    made.walls_s.clear()
    measure(made, SITE)
    assert 0 < len(made.digests) < len(whole), "without the sky's products"
    return made


@pytest.mark.parametrize(
    ("point", "number", "rounds_begun"),
    [("round", 1, 1), ("run", 2, 1), ("round", 2, 2)],
    ids=["nothing planned again", "round 2 without a journal", "all rounds done, the catalog not told"],
)
def test_a_driver_that_dies_between_two_rounds_is_continued_by_the_same_command(
    grounds: Grounds, point: str, number: int, rounds_begun: int
) -> None:
    root = grounds.copy()
    assert grounds.run(root, SITE, grounds.killing(root, point, number)).status == -signal.SIGKILL
    assert sum(isinstance(one, RunStarted) for one in _events(root)) == rounds_begun
    before = seals(root)
    ended = grounds.run(root, SITE)
    assert ended.status == 0, ended.err
    assert grounds.wrong(root, before) == []
    assert grounds.beyond(root) == 0, "what round 1 made is made"
    # As undisturbed: what failed is known from its record, and nothing waits for it.
    last = [one for one in _events(root) if isinstance(one, RunEnded)][-1]
    assert {*last.counts} <= {State.DONE, State.CACHED}


def _events(root: Path) -> list[Event]:
    return [one for _, path in iter_journals(Layout(root).runs) for one in read_journal(path).events]
