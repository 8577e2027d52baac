"""mypy and the import contracts, as tests: they run beside the others instead of before them."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("words", [("mypy",), ("lint-imports", "--no-logo")], ids=["types", "import contracts"])
def test_the_package_passes(words: tuple[str, ...]) -> None:
    program = Path(sysconfig.get_path("scripts")) / words[0]
    done = subprocess.run([program, *words[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
