"""`bench ...`: measurements, each figure beside its reference in the same run."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archive_proc.cli.bench_engine_ import engine
from archive_proc.cli.bench_project_ import compare, project
from archive_proc.cli.bench_semester_ import semester
from archive_proc.cli.options import opened
from archive_proc.errors import MisuseError

if TYPE_CHECKING:
    from archive_proc.bench.figures import Report


@click.group("bench")
def command() -> None:
    """Measure: every figure is printed beside its reference from the same run."""


@command.command("accuracy")
@click.argument("arm", type=click.Choice(["irdis", "ifs"]))
@click.option("--samples", metavar="DIR", help="Folders of raw frames with truth.npz, instead of own simulated nights.")
@click.option("--seeds", metavar="1,2,3", help="Seeds of the simulated nights.")
@click.option("--cases", metavar="h,k-few-skies", help="IRDIS: cases of the simulated nights [all].")
@click.option("--mode", "modes", metavar="YJ,YH", help="IFS: modes of the simulated nights [both].")
@click.option("--raw", metavar="DIR", help="Raw frames, where they do not lie beside truth.npz.")
@click.option(
    "--products-only", is_flag=True, help="IFS, with --measure: without the reductions to compare with (3 min)."
)
@click.option(
    "--curve", is_flag=True, help="IFS, with --measure: bias against noise for several strengths of the prior instead."
)
@click.option(
    "--bad-nights",
    metavar="none|table|all|NAMES",
    default="table",
    show_default=True,
    help="IFS: nights that something is wrong with: those of the table of aims, bad input of every kind, or some.",
)
@click.option("--bad-nights-only", is_flag=True, help="IFS: nothing but those, one seed of each mode.")
@click.option("--measure", metavar="ARCHIVE", help="Measure what is reduced there already; needs --samples.")
@click.option(
    "--work",
    metavar="DIR",
    help="Where raw frames and archives are made and kept [a temporary directory, emptied night by night].",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--strict", is_flag=True, help="Exit 4 when an aim is missed.")
def accuracy(
    arm: str,
    samples: str | None,
    raw: str | None,
    seeds: str | None,
    cases: str | None,
    modes: str | None,
    bad_nights: str,
    bad_nights_only: bool,
    products_only: bool,
    curve: bool,
    measure: str | None,
    work: str | None,
    as_json: bool,
    strict: bool,
) -> None:
    """Distance of the products from a truth that the reduction cannot see.

    IFS: two reference reductions run on the same frames; they are first held against what is published of their kind
    on the sample set, and without --samples their values print `invalid`. With --samples own nights are made only
    where --seeds names them.
    """
    from archive_proc.bench.accuracy import bench_irdis, measure_archive, night_sets, sample_sets
    from archive_proc.bench.cases import DEFAULT_SEEDS, chosen_cases
    from archive_proc.bench.commands import reduce_by_commands
    from archive_proc.bench.figures import report_json, table

    if arm == "ifs":
        report = (
            _measured_ifs(samples, raw, measure, products_only=products_only, curve=curve)
            if measure is not None
            else _ifs(samples, seeds, modes, bad_nights, work, bad_only=bad_nights_only)
        )
    elif measure is not None:
        if samples is None:
            raise MisuseError(
                "AP-CLI-007", "--measure needs --samples", subject="bench accuracy", remedy="give the truth's folder"
            )
        report = measure_archive(
            Path(measure), night_sets(Path(raw), Path(samples)) if raw else sample_sets(Path(samples))
        )
    else:
        numbers = _numbers(seeds) if seeds else DEFAULT_SEEDS
        wanted = chosen_cases(cases.split(",") if cases else None)
        with tempfile.TemporaryDirectory(prefix="archive-proc-bench-") as temporary:
            place = Path(work) if work else Path(temporary)
            folder = Path(samples) if samples else None
            report = bench_irdis(folder, numbers, place, reduce_by_commands, wanted, keep=work is not None)
    click.echo(report_json(report) if as_json else table(report))
    if strict and report.missed:
        sys.exit(4)


def _numbers(seeds: str) -> tuple[int, ...]:
    try:
        return tuple(int(one) for one in seeds.split(","))
    except ValueError:
        raise MisuseError("AP-CLI-007", "are not numbers", subject=f"--seeds {seeds}", remedy="--seeds 1,2,3") from None


def _measured_ifs(samples: str | None, raw: str | None, measure: str, *, products_only: bool, curve: bool) -> Report:
    from archive_proc.bench.ifs.bench import measure_ifs, night_of

    if samples is None:
        raise MisuseError(
            "AP-CLI-007", "--measure needs --samples", subject="bench accuracy ifs", remedy="name the truth's folder"
        )
    night = night_of(Path(samples), Path(raw) if raw else None)
    return measure_ifs(Path(measure), night, products_only=products_only, curve=curve)


def _ifs(
    samples: str | None, seeds: str | None, modes: str | None, bad_nights: str, work: str | None, *, bad_only: bool
) -> Report:
    from archive_proc.bench.commands import extract_by_commands, reduce_beside, reduce_by_commands
    from archive_proc.bench.ifs.bench import MODES, SEEDS, bench_ifs
    from archive_proc.bench.ifs.troubles import chosen_troubles

    chosen = tuple(modes.split(",")) if modes else MODES
    for one in chosen:
        if one not in MODES:
            raise MisuseError("AP-CLI-007", "no such mode", subject=f"--mode {one}", remedy=f"use {','.join(MODES)}")
    numbers = _numbers(seeds) if seeds else () if samples and not bad_only else SEEDS
    bad = chosen_troubles(bad_nights)
    with tempfile.TemporaryDirectory(prefix="archive-proc-bench-") as temporary:
        place = Path(work) if work else Path(temporary)
        folder = Path(samples) if samples else None
        return bench_ifs(
            folder,
            chosen,
            numbers,
            place,
            reduce_by_commands,
            extract_by_commands,
            bad=bad,
            bad_only=bad_only,
            reduce_with=reduce_beside,
            say=lambda line: click.echo(line, err=True),
            keep=work is not None,
        )


@command.command("throughput")
@click.option(
    "--run",
    "run",
    metavar="RUN|latest",
    help="Measure this run of the archive, or the latest that did work, from its records.",
)
@click.option("--planes", type=click.IntRange(1), default=128, show_default=True, help="Science planes to simulate.")
@click.option("--filter", "filter_name", default="DB_H23", show_default=True, help="Filter to simulate.")
@click.option("--small-files", is_flag=True, help="Simulate packed whole numbers: a seventh of the raw bytes.")
@click.option("--to", metavar="TYPE", help="Reduce the simulated observation to this product type only.")
@click.option("--site", metavar="NAME", help="Where the simulated observation is reduced [local].")
@click.option("--workers", type=click.IntRange(1), help="Worker processes [one a core].")
@click.option("--work", metavar="DIR", help="Where raw frames and archive are made, and stay [a temporary directory].")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--strict", is_flag=True, help="Exit 4 when an aim is missed.")
@click.pass_context
def throughput(
    context: click.Context,
    run: str | None,
    planes: int,
    filter_name: str,
    small_files: bool,
    to: str | None,
    site: str | None,
    workers: int | None,
    work: str | None,
    as_json: bool,
    strict: bool,
) -> None:
    """Planes a second, CPU a plane, memory, and where the workers' time went: from the records of a run.

    Without --run, an observation of full 2048 x 1024 planes is simulated (a few planes, repeated under new headers),
    reduced by the commands, and that run is measured.
    """
    from archive_proc.bench.run_records import latest_that_worked
    from archive_proc.bench.throughput import bench_run, bench_simulated

    if run is not None:
        archive = opened(context)
        if run == "latest":
            chosen, newest = latest_that_worked(archive.layout), archive.run_id(None)
            if chosen != newest:
                click.echo(f"run:{newest[:12]} had nothing to do; measured: run:{chosen[:12]}", err=True)
        else:
            chosen = archive.run_id(run)
        report = bench_run(archive, chosen)
    else:
        place = ("--site", site) if site else ()
        options = (*place, *(("--to", to) if to else ()), *(("--workers", str(workers)) if workers else ()))
        with tempfile.TemporaryDirectory(prefix="archive-proc-bench-") as temporary:
            report = bench_simulated(
                planes,
                Path(work) if work else Path(temporary),
                run_options=options,
                filter_name=filter_name,
                small_files=small_files,
            )
    _printed(report, as_json, strict)


@command.command("headers")
@click.option("--headers", "displays", metavar="DIR", help="Displayed headers (SPHER.*.hdr) to vary.")
@click.option("--files", type=click.IntRange(1), default=1000, show_default=True, help="Files written and scanned.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--strict", is_flag=True, help="Exit 4 when an aim is missed.")
def headers(displays: str | None, files: int, as_json: bool, strict: bool) -> None:
    """Header scan, everything included, and a second ingest: CPU beside astropy's on the same files."""
    from archive_proc.bench.header_scan import bench_headers

    with tempfile.TemporaryDirectory(prefix="archive-proc-bench-") as folder:
        report = bench_headers(Path(displays) if displays else None, files, Path(folder))
    _printed(report, as_json, strict)


@command.command("catalog")
@click.option("--semesters", type=click.IntRange(1, 20), default=1, show_default=True, help="How many, from P95 on.")
@click.option(
    "--scale", type=click.FloatRange(0.0, 1.0, min_open=True), default=1.0, show_default=True, help="Of each."
)
@click.option("--work", metavar="DIR", help="Where semesters are made and kept [a temporary directory].")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--strict", is_flag=True, help="Exit 4 when an aim is missed.")
def catalog(semesters: int, scale: float, work: str | None, as_json: bool, strict: bool) -> None:
    """Simulated semesters without pixels: CPU and memory of ingest, plan, plan again and status.

    A whole semester takes about a minute of CPU to make.
    """
    from archive_proc.bench.figures import report_json, table
    from archive_proc.bench.semesters import bench_catalog

    with tempfile.TemporaryDirectory(prefix="archive-proc-bench-") as temporary:
        place = Path(work) if work else Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        report = bench_catalog(place, semesters, scale)
    click.echo(report_json(report) if as_json else table(report))
    if strict and report.missed:
        sys.exit(4)


@command.command("hostile")
@click.option("--no-astropy", is_flag=True, help="Our answers only (astropy takes minutes on some of these files).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--strict", is_flag=True, help="Exit 4 when an aim is missed.")
def hostile(no_astropy: bool, as_json: bool, strict: bool) -> None:
    """Hostile files: the scanner's answer, its CPU and memory, beside astropy's for the same header."""
    from archive_proc.bench.hostile import bench_hostile

    with tempfile.TemporaryDirectory(prefix="archive-proc-bench-") as folder:
        report = bench_hostile(Path(folder), astropy=not no_astropy)
    _printed(report, as_json, strict)


@command.command("fuzz")
@click.option("--cases", type=click.IntRange(1), default=2000, show_default=True, help="Mutated files read.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, other files.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option(
    "--headers", "displays", metavar="DIR", help="Displayed headers (SPHER.*.hdr) to mutate [simulated ones]."
)
@click.option("--only", type=click.IntRange(0), metavar="N", help="Read case N again and say what comes of it.")
@click.option("--keep", metavar="DIR", help="With --only: where the file is written and stays.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--strict", is_flag=True, help="Exit 4 when an aim is missed.")
def fuzz(
    cases: int,
    seed: int,
    jobs: int,
    displays: str | None,
    only: int | None,
    keep: str | None,
    as_json: bool,
    strict: bool,
) -> None:
    """Mutated raw files through scanner, rules and pixel reader: nothing but coded errors may escape."""
    from archive_proc.bench.fuzz import lines, report, run_case, run_fuzz

    shown = Path(displays) if displays else None
    if only is not None:
        with tempfile.TemporaryDirectory(prefix="archive-proc-fuzz-") as folder:
            place = Path(keep) if keep else Path(folder)
            place.mkdir(parents=True, exist_ok=True)
            case = run_case(seed, only, shown, place)
        click.echo(f"{case.word}  {case.cost.cpu_s:.3f} s CPU, {case.cost.peak_bytes / 1e6:.1f} MB  ({case.name})")
        click.echo(case.escaped, nl=False)
        sys.exit(4 if case.escaped else 0)
    campaign = run_fuzz(cases, seed, shown, jobs)
    if not as_json:
        click.echo("\n".join(lines(campaign)))
    _printed(report(campaign), as_json, strict)


def _printed(report: Report, as_json: bool, strict: bool) -> None:
    from archive_proc.bench.figures import report_json, table

    click.echo(report_json(report) if as_json else table(report))
    if strict and report.missed:
        sys.exit(4)


@command.command("faults")
@click.option(
    "--site",
    type=click.Choice(["local", "slurm:local"]),
    default="local",
    show_default=True,
    help="Where runs happen: on this machine, or on a throw-away SLURM of its own (or the one that SLURM_CONF names).",
)
@click.option("--only", metavar="KIND,...", help="Some kinds of fault only: kills, real-kills, points, compactor, ...")
@click.option("--size", type=click.IntRange(1), default=10, show_default=True, help="How many of each kind.")
@click.option(
    "--faults", "number", type=click.IntRange(1), default=100, show_default=True, help="On SLURM: how many in all."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of moments, objects and places.")
@click.option("--work", metavar="DIR", help="Where nights and archives are made [a temporary directory].")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--strict", is_flag=True, help="Exit 4 when a promise was broken, or a kind could not be tried.")
def faults(
    site: str,
    only: str | None,
    size: int,
    number: int,
    seed: int,
    work: str | None,
    as_json: bool,
    strict: bool,
) -> None:
    """Break things on purpose and give the same command again: nothing wrong accepted, nothing sealed lost.

    Kills, full disk, quota, read-only store, damaged shards, torn journals, clocks, two drivers, other versions, raw
    files that change under a run. The long campaign takes an hour or two; --size 1 looks at every kind.

    On SLURM several faults a run: cancelled and requeued jobs, killed workers, nannies and drivers, the end of the
    walltime, an absent controller, a full disk, spoiled raw files, tasks that crash, hang or eat memory. What was not
    spoiled must equal the serial run's, and exactly what was spoiled must fail, with its cause.
    """
    from archive_proc.bench.faults.campaign import Campaign, kinds_of
    from archive_proc.bench.faults.case import report, table
    from archive_proc.bench.faults.full_size import full_size_night
    from archive_proc.bench.faults.on_slurm.campaign import slurm_campaign
    from archive_proc.bench.figures import report_json

    kinds = kinds_of(only)
    if only and site != "local":
        raise MisuseError(
            "AP-CLI-007",
            "kinds are those of --site local",
            subject="--only",
            remedy="on SLURM every kind comes in turn",
        )
    cases = []
    with tempfile.TemporaryDirectory(prefix="archive-proc-bench-") as temporary:
        place = Path(work) if work else Path(temporary)
        campaign = Campaign(place, seed, size, full_size_night)
        try:
            for one in campaign.run(kinds) if site == "local" else slurm_campaign(place, seed, number):
                cases.append(one)
                click.echo(f"{'held  ' if one.held else 'BROKEN'} {one.kind}: {one.what}: {one.found}", err=True)
        except (KeyboardInterrupt, SystemExit):
            click.echo(table(cases), err=True)  # hours may be in it
            raise
    found = report(cases, campaign.skipped)
    click.echo(report_json(found) if as_json else table(cases, campaign.skipped))
    if strict and found.missed:
        sys.exit(4)


command.add_command(engine)
command.add_command(project)
command.add_command(compare)
command.add_command(semester)
