"""Fixtures of the catalog's tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import making


@pytest.fixture
def archive(tmp_path: Path) -> making.Archive:
    return making.archive(tmp_path / "A")
