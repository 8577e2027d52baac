"""A hand-made set of a few hundred lenslets, and products of it that are right until a test spoils them."""

from dataclasses import replace

import numpy as np

from archive_proc.bench.ifs.channels import in_channels
from archive_proc.bench.ifs.compared import throughput
from archive_proc.bench.ifs.known import Companion, Known, Scene
from archive_proc.bench.ifs.spectra import Lamp, Spectra

EDGES_NM = np.linspace(920.0, 1390.0, 189)
WAVELENGTH_NM = 935.0 + 440.0 / 39 * (np.arange(39) + 0.5)
BANDWIDTH_NM = np.full(39, 440.0 / 39)
RESPONSE = 0.96
"""Sum of the set's PSFlets: what the lenslet flat has to take out."""
READ_E = 10.0


def spectrum_of(kelvin_slope=0.3, level=2400.0):
    middle = 0.5 * (EDGES_NM[1:] + EDGES_NM[:-1])
    passed = (middle > 944.0) & (middle < 1347.0)
    return level * passed * (1.0 + kelvin_slope * (middle - 1150.0) / 200.0)


def small_known(side=11, planes=3):
    q, r = (one.ravel() for one in np.meshgrid(np.arange(-side, side), np.arange(-side, side)))
    x, y = q + 0.5 * r + 0.5, r * np.sqrt(0.75)
    own = 1.0 + 0.02 * np.sin(np.arange(len(q)))
    lit = (q % 5 == 0) & (r % 5 == 0)
    position_nm = np.geomspace(930.0, 1380.0, 9)
    x0, y0 = 1033.0 + 15.26 * q + 10.17 * r, 996.0 - 2.93 * q + 11.76 * r
    along = 98.0 * np.log(position_nm / 987.72)
    lasers = np.array([987.72, 1123.71, 1309.37])

    def scene(name, frame_type, flux, count, sky=None, companions=(), cosmics=()):
        return Scene(
            name=name,
            frame_type=frame_type,
            file_id=f"SPHER.{name}.{frame_type}",
            dit_s=32.0,
            planes=count,
            edges_nm=EDGES_NM,
            flux=lambda plane: flux.astype(np.float32),
            pose=np.tile([0.06, -0.04, 0.0], (count, 1)),
            cosmics=np.array(cosmics, np.int64).reshape(-1, 3),
            star=sky,
            companions=companions,
        )

    even = own[:, None] * spectrum_of()[None, :]
    beside = Companion(kind="T", contrast=3e-4, x=3.2, y=2.1)
    core = np.exp(-0.5 * ((x - 3.2) ** 2 + (y - 2.1) ** 2) / 0.9**2)
    smooth = 0.02 * even
    with_companion = smooth + (own * core)[:, None] * spectrum_of(level=300.0)[None, :]
    hit = (1, round(float(y0[40] + along[4])), round(float(x0[40])))
    return Known(
        mode="YJ",
        q=q,
        r=r,
        x=x,
        y=y,
        complete=np.hypot(x, y) < 0.8 * side,
        position_nm=position_nm,
        x_px=np.repeat(x0[:, None], len(position_nm), axis=1),
        y_px=y0[:, None] + along,
        laser_nm=lasers,
        x_laser=np.repeat(x0[:, None], 3, axis=1),
        y_laser=y0[:, None] + 98.0 * np.log(lasers / 987.72),
        bad={
            "static": np.stack([np.rint(y0 + along[3]), np.rint(x0)], axis=1).astype(np.int64)[::4],
            "unstable": np.empty((0, 2), np.int64),
            "new": np.stack([np.rint(y0 + along[6]), np.rint(x0)], axis=1).astype(np.int64)[1::4],
        },
        background_e_s=np.full((2048, 2048), 15.0, np.float32),
        read_noise=lambda dit_s: READ_E,
        scenes=(
            scene("ifu_flat", "CALIB", 3.0 * even, 1),
            scene("uniform", "OBJECT", even, planes, cosmics=[hit]),
            scene("comb", "OBJECT", even * lit[:, None], 1),
            scene("wave", "CALIB", 0.0 * even, 1),
            scene("star", "OBJECT", with_companion, 2, np.zeros((2, 2)), ((beside,),) * 2),
        ),
    )


def lamp_of(known):
    scene = known.scene("ifu_flat")
    edges = np.append(WAVELENGTH_NM - BANDWIDTH_NM / 2, WAVELENGTH_NM[-1] + BANDWIDTH_NM[-1] / 2)
    true = in_channels(scene.flux(0), scene.edges_nm, edges) / throughput(known)[:, None]
    return Lamp(
        median=RESPONSE * np.median(true[known.complete], axis=0),
        wavelength_nm=WAVELENGTH_NM,
        bandwidth_nm=BANDWIDTH_NM,
    )


def right_spectra(known, name, *, noise=0.0, claimed=None, seed=5):
    """The truth as a faultless recipe would give it: PSFlet sum and all, divided by the lenslet flat."""
    scene = known.scene(name)
    empty = Spectra(
        flux=np.zeros((1, 1, 39), np.float32),
        sigma=np.zeros((1, 1, 39), np.float32),
        flagged=np.zeros((1, 1, 39), bool),
        wavelength_nm=WAVELENGTH_NM,
        bandwidth_nm=BANDWIDTH_NM,
    )
    rng = np.random.default_rng(seed)
    own = throughput(known)[:, None]
    planes = [in_channels(scene.flux(plane), EDGES_NM, empty.edges_nm) / own for plane in range(scene.planes)]
    flux = RESPONSE * np.stack(planes)
    flux = flux + noise * rng.standard_normal(flux.shape)
    sigma = np.full(flux.shape, noise if claimed is None else claimed)
    return replace(
        empty, flux=flux.astype(np.float32), sigma=sigma.astype(np.float32), flagged=np.zeros(flux.shape, bool)
    )
