"""Memory of the process, as the kernel counts it."""

from __future__ import annotations

import numpy as np
import pytest

from archive_proc.storage.resident_memory import give_back, resident_bytes


def test_memory_that_was_freed_between_arrays_still_held_goes_back():
    """Each array is smaller than what the allocator asks the system for by itself."""
    arrays = [np.ones(12_000) for _ in range(1500)]
    before = resident_bytes()
    del arrays[:-1]
    if not give_back() or not before:
        pytest.skip("this system's allocator keeps what it has, or nothing tells")
    assert resident_bytes() < before - 70_000_000
