"""Figures of single planes beside a product: one small Parquet file in the sealed directory, read by the compactor.

Columns are those of the catalog table `plane_qc` that a recipe can know; a row is a plane and channel. A file of its
own rather than arrays in the product: the compactor reads thousands of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from archive_proc.errors import InputError
from archive_proc.storage.process_tables import PLANE_QC

FIGURES_NAME = "plane_qc.parquet"
PLANE_COLUMNS = ("file_id", "plane", "frame_type", "time", "dit_s", "usable")
"""What a recipe says of each plane; every other column it gives is a figure of each plane and channel."""
JUDGED_COLUMNS = ("verdict", "beyond", "limits_version")
PROCESS_COLUMNS = ("process_id", "subject_id", "night", "period_date")
FIGURES = tuple(
    one.name
    for one in PLANE_QC.columns
    if one.name not in (*PLANE_COLUMNS, *JUDGED_COLUMNS, *PROCESS_COLUMNS, "channel")
)
"""Columns that hold figures."""


def write_figures(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write the figures of n planes: (n,) arrays of PLANE_COLUMNS, (n, channels) arrays of FIGURES.

    Raises InputError AP-STO-501 for a column the table does not have, or one of another shape.
    """
    n = len(columns["file_id"])
    channels = {value.shape[1:] for name, value in columns.items() if name not in PLANE_COLUMNS}
    wrong = sorted(set(columns) - {*PLANE_COLUMNS, *FIGURES}) + sorted(set(PLANE_COLUMNS) - set(columns))
    wrong += [name for name, value in columns.items() if value.shape[0] != n]
    if wrong or len(channels) != 1 or len(next(iter(channels))) != 1:
        raise InputError(
            "AP-STO-501",
            f"figures of planes do not fit the table plane_qc: {', '.join(wrong) or 'shapes differ'}",
            subject="plane_qc",
            remedy="columns stand in storage/process_tables.py; figures are (planes, channels)",
        )
    count = next(iter(channels))[0]
    schema = PLANE_QC.arrow_schema
    arrays: dict[str, pa.Array] = {"channel": pa.array(np.tile(np.arange(count, dtype=np.int16), n))}
    for name in PLANE_COLUMNS:
        values = np.repeat(columns[name], count)
        text = schema.field(name).type == pa.string()
        arrays[name] = pa.array([str(one) for one in values] if text else values, schema.field(name).type)
    for name in sorted(set(columns) - set(PLANE_COLUMNS)):
        arrays[name] = pa.array(columns[name].astype(np.float32).reshape(-1), pa.float32(), from_pandas=True)
    pq.write_table(pa.table(arrays), path, compression="zstd")


def read_figures(product_dir: Path) -> pa.Table | None:
    """The figures of a sealed process's planes, a row a plane and channel; None where it judged no plane.

    Raises InputError AP-STO-001 where the file cannot be read.
    """
    path = product_dir / FIGURES_NAME
    if not path.is_file():
        return None
    try:
        return pq.ParquetFile(path).read()
    except (OSError, pa.ArrowInvalid) as problem:
        raise InputError(
            "AP-STO-001",
            f"its figures of planes cannot be read: {problem}",
            subject=path.name,
            remedy="archive-proc verify, then remove the damaged process and run again",
        ) from problem
