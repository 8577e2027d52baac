"""Lets the tests of the IFS recipes share `running` and `samples` with the other recipes' tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
