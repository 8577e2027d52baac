"""The extraction of a night's files run again in memory: with true calibrations, or with known channel weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from archive_proc.bench.ifs.channels import in_channels
from archive_proc.bench.ifs.compared import throughput
from archive_proc.bench.ifs.known import Float, Known, Scene
from archive_proc.bench.ifs.products import LENSLET_FLAT, SPECTRA, Archive, made_from, to_lamp, to_spectra
from archive_proc.bench.ifs.raw_set import RawSet
from archive_proc.bench.ifs.rerun import run_again
from archive_proc.bench.ifs.spectra import Spectra
from archive_proc.bench.ifs.true_knowledge import with_truth
from archive_proc.bench.ifs.values import Reduced, Values, values_of
from archive_proc.model.records import ProcessRecord
from archive_proc.recipes.recipe import Arrays, Calibration, RecipeInputs
from archive_proc.simulate.ifs.truth import IfsTruth

EXTRACT, FRAME, FLAT = "ifs_extract", "ifs_extract_frame", "ifs_lenslet_flat"
WEIGHTED = ("channel bias, uniform field, rms", "channel bias, uniform field, worst")
Change = Callable[[RecipeInputs, Sequence[Scene]], RecipeInputs]


def true_values(known: Known, raw: RawSet, truth: IfsTruth | None, path: Path, archive: Archive) -> Values | None:
    """Figures with true places, bad pixels and shift, and true PSFlets where `truth` has them.

    None where the archive holds nothing to run again.
    """

    def change(inputs: RecipeInputs, scenes: Sequence[Scene]) -> RecipeInputs:
        pose = np.concatenate([scene.pose for scene in scenes]).mean(axis=0)
        better = with_truth(inputs, known, truth, pose)
        return replace(better, parameters=replace(better.parameters, measure_shift=False))

    scenes = [scene for name in ("uniform", "tdwarf", "comb", "wave") for scene in known.all(name)[:1]]
    again = _reduced(known, raw, path, archive, [*scenes, *known.all("star", "OBJECT")], change)
    return None if again is None else values_of(known, again)


def weighted_values(known: Known, raw: RawSet, path: Path, archive: Archive) -> Values | None:
    """Channel bias with what lamp and sky are known to be as weights inside the channels; calibrations as found."""

    def change(inputs: RecipeInputs, scenes: Sequence[Scene]) -> RecipeInputs:
        weight = channel_weight(known, scenes[0], _edges(archive))
        return replace(inputs, parameters=replace(inputs.parameters, channel_weight=tuple(weight)))

    scene = known.scene("uniform")
    again = None if scene is None else _reduced(known, raw, path, archive, [scene], change)
    if again is None:
        return None
    values = values_of(known, again)
    return {name.replace("uniform field", "star x transmission as weights"): values[name] for name in WEIGHTED}


def channel_weight(known: Known, scene: Scene, edges_nm: Float) -> list[float]:
    """(k,) what the median lenslet sees in each channel over the channel's width, the largest 1."""
    true = in_channels(scene.flux(0), scene.edges_nm, edges_nm) / throughput(known)[:, None]
    density = np.median(true[known.complete], axis=0) / np.diff(edges_nm)
    return [float(one) for one in np.maximum(density, 0.0) / density.max()]


def _edges(archive: Archive) -> Float:
    dataset = archive.of_type(LENSLET_FLAT)[-1].open()
    middle, width = (1e3 * np.asarray(dataset[name].values, np.float64) for name in ("wavelength", "bandwidth"))
    return np.append(middle - 0.5 * width, middle[-1] + 0.5 * width[-1])


def _reduced(
    known: Known, raw: RawSet, path: Path, archive: Archive, scenes: Sequence[Scene], change: Change
) -> Reduced | None:
    lamp_scene = known.scene("ifu_flat")
    record = None if lamp_scene is None else made_from(archive, FLAT, lamp_scene.file_id)
    if record is None or lamp_scene is None:
        return None
    lamp = [lamp_scene]
    flat = run_again(path, record, lambda inputs: change(inputs, lamp)).products[LENSLET_FLAT]
    by_process: dict[str, tuple[ProcessRecord, list[Scene]]] = {}
    for scene in scenes:
        recipe = FRAME if scene.frame_type == "CALIB" else EXTRACT
        made = made_from(archive, recipe, scene.file_id)
        if made is not None:
            by_process.setdefault(made.process_id, (made, []))[1].append(scene)
    spectra: dict[str, Spectra] = {}
    for made, own in by_process.values():

        def with_flat(inputs: RecipeInputs, own: Sequence[Scene] = own) -> RecipeInputs:
            return change(_given(inputs, flat), own)

        arrays = run_again(path, made, with_flat).products[SPECTRA]
        spectra |= {scene.file_id: to_spectra(known, scene, arrays) for scene in own}
    return Reduced(to_lamp(flat, raw, known), spectra)


def _given(inputs: RecipeInputs, flat: Arrays) -> RecipeInputs:
    """The inputs with this lenslet flat in place of the one they have."""
    found = {role: tuple(_same_or(one, flat) for one in given) for role, given in inputs.calibrations.items()}
    return replace(inputs, calibrations=found)


def _same_or(one: Calibration, flat: Arrays) -> Calibration:
    return replace(one, arrays=flat) if one.product_type == LENSLET_FLAT else one
