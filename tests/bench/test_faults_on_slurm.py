"""The campaign on SLURM where there is none: who is spoiled, how it is healed, and that broken promises are told."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from archive_proc.bench import poisons
from archive_proc.bench.faults.on_slurm.campaign import ROUNDS, SHORT
from archive_proc.bench.faults.on_slurm.judging import ended_as_slurm_says, exactly_these_failed
from archive_proc.bench.faults.on_slurm.known import Known, Night, lines_without
from archive_proc.bench.faults.on_slurm.rounds import FULL_DISK
from archive_proc.bench.faults.on_slurm.spoiling import SPOILS, Done, spoil
from archive_proc.bench.faults.on_slurm.strikes import STRIKES
from archive_proc.cli.main import program
from archive_proc.errors import ArchiveProcError
from archive_proc.model.events import ProcessFailed
from archive_proc.model.ids import ProcessId, RunId
from archive_proc.model.processes import Cause
from archive_proc.storage.journal import JournalWriter
from archive_proc.storage.layout import Layout


def night() -> Night:
    """Three chains of a dark, a cube of it, and a mean of that; each reads a file of its own."""
    found = {}
    for chain in "abc":
        for at, name in enumerate(("dark", "cube", "mean")):
            one = Known(
                process_id=f"{chain}{at}",
                recipe=name,
                subject=f"s{chain}",
                sources=(f"{chain}{at - 1}",) if at else (),
                files=(f"{chain}{at}",) if at < 2 else (),
                steps=(f"{name}/measure", f"{name}/close"),
                tasks=2,
            )
            found[one.process_id] = one
    return Night(found)


def test_what_is_spoiled_does_not_hide_each_other_and_is_healed_to_the_byte(tmp_path: Path) -> None:
    known, raw = night(), tmp_path / "raw"
    raw.mkdir()
    for one in known.in_order:
        for name in one.files:
            (raw / f"{name}.fits").write_bytes(random.Random(name).randbytes(6000))
    before = {path.name: path.read_bytes() for path in raw.iterdir()}
    kinds = ("raw file corrupt", "calibration unreadable", "task raises", "task hangs")
    for seed in range(20):
        done = spoil(known, kinds, raw, tmp_path / "poisons", random.Random(seed))
        assert len(done.faults) >= 2
        chosen = list(done.processes)
        assert not any(known.related(one, other) for one in chosen for other in chosen)
        assert 3 * len(known.below(chosen)) <= len(known.processes)
        now = {path.name: path.read_bytes() for path in raw.iterdir() if path.is_file()}
        changed = [name for name, content in before.items() if now.get(name) != content]
        assert len(changed) == sum(not SPOILS[one.kind].poison for one in done.faults)
        assert len((tmp_path / "poisons").read_text().splitlines()) == len(done.faults) - len(changed)
        done.heal()
        assert {path.name: path.read_bytes() for path in raw.iterdir()} == before
        assert (tmp_path / "poisons").read_text() == ""


def test_only_the_poisoned_step_misbehaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = tmp_path / "poisons"
    monkeypatch.setenv(poisons.POISONS, str(where))
    poisons.misbehave("cube/measure", "sa")  # nothing is poisoned yet
    where.write_text("cube/measure sa raise 0\n")
    poisons.misbehave("cube/measure", "sb")
    poisons.misbehave("cube/close", "sa")
    with pytest.raises(ValueError, match="poisoned"):
        poisons.misbehave("cube/measure", "sa")


def test_a_wrong_cause_a_bystander_and_a_loss_are_told(tmp_path: Path) -> None:
    known, raw = night(), tmp_path / "raw"
    raw.mkdir()
    done = spoil(known, ("task raises", "task segfaults"), raw, tmp_path / "poisons", random.Random(3))
    raises, crashes = done.faults
    (bystander, *_) = [one for one in known.processes if one not in done.processes]
    layout = Layout(tmp_path / "A")
    run = RunId("01a2")
    layout.run_dir(run).mkdir(parents=True)
    with JournalWriter(layout.journal(run)) as journal:
        for process, cause, code in (
            (raises.process, Cause.MEMORY, "AP-RUN-017"),
            (bystander, Cause.INFRA, "AP-RUN-016"),
        ):
            failed = ProcessFailed(
                process_id=ProcessId(process),
                recipe="cube",
                attempt=1,
                at="",
                cause=cause,
                code=code,
                signature="",
                message="",
            )
            journal.append(failed)
    wrong = exactly_these_failed(layout.root, known, done.processes)
    assert raises.wrong[0].startswith("memory AP-RUN-017 in place of code AP-RUN-012")
    assert crashes.wrong == ["it was spoiled, and did not fail"]
    assert bystander in wrong[0]
    assert "are not made" in wrong[1]


def test_an_end_that_is_not_on_record_by_slurms_word_is_told() -> None:
    faults = [
        Done("job timed out", "job 7 at all"),
        Done("node fails", "job 8 at all"),
        Done("scancel", "job 9 at all"),
    ]
    ended_as_slurm_says({"7": "TIMEOUT", "8": "COMPLETED"}, faults)
    assert [one.found for one in faults] == ["TIMEOUT", "COMPLETED", ""]
    assert [one.wrong for one in faults] == [[], ["COMPLETED on record in place of NODE_FAIL"], []]
    (gone,) = lost = [Done("job preempted", "job 7 at all")]
    ended_as_slurm_says({}, lost)
    assert gone.wrong == ["nothing on record in place of PREEMPTED"]


def test_the_tally_of_the_spoiled_does_not_count() -> None:
    lines = ["cube/measure sa 0", "cube/measure sb 0", "dark/rows sa 0"]
    assert lines_without(lines, [night().processes["a1"]]) == ["cube/measure sb 0", "dark/rows sa 0"]


def test_every_round_names_faults_that_there_are() -> None:
    for one in (*ROUNDS, SHORT):
        assert set(one.strikes) <= {*STRIKES, FULL_DISK}
        assert set(one.spoils) <= set(SPOILS)


def test_without_slurm_it_is_said_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SLURM_CONF", raising=False)
    for words, code in ((["--work", str(tmp_path)], "AP-SIM-008"), (["--only", "kills"], "AP-CLI-007")):
        asked = CliRunner().invoke(program, ["bench", "faults", "--site", "slurm:local", *words])
        assert isinstance(asked.exception, ArchiveProcError)
        assert asked.exception.code == code
    assert list(tmp_path.iterdir()) == []
