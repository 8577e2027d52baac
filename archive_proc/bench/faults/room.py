"""No room: a small tmpfs at many levels of fill, before and during a run; inodes; a quota; a read-only store."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from archive_proc.bench.faults.case import Case
from archive_proc.bench.faults.children import Ended
from archive_proc.bench.faults.grounds import Grounds, measure, seals
from archive_proc.bench.faults.kills import NEVER_REACHED, in_flight
from archive_proc.bench.kill_points import POINTS, REFUSE, REFUSED_AT
from archive_proc.errors import PreconditionError
from archive_proc.model.ids import ProcessId
from archive_proc.storage.answers import FULL, free_bytes
from archive_proc.storage.seal import verify

SITE = "faults-serial"
_NO_ROOM = ("AP-RUN-032", "AP-RUN-035", "AP-RUN-036")
_STEP = 64 * 1024


@contextlib.contextmanager
def small_disk(work: Path, options: str) -> Iterator[Path]:
    """A tmpfs. Raises PreconditionError AP-SIM-008 where this user may not mount one."""
    place = work / "disk"
    place.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise PreconditionError(
            "AP-SIM-008",
            f"no tmpfs can be mounted: {done.stderr.strip()}",
            subject="bench faults",
            remedy="run it as root, or inside `unshare --user --map-root-user --mount`",
        )
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _copied(grounds: Grounds, disk: Path, of: Path | None = None) -> Path:
    root = disk / "A"
    subprocess.run(["cp", "-a", str(of or grounds.template), str(root)], check=True)
    return root


def fill(disk: Path, leave: int) -> Path:
    """Write a file that leaves so many bytes free."""
    filler = disk / "filler"
    with filler.open("ab") as stream:
        while (much := free_bytes(disk) - leave) > 0:
            try:
                stream.write(bytes(min(_STEP, much)))
                stream.flush()
            except OSError as error:
                if error.errno in FULL:
                    break
                raise
            if much < 4096:
                break
    return filler


def full_disks(grounds: Grounds, levels: Sequence[float], rng: random.Random, *, during: bool) -> Iterator[Case]:
    """A run on a disk with room for a fraction of what it writes, filled before it begins or while it is going."""
    kind = "disk fills up during the run" if during else "full disk"
    wall = measure(grounds, SITE)
    whole = needed_bytes(grounds)
    for level in levels:
        leave = int(whole * level)
        with small_disk(grounds.work, f"size={4 * whole}") as disk:
            root = _copied(grounds, disk)
            if during:
                process = grounds.start(root, "--quiet", "run", "--site", SITE)
                time.sleep(rng.uniform(0.2, 1.0) * wall)
                leave = int(0.02 * leave)  # what is left for the rest of the run
                filler = fill(disk, leave)
                ended = process.finish()
                what = f"{leave} bytes left in mid-run"
            else:
                filler = fill(disk, leave)
                ended = grounds.run(root, SITE)
                what = f"{leave} of {whole} bytes free"
            yield _after_no_room(grounds, root, filler, kind, what, ended)


def needed_bytes(grounds: Grounds) -> int:
    """Bytes that an undisturbed run adds on a file system of 4 kB blocks; measured once."""
    if not grounds.needed_bytes:
        root = grounds.copy()
        before = _blocks(root)
        grounds.run(root, SITE)
        grounds.needed_bytes = _blocks(root) - before
        grounds.remove(root)
    return grounds.needed_bytes


def _blocks(root: Path) -> int:
    return sum(-(-one.stat().st_size // 4096) * 4096 for one in root.rglob("*") if one.is_file())


def few_inodes(grounds: Grounds, counts: tuple[int, ...]) -> Iterator[Case]:
    """A file system with room and without inodes."""
    whole = needed_bytes(grounds)
    have = sum(1 for _ in grounds.template.rglob("*")) + 4
    for count in counts:
        with small_disk(grounds.work, f"size={4 * whole},nr_inodes={have + count}") as disk:
            root = _copied(grounds, disk)
            ended = grounds.run(root, SITE)
            wrong = _no_room_said(ended) + _sealed_whole(root)
            subprocess.run(["mount", "-o", "remount,nr_inodes=100000", str(disk)], check=True)
            yield _continued(grounds, root, "too few inodes", f"{count} inodes free", ended, wrong)


def quotas(grounds: Grounds, rounds: int, rng: random.Random) -> Iterator[Case]:
    """EDQUOT from one call on, at each place where a run writes: injected at the seam, no real quota."""
    for name in REFUSED_AT:
        for number in [1, *(rng.randint(2, 5) for _ in range(rounds - 1))]:
            root = grounds.copy()
            ended = grounds.run(root, SITE, {REFUSE: f"{name}:{number}:{grounds.flag(root)}"})
            if grounds.flag(root).exists():
                wrong = _no_room_said(ended) + _sealed_whole(root)
                yield _continued(
                    grounds, root, "quota used up (seam)", f"{POINTS[name].means}, call {number}", ended, wrong
                )
                continue
            grounds.remove(root)
            if number == 1:
                yield Case(
                    kind="quota used up (seam)", what=POINTS[name].means, found=ended.said, wrong=(NEVER_REACHED,)
                )


def _after_no_room(grounds: Grounds, root: Path, filler: Path, kind: str, what: str, ended: Ended) -> Case:
    wrong = _no_room_said(ended) + _sealed_whole(root)
    asked = grounds.call(root, "query", "SELECT count(*) AS n FROM files")
    if asked.status:
        wrong.append(f"query on the full disk: {asked.said}")
    filler.unlink()
    return _continued(grounds, root, kind, what, ended, wrong)


def _no_room_said(ended: Ended) -> list[str]:
    """A run without room ends with 5, a code, and how much is free; or it had room enough."""
    if ended.status == 0:
        return []
    code = ended.said.partition(" AP-")[2]
    if ended.status != 5 or f"AP-{code}" not in _NO_ROOM or "free" not in ended.out + ended.err:
        return [f"{ended.said} in place of exit 5 with a named code: {(ended.err + ended.out).strip()[-400:]}"]
    return []


def _sealed_whole(root: Path) -> list[str]:
    problems = [
        one for process in seals(root) for one in verify(root / "products" / process[:2] / process, ProcessId(process),
                                                         deep=True)
    ]  # fmt: skip
    return [f"sealed and not whole: {one.process_id} {one.name} {one.problem}" for one in problems[:1]]


def _continued(
    grounds: Grounds, root: Path, kind: str, what: str, ended: Ended, wrong: list[str], site: str = SITE
) -> Case:
    before = seals(root)
    again = grounds.run(root, site)
    if again.status:
        wrong.append(f"the same command again: {again.said}: {again.err.strip()[-300:]}")
    wrong += grounds.wrong(root, before)
    case = Case(
        kind=kind,
        what=what,
        found=f"{ended.said}, then exit {again.status}",
        beyond=grounds.beyond(root),
        bound=in_flight(),
        wrong=tuple(wrong),
    )
    grounds.remove(root)
    return case


READING: Mapping[str, tuple[str, ...]] = {
    "query": ("query", "SELECT count(*) AS n FROM files"),
    "check": ("check",),
    "plan": ("plan", "--dry-run"),
    "status": ("status",),
    "verify": ("verify", "--deep"),
}
"""Verbs that must work on an archive that may not be written."""


def read_only(grounds: Grounds, archives: Mapping[str, Path]) -> Iterator[Case]:
    """A read-only store: what reads works, what writes says so, nothing is lost."""
    for name, of in archives.items():
        with small_disk(grounds.work, f"size={8 * needed_bytes(grounds)}") as disk:
            root = _copied(grounds, disk, of)
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            wrong = []
            for verb, words in READING.items():
                asked = grounds.call(root, *words)
                if asked.status and not (of == grounds.template and verb in ("status", "check")):
                    wrong.append(f"{verb} on a read-only store: {asked.said}: {asked.err.strip()[-300:]}")
            writing = [("--quiet", "run", "--site", SITE), ("rebuild",), ("ingest", str(grounds.raw))]
            for words in writing if of == grounds.template else [("report",), *writing]:
                refused = grounds.call(root, *words)
                if refused.said != "exit 5 AP-RUN-037":
                    wrong.append(f"{words[0]} {words[1] if len(words) > 1 else ''}: {refused.said}: {refused.err}")
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
            yield _continued(grounds, root, "read-only store", name, refused, wrong)
