"""One thread per task: the variables that say so to BLAS, OpenMP, numba and the rest (notes/engine 3).

They work only when set before the libraries are loaded: Dask workers get them before they start; a program that runs
recipes in its own process (`serial`) calls `limit_environment` first thing.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

THREAD_VARIABLES: tuple[str, ...] = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def limit_environment(environment: MutableMapping[str, str] | None = None) -> None:
    """Set every thread variable that is not set to 1."""
    target = os.environ if environment is None else environment
    for name in THREAD_VARIABLES:
        target.setdefault(name, "1")
