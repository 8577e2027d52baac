"""Cubes of any length on disk, written by the store itself; further shards are links to the first."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables
from archive_proc.model.flags import Flag
from archive_proc.quality.orders import SourceProduct
from archive_proc.storage.products import (
    create_product,
    create_store,
    finish_product,
    plan_product,
    write_arrays,
    write_planes,
)


def small_arrays(product_type: str, sizes: Mapping[str, int], given: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Every array of a type that blocks do not write: as given, else zeros."""
    form = load_tables().product_types[product_type]
    made: dict[str, Any] = {}
    for one in form.variables:
        if not one.by_block:
            shape = tuple(sizes[dim] for dim in one.dims)
            empty = np.full(shape, "", object) if one.dtype == "string" else np.zeros(shape, one.dtype)
            made[one.name] = given.get(one.name, empty)
    return made


def write_cube(root: Path, product_type: str, n: int, planes: Mapping[str, NDArray[Any]], side: int) -> SourceProduct:
    """A cube of `n` planes that repeat the 16 (or fewer) given; the star in the middle, turning by 60 degrees."""
    sizes = {"frame": n, "channel": 2, "y": side, "x": side, "dy": 4, "dx": 4}
    form = load_tables().product_types[product_type]
    store = root / "product.zarr"
    create_store(store, {})
    plans = plan_product(form, product_type, sizes, by_block=True)
    create_product(store, product_type, plans)
    given = {
        "usable": np.ones(n, bool),
        "file_id": np.full(n, "SPHER.2017-09-29T03:00:00.000", object),
        "plane": np.arange(n, dtype=np.int32),
        "time": 58025.1 + np.arange(n) / 86400,
        "derotation_angle": np.linspace(10.0, 70.0, n),
        "star_x": np.full((n, 2), side // 2, float),
        "star_y": np.full((n, 2), side // 2, float),
        "pixel_scale": np.array([12.25, 12.26]),
    }
    write_arrays(store, product_type, form, small_arrays(product_type, sizes, given), n)
    write_planes(store, product_type, plans, 0, planes)
    for plan in plans:
        first = store / product_type / plan.objects(0, 1)[0]
        for shard in range(1, -(-n // 16)):
            os.link(first, first.with_name(first.name.replace("c.0.", f"c.{shard}.")))
    finish_product(store, product_type, {"bands": ["H2", "H3"]})
    return SourceProduct("0" * 32 + f".{product_type}", product_type, "made_up", "1", store / product_type)


def noise(n: int, side: int, seed: int = 5) -> dict[str, NDArray[Any]]:
    """Planes of noise about a halo; the first pixels outside, one column flagged."""
    rng = np.random.default_rng(seed)
    shape = (n, 2, side, side)
    y, x = np.mgrid[:side, :side] - side // 2
    flux = rng.normal(0, 1, shape).astype(np.float32) + (300 / (1 + np.hypot(x, y) / 10)).astype(np.float32)
    flags = np.zeros(shape, np.uint16)
    flags[..., :8, :] = int(Flag.OUTSIDE)
    flags[..., side // 2 + 20] |= int(Flag.HOT | Flag.FILLED)
    flux[flags & int(Flag.OUTSIDE) != 0] = np.nan
    return {"flux": flux, "variance": np.ones(shape, np.float32), "flags": flags}
