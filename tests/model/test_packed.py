"""Packed plans and frames are equal to what they were made of, and small."""

from __future__ import annotations

import pickle

import pytest

from archive_proc.bench.engine.semester import semester_plan
from archive_proc.errors import MisuseError
from archive_proc.model import packed
from archive_proc.model.ids import FileId
from archive_proc.model.packed import PackedFrames, PackedInputs, packed_plan, unpacked
from archive_proc.model.processes import Plan, sources_of
from archive_proc.planning import text
from archive_proc.planning.text import plan_from_json, plan_lines, plan_to_json


@pytest.fixture(scope="module")
def plain() -> Plan:
    return plan_from_json(plan_to_json(semester_plan(100)[0]))


def test_a_packed_plan_is_equal_has_the_same_text_and_comes_back(plain: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    assert packed_plan(plain) is plain  # a small one stays as it is
    monkeypatch.setattr(packed, "PACKED_FROM", 1)
    small = packed_plan(plain)
    assert small == plain
    assert b"".join(plan_lines(small)) == plan_to_json(plain)
    for one, other in zip(small.processes, plain.processes, strict=True):
        assert isinstance(one.process.inputs, PackedInputs)
        assert one.process.sources == sources_of(other.process.inputs) == other.process.sources
        assert one.process.main == other.process.main
        assert type(unpacked(one).process.inputs) is tuple
        assert unpacked(one) == other
    assert len(small.processes[0].process.inputs) == len(plain.processes[0].process.inputs)
    # What the objects take pickled is less than what they take in memory.
    sizes = [len(one.process.inputs._packed) for one in small.processes if isinstance(one.process.inputs, PackedInputs)]
    assert sum(sizes) < 0.6 * sum(len(pickle.dumps(one.process.inputs)) for one in plain.processes)


def test_a_large_plan_is_packed_as_it_is_read(plain: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    content = plan_to_json(plain)
    assert all(type(one.process.inputs) is tuple for one in plan_from_json(content, small=True).processes)
    monkeypatch.setattr(text, "PACKED_FROM", len(plain.processes))
    small = plan_from_json(content, small=True)
    assert all(isinstance(one.process.inputs, PackedInputs) for one in small.processes)
    assert small == plan_from_json(content) == plain
    # Each id is held once, by the process itself and by all that read its products.
    held = {one.process.process_id: one.process.process_id for one in small.processes}
    assert all(held[source] is source for one in small.processes for source in one.process.sources)
    damaged = content.replace(b'"values":16', b'"values":17', 1)
    with pytest.raises(MisuseError, match="AP-PLN-021"):
        plan_from_json(damaged, small=True)


def test_packed_frames_are_found_by_id_whatever_was_looked_at_before() -> None:
    _, frames = semester_plan(60)
    ids = list(frames)
    assert ids == sorted(ids)
    assert len(frames) == len(ids)
    plain = dict(frames)
    again = PackedFrames(plain.values())
    for number in (0, len(ids) - 1, len(ids) // 2, 1):
        assert again[ids[number]] == plain[ids[number]]
    assert dict(again) == plain
    for unknown in ("", "SPHER.1999", f"{ids[3]}x", "zzz"):
        assert again.get(FileId(unknown)) is None
    assert PackedFrames().get(ids[0]) is None
