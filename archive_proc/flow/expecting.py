"""Expected manifests of an archive: lists that campaigns count on, compared with what was found at every look."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from archive_proc.ingest.expected import ExpectedManifest, compare, read_expected
from archive_proc.model.frames import RawFrame
from archive_proc.model.observations import Issue
from archive_proc.storage.atomic import write_bytes
from archive_proc.storage.layout import Layout

SUFFIXES = (".txt", ".lst", ".csv", ".tsv", ".parquet", ".vot", ".votable", ".xml")
"""Forms of a list; anything else given to `ingest` is a raw file or a directory of them."""


def expect(layout: Layout, path: Path) -> ExpectedManifest:
    """Keep a campaign's list in the archive: `manifests/expected-<digest>.txt`; the same list twice is one.

    Raises InputError AP-ING-042 for a file that is no list of archive names.
    """
    manifest = read_expected(path)
    text = "".join(f"{one}\n" for one in manifest.file_ids)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    write_bytes(layout.manifests / f"expected-{digest}.txt", f"# {_one_line(manifest.name)}\n{text}".encode())
    return manifest


def expected_manifests(layout: Layout) -> tuple[ExpectedManifest, ...]:
    """The lists kept in an archive, by name."""
    found = []
    for path in sorted(layout.manifests.glob("expected-*.txt")):
        name = path.read_text().partition("\n")[0].removeprefix("# ")
        found.append(ExpectedManifest(name, read_expected(path).file_ids))
    return tuple(sorted(found, key=lambda one: (one.name, one.file_ids)))


def expectation_issues(manifests: Sequence[ExpectedManifest], frames: Iterable[RawFrame]) -> tuple[Issue, ...]:
    """Files that a list names and nobody found, and files that no list names; none where there is no list."""
    if not manifests:
        return ()
    known = tuple(frames)
    missing = [one for each in manifests for one in compare(each, known).issues if one.code == "AP-ING-040"]
    together = ExpectedManifest(
        ", ".join(one.name for one in manifests), tuple({file_id for one in manifests for file_id in one.file_ids})
    )
    surplus = [one for one in compare(together, known).issues if one.code == "AP-ING-041"]
    return (*missing, *surplus)


def _one_line(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)
