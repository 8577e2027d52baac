"""Pixels read before speak of a file as long as its header is the same."""

from pathlib import Path

import pyarrow as pa
import pytest

from archive_proc.catalog import pixels
from archive_proc.storage.layout import Layout

OLD, NEW, SEEN = b"\1" * 32, b"\2" * 32, b"\3" * 32


def test_a_file_delivered_again_under_another_header_is_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pa.table(
        {
            "input_id": ["SPHER.A", "SPHER.A", "SPHER.B", "proc.type"],
            "content_id": [OLD, OLD, OLD, None],
            "pixel_sha256": [None, SEEN, SEEN, None],
        }
    )
    monkeypatch.setattr(pixels, "find_current", lambda layout: Path("snapshot"))
    monkeypatch.setattr(pixels, "read_table", lambda *_, **__: rows)
    found = pixels.known_pixels(Layout(Path("archive")), {"SPHER.A": OLD.hex(), "SPHER.B": NEW.hex()})
    assert found == {"SPHER.A": SEEN.hex()}


def test_of_two_digests_of_a_file_the_first_on_record_is_held_against_it(monkeypatch: pytest.MonkeyPatch) -> None:
    names, n = ["SPHER.A", "SPHER.B"], 64
    parts = [
        pa.table(
            {
                "input_id": [name for name in names for _ in range(500)],
                "content_id": [OLD] * 1000,
                # Later processes read other pixels, each its own.
                "pixel_sha256": [SEEN if not number else bytes([number + 3]) * 32] * 1000,
            }
        )
        for number in range(n)
    ]
    monkeypatch.setattr(pixels, "find_current", lambda layout: Path("snapshot"))
    monkeypatch.setattr(pixels, "read_table", lambda *_, **__: pa.concat_tables(parts))
    found = pixels.known_pixels(Layout(Path("archive")), dict.fromkeys(names, OLD.hex()))
    assert found == dict.fromkeys(names, SEEN.hex())
