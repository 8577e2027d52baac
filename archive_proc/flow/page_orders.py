"""Which pages there are to draw, from the catalog: subjects with products, QC figures, and why something is missing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archive_proc.catalog.query import query
from archive_proc.errors import ArchiveProcError
from archive_proc.instruments.irdis import IrdisFilter
from archive_proc.instruments.tables import Tables, load_tables
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import FileId
from archive_proc.model.processes import Plan
from archive_proc.quality.orders import PageOrder, PlaneVerdict, QcRow, RawPlane, SourceProduct
from archive_proc.storage.fits import RawReader
from archive_proc.storage.layout import Layout
from archive_proc.version import __version__

# Any: rows of the catalog, whose columns `schema` documents.
Row = dict[str, Any]

_WORDS = {"dit_ms": lambda value: f"DIT {int(value) / 1000:g} s", "nd_filter": lambda value: f"ND {value}"}
"""How some columns of a setup are said; the value of any other speaks for itself."""


@dataclass(frozen=True, slots=True)
class PageSources:
    """What orders are made from besides the catalog."""

    layout: Layout
    frames: Mapping[FileId, RawFrame]
    raw_roots: Mapping[str, Path]


def page_orders(sources: PageSources, plan: Plan) -> tuple[PageOrder, ...]:
    """Pages of a plan's observations and masters, and of whatever else was made in the same nights.

    Whole nights, because their pages share scales.
    """
    tables = load_tables()
    missing = _missing(sources.layout, plan)
    subjects = {
        (one.process.subject.kind, one.process.subject.subject_id, one.process.preset) for one in plan.processes
    }
    subjects |= {(one.subject.kind, one.subject.subject_id, plan.preset) for one in plan.not_planned}
    nights = {one.process.night for one in plan.processes}
    products = _products(sources.layout, {one[1] for one in subjects}, nights)
    subjects |= {(row["subject_kind"], row["subject_id"], row["preset"]) for row in products}
    by_subject: dict[tuple[str, str], list[Row]] = {}
    for row in products:
        by_subject.setdefault((row["subject_id"], row["preset"]), []).append(row)
    unmade = [str(one) for planned in plan.processes for one in planned.process.product_ids]
    qc = _qc(sources.layout, [row["product_id"] for row in products], unmade)
    observations = _by_id(
        sources.layout, "observations", "obs_id", (one[1] for one in subjects if one[0] == "observation")
    )
    groups = _by_id(sources.layout, "groups", "group_id", (one[1] for one in subjects if one[0] == "group"))
    frames = _by_id(sources.layout, "files", "file_id", (one[1] for one in subjects if one[0] == "frame"))
    files = _files(sources.layout, observations)
    planes = _planes(sources.layout, {row["product_id"].partition(".")[0] for row in products})
    orders = []
    for kind, subject, preset in sorted(subjects):
        rows = by_subject.get((subject, preset), [])
        known = _Known(rows, missing.get((subject, preset), {}), qc, preset, planes.get(subject, []))
        if kind == "observation" and subject in observations:
            orders.append(_observation(sources, tables, observations[subject], files.get(subject, []), known))
        elif kind == "group" and subject in groups and (rows or known.missing):
            orders.append(_group(sources.layout, tables, groups[subject], known))
        elif kind == "frame" and subject in frames and (rows or known.missing):
            orders.append(_frame(sources.layout, tables, frames[subject], known))
    starts = {key: float(row["mjd_start"] or 0.0) for key, row in (*observations.items(), *groups.items())}
    starts |= {key: float(row["mjd_obs"] or 0.0) for key, row in frames.items()}
    return tuple(
        sorted(
            orders,
            key=lambda one: (one.night, not one.is_observation, starts[one.subject_id], one.subject_id),
        )
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """What the catalog says of one subject and preset."""

    products: Sequence[Row]
    missing: Mapping[str, tuple[str, str]]
    """Product type -> (product id planned, why it may not be there)."""
    qc: Mapping[str, Sequence[QcRow]]
    preset: str
    planes: Sequence[Row] = ()
    """Planes judged, with their worst verdict."""

    def sources(self, layout: Layout) -> dict[str, SourceProduct]:
        """Products by type."""
        return {
            row["product_type"]: SourceProduct(
                row["product_id"], row["product_type"], row["recipe"], row["recipe_version"],
                layout.root / row["store_path"],
            )
            for row in self.products
        }  # fmt: skip

    def why(self) -> dict[str, str]:
        """Why those that were planned are not there."""
        made = {row["product_type"] for row in self.products}
        return {kind: words for kind, (_, words) in self.missing.items() if kind not in made}

    @property
    def figures(self) -> tuple[QcRow, ...]:
        """QC rows of its products, and of those that refused themselves in the making."""
        made = {row["product_type"] for row in self.products}
        ids = [row["product_id"] for row in self.products]
        ids += [one for kind, (one, _) in self.missing.items() if one and kind not in made]
        return tuple(row for one in sorted(ids) for row in self.qc.get(one, ()))


def _observation(sources: PageSources, tables: Tables, row: Row, files: Sequence[Row], known: _Known) -> PageOrder:
    optics = tables.irdis.filters.get(row["inst_filter"] or "")
    mask = tables.irdis.coronagraph(row["coro"])
    raw, raw_missing = _raw(sources, files)
    missing = known.why()
    if not row["reduced"]:
        missing = {"none": f"mode {row['mode']} is recognised and not reduced yet"}
    facts = (
        ("programme", row["prog_id"] or ""),
        ("planes", str(row["n_sci_frames"] or 0)),
        ("CENTER/FLUX/SKY files", f"{row['n_center']}/{row['n_flux']}/{row['n_sky']}"),
        ("rotation", "" if row["rotation_deg"] is None else f"{row['rotation_deg']:.1f} deg"),
        ("seeing", "" if row["seeing"] is None else f"{row['seeing']:.2f} arcsec"),
        ("coherence time", "" if row["tau0_s"] is None else f"{1000 * row['tau0_s']:.1f} ms"),
        ("mask", "" if mask is None or mask.mask_diameter_mas is None else f"{mask.mask_diameter_mas:g} mas"),
    )
    return PageOrder(
        subject_kind="observation",
        subject_id=row["obs_id"],
        preset=known.preset,
        night=row["night"].isoformat(),
        arm=row["arm"],
        name=row["object_raw"] or "(no OBJECT in the header)",
        setup=_setup(
            [row["inst_filter"], row["coro"], None if row["dit_s"] is None else f"DIT {row['dit_s']:g} s",
             None if row["rot_mode"] is None else f"{row['rot_mode'].lower()} tracking", row["mode"].replace("_", " ")]
        ),
        facts=facts,
        products=known.sources(sources.layout),
        missing=missing,
        qc=known.figures,
        planes_beyond=tuple(
            PlaneVerdict(one["file_id"], one["plane"], one["verdict"], one["beyond"] or "")
            for one in known.planes
            if one["verdict"]
        ),
        planes_judged=len(known.planes),
        raw=raw,
        raw_missing=raw_missing,
        bands=_bands(row, optics),
        mask_diameter_mas=None if mask is None else mask.mask_diameter_mas,
        dithers={one["file_id"]: (one["dith_x"] or 0.0, one["dith_y"] or 0.0) for one in files},
        package_version=__version__,
    )  # fmt: skip


def _bands(row: Row, optics: IrdisFilter | None) -> tuple[str, ...]:
    """Bands of an IRDIS filter; the mode of an IFS observation, whose channels wavelengths name."""
    if row["arm"] == Arm.IFS:
        return (row["inst_filter"],) if row["inst_filter"] else ()
    return () if optics is None else tuple(optics.bands)


def _raw(sources: PageSources, files: Sequence[Row]) -> tuple[RawPlane | None, str]:
    """The first science file's first plane, or why there is none."""
    science = [one for one in files if one["science"]]
    if not science:
        return None, "the observation has no science file"
    frame = sources.frames.get(FileId(science[0]["file_id"]))
    if frame is None:
        return None, f"no manifest has {science[0]['file_id']} any more"
    try:
        return RawPlane(frame, RawReader(sources.raw_roots).path(frame), 0), ""
    except ArchiveProcError as problem:
        return None, problem.line


def _group(layout: Layout, tables: Tables, row: Row, known: _Known) -> PageOrder:
    keys = json.loads(row["keys"] or "{}")
    optics = tables.irdis.filters.get(str(keys.get("inst_filter", "")))
    bands = () if optics is None else tuple(optics.bands)
    ifs = row["arm"] == Arm.IFS
    if ifs:
        # Masters of one prism share scales; the IRDIS filter in the header of an IFS file means nothing.
        mode = tables.ifs.mode_of(keys.get("ifs_comb")) or keys.get("ifs_mode")
        bands = () if mode is None else (str(mode),)
    words = [_WORDS[name](value) if name in _WORDS else str(value) for name, value in keys.items() if value is not None]
    files = row["n_files"] or 0
    return PageOrder(
        subject_kind="group",
        subject_id=row["group_id"],
        preset=known.preset,
        night=row["night"].isoformat(),
        arm=row["arm"],
        name=row["frame_type"],
        setup=_setup(words),
        facts=(("raw files", str(files)), ("access", row["access"] or "")),
        products=known.sources(layout),
        missing=known.why(),
        qc=known.figures,
        bands=bands,
        outputs=(tables.ifs if ifs else tables.irdis).detector.outputs,
        package_version=__version__,
    )


def _frame(layout: Layout, tables: Tables, row: Row, known: _Known) -> PageOrder:
    """A raw frame that was reduced by itself."""
    mode = tables.ifs.mode_of(row["ifs_comb"], row["prism"])
    name = row["frame_type"] or row["dpr_type"] or "raw frame"
    dit = None if row["dit_s"] is None else f"DIT {row['dit_s']:g} s"
    return PageOrder(
        subject_kind="frame",
        subject_id=row["file_id"],
        preset=known.preset,
        night=row["night"].isoformat(),
        arm=row["arm"],
        name=name,
        setup=_setup([row["object_raw"], row["ifs_comb"], row["nd_filter"], row["coro_ir"], dit]),
        facts=(
            ("programme", row["prog_id"] or ""),
            ("planes", str(row["naxis3"] or 1)),
            ("access", row["access"] or ""),
        ),
        products=known.sources(layout),
        missing=known.why(),
        qc=known.figures,
        # A star without mask must not set the scales of science, nor a laser those of a lamp.
        bands=(name,) if mode is None else (mode, name),
        package_version=__version__,
    )


def _setup(words: Iterable[str | None]) -> str:
    return ", ".join(one for one in words if one)


def _missing(layout: Layout, plan: Plan) -> dict[tuple[str, str], dict[str, tuple[str, str]]]:
    """(subject, preset) -> product type -> (product id, why it may be missing), for everything planned or asked for."""
    rows = query(
        layout,
        "SELECT process_id, recipe, state, code, message FROM processes WHERE process_id IN (SELECT unnest($ids))",
        {"ids": [one.process.process_id for one in plan.processes]},
    ).to_pylist()
    words = {row["process_id"]: row for row in rows}
    found: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}
    for planned in plan.processes:
        process = planned.process
        row = words.get(process.process_id)
        words_of = f"{process.recipe} " + ("was not run" if row is None else _state_words(row, words))
        slot = found.setdefault((process.subject.subject_id, process.preset), {})
        for product, kind in zip(process.product_ids, process.product_types, strict=True):
            slot[kind] = (product, words_of)
    for one in plan.not_planned:
        slot = found.setdefault((one.subject.subject_id, plan.preset), {})
        slot[one.product_type] = ("", f"not planned: {one.code} {one.message} ({one.remedy})")
    return found


def _state_words(row: Row, others: Mapping[str, Row]) -> str:
    """State and account; of a blocked process, what failed at the root."""
    said = " ".join(one for one in (row["code"], row["message"]) if one)
    if row["state"] == "blocked":
        roots = [one for pid, one in others.items() if one["state"] == "failed" and f"proc:{pid[:12]}" in said]
        said += "".join(f": {one['recipe']} failed, {one['code']} {one['message']}" for one in roots)
    return f"{row['state']}: {said}" if said else f"is {row['state']}"


def _products(layout: Layout, subjects: Iterable[str], nights: Iterable[str]) -> list[Row]:
    """Current products of these subjects, or of these nights."""
    found: list[Row] = query(
        layout,
        "SELECT p.product_id, p.product_type, p.subject_kind, p.subject_id, p.preset, p.store_path, q.recipe, "
        "q.recipe_version FROM products p JOIN processes q USING (process_id) WHERE p.is_current AND p.state = 'ok' "
        "AND p.subject_kind IN ('observation', 'group', 'frame') "
        "AND (p.subject_id IN (SELECT unnest($subjects)) OR p.night IN (SELECT unnest($nights)::DATE)) "
        "ORDER BY p.subject_id, p.preset, p.product_type",
        {"subjects": sorted(subjects) or [""], "nights": sorted(nights) or ["1900-01-01"]},
    ).to_pylist()  # fmt: skip
    return found


def _qc(layout: Layout, made: Sequence[str], planned: Sequence[str]) -> dict[str, list[QcRow]]:
    """QC rows by product id."""
    rows = query(
        layout,
        "SELECT product_id, metric, value, unit, verdict, threshold, side FROM qc "
        "WHERE product_id IN (SELECT unnest($ids)) ORDER BY product_id, metric",
        {"ids": sorted({*made, *planned}) or [""]},
    ).to_pylist()
    found: dict[str, list[QcRow]] = {}
    for row in rows:
        product_type = row["product_id"].partition(".")[2]
        found.setdefault(row["product_id"], []).append(
            QcRow(
                product_type, row["metric"], row["value"], row["unit"] or "", row["verdict"] or "", row["threshold"],
                row["side"],
            )
        )  # fmt: skip
    return found


def _planes(layout: Layout, processes: Iterable[str]) -> dict[str, list[Row]]:
    """Planes of each observation with their worst verdict, as its current processes judged them."""
    rows = query(
        layout,
        "SELECT subject_id, file_id, plane, CASE WHEN bool_or(verdict = 'refuse') THEN 'refuse' "
        "WHEN bool_or(verdict = 'warn') THEN 'warn' ELSE '' END AS verdict, "
        "string_agg(DISTINCT beyond, ' ' ORDER BY beyond) AS beyond FROM plane_qc "
        "WHERE process_id IN (SELECT unnest($ids)) GROUP BY ALL ORDER BY subject_id, file_id, plane",
        {"ids": sorted(processes) or [""]},
    ).to_pylist()
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["subject_id"], []).append(row)
    return found


def _by_id(layout: Layout, table: str, key: str, ids: Iterable[str]) -> dict[str, Row]:
    sql = f"SELECT * FROM {table} WHERE {key} IN (SELECT unnest($ids))"
    return {row[key]: row for row in query(layout, sql, {"ids": sorted(ids) or [""]}).to_pylist()}


def _files(layout: Layout, observations: Iterable[str]) -> dict[str, list[Row]]:
    """Files of each observation in order of time."""
    rows = query(
        layout,
        "SELECT o.obs_id, o.file_id, o.science, f.dith_x, f.dith_y "
        "FROM observation_files o JOIN files f USING (file_id) "
        "WHERE o.obs_id IN (SELECT unnest($ids)) ORDER BY o.obs_id, o.seq",
        {"ids": sorted(observations) or [""]},
    ).to_pylist()
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["obs_id"], []).append(row)
    return found
