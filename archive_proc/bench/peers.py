"""The published packages of extra `bench`, called on the frames that the recipes were given.

Nothing here re-implements a peer: each function calls the installed package, and gives None where it is not installed
or fails on the frame. Peers are treated kindly: they are told where the star is to half a pixel, and get frames without
detector level and with bad pixels filled by our own map.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.simulate.facts import lambda_over_d_mas

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

PACKAGES = ("vlt-sphere", "vip-hci", "irdap", "photutils")
"""As the registry spells them; all of extra `bench`."""
SPOTS_LAMBDA_D = 14.0
"""Where waffle spots are first looked for."""
CUT = 110
"""Half width of the frame that VIP is given around the star, pixels: spots and their windows fit."""
SKY_MODES = 3
SKY_ANNULUS_PX = (270, 420)
"""notes/irdis 3: VIP's sky PCA with these is the best open pipeline."""
SPOT_APERTURE_PX = 5.0
SPOT_SKY_PX = (8.0, 12.0)


def installed() -> Mapping[str, str | None]:
    """Version of each package; None where it is not installed."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


@dataclass(frozen=True, slots=True)
class Best:
    """The best of several peers on one figure."""

    label: str
    """Peer and version, or which are not installed."""
    value: float | None


def best_of(values: Mapping[str, float | None], packages: Sequence[str]) -> Best:
    """The least of the values; without any, which of the packages are missing, or that they failed.

    `values` by label, None or NaN where a peer gave nothing; `packages` are those that the figure needs.
    """
    known = {label: one for label, one in values.items() if one is not None and np.isfinite(one)}
    if known:
        label = min(known, key=lambda name: known[name])
        return Best(label, known[label])
    here = installed()
    missing = [name for name in packages if here[name] is None]
    return Best(f"{', '.join(missing)} not installed" if missing else f"{', '.join(packages)} failed", None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Peers print and warn; a report is no place for it."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def ready_frame(raw: Float32, level: Float32, response: Float32, bad: Mask) -> Float32:
    """(2, 1024, 1024) a raw plane minus its level, flat divided, bad pixels filled with the median of 5 x 5."""
    light = (raw - level).astype(np.float32)
    halves = np.stack([light[:, :1024], light[:, 1024:]])
    good = ~bad & (response > 0)
    frame = np.where(good, halves / np.where(good, response, 1.0), np.float32(np.nan)).astype(np.float32)
    lit = np.isfinite(response) & (response > 0)
    for half in range(2):
        # Twice, so that clusters fill from their rims.
        for _ in range(2):
            _fill(frame[half], np.flatnonzero(lit[half] & ~np.isfinite(frame[half])))
    return np.nan_to_num(frame)


def _fill(image: Float32, holes: NDArray[np.intp]) -> None:
    """Median of the finite ones among 5 x 5 pixels, at flat positions, in place; NaN where there are none."""
    if not holes.size:
        return
    padded = np.pad(image, 2, constant_values=np.float32(np.nan))
    y, x = np.divmod(holes, image.shape[1])
    around = np.stack([padded[y + dy, x + dx] for dy in range(5) for dx in range(5)])
    with warnings.catch_warnings():
        # A hole among holes has no median; it stays a hole.
        warnings.simplefilter("ignore", RuntimeWarning)
        image.reshape(-1)[holes] = np.nanmedian(around, axis=0)


def vlt_sphere_centres(
    frame: Float32, wave_nm: tuple[float, float], guess: Float64, scale_mas: float
) -> Float64 | None:
    """(2, 2) star by vlt-sphere's waffle fit, 0-based pixels of the halves."""
    if installed()["vlt-sphere"] is None:
        return None
    try:
        with _quiet():
            toolbox = importlib.import_module("sphere.utils.toolbox")
            _, _, found = toolbox.star_centers_from_waffle_img_cube(
                frame.copy(), np.array(wave_nm), "x", np.rint(guess), scale_mas, 0.0
            )
        return np.asarray(found, np.float64)
    except Exception:  # whatever a peer raises on a frame is its own affair: it has no value there
        return None


def vip_centres(
    frame: Float32, wave_nm: tuple[float, float], guess: Float64, scale_mas: tuple[float, float], fit: str
) -> Float64 | None:
    """(2, 2) star by VIP's satellite spots, `fit` "gaus" or "moff"."""
    if installed()["vip-hci"] is None:
        return None
    found = np.full((2, 2), np.nan)
    try:
        with _quiet():
            preproc = importlib.import_module("vip_hci.preproc")
            for half in range(2):
                x, y = np.rint(guess[half]).astype(int)
                reach = SPOTS_LAMBDA_D * lambda_over_d_mas(1e-3 * wave_nm[half]) / scale_mas[half] / np.sqrt(2.0)
                low, high = CUT - reach, CUT + reach
                cut = frame[half, y - CUT : y + CUT + 1, x - CUT : x + CUT + 1].astype(np.float64)
                corners = ((low, high), (high, high), (low, low), (high, low))
                shift_y, shift_x = preproc.frame_center_satspots(
                    cut, corners, subi_size=19, fit_type=fit, shift=False, verbose=False
                )
                found[half] = x - shift_x, y - shift_y
    except Exception:  # as above
        return None
    return found


def vip_sky(frames: Float32, skies: Float32, star: Float64) -> Float32 | None:
    """(n, ny, nx) what VIP's sky PCA leaves of one half's frames; skies (m, ny, nx), both after level and flat."""
    if installed()["vip-hci"] is None or len(skies) < 2:
        return None
    y, x = np.ogrid[: frames.shape[1], : frames.shape[2]]
    radius = np.hypot(x - star[0], y - star[1])
    anchor = ((radius >= SKY_ANNULUS_PX[0]) & (radius < SKY_ANNULUS_PX[1])).astype(np.float64)
    try:
        with _quiet():
            preproc = importlib.import_module("vip_hci.preproc")
            left = preproc.cube_subtract_sky_pca(
                frames.astype(np.float64), skies.astype(np.float64), anchor, ncomp=min(SKY_MODES, len(skies) - 1)
            )
        return np.asarray(left, np.float32)
    except Exception:  # as above
        return None


def irdap_sky(paths: Sequence[Path], planes_to_leave: Sequence[Sequence[int]]) -> Float32 | None:
    """(1024, 2048) IRDAP's master sky of raw files; `planes_to_leave` per file are not used."""
    if installed()["irdap"] is None:
        return None
    try:
        with _quiet():
            module: Any = importlib.import_module("irdap.irdap")
            # Globals that its pipeline sets before it calls its own functions.
            module.path_log_file, module.print_in_terminal = os.devnull, False
            sky = module.process_sky_frames([str(one) for one in paths], [list(one) for one in planes_to_leave])
        return np.asarray(sky, np.float32)
    except Exception:  # as above
        return None


def aperture_photometry(
    frame: Float32, wave_nm: tuple[float, float], star: Float64, scale_mas: tuple[float, float]
) -> Float64 | None:
    """(2,) mean of four aperture sums on the waffle spots, local sky off, by photutils."""
    if installed()["photutils"] is None:
        return None
    found = np.full(2, np.nan)
    try:
        with _quiet():
            aperture = importlib.import_module("photutils.aperture")
            for half in range(2):
                reach = SPOTS_LAMBDA_D * lambda_over_d_mas(1e-3 * wave_nm[half]) / scale_mas[half] / np.sqrt(2.0)
                at = [(star[half, 0] + i * reach, star[half, 1] + j * reach) for i in (-1, 1) for j in (-1, 1)]
                image = np.asarray(frame[half], np.float64)
                circles = aperture.CircularAperture(at, SPOT_APERTURE_PX)
                rings = aperture.CircularAnnulus(at, *SPOT_SKY_PX)
                sums = np.asarray(aperture.aperture_photometry(image, circles)["aperture_sum"])
                local = np.asarray(aperture.ApertureStats(image, rings).median)
                found[half] = float(np.mean(sums - local * circles.area))
    except Exception:  # as above
        return None
    return found
