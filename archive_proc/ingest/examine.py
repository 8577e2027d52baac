"""What is wrong with raw frames by their own headers, as issues: recomputed from the manifest's rows at any time."""

from __future__ import annotations

from collections.abc import Iterable

from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.observations import Issue

_NO_DIT = "DET SEQ1 DIT: missing"


def frame_issues(frames: Iterable[RawFrame]) -> tuple[Issue, ...]:
    """Issues of single files, by file_id: AP-ING-052 a needed keyword is missing, AP-ING-053 odd cards.

    `frames`: header corrections applied, which take the problems of what they correct away.

    What a frame's type says it needs (whole pixels, NDIT planes, a position) is `association.completeness`'s to judge.
    """
    found: list[Issue] = []
    for frame in sorted(frames, key=lambda one: one.file_id):
        if frame.arm is Arm.SPARTA:
            continue
        missing = _missing(frame)
        if missing:
            found.append(
                _issue(
                    frame,
                    "AP-ING-052",
                    "warning",
                    f"header lacks {', '.join(missing)}",
                    "state the value with a `header` override if the observing log knows it",
                )
            )
        odd = [one for one in frame.problems if not one.startswith(_NO_DIT)]
        if odd:
            more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
            found.append(
                _issue(
                    frame,
                    "AP-ING-053",
                    "note",
                    f"header has odd cards: {'; '.join(odd[:3])}{more}",
                    "nothing, unless a value you need is among them",
                )
            )
    return tuple(found)


def _missing(frame: RawFrame) -> list[str]:
    wanted: dict[str, str | float | None] = {
        "DPR CATG": frame.dpr_catg,
        "DPR TYPE": frame.dpr_type,
        "DPR TECH": frame.dpr_tech,
    }
    if frame.n_planes:
        # EXPTIME stands in for a DIT that the header lacks: the value is there and still nobody stated it.
        stated = not any(one.startswith(_NO_DIT) for one in frame.problems)
        wanted["DET SEQ1 DIT"] = frame.dit_s if stated else None
    return [key for key, value in wanted.items() if value is None]


def _issue(frame: RawFrame, code: str, severity: str, message: str, remedy: str) -> Issue:
    return Issue(
        code=code,
        severity=severity,
        subject_kind="file",
        subject_id=frame.uri,
        message=message,
        remedy=remedy,
        file_id=frame.file_id,
    )
