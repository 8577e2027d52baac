"""The Python API: everything the command line does is one call here. Light to import."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from archive_proc.errors import LockedError, PreconditionError
from archive_proc.settings import (
    ARCHIVE_FILE,
    NEW_ARCHIVE,
    ArchiveSettings,
    SiteProfile,
    find_archive,
    parse_archive_settings,
)
from archive_proc.storage.answers import answering
from archive_proc.storage.layout import Layout

if TYPE_CHECKING:
    import pyarrow as pa
    import xarray as xr

    from archive_proc.association.explain import Explanation
    from archive_proc.catalog.selection import Selection
    from archive_proc.execution.doctor.finding import Finding
    from archive_proc.execution.outcome import RunOutcome
    from archive_proc.flow.campaign import Campaign
    from archive_proc.flow.intake import Intake
    from archive_proc.flow.reporting import WrittenReport
    from archive_proc.flow.status import RunStatus
    from archive_proc.model.ids import FileId, ObsId, RunId
    from archive_proc.model.observations import Issue
    from archive_proc.model.processes import Plan
    from archive_proc.storage.snapshots import Snapshot


@dataclass(frozen=True)
class Product:
    """A sealed product: where it is, and its pixels when asked for."""

    product_id: str
    product_type: str
    subject_id: str
    path: Path
    """Its Zarr group."""

    def to_xarray(self) -> xr.Dataset:
        """The product as a lazy dataset: variables, coordinates and attributes of product_types.toml."""
        from archive_proc.storage.reading import open_dataset

        return open_dataset(self.path)


class Archive:
    """One archive on disk. Opening it reads its settings and nothing else."""

    def __init__(
        self, root: Path, settings: ArchiveSettings, cookbook: str | None = None, preset: str | None = None
    ) -> None:
        self.root = root
        self.preset = preset
        self.settings = self._with_preset(settings)
        self.cookbook = cookbook
        self.layout = Layout(root)
        self._read: tuple[object, Campaign] | None = None

    def __repr__(self) -> str:
        return f"Archive({str(self.root)!r})"

    @classmethod
    def open(cls, path: str | Path | None = None, *, cookbook: str | None = None, preset: str | None = None) -> Archive:
        """Open the archive at `path`, else `$ARCHIVE_PROC_HOME`, else the nearest parent that is one.

        `cookbook`: a module whose recipes take the place of the package's (stand-ins of `bench`): its `COOKBOOK` is
        planned with, its `recipe(name)` run. `preset` takes the place of that of `archive.toml`.

        Raises NotFoundError AP-CLI-002, MisuseError AP-CLI-003 and -004 for its settings.
        """
        root = find_archive(path)
        settings = parse_archive_settings((root / ARCHIVE_FILE).read_text(), str(root / ARCHIVE_FILE))
        return cls(root, settings, cookbook, preset)

    def _with_preset(self, settings: ArchiveSettings) -> ArchiveSettings:
        import msgspec

        return settings if self.preset is None else msgspec.structs.replace(settings, preset=self.preset)

    @classmethod
    def init(cls, path: str | Path) -> Archive:
        """Make an archive: settings with comments and an empty tree. Raises LockedError AP-CLI-001 where one stands."""
        root = Path(path).expanduser().resolve()
        if (root / ARCHIVE_FILE).exists():
            raise LockedError(
                "AP-CLI-001",
                f"{ARCHIVE_FILE} stands there already",
                subject=str(root),
                remedy="choose another directory, or use the archive as it is",
            )
        layout = Layout(root)
        with answering(root):
            for directory in (layout.overrides, layout.decisions, layout.sites, layout.manifests, layout.products):
                directory.mkdir(parents=True, exist_ok=True)
            # Imported here: it brings pyarrow, and opening an archive must stay light.
            from archive_proc.storage.atomic import write_bytes

            write_bytes(layout.archive_toml, NEW_ARCHIVE.format(archive_id=secrets.token_hex(6)).encode())
        return cls.open(root)

    # -- raw files --------------------------------------------------------------------------------------------------

    def ingest(
        self,
        paths: Sequence[str | Path],
        *,
        jobs: int | None = None,
        dry_run: bool = False,
        allow_empty: bool = False,
        full_digest: bool = False,
    ) -> Intake:
        """Read headers below the paths into a manifest, and publish what the rules make of them.

        Raises NotFoundError AP-CLI-008 when there is no file, LockedError while a driver works on the archive.
        """
        from archive_proc.execution.lock import acquire
        from archive_proc.flow.collector import paused
        from archive_proc.flow.intake import IntakeOptions, take_in

        given = [Path(path) for path in paths]
        asked = IntakeOptions(jobs or os.cpu_count() or 1, dry_run, allow_empty, full_digest)
        if dry_run:
            return take_in(self.layout, self.settings, given, asked)
        with answering(self.root), acquire(self.layout, "ingest"):
            with paused():
                intake, taken = take_in(self.layout, self.settings, given, asked).without_frames()
            self._publish()
        return intake.with_frames(taken, lambda: self.campaign.raw_frames)

    def expect(self, manifest: str | Path) -> tuple[Issue, ...]:
        """Keep a campaign's list of raw files; the issues of its missing and surplus ones now, and at every `check`.

        Raises InputError AP-ING-042 for a file that is no list of archive names.
        """
        from archive_proc.flow.expecting import expect

        with answering(self.root):
            expect(self.layout, Path(manifest))
        return tuple(one for one in self.campaign.early_issues if one.code in ("AP-ING-040", "AP-ING-041"))

    # -- what the rules say -----------------------------------------------------------------------------------------

    @property
    def campaign(self) -> Campaign:
        """The archive as rules and decisions read it; anew only where settings, manifests or overrides changed."""
        from archive_proc.flow.campaign import open_campaign
        from archive_proc.flow.collector import paused
        from archive_proc.flow.sources import archive_state

        state = archive_state(self.layout)
        if self._read is None or self._read[0] != state:
            self.settings = self._with_preset(Archive.open(self.root).settings)
            with paused():
                self._read = (state, open_campaign(self.layout, self.settings, self.cookbook))
        return self._read[1]

    def select(self, selection: Selection) -> tuple[ObsId, ...]:
        """The observations of a selection, by time.

        Raises NotFoundError where nothing matched, unless the selection allows it.
        """
        from archive_proc.catalog.selection import select

        self.refresh()
        return select(self.layout, selection)

    def refresh(self) -> None:
        """Publish what the rules say now (overrides may have changed).

        Left out while a driver works, and where the archive cannot be written: then the last catalog answers.
        """
        from archive_proc.execution.lock import acquire

        with (
            contextlib.suppress(LockedError, PreconditionError),
            answering(self.root),
            acquire(self.layout, "publish"),
        ):
            self._publish()

    def check(self, selection: Selection) -> tuple[Issue, ...]:
        """Issues of a selection, blocking ones first; those of the archive as a whole only where all is selected."""
        from archive_proc.flow.issues import issues_of

        return issues_of(self.campaign, None if selection.words == "everything" else self.select(selection))

    def explain(self, text: str) -> Explanation:
        """Why this calibration and not each other candidate, for an observation, group or product id.

        Raises NotFoundError AP-CAT-005 for an id that is not known.
        """
        from archive_proc.catalog.selection import identified
        from archive_proc.flow.issues import subject_of
        from archive_proc.model.ids import GroupId, ObsId

        self.refresh()
        kind, subject = subject_of(self.layout, identified(self.layout, text))
        if kind == "group":
            return self.campaign.explain_group(GroupId(subject))
        return self.campaign.explain_observation(ObsId(subject))

    # -- work -------------------------------------------------------------------------------------------------------

    def plan(self, selection: Selection, to: Sequence[str] = ()) -> Plan:
        """What would be done, why and at what cost: a value, saved under `plans/` only by `save_plan` and `run`.

        A raw file named by its id stands for itself where one of the types is made of single frames, else for the
        observation it is of.
        """
        from archive_proc.flow.collector import paused
        from archive_proc.flow.planned import asked, planned

        self.refresh()
        wanted, files = self._chosen(selection, to)
        with paused():
            if self.cookbook is not None:
                return self.campaign.plan(wanted, to, selection.words, file_ids=files)
            key = asked(self.layout, self.settings.preset, selection.words, wanted, files, to)
            return planned(self.layout, key, lambda: self.campaign.plan(wanted, to, selection.words, file_ids=files))

    def _chosen(self, selection: Selection, to: Sequence[str]) -> tuple[tuple[ObsId, ...], tuple[FileId, ...]]:
        """Observations and single frames of a selection, given the product types wanted."""
        from archive_proc.catalog.selection import named_files, select
        from archive_proc.flow.campaign import makes_of_frames

        # Asked of the cookbook: the campaign, which takes seconds to read, may not be needed at all.
        if not makes_of_frames(self.cookbook, to):
            return select(self.layout, selection), ()
        files, others = named_files(self.layout, selection)
        return () if others is None else select(self.layout, others), files

    def save_plan(self, plan: Plan) -> Path:
        """Write the plan, so that `run` executes exactly it."""
        from archive_proc.flow.running import save_plan

        with answering(self.root):
            return save_plan(self.layout, plan)

    def load_plan(self, text: str) -> Plan:
        """A saved plan by its id, or any unambiguous start of it."""
        from archive_proc.flow.running import load_plan
        from archive_proc.flow.runs import named_plan

        return load_plan(self.layout, named_plan(self.layout, text))

    def run(
        self,
        selection: Selection,
        *,
        to: Sequence[str] = (),
        site: SiteProfile | None = None,
        retry: bool = False,
        max_failures: int | None = None,
        progress: bool = False,
        chunk_planes: int | None = None,
    ) -> tuple[Plan, tuple[RunOutcome, ...]]:
        """Plan a selection and do it; sealed products are never made again.

        Raises LockedError AP-RUN-001 while another driver lives, PreconditionError before work starts.
        """
        from archive_proc.execution.lock import acquire
        from archive_proc.flow.running import Asked, Order, run_selection, telling

        order = Order(
            site=site or self.site(),
            retry=retry,
            max_failures=max_failures,
            progress=progress,
            chunk_planes=chunk_planes,
        )
        with (
            answering(self.root),
            telling(self.layout, order) as ended,
            acquire(self.layout, f"run {selection.words}") as lease,
        ):
            # Inside the lease: nobody can ingest between what is read here and what is run.
            self._publish()
            wanted, files = self._chosen(selection, to)
            asked = Asked(tuple(wanted), tuple(to), selection.words, tuple(files))
            plan, outcomes = run_selection(self, asked, order, lease)
            ended.append(outcomes[-1])
            return plan, outcomes

    def run_plan(
        self,
        plan: Plan,
        *,
        site: SiteProfile | None = None,
        retry: bool = False,
        max_failures: int | None = None,
        progress: bool = False,
    ) -> RunOutcome:
        """Execute a saved plan exactly."""
        from archive_proc.flow.running import Order, run_plan

        order = Order(site=site or self.site(), retry=retry, max_failures=max_failures, progress=progress)
        with answering(self.root):
            return run_plan(self, plan, order)

    def forget(self) -> None:
        """Let go of the campaign; it is read anew when it is asked for."""
        self._read = None

    def detach(self, arguments: Sequence[str], site: SiteProfile) -> tuple[str, Path]:
        """Give `archive-proc ARGUMENTS` in a small SLURM job of the site; its number and the file it writes to."""
        from archive_proc.flow.detaching import detach

        with answering(self.root):
            return detach(self.layout, site, arguments)

    def detached(self) -> dict[str, str]:
        """Jobs of detached drivers that have not ended: number -> SLURM's word about it."""
        from archive_proc.flow.detaching import detached

        with answering(self.root):
            return detached(self.layout)

    def cancel_detached(self) -> tuple[str, ...]:
        """Take back detached drivers; the numbers of their jobs."""
        from archive_proc.flow.detaching import cancel_detached

        with answering(self.root):
            return cancel_detached(self.layout)

    def job_scripts(self, arguments: Sequence[str], site: SiteProfile) -> tuple[Path, Path]:
        """Write, and do not submit, the driver's and the workers' job scripts of a SLURM site."""
        from archive_proc.flow.detaching import write_scripts

        with answering(self.root):
            scripts = write_scripts(self.layout, site, arguments)
        return scripts.driver, scripts.worker

    def resume(self, run: str | None = None, *, site: SiteProfile | None = None, progress: bool = False) -> RunOutcome:
        """Continue a run (the latest): same plan, only what is missing."""
        from archive_proc.flow.running import Order, resume

        with answering(self.root):
            return resume(self, self.run_id(run), Order(site=site or self.site(), progress=progress))

    def cancel(self, run: str | None = None) -> RunId:
        """Ask the driver of a run (the latest) to stop gracefully."""
        from archive_proc.flow.runs import cancel

        run_id = self.run_id(run)
        with answering(self.root):
            cancel(self.layout, run_id)
        return run_id

    def status(self, run: str | None = None) -> RunStatus:
        """Where a run (the latest) stands."""
        from archive_proc.flow.status import run_status

        return run_status(self.layout, self.run_id(run))

    def runs(self) -> tuple[RunStatus, ...]:
        """Where every run stands, oldest first."""
        from archive_proc.flow.status import run_list

        return run_list(self.layout)

    def report(
        self,
        run: str | None = None,
        *,
        directory: str | Path | None = None,
        everything: bool = False,
        site: SiteProfile | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> WrittenReport:
        """Draw what a run (the latest) made, as far as missing or outdated; write its HTML page and `report.json`.

        Raises PreconditionError AP-RPT-001 without the extra `report`, NotFoundError AP-CLI-009 where there is no run.
        """
        from archive_proc.flow.reporting import ReportOptions, write_report

        run_id = self.run_id(run)
        self.refresh()
        place = None if directory is None else Path(directory).expanduser().resolve()
        options = ReportOptions(site=site or self.site(), directory=place, everything=everything, progress=progress)
        with answering(self.root):
            return write_report(self.campaign, run_id, options)

    def run_id(self, text: str | None) -> RunId:
        """The run whose id begins so; the latest where nothing is given. Raises NotFoundError AP-CLI-009."""
        from archive_proc.flow.runs import named_run

        return named_run(self.layout, text)

    def doctor(self, site: str | None = None, *, job_patience_s: float | None = None) -> tuple[Finding, ...]:
        """Look for real whether work could begin; with a patience, one tiny job of a SLURM site reports from a node."""
        from archive_proc.execution.doctor.examination import examine

        roots = {name: Path(root) for name, root in self.settings.raw_roots.items()}
        return examine(self.site(site), self.root, roots, job_patience_s)

    def site(
        self, name: str | None = None, workers: int | None = None, notify: Sequence[str] | None = None
    ) -> SiteProfile:
        """A site profile: of this archive's `sites/`, else of those shipped; `slurm:NAME` wants one of that back end.

        `notify`: a command, word by word, in place of the profile's or that of `archive.toml`. Raises NotFoundError
        AP-CLI-005 naming the nearest, MisuseError AP-CLI-003 for a profile that does not pass.
        """
        import msgspec

        from archive_proc.flow.sites import site_named

        profile = site_named(name or self.settings.default_site, self.layout.sites, workers)
        command = profile.notify or self.settings.notify if notify is None else tuple(notify)
        return msgspec.structs.replace(profile, notify=command)

    # -- the catalog ------------------------------------------------------------------------------------------------

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        """The answer to one SELECT, as an Arrow table."""
        from archive_proc.catalog.query import query

        return query(self.layout, sql, parameters)

    def saved(self, name: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        """The answer to a saved query."""
        from archive_proc.catalog.query import query_saved

        return query_saved(self.layout, name, parameters)

    def show(self, text: str) -> str:
        """One page about an id."""
        from archive_proc.catalog.show import show

        return show(self.layout, text)

    def products(self, product_type: str, selection: Selection | None = None) -> Iterator[Product]:
        """The current products of a type, by time of their subject; of some observations where a selection is given."""
        found = self.query(
            "SELECT p.product_id, p.subject_id, p.store_path FROM products p LEFT JOIN observations o "
            "ON o.obs_id = p.subject_id WHERE p.product_type = $kind AND p.is_current AND p.state = 'ok' "
            "ORDER BY o.mjd_start, p.product_id",
            {"kind": product_type},
        ).to_pylist()
        wanted = None if selection is None else set(self.select(selection))
        for row in found:
            if wanted is None or row["subject_id"] in wanted:
                yield Product(row["product_id"], product_type, row["subject_id"], self.root / row["store_path"])

    def rebuild(self) -> Snapshot:
        """Make the catalog anew from manifests, overrides, decisions, plans, journals and process records."""
        from archive_proc.execution.lock import acquire
        from archive_proc.flow.publish import rebuild
        from archive_proc.storage.snapshots import forget_unreadable

        with answering(self.root), acquire(self.layout, "rebuild"):
            forget_unreadable(self.layout)
            rebuild(self.layout, self.campaign.understanding)
            # What processes refused is known only now: associations are settled with it.
            self.forget()
            return rebuild(self.layout, self.campaign.understanding)

    def verify(self, *, deep: bool = False) -> tuple[Issue, ...]:
        """Everything that does not fit its seal or its row, blocking findings first; empty where all is well."""
        from archive_proc.catalog.verify import verify

        roots = {name: Path(root) for name, root in self.settings.raw_roots.items()}
        return verify(self.layout, deep=deep, roots=roots)

    def free_space(self) -> tuple[int, int]:
        """Free bytes and free inodes of the archive's file system."""
        counted = os.statvfs(self.root)
        return shutil.disk_usage(self.root).free, counted.f_favail

    # ---------------------------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        from archive_proc.flow.collector import paused
        from archive_proc.flow.publish import publish, refresh
        from archive_proc.flow.sources import source_state

        with paused():
            if self.cookbook is not None:
                # Whoever writes recipes changes them: nothing is remembered of them.
                publish(self.layout, self.campaign.understanding)
            else:
                refresh(self.layout, source_state(self.layout), lambda: self.campaign.understanding)
