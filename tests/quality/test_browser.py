"""The report in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest
import reports

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.BINARY is None, reason="no Chromium is installed"),
]

NAMES = (*reports.HOSTILE, "SIM_STAR")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Chromium]:
    with chromium.Chromium(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture(scope="module")
def hostile(browser: chromium.Chromium, tmp_path_factory: pytest.TempPathFactory) -> chromium.Tab:
    index = reports.written(reports.made_up(len(NAMES) * 40, NAMES), tmp_path_factory.mktemp("hostile") / "R")
    return browser.open(index)


def test_it_loads_without_a_word_in_the_console_and_asks_nothing_of_a_network(hostile: chromium.Tab) -> None:
    assert hostile.evaluate("document.readyState") == "complete"
    assert hostile.console == []
    assert hostile.requests
    assert {one.partition(":")[0] for one in hostile.requests} <= {"file", "data"}


def test_no_name_became_a_script_or_an_element(hostile: chromium.Tab) -> None:
    assert hostile.evaluate("typeof window.hacked") == "undefined"
    assert hostile.evaluate("document.querySelectorAll('script, iframe, form, [onerror], [onmouseover]').length") == 0
    assert hostile.evaluate("document.querySelectorAll('h1').length") == 1


def test_every_image_loads(hostile: chromium.Tab) -> None:
    wait = """Promise.all([...document.images].map(one => { one.loading = 'eager'; return one.decode().then(() => 1) }))
              .then(all => all.length)"""
    count = hostile.evaluate("document.images.length")
    assert count > 0
    assert hostile.evaluate(wait) == count
    assert hostile.evaluate("[...document.images].every(one => one.naturalWidth === 128)") is True


def test_counts_on_the_page_are_those_of_the_listing(browser: chromium.Chromium, tmp_path: Path) -> None:
    index = reports.written(reports.made_up(120), tmp_path / "R")
    listing = json.loads((index.parent / "report.json").read_text())
    tab = browser.open(index)
    shown = tab.evaluate(
        "Object.fromEntries([...document.querySelectorAll('[data-state]')]"
        ".map(one => [one.dataset.state, Number(one.querySelector('b').textContent)]))"
    )
    assert shown == {**listing["counts"], "total": listing["total"]}
    assert tab.evaluate("document.querySelectorAll('#observations .card').length") == len(listing["observations"])
    assert tab.evaluate("document.querySelectorAll('#recipes tbody tr').length") == len(listing["recipes"])
    assert tab.evaluate("document.querySelectorAll('#failures article').length") == len(listing["failures"])
    assert tab.evaluate("document.querySelectorAll('#issues tbody tr').length") == len(listing["issues"])


@pytest.mark.parametrize("width", [1280, 390])
def test_no_name_breaks_the_layout(hostile: chromium.Tab, width: int) -> None:
    """Nothing reaches beyond the window, wide tables scroll within themselves, no card grows without end."""
    hostile.resize(width)
    assert hostile.evaluate("document.documentElement.scrollWidth") <= width
    spill = """[...document.querySelectorAll('body *')].filter(one => !one.closest('.scroll') && !one.closest('.skip')
               && one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 80))"""
    assert hostile.evaluate(spill) == []
    tallest = "Math.max(...[...document.querySelectorAll('.card')].map(one => one.getBoundingClientRect().height))"
    assert hostile.evaluate(tallest) < 520


CONTRAST = """
(() => {
  const channel = v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 };
  const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const ground = one => { for (; one; one = one.parentElement) {
      const c = numbers(getComputedStyle(one).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c }
    return [255, 255, 255] };
  let worst = [99, ''];
  for (const one of document.querySelectorAll('body *')) {
    if (![...one.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const a = light(numbers(getComputedStyle(one).color)), b = light(ground(one));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst[0]) worst = [ratio, one.outerHTML.slice(0, 120)];
  }
  return worst;
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_contrast_in_light_and_dark(hostile: chromium.Tab, scheme: str) -> None:
    hostile.prefer(scheme)
    ground = hostile.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] * 1")
    assert (ground < 128) is (scheme == "dark")
    ratio, where = hostile.evaluate(CONTRAST)
    assert ratio >= 4.5, where
