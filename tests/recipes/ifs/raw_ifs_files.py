"""Raw IFS files as raw frames and planes, and their masters: what the tests of IFS recipes start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from running import Ran, raw_inputs, run_in_memory

from archive_proc.ingest.facts import raw_frame
from archive_proc.ingest.scan import scan_header
from archive_proc.model.frames import RawFrame
from archive_proc.recipes.recipe import Calibration, Recipe
from archive_proc.storage.fits import read_planes


@dataclass(frozen=True)
class RawFiles:
    """The raw files of one directory, in order of time."""

    paths: Mapping[str, Path]
    frames: tuple[RawFrame, ...]

    def of(self, dpr_type: str, dit_s: float | None = None, comb: str | None = None) -> list[RawFrame]:
        """Those of a DPR TYPE, a DIT (to 1 %) and an INS2 COMB IFS that begins so."""
        return [
            one
            for one in self.frames
            if one.dpr_type == dpr_type
            and (dit_s is None or abs(float(one.dit_s or 0.0) - dit_s) < 0.01 * dit_s)
            and (comb is None or str(one.ifs_comb).startswith(comb))
        ]

    def planes(self, frames: Sequence[RawFrame]) -> NDArray[np.float32]:
        """(n, ny, nx) ADU of all their planes."""
        return np.concatenate([read_planes(self.paths[one.file_id], one, range(one.n_planes)) for one in frames])

    def run(
        self,
        recipe: Recipe,
        frames: Sequence[RawFrame],
        calibrations: Mapping[str, Sequence[Calibration]] | None = None,
        change: Any = None,
        **parameters: Any,
    ) -> Ran:
        """The recipe on these files; `change` maps their planes to those to be used."""
        raw = self.planes(frames)
        inputs = raw_inputs(recipe, frames, calibrations=calibrations, parameters=parameters)
        return run_in_memory(recipe, inputs, {"raw": raw if change is None else change(raw)})


def raw_files(directory: Path) -> RawFiles:
    """The raw files of a directory."""
    found = {}
    for path in sorted(directory.glob("SPHER*.fits*")):
        one = raw_frame(scan_header(path), uri=path.name)
        assert isinstance(one, RawFrame)
        found[one.file_id] = (path, one)
    frames = sorted((one for _, one in found.values()), key=lambda one: one.mjd_obs)
    return RawFiles({key: path for key, (path, _) in found.items()}, tuple(frames))
