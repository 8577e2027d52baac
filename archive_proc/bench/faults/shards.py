"""Truncated, flipped and missing objects of sealed products: `verify` names product, object and remedy; nobody uses
what is damaged; what `verify` advises mends it.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from archive_proc.bench.faults.case import Case
from archive_proc.bench.faults.children import Ended
from archive_proc.bench.faults.grounds import Grounds, seals

SITE = "faults-serial"
DAMAGES = ("truncated", "flipped", "missing")


def damage(path: Path, how: str, rng: random.Random) -> None:
    """Spoil one object of a sealed directory."""
    for above in path.parents[:5]:
        above.chmod(0o755)
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    match how:
        case "truncated":
            path.write_bytes(bytes(content[: rng.randrange(len(content))]))
        case "flipped":
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            path.write_bytes(bytes(content))
        case _:
            path.unlink()


def damaged_products(grounds: Grounds, finished: Path, count: int, rng: random.Random) -> Iterator[Case]:
    """Damage a random object of a finished archive, then do what `verify` says."""
    for number in range(count):
        how = DAMAGES[number % len(DAMAGES)]
        root = grounds.copy(finished)
        chosen = rng.choice(sorted(one for one in root.glob("products/*/*/**/*") if one.is_file()))
        process, name = _named(root, chosen)
        before = seals(root)
        damage(chosen, how, rng)
        wrong, said = _verified(grounds, root, process, name, deep=how == "flipped")
        yield _mended(grounds, root, f"{how} object", f"{process[:12]} {name}", said, wrong, before, process)


def damaged_inputs(grounds: Grounds, count: int, rng: random.Random) -> Iterator[Case]:
    """Damage a master before science is made of it: nothing is sealed from it, and it is named."""
    masters = grounds.copy()
    for wanted in ("dark", "instrument_background", "detector_flat", "sky_basis"):
        grounds.call(masters, "--quiet", "run", "--site", SITE, "--to", wanted)
    for number in range(count):
        how = DAMAGES[number % len(DAMAGES)]
        root = grounds.copy(masters)
        flats = [one for one in root.glob("products/*/*/product.zarr/detector_flat/**/*") if one.is_file()]
        chosen = rng.choice(sorted(flats))
        process, name = _named(root, chosen)
        before = seals(root)
        damage(chosen, how, rng)
        ended = grounds.run(root, SITE)
        wrong = []
        text = ended.out + ended.err
        if ended.status != 3 or "AP-STO-014" not in text or process[:12] not in text:
            wrong.append(f"{ended.said} in place of exit 3 with AP-STO-014 and proc:{process[:12]}")
        fed = [one for one in seals(root) if one not in before]
        if fed:
            wrong.append(f"{len(fed)} processes sealed from a damaged master: {fed[0]}")
        verified, _ = _verified(grounds, root, process, name, deep=how == "flipped")
        wrong += verified
        yield _mended(grounds, root, f"{how} input", f"{process[:12]} {name}", ended.said, wrong, before, process)
    grounds.remove(masters)


def _named(root: Path, chosen: Path) -> tuple[str, str]:
    parts = chosen.relative_to(root / "products").parts
    return parts[1], "/".join(parts[2:])


def _verified(grounds: Grounds, root: Path, process: str, name: str, *, deep: bool) -> tuple[list[str], str]:
    """What `verify` must say: exit 4, the process, the object, and what to do."""
    found = grounds.call(root, "verify", *(["--deep"] if deep else []))
    lines = " ".join(found.out.split())
    lacks = [one for one in (f"proc:{process[:12]}", name, "move the directory out of products/") if one not in lines]
    wrong = [f"verify does not say `{lacks[0]}`: {lines[:300]}"] if lacks else []
    if found.status != 4:
        wrong.append(f"verify: {found.said}")
    if not deep:
        return wrong, found.said
    if name.startswith("product.zarr") and grounds.call(root, "verify").status == 4:
        wrong.append("a flip was found without --deep: not a flip of content alone")
    return wrong, found.said


def _mended(
    grounds: Grounds,
    root: Path,
    kind: str,
    what: str,
    said: str,
    wrong: list[str],
    before: dict[str, bytes],
    process: str,
) -> Case:
    """Move the damaged directory away, give the same command, judge."""
    away = root.with_name(f"{root.name}.away")
    shutil.move(root / "products" / process[:2] / process, away)
    ended: Ended = grounds.run(root, SITE)
    if ended.status:
        wrong.append(f"run after the remedy: {ended.said}: {ended.err.strip()[-300:]}")
    wrong += grounds.wrong(root, before, healed=frozenset({process}))
    for one in [away, *away.rglob("*")]:
        one.chmod(0o755)
    shutil.rmtree(away)
    grounds.remove(root)
    return Case(kind=kind, what=what, found=f"{said}, remedy, exit {ended.status}", wrong=tuple(wrong))
