"""One small real night: full-size planes of one DB_H23 sequence with its calibrations, and archives made from it."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from archive_proc.archive import Archive
from archive_proc.bench.faults.children import Child
from archive_proc.catalog.selection import Selection
from archive_proc.simulate.night import simulate_night
from archive_proc.simulate.spec import Companion, FluxFault, NightSpec, SequenceSpec, Star
from archive_proc.simulate.truth import Truth

EVERYTHING = Selection()
SERIAL = "serial"


LOST_STAR = FluxFault(file=1, transmission=1 / 104, offset_mas=(70.0, -70.0))
"""The second FLUX file: 104 times too faint and 8 pixels off, as in a real product."""


def small_night(
    directory: Path,
    *,
    order: str = "FCOOCFS",
    ndit: int = 2,
    seed: int = 11,
    flux_faults: tuple[FluxFault, ...] = (LOST_STAR,),
) -> Truth:
    """Ten planes on sky and their calibrations; one of the two FLUX files went wrong."""
    sequence = SequenceSpec(
        star=Star(
            name="SIM_STAR",
            ra_deg=341.25,
            dec_deg=-33.26,
            flux_adu_s=(1.2e7, 1.1e7),
            companions=(Companion(700.0, 60.0, (5e-4, 5e-4)),),
        ),
        start=dt.datetime(2017, 9, 29, 3, 0),
        filter="DB_H23",
        order=order,
        ndit=ndit,
        flux_ndit=1,
        sky_ndit=1,
        gap_s=900.0,
        ob_id=2100077,
        program="0100.C-9998(A)",
        flux_faults=flux_faults,
    )
    return simulate_night(directory, NightSpec(sequences=(sequence,)), seed)


def archive_of(root: Path, raw: Path) -> Archive:
    """A new archive with the headers of `raw`."""
    archive = Archive.init(root)
    archive.ingest([raw], jobs=1)
    return Archive.open(root)


def run_serial(archive: Archive, **given: object) -> tuple[object, object]:
    """Plan and run everything in this process; the plan and the last outcome."""
    plan, outcomes = archive.run(EVERYTHING, site=archive.site(SERIAL), **given)  # type: ignore[arg-type]
    return plan, outcomes[-1]


def array_digests(archive: Archive) -> dict[str, str]:
    """`product id/array` -> sha256 of the decoded values, of every sealed product."""
    found = {}
    for record in archive.layout.products.glob("*/*/process.json"):
        content = json.loads(record.read_text())
        for product in content["products"]:
            for name, digest in product["array_digests"].items():
                found[f"{record.parent.name}.{product['product_type']}/{name}"] = digest
    return found


def seals(archive: Archive) -> dict[str, bytes]:
    """Process id -> its seal, byte by byte: a product made twice would have another."""
    return {one.parent.name: one.read_bytes() for one in archive.layout.products.glob("*/*/seal.json")}


def start(root: Path, *words: str) -> subprocess.Popen[str]:
    """`archive-proc --archive ROOT WORDS` as a process of its own, leader of its group."""
    return subprocess.Popen(
        [sys.executable, "-m", "archive_proc.cli.main", "--archive", str(root), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "NO_COLOR": "1"},
    )


def call(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The same, to its end; forked from a process that has imported everything, so that imports are paid once."""
    ended = Child(["--archive", str(root), *words], {"NO_COLOR": "1"}).finish()
    return subprocess.CompletedProcess(words, ended.status, ended.out, ended.err)


def copied(source: Path, to: Path) -> Path:
    """A copy of a directory tree, links kept."""
    return Path(shutil.copytree(source, to, symlinks=True))


def with_raw_files_of_its_own(archive: Archive, to: Path) -> Archive:
    """The archive with its raw root copied to a folder: files there may be changed."""
    (root,) = archive.settings.raw_roots.values()
    copied(Path(root), to)
    toml = archive.layout.archive_toml
    toml.write_text(toml.read_text().replace(str(root), str(to)))
    return Archive.open(archive.root)


def without_products(archive: Archive, condition: str, to: Path) -> None:
    """Move products of processes of which this SQL condition holds to a folder: as if they were still to be made."""
    to.mkdir()
    for process in archive.query(f"SELECT process_id FROM processes WHERE {condition}")["process_id"].to_pylist():
        product = archive.layout.product_dir(process)
        for path in (product, *product.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        product.rename(to / process)
