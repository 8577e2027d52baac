"""Where faults are injected: a raw night, an archive that has ingested it, and what an undisturbed run makes of it."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from archive_proc.archive import Archive
from archive_proc.bench import stand_ins
from archive_proc.bench.faults.children import Child, Ended
from archive_proc.bench.kill_points import VARIABLE
from archive_proc.bench.small_night import small_night
from archive_proc.errors import InfraFailure
from archive_proc.execution.lock import holder_of
from archive_proc.model.processes import State
from archive_proc.storage.journal import iter_journals, read_journal
from archive_proc.storage.layout import Layout
from archive_proc.storage.seal import read_seal, remove_tree
from archive_proc.storage.snapshots import differing_tables, open_current

STAND_INS = "archive_proc.bench.stand_ins"
WORKERS = 2
_SITE = """\
name = "{name}"
backend = "{backend}"
workers = {workers}
memory_per_worker_gb = 2.0
# Chunks of one shard of the small night's planes: several tasks a process.
chunk_gb = 0.0008
"""
_TEMPORARY = (".tmp", ".partial", ".now")


@dataclass(slots=True)
class Grounds:
    """One night and its archive, to be copied for every fault."""

    work: Path
    raw: Path
    template: Path
    """Ingested, nothing run."""
    cookbook: str | None
    """None: the real recipes."""
    pause_s: float = 0.0
    """How much longer every stand-in block lasts."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Of every array of the undisturbed run."""
    walls_s: dict[str, float] = field(default_factory=dict)
    """Site -> wall time of an undisturbed run."""
    steps: tuple[str, ...] = ()
    """What the stand-ins of the undisturbed run noted, line by line."""
    needed_bytes: int = 0
    """What an undisturbed run writes, in whole disk blocks; 0: not measured yet."""
    _copies: int = 0

    # -- commands -------------------------------------------------------------------------------------------------

    def start(self, root: Path, *words: str, environment: Mapping[str, str] | None = None) -> Child:
        """`archive-proc --archive ROOT WORDS` as a process of its own, leader of its session."""
        # The package may be imported from a checkout that is not installed: the child must find the same one.
        home = str(Path(__file__).resolve().parents[3])
        given = {
            "PYTHONPATH": os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH", "")])]),
            "NO_COLOR": "1",
            stand_ins.TALLY: str(self.tally(root)),
            stand_ins.PAUSE: str(self.pause_s),
            **(environment or {}),
        }
        recipes = ["--cookbook", self.cookbook] if self.cookbook else []
        return Child(["--archive", str(root), *recipes, *words], given)

    def call(self, root: Path, *words: str, environment: Mapping[str, str] | None = None) -> Ended:
        """The same, to its end."""
        return self.start(root, *words, environment=environment).finish()

    def run(self, root: Path, site: str, environment: Mapping[str, str] | None = None) -> Ended:
        """Give the one command that everything comes back to."""
        return self.call(root, "--quiet", "run", "--site", site, environment=environment)

    # -- archives -------------------------------------------------------------------------------------------------

    def copy(self, of: Path | None = None, into: Path | None = None) -> Path:
        """A fresh copy of the ingested archive (or of another), beside it or in another directory."""
        self._copies += 1
        place = (into or self.work) / f"A{self._copies:04d}"
        return Path(shutil.copytree(of or self.template, place, symlinks=True))

    def remove(self, root: Path) -> None:
        """Drop a copy."""
        remove_tree(root)
        self.tally(root).unlink(missing_ok=True)
        self.flag(root).unlink(missing_ok=True)

    def tally(self, root: Path) -> Path:
        """Where stand-ins of this copy note what they execute."""
        return root.with_name(f"{root.name}.tally")

    def flag(self, root: Path) -> Path:
        """Made by the process that dies at a kill point."""
        return root.with_name(f"{root.name}.killed")

    def killing(self, root: Path, point: str, number: int) -> dict[str, str]:
        """The environment in which a process kills itself."""
        return {VARIABLE: f"{point}:{number}:{self.flag(root)}"}

    def open(self, root: Path) -> Archive:
        """The archive with the recipes of these grounds."""
        return Archive.open(root, cookbook=self.cookbook)

    # -- judging --------------------------------------------------------------------------------------------------

    def wrong(self, root: Path, before: Mapping[str, bytes], *, healed: frozenset[str] = frozenset()) -> list[str]:
        """Promises that do not hold after a fault and the same command again.

        `before`: seals that stood before the fault, `healed`: processes that were moved away as `verify` told.
        """
        wrong: list[str] = []
        layout = Layout(root)
        found = array_digests(root)
        differing = sorted(name for name in self.digests if found.get(name) != self.digests[name])
        if differing:
            wrong.append(f"{len(differing)} arrays differ from the undisturbed run: {differing[0]}")
        if set(found) - set(self.digests):
            wrong.append("products that the undisturbed run does not have")
        now = seals(root)
        changed = [name for name, seal in before.items() if name not in healed and now.get(name) != seal]
        if changed:
            wrong.append(f"{len(changed)} seals changed: {changed[0]}")
        left = [one.name for one in layout.pending.iterdir()] if layout.pending.is_dir() else []
        if left:
            wrong.append(f"left under pending: {left[0]}")
        if holder_of(layout) is not None or layout.driver_lock.exists():
            wrong.append("the lease was not given back")
        stray = [one for one in root.rglob("*") if one.name.endswith(_TEMPORARY)]
        if stray:
            wrong.append(f"left over: {stray[0].relative_to(root).as_posix()}")
        archive = self.open(root)
        wrong += [f"verify: {one.code} {one.message}" for one in archive.verify(deep=True) if one.severity != "note"]
        running = open_current(layout)
        tables = differing_tables(running, archive.rebuild())
        if tables:
            wrong.append(f"rebuild differs in {', '.join(tables)}")
        return wrong

    def beyond(self, root: Path) -> int:
        """Tasks executed more often than once: counted by the stand-ins, or by attempts in the journals."""
        if self.cookbook is None:
            return _attempts(Layout(root)) - len(seals(root))
        return tasks_beyond(self.tallied(root))

    def tallied(self, root: Path) -> tuple[str, ...]:
        """What the stand-ins executed so far: `step subject first`, a line each."""
        tally = self.tally(root)
        return tuple(tally.read_text().splitlines()) if tally.is_file() else ()


def tasks_beyond(lines: Sequence[str]) -> int:
    """Of a tally: blocks, reductions and closings are tasks of their own where a process runs in chunks, else one.

    >>> tasks_beyond(["a/rows s 0", "a/rows s 64", "a/close s 0", "a/rows s 0", "a/rows s 64", "a/close s 0"])
    1
    >>> tasks_beyond(["b/measure s 0", "b/measure s 16", "b/measure s 16", "b/write s 0", "b/write s 16"])
    1
    """
    counts = Counter(lines)
    processes: dict[tuple[str, str], list[int]] = {}
    for line, number in counts.items():
        step, subject, _ = line.split(" ")
        processes.setdefault((step.partition("/")[0], subject), []).append(number - 1)
    chunked = {(one.partition("/")[0], one.split(" ")[1]) for one in counts if "/write " in one}
    return sum(sum(extra) if key in chunked else max(extra) for key, extra in processes.items())


def seals(root: Path) -> dict[str, bytes]:
    """Process id -> its seal, byte by byte, of every sealed process."""
    found = {}
    for one in root.glob("products/*/*/seal.json"):
        if read_seal(one.parent) is not None:
            found[one.parent.name] = one.read_bytes()
    return found


def array_digests(root: Path) -> dict[str, str]:
    """`process.type/array` -> sha256 of the decoded values, of every sealed product."""
    found = {}
    for record in root.glob("products/*/*/process.json"):
        for product in json.loads(record.read_text())["products"]:
            for name, digest in product["array_digests"].items():
                found[f"{record.parent.name}.{product['product_type']}/{name}"] = digest
    return found


def _attempts(layout: Layout) -> int:
    begun = 0
    for _, path in iter_journals(layout.runs):
        begun += sum(getattr(one, "state", None) is State.RUNNING for one in read_journal(path).events)
    return begun


def stand_in_grounds(work: Path, *, pause_s: float = 0.0, ndit: int = 20, sequences: int = 1) -> Grounds:
    """The small night with stand-in recipes, run once undisturbed on `faults-serial`."""
    raw = work / "raw"
    small_night(raw, ndit=ndit, sequences=sequences)
    return _prepared(Grounds(work, raw, work / "template", STAND_INS, pause_s))


def prepared_grounds(work: Path, raw: Path, cookbook: str | None = None) -> Grounds:
    """A given raw night with the real recipes, or those of a cookbook."""
    return _prepared(Grounds(work, raw, work / "template", cookbook))


def _prepared(grounds: Grounds) -> Grounds:
    archive = Archive.init(grounds.template)
    for name, backend in (("faults", "local"), ("faults-serial", "serial")):
        text = _SITE.format(name=name, backend=backend, workers=WORKERS)
        if grounds.cookbook is None:
            text = "\n".join(line for line in text.splitlines() if "chunk" not in line.lower())
            text = text.replace("memory_per_worker_gb = 2.0", "memory_per_worker_gb = 4.0")
        (archive.layout.sites / f"{name}.toml").write_text(text)
    Archive.open(grounds.template, cookbook=grounds.cookbook).ingest([grounds.raw], jobs=1)
    measure(grounds, "faults-serial")
    return grounds


def measure(grounds: Grounds, site: str) -> float:
    """Wall time of an undisturbed run on a site, measured once; the first also gives the digests to compare with.

    Raises InfraFailure AP-SIM-007 where even that run fails.
    """
    if site not in grounds.walls_s:
        root = grounds.copy()
        ended = grounds.run(root, site)
        if ended.status:
            raise InfraFailure(
                "AP-SIM-007",
                f"exit status {ended.status}: {ended.err.strip()[-300:]}",
                subject=f"run --site {site}",
                remedy="nothing was injected yet: mend this first",
            )
        grounds.walls_s[site] = ended.wall_s
        found = array_digests(root)
        if not grounds.digests:
            grounds.digests = found
            grounds.steps = grounds.tallied(root)
        grounds.remove(root)
    return grounds.walls_s[site]
