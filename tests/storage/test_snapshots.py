"""Snapshots: immutable, linked where unchanged, named by one rename, kept for a while."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from archive_proc.errors import InputError, MisuseError, NotFoundError
from archive_proc.storage import snapshots
from archive_proc.storage.layout import Layout
from archive_proc.storage.snapshots import (
    Consumed,
    Snapshot,
    TableChange,
    equal_snapshots,
    find_current,
    open_current,
    publish_snapshot,
    read_table,
)
from archive_proc.storage.table_form import define
from archive_proc.storage.tables import TABLES, table_from_rows

NOW = dt.datetime(2026, 11, 2)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "A")


def products(*periods: int, size: int = 1) -> TableChange:
    rows = [
        {"product_id": f"p{one}", "process_id": f"{one}", "period_date": one, "size_bytes": size} for one in periods
    ]
    return TableChange(table_from_rows(TABLES["products"], rows), frozenset(f"period={one}" for one in periods))


def publish(layout: Layout, change: TableChange, at: dt.datetime = NOW) -> Snapshot:
    return publish_snapshot(layout, {"products": change}, Consumed(), now=at)


def inode(snapshot: Snapshot, part: str) -> int:
    return (snapshot.path / "products" / f"{part}.parquet").stat().st_ino


def test_only_changed_periods_are_written_the_others_linked(layout: Layout) -> None:
    first = publish(layout, products(95, 96))
    second = publish(layout, products(96, size=2))
    assert inode(first, "period=95") == inode(second, "period=95")
    assert inode(first, "period=96") != inode(second, "period=96")
    assert read_table(first, TABLES["products"]).column("size_bytes").to_pylist() == [1, 1]
    assert read_table(second, TABLES["products"]).column("size_bytes").to_pylist() == [1, 2]


def test_rewritten_part_with_equal_bytes_is_linked_and_publishes_nothing(layout: Layout) -> None:
    first = publish(layout, products(95))
    assert publish(layout, products(95)).path == first.path
    assert len(list(layout.snapshots.iterdir())) == 1


@pytest.mark.parametrize("newer", ["format", "table"])
def test_a_snapshot_of_a_newer_package_is_refused_until_a_rebuild_forgets_it(layout: Layout, newer: str) -> None:
    manifest = publish(layout, products(95)).path / "manifest.json"
    tree = json.loads(manifest.read_text())
    if newer == "format":
        tree["format"] = snapshots.FORMAT + 1
    else:
        tree["tables"]["products"]["version"] = TABLES["products"].version + 1
    manifest.chmod(0o644)
    manifest.write_text(json.dumps(tree))
    with pytest.raises(MisuseError, match="AP-STO-504"):
        open_current(layout)
    snapshots.forget_unreadable(layout)
    assert find_current(layout) is None
    assert manifest.is_file()


def test_part_that_loses_its_rows_disappears(layout: Layout) -> None:
    publish(layout, products(95, 96))
    none = TableChange(TABLES["products"].arrow_schema.empty_table(), frozenset({"period=95"}))
    second = publish(layout, none)
    assert [one.name for one in second.files("products")] == ["period=96.parquet"]
    third = publish(layout, TableChange(none.rows, frozenset({"period=96"})))
    assert read_table(third, TABLES["products"]).num_rows == 0
    assert len(third.files("products")) == 1


def test_files_are_read_only_zstd_and_carry_the_version(layout: Layout) -> None:
    snapshot = publish(layout, products(95))
    [path] = snapshot.files("products")
    assert path.stat().st_mode & 0o777 == 0o444
    held = pq.ParquetFile(path)
    assert held.metadata.row_group(0).column(0).compression == "ZSTD"
    assert held.schema_arrow.metadata[b"archive_proc.version"] == b"1"


def test_current_is_a_relative_link(layout: Layout) -> None:
    snapshot = publish(layout, products(95))
    assert layout.current.readlink() == Path("snapshots") / snapshot.path.name
    assert open_current(layout).path == snapshot.path


def test_last_twenty_and_those_of_a_day_are_kept(layout: Layout) -> None:
    for n in range(23):
        publish(layout, products(95, size=n), at=NOW)
    assert len(list(layout.snapshots.iterdir())) == 23
    publish(layout, products(95, size=99), at=NOW + dt.timedelta(hours=25))
    assert sorted(int(one.name) for one in layout.snapshots.iterdir()) == list(range(5, 25))


def test_link_is_copied_where_links_are_not_possible(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    first = publish(layout, products(95, 96))

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(snapshots.os, "link", refuse)
    second = publish(layout, products(96, size=2))
    assert inode(first, "period=95") != inode(second, "period=95")
    assert read_table(second, TABLES["products"]).num_rows == 2


def test_added_column_is_null_in_what_was_written_before(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(layout, products(95, 96))
    old = TABLES["products"]
    lines = "\n".join(f"{one.name} {one.type} {one.unit or '-'} {one.meaning}" for one in old.columns)
    grown = define(
        "products", old.title, f"{lines}\nnovelty text - added", key="product_id", sort=" ".join(old.sort),
        by_period=True, version=2,
    )  # fmt: skip
    monkeypatch.setattr(snapshots, "TABLES", {**TABLES, "products": grown})
    rows = table_from_rows(grown, [{"product_id": "p97", "process_id": "97", "period_date": 97, "novelty": "new"}])
    second = publish(layout, TableChange(rows, frozenset({"period=97"})))
    assert read_table(second, grown).column("novelty").to_pylist() == [None, None, "new"]
    assert all("novelty" in pq.ParquetFile(path).schema_arrow.names for path in second.files("products"))


def test_unpublished_and_damaged_catalogs_say_what_to_do(layout: Layout) -> None:
    assert find_current(layout) is None
    with pytest.raises(NotFoundError, match=r"AP-STO-502.*ingest"):
        open_current(layout)
    snapshot = publish(layout, products(95))
    manifest = snapshot.path / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_text(json.dumps({"format": 1}))
    with pytest.raises(InputError, match=r"AP-STO-503.*rebuild"):
        open_current(layout)


def test_equality_looks_at_rows_not_at_files(layout: Layout, tmp_path: Path) -> None:
    other = Layout(tmp_path / "B")
    publish(layout, products(95))
    one = publish(layout, products(96))
    two = publish(other, products(95, 96))
    assert equal_snapshots(one, two)
    assert not equal_snapshots(one, publish(other, products(96, size=2)))


def test_killed_publisher_leaves_a_whole_catalog(layout: Layout) -> None:
    publish(layout, products(95, size=0))
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from archive_proc.storage.layout import Layout
        from archive_proc.storage.snapshots import Consumed, TableChange, publish_snapshot
        from archive_proc.storage.tables import TABLES, table_from_rows
        n = 0
        print("ready", flush=True)
        while True:
            n += 1
            rows = [{"product_id": "p", "process_id": str(n), "period_date": 95, "size_bytes": n}]
            edges = [{"process_id": str(n), "src_process_id": "s"}]
            publish_snapshot(
                Layout(Path(sys.argv[1])),
                {"products": TableChange(table_from_rows(TABLES["products"], rows)),
                 "process_edges": TableChange(table_from_rows(TABLES["process_edges"], edges))},
                Consumed(),
            )
        """
    )
    for pause in (0.02, 0.05, 0.09):
        with subprocess.Popen([sys.executable, "-c", script, str(layout.root)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            end = time.monotonic() + pause
            while time.monotonic() < end:
                snapshot = open_current(layout)
                made = [str(one) for one in read_table(snapshot, TABLES["products"]).column("process_id").to_pylist()]
                edges = read_table(snapshot, TABLES["process_edges"]).column("process_id").to_pylist()
                assert edges in (made, [])
            writer.kill()
        assert open_current(layout).manifest.tables
    after = publish(layout, products(95, size=7))
    assert read_table(after, TABLES["products"]).column("size_bytes").to_pylist() == [7]
    assert not list(layout.snapshots.glob("*.tmp"))
