"""The promises of `bench faults`, a few of every kind: the long campaign is the command itself."""

from __future__ import annotations

import importlib
import random
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from archive_proc.bench import kill_points, shifted_clock
from archive_proc.bench.faults import clocks, formats, journals, kills, raw_files, rivals, room, shards
from archive_proc.bench.faults.case import Case, report, table
from archive_proc.bench.faults.grounds import Grounds, seals, stand_in_grounds
from archive_proc.bench.figures import report_json
from archive_proc.bench.kill_points import POINTS, KillPoint
from archive_proc.bench.poisons import POISONS
from archive_proc.errors import PreconditionError
from archive_proc.flow import running
from archive_proc.storage.layout import Layout

SITE = "faults-serial"


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Grounds:
    return stand_in_grounds(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def finished(grounds: Grounds) -> Path:
    root = grounds.copy()
    assert grounds.run(root, SITE).status == 0
    return root


@pytest.fixture
def rng() -> random.Random:
    return random.Random(17)


def held(cases: Iterable[Case]) -> list[Case]:
    found = list(cases)
    assert found
    assert [(one.kind, one.what, one.found, one.wrong, one.beyond) for one in found if not one.held] == []
    return found


def test_a_kill_at_a_named_point_costs_no_product_and_no_seal(
    grounds: Grounds, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("record", "rename", "symlink")
    monkeypatch.setattr(kills, "POINTS", {name: POINTS[name] for name in names})
    assert len(held(kills.kills_at_points(grounds, rng, 1))) == len(names)


def test_a_failure_stands_until_it_is_tried_again_on_purpose_also_of_a_saved_plan(
    grounds: Grounds, tmp_path: Path
) -> None:
    root, poisons = grounds.copy(), tmp_path / "poisons"
    step, subject, _ = next(one for one in grounds.steps if one.startswith("irdis_science/write")).split()
    poisons.write_text(f"{step} {subject} raise 0\n")
    words = ("--quiet", "run", "--site", SITE)
    assert grounds.call(root, *words, environment={POISONS: str(poisons)}).status == 3
    (plan,) = (one.stem for one in Layout(root).plans.glob("*.json"))
    before = seals(root)
    # What made it fail is gone, and nobody told us: its failure stands, and is told with the run it comes from.
    stands = grounds.call(root, *words, f"plan:{plan}")
    assert stands.status == 3
    assert "AP-RUN-012" in stands.out + stands.err
    assert seals(root) == before
    assert grounds.call(root, *words, f"plan:{plan}", "--retry").status == 0
    assert grounds.wrong(root, before) == []


def test_a_point_that_is_never_reached_is_no_promise_kept(
    grounds: Grounds, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody is told to die, as where a point is armed in the wrong process.
    monkeypatch.setattr(kills, "POINTS", {"never": POINTS["planes"]})
    monkeypatch.setattr(Grounds, "killing", lambda self, root, point, number: {})
    (case,) = kills.kills_at_points(grounds, rng, 1)
    assert not case.held
    assert "never came" in case.wrong[0]


def test_a_point_is_armed_once_however_often_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = vars(running)["write_pieces"]
    monkeypatch.setattr(running, "write_pieces", real)  # put back at the end
    flag = tmp_path / "flag"
    monkeypatch.setenv(kill_points.REFUSE, f"plan:2:{flag}")
    for _ in range(2):
        kill_points.arm_from_environment()
    armed = vars(running)["write_pieces"]
    assert armed.__wrapped__ is real
    armed(tmp_path / "first", [b"1"])
    with pytest.raises(OSError, match="quota"):
        armed(tmp_path / "second", [b"2"])
    assert flag.exists()


@pytest.mark.parametrize("victim", ["driver", "compactor"])
def test_kills_that_always_come_too_late_end_the_search(
    grounds: Grounds, finished: Path, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    monkeypatch.setattr(kills, "MISSES", 2)
    monkeypatch.setattr(kills, "_strike", lambda *given: False)
    rng = random.Random(1)
    of_driver = kills.random_kills(grounds, "driver", 3, rng)
    (case,) = of_driver if victim == "driver" else kills.compactor_kills(grounds, finished, 3, rng)
    assert not case.held
    assert "2 commands in a row" in case.wrong[0]


def test_every_named_point_is_a_function_that_is_there() -> None:
    assert [name for name, one in POINTS.items() if not callable(the_function(one))] == []


def the_function(point: KillPoint) -> object:
    found: object = importlib.import_module(point.module)
    for one in point.name.split("."):
        found = getattr(found, one, None)
    return found


def test_a_disk_that_is_full_or_fills_up_stops_the_run_with_a_named_answer(
    grounds: Grounds, rng: random.Random
) -> None:
    try:
        found = held(room.full_disks(grounds, (0.3, 0.8), rng, during=False))
        found += held(room.full_disks(grounds, (0.0,), rng, during=True))
    except PreconditionError as lacks:
        pytest.skip(lacks.message)
    assert any("AP-RUN-032" in one.found for one in found)
    assert any("AP-RUN-035" in one.found for one in found)


def test_a_used_up_quota_stops_the_run_wherever_it_strikes(
    grounds: Grounds, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "REFUSED_AT", ("journal",))
    assert len(held(room.quotas(grounds, 1, rng))) == 1


def test_a_read_only_store_can_be_read_and_says_that_it_cannot_be_written(
    grounds: Grounds, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "READING", {name: room.READING[name] for name in ("query", "check")})
    try:
        held(room.read_only(grounds, {"all done": finished}))
    except PreconditionError as lacks:
        pytest.skip(lacks.message)


def test_damaged_shards_are_named_and_mended_by_the_remedy(
    grounds: Grounds, finished: Path, rng: random.Random
) -> None:
    held(shards.damaged_products(grounds, finished, 1, rng))


def test_nothing_is_made_of_a_damaged_master(grounds: Grounds, rng: random.Random) -> None:
    held(shards.damaged_inputs(grounds, 1, rng))


def test_torn_journals_lose_no_product(grounds: Grounds, finished: Path, rng: random.Random) -> None:
    held(journals.torn_journals(grounds, 1, rng))
    held(journals.lost_lines(grounds, finished, 1, rng))


def test_no_order_follows_a_clock_that_steps(grounds: Grounds, rng: random.Random) -> None:
    try:
        held(clocks.stepping_clocks(grounds, 1, rng))
        held(clocks.off_clocks(grounds, 1, rng))
        held(clocks.ingest_under_a_clock_set_back(grounds))
    except PreconditionError as lacks:
        pytest.skip(lacks.message)


def test_the_wall_clock_is_read_where_the_stepping_clock_knows_it() -> None:
    package = Path(shifted_clock.__file__).parents[1]
    reads = re.compile(r"time\.time\(\)|datetime\.now\(|utcnow\(|date\.today\(")
    found = {
        one.relative_to(package.parent).as_posix()
        for one in package.rglob("*.py")
        if "bench" not in one.parts and reads.search(one.read_text())
    }
    assert found == shifted_clock.READERS
    told = {
        ".".join(one.relative_to(package.parent).with_suffix("").parts)
        for one in package.rglob("*.py")
        if "bench" not in one.parts and re.search(r"\butc_now\(\)", one.read_text())
    }
    # How long a worker took to start, and workers that only play: no record of a run that a clock could spoil.
    apart = {"archive_proc.execution.births", "archive_proc.execution.played"}
    assert told - apart == set(shifted_clock.TEXTS)


def test_one_of_two_drivers_is_refused_and_readers_see_whole_snapshots(grounds: Grounds, rng: random.Random) -> None:
    held(rivals.two_drivers(grounds, 1, rng))
    held(rivals.readers(grounds, 1))


def test_other_versions_open_or_are_refused_before_anything_is_written(
    grounds: Grounds, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "OLDER", {name: formats.OLDER[name] for name in ("journal, odd",)})
    monkeypatch.setattr(formats, "NEWER", {name: formats.NEWER[name] for name in ("table schema",)})
    assert len(held(formats.other_versions(grounds, finished))) == 3


@pytest.mark.parametrize(("moment", "how"), [("between blocks", 0), ("between passes", 1)])
def test_nothing_is_sealed_from_a_raw_file_that_changed(
    grounds: Grounds, rng: random.Random, monkeypatch: pytest.MonkeyPatch, moment: str, how: int
) -> None:
    monkeypatch.setattr(raw_files, "MOMENTS", (moment,))
    monkeypatch.setattr(raw_files, "CHANGES", (raw_files.CHANGES[how],))
    monkeypatch.setattr(grounds, "pause_s", 0.1)
    held(raw_files.changing_files(grounds, 1, rng))


def test_the_table_counts_and_names_what_broke() -> None:
    cases = [
        Case(kind="kill", what="driver after 1 s", found="killed", beyond=1, bound=6),
        Case(kind="kill", what="driver after 2 s", found="killed", beyond=9, bound=6),
        Case(kind="shard", what="flipped", found="exit 4", wrong=("a seal changed",)),
    ]
    text = table(cases, [("clocks", "libfaketime is not installed")])
    assert "1 BROKEN" in text
    assert "BROKEN kill, driver after 2 s: 9 tasks executed beyond need, 6 were in flight" in text
    assert "BROKEN shard, flipped: a seal changed" in text
    assert "NOT TRIED" in text
    found = report(cases, [("clocks", "libfaketime is not installed")])
    assert {(one.case, one.name) for one in found.missed} == {
        ("kill", "broken"),
        ("kill", "executed beyond need, worst"),
        ("shard", "broken"),
        ("clocks", "broken"),
    }
    assert '"met": false' in report_json(found)
