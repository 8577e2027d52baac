"""`show ID`: one page about an observation, group, process, product, plan, run, raw file or star."""

from __future__ import annotations

import datetime as dt
import json
import textwrap
from collections.abc import Callable, Sequence

import duckdb

from archive_proc.catalog.connection import open_catalog
from archive_proc.catalog.identify import Identifier, identify
from archive_proc.storage.layout import Layout
from archive_proc.storage.tables import TABLES
from archive_proc.storage.views import quoted_name

_PAGE = 118
MOST_LINES = 40
"""Lines of one section before it says how many there are more."""


class _Page:
    """Lines of text under headings, filled from queries that are each bound to the one id."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, what: Identifier) -> None:
        self._connection = connection
        self._what = what
        self.lines: list[str] = [what.shown]

    def facts(self, table: str, key: str) -> None:
        """Every column of the row that is not NULL, with its unit."""
        definition = TABLES[table]
        columns = ", ".join(quoted_name(one) for one in definition.names)
        sql = f"SELECT {columns} FROM {quoted_name(table)} WHERE {quoted_name(key)} = $id"
        for row in self._connection.execute(sql, {"id": self._what.value}).fetchall():
            for one, value in zip(definition.columns, row, strict=True):
                if value is None or value in ([], "", "[]", "{}"):
                    continue
                unit = f" {one.unit}" if one.unit else ""
                start = f"  {one.name:<18} "
                self.lines += textwrap.wrap(
                    f"{_cell(value)}{unit}", _PAGE, initial_indent=start, subsequent_indent=" " * len(start),
                    break_on_hyphens=False, break_long_words=False,
                )  # fmt: skip

    def section(self, title: str, sql: str) -> None:
        """Rows of a query as aligned columns under a heading; nothing where there is no row."""
        cursor = self._connection.execute(sql, {"id": self._what.value})
        names = [one[0] for one in cursor.description or ()]
        rows = [[_cell(value) for value in row] for row in cursor.fetchall()]
        if not rows:
            return
        self.lines += ["", f"{title} ({len(rows)})"]
        shown = [names, *rows[:MOST_LINES]]
        widths = [max(len(row[at]) for row in shown) for at in range(len(names))]
        for row in shown:
            self.lines.append(
                "  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            )
        if len(rows) > MOST_LINES:
            self.lines.append(f"  ... and {len(rows) - MOST_LINES} more")


def show(layout: Layout, text: str) -> str:
    """One page of text about what this id (with or without type prefix, or its start) stands for.

    Raises NotFoundError AP-CAT-005 and MisuseError AP-CAT-006 for ids that are unknown or ambiguous.
    """
    with open_catalog(layout) as connection:
        what = identify(connection, text)
        page = _Page(connection, what)
        _PAGES[what.kind](page)
        return "\n".join(page.lines) + "\n"


def _observation(page: _Page) -> None:
    page.facts("observations", "obs_id")
    page.section(
        "raw files",
        "SELECT o.role, f.frame_type, count(*) AS files, sum(coalesce(f.naxis3, 1)) AS planes, f.dit_s, "
        "min(o.file_id) AS first, 'group:' || o.group_id[:12] AS \"group\" "
        "FROM observation_files o LEFT JOIN files f USING (file_id) WHERE o.obs_id = $id GROUP BY ALL ORDER BY first",
    )
    page.section(
        "calibrations",
        "SELECT DISTINCT o.role AS of, a.selector, a.role, g.frame_type, g.night, a.level, a.dt_days, a.method, "
        "a.pinned, 'group:' || a.calib_group_id[:12] AS \"group\" FROM observation_files o "
        "JOIN associations a ON a.consumer_group_id = o.group_id LEFT JOIN groups g ON g.group_id = a.calib_group_id "
        "WHERE o.obs_id = $id ORDER BY ALL",
    )
    _made_of_subject(page)
    page.section("issues", "SELECT severity, code, state, message, remedy FROM issues WHERE obs_id = $id ORDER BY ALL")


def _group(page: _Page) -> None:
    page.facts("groups", "group_id")
    page.section(
        "raw files",
        "SELECT file_id, state, naxis3 AS planes, dit_s, mjd_obs FROM files WHERE group_id = $id ORDER BY mjd_obs",
    )
    page.section(
        "serves",
        "SELECT a.role, g.frame_type, g.night, a.selector, a.level, a.dt_days, 'group:' || g.group_id[:12] AS consumer "
        "FROM associations a LEFT JOIN groups g ON g.group_id = a.consumer_group_id WHERE a.calib_group_id = $id "
        "ORDER BY ALL",
    )
    page.section(
        "calibrations",
        "SELECT a.role, a.selector, g.frame_type, g.night, a.level, a.dt_days, a.method, "
        "'group:' || a.calib_group_id[:12] AS \"group\" FROM associations a "
        "LEFT JOIN groups g ON g.group_id = a.calib_group_id WHERE a.consumer_group_id = $id ORDER BY ALL",
    )
    _made_of_subject(page)
    page.section(
        "issues", "SELECT severity, code, state, message, remedy FROM issues WHERE group_id = $id ORDER BY ALL"
    )


_FIGURES = (
    "metric, value, unit, verdict, CASE side WHEN 1 THEN '> ' WHEN -1 THEN '< ' ELSE '' END "
    "|| format('{:g}', threshold) AS breaks_at, limits_version AS limits FROM qc"
)
_WORST = "verdict IS DISTINCT FROM 'refuse', verdict IS DISTINCT FROM 'warn', product_type, metric"
"""Figures beyond limits first."""


def _planes(page: _Page, where: str) -> None:
    page.section(
        "planes beyond limits",
        "SELECT frame_type, channel, verdict, beyond, count(*) AS planes, min(file_id || ' ' || plane) AS first "
        f"FROM plane_qc WHERE {where} AND verdict IN ('warn', 'refuse') AND usable GROUP BY ALL ORDER BY ALL",
    )


def _made_of_subject(page: _Page) -> None:
    of_subject = "SELECT process_id FROM processes WHERE subject_id = $id AND (is_current OR state = 'failed')"
    page.section(
        "quality beyond limits",
        f"SELECT product_type AS product, {_FIGURES} WHERE process_id IN ({of_subject}) "
        f"AND verdict IN ('warn', 'refuse') ORDER BY {_WORST}",
    )
    _planes(page, f"process_id IN ({of_subject})")
    page.section(
        "products",
        "SELECT product_type, preset, state, is_current AS current, is_stale AS stale, level, size_bytes, "
        "'proc:' || process_id[:12] AS process FROM products WHERE subject_id = $id "
        "ORDER BY is_current DESC, product_type, created_at",
    )
    page.section(
        "processes",
        "SELECT recipe, recipe_version AS version, state, code, coalesce(message, '') AS message, "
        "'proc:' || process_id[:12] AS process FROM processes WHERE subject_id = $id "
        "ORDER BY recipe, state, process_id",
    )


_PROVENANCE = """
WITH RECURSIVE up(process_id, depth) AS (
  SELECT {process}, 0
  UNION
  SELECT e.src_process_id, up.depth + 1 FROM up JOIN process_edges e USING (process_id)
), chain AS (SELECT process_id, max(depth) AS depth FROM up GROUP BY process_id)
SELECT repeat('  ', chain.depth) || p.recipe AS recipe, p.recipe_version AS version, i.role,
  coalesce(f.frame_type, split_part(i.input_id, '.', 2)) AS type, count(*) AS n,
  min(CASE WHEN i.kind = 'file' THEN i.input_id
      ELSE 'prod:' || i.input_id[:12] || '.' || split_part(i.input_id, '.', 2) END) AS first,
  max(i.level) AS level, 'proc:' || p.process_id[:12] AS process
FROM chain JOIN processes p USING (process_id) JOIN process_inputs i USING (process_id)
LEFT JOIN files f ON i.kind = 'file' AND f.file_id = i.input_id
GROUP BY chain.depth, p.recipe, p.recipe_version, p.process_id, i.role, type
ORDER BY chain.depth, p.recipe, p.process_id, min(i.seq)
"""


def _process(page: _Page) -> None:
    page.facts("processes", "process_id")
    page.section(
        "parameters",
        "SELECT unnest(json_keys(s.params)) AS name, json_extract(s.params, '$.' || name) AS value "
        "FROM processes p JOIN parameter_sets s USING (param_hash, preset) WHERE p.process_id = $id",
    )
    page.section(
        "made",
        "SELECT product_type, state, is_current AS current, shape, size_bytes, store_path FROM products "
        "WHERE process_id = $id ORDER BY product_type",
    )
    page.section("quality", f"SELECT product_type AS product, {_FIGURES} WHERE process_id = $id ORDER BY {_WORST}")
    _planes(page, "process_id = $id")
    page.section("remarks", "SELECT code, message FROM remarks WHERE process_id = $id ORDER BY seq")
    page.section(
        "attempts",
        "SELECT attempt, run_id AS run, state, cause, code, message, host, cpu_s, wall_s, max_rss_mb FROM attempts "
        "WHERE process_id = $id ORDER BY run_id, attempt",
    )
    _used_by(page, "$id")
    page.section("made from", _PROVENANCE.format(process="$id::VARCHAR"))


def _product(page: _Page) -> None:
    page.facts("products", "product_id")
    page.section("quality", f"SELECT {_FIGURES} WHERE product_id = $id ORDER BY {_WORST}")
    page.section("remarks", "SELECT code, message FROM remarks WHERE process_id = split_part($id, '.', 1) ORDER BY seq")
    page.section(
        "used by",
        "SELECT p.recipe, p.state, p.is_current AS current, i.role, 'proc:' || p.process_id[:12] AS process "
        "FROM process_inputs i JOIN processes p USING (process_id) WHERE i.input_id = $id ORDER BY ALL",
    )
    page.section("made from", _PROVENANCE.format(process="split_part($id::VARCHAR, '.', 1)"))


def _used_by(page: _Page, process: str) -> None:
    page.section(
        "used by",
        "SELECT p.recipe, p.state, p.is_current AS current, 'proc:' || p.process_id[:12] AS process "
        f"FROM process_edges e JOIN processes p USING (process_id) WHERE e.src_process_id = {process} ORDER BY ALL",
    )


def _plan(page: _Page) -> None:
    page.facts("plans", "plan_id")
    page.section(
        "processes",
        "SELECT p.recipe, n.reason, count(*) AS n, sum(n.predicted_cpu_s) AS predicted_cpu_s, min(n.because) AS first "
        "FROM plan_processes n JOIN processes p USING (process_id) WHERE n.plan_id = $id GROUP BY ALL ORDER BY ALL",
    )
    page.section(
        "runs",
        "SELECT run_id AS run, site, state, started_at, finished_at, counts FROM runs WHERE plan_id = $id ORDER BY 1",
    )


def _run(page: _Page) -> None:
    page.facts("runs", "run_id")
    page.section(
        "attempts",
        "SELECT p.recipe, a.state, a.cause, a.code, count(*) AS n, sum(a.cpu_s) AS cpu_s, "
        "max(a.max_rss_mb) AS max_rss_mb FROM attempts a "
        "LEFT JOIN processes p USING (process_id) WHERE a.run_id = $id GROUP BY ALL ORDER BY ALL",
    )
    page.section(
        "failures",
        "SELECT p.recipe, a.code, a.message, 'proc:' || a.process_id[:12] AS process FROM attempts a "
        "LEFT JOIN processes p USING (process_id) WHERE a.run_id = $id AND a.state <> 'done' ORDER BY ALL",
    )


def _file(page: _Page) -> None:
    page.facts("files", "file_id")
    page.section(
        "observations",
        "SELECT 'obs:' || o.obs_id[:12] AS obs, o.role, o.seq, b.night, b.object_raw FROM observation_files o "
        "JOIN observations b USING (obs_id) WHERE o.file_id = $id ORDER BY ALL",
    )
    page.section(
        "used by",
        "SELECT p.recipe, p.recipe_version AS version, p.state, p.is_current AS current, i.role, "
        "'proc:' || p.process_id[:12] AS process FROM process_inputs i JOIN processes p USING (process_id) "
        "WHERE i.kind = 'file' AND i.input_id = $id ORDER BY ALL",
    )
    page.section("issues", "SELECT severity, code, state, message, remedy FROM issues WHERE file_id = $id ORDER BY ALL")


def _target(page: _Page) -> None:
    page.facts("targets", "target_id")
    page.section("names", "SELECT name_norm FROM target_names WHERE target_id = $id ORDER BY 1")
    page.section(
        "observations",
        "SELECT night, arm, mode, inst_filter, n_sci_frames, dit_s, rotation_deg, prog_id, "
        "'obs:' || obs_id[:12] AS obs FROM observations WHERE target_id = $id ORDER BY mjd_start, arm",
    )


_PAGES: dict[str, Callable[[_Page], None]] = {
    "obs": _observation,
    "group": _group,
    "proc": _process,
    "prod": _product,
    "plan": _plan,
    "run": _run,
    "file": _file,
    "target": _target,
}


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e4 else f"{value:.5f}".rstrip("0").rstrip(".")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ", timespec="milliseconds")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(_cell(one) for one in value)
    text = _flat(json.loads(value)) if isinstance(value, str) and _is_tree(value) else str(value)
    return "".join(one if one.isprintable() else "�" for one in text)


def _is_tree(text: str) -> bool:
    if not (text.startswith("{") and text.endswith("}")):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _flat(tree: object) -> str:
    """A JSON object in words: `dit_s 16, packages (numpy 2.4, zarr 3.1)`."""
    if not isinstance(tree, dict):
        return _cell(tree)
    parts = (
        f"{name} ({_flat(one)})" if isinstance(one, dict) else f"{name} {_flat(one)}" for name, one in tree.items()
    )
    return ", ".join(parts)
