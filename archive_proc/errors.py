"""Errors with a code, one line, a remedy and a page (`archive-proc help CODE`).

Two families: what the program says to its user (each with an exit status), and what a recipe says about
its process (each with a cause, DESIGN 3.5). Every code has a page in `error_pages/<code>.md`; a test
holds the two lists together.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple


def printable(text: str) -> str:
    r"""The text without what a terminal would obey: control characters, escapes, marks that turn the direction.

    Words of headers and names of files come into messages; tabs and line ends stay.

    >>> printable("a\x1b[2Jb")
    'a�[2Jb'
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else "\N{REPLACEMENT CHARACTER}" for one in text)


class ArchiveProcError(Exception):
    """An answer to the user: `code subject: message -> remedy` on one line. Its texts are printable."""

    exit_status: ClassVar[int] = 1

    def __init__(self, code: str, message: str, *, subject: str = "", remedy: str = "") -> None:
        message, subject, remedy = printable(message), printable(subject), printable(remedy)
        super().__init__(code, message, subject, remedy)
        self.code = code
        self.message = message
        self.subject = subject
        self.remedy = remedy

    @property
    def line(self) -> str:
        """The error in one line, as the command line prints it."""
        where = f" {self.subject}:" if self.subject else ""
        then = f" -> {self.remedy}" if self.remedy else ""
        return f"{self.code}{where} {self.message}{then}"

    def __str__(self) -> str:
        return self.line

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process borders with keyword-only arguments, which pickle does not know about.
        return (_rebuild, (type(self), self.code, self.message, self.subject, self.remedy))


def _rebuild(kind: type[ArchiveProcError], code: str, message: str, subject: str, remedy: str) -> ArchiveProcError:
    return kind(code, message, subject=subject, remedy=remedy)


class MisuseError(ArchiveProcError):
    """Wrong arguments, settings, tables or overrides."""

    exit_status = 2


class InputError(ArchiveProcError):
    """Input that fails a check."""

    exit_status = 4


class PreconditionError(ArchiveProcError):
    """Disk, quota, memory or a tool is missing."""

    exit_status = 5


class LockedError(ArchiveProcError):
    """Another writer holds the archive."""

    exit_status = 6


class NotPermittedError(ArchiveProcError):
    """The user may not do or see this."""

    exit_status = 7


class NotFoundError(ArchiveProcError):
    """Nothing matched."""

    exit_status = 8


class TemporaryError(ArchiveProcError):
    """Worth trying again: scheduler or storage did not answer."""

    exit_status = 75


class ProcessFailure(ArchiveProcError):
    """Why one process failed; `cause` decides what happens next (DESIGN 3.5)."""

    cause: ClassVar[str] = "code"


class Measured(NamedTuple):
    """A figure that a recipe measured before it gave up."""

    metric: str
    value: float
    unit: str
    product_type: str = ""
    refused: bool = True
    """Whether this figure is why; others tell what else was seen."""
    inst_filter: str = ""
    dit_s: float | None = None


class DataFailure(ProcessFailure):
    """The data cannot be reduced as they are. No retry; becomes an issue.

    `qc` holds the figures measured, `Measured` or (metric, value, unit) triples of those that refused it.
    """

    cause = "data"

    def __init__(
        self,
        code: str,
        message: str,
        *,
        subject: str = "",
        remedy: str = "",
        qc: tuple[tuple[str, float, str] | Measured, ...] = (),
    ) -> None:
        super().__init__(code, message, subject=subject, remedy=remedy)
        self.qc = tuple(Measured(*one) for one in qc)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_data, (self.code, self.message, self.subject, self.remedy, self.qc))


def _rebuild_data(code: str, message: str, subject: str, remedy: str, qc: tuple[Measured, ...]) -> DataFailure:
    return DataFailure(code, message, subject=subject, remedy=remedy, qc=qc)


class MemoryFailure(ProcessFailure):
    """Not enough memory on the worker. Retried with more."""

    cause = "memory"


class InfraFailure(ProcessFailure):
    """Node, walltime or input/output. Retried elsewhere."""

    cause = "infra"


class ConfigFailure(ProcessFailure):
    """A resource or setting of the site is missing. Stops before work starts."""

    cause = "config"
