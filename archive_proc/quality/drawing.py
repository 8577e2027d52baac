"""Pages of many subjects, night by night, in a few processes: measure, join the scales of the night, draw what changed.

A night is one piece of work, because its pages share scales: products that are new are measured, the limits of pages
that stand come from their stamps, and whatever is outdated, or was drawn with other scales, is drawn.
"""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from archive_proc.quality.orders import PageOrder
from archive_proc.quality.scales import Limits, Scale, night_scales
from archive_proc.quality.stamps import (
    Stamp,
    as_rows,
    drawing_code,
    limits_of,
    order_digest,
    pictures_stand,
    read_stamp,
)

Given = TypeVar("Given")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Drawn:
    """The pictures of one subject."""

    order: PageOrder
    directory: Path
    stamp: Stamp
    fresh: bool
    """Drawn by this call; False where they stood already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawOptions:
    """How to draw; nothing of it can change a picture."""

    root: Path
    """`quicklook/` of the archive."""
    workers: int = 1
    """Processes; 1 draws in this one."""
    everything: bool = False
    """Draw what is up to date too."""
    progress: Callable[[int, int], None] | None = None
    """Called with (subjects done, subjects in all)."""


def draw_all(orders: Sequence[PageOrder], options: DrawOptions) -> tuple[Drawn, ...]:
    """Pictures of all subjects, in the order given; only what is missing or outdated is drawn."""
    nights: dict[str, list[PageOrder]] = {}
    for one in orders:
        nights.setdefault(one.night, []).append(one)
    found: dict[tuple[str, str], Drawn] = {}
    options.root.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".drawing-", dir=options.root))
    done = 0
    try:
        with _executor(options.workers, len(orders)) as executor:
            for night in sorted(nights):
                for drawn in _draw_night(nights[night], options, executor, scratch):
                    found[drawn.order.subject_id, drawn.order.preset] = drawn
                    done += 1
                    if options.progress is not None:
                        options.progress(done, len(orders))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return tuple(found[one.subject_id, one.preset] for one in orders)


def _draw_night(
    orders: list[PageOrder], options: DrawOptions, executor: Executor | None, scratch: Path
) -> Iterator[Drawn]:
    known: list[Stamp | None] = [_standing(one, options) for one in orders]
    limits: list[dict[str, Limits]] = [{} if one is None else limits_of(one) for one in known]
    cost = [0.0] * len(orders)
    kept = [scratch / f"{number}.npz" for number in range(len(orders))]
    new = [number for number, one in enumerate(known) if one is None]
    for number, answer in zip(new, _each(executor, _measure, [(orders[n], kept[n]) for n in new]), strict=True):
        limits[number], cost[number] = answer
    scales = night_scales(limits)
    outdated = [number for number in range(len(orders)) if _outdated(known[number], limits[number], scales)]
    again = [number for number in outdated if number not in new]
    for number, answer in zip(again, _each(executor, _measure, [(orders[n], kept[n]) for n in again]), strict=True):
        cost[number] = answer[1]
    given = [(orders[n], kept[n], limits[n], scales, directory_of(options.root, orders[n]), cost[n]) for n in outdated]
    for number, stamp in zip(outdated, _each(executor, _draw, given), strict=True):
        kept[number].unlink(missing_ok=True)
        yield Drawn(orders[number], directory_of(options.root, orders[number]), stamp, True)
    for number, one in enumerate(known):
        if number not in outdated and one is not None:
            yield Drawn(orders[number], directory_of(options.root, orders[number]), one, False)


def directory_of(root: Path, order: PageOrder) -> Path:
    """Where a subject's pictures lie."""
    return root / order.subject_id


def _standing(order: PageOrder, options: DrawOptions) -> Stamp | None:
    """The stamp of pictures that show what the order says, None where they must be made."""
    directory = directory_of(options.root, order)
    stamp = None if options.everything else read_stamp(directory, order.preset)
    if stamp is None or stamp.code != drawing_code() or stamp.made_from != order_digest(order):
        return None
    return stamp if pictures_stand(directory, stamp) else None


def _outdated(stamp: Stamp | None, limits: dict[str, Limits], scales: dict[str, Scale]) -> bool:
    if stamp is None:
        return True
    return stamp.scales != as_rows({key: scales[key] for key in limits})


def _measure(given: tuple[PageOrder, Path]) -> tuple[dict[str, Limits], float]:
    # Imported where it is used: a report without anything to draw needs no matplotlib.
    from archive_proc.quality.pages import measure

    return measure(*given)


def _draw(given: tuple[PageOrder, Path, dict[str, Limits], dict[str, Scale], Path, float]) -> Stamp:
    from archive_proc.quality.pages import draw

    return draw(*given)


def _each(executor: Executor | None, task: Callable[[Given], Answer], given: Sequence[Given]) -> Iterable[Answer]:
    if executor is None:
        return map(task, given)
    return executor.map(task, given)


@contextmanager
def _executor(workers: int, tasks: int) -> Iterator[Executor | None]:
    """Processes of their own, started clean: a fork would copy the threads' locks of whoever calls."""
    if workers <= 1 or tasks <= 1:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, tasks), mp_context=context) as executor:
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
