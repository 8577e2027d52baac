"""Which files an ingest looks at: below the given paths, inside the raw roots.

A link to a file inside a raw root stands for that file, in the file's own place. Links that lead elsewhere, and links
to directories, are never followed: who puts a link into a raw root must not choose what is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from archive_proc.errors import InputError, MisuseError
from archive_proc.ingest.facts import NotRaw
from archive_proc.ingest.names import has_raw_name

_UNKEPT = "has characters in its name that cannot be kept: control characters, or bytes that are no UTF-8"


def escaped(name: str) -> str:
    r"""A name as it can be kept and shown: what is no printable text as escapes.

    >>> escaped("a\nb\udcff.fits")
    'a\\nb\\udcff.fits'
    """
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in name)


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
    bases: Mapping[str, str] = field(default_factory=dict)
    """Real path of each raw root by name."""


def walk(paths: Sequence[Path], roots: Mapping[str, Path]) -> Walk:
    """Find the candidate files below the paths (files or directories, in any order, overlaps welcome).

    A path itself may be a link (people link their data into place).

    Raises MisuseError AP-ING-009 for a path that cannot be written into a manifest, AP-ING-020 for one that does not
    exist, AP-ING-021 for one outside every root.
    """
    bases = {name: os.path.realpath(root) for name, root in roots.items()}
    found = Walk(bases=bases)
    for given in paths:
        path = os.path.realpath(given)
        if not path.isprintable():
            raise MisuseError("AP-ING-009", _UNKEPT, subject=escaped(path), remedy="rename it, or mount it elsewhere")
        if not os.path.exists(path):  # noqa: PTH110  # one real path, no Path object for each of 340 000 files
            raise MisuseError(
                "AP-ING-020", "there is no such file or directory", subject=str(given), remedy="check the spelling"
            )
        name, base = root_of(path, given, bases)
        found.covered.add(f"{name}{path[len(base) :]}")
        entries = _entries(path, found, f"{name}{path[len(base) :]}") if os.path.isdir(path) else [path]  # noqa: PTH112
        for entry in entries:
            _sort_in(entry, f"{name}{entry[len(base) :]}", found)
    return found


def root_of(path: str, given: Path, bases: Mapping[str, str]) -> tuple[str, str]:
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
        elif not entry.name.isprintable():
            kept = f"{uri}/{escaped(entry.name)}"
            found.rejected[kept] = Rejection(kept, _named_badly(kept, "directory"))
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
    if not name.isprintable():
        uri = f"{uri.rpartition('/')[0]}/{escaped(name)}"
        if has_raw_name(name):
            found.rejected[uri] = Rejection(uri, _named_badly(uri, "file"))
        else:
            found.not_raw[uri] = NotRaw(uri, "a name that cannot be kept")
        return
    if os.path.islink(path):  # noqa: PTH114
        _sort_in_link(path, uri, name, found)
        return
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


def _sort_in_link(path: str, uri: str, name: str, found: Walk) -> None:
    """A link: to a file inside a raw root (that file is meant), to a directory, out of the roots, to nothing."""
    target = os.path.realpath(path)
    inside = any(target == base or target.startswith(base.rstrip("/") + "/") for base in found.bases.values())
    if os.path.isdir(target):  # noqa: PTH112
        if inside:
            found.not_raw[uri] = NotRaw(uri, "a link to a directory of a raw root")
        else:
            found.rejected[uri] = Rejection(uri, _led_away(path, "directory"))
    elif name.startswith(".") or not has_raw_name(name):
        found.not_raw[uri] = NotRaw(uri, _why_not(name))
    elif not os.path.exists(target):  # noqa: PTH110
        found.rejected[uri] = Rejection(
            uri,
            InputError(
                "AP-ING-001", "is a link to nothing", subject=path, remedy="mount what it leads to, or remove the link"
            ),
        )
    elif inside and target.isprintable():
        bases = [(base, root) for root, base in found.bases.items() if target.startswith(base.rstrip("/") + "/")]
        base, root = max(bases)
        _sort_in(target, f"{root}{target[len(base.rstrip('/')) :]}", found)
    else:
        found.rejected[uri] = Rejection(uri, _led_away(path, "file"))


def _led_away(path: str, what: str) -> InputError:
    return InputError(
        "AP-ING-001",
        f"is a link to a {what} outside every raw root, which is not followed",
        subject=path,
        remedy=f"ingest the {'directory itself' if what == 'directory' else 'directory that holds the file itself'}",
    )


def _named_badly(uri: str, what: str) -> InputError:
    return InputError("AP-ING-009", f"{what} {_UNKEPT}", subject=uri, remedy=f"rename the {what} and ingest again")


def _why_not(name: str) -> str:
    if name.startswith("."):
        return "hidden file"
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
    return f"not FITS ({suffix})" if suffix else "not FITS (no ending)"
