"""A sealed process run again in memory, with other calibrations or parameters: nothing of the archive changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.archive import Archive
from archive_proc.execution.cache import ProductCache
from archive_proc.execution.cookbooks import DEFAULT_COOKBOOK, cookbook
from archive_proc.execution.inputs import Prepared, prepare
from archive_proc.execution.liveness import this_writer
from archive_proc.execution.spec import AttemptSpec
from archive_proc.execution.sweeps import run_block, settled, shards
from archive_proc.model.ids import FileId
from archive_proc.model.phases import STILL
from archive_proc.model.records import ProcessRecord
from archive_proc.recipes.recipe import Arrays, RecipeInputs
from archive_proc.storage.layout import Layout

Change = Callable[[RecipeInputs], RecipeInputs]
# Any: a product's arrays have several dtypes.
Products = Mapping[str, Mapping[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Again:
    """What a run in memory gives."""

    products: Products
    """Product type -> variable -> array, frame-axis arrays included."""
    attrs: Mapping[str, Mapping[str, Any]]


def run_again(archive: Path, record: ProcessRecord, change: Change) -> Again:
    """All passes of the process over its own raw planes, after `change` of its inputs; one thread."""
    opened = Archive.open(archive)
    frames = opened.campaign.frames
    spec = AttemptSpec(
        process=record.process,
        frames=tuple(frames[FileId(one.input_id)] for one in record.process.main if one.kind != "product"),
        pixel_digests={},
        run_id=record.run_id,
        plan_id=record.plan_id,
        attempt=0,
        asked_by=record.asked_by,
        driver=this_writer(),
    )
    roots = {name: Path(root) for name, root in opened.settings.raw_roots.items()}
    prepared = prepare(spec, Layout(archive), roots, cookbook(DEFAULT_COOKBOOK), ProductCache(10**9), STILL)
    prepared = replace(prepared, inputs=change(prepared.inputs))
    return _all_passes(prepared)


def _all_passes(prepared: Prepared) -> Again:
    recipe, inputs = prepared.recipe, prepared.inputs
    shared: Arrays = {}
    written: dict[str, dict[str, list[NDArray[Any]]]] = {}
    for index, sweep in enumerate(recipe.passes):
        summaries = []
        for first, stop in shards(len(inputs.planes)):
            output = run_block(prepared, index, first, stop, shared, STILL)
            summaries.append(settled(output.summary))
            for product_type, arrays in output.planes.items():
                for name, values in arrays.items():
                    written.setdefault(product_type, {}).setdefault(name, []).append(np.array(values))
        shared = sweep.reduce(summaries, inputs, shared)
    result = recipe.close(inputs, shared)
    products = {
        product_type: {
            **{name: np.concatenate(parts) for name, parts in written.get(product_type, {}).items()},
            **{name: np.asarray(values) for name, values in content.arrays.items()},
        }
        for product_type, content in result.products.items()
    }
    return Again(products, {product_type: content.attrs for product_type, content in result.products.items()})
