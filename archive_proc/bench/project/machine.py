"""The site a projection is for: what a profile says, and what only the site's people or a probe can say."""

from __future__ import annotations

from dataclasses import dataclass

from archive_proc.settings import SiteProfile, walltime_seconds

STORED = {"file_system_gb_s": 20.0, "client_mb_s": 800.0, "metadata_per_s": 20_000.0}
"""A busy parallel file system, assumed where nothing is given (notes/engine 7)."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the model knows of a site."""

    site: str
    start_s: tuple[float, float]
    """From asking for a worker to its first task: shortest and longest, s; drawn evenly."""
    file_system_bytes_s: float
    """Of all clients together."""
    client_bytes_s: float
    """Of one worker."""
    metadata_per_s: float
    """Files made a second, all clients together."""
    life_s: float
    """A worker retires after so long; infinite: never."""
    crashes_per_hour: float
    """Of one worker."""
    chunk_gb: float
    workers_at_most: int
    """What the profile allows; 0: it does not say."""


def machine_of(
    profile: SiteProfile,
    start_s: tuple[float, float],
    *,
    file_system_gb_s: float,
    client_mb_s: float,
    metadata_per_s: float,
    crashes_per_hour: float,
) -> Machine:
    """The model's site from a profile and what was said beside it."""
    life = float("inf")
    if profile.slurm is not None and profile.slurm.retire_minutes:
        life = (walltime_seconds(profile.slurm.walltime) or 0) - 60.0 * profile.slurm.retire_minutes
    return Machine(
        site=profile.name,
        start_s=start_s,
        file_system_bytes_s=file_system_gb_s * 1e9,
        client_bytes_s=client_mb_s * 1e6,
        metadata_per_s=metadata_per_s,
        life_s=life,
        crashes_per_hour=crashes_per_hour,
        chunk_gb=profile.chunk_gb,
        workers_at_most=profile.workers,
    )
