"""The last plan that was made, kept with all that it was made from: asked again, it is read instead of made.

A plan is a function of what lies in the archive (DESIGN 3.1). Where nothing that enters it has changed, its text is the
answer. The file is a hint: it may be deleted at any time, and a text that does not read is made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from archive_proc.errors import ArchiveProcError
from archive_proc.flow.sources import source_state
from archive_proc.model.ids import FileId, ObsId, sha256_hex
from archive_proc.model.processes import Plan
from archive_proc.planning.text import plan_from_json, plan_to_json
from archive_proc.storage.atomic import write_bytes
from archive_proc.storage.layout import Layout
from archive_proc.storage.seal import sealed_processes
from archive_proc.storage.snapshots import find_current

_READ = ("processes", "process_inputs", "products", "parameter_sets", "recipes", "qc")
"""Catalog tables that `catalog.standing` reads."""


def asked(
    layout: Layout,
    preset: str,
    selection: str,
    obs_ids: Sequence[ObsId],
    file_ids: Sequence[FileId],
    product_types: Sequence[str],
) -> str:
    """What a plan is made from, as one text: the archive as understood, what stands in it, and what is asked for."""
    snapshot = find_current(layout)
    tables = snapshot.manifest.tables if snapshot else {}
    parts = [[name, sorted(part.sha256 for part in tables[name].parts.values())] for name in _READ if name in tables]
    wanted = [preset, selection, sorted(obs_ids), sorted(file_ids), list(product_types)]
    return sha256_hex([source_state(layout), sorted(sealed_processes(layout)), parts, wanted])


def planned(layout: Layout, key: str, make: Callable[[], Plan]) -> Plan:
    """The plan of this key: as it was kept, else made and kept."""
    try:
        head, _, text = layout.planned.read_bytes().partition(b"\n")
        if head.decode() == key:
            return plan_from_json(text, "catalog/planned.txt")
    except (OSError, UnicodeDecodeError, ArchiveProcError):
        pass  # it was never kept, or is no plan: made below
    plan = make()
    # Who may only read the archive plans anew each time.
    with suppress(OSError):
        write_bytes(layout.planned, key.encode() + b"\n" + plan_to_json(plan))
    return plan
