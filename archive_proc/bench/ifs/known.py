"""What is known of a set: truth of the package's own simulator and of the sample set, in one form.

Pixels are 0-based, centres at integers, x along the fast axis. Fluxes are electrons per bin and DIT in a lenslet,
throughput included.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from archive_proc.errors import NotFoundError
from archive_proc.simulate.ifs.facts import SIZE, mode_named, read_noise_e
from archive_proc.simulate.ifs.truth import IfsTruth, load_ifs_truth

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Flux = Callable[[int], Float32]
BAD_KINDS = ("static", "unstable", "new")
"""Bad pixels: hot or dead before the night; noisier than others; hot since science started."""
_FRAME_TYPES = {"F": "FLUX", "C": "CENTER", "O": "OBJECT"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """A point source beside the star in one plane."""

    kind: str
    """T or L."""
    contrast: float
    x: float
    y: float
    """Pitches from the field's centre."""
    separation_mas: float = np.nan
    position_angle_deg: float = np.nan
    """On the sky, north through east; NaN: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One raw file with light in it."""

    name: str
    """uniform, tdwarf, comb, star, disc, empty; ifu_flat, wave."""
    frame_type: str
    """OBJECT, CENTER, FLUX, CALIB."""
    file_id: str
    dit_s: float
    planes: int
    edges_nm: Float
    """(bins + 1,)"""
    flux: Flux
    """Of a plane: (l, bins)."""
    pose: Float
    """(n, 3) dx, dy (px), turn (deg) against the laser frame."""
    cosmics: NDArray[np.int64]
    """(m, 3) plane, y, x of the pixels hit."""
    star: Float | None = None
    """(n, 2) x, y of the star, pitches from the field's centre."""
    companions: tuple[tuple[Companion, ...], ...] = ()
    """One tuple a plane."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Truth of one night in one mode; l lenslets."""

    mode: str
    q: NDArray[np.int64]
    r: NDArray[np.int64]
    x: Float
    y: Float
    """(l,) lattice indices, and pitches from the field's centre, oriented like the rectified image."""
    complete: NDArray[np.bool_]
    """(l,) whole spectrum on the detector: only these are scored."""
    position_nm: Float
    x_px: Float
    y_px: Float
    """(l, p) at the calibrations' epoch."""
    laser_nm: Float
    """Ascending."""
    x_laser: Float
    y_laser: Float
    """(l, lasers)"""
    bad: Mapping[str, NDArray[np.int64]]
    """(n, 2) y, x of the bad pixels of each kind of `BAD_KINDS`."""
    background_e_s: Float32
    """(2048, 2048)"""
    read_noise: Callable[[float], float]
    """e- of a plane, by its DIT in s."""
    scenes: tuple[Scene, ...]
    response: Float32 | None = None
    """(2048, 2048) of the pixels, where it is known."""

    def scene(self, name: str, frame_type: str | None = None) -> Scene | None:
        """The first scene of a name (and frame type); None where the night has none."""
        found = self.all(name, frame_type)
        return found[0] if found else None

    def all(self, name: str, frame_type: str | None = None) -> tuple[Scene, ...]:
        """All of them, in order of time."""
        return tuple(one for one in self.scenes if one.name == name and frame_type in (None, one.frame_type))

    def positions(self, wavelength_nm: Float, pose: Float | None = None) -> tuple[Float, Float]:
        """(l, k) x and y, pixels, of k wavelengths, displaced by a pose (3,)."""
        law = np.log(self.position_nm)
        x = CubicSpline(law, self.x_px, axis=1)(np.log(wavelength_nm))
        y = CubicSpline(law, self.y_px, axis=1)(np.log(wavelength_nm))
        if pose is None:
            return x, y
        turn, middle = np.radians(pose[2]), (SIZE - 1) / 2.0
        return x + pose[0] - turn * (y - middle), y + pose[1] + turn * (x - middle)


def load_simulated(folder: Path, dits: Mapping[str, float]) -> Known:
    """Truth of a simulated night (`<raw folder>.truth`); `dits` by file, s, from the raw headers."""
    truth = load_ifs_truth(folder)
    order = np.argsort(truth.laser_nm)
    frames = [truth.frame(file_id) for file_id in truth.file_ids]
    epoch = next((one.pose[0] for one in frames if one.kind == "wave"), np.zeros(3))
    scenes = []
    for frame in frames:
        if frame.kind not in ("ifu_flat", "wave", "F", "C", "O"):
            continue
        stars = frame.sky and "star_x" in frame.sky[0]
        scenes.append(
            Scene(
                name=frame.scene,
                frame_type=_FRAME_TYPES.get(frame.kind, "CALIB"),
                file_id=frame.file_id,
                dit_s=dits.get(frame.file_id, 0.0),
                planes=len(frame.mjd),
                edges_nm=truth.edges_nm,
                flux=_flux_of(truth, frame.file_id),
                pose=frame.pose - epoch,
                cosmics=np.asarray(frame.cosmics, np.int64).reshape(-1, 3),
                star=np.array([[row["star_x"], row["star_y"]] for row in frame.sky], np.float64) if stars else None,
                companions=tuple(_companions(row) for row in frame.sky) if stars else (),
            )
        )
    static = np.concatenate([truth.hot, truth.dead])
    factor = truth.facts["noise_factor"]
    return Known(
        mode=truth.mode,
        q=truth.q,
        r=truth.r,
        x=truth.x,
        y=truth.y,
        complete=truth.complete,
        position_nm=truth.position_nm,
        x_px=truth.x_px.astype(np.float64),
        y_px=truth.y_px.astype(np.float64),
        laser_nm=truth.laser_nm[order],
        x_laser=truth.x_laser[:, order].astype(np.float64),
        y_laser=truth.y_laser[:, order].astype(np.float64),
        bad={
            "static": _pixels(static),
            "unstable": _pixels(truth.unstable),
            "new": _pixels(truth.newly_hot),
        },
        background_e_s=truth.background_e_s,
        read_noise=lambda dit_s: read_noise_e(dit_s, factor),
        scenes=tuple(scenes),
        response=truth.response,
    )


def _pixels(flat: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.stack(np.divmod(flat, SIZE), axis=1)


def _flux_of(truth: IfsTruth, file_id: str) -> Flux:
    # Read when asked for: a star's file holds 50 MB of truth.
    return lambda plane: truth.flux(truth.frame(file_id), plane)


def _companions(row: Mapping[str, object]) -> tuple[Companion, ...]:
    listed = row.get("companions", [])
    assert isinstance(listed, list)
    return tuple(
        Companion(
            kind=one["kind"],
            contrast=one["contrast"],
            x=float(one["x"]),
            y=float(one["y"]),
            separation_mas=float(one["separation_mas"]),
            position_angle_deg=float(one["position_angle_deg"]),
        )
        for one in listed
    )


def is_sample(folder: Path) -> bool:
    """Whether this is the sample set: `manifest.csv`, `raw`, `truth/geometry.npz`."""
    return (folder / "truth" / "geometry.npz").is_file() and (folder / "manifest.csv").is_file()


def load_sample(folder: Path) -> Known:
    """Truth of the sample set. Raises NotFoundError AP-SIM-003 where the folder is not one."""
    if not is_sample(folder):
        raise NotFoundError(
            "AP-SIM-003",
            "no truth/geometry.npz beside a manifest.csv",
            subject=str(folder),
            remedy="give the folder of the IFS sample set, or leave --samples out",
        )
    with np.load(folder / "truth" / "geometry.npz") as of:
        geometry = {key: of[key] for key in of.files}
    with np.load(folder / "truth" / "lamps_and_tests.npz") as of:
        even = {key: of[key] for key in of.files}
    x, y = -geometry["hx"].astype(np.float64), geometry["hy"].astype(np.float64)
    r = np.rint(y / np.sqrt(0.75)).astype(np.int64)
    q = np.rint(x - 0.5 * r - 0.5).astype(np.int64)
    moved = np.append(geometry["science_shift"], 0.0)
    half = even["dlam"] / 2.0
    edges = np.append(even["lam"] - half, even["lam"][-1] + half[-1])
    order = np.argsort(geometry["lasers"])
    with (folder / "manifest.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["tech"] == "IFU"]
    scenes = [
        _sample_scene(folder, row, geometry["lensflat"], even, edges, moved)
        for row in rows
        if row["scene"] != "specpos"
    ]
    return Known(
        mode="YJ",
        q=q,
        r=r,
        x=x,
        y=y,
        complete=geometry["complete"] & _whole(geometry),
        position_nm=geometry["lam_position"],
        x_px=geometry["x_calib"].astype(np.float64),
        y_px=geometry["y_calib"].astype(np.float64),
        laser_nm=geometry["lasers"][order],
        x_laser=geometry["x_laser"][:, order].astype(np.float64),
        y_laser=geometry["y_laser"][:, order].astype(np.float64),
        bad={kind: geometry[f"bad_{kind}"].astype(np.int64) for kind in BAD_KINDS},
        # Its README: 15 e-/s with gradients, read noise 10 e-.
        background_e_s=np.full((SIZE, SIZE), 15.0, np.float32),
        read_noise=lambda dit_s: 10.0,
        scenes=tuple(scenes),
    )


def _whole(geometry: Mapping[str, NDArray[np.generic]]) -> NDArray[np.bool_]:
    """(l,) the usable band, 950 to 1350 nm, lies on the detector by the truth's own places.

    The set calls 163 lenslets complete whose blue end hangs up to 30 px over the detector's lower edge.
    """
    law = np.log(geometry["lam_position"].astype(np.float64))
    places = np.stack([geometry["x_calib"], geometry["y_calib"]]).astype(np.float64)
    ends = CubicSpline(law, places, axis=2)(np.log([950.0, 1350.0]))
    return np.asarray(((ends >= 0.0) & (ends <= SIZE - 1)).all(axis=(0, 2)))


def _sample_scene(
    folder: Path,
    row: Mapping[str, str],
    throughput: Float32,
    even: Mapping[str, NDArray[np.generic]],
    edges: Float,
    moved: Float,
) -> Scene:
    kind = row["scene"].split("_")[0]
    science = row["catg"] == "SCIENCE"
    planes = int(row["ndit"])
    star: Float | None = None
    companions: tuple[tuple[Companion, ...], ...] = ()
    if kind in ("object", "center", "flux"):
        with np.load(folder / "truth" / f"{row['scene']}.npz") as of:
            meta = json.loads(str(of["meta"]))
            edges = of["lam_edges"].astype(np.float64)
            light = of["flux"].astype(np.float32)
            later = of["flux_dit1_minus_dit0"].astype(np.float32) if "flux_dit1_minus_dit0" in of.files else None
            cosmics = of["cosmics"].astype(np.int64)
        pitch = 12.92
        place = np.array(meta.get("star_XY_mas", [np.nan, np.nan]), np.float64) / pitch
        star = np.broadcast_to(place, (planes, 2)).copy()
        companions = tuple(
            tuple(
                Companion(
                    kind=one["kind"],
                    contrast=one["contrast"],
                    x=one["X"] / pitch,
                    y=one["Y"] / pitch,
                    separation_mas=float(one.get("sep", np.nan)),
                    position_angle_deg=float(one.get("pa_sky", np.nan)),
                )
                for one in frame.get("companions", [])
            )
            for frame in meta.get("frames", [])
        )

        def flux(plane: int) -> Float32:
            return light if plane == 0 or later is None else np.asarray(light + later, np.float32)
    elif kind == "wave":
        cosmics = np.empty((0, 3), np.int64)

        def flux(plane: int) -> Float32:
            return np.zeros((len(throughput), len(edges) - 1), np.float32)
    else:
        lit = even["comb_lit"].astype(np.float32) if kind == "comb" else np.ones(len(throughput), np.float32)
        spectrum = even[kind].astype(np.float32)
        cosmics = even[f"{kind}_cosmics"].astype(np.int64).reshape(-1, 3)

        def flux(plane: int) -> Float32:
            return np.asarray((throughput * lit)[:, None] * spectrum[None, :])

    return Scene(
        name={"ifuflat": "ifu_flat", "object": "star", "center": "star", "flux": "star"}.get(kind, kind),
        frame_type={"object": "OBJECT", "center": "CENTER", "flux": "FLUX"}.get(kind, "OBJECT" if science else "CALIB"),
        file_id=row["file"].split(".fits")[0],
        dit_s=float(row["dit"]),
        planes=planes,
        edges_nm=edges,
        flux=flux,
        pose=np.broadcast_to(moved if science else np.zeros(3), (planes, 3)).copy(),
        cosmics=cosmics.reshape(-1, 3),
        star=star,
        companions=companions,
    )


def band_core_nm(mode: str) -> tuple[float, float]:
    """Wavelengths between which channels are scored: 20 nm inside the filter's edges, and below 1325 or 1635 nm."""
    low, high = mode_named(mode).edges_nm
    return low + 21.0, high - 22.0
