"""Rules that rows must keep beyond their types: known columns, unique names, windows in order, no cycles."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from archive_proc.errors import MisuseError
from archive_proc.instruments.earth_rotation import EarthRotationFile
from archive_proc.instruments.irdis import IrdisFile
from archive_proc.instruments.products import ProductsFile
from archive_proc.instruments.rows import (
    CONSUMER_ROLES,
    DERIVED_COLUMNS,
    AssociationsFile,
    FrameTypesFile,
    RuleRow,
)
from archive_proc.instruments.toml_rows import wrong_row
from archive_proc.model.frames import RawFrame

COLUMNS = frozenset(field.name for field in dataclasses.fields(RawFrame)) | frozenset(DERIVED_COLUMNS)

Texts = Mapping[str, str]


def check_frame_types(table: FrameTypesFile, texts: Texts) -> None:
    """Columns exist; rows of one name agree on role and group keys."""
    text, source = texts["frame_types.toml"], "frame_types.toml"
    for arm, columns in table.grouping.setup.items():
        _columns_exist(columns, text, source, ("grouping", "setup"), arm)
    seen: dict[str, tuple[str, tuple[str, ...], str]] = {}
    for at, row in enumerate(table.frame_type):
        place = ("frame_type", at)
        for field, columns in (("group_keys", row.group_keys), ("requires", row.requires), ("when", tuple(row.when))):
            _columns_exist(columns, text, source, place, field)
        same = (row.role, row.group_keys, row.block)
        if seen.setdefault(row.name, same) != same:
            raise wrong_row(text, source, place, "an earlier row of this name has another role, group_keys or block")


def check_associations(table: AssociationsFile, frame_types: FrameTypesFile, texts: Texts) -> None:
    """Ids unique, candidates known, columns exist, windows rise, levels or scopes given, no cycle."""
    text, source = texts["associations.toml"], "associations.toml"
    names = {row.name for row in frame_types.frame_type}
    seen: set[str] = set()
    for at, rule in enumerate(table.rule):
        place = ("rule", at)
        if rule.id in seen:
            raise wrong_row(text, source, place, f"id {rule.id} is used twice", "id")
        seen.add(rule.id)
        for consumer in rule.consumers:
            if consumer not in CONSUMER_ROLES and consumer not in names:
                raise wrong_row(text, source, place, f"consumer {consumer} is neither role nor frame type", "consumers")
        _columns_exist(tuple(rule.only_setup), text, source, place, "only_setup")
        _check_levels(rule, text, source, place)
        if rule.max_files is not None and not 1 <= rule.min_files <= rule.max_files:
            raise wrong_row(text, source, place, "min_files..max_files must rise from 1", "min_files")
        if not rule.candidate:
            raise wrong_row(text, source, place, "no candidate")
        for number, candidate in enumerate(rule.candidate):
            where = (*place, "candidate", number)
            if candidate.frame_type not in names:
                raise wrong_row(text, source, where, f"unknown frame type {candidate.frame_type}", "frame_type")
            if candidate.stands_in_for and candidate.stands_in_for not in names:
                raise wrong_row(text, source, where, f"unknown frame type {candidate.stands_in_for}", "stands_in_for")
            keys = (*candidate.match, *candidate.match_thermal)
            _columns_exist(keys, text, source, where, "match")
            _columns_exist(tuple(candidate.where), text, source, where, "where")
            if unknown := set(candidate.consumers) - set(rule.consumers):
                raise wrong_row(text, source, where, f"{min(unknown)} is no consumer of the rule", "consumers")
            if rule.scope_levels and not candidate.scope:
                raise wrong_row(text, source, where, "the rule takes its levels from scopes; this candidate has none")
    _check_cycles(table, frame_types, text, source)


def _check_levels(rule: RuleRow, text: str, source: str, place: Sequence[str | int]) -> None:
    if bool(rule.levels_days) == bool(rule.scope_levels):
        raise wrong_row(text, source, place, "give either levels_days or scope_levels")
    days = rule.levels_days
    if days and (len(days) != 4 or days[0] <= 0 or any(b <= a for a, b in pairwise(days))):
        raise wrong_row(text, source, place, "levels_days must be four rising days", "levels_days")
    if unknown := set(rule.scope_levels) - {"execution", "ob", "night"}:
        raise wrong_row(text, source, place, f"unknown scope {min(unknown)}", "scope_levels")
    if any(not 0 <= level <= 3 for level in rule.scope_levels.values()):
        raise wrong_row(text, source, place, "a level is 0 to 3", "scope_levels")


def _check_cycles(table: AssociationsFile, frame_types: FrameTypesFile, text: str, source: str) -> None:
    """A calibration that needs itself, at any distance, could never be made."""
    by_role: dict[str, set[str]] = {}
    for row in frame_types.frame_type:
        by_role.setdefault(row.role, set()).add(row.name)
    # A waffle sequence is science: nothing is made from it for others.
    needs: dict[str, dict[str, int]] = {}
    for at, rule in enumerate(table.rule):
        for number, candidate in enumerate(() if rule.of_frames else rule.candidate):
            for consumer in candidate.consumers or rule.consumers:
                types = {"WAFFLE"} if consumer == "WAFFLE" else by_role.get(consumer, {consumer})
                for one in types:
                    needed = candidate.stands_in_for or candidate.frame_type
                    needs.setdefault(one, {}).setdefault(needed, at * 1000 + number)
    for start in sorted(needs):
        stack, seen = [(start, start)], set[str]()
        while stack:
            name, path = stack.pop()
            for needed, rule_at in sorted(needs.get(name, {}).items()):
                if needed == start:
                    place = ("rule", rule_at // 1000)
                    raise wrong_row(text, source, place, f"cycle: {path} > {needed}")
                if needed not in seen:
                    seen.add(needed)
                    stack.append((needed, f"{path} > {needed}"))


def check_irdis(table: IrdisFile, texts: Texts) -> None:
    """Names unique, bands known to every neutral density, validity without gap or overlap, transmissions in (0, 1]."""
    text, source = texts["irdis.toml"], "irdis.toml"
    _unique((row.name for row in table.filter), "filter", text, source)
    _unique((row.name for row in table.neutral_density), "neutral_density", text, source)
    _unique((row.name for row in table.coronagraph), "coronagraph", text, source)
    for at, density in enumerate(table.neutral_density):
        for band, value in density.transmission.items():
            if not 0 < value <= 1:
                raise wrong_row(text, source, ("neutral_density", at), f"transmission of {band} is not in (0, 1]", band)
    for at, one in enumerate(table.filter):
        if min(*one.wavelength_um, *one.bandwidth_um, *one.pixel_scale_mas) <= 0:
            raise wrong_row(text, source, ("filter", at), "wavelengths, widths and scales are positive")
    for at, (row, following) in enumerate(pairwise(table.geometry)):
        if row.valid_to != following.valid_from:
            raise wrong_row(
                text, source, ("geometry", at + 1), "validity must begin where the row before ends", "valid_from"
            )
    if not table.geometry or table.geometry[-1].valid_to is not None:
        raise wrong_row(text, source, ("geometry", max(0, len(table.geometry) - 1)), "the last row has no valid_to")


def check_earth_rotation(table: EarthRotationFile, texts: Texts) -> None:
    """A value a knot, knots and leap seconds in order of time."""
    text, source = texts["earth_rotation.toml"], "earth_rotation.toml"
    if len(table.mjd) != len(table.ut1_minus_tai) or not table.mjd:
        raise wrong_row(text, source, (), "mjd and ut1_minus_tai must have one value a knot", "ut1_minus_tai")
    if any(b <= a for a, b in pairwise(table.mjd)):
        raise wrong_row(text, source, (), "knots must rise", "mjd")
    if not table.leap_seconds or any(b[0] <= a[0] for a, b in pairwise(table.leap_seconds)):
        raise wrong_row(text, source, (), "leap seconds must rise in time", "leap_seconds")


def check_products(table: ProductsFile, texts: Texts) -> None:
    """Types unique, references known and flat, chunks divide shards, one length for dims, chunks and shards."""
    text, source = texts["product_types.toml"], "product_types.toml"
    _unique((row.type for row in table.product), "product", text, source)
    by_name = {row.type: row for row in table.product}
    for at, row in enumerate(table.product):
        place = ("product", at)
        if row.same_variables_as is not None:
            base = by_name.get(row.same_variables_as)
            if base is None or base.same_variables_as is not None:
                rule = "same_variables_as must name a type that lists its variables"
                raise wrong_row(text, source, place, rule, "same_variables_as")
        elif not row.variable:
            raise wrong_row(text, source, place, "no variable")
        for number, one in enumerate(row.variable):
            where = (*place, "variable", number)
            for field, sizes in (("chunks", one.chunks), ("shards", one.shards)):
                if sizes is not None and len(sizes) != len(one.dims):
                    raise wrong_row(text, source, where, f"{field} needs {len(one.dims)} numbers", field)
            if one.shards and one.chunks and any(b % a for a, b in zip(one.chunks, one.shards, strict=True)):
                raise wrong_row(text, source, where, "chunks must divide shards", "chunks")
            if one.by_block and one.dims[0] != "frame":
                raise wrong_row(text, source, where, "by_block arrays begin with the frame axis", "dims")


def _columns_exist(
    columns: Iterable[str], text: str, source: str, place: Sequence[str | int], field: str | None = None
) -> None:
    for column in columns:
        if column not in COLUMNS:
            raise wrong_row(text, source, place, f"unknown column {column}", field)


def _unique(names: Iterable[str], table: str, text: str, source: str) -> None:
    seen: set[str] = set()
    for at, name in enumerate(names):
        if name in seen:
            error: MisuseError = wrong_row(text, source, (table, at), f"{name} is there twice")
            raise error
        seen.add(name)
