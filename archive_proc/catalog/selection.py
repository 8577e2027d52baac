"""What a user selects, the same for every verb: ids and filters that give observations."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import duckdb

from archive_proc.association.targets import normalised_name
from archive_proc.catalog.connection import check_select, open_catalog, sql_error
from archive_proc.catalog.identify import Identifier, identify
from archive_proc.errors import MisuseError, NotFoundError
from archive_proc.model.frames import Arm
from archive_proc.model.ids import FileId, ObsId
from archive_proc.storage.layout import Layout

_SEEN = (
    "(SELECT o.*, t.main_id, t.ra_deg, t.dec_deg, t.mag_g, t.mag_h, t.sp_type "
    "FROM observations o LEFT JOIN targets t USING (target_id))"
)
"""What a predicate sees: observations with the columns of their star."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Ids and filters as given on a command line; all of them must hold. Empty: everything."""

    ids: tuple[str, ...] = ()
    """Any of these: observations, or what belongs to one (file, group, process, product, target)."""
    night: str | None = None
    """`2015-09-24`, or `2015-09-24..2015-09-26`, ends included."""
    period: str | None = None
    """`P95`, `95`, or `P95..P97`."""
    program: str | None = None
    """Programme id, or the start of one."""
    target: str | None = None
    """A name of the star, in any spelling."""
    arm: str | None = None
    where: str | None = None
    """SQL predicate on `observations` with main_id, ra_deg, dec_deg, mag_g, mag_h, sp_type of the star."""
    allow_empty: bool = False

    @property
    def words(self) -> str:
        """The selection as one line."""
        filters = [
            f"--{name} {getattr(self, name)}"
            for name in ("night", "period", "program", "target", "arm", "where")
            if getattr(self, name) is not None
        ]
        return " ".join([*self.ids, *filters]) or "everything"


@dataclass(frozen=True, slots=True)
class _Condition:
    words: str
    sql: str
    values: Mapping[str, object] = field(default_factory=dict)
    nearest: str = ""
    """SELECT giving candidates near to what was asked, best first, bound to the same values."""


def select(layout: Layout, selection: Selection) -> tuple[ObsId, ...]:
    """The observations selected, sorted by time.

    Raises NotFoundError AP-CAT-008 naming the filter that matched nothing and what is nearest (not with
    `allow_empty`), AP-CAT-005 and MisuseError AP-CAT-006 for unknown and ambiguous ids, MisuseError AP-CAT-007 for a
    night, period or arm that is none, AP-CAT-001 and -002 for a predicate that is not one.
    """
    with open_catalog(layout) as connection:
        conditions = [*_ids(connection, selection), *_filters(selection)]
        found = _matching(connection, conditions)
        if found or selection.allow_empty:
            return found
        raise _nothing(connection, selection, conditions)


def named_files(layout: Layout, selection: Selection) -> tuple[tuple[FileId, ...], Selection | None]:
    """The raw files that a selection names by id, and what it asks for beside them (None: nothing else).

    Raises as `select` for ids that are unknown or ambiguous.
    """
    if not selection.ids:
        return (), selection
    with open_catalog(layout) as connection:
        found = [identify(connection, text, tuple(_OF_KIND)) for text in selection.ids]
    files = tuple(dict.fromkeys(FileId(one.value) for one in found if one.kind == "file"))
    others = tuple(text for text, one in zip(selection.ids, found, strict=True) if one.kind != "file")
    return files, replace(selection, ids=others) if others or not files else None


def identified(layout: Layout, text: str) -> Identifier:
    """The one id that begins like this; see `catalog.identify.identify` for what it raises."""
    with open_catalog(layout) as connection:
        return identify(connection, text)


def _matching(connection: duckdb.DuckDBPyConnection, conditions: list[_Condition]) -> tuple[ObsId, ...]:
    # Each predicate stands on a line of its own, so that a comment in one cannot swallow what follows.
    clauses = "\n AND ".join(f"({one.sql}\n)" for one in conditions) or "true"
    sql = f"SELECT obs_id FROM {_SEEN} WHERE {clauses}\nORDER BY mjd_start, arm, obs_id"
    values = {name: value for one in conditions for name, value in one.values.items()}
    check_select(connection, sql)
    try:
        return tuple(ObsId(row[0]) for row in connection.execute(sql, values or None).fetchall())
    except duckdb.Error as error:
        raise sql_error(error) from error


_OF_KIND = {
    "obs": "obs_id = ${name}",
    "file": "obs_id IN (SELECT obs_id FROM observation_files WHERE file_id = ${name})",
    "group": (
        "obs_id IN (SELECT obs_id FROM observation_files WHERE group_id = ${name} OR group_id IN "
        "(SELECT consumer_group_id FROM associations WHERE calib_group_id = ${name}))"
    ),
    "proc": "obs_id IN (SELECT subject_id FROM processes WHERE process_id = ${name})",
    "prod": "obs_id IN (SELECT subject_id FROM products WHERE product_id = ${name})",
    "target": "target_id = ${name}",
}


def _ids(connection: duckdb.DuckDBPyConnection, selection: Selection) -> list[_Condition]:
    if not selection.ids:
        return []
    found = [identify(connection, text, tuple(_OF_KIND)) for text in selection.ids]
    names = [f"id{position}" for position in range(len(found))]
    clauses = [_OF_KIND[one.kind].replace("{name}", name) for one, name in zip(found, names, strict=True)]
    values = dict(zip(names, (one.value for one in found), strict=True))
    return [_Condition(" ".join(selection.ids), " OR ".join(clauses), values)]


def _filters(selection: Selection) -> list[_Condition]:
    found: list[_Condition] = []
    if selection.night is not None:
        first, last = (_date(one) for one in _range(selection.night))
        nearest = "SELECT DISTINCT night::VARCHAR, abs(night - $night0::DATE) AS d FROM observations ORDER BY d, 1"
        found.append(
            _Condition(
                f"night {selection.night}",
                "night BETWEEN $night0::DATE AND $night1::DATE",
                {"night0": first, "night1": last},
                nearest,
            )
        )
    if selection.period is not None:
        low, high = (_period(one) for one in _range(selection.period))
        nearest = "SELECT DISTINCT 'P' || period_date, abs(period_date - $p0) AS d FROM observations ORDER BY d, 1"
        found.append(
            _Condition(
                f"period {selection.period}", "period_date BETWEEN $p0 AND $p1", {"p0": low, "p1": high}, nearest
            )
        )
    if selection.program is not None:
        nearest = (
            "SELECT prog_id, max(jaro_winkler_similarity(prog_id, $program)) AS near FROM observations "
            "WHERE prog_id IS NOT NULL GROUP BY 1 ORDER BY near DESC, 1"
        )
        found.append(
            _Condition(
                f"program {selection.program}",
                "starts_with(prog_id, $program)",
                {"program": selection.program},
                nearest,
            )
        )
    if selection.target is not None:
        found.append(_target(selection.target))
    if selection.arm is not None:
        found.append(_Condition(f"arm {selection.arm}", "arm = $arm", {"arm": _arm(selection.arm)}))
    if selection.where is not None:
        found.append(_Condition(f"where {selection.where}", selection.where))
    return found


def _target(name: str) -> _Condition:
    nearest = (
        "SELECT any_value(t.main_id), max(jaro_winkler_similarity(n.name_norm, $target)) AS near "
        "FROM target_names n JOIN targets t USING (target_id) GROUP BY t.target_id ORDER BY near DESC, 1"
    )
    return _Condition(
        f"target {name}",
        "target_id IN (SELECT target_id FROM target_names WHERE name_norm = $target)",
        {"target": normalised_name(name)},
        nearest,
    )


def _nothing(
    connection: duckdb.DuckDBPyConnection, selection: Selection, conditions: list[_Condition]
) -> NotFoundError:
    remedy = "correct it, or give --allow-empty"
    for one in conditions:
        if _matching(connection, [one]):
            continue
        near: list[str] = []
        if one.nearest:
            used = {name: value for name, value in one.values.items() if f"${name}" in one.nearest}
            near = [str(row[0]) for row in connection.execute(f"{one.nearest} LIMIT 3", used).fetchall()]
        words = f"; nearest: {', '.join(near)}" if near else ""
        return NotFoundError(
            "AP-CAT-008", f"no observation matches {one.words}{words}", subject=selection.words, remedy=remedy
        )
    why = "each filter matches observations, no observation matches all of them" if conditions else "there is none"
    if not conditions:
        remedy = "ingest raw files with science frames first, or give --allow-empty"
    return NotFoundError("AP-CAT-008", f"no observation: {why}", subject=selection.words, remedy=remedy)


def _range(text: str) -> tuple[str, str]:
    first, dots, last = text.partition("..")
    return (first.strip(), last.strip()) if dots else (text.strip(), text.strip())


def _date(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise _malformed("night", text, "give YYYY-MM-DD, or YYYY-MM-DD..YYYY-MM-DD") from None


def _period(text: str) -> int:
    if re.fullmatch(r"[Pp]?\d{2,3}", text) is None:
        raise _malformed("period", text, "give P95, or P95..P97")
    return int(text.lstrip("Pp"))


def _arm(text: str) -> str:
    try:
        return Arm(text.upper()).value
    except ValueError:
        raise _malformed("arm", text, f"give one of {', '.join(one.value.lower() for one in Arm)}") from None


def _malformed(what: str, text: str, remedy: str) -> MisuseError:
    return MisuseError("AP-CAT-007", f"this is no {what}", subject=text or "(empty)", remedy=remedy)
