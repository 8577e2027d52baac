"""Products for people: a lazy dataset. Recipes read with zarr (`products.py`), which opens faster."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from archive_proc.errors import NotFoundError

if TYPE_CHECKING:
    import xarray as xr


def open_dataset(group: Path) -> xr.Dataset:
    """A product's Zarr group as xarray opens it, no dask needed. Raises NotFoundError AP-STO-040 where it is gone."""
    import xarray as xr

    if not (group / "zarr.json").is_file():
        raise NotFoundError(
            "AP-STO-040",
            "the product's directory is not there",
            subject=group.parent.parent.name[:12],
            remedy="archive-proc verify, then run: it is made anew under the same id",
        )
    with warnings.catch_warnings():
        # zarr: consolidated metadata is not in the v3 specification; readers do not depend on it.
        warnings.filterwarnings("ignore", message=".*[Cc]onsolidated metadata.*")
        dataset: xr.Dataset = xr.open_zarr(group, chunks=None, decode_times=False)
    return dataset
