"""What quotas leave of a file system, where its own tools tell: `lfs quota` on Lustre, `quota` elsewhere.

A file system counts a user's, a group's or a project's blocks and files apart from what is free on it; `statvfs` knows
nothing of that. Where no tool answers in a moment there is nothing to say.
"""

from __future__ import annotations

import contextlib
import getpass
import grp
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PATIENCE_S = 10.0
_KIB = 1024


@dataclass(frozen=True, slots=True)
class Allowance:
    """One quota. A limit of None is none."""

    whose: str
    """`user pd`, `group sphere`."""
    used_bytes: int
    limit_bytes: int | None
    used_files: int
    limit_files: int | None

    @property
    def left_bytes(self) -> int | None:
        """Bytes that may still be written."""
        return None if self.limit_bytes is None else max(0, self.limit_bytes - self.used_bytes)

    @property
    def left_files(self) -> int | None:
        """Files that may still be made."""
        return None if self.limit_files is None else max(0, self.limit_files - self.used_files)


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a directory is mounted from."""

    point: str
    kind: str
    """As the kernel names it: ext4, nfs4, lustre, ..."""
    source: str


def mount_of(directory: Path, table: str | None = None) -> Mount | None:
    """The mount that holds a directory; None where the system does not tell. `table`: text of a mountinfo."""
    if table is None:
        try:
            table = Path("/proc/self/mountinfo").read_text()
        except OSError:
            return None
    wanted = directory.resolve()
    best: Mount | None = None
    for line in table.splitlines():
        left, dash, right = line.partition(" - ")
        fields, rest = left.split(), right.split()
        if not dash or len(fields) < 5 or len(rest) < 2:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])
        if wanted.is_relative_to(point) and (best is None or len(point) >= len(best.point)):
            best = Mount(point, rest[0], rest[1])
    return best


def allowances(directory: Path) -> tuple[Allowance, ...]:
    """The quotas that bind who asks in a directory; empty where no tool tells."""
    mount = mount_of(directory)
    if mount is None:
        return ()
    found: list[Allowance] = []
    for kind, name in (("user", _user()), ("group", _group(directory))):
        if not name:
            continue
        if mount.kind == "lustre":
            text = _answer(["lfs", "quota", "-q", f"-{kind[0]}", name, mount.point])
        else:
            # -p: grace times as numbers, so that no column is ever empty; -w: one line each.
            text = _answer(["quota", "-wp", f"-{kind[0]}", "-f", mount.point, name])
        found += parse(text, f"{kind} {name}")
    return tuple(found)


def parse(text: str, whose: str) -> list[Allowance]:
    """Quotas of either tool's text: a file system, blocks in KiB and files, each with two limits and grace.

    A star marks a limit that is passed, brackets a count that is not exact.

    >>> parse("     /dev/sdb1   2048*   1000   4000  0   12    0    0   0", "user pd")
    [Allowance(whose='user pd', used_bytes=2097152, limit_bytes=4096000, used_files=12, limit_files=None)]
    """
    found: list[Allowance] = []
    place = ""
    for line in text.splitlines():
        words = [one.strip("[]*") for one in line.split()]
        if len(words) == 1 and words[0].startswith("/"):
            place = words[0]  # a long name stands on a line of its own
            continue
        if len(words) == 8 and place:
            words = [place, *words]
        place = ""
        if len(words) != 9 or not all(words[at].isdecimal() for at in (1, 2, 3, 5, 6, 7)):
            continue
        blocks, soft, hard, files, soft_files, hard_files = (int(words[at]) for at in (1, 2, 3, 5, 6, 7))
        found.append(
            Allowance(whose, blocks * _KIB, (hard or soft) * _KIB or None, files, hard_files or soft_files or None)
        )
    return found


def _answer(command: list[str]) -> str:
    """What a tool says, also where it complains (`quota` leaves with 1 over a limit); empty without an answer."""
    if shutil.which(command[0]) is None:
        return ""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
        )
        return done.stdout
    return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _group(directory: Path) -> str:
    """The group that new files of the directory belong to, which is whom they are counted for."""
    try:
        return grp.getgrgid(directory.stat().st_gid).gr_name
    except (KeyError, OSError):
        return ""


def tightest(found: Iterable[Allowance], *, files: bool) -> Allowance | None:
    """The quota that leaves least, of bytes or of files; None where none limits them."""
    left = [(one.left_files if files else one.left_bytes, at, one) for at, one in enumerate(found)]
    known = [(room, at, one) for room, at, one in left if room is not None]
    return min(known)[2] if known else None
