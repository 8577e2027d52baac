"""Another Python process of this machine that runs a module of the package that runs here."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def module_command(name: str, *arguments: str) -> list[str]:
    """The command. Without `-P` a checkout in whose directory we were started came before the package that runs."""
    return [sys.executable, "-P", "-m", name, *arguments]


def same_paths() -> dict[str, str]:
    """The environment in which that process finds what this one does, also where the package is not installed."""
    # In our order, so that nothing there comes before the standard library that does not here. Empty: where we are.
    return {**os.environ, "PYTHONPATH": os.pathsep.join(one or str(Path.cwd()) for one in sys.path)}
