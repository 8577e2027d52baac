"""What a simulated semester came to, beside the figures of the notes: one line each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from archive_proc.model.frames import Arm, RawFrame

MODEL_FILES = {
    ("IRDIS", "OBJECT"): 12820,
    ("IRDIS", "OBJECT,CENTER"): 3232,
    ("IRDIS", "OBJECT,FLUX"): 984,
    ("IRDIS", "SKY"): 642,
    ("IRDIS", "DARK"): 1119,
    ("IRDIS", "DARK,BACKGROUND"): 2070,
    ("IRDIS", "FLAT,LAMP"): 1400,
    ("IRDIS", "LAMP,DISTORT"): 14,
    ("IFS", "OBJECT"): 3432,
    ("IFS", "OBJECT,CENTER"): 1119,
    ("IFS", "OBJECT,FLUX"): 600,
    ("IFS", "SKY"): 151,
    ("IFS", "DARK"): 1032,
    ("IFS", "FLAT,LAMP"): 1384,
    ("IFS", "SPECPOS,LAMP"): 140,
    ("IFS", "WAVE,LAMP"): 140,
    ("ZIMPOL", "OBJECT"): 1936,
}
"""Raw files of a busy semester by arm and DPR TYPE: notes/archive.md, section 9."""
MODEL_PLANES = {"IRDIS": 92266, "IFS": 36304, "ZIMPOL": 15488}
"""Science planes."""
MODEL_SEQUENCES = {"IRDIS": 492, "IFS": 300, "ZIMPOL": 30}
QUANTILES = (5, 25, 50, 75, 95, 100)
MODEL_FRAMES = (12, 35, 65, 163, 703, 3360)
"""Planes of a measured IRDIS sequence at QUANTILES."""
MODEL_SEQUENCE_FILES = (2, 8, 17, 25, 83, 718)


def measured_lines(frames: Sequence[RawFrame], scale: float = 1.0) -> list[str]:
    """A table of counts and quantiles: made, and as the notes have it, counts times `scale`."""
    made = Counter((one.arm.value, one.dpr_type or "") for one in frames)
    lines = [_line("raw files", "made", "notes")]
    for kind, wanted in MODEL_FILES.items():
        lines.append(_line(f"  {kind[0]} {kind[1]}", str(made.pop(kind, 0)), _scaled(wanted, scale)))
    lines += [_line(f"  {arm} {kind}", str(count), "-") for (arm, kind), count in sorted(made.items())]
    lines.append(_line("  all", str(len(frames)), _scaled(sum(MODEL_FILES.values()), scale)))
    science = _science(frames)
    for arm, wanted in MODEL_SEQUENCES.items():
        count = sum(one.arm.value == arm for some in science for one in some[:1])
        lines.append(_line(f"sequences {arm}", str(count), _scaled(wanted, scale)))
    for arm, wanted in MODEL_PLANES.items():
        planes = sum(one.ndit or 0 for some in science for one in some if one.arm.value == arm)
        lines.append(_line(f"science planes {arm}", str(planes), _scaled(wanted, scale)))
    irdis = [some for some in science if some[0].arm is Arm.IRDIS]
    if irdis:
        lines.append(_line("quantiles, %", " ".join(map(str, QUANTILES)), ""))
        planes_of = [sum(one.ndit or 0 for one in some) for some in irdis]
        files_of = [len(some) for some in irdis]
        for name, values, wanted_of in (("planes", planes_of, MODEL_FRAMES), ("files", files_of, MODEL_SEQUENCE_FILES)):
            text = " ".join(map(str, wanted_of))
            lines.append(_line(f"  {name} of an IRDIS sequence", _quantiles(values), text))
    return lines


def _science(frames: Sequence[RawFrame]) -> list[list[RawFrame]]:
    """Science files of each execution, arm and DIT; CENTER files where the waffle was on throughout."""
    executions: defaultdict[tuple[object, ...], list[RawFrame]] = defaultdict(list)
    for one in frames:
        if one.dpr_type in ("OBJECT", "OBJECT,CENTER"):
            executions[one.arm, one.ob_id, one.ob_start].append(one)
    found: list[list[RawFrame]] = []
    for some in executions.values():
        objects: defaultdict[int | None, list[RawFrame]] = defaultdict(list)
        for one in some:
            if one.dpr_type == "OBJECT":
                objects[one.dit_ms].append(one)
        waffle = "O" not in (some[0].obstype_list or "O").split()
        found += list(objects.values()) or ([some] if waffle else [])
    return found


def _quantiles(values: Sequence[int]) -> str:
    return " ".join(str(round(float(one))) for one in np.percentile(values, QUANTILES))


def _scaled(value: int, scale: float) -> str:
    return str(round(value * scale))


def _line(name: str, made: str, wanted: str) -> str:
    return f"{name:<32}{made:>28}{wanted:>24}".rstrip()
