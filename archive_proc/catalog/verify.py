"""`verify`: products against their seals, the snapshot against its manifest, and each against the other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from archive_proc.catalog.connection import open_over
from archive_proc.errors import InputError
from archive_proc.model.ids import ID_DIGITS, ProcessId, shown
from archive_proc.model.observations import Issue
from archive_proc.storage.journal import iter_journals, read_lines
from archive_proc.storage.layout import Layout
from archive_proc.storage.seal import sealed_processes, verify_products
from archive_proc.storage.snapshots import Snapshot, open_current

_REBUILD = "run `archive-proc rebuild`"
_REDO = "move the directory out of products/, then run again: the process is made anew under the same id"


def verify(layout: Layout, *, deep: bool = False, roots: Mapping[str, Path] | None = None) -> tuple[Issue, ...]:
    """Everything that does not fit, blocking findings first; empty where all is well.

    Compares sizes and names; `deep` reads every object and hashes it. With `roots`, raw files that products are made
    from are looked for on disk. Raises NotFoundError AP-STO-502 where nothing was published yet.
    """
    snapshot = open_current(layout)
    found = [
        *_products(layout, deep),
        *_strangers(layout),
        *_snapshot(snapshot, deep),
        *_rows(layout, snapshot),
        *_journals(layout),
        *(_raw_files(snapshot, roots) if roots is not None else ()),
    ]
    order = {"blocking": 0, "warning": 1, "note": 2}
    return tuple(sorted(found, key=lambda one: (order[one.severity], one.code, one.subject_id, one.message)))


def _products(layout: Layout, deep: bool) -> Iterator[Issue]:
    for one in verify_products(layout, deep=deep):
        yield _finding(one.code, f"{one.name}: {one.problem}", _REDO, process=one.process_id)


def _strangers(layout: Layout) -> Iterator[Issue]:
    """What lies under products/ without being a process directory."""
    for prefix in sorted(layout.products.iterdir()) if layout.products.is_dir() else ():
        entries = sorted(prefix.iterdir()) if prefix.is_dir() else [prefix]
        for entry in entries:
            fits = entry.is_dir() and len(entry.name) == ID_DIGITS and entry.name[:2] == prefix.name
            if not fits:
                name = entry.relative_to(layout.root).as_posix()
                yield _finding("AP-CAT-020", "is no process directory", "move it out of products/", path=name)


def _snapshot(snapshot: Snapshot, deep: bool) -> Iterator[Issue]:
    for name, table in snapshot.manifest.tables.items():
        for part in table.parts.values():
            path = snapshot.path / part.path
            if not path.is_file():
                problem = "is missing"
            elif (size := path.stat().st_size) != part.size:
                problem = f"has {size} bytes, {part.size} were published"
            elif deep and hashlib.sha256(path.read_bytes()).hexdigest() != part.sha256:
                problem = "has other content than was published"
            else:
                continue
            yield _finding(
                "AP-CAT-021", f"part of table {name} {problem}", _REBUILD, path=f"catalog/current/{part.path}"
            )


def _rows(layout: Layout, snapshot: Snapshot) -> Iterator[Issue]:
    sealed = set(sealed_processes(layout))
    try:
        with open_over(snapshot) as connection:
            rows = connection.execute("SELECT process_id FROM processes WHERE committed_at IS NOT NULL").fetchall()
            known = {ProcessId(one) for (one,) in rows}
            gone = connection.execute("SELECT DISTINCT process_id FROM products WHERE state <> 'deleted'").fetchall()
            missing = connection.execute(_MISSING_INPUTS).fetchall()
            torn = connection.execute(_OTHER_PIXELS).fetchall()
            dangling = connection.execute(_DANGLING).fetchall()
    except Exception as error:
        # Parts that are gone are named one by one above; here DuckDB can only say that it could not look.
        if any(not path.is_file() for name in snapshot.manifest.tables for path in snapshot.files(name)):
            return
        raise InputError("AP-CAT-021", f"the snapshot cannot be read: {error}", remedy=_REBUILD) from error
    for one in sorted(sealed - known):
        yield _finding("AP-CAT-022", "is sealed and not in the catalog", _REBUILD, process=one)
    for one in sorted((known | {ProcessId(row[0]) for row in gone}) - sealed):
        yield _finding(
            "AP-CAT-023",
            "is in the catalog and has no sealed directory",
            "run again: it is made anew, then rebuild",
            process=one,
        )
    for process, kind, input_id in missing:
        yield _finding(
            "AP-CAT-024",
            f"its input {kind} {input_id} is not in the catalog",
            "ingest the raw file, or run again",
            process=process,
        )
    for file_id, number in torn:
        yield _finding(
            "AP-CAT-028",
            f"was read with {number} different sets of pixels by the processes that stand",
            "restore the file; `query --saved touched-by-file` names them: move the wrong ones away, run again",
            path=file_id,
        )
    for table, column, value in dangling:
        yield _finding(
            "AP-CAT-025", f"{table}.{column} names {value}, which is in no row", _REBUILD, path=f"table {table}"
        )


_MISSING_INPUTS = """
SELECT i.process_id, i.kind, i.input_id FROM process_inputs i JOIN processes p USING (process_id)
LEFT JOIN products q ON i.kind = 'product' AND q.product_id = i.input_id
LEFT JOIN files f ON i.kind = 'file' AND f.file_id = i.input_id
WHERE p.committed_at IS NOT NULL AND q.product_id IS NULL AND f.file_id IS NULL
ORDER BY ALL
"""

_OTHER_PIXELS = """
SELECT i.input_id, count(DISTINCT i.pixel_sha256) FROM process_inputs i JOIN processes p USING (process_id)
WHERE p.committed_at IS NOT NULL AND i.pixel_sha256 IS NOT NULL
GROUP BY i.input_id HAVING count(DISTINCT i.pixel_sha256) > 1 ORDER BY 1
"""

_REFERENCES = (
    ("products", "process_id", "processes", "process_id"),
    ("process_inputs", "process_id", "processes", "process_id"),
    ("process_edges", "process_id", "processes", "process_id"),
    ("attempts", "run_id", "runs", "run_id"),
    ("observation_files", "obs_id", "observations", "obs_id"),
    ("observation_files", "file_id", "files", "file_id"),
    ("associations", "calib_group_id", "groups", "group_id"),
    ("associations", "consumer_group_id", "groups", "group_id"),
    ("target_names", "target_id", "targets", "target_id"),
)
"""Columns whose values must be rows of another table."""
_DANGLING = (
    " UNION ALL ".join(
        f"SELECT DISTINCT '{table}', '{column}', t.{column} FROM {table} t WHERE t.{column} IS NOT NULL "
        f"AND NOT EXISTS (SELECT 1 FROM {other} o WHERE o.{key} = t.{column})"
        for table, column, other, key in _REFERENCES
    )
    + " ORDER BY ALL"
)


def _journals(layout: Layout) -> Iterator[Issue]:
    for run_id, path in iter_journals(layout.runs):
        torn = read_lines(path).torn
        if torn:
            yield _finding(
                "AP-CAT-026", f"{torn} torn line(s), left by a kill; products lose nothing by it", "nothing to do",
                path=f"runs/{run_id}/journal.jsonl", severity="note",
            )  # fmt: skip


def _raw_files(snapshot: Snapshot, roots: Mapping[str, Path]) -> Iterator[Issue]:
    sql = (
        "SELECT DISTINCT f.file_id, f.uri FROM files f "
        "JOIN process_inputs i ON i.kind = 'file' AND i.input_id = f.file_id WHERE f.pixels = 'present' ORDER BY 1"
    )
    with open_over(snapshot) as connection:
        rows = connection.execute(sql).fetchall()
    for file_id, uri in rows:
        root, _, inside = uri.partition("/")
        if root not in roots or not (roots[root] / inside).is_file():
            yield _finding(
                "AP-CAT-027", f"the raw file {uri} is not where it was ingested",
                "mount its root, or ingest it from where it is now", path=file_id, severity="warning",
            )  # fmt: skip


def _finding(
    code: str, problem: str, remedy: str, *, process: str | None = None, path: str = "", severity: str = "blocking"
) -> Issue:
    subject = process or path
    return Issue(
        code=code,
        severity=severity,
        subject_kind="process" if process else "archive",
        subject_id=subject,
        message=f"{shown('proc', process) if process else path} {problem}",
        remedy=remedy,
        process_id=process,
    )
