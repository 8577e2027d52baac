"""Spectra of a star's observation as `ifs_extract` gives them, made of points of light: for tests of what comes after.

Halo, speckles in pairs about the star, waffle spots, a companion that turns with the sky; Gaussian spots on hexagons,
noise as the variance claims. Not the recipes' own model: they fit Airy discs and know of no speckle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import scipy
from running import Ran, product_inputs, run_in_memory

from archive_proc.kernels.lenslets import FieldStop, all_lenslets
from archive_proc.model.flags import Flag
from archive_proc.recipes.ifs.track_planes import CENTER_ROLE, FLUX_ROLE
from archive_proc.recipes.ifs.tracks import IFS_TRACKS
from archive_proc.recipes.recipe import Calibration, Recipe

PITCH_MAS = 12.92
PIXEL_MAS = 7.46
CHANNELS = 13
WAVELENGTH = np.linspace(0.96, 1.33, CHANNELS)
LAMBDA_D = WAVELENGTH * 1e-6 / 8.0 * 180 / np.pi * 3600e3 / PITCH_MAS
"""Pitches."""
FACTOR = 13.72
GAIN = 1.8
Strings = np.dtypes.StringDType
BY_BLOCK = ("flux", "variance", "flags")


@dataclass(frozen=True)
class Companion:
    separation_mas: float = 420.0
    position_angle_deg: float = 115.0
    flux: float = 900.0
    """adu/s, all lenslets together, mean of channels."""

    @property
    def spectrum(self) -> np.ndarray:
        return self.flux * (1.0 + 0.6 * np.sin(np.arange(CHANNELS)))


@dataclass(frozen=True)
class Plane:
    kind: str
    file_id: str
    plane: int
    time: float
    star: np.ndarray
    """(k, 2) pitches."""
    derotation: float
    light: np.ndarray
    """(n, k) adu/s, no noise."""
    dit_s: float


@dataclass
class StarSpectra:
    """Planes in order of time; `order`: one letter a file as F, C, O."""

    order: str = "FCOOC"
    ndit: Mapping[str, int] = field(default_factory=lambda: {"F": 2, "C": 1, "O": 2})
    seed: int = 1
    companion: Companion | None = field(default_factory=Companion)
    angle_deg: float = 57.0
    jitter_mas: float = 3.0
    noise: bool = True

    def __post_init__(self) -> None:
        found = all_lenslets(FieldStop(-52.0, 52.0, -52.0, 52.0))
        self.lenslets = found
        self._tree = scipy.spatial.cKDTree(np.stack([found.x, found.y], axis=1))
        rng = np.random.default_rng(self.seed)
        radius, turn = rng.uniform(3.5, 19.0, 140), rng.uniform(0, 2 * np.pi, 140)
        bright = rng.exponential(14.0, 140) * (6.0 / (3.0 + radius))
        # In pairs of unlike brightness on opposite sides, as speckles of phase and amplitude are.
        self._speckles = [
            (np.array([r * np.cos(t), r * np.sin(t)]) * sign, b * factor)
            for r, t, b in zip(radius, turn, bright, strict=True)
            for sign, factor in ((1, 1.0), (-1, 0.7))
        ]
        self.planes: list[Plane] = []
        clock = 57888.2
        for number, letter in enumerate(self.order):
            for plane in range(self.ndit[letter]):
                self.planes.append(self._plane(letter, number, plane, clock, rng))
                clock += 60.0 / 86400.0
            clock += 240.0 / 86400.0

    def _plane(self, letter: str, number: int, plane: int, clock: float, rng: np.random.Generator) -> Plane:
        motion = rng.normal(0.0, self.jitter_mas / PITCH_MAS, 2) + 0.1 * number
        phase = np.linspace(-1, 1, CHANNELS)[:, None]
        star = np.array([1.2, -0.8]) + motion + phase * [0.05, -0.02] + phase**2 * [0.01, 0.02]
        derotation = 60.0 + 1800.0 * (clock - 57888.2)
        x, y = self.lenslets.x[:, None] - star[:, 0], self.lenslets.y[:, None] - star[:, 1]
        away = np.hypot(x, y) / LAMBDA_D
        if letter == "F":
            light = np.zeros(away.shape)
            self._add(light, star, np.zeros(2), 9000.0)
        else:
            light = 400.0 / (1.0 + (away / 3.0) ** 2) ** 1.2 * (1.0 - np.exp(-((away / 2.5) ** 4)))
            for offset, amplitude in self._speckles:
                self._add(light, star, offset, amplitude)
        if letter == "C":
            for turn in np.radians(self.angle_deg) + np.arange(4) * np.pi / 2:
                self._add(light, star, FACTOR * np.array([np.cos(turn), np.sin(turn)]), 260.0)
        if letter != "F" and self.companion is not None:
            light += self.companion_light(star, derotation)
        dit = 1.65 if letter == "F" else 32.0
        name = f"SPHER.2017-05-15T04:{10 + number:02d}:00.000"
        return Plane(letter, name, plane, clock, star, derotation, light, dit)

    def companion_light(self, star: np.ndarray, derotation: float) -> np.ndarray:
        """(n, k) light of the companion alone."""
        one = self.companion
        assert one is not None
        turn = np.radians(one.position_angle_deg - derotation)
        at = star + one.separation_mas / PITCH_MAS * np.array([-np.sin(turn), np.cos(turn)])
        away = (self.lenslets.x[:, None] - at[:, 0]) ** 2 + (self.lenslets.y[:, None] - at[:, 1]) ** 2
        shape = np.exp(-0.5 * away / (0.48 * LAMBDA_D) ** 2)
        return shape / shape.sum(axis=0) * one.spectrum

    def _add(self, light: np.ndarray, star: np.ndarray, offset: np.ndarray, amplitude: float) -> None:
        for channel, scale in enumerate(LAMBDA_D):
            at = star[channel] + offset * scale
            near = self._tree.query_ball_point(at, 2.5 * scale)
            away = ((self._tree.data[near] - at) ** 2).sum(axis=1)
            light[near, channel] += amplitude * np.exp(-0.5 * away / (0.48 * scale) ** 2)

    def product(self, planes: Sequence[Plane], *, bad: float = 0.003) -> Calibration:
        """An `ifs_spectra` of these planes; a share `bad` of its elements has a wild value without variance."""
        rng = np.random.default_rng((self.seed, len(planes), int(planes[0].time * 1e6)))
        light = np.stack([one.light for one in planes])
        dit = np.array([one.dit_s for one in planes])
        electrons = light * GAIN * dit[:, None, None]
        variance = ((electrons + 400.0) / (GAIN * dit[:, None, None]) ** 2).astype(np.float32)
        flux = light + (rng.normal(size=light.shape) * np.sqrt(variance) if self.noise else 0.0)
        flags = np.zeros(light.shape, np.uint16)
        lost = rng.random(light.shape) < bad
        flux[lost], variance[lost], flags[lost] = flux[lost] * 3.0 + 50.0, np.nan, Flag.FILLED
        n = len(planes)
        words = {"O": "OBJECT", "C": "CENTER", "F": "FLUX"}
        turned = np.array([one.derotation for one in planes])
        arrays = {
            "flux": flux.astype(np.float32),
            "variance": variance,
            "flags": flags,
            "variance_common": (1e-6 * light.mean(axis=0) ** 2).astype(np.float32),
            "correlation": np.broadcast_to(
                np.array([0.2, -0.1, 0.02], np.float32)[:, None, None], (3, CHANNELS, light.shape[1])
            ),
            "hex_q": self.lenslets.q,
            "hex_r": self.lenslets.r,
            "lenslet_x": self.lenslets.x,
            "lenslet_y": self.lenslets.y,
            "file_id": np.array([one.file_id for one in planes], dtype=Strings()),
            "plane": np.array([one.plane for one in planes], np.int32),
            "frame_type": np.array([words[one.kind] for one in planes], dtype=Strings()),
            "usable": np.ones(n, bool),
            "reason": np.array([""] * n, dtype=Strings()),
            "time": np.array([one.time for one in planes]),
            "exposure_time": dit,
            "parallactic_angle": turned,
            "derotation_angle": turned,
            "derotation_angle_start": turned - 0.1,
            "derotation_angle_end": turned + 0.1,
            "airmass": np.full(n, 1.1),
            "seeing": np.full(n, 0.8),
            "wavelength": WAVELENGTH,
            "bandwidth": np.full(CHANNELS, WAVELENGTH[1] - WAVELENGTH[0]),
            "gain": np.full(CHANNELS, GAIN),
        }
        nd = "ND_1.0" if planes[0].kind == "F" else "OPEN"
        attrs = {"mode": "YJ", "waffle_orient": "x", "setup": json.dumps({"dit_s": dit[0], "nd_filter": nd})}
        return Calibration(f"spectra-{planes[0].file_id}", "ifs_spectra", arrays, attrs)

    def of(self, letter: str) -> list[Plane]:
        """Planes of one kind."""
        return [one for one in self.planes if one.kind == letter]

    def frames(self, letter: str) -> list[Calibration]:
        """One product a file of this kind."""
        files = dict.fromkeys(one.file_id for one in self.of(letter))
        return [self.product([one for one in self.planes if one.file_id == name]) for name in files]

    def star_pixels(self, file_ids: Sequence[object], planes: Sequence[int]) -> np.ndarray:
        """(n, k, 2) true star of these planes, pixels of the rectified field."""
        known = {(one.file_id, one.plane): one.star for one in self.planes}
        return np.array(
            [145.0 + np.sqrt(3.0) * known[str(file), int(plane)] for file, plane in zip(file_ids, planes, strict=True)]
        )

    def tracks(self, main: Calibration | None = None, *, center: bool = True, flux: bool = True) -> Ran:
        """`ifs_tracks` of the OBJECT planes, or of `main`."""
        given = main or self.product(self.of("O"))
        calibrations = {}
        if center:
            calibrations[CENTER_ROLE] = self.frames("C")
        if flux:
            calibrations[FLUX_ROLE] = self.frames("F")
        return run_on(IFS_TRACKS, given, calibrations)


def run_on(
    recipe: Recipe, main: Calibration, calibrations: Mapping[str, Sequence[Calibration]], **given: object
) -> Ran:
    """A recipe on a product of spectra."""
    inputs = product_inputs(recipe, main, calibrations=calibrations, parameters=given)
    return run_in_memory(recipe, inputs, {name: main.arrays[name] for name in BY_BLOCK})


def changed(main: Calibration, **arrays: np.ndarray) -> Calibration:
    """The product with other arrays."""
    return replace(main, arrays={**main.arrays, **arrays})
