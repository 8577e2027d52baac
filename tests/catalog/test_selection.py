"""Selections give observations; a typo gives what is nearest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import making
import pytest

from archive_proc.catalog.selection import Selection, identified, named_files, select
from archive_proc.catalog.show import show
from archive_proc.errors import MisuseError, NotFoundError

if TYPE_CHECKING:
    from conftest import Published


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"ids": (f"obs:{making.OBS[:12]}",)},
        {"ids": (making.OBS[:6],)},
        {"ids": (making.OBS,)},
        {"ids": (making.FRAMES[3].file_id,)},
        {"ids": ("file:SPHER.2015-09-25T02:27",)},
        {"ids": (f"group:{making.DARKS[:8]}",)},
        {"ids": (f"target:{making.STAR[:8]}",)},
        {"night": "2015-09-24"},
        {"night": "2015-09-20..2015-09-26"},
        {"period": "P95"},
        {"period": "95..97"},
        {"program": "095.C-0298"},
        {"target": "51 eri"},
        {"arm": "irdis"},
        {"where": "seeing < 0.8 -- good"},
        {"where": "main_id = '51 Eri'", "night": "2015-09-24", "arm": "IRDIS"},
    ],
)
def test_selection_finds_the_observation(published: Published, given: dict[str, object]) -> None:
    assert select(published.layout, Selection(**given)) == (making.OBS,)  # type: ignore[arg-type]


def test_files_named_by_id_are_told_from_all_else(published: Published) -> None:
    file_id = making.FRAMES[3].file_id
    assert named_files(published.layout, Selection(ids=(file_id,))) == ((file_id,), None)
    mixed = Selection(ids=(file_id, f"obs:{making.OBS[:12]}"), night="2015-09-24")
    files, others = named_files(published.layout, mixed)
    assert files == (file_id,)
    assert others is not None
    assert (others.ids, others.night) == ((f"obs:{making.OBS[:12]}",), "2015-09-24")
    everything = Selection(arm="IRDIS")
    assert named_files(published.layout, everything) == ((), everything)
    with pytest.raises(NotFoundError, match="AP-CAT-005"):
        named_files(published.layout, Selection(ids=("SPHER.2099",)))


def test_ids_of_processes_and_products_select_their_observation(published: Published) -> None:
    process = published.new.centered.process_id
    assert select(published.layout, Selection(ids=(f"proc:{process[:10]}",))) == (making.OBS,)
    assert select(published.layout, Selection(ids=(f"prod:{process[:10]}.irdis_cen",))) == (making.OBS,)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ids": ("obs:zzzz",)}, "AP-CAT-005"),
        ({"night": "2015-09-25"}, "nearest: 2015-09-24"),
        ({"period": "P96"}, "nearest: P95"),
        ({"program": "095.C-0299"}, r"nearest: 095.C-0298\(J\)"),
        ({"target": "51 Erii"}, "nearest: 51 Eri"),
        ({"arm": "ifs"}, "no observation matches arm ifs"),
        ({"where": "seeing > 5"}, "no observation matches where seeing > 5"),
    ],
)
def test_typo_is_not_found_with_nearest(published: Published, given: dict[str, object], words: str) -> None:
    with pytest.raises(NotFoundError, match=words) as caught:
        select(published.layout, Selection(**given))  # type: ignore[arg-type]
    assert caught.value.exit_status == 8
    if "ids" not in given:
        assert select(published.layout, Selection(**given, allow_empty=True)) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given",
    [
        {"night": "yesterday"},
        {"period": "ninety"},
        {"arm": "sphere"},
        {"where": "nonsense = 1"},
        {"where": "true); DROP VIEW files; SELECT (1"},
        {"where": "seeing <"},
    ],
)
def test_malformed_filters_are_misuse(published: Published, given: dict[str, object]) -> None:
    with pytest.raises(MisuseError):
        select(published.layout, Selection(**given))  # type: ignore[arg-type]


def test_ambiguous_id_lists_what_it_may_be(published: Published) -> None:
    with pytest.raises(MisuseError, match=r"more than one id: file:SPHER"):
        identified(published.layout, "SPHER.2015")


def test_pages_of_every_kind(published: Published) -> None:
    new, failed = published.new, published.failed
    page = show(published.layout, f"prod:{new.centered.process_id[:12]}")
    assert all(one.file_id in page for one in (making.FRAMES[0], making.FRAMES[3]))
    assert "irdis_sky" in page
    assert "AP-IRD-007" in show(published.layout, failed.sky.process_id)
    assert "waits for" in show(published.layout, failed.cube.process_id)
    assert "clip" in show(published.layout, new.sky.process_id)
    assert "irdis_centered_cube" in show(published.layout, f"obs:{making.OBS[:12]}")
    assert "no FLUX frames" in show(published.layout, making.OBS)
    assert "IRD_DARK_RAW" in show(published.layout, f"group:{making.DARKS[:12]}")
    assert "irdis_dark" in show(published.layout, making.FRAMES[0].file_id)
    assert "AP-IRD-007" in show(published.layout, "run:r3")
    assert "hd29391" in show(published.layout, f"target:{making.STAR}")
    plan = making.plan_of(published.old.all).plan_id
    assert "irdis_science" in show(published.layout, f"plan:{plan[:12]}")
