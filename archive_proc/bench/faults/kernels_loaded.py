"""Importing this loads numba's tables and the kernel that digests values.

For a server that forks commands: on its own, each of them would do so at the first large array it writes, which is a
sixth of the CPU of a small run.
"""

from __future__ import annotations

import numpy as np

from archive_proc.storage.values import PIECE_BYTES, value_digest

value_digest(np.zeros(PIECE_BYTES, np.uint8))
