"""`bench accuracy irdis`: reduce sets whose truth is known, and measure how far the products are from it.

Sets are the sample folders (`--samples`), or own simulated nights of several seeds, with the hard effects drawn from
ranges. An existing archive can be measured without reducing anything (`measure_archive`), as the demo does.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from archive_proc.bench.background import (
    Blocks,
    background_figures,
    injected_noise,
    removed_light,
    sky_light,
    true_flat_figures,
    without_offsets,
)
from archive_proc.bench.cases import CASES, Case, nights
from archive_proc.bench.comparison import angle_figure, centre_figures, photometry_figures, spot_centroids
from archive_proc.bench.figures import Figure, Report, across_seeds
from archive_proc.bench.goal_figures import background_goals, centre_goals, photometry_goals
from archive_proc.bench.hits import hit_figures
from archive_proc.bench.peer_runs import PeerResults, run_peers
from archive_proc.bench.raw_planes import RawPlanes
from archive_proc.bench.reductions import (
    Reduction,
    companion_offsets,
    cube_planes,
    find_reduction,
    flat_response,
    found_centres,
    found_fluxes,
    found_frames,
    useless_pixels,
)
from archive_proc.bench.variance_figures import centred_variance, science_variance
from archive_proc.errors import InputError, NotFoundError
from archive_proc.simulate.night import simulate_night
from archive_proc.simulate.truth import SequenceTruth, load_truth

Reduce = Callable[[Path, Path], None]
"""(new archive directory, raw directory): init, ingest, run, without options."""


@dataclass(frozen=True, slots=True)
class TruthSet:
    """A set to measure."""

    case: str
    truth: Path
    """Folder with `truth.npz` and `truth_background.npz`."""
    raw: Path
    """Folder with the raw files, or a parent of it."""


def sample_sets(samples: Path) -> tuple[TruthSet, ...]:
    """The sample folders below `samples`, or `samples` itself. Raises NotFoundError AP-SIM-003 where there is none."""
    folders = [samples, *sorted(path for path in samples.iterdir() if path.is_dir())] if samples.is_dir() else []
    found = tuple(TruthSet(one.name, one, one) for one in folders if (one / "truth.npz").is_file())
    if not found:
        raise NotFoundError(
            "AP-SIM-003",
            "no folder with truth.npz",
            subject=str(samples),
            remedy="give the folder that holds DB_H23 and DB_K12, or leave --samples out",
        )
    return found


def night_sets(raw: Path, truth: Path) -> tuple[TruthSet, ...]:
    """The sequences of one simulated night."""
    return tuple(TruthSet(one.name, one, raw) for one in sorted(truth.iterdir()) if (one / "truth.npz").is_file())


def measure(case: str, truth: SequenceTruth, reduction: Reduction, raw: RawPlanes) -> tuple[Figure, ...]:
    """All figures of one set. What was not made gives figures without value, which count as missed."""
    fluxes = None if reduction.photometry is None else found_fluxes(reduction.photometry)
    peers = _peers(truth, reduction, raw)
    centres = None if reduction.center is None else found_centres(reduction.center)
    frames = None if reduction.science is None else found_frames(reduction.science)
    sky = _median_sky(truth, raw)
    removed = _removed(truth, reduction, raw)
    figures = [
        *background_figures(case, truth, [(row, own) for row, own, _ in removed], sky),
        *true_flat_figures(case, truth, [(row, other) for row, _, other in removed]),
        *centre_figures(case, truth, centres, _naive_centres(truth, raw)),
        angle_figure(case, truth, frames),
        *photometry_figures(case, truth, frames),
        *background_goals(
            case,
            truth,
            [(row, own) for row, own, _ in removed],
            _injected(truth, reduction, raw),
            peers.skies,
        ),
        *centre_goals(case, truth, centres, peers.centers),
        *photometry_goals(case, truth, frames, fluxes, peers.spots),
    ]
    if reduction.centered is not None:
        figures += _companion_figure(case, truth, reduction.centered)
    figures += hit_figures(case, truth, reduction.science)
    figures += science_variance(case, truth, reduction.science)
    figures += centred_variance(case, truth, reduction.centered, reduction.science)
    return tuple(figures)


def smoke(figures: Sequence[Figure]) -> tuple[Figure, ...]:
    """The same without the note's aims: they need larger sets than the samples, of several seeds (notes/irdis 7)."""
    return tuple(replace(one, aim=None) if one.name.startswith("goal: ") else one for one in figures)


def _removed(truth: SequenceTruth, reduction: Reduction, raw: RawPlanes) -> list[tuple[int, Blocks, Blocks]]:
    """Per science plane: row of truth, what was removed by the product's own flat, and by the true one."""
    if reduction.science is None:
        return []
    flat = None if reduction.flat is None else flat_response(reduction.flat)
    found = []
    for plane in cube_planes(reduction.science):
        row = int(truth.rows(np.array([plane.file_id]), np.array([plane.plane]))[0])
        if row >= 0 and truth.in_sequence[row]:
            frame = without_offsets(raw.plane(plane.file_id, plane.plane), truth, row)
            true = removed_light(frame, plane, truth)
            found.append((row, true if flat is None else removed_light(frame, plane, truth, flat), true))
    return found


def _injected(truth: SequenceTruth, reduction: Reduction, raw: RawPlanes) -> list[Blocks]:
    """Noise injected into the first plane of the cube, (2,): the master is the same for all."""
    if reduction.science is None or reduction.flat is None:
        return []
    response = flat_response(reduction.flat)
    for plane in cube_planes(reduction.science):
        row = int(truth.rows(np.array([plane.file_id]), np.array([plane.plane]))[0])
        if row >= 0:
            frame = without_offsets(raw.plane(plane.file_id, plane.plane), truth, row)
            return [injected_noise(frame, plane, truth, row, response)]
    return []


def _peers(truth: SequenceTruth, reduction: Reduction, raw: RawPlanes) -> PeerResults:
    if reduction.flat is None:
        return PeerResults()
    return run_peers(truth, raw, flat_response(reduction.flat), useless_pixels(reduction.flat), sky_rows(truth))


def sky_rows(truth: SequenceTruth) -> list[int]:
    """Rows of sky planes with the science DIT."""
    if not truth.in_sequence.any():
        return []
    dit = truth.dit[truth.in_sequence][0]
    return [row for row, kind in enumerate(truth.frame_type) if kind == "SKY" and abs(truth.dit[row] - dit) < 1e-3]


def _median_sky(truth: SequenceTruth, raw: RawPlanes) -> Blocks | None:
    """Blocks of the median of all sky planes with the science DIT; None without any."""
    rows = sky_rows(truth)
    if not rows:
        return None
    planes = np.stack([raw.plane(truth.raw_file[row], int(truth.frame_idx[row])) for row in rows])
    return sky_light(np.median(planes, axis=0).astype(np.float32), truth)


def _naive_centres(truth: SequenceTruth, raw: RawPlanes) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    found = np.full(truth.center.shape, np.nan)
    for row, kind in enumerate(truth.frame_type):
        if kind != "OBJECT,CENTER":
            continue
        frame = raw.plane(truth.raw_file[row], int(truth.frame_idx[row]))
        for half in range(2):
            columns = slice(1024 * half, 1024 * half + 1024)
            light = frame[:, columns] - truth.pedestal[:, columns]
            found[row, half] = spot_centroids(light, truth, row, half)
    return found


def _companion_figure(case: str, truth: SequenceTruth, centered: Path) -> list[Figure]:
    offsets = companion_offsets(centered, truth)
    if not offsets:
        return []
    other_way = companion_offsets(centered, truth, reversed_sense=True)
    return [
        Figure(
            case=case,
            name="companion, distance from truth",
            value=float(np.sqrt(np.mean(np.square(offsets)))),
            unit="mas",
            reference="sense reversed",
            reference_value=float(np.sqrt(np.mean(np.square(other_way)))),
            n=len(offsets),
        )
    ]


def measure_archive(archive: Path, sets: Sequence[TruthSet]) -> Report:
    """Figures of sets that were reduced in `archive`, however that was done.

    Raises InputError AP-SIM-006 when nothing at all of a set was reduced.
    """
    figures: list[Figure] = []
    for one in sets:
        truth = load_truth(one.truth)
        reduction = find_reduction(archive, truth)
        if reduction.center is None and reduction.science is None:
            raise InputError(
                "AP-SIM-006",
                "no center and no irdis_science_cube has frames of this set",
                subject=one.case,
                remedy="look at `check` and at the failures of the run",
            )
        figures.extend(smoke(measure(one.case, truth, reduction, RawPlanes(one.raw))))
    return Report("accuracy irdis", tuple(figures))


def bench_irdis(
    samples: Path | None,
    seeds: Sequence[int],
    work: Path,
    reduce: Reduce,
    cases: Sequence[Case] = CASES,
    *,
    keep: bool = False,
) -> Report:
    """`bench accuracy irdis`: the sample sets where a folder is given, else own nights of these seeds and cases."""
    if samples is not None:
        return bench_samples(samples, work, reduce)
    return bench_seeds(seeds, work, reduce, cases, keep=keep)


def bench_samples(samples: Path, work: Path, reduce: Reduce) -> Report:
    """Reduce each sample set in an archive of its own below `work`, and measure."""
    figures: list[Figure] = []
    for one in sample_sets(samples):
        archive = work / one.case
        reduce(archive, one.raw)
        truth = load_truth(one.truth)
        figures.extend(smoke(measure(one.case, truth, find_reduction(archive, truth), RawPlanes(one.raw))))
    return Report("accuracy irdis", tuple(figures))


def bench_seeds(
    seeds: Sequence[int], work: Path, reduce: Reduce, cases: Sequence[Case] = CASES, *, keep: bool = False
) -> Report:
    """Simulate the nights of each seed below `work`, reduce and measure them; figures are medians over the seeds.

    Raw frames and archive of a night are removed once it is measured, unless `keep`: a seed of all cases takes 3 GB.
    """
    by_case: dict[str, list[tuple[Figure, ...]]] = {one.name: [] for one in cases}
    for seed in seeds:
        for members, night in nights(cases, seed):
            place = work / f"{members[0].filter}_{seed}"
            truth = simulate_night(place / "raw", night, seed, keep_starlight=True)
            reduce(place / "archive", truth.directory)
            for case, one in zip(members, truth.sequences, strict=True):
                found = measure(case.name, one, find_reduction(place / "archive", one), RawPlanes(truth.directory))
                by_case[case.name].append(found)
            if not keep:
                shutil.rmtree(place)
    listed = " ".join(str(seed) for seed in seeds)
    figures = [figure for name, runs in by_case.items() for figure in across_seeds(f"{name}, seeds {listed}", runs)]
    return Report("accuracy irdis", tuple(figures))
