"""What code ran, where, with what: parts of every record, found once per process."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from functools import cache
from pathlib import Path

import numpy as np

from archive_proc.execution.threads import THREAD_VARIABLES
from archive_proc.model.records import Environment
from archive_proc.version import PACKAGE

PACKAGES = (
    "numpy",
    "scipy",
    "numba",
    "llvmlite",
    "astropy",
    "pyerfa",
    "zarr",
    "numcodecs",
    "dask",
    "distributed",
    "msgspec",
    "pyarrow",
    "duckdb",
)
"""Distributions whose versions could change a result or how it was stored."""


@cache
def environment() -> Environment:
    """The environment of this process."""
    return Environment(
        python=platform.python_version(),
        packages={name: version for name in PACKAGES if (version := _version(name))},
        cpu=_cpu_model(),
        blas=_blas(),
        threads={name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
        platform=platform.platform(),
    )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _blas() -> str:
    found = np.show_config(mode="dicts")
    blas = found.get("Build Dependencies", {}).get("blas", {}) if isinstance(found, dict) else {}
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


@cache
def code_fingerprint(cookbook_file: str | None) -> str:
    """sha256 over the package's source files, and over the cookbook's where it lies outside the package."""
    package = PACKAGE
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        if path.suffix in (".py", ".toml"):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    if cookbook_file and not Path(cookbook_file).is_relative_to(package):
        digest.update(hashlib.sha256(Path(cookbook_file).read_bytes()).digest())
    return digest.hexdigest()
