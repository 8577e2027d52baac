"""One simulated IFS night for all tests of the IFS recipes, and the ways to `running` and `samples`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from raw_ifs_files import RawFiles, raw_files

from archive_proc.recipes.detector import IFS_DARK, IFS_INSTRUMENT_BACKGROUND
from archive_proc.recipes.ifs.detector_flat import IFS_DETECTOR_FLAT
from archive_proc.recipes.recipe import Calibration
from archive_proc.simulate.ifs.night import simulate_ifs_night
from archive_proc.simulate.ifs.spec import IfsNight, IfsObservation, IfsTarget
from archive_proc.simulate.ifs.truth import IfsTruth


@dataclass(frozen=True)
class Night:
    """Raw files with their truth."""

    files: RawFiles
    truth: IfsTruth


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """YJ, whole field: darks and backgrounds of two planes, four lamps, lenslet flat, spectra positions, lasers."""
    target = IfsTarget(name="SIM-EMPTY", ra_deg=226.4, dec_deg=-40.0)
    empty = IfsObservation(scene="empty", target=target, order="O", ndit=1)
    spec = IfsNight(mode="YJ", observations=(empty,), lamp_ndit=1, background_ndit=2)
    folder = tmp_path_factory.mktemp("ifs") / "raw"
    truth = simulate_ifs_night(folder, spec, seed=11)
    return Night(raw_files(folder), truth)


@pytest.fixture(scope="session")
def darks(night: Night) -> dict[str, Calibration]:
    """Masters of the night: `dark_1.65`, `background_1.65`, `background_32`."""
    files = night.files
    return {
        "dark_1.65": files.run(IFS_DARK, files.of("DARK")).calibration("dark"),
        "background_1.65": files.run(IFS_INSTRUMENT_BACKGROUND, files.of("DARK,BACKGROUND", 1.65)).calibration(
            "instrument_background"
        ),
        "background_32": files.run(IFS_INSTRUMENT_BACKGROUND, files.of("DARK,BACKGROUND", 32.0)).calibration(
            "instrument_background"
        ),
    }


@pytest.fixture(scope="session")
def white_flat(night: Night, darks: dict[str, Calibration]) -> dict[str, Calibration]:
    """`detector_flat` and `bad_pixels` of the white lamp."""
    lamps = night.files.of("FLAT,LAMP", comb="CAL_BB")
    ran = night.files.run(IFS_DETECTOR_FLAT, lamps, {"darks": list(darks.values())})
    return {one: ran.calibration(one) for one in ran.products}
