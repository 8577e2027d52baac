"""`bench accuracy ifs`: the sample set where its folder is given, else own nights of each mode and seed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from archive_proc.bench.figures import Figure, Report, across_seeds
from archive_proc.bench.ifs.bad_nights import ReduceWith, bad_night_rows
from archive_proc.bench.ifs.curve import curve_rows
from archive_proc.bench.ifs.known import is_sample, load_sample, load_simulated
from archive_proc.bench.ifs.night import Night, measure_night, product_rows, reference_values
from archive_proc.bench.ifs.products import find_spectra, read_archive
from archive_proc.bench.ifs.raw_set import read_raw_set
from archive_proc.bench.ifs.troubles import Trouble
from archive_proc.bench.ifs.values import Values
from archive_proc.errors import InputError
from archive_proc.simulate.ifs.night import simulate_ifs_night
from archive_proc.simulate.ifs.spec import IfsNight, scene_night
from archive_proc.simulate.ifs.truth import load_ifs_truth

MODES = ("YJ", "YH")
SEEDS = (641,)
"""Used by no test and no tuning."""
SCENES = ("star", "uniform", "tdwarf", "comb")
STAR_NDIT = 6
"""Of two files: 1.5 % photon noise a channel for 3e-4 at 350 mas, 0.3 % in the mean over channels."""
Reduce = Callable[[Path, Path], None]
"""(new archive directory, raw directory): init, ingest, run, without options."""
Extract = Callable[[Path, str], None]
"""(archive, file id): extract one raw frame on request."""
References = dict[str, Values]


def sample_night(samples: Path) -> Night:
    """The sample set, or the one in the folder's `ifs`."""
    folder = samples if is_sample(samples) else samples / "ifs"
    known = load_sample(folder)
    return Night("sample set, YJ", known, read_raw_set(folder / "raw"))


def simulated_night(raw: Path, truth: Path, case: str) -> Night:
    """A night of the package's own simulator."""
    files = read_raw_set(raw)
    known = load_simulated(truth, {one.file_id: one.dit_s for one in files.files})
    return Night(case, known, files, load_ifs_truth(truth))


def bench_ifs(
    samples: Path | None, modes: Sequence[str], seeds: Sequence[int], work: Path, reduce: Reduce, extract: Extract,
    *, bad: Sequence[Trouble] = (), bad_only: bool = False, reduce_with: ReduceWith | None = None, keep: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Report:  # fmt: skip
    """Reduce and measure. With `samples` the sample set, and own nights only where seeds are named too.

    The references are first measured on the sample set: without it nothing shows that they are fit to compare with,
    and their values print `invalid`. `bad`: nights that something is wrong with, of the first seed of each mode;
    `bad_only`: nothing but these.
    """
    figures: list[Figure] = []
    on_sample: References | None = None
    if samples is not None and not bad_only:
        night = sample_night(samples)
        on_sample = reference_values(night)
        archive = work / "sample"
        reduce(archive, _raw_folder(night))
        _on_request(night, archive, extract)
        figures += measure_night(night, archive, on_sample, on_sample)
    for mode in modes if seeds else ():
        if not bad_only:
            runs = [_seed(mode, seed, work, reduce, extract, on_sample, keep) for seed in seeds]
            listed = " ".join(str(seed) for seed in seeds)
            figures += across_seeds(f"{mode}, seeds {listed}", runs)
        if bad and reduce_with is not None:
            figures += bad_night_rows(mode, seeds[0], bad, work, reduce_with, keep=keep, say=say)
    return Report("accuracy ifs", tuple(figures))


def bench_night(mode: str) -> IfsNight:
    """All scenes; of the star so many planes that the photon noise of a faint companion is below what is asked."""
    night = scene_night(mode, SCENES)
    return replace(
        night,
        observations=tuple(replace(one, ndit=STAR_NDIT) if one.scene == "star" else one for one in night.observations),
    )


def _seed(
    mode: str, seed: int, work: Path, reduce: Reduce, extract: Extract, on_sample: References | None, keep: bool
) -> tuple[Figure, ...]:
    place = work / f"{mode}_{seed}"
    truth = simulate_ifs_night(place / "raw", bench_night(mode), seed)
    night = simulated_night(place / "raw", truth.directory, f"{mode} seed {seed}")
    reduce(place / "archive", place / "raw")
    _on_request(night, place / "archive", extract)
    figures = measure_night(night, place / "archive", reference_values(night), on_sample)
    if not keep:
        shutil.rmtree(place)
    return figures


def night_of(truth: Path, raw: Path | None) -> Night:
    """A night by the folder of its truth: the sample set's, or `<raw>.truth` of the simulator.

    `raw` None: the folder beside it whose name lacks `.truth`.
    """
    if is_sample(truth) or is_sample(truth / "ifs"):
        return sample_night(truth)
    return simulated_night(raw or truth.with_name(truth.name.removesuffix(".truth")), truth, truth.name)


def _raw_folder(night: Night) -> Path:
    return night.raw.files[0].path.parent


def _on_request(night: Night, archive: Path, extract: Extract) -> None:
    """The laser frame, extracted like science."""
    scene = night.known.scene("wave")
    if scene is not None:
        extract(archive, scene.file_id)


def measure_ifs(archive: Path, night: Night, *, products_only: bool = False, curve: bool = False) -> Report:
    """Figures of a night that was reduced in `archive`, however that was done.

    `products_only`: neither the references nor anything else is run. `curve`: bias against noise instead
    (`curve_rows`). Raises InputError AP-SIM-006 when nothing of the night was extracted.
    """
    sealed = read_archive(archive)
    scenes = [one for one in night.known.scenes if one.frame_type == "OBJECT"]
    if not any(find_spectra(sealed, one) is not None for one in scenes):
        raise InputError(
            "AP-SIM-006",
            "no ifs_spectra has frames of this night",
            subject=night.case,
            remedy="look at `check` and at the failures of the run",
        )
    if curve:
        return Report("accuracy ifs", curve_rows(night, archive))
    if products_only:
        return Report("accuracy ifs", product_rows(night, archive))
    return Report("accuracy ifs", measure_night(night, archive, reference_values(night), None))
