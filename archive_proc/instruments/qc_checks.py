"""Rules that the rows of `qc_limits.toml` must keep beyond their types."""

from __future__ import annotations

import re
from collections.abc import Mapping

from archive_proc.instruments.products import ProductsFile
from archive_proc.instruments.qc_limits import LimitRow, MetricRow, QcLimitsFile
from archive_proc.instruments.toml_rows import wrong_row

_CODE = re.compile(r"AP-[A-Z]{3}-\d{3}")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SOURCE = "qc_limits.toml"


def check_qc_limits(table: QcLimitsFile, products: ProductsFile, texts: Mapping[str, str]) -> None:
    """Products known, names unique, limits in order, refusing limits where the recipe is said to act on them.

    Raises MisuseError AP-TAB-003 naming line and rule.
    """
    text = texts[_SOURCE]
    types = {row.type for row in products.product}
    seen: set[tuple[str, str, str]] = set()
    columns: set[str] = set()
    for at, row in enumerate(table.metric):
        place = ("metric", at)
        if unknown := set(row.products) - types:
            raise wrong_row(text, _SOURCE, place, f"unknown product type {min(unknown)}", "products")
        if not row.products:
            raise wrong_row(text, _SOURCE, place, "no product type", "products")
        for product in row.products:
            for name in row.names:
                if (row.of, product, name) in seen:
                    raise wrong_row(text, _SOURCE, place, f"{product} {name} is there twice", "metric")
                seen.add((row.of, product, name))
        if rule := _wrong_metric(row, columns):
            raise wrong_row(text, _SOURCE, place, rule)
        if row.of == "plane":
            columns.add(row.metric)
        for number, limit in enumerate(row.limit):
            if rule := _wrong_limit(row, limit):
                raise wrong_row(text, _SOURCE, (*place, "limit", number), rule)
        refuses = any(one.refuse_above is not None or one.refuse_below is not None for one in row.limit)
        if row.decides and not refuses:
            raise wrong_row(text, _SOURCE, place, "decides, and no limit refuses", "decides")


def _wrong_metric(row: MetricRow, columns: set[str]) -> str:
    if not _NAME.fullmatch(row.metric):
        return f"metric {row.metric!r} is no name of small letters, digits and _"
    if not row.unit.strip() or not row.meaning.strip():
        return "unit and meaning must be given; a plain number has unit 1"
    if not _CODE.fullmatch(row.code):
        return f"code {row.code!r} is no error code"
    if row.of == "plane" and (len(row.products) != 1 or row.halves or row.decides):
        return "a plane's figure has one product type, no halves (rows are by channel), and decides nothing"
    if row.of == "plane" and row.metric in columns:
        return f"plane figure {row.metric} is there twice"
    return ""


def _wrong_limit(row: MetricRow, limit: LimitRow) -> str:
    if not limit.bounds():
        return "a limit row without any limit"
    if not limit.reference.strip():
        return "a limit needs a reference, or the word assumed"
    if limit.frame_type and row.of != "plane":
        return "frame_type is of planes"
    if unknown := set(limit.frame_type) - {"OBJECT", "CENTER", "FLUX"}:
        return f"unknown frame type {min(unknown)}"
    if limit.dit_s and not 0 <= limit.dit_s[0] <= limit.dit_s[1]:
        return "dit_s must rise from 0"
    if limit.valid_from and limit.valid_to and limit.valid_from >= limit.valid_to:
        return "valid_to must be later than valid_from"
    # From what refuses below to what refuses above, each further in than the one before.
    given = (limit.refuse_below, limit.warn_below, limit.warn_above, limit.refuse_above)
    rising = [one for one in given if one is not None]
    return "" if rising == sorted(rising) else "refuse_below <= warn_below <= warn_above <= refuse_above must hold"
