"""Every page of one subject: measured, drawn, put in its place. One call is one task of a drawing process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from archive_proc.quality import observation_kinds
from archive_proc.quality.canvas import save
from archive_proc.quality.file_names import master_file, observation_file, thumbnail_file
from archive_proc.quality.master import measure_master
from archive_proc.quality.master_kinds import kind_of
from archive_proc.quality.master_page import draw_master
from archive_proc.quality.master_sheet import scale_key
from archive_proc.quality.measured import Measured, read_measured
from archive_proc.quality.orders import PageOrder
from archive_proc.quality.scales import Limits, Scale
from archive_proc.quality.stamps import Stamp, as_rows, drawing_code, order_digest, write_stamp
from archive_proc.quality.thumbnail import thumbnail
from archive_proc.storage.products import limit_threads
from archive_proc.storage.resident_memory import peak_bytes


def measure(order: PageOrder, kept: Path) -> tuple[dict[str, Limits], float]:
    """Read and reduce one subject's products into the file `kept`; what they span, and the CPU seconds it took."""
    began = time.process_time()
    limit_threads()
    found = observation_kinds.kind_of(order).measure(order) if order.is_observation else measure_master(order)
    found.write(kept)
    return found.limits, time.process_time() - began


def draw(
    order: PageOrder,
    kept: Path,
    limits: Mapping[str, Limits],
    scales: Mapping[str, Scale],
    directory: Path,
    measured_s: float,
) -> Stamp:
    """Draw a subject's pages from what was kept, and stamp them."""
    began = time.process_time()
    found = read_measured(kept, limits)
    used = {key: scale for key, scale in scales.items() if key in limits}
    pages = _observation(order, found, used) if order.is_observation else _masters(order, found, used)
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in pages.items():
        save(directory / name, content)
    stamp = Stamp(
        made_from=order_digest(order),
        code=drawing_code(),
        limits=as_rows(limits),
        scales=as_rows(used),
        pages={name: len(content) for name, content in pages.items()},
        cpu_s=round(measured_s + time.process_time() - began, 3),
        peak_memory_mb=round(peak_bytes() / 1e6, 1),
    )
    write_stamp(directory, order.preset, stamp)
    return stamp


def _observation(order: PageOrder, found: Measured, scales: Mapping[str, Scale]) -> dict[str, bytes]:
    name = observation_file(order.preset)
    shown = observation_kinds.kind_of(order)
    pages = {name: shown.draw(order, found, scales)}
    for kind, key in shown.pictures:
        scale = next((one for name_, one in scales.items() if name_.startswith(f"{key}|")), None)
        small = thumbnail(found, scale, kind)
        if small is not None:
            pages[thumbnail_file(name)] = small
            break
    return pages


def _masters(order: PageOrder, found: Measured, scales: Mapping[str, Scale]) -> dict[str, bytes]:
    pages = {}
    for product_type in sorted({*order.products, *order.missing}):
        name = master_file(product_type, order.preset)
        pages[name] = draw_master(order, found, scales, product_type)
        for image, scaled in kind_of(product_type).pictures:
            scale = scales.get(scale_key(product_type, scaled, found.facts["band"]))
            small = thumbnail(found, scale, f"{product_type}|{image}")
            if small is not None:
                pages[thumbnail_file(name)] = small
                break
    return pages
