"""The report as one HTML page that needs nothing: no network, no script, styles inside. Everything is escaped."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from importlib import resources
from itertools import groupby

import msgspec
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from archive_proc.quality.content import Card, RunReport
from archive_proc.quality.readable import plain

MARKS = {
    "made": "\N{CHECK MARK}", "stands": "=", "failed": "\N{MULTIPLICATION SIGN}", "blocked": "\N{DOUBLE VERTICAL LINE}",
    "good": "\N{CHECK MARK}", "warn": "!", "refuse": "\N{MULTIPLICATION SIGN}", "blocking": "\N{MULTIPLICATION SIGN}",
    "warning": "!", "note": "i", "done": "\N{CHECK MARK}", "cached": "=",
}  # fmt: skip
"""A sign for each state and verdict: colour only repeats what the sign says."""


def report_html(report: RunReport) -> str:
    """The page. The same content as `report_json`, for people."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_clean
    )
    environment.filters.update(number=_number, seconds=_seconds, size=_size, moment=_moment, mark=_mark)
    folder = resources.files("archive_proc.quality").joinpath("templates")
    template = environment.from_string(folder.joinpath("report.html").read_text(encoding="utf-8"))
    style = Markup(folder.joinpath("report.css").read_text(encoding="utf-8"))  # noqa: S704 - our own file
    return template.render(
        report=report, nights=_by_night(report.observations), masters=_by_night(report.masters), style=style
    )


def report_json(report: RunReport) -> bytes:
    """`report.json`: every value of the report; NaN is null."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"


def _by_night(cards: Iterable[Card]) -> list[tuple[str, list[Card]]]:
    return [(night, list(some)) for night, some in groupby(cards, key=lambda one: one.night)]


def _clean(value: object) -> object:
    """What is written: names of headers with their controls made visible, absence as nothing."""
    if value is None:
        return ""
    return plain(value).replace("\n", " ") if isinstance(value, str) and not isinstance(value, Markup) else value


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "none"
    return f"{value:.4g}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "\N{EN DASH}"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _size(value: int) -> str:
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return ""


def _moment(text: str) -> str:
    try:
        return dt.datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return text


def _mark(word: str) -> str:
    return MARKS.get(word, "\N{MIDDLE DOT}")
