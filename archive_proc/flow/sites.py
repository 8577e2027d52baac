"""Site profiles by name: those of an archive before those shipped."""

from __future__ import annotations

import difflib
import importlib.resources
from pathlib import Path

import msgspec

from archive_proc.errors import MisuseError, NotFoundError
from archive_proc.settings import SiteProfile, parse_site


def site_named(wanted: str, own: Path | None, workers: int | None = None) -> SiteProfile:
    """A profile by its file's name; `own`: the archive's `sites/`.

    `slurm:NAME` stands for `slurm-NAME`, else for NAME, and wants a profile with that back end. Raises NotFoundError
    AP-CLI-005 naming the nearest, MisuseError AP-CLI-003 for a profile that does not pass or has another name than its
    file.
    """
    directories = [shipped_sites(), *([own] if own is not None else [])]
    places = {path.stem: path for directory in directories for path in _tomls(directory)}
    backend, colon, rest = wanted.rpartition(":")
    found = next((one for one in ((f"{backend}-{rest}", rest) if colon else (wanted,)) if one in places), None)
    if found is None:
        near = difflib.get_close_matches(wanted.replace(":", "-"), places, 1, 0.4)
        raise NotFoundError(
            "AP-CLI-005",
            "no such site profile" + (f"; the nearest is {near[0]}" if near else ""),
            subject=wanted,
            remedy=f"known: {', '.join(sorted(places))}; or write sites/{rest}.toml",
        )
    profile = parse_site(places[found].read_text(), str(places[found].name))
    if profile.name != found:
        # Records, `status` and the driver's own job know a site by its name: it must lead back to this file.
        raise MisuseError(
            "AP-CLI-003",
            f"name = {profile.name!r}, and the file is called {found}",
            subject=places[found].name,
            remedy=f'set name = "{found}"',
        )
    if colon and profile.backend != backend:
        raise MisuseError(
            "AP-CLI-003",
            f"backend = {profile.backend!r}, and {backend!r} was asked for",
            subject=places[found].name,
            remedy=f"--site {found}, or another profile",
        )
    return profile if workers is None else msgspec.structs.replace(profile, workers=workers)


def shipped_sites() -> Path:
    """Profiles in the wheel, or of the checkout that the package is imported from."""
    package = Path(str(importlib.resources.files("archive_proc")))
    packed = package / "_shipped" / "cluster"
    return packed if packed.is_dir() else package.parent / "cluster"


def _tomls(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.toml")) if directory.is_dir() else []
