"""Archives, catalogs, records, manifests, plans and journals of an older and of a newer version."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from archive_proc.bench.faults.case import Case
from archive_proc.bench.faults.grounds import Grounds, seals
from archive_proc.bench.faults.shards import damage as _damage
from archive_proc.storage.journal import encode_line, iter_journals, read_lines
from archive_proc.storage.layout import Layout

__all__ = ["NEWER", "OLDER", "other_versions"]

SITE = "faults-serial"
Stamp = Callable[[Path], None]


def _archive(version: int) -> Stamp:
    def stamp(root: Path) -> None:
        path = root / "archive.toml"
        path.write_text(path.read_text().replace("format_version = 1", f"format_version = {version}"))

    return stamp


def _catalog(change: Callable[[dict[str, object]], None]) -> Stamp:
    def stamp(root: Path) -> None:
        path = Layout(root).current / "manifest.json"
        path.chmod(0o644)
        tree = json.loads(path.read_text())
        change(tree)
        path.write_text(json.dumps(tree))

    return stamp


def _set_format(version: int) -> Callable[[dict[str, object]], None]:
    def change(tree: dict[str, object]) -> None:
        tree["format"] = version

    return change


def _set_table(version: int) -> Callable[[dict[str, object]], None]:
    def change(tree: dict[str, object]) -> None:
        tables = tree["tables"]
        assert isinstance(tables, dict)
        tables["products"]["version"] = version

    return change


def _manifest(version: int) -> Stamp:
    def stamp(root: Path) -> None:
        for path in (root / "manifests").glob("*.parquet"):
            table = pq.read_table(path)
            said = json.loads(table.schema.metadata[b"archive_proc"])
            said["version"] = version
            if version < 1:
                # A column that has been added since.
                table = table.drop_columns(["access"])
                said.pop("first_ingested_at")
            path.chmod(0o644)
            pq.write_table(table.replace_schema_metadata({b"archive_proc": json.dumps(said)}), path)

    return stamp


def _record(version: int) -> Stamp:
    def stamp(root: Path) -> None:
        path = sorted(root.glob("products/*/*/process.json"))[0]
        tree = json.loads(path.read_text())
        tree["schema_version"] = version
        if version < 1:
            tree.pop("python_warnings")
        _rewritten(path, json.dumps(tree).encode())

    return stamp


def _rewritten(path: Path, content: bytes) -> None:
    """Write an object of a sealed process as its maker would have: the seal names it as it is."""
    seal = path.parent / "seal.json"
    tree = json.loads(seal.read_text())
    for one in tree["objects"]:
        if one["name"] == path.name:
            one["size"], one["sha256"] = len(content), hashlib.sha256(content).hexdigest()
    for above in (path.parent, path, seal):
        above.chmod(0o755)
    path.write_bytes(content)
    seal.write_text(json.dumps(tree))


def _journal(change: Callable[[dict[str, object]], None]) -> Stamp:
    def stamp(root: Path) -> None:
        for _, path in iter_journals(root / "runs"):
            rows = [dict(one) for one in read_lines(path).rows]
            for row in rows:
                change(row)
            path.write_bytes(b"".join(encode_line(row) for row in rows))

    return stamp


def _older_event(row: dict[str, object]) -> None:
    row.pop("cached", None)
    row.pop("note", None)


def _odd_event(row: dict[str, object]) -> None:
    row.pop("asked_by", None)  # a field without default


def _newer_event(row: dict[str, object]) -> None:
    row["since_then"] = "a field that this package does not know"
    if row["kind"] == "process_changed" and row.get("state") == "running":
        row["kind"] = "process_queued"


def _plan(version: int) -> Stamp:
    def stamp(root: Path) -> None:
        for path in (root / "plans").glob("*.json"):
            tree = json.loads(path.read_text())
            tree["head"]["format"] = version
            path.write_text(json.dumps(tree))

    return stamp


OLDER: dict[str, tuple[Stamp, str]] = {
    "archive.toml": (_archive(0), "AP-CLI-004"),
    "catalog format": (_catalog(_set_format(0)), ""),
    "table schema": (_catalog(_set_table(0)), ""),
    "manifest": (_manifest(0), ""),
    "record": (_record(0), ""),
    "journal": (_journal(_older_event), ""),
    "journal, odd": (_journal(_odd_event), ""),
    "plan": (_plan(0), "AP-PLN-020"),
}
"""What is of an older version, and the code that refuses it; empty: it opens, and a run goes on."""
NEWER: dict[str, tuple[Stamp, str]] = {
    "archive.toml": (_archive(2), "AP-CLI-004"),
    "catalog format": (_catalog(_set_format(2)), "AP-STO-504"),
    "table schema": (_catalog(_set_table(99)), "AP-STO-504"),
    "manifest": (_manifest(2), "AP-ING-012"),
    "record": (_record(2), "AP-STO-003"),
    "journal": (_journal(_newer_event), ""),
    "plan": (_plan(99), "AP-PLN-020"),
}


def other_versions(grounds: Grounds, finished: Path) -> Iterator[Case]:
    """Stamp one thing of a finished archive with another version, then run; what refuses must have written nothing."""
    for age, stamps in (("older", OLDER), ("newer", NEWER)):
        for name, (stamp, code) in stamps.items():
            root = grounds.copy(finished)
            stamp(root)
            if name in ("record", "journal", "journal, odd"):
                grounds.call(root, "rebuild")  # what was published before was read before
            before = tree_digest(root)
            words = ("resume",) if name == "plan" else ("run",)
            ended = grounds.call(root, "--quiet", *words, "--site", SITE)
            wrong = []
            if code and name != "record":
                if ended.status not in (2, 4) or code not in ended.err or "->" not in ended.err:
                    wrong.append(f"{ended.said} in place of a refusal with {code} and a remedy: {ended.err.strip()}")
                if tree_digest(root) != before:
                    wrong.append("something was written before the refusal")
            elif code:
                wrong += _named_by_verify(grounds, root, code)
            elif ended.status:
                wrong.append(f"{ended.said}: {ended.err.strip()[-300:]}")
            if not code:
                wrong += grounds.wrong(root, {})
            yield Case(kind=f"{age} version", what=name, found=ended.said, wrong=tuple(wrong))
            grounds.remove(root)
    root = grounds.copy(finished)
    _damage(Layout(root).current.resolve() / "manifest.json", "missing", random.Random(1))  # noqa: S311 - not used for a removal
    refused = grounds.call(root, "query", "SELECT 1 AS one")
    ended = grounds.call(root, "rebuild")
    wrong = [] if refused.said == "exit 4 AP-STO-503" else [f"query without a manifest: {refused.said}"]
    wrong += [] if ended.status == 0 else [f"the remedy failed: {ended.said}: {ended.err.strip()}"]
    wrong += grounds.wrong(root, {})
    yield Case(kind="catalog without its manifest", what="removed", found=refused.said, wrong=tuple(wrong))
    grounds.remove(root)


def _named_by_verify(grounds: Grounds, root: Path, code: str) -> list[str]:
    """A record that cannot be read is an issue of its process, and the product stays sealed."""
    rows = grounds.open(root).query("SELECT process_id FROM issues WHERE code = $code", {"code": code}).to_pylist()
    return [] if len(rows) == 1 and rows[0]["process_id"] in seals(root) else [f"{code} is no issue: {rows}"]


def tree_digest(root: Path) -> str:
    """Names and contents of everything but the (empty, lasting) file beside the lease."""
    digest = hashlib.sha256()
    for one in sorted(root.rglob("*")):
        if one.parent.name != "locks" and one.name != "locks":
            digest.update(one.relative_to(root).as_posix().encode())
            if one.is_file():
                digest.update(one.read_bytes())
    return digest.hexdigest()
