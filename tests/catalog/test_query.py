"""Questions in SQL: one SELECT, read-only, over one snapshot."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import making
import pytest

from archive_proc.catalog.connection import open_catalog
from archive_proc.catalog.query import query, query_saved, saved_queries, saved_query
from archive_proc.catalog.schema import schema
from archive_proc.errors import MisuseError, NotFoundError
from archive_proc.flow.publish import publish
from archive_proc.storage.tables import TABLES

if TYPE_CHECKING:
    from conftest import Published


def tree_digest(root: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(one for one in root.rglob("*") if one.is_file()):
        found.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return found.hexdigest()


def test_answers_come_as_arrow(published: Published) -> None:
    table = query(published.layout, "SELECT count(*) AS n FROM files WHERE night = $night", {"night": making.NIGHT})
    assert table.to_pylist() == [{"n": 5}]


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO 'x.csv'",
        "ATTACH 'x.db'",
        "SET threads = 8",
        "INSTALL httpfs",
        "CREATE TABLE t AS SELECT 1",
        "DROP VIEW files",
        "EXPLAIN ANALYZE SELECT 1",
        "PRAGMA database_list",
        "CALL duckdb_settings()",
        "SELECT 1; SELECT 2",
        "",
        "-- nothing",
    ],
)
def test_anything_but_one_select_is_refused(published: Published, sql: str) -> None:
    with pytest.raises(MisuseError, match="AP-CAT-001"):
        query(published.layout, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_text('/proc/self/environ')",
        "SELECT nonsense FROM files",
        "SELEC 1",
    ],
)
def test_other_files_and_wrong_sql_are_refused_in_our_words(published: Published, sql: str) -> None:
    with pytest.raises(MisuseError, match="AP-CAT-002"):
        query(published.layout, sql)


def test_even_a_locked_connection_leaves_the_snapshot_as_it_is(published: Published) -> None:
    before = tree_digest(published.layout.catalog)
    target = published.layout.current.resolve() / "files"
    for sql in (
        f"COPY (SELECT 1) TO '{target}/forged.parquet'",
        "SET lock_configuration = false",
        "SET enable_external_access = true",
        f"ATTACH '{target}/x.db'",
        "LOAD httpfs",
    ):
        with open_catalog(published.layout) as connection, pytest.raises(duckdb.Error):
            connection.execute(sql).fetchall()
    assert tree_digest(published.layout.catalog) == before


def test_parameters_are_bound_and_checked(published: Published) -> None:
    with pytest.raises(MisuseError, match="missing parameter n"):
        query(published.layout, "SELECT $n")
    with pytest.raises(MisuseError, match="unknown parameter m"):
        query(published.layout, "SELECT 1", {"m": 1})
    odd = query(published.layout, "SELECT $n AS n", {"n": "'; DROP VIEW files; --"})
    assert odd.to_pylist() == [{"n": "'; DROP VIEW files; --"}]


def test_reader_keeps_its_snapshot_while_another_is_published(own: Published) -> None:
    count = "SELECT count(*) FROM issues"
    with open_catalog(own.layout) as connection:
        before = query(own.layout, count).column(0).to_pylist()
        publish(own.layout, making.understanding(issues=()))
        assert query(own.layout, count).column(0).to_pylist() < before
        assert connection.execute(count).fetchall() == [(before[0],)]


def test_moved_copy_answers_with_nothing_but_duckdb(
    own: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(own.layout.root, moved, symlinks=True)
    for parent, _, _ in os.walk(own.layout.root):
        Path(parent).chmod(0o755)
    shutil.rmtree(own.layout.root)
    monkeypatch.chdir(moved / "catalog" / "current")
    assert str(own.layout.root) not in Path("views.sql").read_text()
    connection = duckdb.connect()
    connection.execute(Path("views.sql").read_text()).fetchall()
    assert connection.execute("SELECT count(*) FROM products WHERE is_current").fetchall() == [(4,)]
    comments = connection.execute(
        "SELECT count(comment) FROM duckdb_columns() WHERE table_name = 'products'"
    ).fetchall()
    assert comments == [(len(TABLES["products"].columns),)]
    connection.close()


def test_every_saved_query_answers(published: Published) -> None:
    given = {
        "touched_by_file": {"file": making.FRAMES[0].file_id},
        "provenance": {"product": "prod:" + published.new.centered.process_id[:12]},
        "night_log": {"night": "2015-09-24"},
        "associations": {"obs": making.OBS[:8]},
        "plane_quality": {"obs": making.OBS[:8]},
        "qc_trend": {"metric": "n"},
    }
    for name in saved_queries():
        rows = query_saved(published.layout, name, given.get(name)).num_rows
        assert rows > 0 or name == "without_usable_cube", name


def test_star_history_finds_any_spelling(published: Published) -> None:
    [row] = query_saved(published.layout, "star-history", {"name": "51 ERI"}).to_pylist()
    assert row["star"] == "51 Eri"
    assert row["current_products"] == ["irdis_centered_cube", "irdis_science_cube"]
    assert row["stale"]
    assert query_saved(published.layout, "star_history", {"name": "beta Pic"}).num_rows == 0


def test_without_usable_cube_gives_the_reason(own: Published) -> None:
    assert query_saved(own.layout, "without_usable_cube").num_rows == 0
    fresh = making.archive(own.layout.root.parent / "B")
    publish(fresh.layout, making.understanding())
    [row] = query_saved(fresh.layout, "without_usable_cube", {"period": 95}).to_pylist()
    assert row["reason"] == "not run"
    run = fresh.start("r1", making.plan_of(own.old.all))
    fresh.fail(run, own.old.cube)
    publish(fresh.layout)
    [row] = query_saved(fresh.layout, "without_usable_cube").to_pylist()
    assert row["reason"] == "irdis_science failed: AP-IRD-007"


def test_touched_by_file_follows_every_step(published: Published) -> None:
    rows = query_saved(published.layout, "touched_by_file", {"file": making.FRAMES[0].file_id}).to_pylist()
    new = [row for row in rows if row["process"] == f"proc:{published.new.centered.process_id[:12]}"]
    assert [(row["steps"], row["recipe"]) for row in new] == [(3, "irdis_centered")]
    assert {row["recipe"] for row in rows} == {"irdis_dark", "irdis_sky", "irdis_science", "irdis_centered"}


def test_provenance_goes_down_to_raw_names_of_its_own_chain_only(published: Published) -> None:
    product = f"{published.new.centered.process_id}.irdis_centered_cube"
    rows = query_saved(published.layout, "provenance", {"product": product}).to_pylist()
    assert {row["input"] for row in rows if row["kind"] == "file"} == {one.file_id for one in making.FRAMES}
    assert f"proc:{published.old.sky.process_id[:12]}" not in {row["process"] for row in rows}


def test_inputs_changed_names_what_the_newest_run_could_not_replace(published: Published) -> None:
    rows = query_saved(published.layout, "inputs_changed").to_pylist()
    assert {(row["product_type"], row["change"]) for row in rows} == {
        (kind, "the newest run failed to replace it")
        for kind in ("sky_basis", "irdis_science_cube", "irdis_centered_cube")
    }


def test_quarantined_raw_file_shows_in_inputs_changed(own: Published) -> None:
    publish(own.layout, making.understanding(quarantined=frozenset({making.FRAMES[1].file_id})))
    rows = query_saved(own.layout, "inputs_changed").to_pylist()
    assert ("dark", "raw file is quarantined") in {(row["product_type"], row["change"]) for row in rows}


def test_failures_say_what_they_block(published: Published) -> None:
    [row] = query_saved(published.layout, "failures").to_pylist()
    assert (row["recipe"], row["cause"], row["blocked"]) == ("irdis_sky", "data", 2)


def test_cpu_per_plane_stands_beside_its_prediction(published: Published) -> None:
    rows = {row["recipe"]: row for row in query_saved(published.layout, "cpu_per_plane").to_pylist()}
    assert rows["irdis_sky"]["processes"] == 2
    assert rows["irdis_sky"]["cpu_s_per_plane"] == pytest.approx(3 / 8)
    assert rows["irdis_sky"]["predicted_per_plane"] == pytest.approx(2 / 8)


def test_unknown_saved_query_and_wrong_parameters_are_named(published: Published) -> None:
    with pytest.raises(NotFoundError, match="nearest: star_history"):
        saved_query("star-histroy")
    with pytest.raises(MisuseError, match="missing parameter product"):
        query_saved(published.layout, "provenance")
    with pytest.raises(MisuseError, match="unknown parameter nome"):
        query_saved(published.layout, "star_history", {"nome": "x"})


def test_schema_documents_every_column() -> None:
    assert all(line.meaning for line in schema())
    assert {line.table for line in schema("files")} == {"files"}
    with pytest.raises(NotFoundError, match="nearest: files"):
        schema("fils")
