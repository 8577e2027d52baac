"""Which files an ingest looks at: below the given paths, inside the raw roots, never through a link."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from archive_proc.errors import InputError, MisuseError
from archive_proc.ingest.facts import NotRaw
from archive_proc.ingest.names import has_raw_name


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be a raw frame."""

    path: Path
    uri: str
    """`<root name>/<path inside it>`, with `/`."""
    size_bytes: int
    mtime: float


@dataclass(frozen=True, slots=True)
class Rejection:
    """A file under a raw name that cannot be used."""

    uri: str
    error: InputError


@dataclass(slots=True)
class Walk:
    """What was found, by uri."""

    candidates: dict[str, Candidate] = field(default_factory=dict)
    not_raw: dict[str, NotRaw] = field(default_factory=dict)
    rejected: dict[str, Rejection] = field(default_factory=dict)
    covered: set[str] = field(default_factory=set)
    """uris of the given paths."""


def walk(paths: Sequence[Path], roots: Mapping[str, Path]) -> Walk:
    """Find the candidate files below the paths (files or directories, in any order, overlaps welcome).

    A path itself may be a link (people link their data into place); below it no link is followed.

    Raises MisuseError AP-ING-020 for a path that does not exist, AP-ING-021 for one outside every root.
    """
    bases = {name: os.path.realpath(root) for name, root in roots.items()}
    found = Walk()
    for given in paths:
        path = os.path.realpath(given)
        if not os.path.exists(path):  # noqa: PTH110  # one real path, no Path object for each of 340 000 files
            raise MisuseError(
                "AP-ING-020", "there is no such file or directory", subject=str(given), remedy="check the spelling"
            )
        name, base = _root_of(path, given, bases)
        found.covered.add(f"{name}{path[len(base) :]}")
        entries = _entries(path, found, f"{name}{path[len(base) :]}") if os.path.isdir(path) else [path]  # noqa: PTH112
        for entry in entries:
            _sort_in(entry, f"{name}{entry[len(base) :]}", found)
    return found


def _root_of(path: str, given: Path, bases: Mapping[str, str]) -> tuple[str, str]:
    """Name and path of the deepest raw root that holds a path."""
    holding = [(base, name) for name, base in bases.items() if path == base or path.startswith(base.rstrip("/") + "/")]
    if not holding:
        known = ", ".join(f"{name} = {base}" for name, base in sorted(bases.items())) or "none is set"
        raise MisuseError(
            "AP-ING-021",
            f"lies outside every raw root ({known})",
            subject=str(given),
            remedy="add its directory as a raw root in archive.toml",
        )
    base, name = max(holding, key=lambda one: (len(one[0]), one[1]))
    # A root that is itself a file (one given file) has no path inside: its directory serves as base.
    return name, base.rstrip("/")


def _entries(top: str, found: Walk, uri: str) -> Iterator[str]:
    """Paths of all files below a directory."""
    try:
        with os.scandir(top) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        found.rejected[uri] = _unreachable(uri, top, "directory", error)
        return
    for entry in entries:
        inside = f"{uri}/{entry.name}"
        try:
            # Asks the disk where the file system tells no types.
            directory = entry.is_dir(follow_symlinks=False)
        except OSError as error:
            found.rejected[inside] = _unreachable(inside, entry.path, "file", error)
            continue
        if not directory:
            yield entry.path
        elif not entry.name.startswith("."):
            yield from _entries(entry.path, found, inside)


def _unreachable(uri: str, path: str, what: str, error: OSError) -> Rejection:
    return Rejection(
        uri,
        InputError(
            "AP-ING-001",
            f"{what} cannot be read ({error.strerror or error})",
            subject=path,
            remedy="ingest again when it is there; if it is, give the ingesting user the right to read it",
        ),
    )


def _sort_in(path: str, uri: str, found: Walk) -> None:
    name = os.path.basename(path)  # noqa: PTH119
    if name.startswith(".") or not has_raw_name(name):
        found.not_raw[uri] = NotRaw(uri, _why_not(name))
        return
    try:
        status = os.lstat(path)
    except OSError as error:
        # Gone since its directory was read (a copy under way, a cleaner), or out of reach: the others go on.
        found.rejected[uri] = _unreachable(uri, path, "file", error)
        return
    found.candidates[uri] = Candidate(Path(path), uri, status.st_size, status.st_mtime)


def _why_not(name: str) -> str:
    if name.startswith("."):
        return "hidden file"
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
    return f"not FITS ({suffix})" if suffix else "not FITS (no ending)"
