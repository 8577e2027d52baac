"""Keys for the scheduler's traffic: whoever reaches a plain Dask scheduler runs code as its user."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from distributed.security import Security

from archive_proc.errors import PreconditionError

KEY_DIRECTORY = "keys"
"""In the run's directory, mode 700; its files 600."""


# Any: dask ships no types.
def temporary_keys(directory: Path, driver: str) -> Any:
    """A key and a certificate for this run alone, written where the workers' jobs find them.

    Keys that other drivers left are removed: no scheduler accepts them any more. Raises PreconditionError
    (AP-RUN-040) without the extra `slurm`.
    """
    try:
        made = Security.temporary()
    except ImportError:
        raise PreconditionError(
            "AP-RUN-040",
            "cryptography is not installed: traffic that leaves this host would not be encrypted",
            subject="site",
            remedy="pip install '.[slurm]'",
        ) from None
    forget_keys(directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    paths: dict[str, str] = {}
    for role in ("ca_file", "cert", "key"):
        text = made.get_tls_config_for_role("worker")[role]
        path = directory / f"{driver}-{role}.pem"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text)
        paths[role] = str(path)
    return Security(
        require_encryption=True,
        tls_ca_file=paths["ca_file"],
        **{f"tls_{role}_{part}": paths[part] for role in ("scheduler", "worker", "client") for part in ("cert", "key")},
    )


def forget_keys(directory: Path, driver: str = "") -> None:
    """Remove a driver's keys, or everybody's; one that was taken for dead leaves those of its successor alone."""
    if directory.is_dir():
        for one in directory.glob(f"{driver}*"):
            one.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody else's are left
            directory.rmdir()
