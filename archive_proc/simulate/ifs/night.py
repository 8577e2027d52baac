"""A whole IFS night on disk: raw files in ESO's format, truth in a folder beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import PreconditionError
from archive_proc.simulate import celestial
from archive_proc.simulate.ifs.detector import Read, expose
from archive_proc.simulate.ifs.facts import mode_named, real_dit_s
from archive_proc.simulate.ifs.geometry import Pose, make_lenslets, through_lenslets_of
from archive_proc.simulate.ifs.headers import cards_of, sky_of
from archive_proc.simulate.ifs.instrument import Instrument, draw_flexure, make_instrument, stream
from archive_proc.simulate.ifs.projection import Light
from archive_proc.simulate.ifs.scenes import Seen, SkyPlane, detector_flat, even_scene, lamp_scene
from archive_proc.simulate.ifs.schedule import IfsExposure, schedule
from archive_proc.simulate.ifs.spec import IfsNight
from archive_proc.simulate.ifs.starlight import StarScene
from archive_proc.simulate.ifs.truth import FrameTruth, IfsTruth, load_ifs_truth, pose_row, save_frame, save_instrument
from archive_proc.simulate.raw_file import write_raw
from archive_proc.simulate.timeline import to_mjd
from archive_proc.simulate.truth import truth_directory

BACKGROUND_RMS = 0.02
BACKGROUND_SLOPE_RMS = 0.01
"""Change of the thermal background from file to file, relative."""

DAY_RMS_PX = 0.005
"""Displacement of the spectra from file to file, besides flexure."""


def simulate_ifs_night(directory: Path, night: IfsNight, seed: int, beside: Path | None = None) -> IfsTruth:
    """Write a night's raw files into `directory` and its truth into `beside` (None: `<directory>.truth`).

    The same spec and seed give the same bytes. About 5 s CPU for the instrument, 0.5 s a dark plane, 3 s a plane with
    light, 17 MB a plane. Raises PreconditionError AP-SIM-004 when `directory` already holds files.
    """
    if directory.exists() and any(directory.iterdir()):
        raise PreconditionError(
            "AP-SIM-004", "the directory is not empty", subject=str(directory), remedy="give a new directory"
        )
    directory.mkdir(parents=True, exist_ok=True)
    return _Night(directory, night, seed, truth_directory(directory) if beside is None else beside).write()


@dataclass(slots=True)
class _Planes:
    """What has happened in the planes of one file so far."""

    pose: list[tuple[float, float, float]]
    cosmics: list[NDArray[np.int16]]
    flux: list[NDArray[np.float32]]
    sky: list[SkyPlane]


def _moved(drawn: Instrument, night: IfsNight, seed: int) -> Instrument:
    """The instrument with what the night's spec says of it beside the seed."""
    grid = replace(drawn.grid, pose=drawn.grid.pose.plus(Pose(*night.moved_px)))
    if not night.lenslets_of:
        return replace(drawn, grid=grid)
    own = through_lenslets_of(drawn.lenslets, make_lenslets(mode_named(night.lenslets_of), stream(seed, "lenslets")))
    return replace(drawn, lenslets=own, grid=replace(grid, lenslets=own))


class _Night:
    """State of one simulation: the instrument, the star's scene, generators."""

    def __init__(self, directory: Path, night: IfsNight, seed: int, beside: Path) -> None:
        self.directory = directory
        self.night = night
        self.seed = seed
        self.beside = beside
        self.instrument: Instrument = _moved(make_instrument(night.mode, seed, night.field_pitches), night, seed)
        self.exposures = schedule(night, stream(seed, "night"))
        self._flexure = draw_flexure(to_mjd(night.start), stream(seed, "flexure"))
        self._noise = stream(seed, "night", 1)
        self._star: tuple[int, StarScene] | None = None
        self._light: tuple[str, Pose, Light] | None = None

    def write(self) -> IfsTruth:
        save_instrument(self.beside, self.instrument, self.seed)
        suffix = ".fits.gz" if self.night.compress else ".fits"
        for counter, exposure in enumerate(self.exposures, start=1):
            observation = self.night.observations[exposure.observation] if exposure.science else None
            dark = () if self.night.lasers_claimed else self.night.lasers_off
            cards = cards_of(exposure, self.instrument.mode, observation, counter, dark_lasers=dark)
            path = self.directory / f"{exposure.file_id}{suffix}"
            seen = self._seen(exposure)
            done = _Planes([], [], [], [])
            write_raw(path, cards, self._planes(exposure, seen, done), compress=self.night.compress)
            save_frame(self.beside, self._truth(exposure, seen, done))
        return load_ifs_truth(self.beside)

    def _scene(self, exposure: IfsExposure) -> str:
        return self.night.observations[exposure.observation].scene if exposure.science else exposure.kind

    def _seen(self, exposure: IfsExposure) -> Seen | None:
        """What all lenslets see; None where no light passes them or the scene is a star's."""
        if exposure.kind in ("ifu_flat", "specpos", "wave"):
            return lamp_scene(self.instrument, self.night, exposure, self.seed)
        if not exposure.science or exposure.kind == "S" or self._scene(exposure) in ("star", "disc"):
            return None
        observation = self.night.observations[exposure.observation]
        airmass = sky_of(exposure, observation).start.airmass
        return even_scene(self.instrument, observation.scene, exposure, observation.target.kelvin, airmass, self.seed)

    def _planes(self, exposure: IfsExposure, seen: Seen | None, done: _Planes) -> Iterator[NDArray[np.float32]]:
        drawn = self._noise.normal(0.0, 1.0, 3)
        moved = Pose(*(DAY_RMS_PX * self._noise.normal(0.0, 1.0, 2)))
        for plane in range(exposure.ndit):
            pose = moved.plus(self._flexure.at(float(exposure.mid_mjd[plane])))
            read = Read(
                real_dit_s=real_dit_s(exposure.dit_s),
                dit_s=exposure.dit_s,
                background_factor=1.0 + BACKGROUND_RMS * float(drawn[0]),
                background_slope=(BACKGROUND_SLOPE_RMS * float(drawn[1]), BACKGROUND_SLOPE_RMS * float(drawn[2])),
                science=exposure.science,
            )
            image, hits = expose(
                self.instrument.detector, self._light_of(exposure, plane, seen, pose, done), read, self._noise
            )
            done.pose.append(pose_row(pose))
            done.cosmics.append(np.column_stack([np.full(len(hits), plane, np.int16), hits]))
            yield image

    def _light_of(
        self, exposure: IfsExposure, plane: int, seen: Seen | None, pose: Pose, done: _Planes
    ) -> Light | None:
        if exposure.kind == "detector_flat":
            return detector_flat(self.instrument, self.night, exposure)
        if seen is not None:
            # Planes of one lamp file are alike: nothing moves while it is taken.
            if self._light is None or self._light[:2] != (exposure.file_id, pose):
                self._light = (exposure.file_id, pose, seen.light(self.instrument, pose))
            return self._light[2]
        if not exposure.science or exposure.kind == "S":
            return None
        shown = self._star_scene(exposure.observation).render(exposure, plane)
        done.flux.append(shown.flux)
        done.sky.append(shown)
        return self.instrument.light(self.instrument.bins.middle_nm, shown.flux, pose)

    def _star_scene(self, index: int) -> StarScene:
        # One at a time: observations follow one another.
        if self._star is None or self._star[0] != index:
            rng = stream(self.seed, "scene", 2, index)
            self._star = (index, StarScene(self.night.observations[index], self.instrument, rng))
        return self._star[1]

    def _truth(self, exposure: IfsExposure, seen: Seen | None, done: _Planes) -> FrameTruth:
        sky: list[dict[str, object]] = []
        if exposure.science:
            observation = self.night.observations[exposure.observation]
            star = observation.target
            for plane, mjd in enumerate(exposure.mid_mjd):
                place = celestial.apparent_place(star.ra_deg, star.dec_deg, star.pm_ra_mas, star.pm_dec_mas, float(mjd))
                seen_at = celestial.pointing(place, float(mjd))
                row: dict[str, object] = {"parang": seen_at.parallactic_deg, "airmass": seen_at.airmass}
                sky.append({**row, **(done.sky[plane].sky if done.sky else {})})
        return FrameTruth(
            file_id=exposure.file_id,
            kind=exposure.kind,
            scene=self._scene(exposure),
            mjd=exposure.mid_mjd,
            pose=np.array(done.pose),
            cosmics=np.concatenate(done.cosmics).astype(np.int16),
            spectrum=None if seen is None else seen.spectrum,
            weight=None if seen is None else seen.weight,
            flux=np.stack(done.flux) if done.flux else None,
            sky=tuple(sky),
        )
