"""Lists of names in Parquet files that others made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from archive_proc.errors import InputError


def parquet_names(path: Path, columns: Sequence[str]) -> tuple[str, ...]:
    """The texts of the first of these columns that the file has (compared without regard to case).

    Raises InputError AP-ING-042 when it is no Parquet file or has none of them.
    """
    try:
        found = {name.casefold(): name for name in pq.read_schema(path).names}
        column = next(found[one.casefold()] for one in columns if one.casefold() in found)
        values = pq.read_table(path, columns=[column])[column].cast(pa.string()).to_pylist()
    except (pa.ArrowInvalid, OSError, StopIteration) as error:
        why = str(error) or f"has none of the columns {', '.join(columns)}"
        raise InputError(
            "AP-ING-042", f"is no list of archive names: {why}", subject=str(path), remedy="give one name a line"
        ) from error
    return tuple(value for value in values if value is not None)
