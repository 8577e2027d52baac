"""One night measured: the archive's products and the two references, beside the truth, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from archive_proc.bench.figures import Figure
from archive_proc.bench.ifs.astrometry import companion_distance_mas
from archive_proc.bench.ifs.classic import ClassicChain
from archive_proc.bench.ifs.compared import compare
from archive_proc.bench.ifs.cubes import aperture_pulls, centring_error_mas, centring_pull, core_of, pulls_width
from archive_proc.bench.ifs.independent import IndependentLenslets
from archive_proc.bench.ifs.known import Float, Known, Scene
from archive_proc.bench.ifs.masters import master_values
from archive_proc.bench.ifs.other_runs import true_values, weighted_values
from archive_proc.bench.ifs.plain_detector import plain_detector
from archive_proc.bench.ifs.products import (
    CENTER,
    CUBE,
    Archive,
    cost_of,
    file_of,
    find_lamp,
    find_spectra,
    read_archive,
    shifts_of,
    to_spectra,
)
from archive_proc.bench.ifs.raw_set import RawSet
from archive_proc.bench.ifs.rows import Other, rows
from archive_proc.bench.ifs.shifts import worst_across, worst_along
from archive_proc.bench.ifs.values import Reduced, Value, Values, values_of
from archive_proc.simulate.ifs.facts import PITCH_MAS
from archive_proc.simulate.ifs.truth import IfsTruth

REFERENCES = (ClassicChain, IndependentLenslets)
PIXEL_MAS = PITCH_MAS / np.sqrt(3.0)
TRUE_KNOWLEDGE = "true PSFlets, bad pixels, shift"
TRUE_PLACES = "true bad pixels, places, shift"
"""Of the sample set, whose PSFlets are not among its truth."""


@dataclass(frozen=True, slots=True)
class Night:
    """Raw files of one night with their truth."""

    case: str
    known: Known
    raw: RawSet
    truth: IfsTruth | None = None
    """Of the package's own simulator."""


def scored_scenes(known: Known) -> tuple[Scene, ...]:
    """The files of which spectra are compared: test scenes, science of the star, the laser frame."""
    names = ("uniform", "tdwarf", "comb", "wave")
    chosen = [scene for name in names for scene in known.all(name)[:1]]
    return (*chosen, *known.all("star", "OBJECT"))


def reference_values(night: Night) -> dict[str, Values]:
    """Figures of both references by their label, from the same raw files."""
    detector = plain_detector(night.raw)
    found = {}
    for kind in REFERENCES:
        chain = kind(night.known, detector)
        spectra = {scene.file_id: chain.reduce(scene) for scene in scored_scenes(night.known)}
        found[kind.label] = values_of(night.known, Reduced(chain.lamp, spectra))
    return found


def product_values(night: Night, archive: Archive) -> Values:
    """Figures of what was sealed in an archive."""
    known = night.known
    spectra = {}
    for scene in scored_scenes(known):
        dataset = find_spectra(archive, scene, lines=scene.name == "wave")
        if dataset is not None:
            spectra[scene.file_id] = to_spectra(known, scene, dataset)
    lamp = find_lamp(archive, night.raw, known)
    found = dict(values_of(known, Reduced(lamp, spectra)))
    found |= _cubes(night, archive)
    found |= _shifts(known, archive)
    found |= _costs(archive)
    found |= master_values(known, archive)
    return found


def _shifts(known: Known, archive: Archive) -> dict[str, Value]:
    # A comb has too few lenslets to measure a shift by: its files borrow one.
    scenes = [scene for scene in known.scenes if scene.frame_type == "OBJECT" and scene.name != "comb"]
    shifts = shifts_of(archive, scenes)
    n = len(shifts.true)
    return {
        "shift across the dispersion, worst error": Value(worst_across(shifts.found[:, 0], shifts.true[:, 0]), n),
        "shift along the dispersion, worst error over 0.05 px or what is stated": Value(
            worst_along(shifts.found[:, 1], shifts.stated[:, 1], shifts.true[:, 1]), n
        ),
    }


def _costs(archive: Archive) -> dict[str, Value]:
    cost = cost_of(archive.records)
    peak = None if cost.peak_bytes is None else cost.peak_bytes / 1e9
    return {
        "CPU a plane, extraction": Value(cost.extraction_s, cost.planes),
        "CPU of each further plane, extraction": Value(cost.further_plane_s, cost.planes),
        "CPU a plane, raw to centred cube": Value(cost.to_centered_s, cost.planes),
        "compiling kernels for these, once a machine and package, CPU": Value(cost.compiling_s, cost.planes),
        "calibration set, CPU": Value(cost.calibration_s),
        "peak memory of any worker": Value(peak),
    }


def _cubes(night: Night, archive: Archive) -> dict[str, Value]:
    known = night.known
    found = {}
    uniform = known.scene("uniform")
    if uniform is not None:
        found["measured over claimed sigma, aperture in the rectified cube"] = _apertures(night, archive, uniform)
    imaged = _imaged_off(known) * PITCH_MAS
    for kind in ("CENTER", "OBJECT"):
        scenes = known.all("star", kind)
        if scenes:
            found |= _centring(kind, _stars(scenes, archive), imaged)
    stars = known.all("star", "OBJECT")
    for kind, contrast in sorted(
        {(one.kind, one.contrast) for scene in stars for some in scene.companions for one in some}
    ):
        distance = companion_distance_mas(archive, stars, kind, contrast)
        planes = sum(scene.planes for scene in stars)
        found[f"companion {kind} {contrast:g}, distance from its place on the sky"] = Value(distance, planes)
    return found


def _centring(kind: str, stars: tuple[Float, Float, Float] | None, imaged: Float) -> dict[str, Value]:
    """Rows of one kind of frame; imaged: (2,) mas by which images stand off the stated place."""
    row = f"centring of {kind} frames"
    if stars is None:
        return {f"{row}, over the cube": Value(None)}
    found, quoted, stated = stars
    n = len(found)
    return {
        f"{row}, over the cube": Value(centring_error_mas(found, stated + imaged), n),
        f"{row}, from the stated place": Value(centring_error_mas(found, stated), n),
        f"{row}, error over claimed": Value(centring_pull(found, stated + imaged, quoted), n),
    }


def _imaged_off(known: Known) -> Float:
    """(2,) pitches by which the star's noise-free light in FLUX frames stands off the place that it was given."""
    off = [
        core_of(known.x, known.y, scene.flux(plane).astype(np.float64), middle_nm(scene), scene.star[plane])
        - scene.star[plane]
        for scene in known.all("star", "FLUX")
        if scene.star is not None
        for plane in range(scene.planes)
    ]
    return np.asarray(np.mean(off, axis=0)) if off else np.zeros(2)


def middle_nm(scene: Scene) -> Float:
    """(bins,) middle of the bins of a scene's light."""
    return 0.5 * (scene.edges_nm[1:] + scene.edges_nm[:-1])


def _apertures(night: Night, archive: Archive, scene: Scene) -> Value:
    for product in reversed(archive.of_type(CUBE)):
        dataset = product.open()
        own = file_of(dataset, scene)
        if not len(own) or "resampling_correlation" not in dataset:
            continue
        lamp = find_lamp(archive, night.raw, night.known)
        spectra = find_spectra(archive, scene)
        if lamp is None or spectra is None:
            return Value(None)
        core = compare(night.known, scene, to_spectra(night.known, scene, spectra), lamp).core
        correlation = np.asarray(dataset["resampling_correlation"].values, np.float32)
        pulls = []
        for channel in np.flatnonzero(core):
            flux, variance, flags = (dataset[name][own, channel].values for name in ("flux", "variance", "flags"))
            clean = np.isfinite(flux) & np.isfinite(variance) & (flags == 0)
            pulls.append(aperture_pulls(flux, variance, clean, correlation))
        return Value(pulls_width(pulls), sum(len(one) for one in pulls))
    return Value(None)


def _stars(scenes: Sequence[Scene], archive: Archive) -> tuple[Float, Float, Float] | None:
    """Star places found (n, k, 2), quoted errors, and stated places (n, 2), mas; None where one is missing."""
    found, quoted, stated = [], [], []
    for scene in scenes:
        for product in reversed(archive.of_type(CENTER)):
            dataset = product.open()
            own = file_of(dataset, scene)
            if not len(own) or scene.star is None:
                continue
            # The field's centre is on pixel n // 2 of the rectified cube.
            size = float(dataset.attrs.get("cube_px", 290))
            places, errors = (
                np.stack([dataset[f"star_{axis}{what}"].values[own] for axis in "xy"], axis=-1)
                for what in ("", "_error")
            )
            found.append((places - size // 2) * PIXEL_MAS)
            quoted.append(errors * PIXEL_MAS)
            stated.append(scene.star * PITCH_MAS)
            break
        else:
            return None
    return (np.concatenate(found), np.concatenate(quoted), np.concatenate(stated)) if found else None


def product_rows(night: Night, archive: Path) -> tuple[Figure, ...]:
    """The rows that the sealed products of a night allow, beside nothing; lasers only where they were extracted."""
    ours = product_values(night, read_archive(archive))
    asked = [name for name, one in ours.items() if one.value is not None or not name.startswith("laser lines")]
    return tuple(rows(night.case, night.known.mode, ours, (), asked))


def measure_night(
    night: Night, archive: Path, references: dict[str, Values], on_sample: dict[str, Values] | None
) -> tuple[Figure, ...]:
    """All rows of a night reduced in `archive`; the extraction is run again in memory with true calibrations."""
    sealed = read_archive(archive)
    ours = dict(product_values(night, sealed))
    proven = on_sample or {}
    others = [Other(label, values, proven.get(label)) for label, values in references.items()]
    if night.known.mode == "YJ":
        name = "channel bias, star x transmission as weights"
        ours |= {f"{name}, {which}": Value(None) for which in ("rms", "worst")}
        ours |= weighted_values(night.known, night.raw, archive, sealed) or {}
    ours["channel bias over that with true shift, PSFlets, bad pixels"] = Value(None)
    best = true_values(night.known, night.raw, night.truth, archive, sealed)
    if best is not None:
        others.append(Other(TRUE_KNOWLEDGE if night.truth else TRUE_PLACES, best, is_reference=False))
        ours["channel bias over that with true shift, PSFlets, bad pixels"] = _over(
            ours["channel bias, uniform field, rms"], best["channel bias, uniform field, rms"]
        )
    possible = set(ours) | {name for one in others for name in one.values}
    return tuple(rows(night.case, night.known.mode, ours, others, sorted(possible)))


def _over(one: Value, other: Value) -> Value:
    return Value(None if one.value is None or not other.value else one.value / other.value, one.n)
