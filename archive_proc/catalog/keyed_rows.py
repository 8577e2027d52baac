"""Rows of a table by the value of one column: put in order once, then each look-up is a slice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class KeyedRows:
    """Rows of a table by a text column without NULL, e.g. the inputs of a process.

    The table is scanned once (a second for some million rows); a look-up costs a slice, whatever the table's length.
    """

    def __init__(self, rows: pa.Table, key: str) -> None:
        rows = rows.combine_chunks()
        codes = pc.dictionary_encode(rows.column(key).combine_chunks())
        numbers = codes.indices.to_numpy()
        # Codes count keys as they first appear, so rows that stand together already need no sorting.
        if np.any(np.diff(numbers) < 0):
            order = np.argsort(numbers, kind="stable")
            rows, numbers = rows.take(pa.array(order)), numbers[order]
        ends = np.cumsum(np.bincount(numbers, minlength=len(codes.dictionary))).tolist()
        keys: list[str] = codes.dictionary.to_pylist()
        self._spans = dict(zip(keys, zip([0, *ends], ends, strict=False), strict=True))
        self._columns = [column.combine_chunks() for column in rows.columns]

    # Any: values of whatever types the columns have, in the order of the columns.
    def of(self, value: str) -> list[tuple[Any, ...]]:
        """Rows whose key column holds this value, in the table's order; none where it never appears."""
        start, stop = self._spans.get(value, (0, 0))
        return list(zip(*(column[start:stop].to_pylist() for column in self._columns), strict=True))
