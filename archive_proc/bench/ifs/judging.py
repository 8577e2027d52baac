"""What came of a bad night: right spectra, a refusal by name, or what must not be: a traceback, a silent wrong cube."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archive_proc.archive import Archive as Opened
from archive_proc.bench.ifs.compared import Compared, as_shown, compare
from archive_proc.bench.ifs.defects import SIGMAS, WRONG
from archive_proc.bench.ifs.known import Known, Scene
from archive_proc.bench.ifs.products import (
    SPECTRA,
    Archive,
    Variables,
    file_of,
    find_lamp,
    read_archive,
    to_spectra,
)
from archive_proc.bench.ifs.raw_set import RawSet
from archive_proc.bench.ifs.spectra import Lamp
from archive_proc.catalog.query import query
from archive_proc.flow.judging import qc_rows
from archive_proc.instruments.tables import load_tables
from archive_proc.model.events import ProcessFailed
from archive_proc.model.ids import ProductId, split_product_id
from archive_proc.model.processes import Cause
from archive_proc.model.records import ProcessRecord
from archive_proc.storage.journal import read_journal
from archive_proc.storage.layout import Layout
from archive_proc.storage.snapshots import find_current

PLACED_PX = 1.0
"""A lenslet's spectrum is where the product says when it is this near: labels that slip are 15 px off."""
PLACED_SHARE = 0.99
REFERENCE_UM = 1.1
"""Of `detector_x`, `detector_y`."""
WRONG_SHARE = 0.02
"""More unflagged elements than this that are catastrophically wrong make a cube wrong."""
UNEXCUSED = 0.25
"""An element this far off the truth as it is, is wrong whatever resolution its product states."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one night."""

    acceptable: bool
    words: str
    """right; refused, with the names; wrong but named, with the names; WRONG; TRACEBACK."""
    names: frozenset[str] = frozenset()
    """Codes of failures, remarks and issues, and figures beyond a limit."""
    right: bool = False
    """Spectra were made, and they are the truth's."""


def as_expected(verdict: Verdict, says: Sequence[str], ordinary: frozenset[str]) -> Verdict:
    """The verdict if each of these codes is among what was said beyond the ordinary, else one that is not acceptable.

    A night that is refused for another reason than its own has not been understood. Without any code to be said, it
    must come out right.
    """
    if not says and not verdict.right:
        return replace(verdict, acceptable=False, words=f"NOT RIGHT: {verdict.words}")
    said = {one.split()[0] for one in verdict.names - ordinary}
    unsaid = ", ".join(one for one in says if one not in said)
    if not unsaid:
        return verdict
    return replace(verdict, acceptable=False, words=f"{verdict.words}; NOT SAID: {unsaid}")


@dataclass(frozen=True, slots=True)
class Events:
    """Of the runs of an archive: a round that plans again, because a calibration was refused, is one of its own."""

    failures: tuple[ProcessFailed, ...]
    made: frozenset[str]
    """Processes whose products are current after it, made before or not."""


def all_runs(archive: Path) -> Events:
    """From their journals and the catalog."""
    layout = Layout(archive)
    # Where everything was rejected at the door, nothing ever ran.
    found = layout.runs.iterdir() if layout.runs.is_dir() else ()
    runs = sorted(found, key=lambda one: one.stat().st_mtime)
    events = [event for run in runs for event in read_journal(run / "journal.jsonl").events]
    failures = tuple(one for one in events if isinstance(one, ProcessFailed) and one.final)
    if find_current(layout) is None:
        return Events(failures, frozenset())
    made = query(layout, "SELECT process_id FROM processes WHERE is_current").column("process_id").to_pylist()
    return Events(failures, frozenset(made))


def judge(
    known: Known, raw: RawSet, archive: Path, ordinary: frozenset[str] = frozenset(), lamp: Lamp | None = None
) -> Verdict:
    """Of the evenly lit scene in an archive that was made for it.

    `ordinary`: what the good night is remarked for too, which names nothing. `lamp`: the good night's, which alone
    says what scale truth and product have in common; None: the archive's own.
    """
    events = all_runs(archive)
    broken = [one for one in events.failures if one.cause is Cause.CODE]
    if broken:
        return Verdict(False, f"TRACEBACK in {broken[0].recipe}: {broken[0].message[:60]}")
    sealed = read_archive(archive)
    own = Archive(
        tuple(one for one in sealed.records if one.process_id in events.made),
        tuple(one for one in sealed.products if one.record.process_id in events.made),
    )
    refused = sorted({one.code for one in events.failures})
    scene = known.scene("uniform")
    assert scene is not None
    spectra = [one for one in own.of_type(SPECTRA) if len(file_of(one.open(), scene))]
    names = _named(archive, own, refused)
    named = sorted(names - ordinary)
    said = ", ".join(named)
    if not spectra:
        how = "not compared" if own.of_type(SPECTRA) else "refused"
        return Verdict(bool(named), f"{how}: {said}" if named else "NOTHING MADE, NOTHING SAID", names)
    dataset = spectra[-1].open()
    if not placed(known, scene, dataset):
        return Verdict(False, f"WRONG LABELS; {said}", names)
    scale = lamp or find_lamp(own, raw, known)
    wrong = wrong_share(known, scene, scale, dataset)
    sharp = wrong_share(known, scene, scale, dataset, as_it_is=True)
    beside = "" if sharp is None else f" ({100 * sharp:.1f} % beside the truth as it is)"
    if wrong is not None and wrong <= WRONG_SHARE:
        return Verdict(True, f"right{beside}" + (f"; {said}" if named else ""), names, right=True)
    share = "scale unknown" if wrong is None else f"{100 * wrong:.0f} % of elements wrong{beside}"
    # Who takes a wrong cube reads what is said of it and of what it is made from, not of the night's other products.
    if _said_of(lineage(own.records, spectra[-1].record)) - ordinary:
        return Verdict(True, f"{share}; {said}", names)
    return Verdict(
        False, f"WRONG: {share}, and nothing that it is made from says so" + f"; {said}" * bool(named), names
    )


def lineage(records: Sequence[ProcessRecord], last: ProcessRecord) -> tuple[ProcessRecord, ...]:
    """A process and those that its inputs come from, all the way up."""
    by_id = {one.process_id: one for one in records}
    found: dict[str, ProcessRecord] = {}
    asked = [last]
    while asked:
        one = asked.pop()
        if one.process_id in found:
            continue
        found[one.process_id] = one
        inputs = [each for each in one.process.inputs if each.kind == "product"]
        above = [split_product_id(ProductId(each.input_id))[0] for each in inputs]
        asked += [by_id[process_id] for process_id in above if process_id in by_id]
    return tuple(found.values())


def _said_of(records: Sequence[ProcessRecord]) -> frozenset[str]:
    """Codes of remarks, and figures beyond their limits with their codes."""
    names: set[str] = set()
    limits = load_tables().qc
    for record in records:
        names |= {one.code for one in record.remarks}
        beyond = qc_rows(record.process, record.qc, limits)[1]
        names |= {f"{one.row.code} {one.row.metric} {one.verdict}s" for one in beyond}
    return frozenset(names)


def _named(archive: Path, own: Archive, refused: Sequence[str]) -> frozenset[str]:
    """Codes of failures, of remarks, of issues that warn or block, and figures beyond their limits with their codes."""
    names = {*refused, *_said_of(own.records)}
    opened = Opened.open(archive)
    names |= {one.code for one in opened.campaign.understanding.issues if one.severity != "note"}
    return frozenset(names)


def placed(known: Known, scene: Scene, arrays: Variables) -> bool:
    """Whether nearly all lenslets lie where truth has the lenslet of these indices at the reference wavelength."""
    place = {(int(q), int(r)): i for i, (q, r) in enumerate(zip(known.q, known.r, strict=True))}
    pairs = zip(np.asarray(arrays["hex_q"]), np.asarray(arrays["hex_r"]), strict=True)
    rows = np.array([place.get((int(q), int(r)), -1) for q, r in pairs])
    if not rows.size:
        return False
    x, y = known.positions(np.array([1e3 * REFERENCE_UM]), scene.pose.mean(axis=0))
    far = np.hypot(np.asarray(arrays["detector_x"]) - x[rows, 0], np.asarray(arrays["detector_y"]) - y[rows, 0])
    return bool(np.mean((rows >= 0) & (far < PLACED_PX)) > PLACED_SHARE)


def wrong_share(
    known: Known, scene: Scene, lamp: Lamp | None, arrays: Variables, *, as_it_is: bool = False
) -> float | None:
    """Share of unflagged elements in usable planes that are catastrophically wrong; None without a lenslet flat.

    Structure finer than what a product resolves makes no cube wrong: elements are held against the truth through the
    resolution matrix that it states, which excuses no error of a quarter. A Gaussian of one width would not do: under a
    prior that knows the air, bands of the air come out sharper than any other structure. `as_it_is`: the matrix excuses
    nothing.
    """
    if lamp is None:
        return None
    spectra = to_spectra(known, scene, arrays)
    sharp = compare(known, scene, spectra, lamp)
    shown = None if as_it_is else as_shown(sharp, spectra)
    usable = np.asarray(arrays["usable"], bool)[file_of(arrays, scene)]
    kept = usable[:, None, None] & ~sharp.flagged & sharp.scored[None, :, None] & sharp.core[None, None, :]
    if not kept.any():
        return 0.0
    wrong = _off(sharp, WRONG) if shown is None else _off(shown, WRONG) | _off(sharp, UNEXCUSED)
    return float(np.mean(wrong[kept]))


def _off(one: Compared, share: float) -> NDArray[np.bool_]:
    """(n, l, k) further from the truth than this share of it and than the claimed error allows."""
    error = np.abs(one.found - one.truth)
    return np.asarray((error > share * one.truth) & (error > SIGMAS * one.sigma))
