"""Fixtures of the ingest tests."""

from __future__ import annotations

import sys
from pathlib import Path

# `raw_files.py` lies beside the tests and belongs to no package.
sys.path.insert(0, str(Path(__file__).parent))
