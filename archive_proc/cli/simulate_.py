"""`simulate demo DIR`: raw nights with known truth."""

from __future__ import annotations

from pathlib import Path

import click

from archive_proc.cli.options import shown_path
from archive_proc.errors import MisuseError


@click.group("simulate")
def command() -> None:
    """Write raw nights with known truth, in true ESO format."""


@command.command("demo")
@click.argument("directory", metavar="DIR")
@click.option("--seed", type=int, help="Another night of the same kind.")
def demo(directory: str, seed: int | None) -> None:
    """The night of scripts/demo: two IRDIS targets, one without FLUX. Truth goes beside DIR, never into it."""
    from archive_proc.simulate.demo import DEMO_SEED, demo_night

    truth = demo_night(Path(directory), DEMO_SEED if seed is None else seed)
    files = sorted(Path(directory).rglob("SPHER*"))
    size = sum(one.stat().st_size for one in files)
    click.echo(f"{len(files)} raw files, {size / 1e6:.0f} MB, in {shown_path(Path(directory).resolve())}")
    click.echo(f"truth of {len(truth.sequences)} sequences beside it")


@command.command("ifs")
@click.argument("directory", metavar="DIR")
@click.option("--mode", type=click.Choice(["YJ", "YH"]), default="YJ", show_default=True, help="The prism.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another instrument, detector and sky.")
@click.option(
    "--scenes",
    default="star,uniform,comb",
    show_default=True,
    help="Of star, disc, uniform, tdwarf, comb, empty, with commas: one observing block each.",
)
@click.option("--gzip", "compress", is_flag=True, help="Write .fits.gz.")
def ifs(directory: str, mode: str, seed: int, scenes: str, compress: bool) -> None:
    """An IFS night with its calibrations, about 30 planes of 17 MB. Truth goes beside DIR, never into it."""
    from dataclasses import replace

    from archive_proc.simulate.ifs.night import simulate_ifs_night
    from archive_proc.simulate.ifs.spec import scene_night

    night = scene_night(mode, tuple(one.strip() for one in scenes.split(",") if one.strip()))
    truth = simulate_ifs_night(Path(directory), replace(night, compress=compress), seed)
    files = sorted(Path(directory).rglob("SPHER*"))
    size = sum(one.stat().st_size for one in files)
    click.echo(f"{len(files)} raw files, {size / 1e6:.0f} MB, in {shown_path(Path(directory).resolve())}")
    click.echo(f"truth of {len(truth.file_ids)} files beside it")


@command.command("irdifs")
@click.argument("directory", metavar="DIR")
@click.option("--seed", type=int, help="Another night of the same kind.")
def irdifs(directory: str, seed: int | None) -> None:
    """One target with both arms in one observing block (DB_H23 and YJ), the IFS in DIR/IFS; truth beside DIR."""
    from archive_proc.simulate.ifs.irdifs import IRDIFS_SEED, irdifs_night

    irdifs_night(Path(directory), IRDIFS_SEED if seed is None else seed)
    files = sorted(Path(directory).rglob("SPHER*"))
    size = sum(one.stat().st_size for one in files)
    click.echo(f"{len(files)} raw files, {size / 1e6:.0f} MB, in {shown_path(Path(directory).resolve())}")
    click.echo("truth of both arms beside it")


@command.command("semester")
@click.argument("directory", metavar="DIR")
@click.option("--period", default="P97", show_default=True, metavar="P97", help="The ESO period.")
@click.option(
    "--scale",
    type=click.FloatRange(0.0, 2.0, min_open=True),
    default=1.0,
    show_default=True,
    help="Part of a busy semester.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Another semester of the same kind.")
@click.option("--pixels", is_flag=True, help="Raw files of IRDIS imaging instead, and nothing else.")
@click.option(
    "--bin",
    "binning",
    type=click.IntRange(1, 2),
    help="With --pixels: one pixel in place of N by N of the detector [1].",
)
def semester(directory: str, period: str, scale: float, seed: int, pixels: bool, binning: int | None) -> None:
    """A whole semester without pixels: DIR/manifest.parquet and DIR/headers.parquet, which `ingest DIR` takes.

    About 32,000 raw files of both arms and ZIMPOL with their calibrations; what was made stands beside the figures of
    real semesters. --pixels writes raw files, a folder a night, truth beside DIR; give it a small --scale (0.005).
    """
    from archive_proc.simulate.semester.measured import measured_lines
    from archive_proc.simulate.semester.nights import period_named
    from archive_proc.simulate.semester.write import SemesterSpec, simulate_semester

    spec = SemesterSpec(period=period_named(period), scale=scale, seed=seed)
    place = shown_path(Path(directory).resolve())
    if pixels:
        from archive_proc.simulate.semester.pixels import simulate_pixels

        made = simulate_pixels(Path(directory), spec, binning or 1)
        files = [file for one in made.truths for file in one.files]
        size = sum(one.stat().st_size for one in files)
        click.echo(f"{len(files)} raw files, {size / 1e6:.0f} MB, of {len(made.blocks)} sequences, in {place}")
        click.echo("truth beside it; next: archive-proc ingest DIR, archive-proc run")
        return
    if binning is not None:
        raise MisuseError("AP-CLI-007", "is for --pixels only", subject="--bin", remedy="add --pixels, or leave it out")
    frames = simulate_semester(Path(directory), spec)
    for line in measured_lines(frames, scale):
        click.echo(line)
    click.echo(f"{len(frames)} raw files without pixels, in {place}")
    click.echo("next: archive-proc ingest DIR, archive-proc plan")
