"""`bench accuracy irdis`: reduce sets whose truth is known, and measure how far the products are from it.

Sets are the sample folders (`--samples`), or own simulated nights of several seeds, with the hard effects drawn from
ranges. An existing archive can be measured without reducing anything (`measure_archive`), as the demo does.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from archive_proc.bench.background import Blocks, background_figures, removed_light, sky_light, true_flat_figures
from archive_proc.bench.comparison import angle_figure, centre_figures, photometry_figures, spot_centroids
from archive_proc.bench.figures import Figure, Report, across_seeds
from archive_proc.bench.raw_planes import RawPlanes
from archive_proc.bench.reductions import (
    Reduction,
    companion_offsets,
    cube_planes,
    find_reduction,
    flat_response,
    found_centres,
    found_frames,
)
from archive_proc.bench.variance_figures import centred_variance, science_variance
from archive_proc.errors import InputError, NotFoundError
from archive_proc.simulate.night import simulate_night
from archive_proc.simulate.spec import Companion, NightSpec, SequenceSpec, Star, Weather
from archive_proc.simulate.truth import SequenceTruth, load_truth

Reduce = Callable[[Path, Path], None]
"""(new archive directory, raw directory): init, ingest, run, without options."""
DEFAULT_SEEDS = (101, 102, 103)


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
    ]
    if reduction.centered is not None:
        figures += _companion_figure(case, truth, reduction.centered)
    figures += science_variance(case, truth, reduction.science)
    figures += centred_variance(case, truth, reduction.centered, reduction.science)
    return tuple(figures)


def _removed(truth: SequenceTruth, reduction: Reduction, raw: RawPlanes) -> list[tuple[int, Blocks, Blocks]]:
    """Per science plane: row of truth, what was removed by the product's own flat, and by the true one."""
    if reduction.science is None:
        return []
    flat = None if reduction.flat is None else flat_response(reduction.flat)
    found = []
    for plane in cube_planes(reduction.science):
        row = int(truth.rows(np.array([plane.file_id]), np.array([plane.plane]))[0])
        if row >= 0 and truth.in_sequence[row]:
            frame = raw.plane(plane.file_id, plane.plane)
            true = removed_light(frame, plane, truth)
            found.append((row, true if flat is None else removed_light(frame, plane, truth, flat), true))
    return found


def _median_sky(truth: SequenceTruth, raw: RawPlanes) -> Blocks | None:
    """Blocks of the median of all sky planes with the science DIT; None without any."""
    if not truth.in_sequence.any():
        return None
    dit = truth.dit[truth.in_sequence][0]
    rows = [row for row, kind in enumerate(truth.frame_type) if kind == "SKY" and abs(truth.dit[row] - dit) < 1e-3]
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
        figures.extend(measure(one.case, truth, reduction, RawPlanes(one.raw)))
    return Report("accuracy irdis", tuple(figures))


def bench_irdis(samples: Path | None, seeds: Sequence[int], work: Path, reduce: Reduce) -> Report:
    """`bench accuracy irdis`: the sample sets where a folder is given, else own nights of these seeds."""
    return bench_seeds(seeds, work, reduce) if samples is None else bench_samples(samples, work, reduce)


def bench_samples(samples: Path, work: Path, reduce: Reduce) -> Report:
    """Reduce each sample set in an archive of its own below `work`, and measure."""
    figures: list[Figure] = []
    for one in sample_sets(samples):
        archive = work / one.case
        reduce(archive, one.raw)
        truth = load_truth(one.truth)
        figures.extend(measure(one.case, truth, find_reduction(archive, truth), RawPlanes(one.raw)))
    return Report("accuracy irdis", tuple(figures))


def bench_seeds(seeds: Sequence[int], work: Path, reduce: Reduce) -> Report:
    """Simulate a night a seed below `work`, reduce and measure it; figures are medians over the seeds."""
    by_case: dict[str, list[tuple[Figure, ...]]] = {}
    for seed in seeds:
        truth = simulate_night(work / f"night_{seed}", bench_night(seed), seed, keep_starlight=True)
        archive = work / f"archive_{seed}"
        reduce(archive, truth.directory)
        for spec, one in zip(bench_night(seed).sequences, truth.sequences, strict=True):
            found = measure(spec.filter, one, find_reduction(archive, one), RawPlanes(truth.directory))
            by_case.setdefault(spec.filter, []).append(found)
    listed = " ".join(str(seed) for seed in seeds)
    figures = [figure for name, runs in by_case.items() for figure in across_seeds(f"{name}, seeds {listed}", runs)]
    return Report("accuracy irdis", tuple(figures))


def bench_night(seed: int) -> NightSpec:
    """A DB_H23 and a DB_K12 sequence, the hard effects drawn from ranges that start at the sample sets' values."""
    rng = np.random.default_rng([seed, 77])
    # Every other seed falls into the years of the derotator's fault.
    evening = dt.datetime(2015, 9, 25) if seed % 2 else dt.datetime(2017, 9, 28)

    def draw(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    fault, slope = draw(-1.0, 1.0), draw(-0.4, 0.4)

    def weather() -> Weather:
        return Weather(
            wavefront_scatter=draw(0.06, 0.08),
            transmission_fast=draw(0.06, 0.08),
            transmission_slow=draw(0.05, 0.07),
            jitter_mas=draw(3.0, 4.5),
            drift_mas=draw(5.0, 8.0),
            against_mask=draw(0.2, 0.4),
            static_nm=draw(38.0, 50.0),
            thermal_drift=draw(1.0, 1.4),
            slow_nm=draw(10.0, 15.0),
            wind_lobes=draw(0.3, 0.7),
            wind_position_angle_deg=draw(0.0, 180.0),
        )

    def star(name: str, flux: float, ra_deg: float) -> Star:
        return Star(
            name=name,
            ra_deg=ra_deg + draw(-2.0, 2.0),
            dec_deg=draw(-6.0, -1.0),
            pm_ra_mas=draw(-90.0, 90.0),
            pm_dec_mas=draw(-90.0, 90.0),
            flux_adu_s=(flux, 0.92 * flux),
            companions=(Companion(draw(950.0, 1250.0), draw(0.0, 360.0), (3e-4, 4e-4)),),
        )

    first = SequenceSpec(
        star=star("BENCH_H", draw(0.8e7, 1.5e7), 32.0),
        start=evening + dt.timedelta(hours=5.6, minutes=draw(-10, 10)),
        filter="DB_H23",
        order="FCOOOCFS",
        ndit=3,
        center_ndit=2,
        gap_s=draw(420.0, 900.0),
        ob_id=2200000 + 2 * seed,
        derotator_fault_deg=fault,
        derotator_fault_deg_per_hour=slope,
        weather=weather(),
    )
    second = SequenceSpec(
        star=star("BENCH_K", draw(4e6, 7e6), 70.0),
        start=evening + dt.timedelta(hours=8.2, minutes=draw(-10, 10)),
        filter="DB_K12",
        order="FCSOOSOCFSSB",
        ndit=3,
        center_ndit=2,
        gap_s=draw(420.0, 900.0),
        ob_id=2200001 + 2 * seed,
        derotator_fault_deg=fault,
        derotator_fault_deg_per_hour=slope,
        weather=weather(),
    )
    return NightSpec(sequences=(first, second))
