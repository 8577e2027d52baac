"""A short campaign of faults: what was not spoiled equals the serial run, what was spoiled fails as it should."""

from __future__ import annotations

import random
from pathlib import Path

from archive_proc.bench.faults.grounds import stand_in_grounds
from archive_proc.bench.faults.on_slurm.campaign import SEQUENCES, SHORT
from archive_proc.bench.faults.on_slurm.cluster import a_slurm
from archive_proc.bench.faults.on_slurm.known import night_of
from archive_proc.bench.faults.on_slurm.rounds import WHOLE, Stage, run_round


def test_whatever_dies_only_what_was_spoiled_fails_and_nothing_else_is_lost(slurm: Path, tmp_path: Path) -> None:
    grounds = stand_in_grounds(tmp_path, sequences=SEQUENCES)
    with a_slurm() as cluster:
        assert cluster.place == slurm, "the one of these tests, named by the environment"
        cases = list(run_round(Stage(grounds, night_of(grounds), cluster), SHORT, random.Random(11)))
    assert [(one.kind, one.what, one.found, one.wrong, one.beyond) for one in cases if not one.held] == []
    kinds = [one.kind for one in cases]
    assert sorted(kinds) == sorted([WHOLE, *SHORT.strikes, *SHORT.spoils]), "every fault of the round struck"
