"""Where each lenslet's light of each wavelength falls: lattice, distortion, trace tilt, irregularity, flexure.

Numbers from notes/ifs.md section 1 and the positions of the sample set; the form is the optics', not a polynomial:
a radial distortion tan(k r) / k, the smile of the prism, smooth waves that differ from epoch to epoch, and a
displacement of each lenslet of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from archive_proc.simulate.ifs.facts import SIZE, Mode
from archive_proc.simulate.ifs.prism import displacement_px

Float = NDArray[np.float64]

PITCH_PX = 15.537
ANGLE_DEG = -10.88
"""Of the lenslet rows against the detector's x axis."""
STRETCH_Y = 1.0008
CENTRE_PX = (1025.84, 997.71)
"""The field's centre at 987.72 nm, 0-based."""
FIELD_RADIUS = 70.0
"""Pitches: unit of the distortion terms."""
RADIAL_PX = 1.07
"""Distortion at FIELD_RADIUS."""
SMILE_PX = (1.08, 1.35)
"""Displacement in y at FIELD_RADIUS, along X and Y."""
FIELD_STOP = (-68.5, 73.5, -63.7, 62.0)
"""X from, to, Y from, to, pitches: a rectangle along the lenslet rows."""
MARGIN_PX = 12.0
"""Lenslets whose spectra pass the detector by more than this are left out."""
TRACE_PX = 40.9
"""Length of a trace that `tilt` refers to."""


@dataclass(frozen=True, slots=True)
class Pose:
    """How the spectra are displaced as a whole at one time."""

    dx: float = 0.0
    dy: float = 0.0
    """px."""
    turn_deg: float = 0.0
    """About the detector's centre, counter-clockwise."""

    def plus(self, other: Pose) -> Pose:
        """Both displacements (small: they commute)."""
        return Pose(self.dx + other.dx, self.dy + other.dy, self.turn_deg + other.turn_deg)

    def apply(self, x: Float, y: Float) -> tuple[Float, Float]:
        """Displaced positions."""
        turn = np.radians(self.turn_deg)
        middle = (SIZE - 1) / 2.0
        return x + self.dx - turn * (y - middle), y + self.dy + turn * (x - middle)


@dataclass(frozen=True, slots=True)
class Waves:
    """A smooth field of displacements: a few long waves. All (n,)."""

    kx: Float
    ky: Float
    """Radians per pitch."""
    phase: Float
    amplitude: Float
    """px."""

    def at(self, x: Float, y: Float) -> Float:
        """Displacement at field positions (pitches), px."""
        total = np.zeros_like(x)
        for kx, ky, phase, amplitude in zip(self.kx, self.ky, self.phase, self.amplitude, strict=True):
            total += amplitude * np.cos(kx * x + ky * y + phase)
        return total


def draw_waves(rms_px: float, rng: np.random.Generator, count: int = 5) -> Waves:
    """Waves of 130 to 400 pitches with this total rms."""
    period = rng.uniform(130.0, 400.0, count)
    direction = rng.uniform(0.0, 2 * np.pi, count)
    weight = rng.uniform(0.5, 1.0, count)
    weight *= rms_px * np.sqrt(2.0 / np.sum(weight**2))
    return Waves(
        2 * np.pi / period * np.cos(direction),
        2 * np.pi / period * np.sin(direction),
        rng.uniform(0.0, 2 * np.pi, count),
        weight,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lenslets:
    """The lenslets with light on the detector, n of them."""

    q: NDArray[np.int64]
    r: NDArray[np.int64]
    """(n,) lattice indices: X = q + r / 2 + 1 / 2, Y = r sqrt(3) / 2: the field's centre lies between two lenslets."""
    x: Float
    y: Float
    """(n,) pitches from the field's centre, oriented like the rectified image (+X right, +Y up)."""
    throughput: Float
    """(n,) of the lenslet, about 1."""
    colour: Float
    """(n,) relative slope of the throughput per 200 nm."""
    stopped: Float
    """(n,) share of the lenslet inside the field stop."""

    def __len__(self) -> int:
        return len(self.q)

    def choose(self, which: NDArray[np.bool_]) -> Lenslets:
        """Some of them."""
        return Lenslets(
            q=self.q[which],
            r=self.r[which],
            x=self.x[which],
            y=self.y[which],
            throughput=self.throughput[which],
            colour=self.colour[which],
            stopped=self.stopped[which],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Positions of one mode's spectra in one epoch."""

    mode: Mode
    lenslets: Lenslets
    pose: Pose
    """Against the nominal grid."""
    waves_x: Waves
    waves_y: Waves
    radial_px: float
    smile_px: tuple[float, float]
    scale: float
    """Of the dispersion."""
    irregular_x: Float
    irregular_y: Float
    """(n,) px, each lenslet's own displacement."""

    def positions(self, wavelength_nm: Float, flexure: Pose = Pose()) -> tuple[Float, Float]:
        """(n, k) x and y, 0-based pixels, of k wavelengths; `flexure` displaces against the calibrations' epoch."""
        x0, y0 = self._origins()
        s, t = self.lenslets.x / FIELD_RADIUS, self.lenslets.y / FIELD_RADIUS
        along = displacement_px(self.mode, np.atleast_1d(wavelength_nm))[None, :]
        # Length of a spectrum and drift across the dispersion over the field: fitted to the sample's traces.
        length = 1.0 + (0.042 * s - 0.336 * t + 0.181 * s * s - 0.107 * s * t + 0.356 * t * t) / TRACE_PX
        drift = -0.233 - 0.392 * s - 0.084 * t - 0.065 * s * s + 0.235 * s * t + 0.039 * t * t
        share = along / TRACE_PX
        x = x0[:, None] + self.mode.tilt * (drift[:, None] * share - 0.145 * share * (0.5 - share))
        y = y0[:, None] + self.scale * length[:, None] * along
        return self.pose.plus(flexure).apply(x, y)

    def _origins(self) -> tuple[Float, Float]:
        """(n,) places of 987.72 nm before any displacement as a whole."""
        lenslets = self.lenslets
        radius = np.hypot(lenslets.x, lenslets.y) / FIELD_RADIUS
        # tan(k r) / k = r (1 + k^2 r^2 / 3 + ...), RADIAL_PX at radius 1.
        k = np.sqrt(3.0 * self.radial_px / (FIELD_RADIUS * PITCH_PX))
        stretch = np.where(radius > 0, np.tan(k * radius) / np.where(radius > 0, k * radius, 1.0), 1.0)
        along, across = np.cos(np.radians(ANGLE_DEG)), np.sin(np.radians(ANGLE_DEG))
        u, v = PITCH_PX * stretch * lenslets.x, PITCH_PX * STRETCH_Y * stretch * lenslets.y
        s, t = lenslets.x / FIELD_RADIUS, lenslets.y / FIELD_RADIUS
        x = CENTRE_PX[0] + along * u - across * v + self.waves_x.at(lenslets.x, lenslets.y) + self.irregular_x
        y = CENTRE_PX[1] + across * u + along * v + self.waves_y.at(lenslets.x, lenslets.y) + self.irregular_y
        return x, y + self.smile_px[0] * s * s + self.smile_px[1] * t * t

    def complete(self) -> NDArray[np.bool_]:
        """(n,) True where the whole spectrum with its PSFlets' cores lies on the detector."""
        edges = np.array(self.mode.edges_nm)
        x, y = self.positions(edges)
        inside = (x > 2) & (x < SIZE - 3) & (y > 2) & (y < SIZE - 3)
        return np.asarray(inside.all(axis=1) & (self.lenslets.stopped > 0.99))


def make_lenslets(mode: Mode, rng: np.random.Generator) -> Lenslets:
    """All lenslets inside the field stop with light on the detector.

    Throughput: 1.3 % rms with a tail to low values (percentiles 1/16/84/99 of 0.94, 0.986, 1.012, 1.027).
    """
    r, q = np.meshgrid(np.arange(-90, 91), np.arange(-130, 131), indexing="ij")
    q, r = np.asarray(q.reshape(-1), np.int64), np.asarray(r.reshape(-1), np.int64)
    x, y = q + 0.5 * r + 0.5, r * np.sqrt(0.75)
    # The stop's edge is out of focus by half a lenslet.
    edge = np.minimum.reduce([x - FIELD_STOP[0], FIELD_STOP[1] - x, y - FIELD_STOP[2], FIELD_STOP[3] - y])
    stopped = np.clip(edge / 0.5 + 0.5, 0.0, 1.0)
    everyone = Lenslets(q=q, r=r, x=x, y=y, throughput=np.ones(q.size), colour=np.zeros(q.size), stopped=stopped)
    plain = draw_waves(0.0, np.random.default_rng(0))
    zero = np.zeros(q.size)
    grid = Grid(
        mode=mode,
        lenslets=everyone,
        pose=Pose(),
        waves_x=plain,
        waves_y=plain,
        radial_px=RADIAL_PX,
        smile_px=SMILE_PX,
        scale=1.0,
        irregular_x=zero,
        irregular_y=zero,
    )
    px, py = grid.positions(np.array(mode.edges_nm))
    near = (px > -MARGIN_PX) & (px < SIZE - 1 + MARGIN_PX) & (py > -MARGIN_PX) & (py < SIZE - 1 + MARGIN_PX)
    kept = everyone.choose(near.any(axis=1) & (stopped > 0.0))
    count = len(kept)
    low = rng.gamma(0.5, 0.017, count)
    throughput = 1.005 + 0.0115 * rng.standard_normal(count) - low
    return Lenslets(
        q=kept.q,
        r=kept.r,
        x=kept.x,
        y=kept.y,
        throughput=throughput,
        colour=0.003 * rng.standard_normal(count),
        stopped=kept.stopped,
    )


def through_lenslets_of(lenslets: Lenslets, other: Lenslets) -> Lenslets:
    """Lenslets with the throughputs that `other` has at their indices; those that it lacks keep their own."""
    place = {(int(q), int(r)): i for i, (q, r) in enumerate(zip(other.q, other.r, strict=True))}
    rows = np.array([place.get((int(q), int(r)), -1) for q, r in zip(lenslets.q, lenslets.r, strict=True)])
    return replace(
        lenslets,
        throughput=np.where(rows >= 0, other.throughput[rows], lenslets.throughput),
        colour=np.where(rows >= 0, other.colour[rows], lenslets.colour),
    )


def make_grid(mode: Mode, lenslets: Lenslets, rng: np.random.Generator) -> Grid:
    """An epoch: moved by up to 1 px, waves of 0.05 to 0.10 px, each lenslet off by 0.005 to 0.015 px rms."""
    count = len(lenslets)
    wave_rms = rng.uniform(0.05, 0.10, 2) / np.sqrt(2.0)
    own = float(rng.uniform(0.005, 0.015))
    return Grid(
        mode=mode,
        lenslets=lenslets,
        pose=Pose(float(rng.uniform(-1, 1)), float(rng.uniform(-1, 1)), float(rng.uniform(-0.003, 0.003))),
        waves_x=draw_waves(float(wave_rms[0]), rng),
        waves_y=draw_waves(float(wave_rms[1]), rng),
        radial_px=RADIAL_PX * float(rng.uniform(0.97, 1.03)),
        smile_px=(SMILE_PX[0] * float(rng.uniform(0.97, 1.03)), SMILE_PX[1] * float(rng.uniform(0.97, 1.03))),
        scale=float(rng.uniform(0.999, 1.001)),
        irregular_x=own * rng.standard_normal(count),
        irregular_y=own * rng.standard_normal(count),
    )
