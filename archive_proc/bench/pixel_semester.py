"""A small part of a semester with pixels, reduced on a site and serially: whether it ends, and ends alike."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from archive_proc.archive import Archive
from archive_proc.bench.commands import FINISHED
from archive_proc.bench.faults.grounds import array_digests
from archive_proc.bench.faults.on_slurm.cluster import Cluster, a_slurm
from archive_proc.bench.figures import Figure, Report
from archive_proc.bench.run_records import latest_that_worked, read_records
from archive_proc.errors import InfraFailure
from archive_proc.execution.interpreters import module_command, same_paths
from archive_proc.model.events import RunEnded
from archive_proc.model.processes import State
from archive_proc.simulate.semester.pixels import simulate_pixels
from archive_proc.simulate.semester.write import SemesterSpec
from archive_proc.storage.journal import read_journal

OWN_SLURM = "slurm:local"
"""The site whose cluster this bench starts itself, where the environment names none."""
SERIAL = "serial"
CENTERED = "irdis_centered_cube"
CENTERED_AIM = 90.0
"""Of the complete observations, %."""
LEAVE_S = 60.0
"""Jobs that are not needed any more have gone by then."""


@dataclass(frozen=True, slots=True)
class Reduced:
    """An archive after its run."""

    site: str
    archive: Archive
    wall_s: float

    @property
    def counts(self) -> Mapping[str, int]:
        """State -> processes, at the end of the run that did the work."""
        journal = self.archive.layout.journal(latest_that_worked(self.archive.layout))
        return next(one.counts for one in reversed(read_journal(journal).events) if isinstance(one, RunEnded))

    @property
    def not_made(self) -> int:
        """Processes of the plan without a product."""
        made = (State.DONE.value, State.CACHED.value)
        return sum(count for state, count in self.counts.items() if state not in made)

    @property
    def cpu_s(self) -> float:
        """Of all tasks."""
        return sum(
            one.cpu_s for one in read_records(self.archive.layout, latest_that_worked(self.archive.layout)).tasks
        )


def bench_semester(site: str, spec: SemesterSpec, binning: int, work: Path) -> Report:
    """Simulate it below `work` (kept where it stands there), reduce it serially and on the site, and compare.

    Raises InfraFailure AP-SIM-007 with the command that did not finish, PreconditionError AP-SIM-008 where the site is
    `slurm:local` and there is no SLURM.
    """
    raw, template = work / "raw", work / "ingested"
    if not raw.is_dir():
        simulate_pixels(raw, spec, binning)
    _command({}, "init", str(template), good=(0,))
    _command({}, "--archive", str(template), "ingest", str(raw), good=(0,))
    serial = _reduced(template, work / "serial", SERIAL, {})
    with _cluster(site) as cluster:
        before = cluster.queue() if cluster else set()
        other = _reduced(template, work / "site", site, cluster.environment if cluster else {})
        left = _left(cluster, before) if cluster else None
    case = f"P{spec.period}, scale {spec.scale:g}, seed {spec.seed}, {binning} x {binning} pixels in one"
    return Report("semester", tuple(beside_serial(f"{case}, {site}", other, serial, left)))


@contextlib.contextmanager
def _cluster(site: str) -> Iterator[Cluster | None]:
    if site != OWN_SLURM:
        yield None
        return
    with a_slurm() as cluster:
        yield cluster


def _reduced(template: Path, root: Path, site: str, environment: Mapping[str, str]) -> Reduced:
    shutil.copytree(template, root, symlinks=True)
    begun = time.monotonic()
    _command(environment, "--archive", str(root), "run", "--site", site, good=FINISHED)
    return Reduced(site, Archive.open(root), time.monotonic() - begun)


def _command(environment: Mapping[str, str], *words: str, good: tuple[int, ...]) -> None:
    done = subprocess.run(
        module_command("archive_proc.cli.main", *words),
        stdout=subprocess.DEVNULL,
        env={**same_paths(), **environment},
        check=False,
    )
    if done.returncode not in good:
        raise InfraFailure(
            "AP-SIM-007",
            f"exit status {done.returncode}",
            subject=f"archive-proc {' '.join(words)}",
            remedy="read what it wrote to stderr, then run it by hand",
        )


def _left(cluster: Cluster, before: set[str]) -> int:
    until = time.monotonic() + LEAVE_S
    while (left := cluster.queue() - before) and time.monotonic() < until:
        time.sleep(0.3)
    return len(left)


def beside_serial(case: str, run: Reduced, serial: Reduced, jobs_left: int | None) -> Iterator[Figure]:
    """The figures of a run on a site beside the serial run of the same archive; `jobs_left`: None without jobs."""
    campaign = run.archive.campaign
    complete = {one.obs_id for one in campaign.observations if one.complete}
    cubes = {one.subject_id: one for one in run.archive.products(CENTERED) if one.path.is_dir()}
    centred = 100.0 * len(complete & cubes.keys()) / len(complete) if complete else None
    planes = sum(one.to_xarray().sizes["frame"] for one in cubes.values())
    found, wanted = array_digests(run.archive.root), array_digests(serial.archive.root)
    differing = sum(found.get(name) != wanted.get(name) for name in found.keys() | wanted.keys())
    issues = [one for one in run.archive.verify(deep=True) if one.severity != "note"]
    n = len(wanted)
    yield Figure(case=case, name="raw files", value=len(campaign.raw_frames), unit="1", n=len(campaign.raw_frames))
    yield Figure(case=case, name="observations", value=len(campaign.observations), unit="1",
                 reference="of them complete", reference_value=len(complete), n=len(campaign.observations))  # fmt: skip
    yield Figure(
        case=case, name="complete observations that end in a centred cube", value=centred, unit="%", aim=CENTERED_AIM,
        at_least=True, reference="science planes in centred cubes", reference_value=planes, n=len(complete),
    )  # fmt: skip
    yield Figure(
        case=case, name="arrays that differ from the serial run's, or that only one of them has",
        # Where nothing was made nothing can differ: that is not what is asked for.
        value=differing if n else None, unit="1", aim=0.0, n=n,
    )  # fmt: skip
    yield Figure(
        case=case, name="processes without a product", value=run.not_made, unit="1", reference="of the serial run",
        reference_value=serial.not_made, n=sum(run.counts.values()),
    )  # fmt: skip
    yield Figure(case=case, name="found by verify --deep", value=len(issues), unit="1", aim=0.0, n=n)
    if jobs_left is not None:
        yield Figure(case=case, name="jobs left behind", value=jobs_left, unit="1", aim=0.0, n=1)
    yield Figure(
        case=case, name="CPU of all tasks", value=run.cpu_s, unit="s", reference="of the serial run",
        reference_value=serial.cpu_s, n=n,
    )  # fmt: skip
    yield Figure(
        case=case, name="wall, of the command", value=run.wall_s, unit="s", reference="of the serial run",
        reference_value=serial.wall_s, n=1,
    )  # fmt: skip
