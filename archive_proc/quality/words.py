"""What stands in words on a page: its title, where it comes from, QC figures with verdicts, how to read the shades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from archive_proc.model.ids import shown
from archive_proc.quality.canvas import INK, PALE, Page
from archive_proc.quality.orders import PageOrder, QcRow, worst_of
from archive_proc.quality.readable import shortened
from archive_proc.quality.scales import Scale

VERDICT_MARKS = {"refuse": "\N{MULTIPLICATION SIGN}", "warn": "!", "good": "\N{CHECK MARK}"}
"""A sign each: the verdict is readable without colour."""
_ORDER = {"refuse": 0, "warn": 1, "good": 2}


_COLUMNS = (0.0, 0.26, 0.58, 0.79, 0.89)
"""Where the columns of the QC table begin, as parts of its width."""
_SIDES = {1: "\N{LESS-THAN OR EQUAL TO} ", -1: "\N{GREATER-THAN OR EQUAL TO} "}
"""How a limit is read: what a good value keeps to."""
LINE = 13.4
"""Pixels from one line of a table to the next."""


def title_block(page: Page, order: PageOrder, product_type: str = "") -> None:
    """Target, night, setup, ids and versions; of one product's page, its type and its verdict."""
    verdict = worst_of([one.verdict for one in order.qc if product_type in ("", one.product_type)])
    name = f"{product_type.replace('_', ' ')}: {order.name}" if product_type else order.name
    page.text(40, 26, shortened(name, 60), fontsize=13, fontweight="bold")
    page.text(page.width - 40, 30, order.short_id, fontsize=8.5, ha="right", family="DejaVu Sans Mono")
    page.text(40, 58, shortened(f"night {order.night}   {order.arm}   {order.setup}", 150), fontsize=8)
    said = {"refuse": "refused", "warn": "QC: warning", "good": "QC: all good", "": "QC: nothing judged"}[verdict]
    mark = VERDICT_MARKS.get(verdict, "")
    page.text(page.width - 40, 58, f"{mark} {said}".strip(), fontsize=8, ha="right", fontweight="bold")
    facts = "   ".join(f"{word} {value}" for word, value in order.facts if value)
    page.text(40, 82, shortened(facts, 215), fontsize=6.2, color=PALE)
    page.rule(102)


def provenance(page: Page, top: float, order: PageOrder) -> None:
    """Products shown, with the recipe and version that made each."""
    made = [
        f"{shown('prod', one.product_id.partition('.')[0])}.{one.product_type} ({one.recipe} {one.recipe_version})"
        for one in sorted(order.products.values(), key=lambda one: one.product_type)
    ]
    lines = [f"archive_proc {order.package_version}, preset {order.preset}"]
    for one in made:
        if len(lines[-1]) + len(one) > 205:
            lines.append("")
        lines[-1] += (";  " if lines[-1] else "") + one
    for number, line in enumerate(lines[:3]):
        page.text(40, top + 14 * number, line, fontsize=5.2, color=PALE)


def scales_note(page: Page, left: float, top: float, scales: Mapping[str, tuple[Scale, str]]) -> None:
    """Every scale in words: what the shades of this night mean."""
    page.text(left, top, "Scales, the same all night", fontsize=6.0, fontweight="bold")
    for number, (name, (scale, unit)) in enumerate(scales.items()):
        words = f"{name}: {scale.words} {unit}".strip() + f", {scale.curve}"
        page.text(left, top + 19 + 14.5 * number, shortened(words, 56), fontsize=5.2)


def qc_table(page: Page, left: float, top: float, width: float, rows: Sequence[QcRow], lines: int) -> None:
    """QC figures in two columns, worst verdict first; what does not fit is counted, never dropped in silence."""
    page.text(left, top, "Quality control", fontsize=6.8, fontweight="bold")
    if not rows:
        page.text(left, top + 20, "no QC figure is recorded for these products", fontsize=6)
        return
    ordered = sorted(rows, key=lambda one: (_ORDER.get(one.verdict, 3), one.product_type, one.metric))
    most = 2 * lines
    kept = ordered if len(ordered) <= most else ordered[: most - 1]
    column = (width - 40) / 2
    for place in range(1 if len(kept) <= lines else 2):
        start = left + place * (column + 40)
        for at, words in zip(_COLUMNS, ("product", "figure", "value", "limit", "verdict"), strict=True):
            page.text(start + at * column, top + 18, words, fontsize=5.4, color=PALE)
        for number, row in enumerate(kept[place * lines : (place + 1) * lines]):
            _qc_line(page, start, top + 32 + LINE * number, column, row)
    if len(kept) < len(ordered):
        rest = ordered[len(kept) :]
        worst = worst_of([one.verdict for one in rest])
        alike = {one.verdict for one in rest} == {worst}
        what = f"all {worst or 'not judged'}" if alike or not worst else f"the worst of them {worst or 'not judged'}"
        y = top + 32 + LINE * (len(kept) - lines)
        page.text(left + column + 40, y, f"and {len(rest)} more, {what} (archive-proc show)", fontsize=5.3)


def _qc_line(page: Page, left: float, y: float, width: float, row: QcRow) -> None:
    weight = "bold" if row.verdict in ("refuse", "warn") else "normal"
    unit = f" {row.unit.removeprefix('1').strip()}".rstrip()
    cells = (
        shortened(row.product_type, int(0.25 * width / 5.6)),
        shortened(row.metric, int(0.31 * width / 5.6)),
        shortened("none" if row.value is None else f"{row.value:.4g}{unit}", int(0.2 * width / 5.6)),
        "" if row.threshold is None else f"{_SIDES.get(row.side or 0, '')}{row.threshold:.4g}",
        f"{VERDICT_MARKS.get(row.verdict, '')} {row.verdict}".strip() or "not judged",
    )
    for at, words in zip(_COLUMNS, cells, strict=True):
        page.text(left + at * width, y, words, fontsize=5.3, fontweight=weight, color=INK)


LEGEND = (
    "Grey: values, by the scale beside.  Hatched: outside the lit field, no value (NaN).  Black: flagged, weight zero "
    "(medians: in every plane)."
)
"""How to read the images."""
