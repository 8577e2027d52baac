"""What earlier processes read in raw files: digests of decoded pixels, to notice other pixels under one header."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow.compute as pc

from archive_proc.model.ids import FileId
from archive_proc.storage.layout import Layout
from archive_proc.storage.snapshots import find_current, read_table
from archive_proc.storage.tables import TABLES


def known_pixels(layout: Layout, contents: Mapping[FileId, str]) -> dict[str, str]:
    """file_id -> sha256 (hex) of its decoded pixels, as the first process in the table that read it recorded.

    `contents`: file_id -> content id. What was read under another header of the same name says nothing about this one.
    """
    snapshot = find_current(layout)
    if snapshot is None:
        return {}
    columns = ["input_id", "content_id", "pixel_sha256"]
    rows = read_table(snapshot, TABLES["process_inputs"], columns=columns)
    # Each file once: as objects of Python a million inputs take half a gigabyte.
    read = rows.filter(pc.is_valid(rows.column("pixel_sha256")))
    # In one thread and the first of each: which of two digests is held against a file must not depend on luck.
    seen = read.group_by(columns, use_threads=False).aggregate([]).to_pydict()
    return {
        file_id: digest.hex()
        for file_id, content, digest in zip(*(seen[one][::-1] for one in columns), strict=True)
        if contents.get(file_id) == content.hex()
    }
