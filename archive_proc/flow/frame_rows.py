"""Catalog tables of an understanding: files, groups, targets, observations, associations, rules, overrides."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING

import pyarrow as pa

from archive_proc.flow.process_rows import Row, issue_id
from archive_proc.flow.understanding import Understanding
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId, canonical_json, digest32
from archive_proc.model.observations import Issue, Observation
from archive_proc.storage.manifests import frames_to_table
from archive_proc.storage.tables import TABLES, cast, table_from_columns, table_from_rows

if TYPE_CHECKING:
    from archive_proc.decisions.overrides import Override
    from archive_proc.recipes.recipe import Recipe

PRIVATE, PUBLIC = "private", "public"


def frame_tables(found: Understanding) -> Mapping[str, pa.Table]:
    """All tables that an understanding decides, in their schema; of `issues` and `recipes` its own rows only."""
    rows: dict[str, list[Row]] = {
        "groups": _groups(found),
        "targets": _targets(found),
        "target_names": [
            {"name_norm": name, "target_id": one.target_id} for one in found.targets for name in sorted(set(one.names))
        ],
        "observations": _observations(found),
        "association_rules": _rules(found),
        "overrides": [_override(one) for one in found.overrides],
        "issues": _issues(found.issues),
        "recipes": [recipe_row(one) for one in found.recipes],
    }
    tables = {name: table_from_rows(TABLES[name], some) for name, some in rows.items()}
    long = {"observation_files": _observation_files, "associations": _associations, "refusals": _refusals}
    return {"files": _files(found), **tables, **{name: make(found) for name, make in long.items()}}


def _files(found: Understanding) -> pa.Table:
    table = frames_to_table(found.frames)
    ids = [one.file_id for one in found.frames]
    classified = {one.frame.file_id: one for one in found.classified}
    groups = {file_id: one.group_id for one in found.groups for file_id in one.file_ids}
    targets = dict(found.file_targets) or {
        entry.file_id: one.target_id for one in found.observations if one.target_id for entry in one.files
    }
    known = set(ids)
    complaints = {one.file_id for one in found.issues if one.file_id and one.severity == "blocking"}
    rejected = known & complaints
    added = {
        "frame_type": [classified[one].frame_type if one in classified else None for one in ids],
        "role": [classified[one].role if one in classified else None for one in ids],
        "group_id": [groups.get(one) for one in ids],
        "target_id": [targets.get(one) for one in ids],
        "state": [_state(one, found.quarantined, rejected) for one in ids],
    }
    for name, values in added.items():
        table = table.append_column(name, pa.array(values, pa.string()))
    return cast(TABLES["files"], table)


def _state(file_id: FileId, quarantined: frozenset[FileId], rejected: set[FileId]) -> str:
    if file_id in quarantined:
        return "quarantined"
    return "rejected" if file_id in rejected else "ok"


def _embargo(files: Iterable[RawFrame]) -> Row:
    """Private where one file is, until the last embargo ends."""
    some = list(files)
    dates = [one.release_date for one in some if one.release_date is not None]
    private = any(one.access == PRIVATE for one in some)
    return {"access": PRIVATE if private else PUBLIC, "public_at": max(dates, default=None)}


def _groups(found: Understanding) -> list[Row]:
    frames = {one.file_id: one for one in found.frames}
    return [
        {
            "group_id": one.group_id,
            "arm": one.arm.value,
            "frame_type": one.frame_type,
            "role": one.role,
            "keys": _json(dict(one.keys)),
            "ob_id": one.ob_id,
            "night": one.night,
            "period_date": one.period_date,
            "mjd_start": one.mjd_start,
            "mjd_end": one.mjd_end,
            "n_files": len(one.file_ids),
            **_embargo(frames[file_id] for file_id in one.file_ids if file_id in frames),
        }
        for one in found.groups
    ]


def _targets(found: Understanding) -> list[Row]:
    return [
        {
            "target_id": one.target_id,
            "main_id": one.main_id,
            "ra_deg": one.ra_deg,
            "dec_deg": one.dec_deg,
            "resolver": "pointing",
        }
        for one in found.targets
    ]


_SAME_NAME = (
    "obs_id", "target_id", "object_raw", "mode", "night", "period_date", "ob_id", "ob_start", "tpl_start",
    "prog_id", "inst_filter", "coro", "rot_mode", "mjd_start", "mjd_end", "dit_s", "dit_ms", "ndit", "waffle",
    "rotation_deg", "seeing", "tau0_s", "ao_open_fraction", "complete", "paired_obs_id",
)  # fmt: skip
"""Columns of `observations` that are fields of `Observation`."""


def _observations(found: Understanding) -> list[Row]:
    frames = {one.file_id: one for one in found.frames}
    return [{**_observation(one, frames), "reduced": found.has_recipe(one)} for one in found.observations]


def _observation(one: Observation, frames: Mapping[FileId, RawFrame]) -> Row:
    roles = Counter(entry.role for entry in one.files)
    held = [frames[entry.file_id] for entry in one.files if entry.file_id in frames]
    embargo = _embargo(held)
    return {
        **{name: getattr(one, name) for name in _SAME_NAME},
        **embargo,
        "public_at": one.public_at or embargo["public_at"],
        "arm": one.arm.value,
        "setup": _json(dict(one.setup)),
        "setup_hash": digest32("setup", one.arm.value, [list(entry) for entry in one.setup]),
        "n_sci_files": len(one.science_files),
        "n_sci_frames": sum(frames[file_id].n_planes for file_id in one.science_files if file_id in frames),
        "n_center": roles["CENTER"],
        "n_flux": roles["FLUX"],
        "n_sky": roles["SKY"],
    }


def _observation_files(found: Understanding) -> pa.Table:
    entries = [(one.obs_id, seq, entry) for one in found.observations for seq, entry in enumerate(one.files)]
    files = [entry for _, _, entry in entries]
    columns: dict[str, list[object]] = {
        "obs_id": [obs_id for obs_id, _, _ in entries],
        "seq": [seq for _, seq, _ in entries],
    }
    columns |= _columns(files, ("file_id", "role", "group_id", "science"))
    return table_from_columns(TABLES["observation_files"], columns)


def _columns(some: Iterable[object], names: Iterable[str]) -> dict[str, list[object]]:
    """Fields of many values, a list a field: a dictionary a row takes three times the memory."""
    values = list(some)
    return {name: list(map(attrgetter(name), values)) for name in names}


def _rules(found: Understanding) -> list[Row]:
    return [
        {
            "rule_id": rule.id,
            "ruleset_version": found.ruleset_version,
            "arm": rule.arm,
            "role": rule.role,
            "consumer_types": list(rule.consumers),
            "calib_type": one.frame_type,
            "priority": priority,
            "match_keys": list(one.match),
            "match_thermal": list(one.match_thermal),
            "min_n": rule.min_files,
            "max_n": rule.max_files,
            "window_days": [float(day) for day in rule.levels_days],
            "fallback": rule.fallback or None,
            "on_missing": rule.on_missing.code,
        }
        for rule in found.rules
        for priority, one in enumerate(rule.candidate)
    ]


def _associations(found: Understanding) -> pa.Table:
    names = (
        "consumer_group_id", "selector", "role", "calib_group_id", "rule_id", "ruleset_version", "level", "dt_days",
        "method", "n_candidates", "pinned",
    )  # fmt: skip
    return table_from_columns(TABLES["associations"], _columns(found.associations, names))


def _refusals(found: Understanding) -> pa.Table:
    who = ("consumer_group_id", "selector", "role", "rule_id")
    what = ("candidate_group_id", "criterion", "wanted", "found", "dt_days")
    columns = _columns(found.refusals, (*who, *what))
    n, counts = len(found.refusals), len(found.counts)
    of_counts = _columns(found.counts, (*who, "n_refused"))
    for name in who:
        columns[name] += of_counts[name]
    fill: dict[str, object] = {"candidate_group_id": "", "criterion": "count"}
    for name in what:
        columns[name] += [fill.get(name)] * counts
    columns["n_refused"] = [None] * n + of_counts["n_refused"]
    return table_from_columns(TABLES["refusals"], columns)


_OVERRIDE_COLUMNS = frozenset({"override_id", "kind", "match", "reason", "author", "date", "expires", "source", "line"})
"""Fields that have a column of their own (or none); the others are what the override sets."""


def _override(one: Override) -> Row:
    sets = {each.name: getattr(one, each.name) for each in fields(one) if each.name not in _OVERRIDE_COLUMNS}
    return {
        "override_id": one.override_id,
        "kind": one.kind,
        "match": _json(_given({each.name: getattr(one.match, each.name) for each in fields(one.match)})),
        "value": _json(_given(sets)),
        "reason": one.reason,
        "author": one.author,
        "decided_at": dt.datetime.combine(one.date, dt.time()),
        "expires": dt.datetime.combine(one.expires, dt.time()) if one.expires else None,
        "source": f"{one.source}:{one.line}",
    }


def _given(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None and value not in ("", ())}


def _issues(issues: Iterable[Issue]) -> list[Row]:
    """One row a code and subject; several messages of one are joined."""
    found: dict[str, list[Issue]] = {}
    for one in issues:
        found.setdefault(issue_id(one.code, one.subject_kind, one.subject_id), []).append(one)
    return [_issue(key, sorted(some, key=lambda one: (one.message, one.remedy))) for key, some in found.items()]


def _issue(key: str, some: list[Issue]) -> Row:
    first = some[0]
    severities = {one.severity for one in some}
    return {
        "issue_id": key,
        "code": first.code,
        "severity": next((one for one in ("blocking", "warning", "note") if one in severities), first.severity),
        "state": "open",
        "origin": "rules",
        "subject_kind": first.subject_kind,
        "subject_id": first.subject_id,
        "file_id": first.file_id,
        "group_id": first.group_id,
        "obs_id": first.obs_id,
        "process_id": first.process_id,
        "message": "; ".join(dict.fromkeys(one.message for one in some)),
        "remedy": "; ".join(dict.fromkeys(one.remedy for one in some if one.remedy)) or None,
    }


def recipe_row(recipe: Recipe) -> Row:
    """The row of a recipe of this package."""
    main = recipe.main
    return {
        "recipe": recipe.name,
        "version": recipe.version,
        "arm": recipe.arm.value,
        "subject_kind": recipe.subject_kind,
        "input_spec": _json(
            {
                "main": {one.name: getattr(main, one.name) for one in fields(main)},
                "roles": {
                    one.role: {"types": one.product_types, "source": one.source, "required": one.required}
                    for one in recipe.inputs
                },
            }
        ),
        "output_spec": _json(list(recipe.outputs)),
        "param_schema": _json(recipe.fill({})),
        "is_latest": True,
    }


def _json(value: object) -> str:
    # Through plain JSON once: tuples and dates become what canonical_json takes.
    return canonical_json(json.loads(json.dumps(value, default=str))).decode()
