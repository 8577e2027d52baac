"""`report`: draws what is missing or outdated, then writes a run's page and its JSON. Reads products, seals nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from archive_proc.errors import PreconditionError
from archive_proc.flow.campaign import Campaign
from archive_proc.flow.page_orders import PageSources, page_orders
from archive_proc.flow.run_report import run_report, subject_states, worst
from archive_proc.flow.run_states import run_states
from archive_proc.flow.running import load_plan
from archive_proc.flow.story import Story
from archive_proc.model.ids import RunId
from archive_proc.quality.content import Card, RunReport
from archive_proc.quality.drawing import Drawn, DrawOptions, draw_all
from archive_proc.quality.file_names import master_file, observation_file, thumbnail_file
from archive_proc.settings import SiteProfile
from archive_proc.storage.atomic import write_bytes

PICTURES = "pictures"
"""Where a report written elsewhere (`-o DIR`) keeps copies of what it links to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """How a report is wanted."""

    site: SiteProfile
    """Bounds the processes that draw."""
    directory: Path | None = None
    """Elsewhere than `runs/<run_id>/report`: then pictures are copied, so that the directory can be sent away."""
    everything: bool = False
    """Draw up-to-date pictures too."""
    progress: Callable[[int, int], None] | None = None


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """A report on disk."""

    index: Path
    json: Path
    report: RunReport


def write_report(campaign: Campaign, run_id: RunId, options: ReportOptions) -> WrittenReport:
    """Draw, gather, write.

    Raises PreconditionError AP-RPT-001 where the extra `report` is not installed, NotFoundError for a run or plan that
    is not there.
    """
    _expect_libraries()
    from archive_proc.quality.html import report_html, report_json

    layout = campaign.layout
    status = run_states(layout, run_id)
    plan = load_plan(layout, status.plan_id)
    roots = {name: Path(root) for name, root in campaign.settings.raw_roots.items()}
    orders = page_orders(PageSources(layout, campaign.frames, roots), plan)
    workers = 1 if options.site.backend == "serial" else options.site.workers or os.cpu_count() or 1
    drawn = draw_all(
        orders,
        DrawOptions(root=layout.quicklook, workers=workers, everything=options.everything, progress=options.progress),
    )
    place = options.directory or layout.report_dir(run_id)
    place.mkdir(parents=True, exist_ok=True)
    states = subject_states(plan, status)
    link = Links(place, None if options.directory is None else place / PICTURES)
    cards = tuple(card for one in drawn for card in cards_of(one, states, link))
    report = run_report(Story(layout, campaign.settings, plan, status, cards, drawn, orders))
    index, listing = place / "index.html", place / "report.json"
    write_bytes(listing, report_json(report))
    write_bytes(index, report_html(report).encode())
    return WrittenReport(index, listing, report)


def _expect_libraries() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("jinja2", "matplotlib") if find_spec(name) is None]
    if missing:
        raise PreconditionError(
            "AP-RPT-001",
            f"needs {' and '.join(missing)}",
            subject="report",
            remedy="install the extra from the checkout: pip install '.[report]'",
        )


@dataclass(frozen=True, slots=True)
class Links:
    """Relative links from the report to pictures."""

    place: Path
    copies: Path | None

    def to(self, picture: Path) -> str:
        """The link to a picture; copied first where the report lies elsewhere."""
        target = picture
        if self.copies is not None:
            target = self.copies / picture.parent.name / picture.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, target)
        return quote(Path(os.path.relpath(target, self.place)).as_posix())


def cards_of(one: Drawn, states: dict[tuple[str, str], tuple[str, str]], link: Links) -> list[Card]:
    """A card for each page of a subject: one of an observation, one a product of anything else.

    `states`: (subject id, preset) -> (state, words).
    """
    order = one.order
    state, words = states.get((order.subject_id, order.preset), ("not in this run", ""))
    pages = [("observation", observation_file(order.preset))]
    if not order.is_observation:
        pages = [(kind, master_file(kind, order.preset)) for kind in sorted({*order.products, *order.missing})]
    return [_card(one, kind, name, state, words, link) for kind, name in pages]


def _card(one: Drawn, kind: str, name: str, state: str, words: str, link: Links) -> Card:
    order = one.order
    small = thumbnail_file(name)
    planes = dict(order.facts).get("planes", "0")
    return Card(
        subject_id=order.subject_id,
        name=order.name,
        night=order.night,
        setup=order.setup,
        kind=kind,
        state=state,
        words=words,
        verdict=worst(order, "" if order.is_observation else kind),
        planes=int(planes),
        page=link.to(one.directory / name) if name in one.stamp.pages else "",
        thumbnail=link.to(one.directory / small) if small in one.stamp.pages else "",
    )
