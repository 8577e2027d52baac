"""The first stage: raw files below some paths become a found manifest; raw stays where it is."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from archive_proc.errors import NotFoundError
from archive_proc.ingest.found import ingest_found, split_found
from archive_proc.ingest.ingest import IngestResult, ingest_batches
from archive_proc.model.frames import ABSENT, RawFrame
from archive_proc.model.ids import FileId, ManifestId
from archive_proc.settings import ArchiveSettings, parse_archive_settings
from archive_proc.storage.atomic import write_bytes
from archive_proc.storage.found import take_headers
from archive_proc.storage.headers import write_headers
from archive_proc.storage.layout import Layout
from archive_proc.storage.manifests import manifest_id_of, merge_manifests, says_more, write_manifest


@dataclass(frozen=True, slots=True)
class Intake:
    """What one ingest did."""

    manifest_id: ManifestId | None
    """The manifest of what is new; None where nothing was written: on a dry run, and where all was known before."""
    result: IngestResult
    new_roots: Mapping[str, Path]
    """Raw roots that this ingest added to `archive.toml`."""
    moved: int = 0
    """Frames of `result` whose id and content were known before, at another place or time of change."""
    gone: tuple[str, ...] = ()
    """uris of known frames below the paths whose files are not there now, nor anywhere else that was looked at."""

    def without_frames(self) -> tuple[Intake, tuple[FileId, ...]]:
        """The same without its frames, and their ids: the catalog reads them back, and two copies would be too many."""
        taken = tuple(frame.file_id for frame in self.result.frames)
        return replace(self, result=replace(self.result, frames=())), taken

    def with_frames(self, taken: Sequence[FileId], read: Callable[[], Sequence[RawFrame]]) -> Intake:
        """The same with these frames again, of those that the archive has now; `read` is called where there are any."""
        if not taken:
            return self
        wanted = frozenset(taken)
        frames = {frame.file_id: frame for frame in read() if frame.file_id in wanted}
        return replace(self, result=replace(self.result, frames=tuple(frames[one] for one in taken if one in frames)))

    @property
    def seen(self) -> int:
        """Files looked at."""
        result = self.result
        return (
            len(result.frames)
            + len(result.unchanged)
            + len(result.duplicates)
            + len(result.conflicts)
            + len(result.rejected)
            + len(result.not_raw)
        )

    @property
    def lines(self) -> list[str]:
        """The counts as people read them."""
        result = self.result
        absent = sum(frame.pixels == ABSENT for frame in result.frames)
        counts = [
            (len(result.frames) - self.moved, "new"),
            (len(result.unchanged), "known"),
            (self.moved, "known, read again (moved or touched)"),
            (len(result.duplicates), "copies"),
            (len(result.conflicts), "with other content under a known id"),
            (len(result.rejected), "rejected"),
            (len(result.not_raw), "not raw SPHERE frames"),
        ]
        lines = [
            f"{self.seen} file{'' if self.seen == 1 else 's'}: "
            + ", ".join(f"{number} {word}" for number, word in counts if number)
        ]
        if absent:
            lines.append(f"  without pixels: {absent}, as their manifest says; they can be planned, not run")
        lines += [f"  not raw: {number} {why}" for why, number in result.reasons]
        cut = [frame for frame in result.frames if frame.truncated]
        lines += [f"  cut short: {frame.uri}" for frame in cut]
        if self.gone:
            remedy = "what is known of them stays; put them back before `run`, or ingest them where they are"
            lines.append(f"  not there now: {len(self.gone)} known, first {self.gone[0]} -> {remedy}")
        lines += [
            f"  {issue.code} {issue.subject_id}: {issue.message} -> {issue.remedy}"
            for issue in (*result.rejected, *result.conflicts)
        ]
        lines += [f"  raw root {name} = {path} (added to archive.toml)" for name, path in self.new_roots.items()]
        return lines


@dataclass(frozen=True, slots=True)
class IntakeOptions:
    """How an ingest is done; nothing of it changes what a raw frame is."""

    jobs: int = 1
    dry_run: bool = False
    allow_empty: bool = False
    full_digest: bool = False
    """Record the sha256 of each file's bytes too."""


def take_in(layout: Layout, settings: ArchiveSettings, paths: Sequence[Path], asked: IntakeOptions) -> Intake:
    """Scan headers below the paths and write what is new as a manifest, with every header card.

    A manifest holds the frames that are new, moved or changed, the paths looked at, and the files rejected. An ingest
    that finds no such frame and rejects what is rejected already writes nothing: it is not the archive's newest ingest.

    Raw roots are those of `archive.toml` as it is now, whatever `settings` say: they were read before the caller held
    the lock, and another ingest may have added roots since.

    Raises NotFoundError (AP-CLI-008) when there is no file at all; errors of `ingest.ingest` for paths.
    """
    settings = parse_archive_settings(layout.archive_toml.read_text(), str(layout.archive_toml))
    roots = {name: Path(root) for name, root in settings.raw_roots.items()}
    added = _roots_for(paths, roots)
    merged = merge_manifests(layout)
    known = {frame.uri: frame for frame in merged.frames}
    found, walked = split_found(paths)
    parts: list[IngestResult] = []
    for directory in found:
        taken = ingest_found(directory, {**roots, **added}, known)
        frames = taken.result.frames
        if frames and not asked.dry_run:
            take_headers(directory, layout, manifest_id_of(frames), {one.file_id: one.period_date for one in frames})
        known |= {one.uri: one for one in frames}
        parts.append(taken.result)
    batches = (
        ingest_batches(walked, roots={**roots, **added}, known=known, jobs=asked.jobs, full_digest=asked.full_digest)
        if walked or not found
        else ()
    )
    for batch in batches:
        if batch.frames and not asked.dry_run:
            # Cards are written batch by batch: all of a semester's would not fit into memory.
            write_headers(layout, batch.cards, manifest_id_of(batch.frames))
        parts.append(replace(batch, cards=()))
    result = _together(parts)
    contents = {(frame.file_id, frame.content_id) for frame in merged.frames}
    moved = sum((frame.file_id, frame.content_id) in contents for frame in result.frames)
    intake = Intake(None, result, added, moved, _gone(merged.frames, result))
    if not intake.seen and not asked.allow_empty:
        raise NotFoundError(
            "AP-CLI-008",
            "no file below it",
            subject=", ".join(map(str, paths)),
            remedy="check the path, or --allow-empty",
        )
    if asked.dry_run:
        return intake
    rejected = (*result.rejected, *result.conflicts)
    if not result.frames and not says_more(merged, rejected, result.covered):
        return replace(intake, new_roots={})
    # Before the manifest: its uris begin with the names of roots, those of rejected files too.
    if not result.frames and not rejected:
        added = {}
    if added:
        _write_roots(layout, {**settings.raw_roots, **{name: str(path) for name, path in added.items()}})
    at = _later_than(merged.last_ingest)
    manifest_id = write_manifest(layout, result.frames, rejected=rejected, covered=result.covered, at=at)
    return replace(intake, manifest_id=manifest_id, new_roots=added)


def _later_than(newest: dt.datetime | None) -> dt.datetime:
    """Now, UTC, and later than the newest ingest of the archive, whatever the clock says.

    Which content of a file came first, and which overrides are in force, is judged by the order of ingests: a clock
    that was set back must not change it.
    """
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    return now if newest is None else max(now, newest + dt.timedelta(microseconds=1))


def _gone(known: Sequence[RawFrame], result: IngestResult) -> tuple[str, ...]:
    seen = {*result.unchanged, *result.duplicates, *(frame.uri for frame in result.frames)}
    seen |= {issue.subject_id for issue in (*result.rejected, *result.conflicts)}
    found = {frame.file_id for frame in result.frames}
    below = tuple(f"{uri}/" for uri in result.covered)
    return tuple(
        sorted(
            frame.uri
            for frame in known
            if frame.uri not in seen
            and frame.file_id not in found
            and (frame.uri in result.covered or frame.uri.startswith(below))
        )
    )


def _together(parts: Sequence[IngestResult]) -> IngestResult:
    """Batches of one ingest as one result, header cards left out."""
    return IngestResult(
        **{
            one.name: tuple(entry for part in parts for entry in getattr(part, one.name))
            for one in fields(IngestResult)
        }
    )


def _roots_for(paths: Sequence[Path], roots: Mapping[str, Path]) -> dict[str, Path]:
    """A new root for each given path that lies below none: the directory itself (a file's directory)."""
    bases = [os.path.realpath(root) for root in roots.values()]
    added: dict[str, Path] = {}
    for path in sorted(map(os.path.realpath, paths)):
        if not os.path.exists(path):  # noqa: PTH110 - `walk` names it as an error
            continue
        if any(path == base or path.startswith(base.rstrip("/") + "/") for base in bases):
            continue
        directory = Path(path) if Path(path).is_dir() else Path(path).parent
        name = stem = re.sub(r"[^A-Za-z0-9]+", "-", directory.name).strip("-").lower() or "raw"
        number = 1
        while name in roots or name in added:
            number += 1
            name = f"{stem}-{number}"
        added[name] = directory
        bases.append(str(directory))
    return added


def _write_roots(layout: Layout, roots: Mapping[str, str]) -> None:
    """Renew the `[raw_roots]` table of `archive.toml`, leaving every other line as people wrote it."""
    lines = layout.archive_toml.read_text().splitlines()
    start = next((at for at, line in enumerate(lines) if line.strip() == "[raw_roots]"), None)
    table = [f"{name} = {_quoted(path)}" for name, path in sorted(roots.items())]
    if start is None:
        lines += ["", "[raw_roots]", *table]
    else:
        end = next((at for at in range(start + 1, len(lines)) if lines[at].lstrip().startswith("[")), len(lines))
        kept = [line for line in lines[start + 1 : end] if line.lstrip().startswith("#")]
        lines[start + 1 : end] = [*kept, *table, ""]
    write_bytes(layout.archive_toml, ("\n".join(lines).rstrip() + "\n").encode())


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'  # no control characters: `walk` refuses paths that hold any
