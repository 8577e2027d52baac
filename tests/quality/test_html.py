"""The page as text: what it weighs, what it escapes, what it needs."""

from __future__ import annotations

import html.parser
import itertools
import json
from functools import cache

import pytest
import reports
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_proc.quality.html import report_html, report_json
from archive_proc.quality.readable import plain

VOID = {"meta", "link", "img", "br"}


class Tree(html.parser.HTMLParser):
    """Elements with attributes; complains where tags do not nest."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def tree_of(text: str) -> Tree:
    tree = Tree()
    tree.feed(text)
    tree.close()
    assert tree.open == []
    return tree


def test_a_run_of_800_observations_fits_in_5_MB() -> None:
    report = reports.made_up(800, tuple(f"SIM_STAR_{number}" for number in range(97)))
    assert len(report_html(report).encode()) <= 5_000_000
    assert len(report_json(report)) <= 5_000_000


def test_the_noisiest_thumbnail_weighs_at_most_12_kB() -> None:
    assert max(len(reports.noisy_thumbnail(seed)) for seed in range(5)) <= 12_000


@cache
def tree_of_a_plain_name() -> Tree:
    return tree_of(report_html(reports.made_up(8, ("SIM_STAR",))))


@given(st.text(min_size=1, max_size=60))
@settings(max_examples=40, deadline=None)
def test_any_name_is_text_and_nothing_else(name: str) -> None:
    plainly = tree_of_a_plain_name()
    found = tree_of(report_html(reports.made_up(8, (name,))))
    assert [tag for tag, _ in found.elements] == [tag for tag, _ in plainly.elements]
    assert [sorted(attributes) for _, attributes in found.elements] == [
        sorted(attributes) for _, attributes in plainly.elements
    ]


@pytest.mark.parametrize("name", reports.HOSTILE)
def test_hostile_names_reach_the_reader_as_they_are_but_for_controls(name: str) -> None:
    tree = tree_of(report_html(reports.made_up(8, (name,))))
    assert plain(name).replace("\n", " ") in tree.text
    assert not {tag for tag, _ in tree.elements} & {"script", "iframe", "object", "embed", "form", "base"}
    for _, attributes in tree.elements:
        assert not [one for one in attributes if one.startswith("on")]
        for where in ("href", "src"):
            assert not (attributes.get(where) or "").startswith(("javascript:", "http:", "https:", "//"))
    assert "\u202e" not in tree.text
    assert not {one for one in tree.text if ord(one) < 32 and one != "\n"}


def test_the_page_is_accessible_as_far_as_its_text_tells() -> None:
    tree = tree_of(report_html(reports.made_up(8)))
    tags = [tag for tag, _ in tree.elements]
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert tags.count(landmark) == 1, landmark
    assert dict(tree.elements)["html"]["lang"] == "en"
    assert all(attributes.get("alt") for tag, attributes in tree.elements if tag == "img")
    assert all(attributes.get("loading") == "lazy" for tag, attributes in tree.elements if tag == "img")
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in tree.elements if tag == "th")
    identified = [attributes["id"] for _, attributes in tree.elements if "id" in attributes]
    assert len(identified) == len(set(identified))
    for tag, attributes in tree.elements:
        if tag == "a" and (attributes["href"] or "").startswith("#"):
            assert (attributes["href"] or "")[1:] in identified
    headings = [int(tag[1]) for tag in tags if tag in ("h1", "h2", "h3", "h4")]
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(headings))


def test_json_says_what_the_page_says() -> None:
    report = reports.made_up(50)
    listing = json.loads(report_json(report))
    tree = tree_of(report_html(report))
    assert sum(listing["counts"].values()) == listing["total"]
    assert listing["verdict"] in tree.text
    assert listing["outliers"][0]["value"] is None, "NaN is null"
    for one in listing["observations"]:
        assert one["subject_id"][:12] in tree.text
