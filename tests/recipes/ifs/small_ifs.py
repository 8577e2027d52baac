"""A small IFS for tests of what extracts spectra: 512 x 512 pixels, a few hundred lenslets, everything known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from running import Ran, raw_inputs, run_in_memory
from samples import made_frame

from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.dispersion import Dispersion, field_terms, wavelength_terms
from archive_proc.kernels.extraction import subtract_model
from archive_proc.kernels.lenslets import FieldStop, Lenslets, all_lenslets
from archive_proc.kernels.microspectra import build_templates
from archive_proc.kernels.psflets import NODES, PsfletModel, orthonormal_field
from archive_proc.model.flags import Flag
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.recipes.ifs.solutions import Solution, psflets_content, solution_content
from archive_proc.recipes.recipe import Calibration, ProductContent, Recipe

SIZE, GAIN, READ_ADU, LEVEL_ADU = 512, 1.8, 6.0, 40.0
EDGES = np.array(load_tables().ifs.channels("YJ").edges_um)
CHANNELS = EDGES.size - 1
BASIS = np.array([[15.26, -2.93], [10.17, 11.76]])


@dataclass(frozen=True)
class SmallIfs:
    """Lenslets, their light's places, throughputs, and the calibrations a recipe would get."""

    solution: Solution
    psflets: PsfletModel
    throughput: NDArray[np.float64]
    bad: NDArray[np.bool_]
    calibrations: Mapping[str, Sequence[Calibration]]

    @property
    def lenslets(self) -> Lenslets:
        return self.solution.lenslets

    def image(
        self,
        flux: NDArray[Any],
        dx: float = 0.0,
        dy: float = 0.0,
        turn: float = 0.0,
        inside: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float32]:
        """(p, SIZE, SIZE) electrons of flux (p, lenslets, channels) before the lenslets' throughput.

        Displaced (px), and turned (rad, counter-clockwise) about pixel (1023.5, 1023.5). `inside` (channels, STEPS) how
        the light is spread within each channel; None: evenly.
        """
        places, wavelengths = self.solution.channel_steps(EDGES)
        x, y = places - 1023.5
        places = places + np.stack([dx - turn * y, dy + turn * x])
        where = (self.lenslets.x, self.lenslets.y)
        spread = np.ones(wavelengths.shape) if inside is None else inside
        templates = build_templates(self.psflets, where, places, wavelengths, spread)
        seen = np.asarray(flux * self.throughput[:, None], np.float32)
        out = np.zeros((len(flux), SIZE, SIZE), np.float32)
        subtract_model(templates.counts, templates.scale, templates.x0, templates.y0, -seen, out)
        return out

    def raw(self, light: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """ADU of planes of electrons, with photon and read noise, level and bad pixels."""
        noisy = light + rng.normal(0.0, 1.0, light.shape) * np.sqrt(np.maximum(light, 0.0) + (READ_ADU * GAIN) ** 2)
        adu = noisy / GAIN + LEVEL_ADU
        adu[:, self.bad] = 900.0
        return adu.astype(np.float32)

    def run(
        self,
        recipe: Recipe,
        frames: Sequence[RawFrame],
        raw: NDArray[np.float32],
        more: Mapping[str, Sequence[Calibration]] | None = None,
        roles: Sequence[str] = (),
        unusable: Mapping[tuple[int, int], str] | None = None,
        **parameters: Any,
    ) -> Ran:
        """A recipe on these frames and planes."""
        given = {**self.calibrations, **(more or {})}
        inputs = raw_inputs(recipe, frames, roles=roles, calibrations=given, parameters=parameters, unusable=unusable)
        return run_in_memory(recipe, inputs, {"raw": raw})


def small_frame(start: str, n_planes: int = 1, **facts: Any) -> RawFrame:
    """A raw frame of the small IFS, DIT 10 s."""
    given = {
        "arm": Arm.IFS,
        "dit_s": 10.0,
        "gain": GAIN,
        "naxis1": SIZE,
        "naxis2": SIZE,
        "ifs_comb": "OBS_YJ",
        "inst_filter": None,
        "drot2_ra": 150_000.0,
        "drot2_dec": -400_000.0,
    }
    return made_frame(start, n_planes, **{**given, **facts})


def small_ifs(seed: int = 2) -> SmallIfs:
    """The instrument, its calibrations made up from what it is."""
    rng = np.random.default_rng(seed)
    lenslets = all_lenslets(FieldStop(-14.0, 14.0, -14.0, 14.0))
    first = np.array([256.0, 238.0])[:, None] + BASIS.T @ np.stack([lenslets.q, lenslets.r])
    lines = np.array([0.98772, 1.12371, 1.30937])
    y = first[1][:, None] + np.array([0.0, 13.43, 28.75])
    x = first[0][:, None] + np.array([0.0, -0.09, -0.16])
    terms, powers = field_terms(lenslets.x, lenslets.y), np.linalg.inv(wavelength_terms(lines, 2))
    dispersion = Dispersion(np.stack([np.linalg.lstsq(terms, axis, rcond=None)[0] @ powers.T for axis in (x, y)]))
    ends = dispersion.positions(lenslets.x, lenslets.y, EDGES[[0, -1]])
    complete = (ends.min(axis=2) > 8).all(axis=0) & (ends.max(axis=2) < SIZE - 9).all(axis=0)
    node = np.arange(NODES) * 0.5 - 9.5
    radius2 = node[:, None] ** 2 + node[None, :] ** 2
    image = np.exp(-radius2 / (2 * 0.95**2)) + 2e-3 * np.exp(-radius2 / 18.0)
    model = PsfletModel(
        (4.0 * image / image.sum())[None],
        np.zeros((1, 2), np.int64),
        (0.98772, 1.30937),
        orthonormal_field(lenslets.x, lenslets.y),
    )
    bad = rng.random((SIZE, SIZE)) < 0.005
    throughput = rng.normal(1.0, 0.015, len(lenslets))
    # Laser light is speckled.
    spots = throughput * rng.normal(1.0, 0.01, len(lenslets))
    solution = Solution("YJ", dispersion, lenslets, complete, spots)
    return SmallIfs(solution, model, throughput, bad, _calibrations(solution, model, bad))


def _calibrations(solution: Solution, model: PsfletModel, bad: NDArray[np.bool_]) -> dict[str, tuple[Calibration, ...]]:
    full = np.ones((SIZE, SIZE), np.float32)
    flags = np.where(bad, int(Flag.HOT), 0).astype(np.uint16)
    dark = {
        "level": LEVEL_ADU * full,
        "variance": 0.5 * full,
        "read_noise": READ_ADU * full,
        "flags": np.zeros_like(flags),
    }
    response = {"response": full, "variance": 1e-6 * full, "flags": flags}
    level = (Calibration("dark-small", "dark", dark, {"dit_s": 10.0}),)
    return {
        "dark": level,
        "background": level,
        "detector_flat_white": (Calibration("flat-small", "detector_flat", response, {}),),
        "bad_pixels": (Calibration("bad-small", "bad_pixels", {"flags": flags}, {}),),
        "wave": (_given("ifs_wavelength_solution", solution_content(solution, {}, {})),),
        "psflets": (_given("ifs_psflets", psflets_content(model, {})),),
    }


def _given(product_type: str, content: ProductContent) -> Calibration:
    return Calibration(f"{product_type}-small", product_type, content.arrays, content.attrs)
