"""The array that `bench engine` is compared with runs on a real SLURM."""

from __future__ import annotations

from pathlib import Path

from archive_proc.bench.engine.slurm_array import array_efficiency


def test_an_array_of_chunks_is_measured_from_its_first_begin_to_its_last_end(slurm: Path, tmp_path: Path) -> None:
    share = array_efficiency(tmp_path / "array", 1, 3, 0.1)
    assert share is not None
    assert 0.0 < share < 1.0
