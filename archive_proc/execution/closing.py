"""The end of a process: whole arrays, record, seal, one rename."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from archive_proc.errors import DataFailure
from archive_proc.execution.cookbooks import Cookbook
from archive_proc.execution.environment import code_fingerprint, environment
from archive_proc.execution.inputs import Prepared
from archive_proc.execution.liveness import this_writer
from archive_proc.execution.meters import Gauge, Sayings, utc_now
from archive_proc.execution.planes import compare_digests, file_digests
from archive_proc.execution.receipts import FileStamp, Meters, PlaneDigest, Receipt
from archive_proc.execution.spec import AttemptDir, AttemptSpec
from archive_proc.model.ids import product_id, sha256_hex
from archive_proc.model.phases import Phase, PhaseClock
from archive_proc.model.processes import Process, ProductRecord
from archive_proc.model.records import ProcessRecord, SealedObject
from archive_proc.recipes.recipe import Arrays, ProductContent, RecipeInputs, RecipeResult
from archive_proc.storage.forms import ArrayPlan
from archive_proc.storage.layout import Layout
from archive_proc.storage.numbers import finite
from archive_proc.storage.objects import BlockDigest, hashed
from archive_proc.storage.plane_figures import FIGURES_NAME, write_figures
from archive_proc.storage.products import (
    STORE_NAME,
    Closed,
    ProductFormError,
    finish_product,
    write_arrays,
)
from archive_proc.storage.records import RECORD_NAME, write_record
from archive_proc.storage.seal import commit, drop_leftovers, make_seal, object_names, remove_tree, verify
from archive_proc.storage.values import combined_digest, of_form
from archive_proc.version import __version__

LOG_NAME = "log.txt"
SCHEMA_VERSION = 1
"""Of the products' form."""


@dataclass(slots=True)
class Gathered:
    """What the tasks of a process have done so far."""

    objects: dict[str, SealedObject] = field(default_factory=dict)
    block_digests: list[BlockDigest] = field(default_factory=list)
    plane_digests: list[PlaneDigest] = field(default_factory=list)
    file_stamps: list[FileStamp] = field(default_factory=list)
    meters: Meters = field(default_factory=Meters)
    warnings: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    planes_used: tuple[int, ...] = ()

    def add(self, receipt: Receipt) -> None:
        """Count in a finished task."""
        self.objects.update({one.name: one for one in receipt.objects})
        self.block_digests.extend(receipt.block_digests)
        self.plane_digests.extend(receipt.plane_digests)
        self.meters = self.meters.plus(receipt.meters)
        self.warnings.extend(receipt.warnings)
        self.log.extend(receipt.log)


@dataclass(frozen=True, slots=True)
class Closing:
    """What closing needs besides the last `shared`."""

    spec: AttemptSpec
    layout: Layout
    directory: AttemptDir
    cookbook: Cookbook
    prepared: Prepared
    block_plans: Mapping[str, tuple[ArrayPlan, ...]]
    """product type -> arrays written by blocks."""
    verify_full: bool
    clock: PhaseClock


def close_process(closing: Closing, shared: Arrays, gathered: Gathered, gauge: Gauge, said: Sayings) -> dict[str, str]:
    """Close, seal and commit; file_id -> pixel digest of the raw files read whole.

    Harmless to repeat: what an interrupted closing wrote is written over. The first rename wins.
    """
    spec, prepared = closing.spec, closing.prepared
    digests = file_digests(prepared.inputs.frames, gathered.plane_digests)
    compare_digests(digests, spec.pixel_digests)
    with closing.clock(Phase.CLOSE):
        result = prepared.recipe.close(prepared.inputs, shared)
    _expect_types(spec.process, result)
    with closing.clock(Phase.WRITE):
        closed = {
            product_type: _write_product(closing, product_type, content, gathered.block_digests)
            for product_type, content in result.products.items()
        }
    with closing.clock(Phase.SEAL):
        _seal(closing, result, gathered, gauge, said, closed, digests)
    return digests


def _seal(
    closing: Closing,
    result: RecipeResult,
    gathered: Gathered,
    gauge: Gauge,
    said: Sayings,
    closed: Mapping[str, Closed],
    digests: Mapping[str, str],
) -> None:
    """Record, seal and publish what is written; the first rename wins."""
    spec, out = closing.spec, closing.directory.out
    if result.planes:
        write_figures(out / FIGURES_NAME, result.planes)
    drop_leftovers(out)
    with closing.clock(Phase.DIGEST):
        known = gathered.objects | {shard.name: shard for one in closed.values() for shard in one.objects}
        written = {name: known.get(name) or hashed(out, name) for name in object_names(out)}
    written = {name: one for name, one in written.items() if name not in (RECORD_NAME, LOG_NAME)}
    products = tuple(
        _product_record(closing, product_type, written, one.digests) for product_type, one in sorted(closed.items())
    )
    _write_log(closing, gathered, said)
    record = _record(closing, result, gathered, gauge, said, products, digests, written)
    write_record(out / RECORD_NAME, record)
    seal = make_seal(
        out,
        spec.process.process_id,
        spec.attempt,
        written,
        (*_expected_objects(closing), RECORD_NAME, LOG_NAME),
        full=closing.verify_full,
    )
    destination = closing.layout.product_dir(spec.process.process_id)
    if not commit(out, destination, seal).won and verify(destination, spec.process.process_id):
        raise DataFailure(
            "AP-RUN-025",
            "was sealed by another writer and does not verify",
            subject=f"process {spec.process.process_id}",
            remedy="archive-proc verify, remove the damaged process, run again",
        )
    remove_tree(closing.directory.path)


def _expect_types(process: Process, result: RecipeResult) -> None:
    if set(result.products) != set(process.product_types):
        raise ProductFormError(
            "AP-STO-013",
            f"the recipe closed with {sorted(result.products)}, the plan says {sorted(process.product_types)}",
            subject=process.recipe,
            remedy="mend the recipe's `outputs` or its `close`",
        )


def _write_product(
    closing: Closing, product_type: str, content: ProductContent, digests: Sequence[BlockDigest]
) -> Closed:
    """Whole arrays and attributes of one product; digests of all its arrays, those of blocks too, for the record."""
    store = closing.directory.out / STORE_NAME
    plans = closing.block_plans.get(product_type, ())
    n_frames = plans[0].shape[0] if plans else None
    closed = write_arrays(
        store, product_type, closing.cookbook.form(product_type), content.arrays, n_frames, closing.clock
    )
    found = dict(closed.digests)
    for plan in plans:
        mine = {one.first: one.digest for one in digests if (one.product_type, one.array) == (product_type, plan.name)}
        found[plan.name] = combined_digest([mine[first] for first in sorted(mine)])
    attrs = {**jsonable(content.attrs), **base_attrs(closing, product_type)}
    finish_product(store, product_type, attrs)
    return Closed(closed.objects, {name: of_form(found[name]) for name in sorted(found)})


def jsonable(value: Any) -> Any:
    """Attributes as plain JSON: numpy scalars and arrays unwrapped, NaN as a word. Any: recipes give mixed trees."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(one) for one in value]
    if isinstance(value, np.ndarray):
        return finite(value.tolist())
    if isinstance(value, np.generic):
        return finite(value.item())
    return finite(value)


def root_attrs(process: Process) -> dict[str, Any]:
    """Attributes of `product.zarr` itself: what it is, when copied alone."""
    return {
        "process_id": process.process_id,
        "recipe": process.recipe,
        "recipe_version": process.recipe_version,
        "preset": process.preset,
        "parameters_sha256": sha256_hex(msgspec.to_builtins(dict(process.parameters))),
    }


def base_attrs(closing: Closing, product_type: str) -> dict[str, Any]:
    """Attributes that every product has (DESIGN 8). No clock and no host: equal processes give equal bytes."""
    process = closing.spec.process
    provenance = {
        "recipe": process.recipe,
        "recipe_version": process.recipe_version,
        "parameters": finite(msgspec.to_builtins(dict(process.parameters))),
        "tables_digest": process.tables_digest,
        "inputs": [[one.role, one.input_id, one.content] for one in process.inputs],
        "excluded_planes": [list(one) for one in process.excluded_planes],
        "package": __version__,
    }
    attrs: dict[str, Any] = {
        "product_type": product_type,
        "schema_version": SCHEMA_VERSION,
        **root_attrs(process),
        "product_id": product_id(process.process_id, product_type),
        "subject_kind": process.subject.kind,
        "subject_id": process.subject.subject_id,
        "arm": process.subject.arm.value,
        "night": process.night,
        "units": closing.cookbook.form(product_type).variables[0].units,
        "association_level": process.level,
        "fallbacks": list(process.fallbacks),
        "provenance": json.dumps(provenance, sort_keys=True),
    }
    main = closing.prepared.inputs.main
    if main is not None:
        # Made of a product: what is said of its raw frames stands there.
        return {**{name: main.attrs[name] for name in _OF_RAW if name in main.attrs}, **attrs}
    return {**_raw_attrs(closing.prepared.inputs), **attrs}


_OF_RAW = ("target", "setup", "access", "release_date")


def _raw_attrs(inputs: RecipeInputs) -> dict[str, str]:
    """Target, setup (that of the science frames where there are several), and who may see it from when."""
    frames = inputs.frames
    if not frames:
        return {}
    by_role = dict(zip(reversed(inputs.frame_roles), reversed(frames), strict=False))
    one = by_role.get("OBJECT") or by_role.get("CENTER") or frames[0]
    setup = {
        "inst_filter": one.inst_filter,
        "dit_s": one.dit_s,
        "coro_ir": one.coro_ir,
        "nd_filter": one.nd_filter,
        "rot_mode": one.rot_mode,
    }
    of_star = one.object_raw if inputs.subject.kind == "observation" else None
    releases = [frame.release_date for frame in frames if frame.release_date]
    return {
        "target": one.obs_targ_name or of_star or "",
        "setup": json.dumps(setup),
        "access": "private" if any(frame.access == "private" for frame in frames) else "public",
        "release_date": max(releases).isoformat() if releases else "",
    }


def _filter_of(inputs: RecipeInputs) -> str:
    """Filter of the main frames: what limits of quality figures may depend on."""
    if inputs.frames:
        return inputs.frames[0].inst_filter or ""
    return str(inputs.main.attrs.get("inst_filter", "")) if inputs.main is not None else ""


def _expected_objects(closing: Closing) -> list[str]:
    """Objects that must be there whoever wrote them: every shard of every array of blocks."""
    return [
        f"{STORE_NAME}/{product_type}/{name}"
        for product_type, plans in closing.block_plans.items()
        for plan in plans
        for name in plan.objects()
    ]


def _product_record(
    closing: Closing, product_type: str, written: Mapping[str, SealedObject], digests: Mapping[str, str]
) -> ProductRecord:
    prefix = f"{STORE_NAME}/{product_type}/"
    mine = [one for name, one in sorted(written.items()) if name.startswith(prefix)]
    shape, dtype = _main_array(closing, product_type)
    return ProductRecord(
        product_type=product_type,
        shape=shape,
        dtype=dtype,
        size_bytes=sum(one.size for one in mine),
        sha256=sha256_hex([[one.name, one.sha256] for one in mine]),
        array_digests=digests,
    )


def _main_array(closing: Closing, product_type: str) -> tuple[tuple[int, ...], str]:
    """Shape and dtype of the type's first variable, from its own metadata."""
    name = closing.cookbook.form(product_type).variables[0].name
    tree = json.loads((closing.directory.out / STORE_NAME / product_type / name / "zarr.json").read_bytes())
    return tuple(tree["shape"]), str(tree["data_type"])


def _write_log(closing: Closing, gathered: Gathered, said: Sayings) -> None:
    process = closing.spec.process
    head = f"{utc_now()} process {process.process_id} {process.recipe} {process.recipe_version} closes"
    lines = [*gathered.log, *said.log, *(f"WARNING {one}" for one in _unique(gathered, said)), head]
    (closing.directory.out / LOG_NAME).write_text("\n".join(lines) + "\n")


def _unique(gathered: Gathered, said: Sayings) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*gathered.warnings, *said.warnings)))


def _record(
    closing: Closing,
    result: RecipeResult,
    gathered: Gathered,
    gauge: Gauge,
    said: Sayings,
    products: tuple[ProductRecord, ...],
    digests: Mapping[str, str],
    written: Mapping[str, SealedObject],
) -> ProcessRecord:
    spec, writer = closing.spec, this_writer()
    meters = gathered.meters.plus(gauge.read())
    return ProcessRecord(
        process=spec.process,
        run_id=spec.run_id,
        plan_id=spec.plan_id,
        attempt=spec.attempt,
        asked_by=spec.asked_by,
        package_version=__version__,
        code_fingerprint=code_fingerprint(closing.cookbook.module.__file__),
        environment=environment(),
        host=writer.host,
        pid=writer.pid,
        started_at=meters.started_at,
        ended_at=utc_now(),
        cpu_s=meters.cpu_s,
        wall_s=meters.wall_s,
        peak_memory_bytes=meters.peak_memory_bytes,
        bytes_read=meters.bytes_read,
        bytes_written=sum(one.size for one in written.values()),
        planes=closing.prepared.n_planes,
        phases=meters.phases,
        planes_read=meters.planes_read,
        planes_used=gathered.planes_used,
        tasks=meters.tasks,
        pixel_digests=digests,
        remarks=result.remarks,
        python_warnings=_unique(gathered, said),
        qc=result.qc,
        inst_filter=_filter_of(closing.prepared.inputs),
        products=products,
    )
