"""Everything that `doctor` looks at, in the order it is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from archive_proc.execution.doctor.environment import environment
from archive_proc.execution.doctor.file_system import file_system
from archive_proc.execution.doctor.finding import Finding
from archive_proc.execution.doctor.tree import tree
from archive_proc.settings import SiteProfile
from archive_proc.storage.layout import Layout


def examine(site: SiteProfile, root: Path, raw_roots: Mapping[str, Path] | None) -> tuple[Finding, ...]:
    """All findings. `raw_roots` None: `root` is no archive, only a place for one."""
    found = [*environment(site), *file_system(root)]
    if raw_roots is not None:
        found += tree(Layout(root), raw_roots)
    return tuple(found)
