"""What is really in a simulated IFS night: written beside the raw files, never among them; read back for the bench.

Fluxes are electrons per bin and DIT that a lenslet's PSFlets (sum 1) bring to the detector, before the pixels' response
and without the long-range halo. Positions are 0-based pixels, centres at integers, x along the fast axis.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import InputError
from archive_proc.simulate.ifs.geometry import Pose
from archive_proc.simulate.ifs.instrument import Instrument
from archive_proc.simulate.ifs.psflets import FINE, psflet_image

Float = NDArray[np.float64]
POSITION_NODES = 14
PSFLET_NODES = 5
"""Field positions per axis of the PSFlet images kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTruth:
    """Truth of one file with n planes."""

    file_id: str
    kind: str
    """dark, background, detector_flat, ifu_flat, specpos, wave, F, C, O, S."""
    scene: str
    """Of science (`spec.SCENES`), else the kind."""
    mjd: Float
    """(n,) mid-exposure, UTC."""
    pose: NDArray[np.float64]
    """(n, 3) dx, dy (px), turn (deg) against the calibrations."""
    cosmics: NDArray[np.int16]
    """(m, 3) plane, y, x of the pixels hit."""
    spectrum: Float | None = None
    """(bins,) where all lenslets see one spectrum; for lasers (lasers,) electrons a spot."""
    weight: NDArray[np.float32] | None = None
    """(lenslets,) or (lenslets, lasers) factor on the spectrum: illumination, comb; without throughput."""
    flux: NDArray[np.float32] | None = None
    """(n, lenslets, bins) for scenes of the sky: everything included, throughput too."""
    sky: tuple[Mapping[str, object], ...] = ()
    """One a plane of a star's files: parang, derotation, star_x, star_y (pitches), companions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IfsTruth:
    """Truth of a night in one mode."""

    directory: Path
    mode: str
    seed: int
    q: NDArray[np.int64]
    r: NDArray[np.int64]
    x: Float
    y: Float
    """(l,) lenslets: lattice indices and pitches from the field's centre, oriented like the rectified image."""
    complete: NDArray[np.bool_]
    """(l,) whole spectrum on the detector: score only these."""
    throughput: Float
    colour: Float
    stopped: Float
    """(l,) see `geometry.Lenslets`."""
    edges_nm: Float
    """(bins + 1,)"""
    transmission: Float
    """(bins,) passband."""
    position_nm: Float
    """(p,) wavelengths of the positions."""
    x_px: NDArray[np.float32]
    y_px: NDArray[np.float32]
    """(l, p) at the calibrations' epoch; science: displaced by the frame's pose."""
    laser_nm: Float
    laser_names: tuple[str, ...]
    x_laser: NDArray[np.float32]
    y_laser: NDArray[np.float32]
    """(l, lasers) at the calibrations' epoch."""
    response: NDArray[np.float32]
    pixel_colour: NDArray[np.float32]
    background_e_s: NDArray[np.float32]
    """(2048, 2048)"""
    hot: NDArray[np.int64]
    dead: NDArray[np.int64]
    unstable: NDArray[np.int64]
    newly_hot: NDArray[np.int64]
    """Flat indices of bad pixels by kind."""
    facts: Mapping[str, float]
    """Scalars: ipc, noise_factor, row_noise_e, cosmics_per_s, halo_share, halo_radius_px, halo_slope."""
    file_ids: tuple[str, ...]
    """Files with light or cosmics, in order of time."""

    def frame(self, file_id: str) -> FrameTruth:
        """Truth of one file. Raises InputError AP-SIM-003 for a file that is not of this night."""
        path = self.directory / f"{file_id}.npz"
        if not path.is_file():
            raise InputError("AP-SIM-003", f"no truth of {file_id}", subject=str(self.directory), remedy="name a file")
        return _load_frame(path)

    def flux(self, frame: FrameTruth, plane: int) -> NDArray[np.float32]:
        """(l, bins) electrons per bin of one plane; zeros where no light passes the lenslets.

        Lasers have no bins: use `spectrum`, `weight` and the throughput instead.
        """
        if frame.flux is not None:
            return np.asarray(frame.flux[plane], np.float32)
        bins = len(self.edges_nm) - 1
        if frame.spectrum is None or frame.weight is None or frame.kind == "wave":
            return np.zeros((len(self.x), bins), np.float32)
        hue = (0.5 * (self.edges_nm[1:] + self.edges_nm[:-1]) - 1150.0) / 200.0
        passed = (self.throughput * self.stopped)[:, None] * (1.0 + self.colour[:, None] * hue[None, :])
        return np.asarray(frame.weight[:, None] * frame.spectrum[None, :] * passed, np.float32)

    def psflets(self) -> tuple[Float, Float, Float, NDArray[np.float32]]:
        """PSFlet images for the bench: X (f,), Y (f,) in pitches, wavelengths (w,), (f, f, w, 176, 176) with Y first.

        Light per pixel in steps of an eighth of a pixel, pixel integration and charge diffusion included, inter-pixel
        capacitance not; the centroid is at sample (88, 88).
        """
        with np.load(self.directory / "psflets.npz") as of:
            return of["x"], of["y"], of["wavelength_nm"], of["images"].astype(np.float32)


def save_instrument(folder: Path, instrument: Instrument, seed: int) -> None:
    """Write what holds for the whole night."""
    folder.mkdir(parents=True, exist_ok=True)
    grid, lenslets, detector, mode = instrument.grid, instrument.lenslets, instrument.detector, instrument.mode
    position_nm = np.geomspace(mode.grid_nm[0], mode.grid_nm[1], POSITION_NODES)
    laser_nm = np.array([laser.wavelength_nm for laser in mode.lasers])
    x, y = grid.positions(position_nm)
    x_laser, y_laser = grid.positions(laser_nm)
    facts = {
        "ipc": detector.ipc,
        "noise_factor": detector.noise_factor,
        "row_noise_e": detector.row_noise_e,
        "cosmics_per_s": detector.cosmics_per_s,
        "halo_share": instrument.halo.share,
        "halo_radius_px": instrument.halo.radius_px,
        "halo_slope": instrument.halo.slope,
        "grid_dx_px": grid.pose.dx,
        "grid_dy_px": grid.pose.dy,
        "grid_turn_deg": grid.pose.turn_deg,
    }
    np.savez_compressed(
        folder / "instrument.npz",
        mode=np.array(mode.name),
        seed=np.array(seed),
        q=lenslets.q,
        r=lenslets.r,
        x=lenslets.x,
        y=lenslets.y,
        complete=grid.complete(),
        throughput=lenslets.throughput,
        colour=lenslets.colour,
        stopped=lenslets.stopped,
        node=instrument.node,
        edges_nm=instrument.bins.edges_nm,
        transmission=instrument.transmission,
        position_nm=position_nm,
        x_px=x.astype(np.float32),
        y_px=y.astype(np.float32),
        laser_nm=laser_nm,
        laser_names=np.array([laser.name for laser in mode.lasers]),
        x_laser=x_laser.astype(np.float32),
        y_laser=y_laser.astype(np.float32),
        facts=np.array(json.dumps(facts)),
    )
    np.savez(
        folder / "detector.npz",
        response=detector.response,
        colour=detector.colour,
        background_e_s=detector.background_e_s,
        hot=detector.hot,
        dead=detector.dead,
        unstable=np.sort(detector.unstable),
        newly_hot=np.sort(detector.newly_hot),
    )
    _save_psflets(folder, instrument)


def _save_psflets(folder: Path, instrument: Instrument) -> None:
    at = np.linspace(-60.0, 60.0, PSFLET_NODES)
    lasers = sorted(laser.wavelength_nm for laser in instrument.mode.lasers)
    wavelengths = np.array([instrument.mode.edges_nm[0], *lasers, instrument.mode.edges_nm[1]])
    images = np.zeros((PSFLET_NODES, PSFLET_NODES, len(wavelengths), FINE, FINE), np.float16)
    for j, y in enumerate(at):
        for i, x in enumerate(at):
            for w, wavelength in enumerate(wavelengths):
                images[j, i, w] = psflet_image(instrument.optics, float(x), float(y), float(wavelength))
    np.savez_compressed(folder / "psflets.npz", x=at, y=at, wavelength_nm=wavelengths, images=images)


def save_frame(folder: Path, frame: FrameTruth) -> None:
    """Write one file's truth. Fluxes of the sky keep 11 bits of mantissa."""
    arrays: dict[str, NDArray[np.generic]] = {
        "mjd": frame.mjd,
        "pose": frame.pose,
        "cosmics": frame.cosmics,
        "labels": np.array(json.dumps({"kind": frame.kind, "scene": frame.scene, "sky": list(frame.sky)})),
    }
    if frame.spectrum is not None:
        arrays["spectrum"] = frame.spectrum
    if frame.weight is not None:
        arrays["weight"] = frame.weight
    if frame.flux is not None:
        arrays["flux"] = rounded(frame.flux)
    np.savez_compressed(folder / f"{frame.file_id}.npz", allow_pickle=False, **arrays)


def rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values with 11 bits of mantissa, rounded to nearest: they compress well."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + np.uint32(1 << 11)) & np.uint32(0xFFFFF000)).view(np.float32)


def _load_frame(path: Path) -> FrameTruth:
    with np.load(path) as of:
        labels = json.loads(str(of["labels"]))
        return FrameTruth(
            file_id=path.name.removesuffix(".npz"),
            kind=labels["kind"],
            scene=labels["scene"],
            mjd=of["mjd"],
            pose=of["pose"],
            cosmics=of["cosmics"],
            spectrum=of.get("spectrum"),
            weight=of.get("weight"),
            flux=of.get("flux"),
            sky=tuple(labels["sky"]),
        )


def load_ifs_truth(folder: Path) -> IfsTruth:
    """Read the truth of a simulated IFS night (`<raw folder>.truth`).

    Raises InputError AP-SIM-003 where one of its files is missing.
    """
    for name in ("instrument.npz", "detector.npz", "psflets.npz"):
        if not (folder / name).is_file():
            raise InputError(
                "AP-SIM-003", f"{name} is missing", subject=str(folder), remedy="give the .truth folder of an IFS night"
            )
    with np.load(folder / "instrument.npz") as of, np.load(folder / "detector.npz") as pixels:
        return IfsTruth(
            directory=folder,
            mode=str(of["mode"]),
            seed=int(of["seed"]),
            q=of["q"],
            r=of["r"],
            x=of["x"],
            y=of["y"],
            complete=of["complete"],
            throughput=of["throughput"],
            colour=of["colour"],
            stopped=of["stopped"],
            edges_nm=of["edges_nm"],
            transmission=of["transmission"],
            position_nm=of["position_nm"],
            x_px=of["x_px"],
            y_px=of["y_px"],
            laser_nm=of["laser_nm"],
            laser_names=tuple(str(one) for one in of["laser_names"]),
            x_laser=of["x_laser"],
            y_laser=of["y_laser"],
            response=pixels["response"],
            pixel_colour=pixels["colour"],
            background_e_s=pixels["background_e_s"],
            hot=pixels["hot"],
            dead=pixels["dead"],
            unstable=pixels["unstable"],
            newly_hot=pixels["newly_hot"],
            facts=json.loads(str(of["facts"])),
            file_ids=tuple(sorted(path.name.removesuffix(".npz") for path in folder.glob("SPHER.*.npz"))),
        )


def pose_row(pose: Pose) -> tuple[float, float, float]:
    """A pose as `FrameTruth.pose` holds it."""
    return pose.dx, pose.dy, pose.turn_deg
