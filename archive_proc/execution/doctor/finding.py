"""What `doctor` found about one thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Whether work can begin."""

    PASS = "pass"  # noqa: S105 - no password
    WARN = "warn"
    """It can, and may suffer."""
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table."""

    part: str
    """environment, file system, archive, site, scheduler or node."""
    name: str
    verdict: Verdict
    says: str
    """What was seen."""
    code: str
    """Its page, whatever the verdict."""
    remedy: str = ""
    """Empty where it passed."""


def judged(
    part: str, name: str, code: str, says: str, *, fail: bool = False, warn: bool = False, remedy: str = ""
) -> Finding:
    """A finding; `fail` goes before `warn`."""
    verdict = Verdict.FAIL if fail else Verdict.WARN if warn else Verdict.PASS
    return Finding(part, name, verdict, says, code, "" if verdict is Verdict.PASS else remedy)


def survived(part: str, name: str, code: str, remedy: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """What a look finds; where the system refuses it an answer, that is the finding."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except OSError as error:
        found.append(judged(part, name, code, f"{error.strerror or error}", fail=True, remedy=remedy))
    return found
