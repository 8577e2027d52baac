"""Panels over time: centres, background, relative flux. Series differ in marker and line, not in colour alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from archive_proc.quality.canvas import FIRST, RULE, SECOND
from archive_proc.quality.readable import plain

Values = NDArray[Any]

LOOKS: tuple[dict[str, Any], ...] = (
    {"color": FIRST, "marker": "o", "linestyle": "-", "markerfacecolor": FIRST},
    {"color": SECOND, "marker": "s", "linestyle": (0, (3, 1.5)), "markerfacecolor": "white"},
    {"color": FIRST, "marker": "^", "linestyle": "none", "markerfacecolor": FIRST, "markersize": 4.2},
    {"color": SECOND, "marker": "v", "linestyle": "none", "markerfacecolor": "white", "markersize": 4.2},
)
MANY = 150
"""Beyond so many points markers hide the line: every n-th is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line of a panel."""

    name: str
    minutes: Values
    values: Values
    errors: Values | None = None
    look: int = 0
    """Position in LOOKS."""


def show_tracks(axes: Axes, series: list[Series], title: str, unit: str, limits: tuple[float, float]) -> None:
    """Series over time within the night's limits; values beyond them are drawn as arrows at the edge."""
    axes.set_title(plain(title))
    low, high = limits
    for one in series:
        look = LOOKS[one.look]
        step = max(1, len(one.values) // MANY)
        order = np.argsort(one.minutes, kind="stable")
        minutes, values = one.minutes[order], one.values[order]
        axes.plot(minutes, values, label=plain(one.name), markevery=step, markeredgewidth=0.6, **look)
        if one.errors is not None and look["linestyle"] != "none":
            errors = one.errors[order]
            axes.fill_between(minutes, values - errors, values + errors, color=look["color"], alpha=0.15, linewidth=0)
        finite = np.isfinite(values)
        for beyond, edge, marker in ((values > high, high, "^"), (values < low, low, "v")):
            hit = finite & beyond
            if hit.any():
                axes.plot(minutes[hit], np.full(int(hit.sum()), edge), linestyle="none", marker=marker,
                          color=look["color"], markersize=4, clip_on=False)  # fmt: skip
    axes.set_ylim(low, high)
    axes.set_ylabel(plain(unit))
    axes.grid(True)
    axes.set_axisbelow(True)
    if len(series) > 1:
        axes.legend(
            loc="lower right", bbox_to_anchor=(1.0, 0.985), ncols=len(series), borderaxespad=0, handlelength=2.2,
            columnspacing=1.2, borderpad=0.1,
        )  # fmt: skip


def mark_verdicts(axes: Axes, minutes: Values, verdicts: Sequence[str]) -> None:
    """Signs along the upper edge over planes beyond a limit: a triangle warns, a cross refuses."""
    for verdict, marker in (("warn", "^"), ("refuse", "X")):
        hit = np.array([one == verdict for one in verdicts], bool)
        if hit.any():
            edge = axes.get_ylim()[1]
            axes.plot(
                minutes[hit], np.full(int(hit.sum()), edge), linestyle="none", marker=marker, color="black",
                markersize=3.6, clip_on=False, markeredgewidth=0.4,
            )  # fmt: skip


def mark_unusable(axes: Axes, minutes: Values) -> None:
    """Crosses at the lower edge where planes are not used."""
    if len(minutes):
        axes.plot(minutes, np.full(len(minutes), axes.get_ylim()[0]), linestyle="none", marker="x", color="black",
                  markersize=3.4, clip_on=False, markeredgewidth=0.8)  # fmt: skip


def show_shares(axes: Axes, shares: dict[str, float], title: str, unit: str) -> None:
    """Bars on a logarithmic axis, the value written beside each; none for what does not occur."""
    axes.set_title(plain(title))
    names = list(shares)
    values = np.array([shares[name] for name in names])
    rows = np.arange(len(names))[::-1]
    floor = 1e-5
    axes.barh(rows, np.maximum(values, floor), left=0, height=0.62, color="#8a8a8a", edgecolor="#3a3a3a", linewidth=0.4)
    axes.set_xscale("log")
    axes.set_xlim(floor, 300)
    for row, value in zip(rows, values, strict=True):
        words = "none" if value == 0 else f"{value:.2g}"
        axes.text(max(value, floor) * 1.4, row, words, va="center", fontsize=5.4)
    axes.set_yticks(rows, [name.lower().replace("_", " ") for name in names], fontsize=5.4)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_xticks([1e-4, 1e-2, 1, 100], ["0.0001", "0.01", "1", "100"])
    axes.minorticks_off()
    axes.set_xlabel(plain(unit))
    axes.grid(True, axis="x")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_color(RULE)
