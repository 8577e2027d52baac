"""What is really in a simulated night: written beside the raw files, never among them.

The form is that of the sample sets (`truth.npz`, `truth_background.npz`), one folder a sequence, so that one
comparison reads both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import InputError
from archive_proc.simulate.detector import Exposed
from archive_proc.simulate.spec import Companion

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ReadOut:
    """Of one plane."""

    offsets: Float
    """(32,) ADU added to each output of 64 columns."""
    hits: NDArray[np.intp]
    """Flat indices, in (1024, 2048), of pixels that cosmic rays hit."""
    hit_adu: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceTruth:
    """Truth of one sequence: n rows, one a plane of its non-calibration files, in order of time."""

    name: str
    raw_file: tuple[str, ...]
    """(n) file ids."""
    frame_idx: NDArray[np.int64]
    """(n,) plane within the file."""
    frame_type: tuple[str, ...]
    """(n) DPR TYPE."""
    in_sequence: NDArray[np.bool_]
    """(n,) science planes."""
    dither: NDArray[np.int64]
    """(n, 2) px, x and y."""
    dit: Float
    """(n,) s."""
    mjd: Float
    """(n,) mid-exposure, UTC."""
    parang: Float
    epsilon: Float
    derot: Float
    """(n,) deg; `parang` contains epsilon; `derot` is the position angle of the detector's +y axis."""
    center: Float
    """(n, 2 halves, x and y) star, 0-based pixels of the half; NaN for SKY."""
    trans: Float
    """(n,) transmission."""
    core: Float
    """(n, 2) transmission x Strehl; NaN for SKY."""
    jitter_mas: Float
    """(n, 2) star's motion on the sky."""
    pix: tuple[float, float]
    """mas per pixel along x, each half."""
    wave: tuple[float, float]
    """nm."""
    companions: tuple[Companion, ...]
    flux_star: tuple[float, float]
    """Unocculted star, no ND, ADU/s, each half."""
    strehl0: tuple[float, float]
    thermal: NDArray[np.float32]
    """(n, 2, 64, 64) thermal background, ADU per DIT before the flat, means over 16 x 16 pixels."""
    flat: NDArray[np.float32]
    """(1024, 2048) response, 0 outside the lit field."""
    pedestal: NDArray[np.float32]
    """(1024, 2048) ADU."""
    bad: NDArray[np.bool_]
    """(1024, 2048) pixels with any defect."""
    new_hot: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    """Flat indices of pixels that calibrations know as good and that are hot here; not in `bad`."""
    folder: Path = Path()
    """Where it was written."""

    def starlight(self, row: int) -> NDArray[np.float32] | None:
        """(2, 1024, 1024) noise-free starlight of one plane, ADU per DIT before the response; None where not kept."""
        path = _starlight_path(self.folder, self.raw_file[row], int(self.frame_idx[row]))
        if not path.is_file():
            return None
        light = np.load(path)
        return np.stack([light[:, : light.shape[1] // 2], light[:, light.shape[1] // 2 :]])

    def read_out(self, row: int) -> ReadOut | None:
        """What is true of one plane's read-out; None where not kept."""
        path = _read_out_path(self.folder, self.raw_file[row], int(self.frame_idx[row]))
        if not path.is_file():
            return None
        with np.load(path) as of:
            return ReadOut(of["offsets"], of["hits"], of["hit_adu"])

    def __len__(self) -> int:
        return len(self.raw_file)

    @property
    def filter(self) -> str:
        """`INS COMB IFLT`-like ending of the name, for print."""
        return self.name.split("_", 1)[-1]

    def rows(self, file_ids: NDArray[np.str_], planes: NDArray[np.integer]) -> NDArray[np.int64]:
        """(m,) rows of these (file, plane) pairs, -1 where there is none."""
        known = {
            (one, int(plane)): row for row, (one, plane) in enumerate(zip(self.raw_file, self.frame_idx, strict=True))
        }
        return np.array(
            [known.get((str(one), int(plane)), -1) for one, plane in zip(file_ids, planes, strict=True)], np.int64
        )


@dataclass(frozen=True, slots=True)
class Truth:
    """Truth of a night."""

    directory: Path
    """Raw files."""
    truth_directory: Path
    """Sibling folder with one folder a sequence."""
    files: tuple[Path, ...]
    """Raw files in order of time."""
    sequences: tuple[SequenceTruth, ...]

    @property
    def planes(self) -> int:
        """Planes of all sequences, calibrations not counted."""
        return sum(len(one) for one in self.sequences)


def truth_directory(directory: Path) -> Path:
    """The sibling folder of a night's raw folder."""
    return directory.with_name(f"{directory.name}.truth")


def _starlight_path(folder: Path, file_id: str, plane: int) -> Path:
    return folder / "starlight" / f"{file_id}.{plane}.npy"


def _read_out_path(folder: Path, file_id: str, plane: int) -> Path:
    return folder / "starlight" / f"{file_id}.{plane}.npz"


def save_read_out(folder: Path, file_id: str, plane: int, done: Exposed) -> None:
    """Write offsets and hits of one plane where `SequenceTruth.read_out` finds them."""
    path = _read_out_path(folder, file_id, plane)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, offsets=done.offsets, hits=done.hits, hit_adu=done.hit_adu)


def save_starlight(folder: Path, file_id: str, plane: int, light: NDArray[np.float32]) -> None:
    """Write the starlight (1024, 2048) of one plane where `SequenceTruth.starlight` finds it."""
    path = _starlight_path(folder, file_id, plane)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, light.astype(np.float32))


def save_truth(folder: Path, truth: SequenceTruth) -> None:
    """Write `truth.npz` and `truth_background.npz` of one sequence."""
    folder.mkdir(parents=True, exist_ok=True)
    companions = [[one.separation_mas, one.position_angle_deg, list(one.contrast)] for one in truth.companions]
    np.savez(
        folder / "truth.npz",
        raw_file=np.array(truth.raw_file),
        frame_idx=truth.frame_idx,
        frame_type=np.array(truth.frame_type),
        in_sequence=truth.in_sequence,
        dither=truth.dither,
        dit=truth.dit,
        mjd=truth.mjd,
        parang=truth.parang,
        epsilon=truth.epsilon,
        derot=truth.derot,
        center=truth.center,
        trans=truth.trans,
        core=truth.core,
        jitter_mas=truth.jitter_mas,
        pix=np.array(truth.pix),
        wave=np.array(truth.wave),
        companions=np.array(json.dumps(companions)),
        flux_star=np.array(truth.flux_star),
        strehl0=np.array(truth.strehl0),
    )
    np.savez(
        folder / "truth_background.npz",
        thermal=truth.thermal,
        flat_x4000=np.rint(np.clip(truth.flat * 4000.0, 0, 65535)).astype(np.uint16),
        pedestal_x2=np.clip(np.rint(truth.pedestal * 2.0), -127, 127).astype(np.int8),
        bad=np.packbits(truth.bad.ravel()),
        new_hot=truth.new_hot,
    )


def load_truth(folder: Path) -> SequenceTruth:
    """Read the truth of one sequence or sample set. Raises InputError AP-SIM-003 when its files are not there."""
    for name in ("truth.npz", "truth_background.npz"):
        if not (folder / name).is_file():
            raise InputError(
                "AP-SIM-003",
                f"{name} is missing",
                subject=str(folder),
                remedy="give a folder of simulate_night, or a sample set",
            )
    with np.load(folder / "truth.npz") as of, np.load(folder / "truth_background.npz") as more:
        companions = tuple(
            Companion(float(rho), float(angle), (float(contrast[0]), float(contrast[1])))
            for rho, angle, contrast in json.loads(str(of["companions"]))
        )
        return SequenceTruth(
            name=folder.name,
            raw_file=tuple(str(one) for one in of["raw_file"]),
            frame_idx=of["frame_idx"].astype(np.int64),
            frame_type=tuple(str(one) for one in of["frame_type"]),
            in_sequence=of["in_sequence"].astype(bool),
            dither=of["dither"].astype(np.int64),
            dit=of["dit"],
            mjd=of["mjd"],
            parang=of["parang"],
            epsilon=of["epsilon"],
            derot=of["derot"],
            center=of["center"],
            trans=of["trans"],
            core=of["core"],
            jitter_mas=of["jitter_mas"],
            pix=_pair(of["pix"]),
            wave=_pair(of["wave"]),
            companions=companions,
            flux_star=_pair(of["flux_star"]),
            strehl0=_pair(of["strehl0"]),
            thermal=more["thermal"],
            flat=(more["flat_x4000"] / np.float32(4000.0)).astype(np.float32),
            pedestal=(more["pedestal_x2"] / np.float32(2.0)).astype(np.float32),
            bad=np.unpackbits(more["bad"]).astype(bool).reshape(more["flat_x4000"].shape),
            # The sample sets have none.
            new_hot=more["new_hot"] if "new_hot" in more else np.empty(0, np.intp),
            folder=folder,
        )


def _pair(values: NDArray[np.floating]) -> tuple[float, float]:
    return float(values[0]), float(values[1])
