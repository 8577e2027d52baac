"""Toy recipes must be importable by worker processes: their directory goes on the path, which spawn hands on."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)
