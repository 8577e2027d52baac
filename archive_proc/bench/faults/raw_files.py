"""Raw files that change between ingest, first pass and second pass: nothing is sealed from a mixture."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from archive_proc.bench.faults.case import Case
from archive_proc.bench.faults.children import Ended
from archive_proc.bench.faults.grounds import Grounds, seals

SITE = "faults-serial"
CHANGES = ("other pixels, replaced", "other pixels, written into", "truncated", "replaced by another file", "removed")
MOMENTS = ("after ingest", "between passes", "between blocks")
_CODES = ("AP-RUN-020", "AP-RUN-026", "AP-RUN-027", "AP-ING-030", "AP-ING-032", "AP-ING-033")


def changing_files(grounds: Grounds, rounds: int, rng: random.Random) -> Iterator[Case]:
    """Change a science file of a copy of the raw night, at each moment and in each way."""
    for moment in MOMENTS:
        for how in CHANGES * rounds:
            yield _case(grounds, moment, how, rng)


def _case(grounds: Grounds, moment: str, how: str, rng: random.Random) -> Case:
    root = grounds.copy()
    raw = root.with_name(f"{root.name}.raw")
    shutil.copytree(grounds.raw, raw)
    settings = root / "archive.toml"
    settings.write_text(settings.read_text().replace(str(grounds.raw), str(raw)))
    science = sorted(raw.glob("*.fits"), key=lambda one: one.stat().st_size)[-2:]
    victim = rng.choice(science)
    kept = victim.read_bytes()
    if moment == "after ingest":
        _change(victim, how)
        ended = grounds.run(root, SITE)
    else:
        process = grounds.start(root, "--quiet", "run", "--site", SITE)
        step = "irdis_science/write" if moment == "between passes" else "irdis_science/measure"
        _wait_for(grounds.tally(root), step, process.poll)
        _change(victim, how)
        ended = process.finish()
    wrong = _said(ended, moment, how)
    before = seals(root)
    wrong += _not_mixed(root)
    _restore(victim, kept, raw)
    again = grounds.call(root, "--quiet", "run", "--retry", "--site", SITE)
    if how.startswith("other pixels") and moment == "after ingest":
        # Nobody had read the file before: what it holds then is what it holds. Restored, it differs from the record.
        wrong += _differs_now(again)
    else:
        if again.status:
            wrong.append(f"restored, run --retry: {again.said}: {again.err.strip()[-300:]}")
        wrong += grounds.wrong(root, before)
    shutil.rmtree(raw)
    grounds.remove(root)
    return Case(kind=f"raw file changes {moment}", what=f"{how}", found=ended.said, wrong=tuple(wrong))


def _change(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    match how:
        case "removed":
            path.unlink()
        case "truncated":
            path.write_bytes(content[: len(content) // 2])
        case "replaced by another file":
            other = sorted(path.parent.glob("*.fits"))[0]
            _over(path, other.read_bytes())
        case _:
            content[-2880 - 400_000 : -2880] = bytes(b ^ 0x20 for b in content[-2880 - 400_000 : -2880])
            if how.endswith("written into"):
                path.write_bytes(content)
            else:
                _over(path, bytes(content))


def _over(path: Path, content: bytes) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(content)
    fresh.replace(path)


def _restore(path: Path, content: bytes, raw: Path) -> None:
    path.write_bytes(content)


def _wait_for(tally: Path, step: str, ended: object) -> None:
    until = time.monotonic() + 300
    while time.monotonic() < until and callable(ended) and ended() is None:
        if tally.is_file() and step in tally.read_text():
            return
        time.sleep(0.002)


def _said(ended: Ended, moment: str, how: str) -> list[str]:
    if moment == "after ingest" and how.startswith("other pixels"):
        return [] if ended.status == 0 else [f"{ended.said}: {ended.err.strip()[-300:]}"]
    text = ended.out + ended.err
    if ended.status == 3 and any(code in text for code in _CODES):
        return []
    return [f"{ended.said} in place of exit 3 with a named failure: {text.strip()[-300:]}"]


def _differs_now(again: Ended) -> list[str]:
    return [] if again.status == 0 else [f"nothing was left to do, yet {again.said}"]


def _not_mixed(root: Path) -> list[str]:
    """Every sealed process that read a file read the same pixels in it."""
    import json

    seen: dict[str, set[str]] = {}
    for record in root.glob("products/*/*/process.json"):
        for file_id, digest in json.loads(record.read_text())["pixel_digests"].items():
            seen.setdefault(file_id, set()).add(digest)
    return [f"{file_id} was read with {len(one)} sets of pixels" for file_id, one in seen.items() if len(one) > 1]
