"""Products of the IFS chain as arrays, small or whole, written by the store itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.dispersion import field_terms
from archive_proc.kernels.lenslets import FieldStop, Lenslets, all_lenslets
from archive_proc.kernels.psflets import NODES
from archive_proc.quality.orders import PageOrder, SourceProduct
from archive_proc.storage.products import (
    create_product,
    create_store,
    finish_product,
    plan_product,
    write_arrays,
    write_planes,
)

SIZES = {
    "axis": 2, "vector": 2, "index": 2, "y": 64, "x": 64, "lag": 6, "offset": 9, "variable": 2, "node_y": NODES,
    "node_x": NODES, "by": 4, "bx": 4, "power": 3, "term": 10, "monomial": 10, "field_term": 10,
}  # fmt: skip
"""Sizes of dimensions that an array of a test need not give; any other is 3."""


def stored(root: Path, product_type: str, given: Mapping[str, Any], attrs: Mapping[str, Any] | None = None) -> Any:
    """The product with these arrays, zeros for all others; a name given as None is left out.

    Arrays that blocks write are written where they are given.
    """
    full = load_tables().product_types[product_type]
    # As a product that was made before its type gained an array.
    form = SimpleNamespace(variables=[one for one in full.variables if given.get(one.name, 0) is not None])
    sizes: dict[str, int] = {}
    for one in form.variables:
        if given.get(one.name) is not None:
            sizes |= dict(zip(one.dims, np.shape(given[one.name]), strict=True))
    arrays, planes = {}, {}
    for one in form.variables:
        for dim in one.dims:
            sizes.setdefault(dim, SIZES.get(dim, 3))
        shape = tuple(sizes[dim] for dim in one.dims)
        empty = np.full(shape, "", object) if one.dtype == "string" else np.zeros(shape, one.dtype)
        into = planes if one.by_block else arrays
        into[one.name] = np.asarray(given.get(one.name, empty), None if one.dtype == "string" else one.dtype)
    store = root / "product.zarr"
    create_store(store, {})
    plans = plan_product(form, product_type, sizes, by_block=True)
    create_product(store, product_type, plans)
    write_arrays(store, product_type, form, arrays, sizes.get("frame", 0))
    if planes:
        write_planes(store, product_type, plans, 0, planes)
    finish_product(store, product_type, dict(attrs or {}))
    return SourceProduct("0" * 32 + f".{product_type}", product_type, "made_up", "1", store / product_type)


def calibration_set(*products: SourceProduct, number: int = 1) -> PageOrder:
    """The page order of one calibration set."""
    return PageOrder(
        subject_kind="group", subject_id=f"{number:032x}", preset="default", night="2017-05-14", arm="IFS",
        name="IFS_FLAT_RAW", setup="OBS_YJ", products={one.product_type: one for one in products}, bands=("YJ",),
        outputs=32,
    )  # fmt: skip


def lenslets(reach: float = 80.0) -> Lenslets:
    """Lenslets of the field within so many pitches of its centre."""
    table = load_tables().ifs.lenslets
    found = all_lenslets(FieldStop(*table.field_stop, offset=table.x_offset))
    return found.choose(np.hypot(found.x, found.y) < reach)


def coordinates(some: Lenslets) -> dict[str, Any]:
    return {"hex_q": some.q, "hex_r": some.r, "lenslet_x": some.x, "lenslet_y": some.y}


def first_map() -> np.ndarray:
    """(2, 10) map from lenslets to the first laser's place, as the tables have it."""
    tables = load_tables().ifs
    some = lenslets()
    steps = np.array(tables.lenslets.lattice_px)
    places = np.stack([some.q, some.r], axis=1) @ steps + np.array(tables.geometry("YJ").first_laser_px)
    return np.linalg.lstsq(field_terms(some.x, some.y), places, rcond=None)[0].T


def positions(reach: float = 80.0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and attributes of `ifs_spectra_positions`: four tiles that agree with the map."""
    tables, some = load_tables().ifs, lenslets(reach)
    numbers = np.array([[-20, 5], [20, 5], [-20, -5], [20, -5]])
    x, y = numbers[:, 0] + numbers[:, 1] / 2 + 0.5, numbers[:, 1] * np.sqrt(0.75)
    origin = field_terms(x, y) @ first_map().T
    light = np.full(len(some), 1.0)
    light[::50] = np.nan
    return {
        **coordinates(some), "coefficients": first_map(), "light": light, "tile_center": origin + 3.0,
        "tile_basis": np.tile(np.array(tables.lenslets.lattice_px), (4, 1, 1)), "tile_origin": origin,
        "tile_number": numbers, "tile_quality": [300.0, 310.0, 320.0, 330.0],
    }, {"mode": "YJ", "index_step": [0, 0], "index_margin": 69.6}  # fmt: skip


def wavelength_solution(reach: float = 80.0, spread_px: float = 0.02) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and attributes of `ifs_wavelength_solution`: spots scattered about the map by so much."""
    rng = np.random.default_rng(3)
    tables, some = load_tables().ifs, lenslets(reach)
    lasers = np.array([one.wavelength_um for one in tables.lasers_of("YJ")])
    offsets = np.array([one.offset_px["YJ"] for one in tables.lasers_of("YJ")])
    u = np.log(lasers / 1.1)
    powers = np.linalg.solve(np.stack([u**0, u, u**2], axis=1), offsets)
    coefficients = np.zeros((2, 10, 3))
    coefficients[:, :, 0] = first_map()
    coefficients[:, 0] += powers.T
    spots = (field_terms(some.x, some.y) @ first_map().T)[:, None, :] + offsets
    spots += rng.normal(0.0, spread_px, spots.shape)
    checked = np.arange(0, len(some), 20)
    lines = rng.normal(0.1, 0.2, (len(checked), 3))
    lines[::9] = np.nan
    return {
        **coordinates(some), "coefficients": coefficients, "complete": np.hypot(some.x, some.y) < reach - 3.0,
        "throughput": rng.normal(1.0, 0.013, len(some)), "laser": lasers, "spot_x": spots[..., 0],
        "spot_y": spots[..., 1], "residual": np.full((2, 3), spread_px), "line_offset": lines,
        "checked_lenslet": checked,
    }, {"mode": "YJ", "lasers": ["CBL3", "CBL6", "CBL1"]}  # fmt: skip


def psflets() -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and attributes of `ifs_psflets`: one round spot, wider towards the field's right."""
    node = (np.arange(NODES) - 19.0) / 2.0
    radius = np.hypot(*np.meshgrid(node, node))
    round_spot = np.exp(-0.5 * (radius / 1.0) ** 2)
    wider = np.exp(-0.5 * (radius / 1.1) ** 2) - round_spot
    terms = np.stack([round_spot / round_spot.sum(), 0.1 * wider / round_spot.sum()]) * 4.0
    return {
        "terms": terms, "powers": np.array([[0, 0], [4, 0]]), "orthonormal": np.eye(10),
    }, {"colour_um": [0.98772, 1.30937], "lasers": ["CBL3", "CBL6", "CBL1"]}  # fmt: skip


def lenslet_flat(reach: float = 80.0, side: int = 256) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and attributes of `ifs_lenslet_flat`."""
    rng = np.random.default_rng(4)
    some = lenslets(reach)
    edges = np.array(load_tables().ifs.channels("YJ").edges_um)
    middle = 0.5 * (edges[1:] + edges[:-1])
    flags = np.zeros(len(some), np.uint16)
    flags[7] = 256
    variance = np.where(flags > 0, np.nan, 1e-6)
    residual = rng.normal(0.0, 2.0, (side, side))
    residual[::17, ::13] = np.nan
    return {
        **coordinates(some), "throughput": rng.normal(1.0, 0.013, len(some)), "variance": variance, "flags": flags,
        "lamp": 2000.0 * np.exp(-0.5 * ((middle - 1.15) / 0.1) ** 2), "wavelength": middle,
        "bandwidth": np.diff(edges), "residual": residual,
    }, {"mode": "YJ", "core_channels": list(range(8, 30))}  # fmt: skip


PLANES, SIDE = 3, 90
"""Planes of an observation made up, and pixels along its cubes."""
ANGLES = np.array([20.0, 35.0, 50.0])
FILE = "SPHER.2017-05-15T04:50:37.350"


def channels_um() -> tuple[np.ndarray, np.ndarray]:
    """Middles and widths of the channels of YJ."""
    edges = np.array(load_tables().ifs.channels("YJ").edges_um)
    return 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)


def of_planes() -> dict[str, Any]:
    """Coordinates of three planes of one file."""
    return {
        "file_id": np.full(PLANES, FILE, object), "plane": np.arange(PLANES), "usable": np.ones(PLANES, bool),
        "frame_type": np.full(PLANES, "OBJECT", object), "time": 57888.2 + np.arange(PLANES) * 40.0 / 86400.0,
        "exposure_time": np.full(PLANES, 32.0), "derotation_angle": ANGLES,
    }  # fmt: skip


def spectra(reach: float = 8.0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and attributes of `ifs_spectra`: brighter towards the middle, one towering lenslet flagged throughout."""
    rng = np.random.default_rng(5)
    some, (middle, width) = lenslets(reach), channels_um()
    colour = np.exp(-(((middle - 1.15) / 0.18) ** 4))
    light = 50.0 * np.exp(-np.hypot(some.x, some.y) / 5.0)
    flux = np.broadcast_to(light[:, None] * colour, (PLANES, len(some), len(middle))).copy()
    flags = np.zeros(flux.shape, np.uint16)
    flux[:, 5], flags[:, 5] = 900.0, 64
    flags[0, :, 20] |= 512
    variance = np.full(flux.shape, 0.3)
    variance[:, 9, 4] = np.nan
    return {
        **coordinates(some), **of_planes(), "flux": flux + rng.normal(0.0, 0.5, flux.shape), "variance": variance,
        "flags": flags, "variance_common": np.full(flux.shape[1:], 0.1), "wavelength": middle, "bandwidth": width,
        "shift_x": [0.061, 0.058, 0.063], "shift_x_error": np.full(PLANES, 0.003), "chi2": [1.02, 0.98, 1.1],
        "background_level": [2.1, 2.2, 2.15], "clipped": [0.001, 0.002, 0.004],
        "residual": rng.normal(0.0, 1.0, (256, 256)),
    }, {"mode": "YJ"}  # fmt: skip


def centered_cube(companion_pa: float = 70.0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays of `ifs_centered_cube`: a halo, and a companion 20 pixels from the star at this position angle."""
    rng = np.random.default_rng(6)
    middle, width = channels_um()
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    flux = np.zeros((PLANES, len(middle), SIDE, SIDE))
    for plane, angle in enumerate(ANGLES):
        turn = np.radians(companion_pa - angle)
        there = np.hypot(x + 20 * np.sin(turn), y - 20 * np.cos(turn))
        flux[plane] = 40 / (1 + np.hypot(x, y)) + 30 * np.exp(-0.5 * (there / 1.5) ** 2)
    flux *= np.linspace(0.5, 1.5, len(middle))[:, None, None]
    flux += rng.normal(0.0, 0.2, flux.shape)
    flux[..., :6, :] = np.nan
    flags = np.where(np.isnan(flux), 1, 0)
    flags[..., 60] |= 4 | 256
    star = np.full((PLANES, len(middle)), SIDE // 2, float)
    return {
        **of_planes(), "flux": flux, "variance": np.full(flux.shape, 0.04), "flags": flags, "star_x": star,
        "star_y": star, "wavelength": middle, "bandwidth": width, "pixel_scale": np.full(len(middle), 7.46),
    }, {}  # fmt: skip


def tracks() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Arrays and attributes of `center`, `photometry` and `psf`: one CENTER plane before the science planes."""
    rng = np.random.default_rng(7)
    middle, _ = channels_um()
    science = of_planes()
    rows = {
        "file_id": np.append(science["file_id"], "SPHER.2017-05-15T04:49:33.500"), "plane": [0, 1, 2, 0],
        "frame_type": np.append(science["frame_type"], "CENTER"), "time": np.append(science["time"], 57888.199),
    }  # fmt: skip
    shape = (PLANES + 1, len(middle))
    places = {f"star_{axis}": 145.0 + rng.normal(0.0, 0.1, shape) for axis in "xy"}
    errors = {f"star_{axis}_error": np.full(shape, 0.05) for axis in "xy"}
    flux = 1.0 + rng.normal(0.0, 0.05, shape)
    y, x = np.mgrid[:41, :41] - 20
    psf = 1e4 * np.exp(-0.5 * np.hypot(x, y) ** 2 / (2.0 * middle[:, None, None]) ** 2)
    return {
        "center": ({**rows, **places, **errors}, {"science_role": "OBJECT"}),
        "photometry": (
            {
                **rows, "relative_flux": flux, "relative_flux_error": np.full(shape, 0.01),
                "photometry_method": np.full(shape, "speckles", object),
            },
            {},
        ),
        "psf": ({"flux": psf, "wavelength": middle}, {}),
    }  # fmt: skip


def observation(*products: SourceProduct) -> PageOrder:
    """The page order of an IFS observation."""
    return PageOrder(
        subject_kind="observation", subject_id="b" * 32, preset="default", night="2017-05-14", arm="IFS", name="SIM",
        setup="YJ, N_ALC_YJH_S, DIT 32 s", products={one.product_type: one for one in products}, bands=("YJ",),
        mask_diameter_mas=185.0, raw_missing="this test has no raw plane",
    )  # fmt: skip


def single_frame(product: SourceProduct) -> PageOrder:
    """The page order of a CENTER frame that was extracted by itself."""
    return PageOrder(
        subject_kind="frame", subject_id="SPHER.2017-05-15T04:49:33.500", preset="default", night="2017-05-14",
        arm="IFS", name="IFS_STAR_CENTER_WAFFLE_RAW", setup="SIM, OBS_YJ", facts=(("planes", "1"),),
        products={product.product_type: product}, bands=("YJ",),
    )  # fmt: skip
