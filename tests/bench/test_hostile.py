"""Hostile files: each has its named answer, and neither its bytes nor memory are spent on it."""

import subprocess
import sys
import tracemalloc

import pytest

from archive_proc.bench.hostile import CASES
from archive_proc.bench.one_case import answer
from archive_proc.ingest.source import MAX_HEADER, OpenedFile


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_hostile_file_has_its_answer_for_few_bytes(tmp_path, monkeypatch, case):
    path = tmp_path / "SPHER.2017-09-28T08_13_07.975.fits"
    case.write(path)
    read = []
    at = OpenedFile.at
    monkeypatch.setattr(OpenedFile, "at", lambda self, *where: read.append(at(self, *where)) or read[-1])
    tracemalloc.start()
    try:
        word, escaped = answer(path, scan_only=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (word, escaped) == (case.answer, "")
    assert peak < 50e6
    assert sum(map(len, read)) <= 12 * MAX_HEADER


GIVEN_BACK = """
from archive_proc.bench.one_case import Meter
meter = Meter()
held = bytearray(60_000_000)
held[::4096] = b"x" * len(held[::4096])
del held
print(meter.cost().peak_bytes)
"""


def test_the_meter_sees_memory_that_was_given_back():
    # In a process of its own: where a peak cannot be reset, that of earlier tests would hide this one.
    done = subprocess.run([sys.executable, "-c", GIVEN_BACK], capture_output=True, text=True, check=True)
    assert 50e6 < int(done.stdout) < 200e6
