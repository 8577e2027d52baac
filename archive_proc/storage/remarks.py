"""What an ingest says beside its frames, and which of it still holds after later ingests."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from archive_proc.model.observations import Issue

OTHER_CONTENT = "AP-ING-010"
"""A file whose id, or whose place, belongs to other content: it can be read and is not used."""


@dataclass(frozen=True, slots=True)
class Remark:
    """What one ingest said beside its frames."""

    at: str
    """ISO time, UTC."""
    covered: tuple[str, ...]
    rejected: tuple[Issue, ...]

    def covers(self, uri: str) -> bool:
        """True for a uri that lies at or below a path of the ingest: it looked at it."""
        return any(uri == one or uri.startswith(f"{one}/") for one in self.covered)

    def supersedes(self, earlier: Remark) -> bool:
        """True where this ingest looked at all that an earlier one speaks of: nothing of that one holds any more."""
        return all(map(self.covers, (*earlier.covered, *(one.subject_id for one in earlier.rejected))))


def unsettled(ingests: Iterable[tuple[Remark, Collection[str]]]) -> tuple[Issue, ...]:
    """What ingests rejected and no later one looked at again, by uri and code.

    Ingests by time, each with the uris of the frames it read: a file that can be read is settled too.
    """
    standing: dict[tuple[str, str], Issue] = {}
    for remark, read in ingests:
        standing = {
            key: one
            for key, one in standing.items()
            if one.subject_id not in read and not remark.covers(one.subject_id)
        }
        standing |= {(one.subject_id, one.code): one for one in remark.rejected}
    return tuple(one for _, one in sorted(standing.items()))


def remark_to_json(remark: Remark) -> dict[str, Any]:  # Any: JSON
    """As it stands in a manifest's metadata."""
    rejected = [dataclasses.asdict(issue) for issue in remark.rejected]
    return {"ingested_at": remark.at, "covered": remark.covered, "rejected": rejected}


def remark_of_json(said: dict[str, Any]) -> Remark:  # Any: JSON
    """The remark in a manifest's metadata; further keys are left alone. Raises KeyError, TypeError where one lacks."""
    rejected = tuple(Issue(**row) for row in said["rejected"])
    return Remark(said["ingested_at"], tuple(said.get("covered", ())), rejected)
