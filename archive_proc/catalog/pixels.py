"""What earlier processes read in raw files: digests of decoded pixels, to notice other pixels under one header."""

from __future__ import annotations

from archive_proc.storage.layout import Layout
from archive_proc.storage.snapshots import find_current, read_table
from archive_proc.storage.tables import TABLES


def known_pixels(layout: Layout) -> dict[str, str]:
    """file_id -> sha256 (hex) of its decoded pixels, as the first process that read it recorded."""
    snapshot = find_current(layout)
    if snapshot is None:
        return {}
    rows = read_table(snapshot, TABLES["process_inputs"], columns=["input_id", "pixel_sha256"]).to_pydict()
    pairs = zip(rows["input_id"], rows["pixel_sha256"], strict=True)
    return {file_id: digest.hex() for file_id, digest in pairs if digest is not None}
