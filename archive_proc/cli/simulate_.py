"""`simulate demo DIR`: raw nights with known truth."""

from __future__ import annotations

from pathlib import Path

import click

from archive_proc.cli.options import shown_path


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
