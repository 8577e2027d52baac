"""Where everything of one archive lies (DESIGN 5): every path is made here, none anywhere else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from archive_proc.model.ids import ManifestId, PlanId, ProcessId, RunId


@dataclass(frozen=True, slots=True)
class Layout:
    """The directory tree of one archive. Paths only: nothing is created or looked at.

    >>> Layout(Path("A")).product_dir(ProcessId("3fa9" + 28 * "0")).as_posix()
    'A/products/3f/3fa90000000000000000000000000000'
    """

    root: Path
    """Directory that holds `archive.toml`."""

    @property
    def archive_toml(self) -> Path:
        """Settings of the archive."""
        return self.root / "archive.toml"

    @property
    def overrides(self) -> Path:
        """`*.yaml`: human decisions that change results."""
        return self.root / "overrides"

    @property
    def decisions(self) -> Path:
        """`<table>.jsonl`: verdicts, issue events, accepted equivalences, target names."""
        return self.root / "decisions"

    @property
    def sites(self) -> Path:
        """`*.toml`: site profiles of this archive."""
        return self.root / "sites"

    @property
    def manifests(self) -> Path:
        """`<manifest_id>.parquet`, immutable."""
        return self.root / "manifests"

    def manifest(self, manifest_id: ManifestId) -> Path:
        """One manifest."""
        return self.manifests / f"{manifest_id}.parquet"

    @property
    def headers(self) -> Path:
        """Every card of every raw header, by ESO period."""
        return self.root / "headers"

    def header_part(self, period: int) -> Path:
        """The cards of one ESO period (of the night)."""
        return self.headers / f"period={period}.parquet"

    @property
    def products(self) -> Path:
        """Sealed processes, in 256 directories by the first two digits of their id."""
        return self.root / "products"

    def product_dir(self, process_id: ProcessId) -> Path:
        """One sealed process: `product.zarr`, `process.json`, `log.txt`, `seal.json`."""
        return self.products / process_id[:2] / process_id

    def product_group(self, process_id: ProcessId, product_type: str) -> Path:
        """The Zarr group of one product."""
        return self.product_dir(process_id) / "product.zarr" / product_type

    @property
    def pending(self) -> Path:
        """Private directories of attempts, on the same file system as `products`."""
        return self.root / "pending"

    def pending_dir(self, process_id: ProcessId, attempt: int) -> Path:
        """One attempt: `out/` (the future product directory), `receipts/`, `passes/`, `marks/`, `spec.json`."""
        return self.pending / f"{process_id}.{attempt}"

    @property
    def plans(self) -> Path:
        """`<plan_id>.json`."""
        return self.root / "plans"

    def plan(self, plan_id: PlanId) -> Path:
        """One plan."""
        return self.plans / f"{plan_id}.json"

    @property
    def runs(self) -> Path:
        """One directory a run."""
        return self.root / "runs"

    def run_dir(self, run_id: RunId) -> Path:
        """One run: `run.json`, `journal.jsonl`, `logs/`, `report/`."""
        return self.runs / run_id

    def journal(self, run_id: RunId) -> Path:
        """The run's diary: JSON lines with a CRC, written by the driver only."""
        return self.run_dir(run_id) / "journal.jsonl"

    def run_course(self, run_id: RunId) -> Path:
        """The journal added up to some byte of it, for `status`: disposable, made again from plan and journal."""
        return self.run_dir(run_id) / "course.json"

    def report_dir(self, run_id: RunId) -> Path:
        """The run's report: `index.html`, `report.json`. Disposable."""
        return self.run_dir(run_id) / "report"

    @property
    def jobs(self) -> Path:
        """Job scripts that were written without a run: of detached drivers, and to be looked at. Disposable."""
        return self.root / "jobs"

    @property
    def catalog(self) -> Path:
        """Snapshots and the link to the newest."""
        return self.root / "catalog"

    @property
    def snapshots(self) -> Path:
        """Immutable snapshot directories."""
        return self.catalog / "snapshots"

    @property
    def current(self) -> Path:
        """Symbolic link to the newest snapshot; readers resolve it once."""
        return self.catalog / "current"

    @property
    def understood(self) -> Path:
        """Hint of what the newest snapshot was understood from; may be deleted."""
        return self.catalog / "understood.json"

    @property
    def planned(self) -> Path:
        """Hint: the last plan made, and what it was made from; may be deleted."""
        return self.catalog / "planned.txt"

    @property
    def locks(self) -> Path:
        """Leases."""
        return self.root / "locks"

    @property
    def driver_lock(self) -> Path:
        """The one driver's lease."""
        return self.locks / "driver.json"

    @property
    def quicklook(self) -> Path:
        """Pictures made from products, disposable."""
        return self.root / "quicklook"

    def quicklook_of(self, subject_id: str) -> Path:
        """The pictures of one subject."""
        return self.quicklook / subject_id
