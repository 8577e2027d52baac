"""The page of a master: its title, the panels of its kind, quality figures, where it comes from."""

from __future__ import annotations

from collections.abc import Mapping

from archive_proc.quality.canvas import Page, say_why, styled
from archive_proc.quality.master_kinds import kind_of
from archive_proc.quality.master_sheet import TOP, MasterSheet
from archive_proc.quality.measured import Measured
from archive_proc.quality.orders import PageOrder
from archive_proc.quality.scales import Scale
from archive_proc.quality.words import LEGEND, LINE, provenance, qc_table, title_block

UNREADABLE_HEIGHT = 362
"""Pixels for a page that can only say why it is empty."""


def draw_master(order: PageOrder, found: Measured, scales: Mapping[str, Scale], product_type: str) -> bytes:
    """The page of one product as PNG."""
    shown = product_type in order.products and product_type not in found.notes
    kind = kind_of(product_type)
    qc = tuple(one for one in order.qc if one.product_type == product_type)
    lines = min(24, max(3, (len(qc) + 1) // 2))
    with styled():
        # Any page will do to ask how high the panels are: a height depends on what was measured alone.
        sheet = MasterSheet(Page(height=100), order, found, scales, product_type)
        height = TOP + (kind.height(sheet) if shown else UNREADABLE_HEIGHT) + int(LINE * lines) + 120
        page = Page(height=height)
        title_block(page, order, product_type)
        page.text(40, 108, LEGEND, fontsize=5.8)
        if shown:
            kind.draw(MasterSheet(page, order, found, scales, product_type), TOP)
        else:
            why = found.notes.get(product_type) or order.missing.get(product_type) or "it was not made"
            say_why(page.axes(84, TOP, page.width - 160, 300), product_type, why)
        qc_table(page, 40, height - 110 - int(LINE * lines), page.width - 80, qc, lines)
        provenance(page, height - 46, order)
        return page.png()
