"""From an exception to a cause (DESIGN 3.5) and a signature: equal failures have equal signatures."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

from archive_proc.errors import (
    ArchiveProcError,
    DataFailure,
    InputError,
    LockedError,
    MisuseError,
    NotFoundError,
    NotPermittedError,
    PreconditionError,
    ProcessFailure,
    TemporaryError,
)
from archive_proc.execution.backends import JobEnd
from archive_proc.execution.calls import FailureFacts
from archive_proc.execution.liveness import Writer
from archive_proc.execution.slurm_text import OUTSIDE, words
from archive_proc.model.processes import Cause, QcValue
from archive_proc.storage.answers import FULL, is_full
from archive_proc.version import PACKAGE

TRACEBACK_LINES = 30
_TOO_LONG = "Timeout "
"""How `faulthandler` begins where a time limit, and no signal, ended the process."""

_PACKAGE = PACKAGE
_INFRA = frozenset(
    {
        errno.EIO,
        errno.ENOENT,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ECONNRESET,
        errno.ECONNREFUSED,
        errno.EREMOTEIO,
        errno.EAGAIN,
        errno.EMFILE,
        errno.ENFILE,
    }
    | FULL
)
_CAUSES: tuple[tuple[type[ArchiveProcError], Cause], ...] = (
    (InputError, Cause.DATA),
    (PreconditionError, Cause.CONFIG),
    (MisuseError, Cause.CONFIG),
    (NotPermittedError, Cause.CONFIG),
    (NotFoundError, Cause.CONFIG),
    (TemporaryError, Cause.INFRA),
    (LockedError, Cause.INFRA),
)
"""What an answer to the user means for the process it ended."""


def facts_of(error: BaseException) -> FailureFacts:
    """What the driver and the journal need to know about an exception."""
    tail = _tail(error)
    if isinstance(error, ArchiveProcError):
        cause = _cause(error)
        return FailureFacts(
            cause=cause,
            code=error.code,
            signature=error.code if cause is not Cause.CODE else f"{error.code} {error.message}",
            message=error.message,
            remedy=error.remedy,
            subject=error.subject,
            traceback=tail if cause is Cause.CODE else "",
            qc=_qc(error),
            disk_full=is_full(error),
        )
    name = type(error).__name__
    text = str(error).strip() or "no message"
    if isinstance(error, OSError) and error.filename:
        # Journals hold this: the name is enough, and absolute paths stay out of an archive.
        text = f"{error.strerror}: {Path(str(error.filename)).name}"
        tail = tail.replace(str(error), text)
    if isinstance(error, MemoryError):
        return FailureFacts(
            cause=Cause.MEMORY,
            code="AP-RUN-011",
            signature=f"MemoryError at {_place(error)}",
            message=f"out of memory: {text}",
            remedy="raise memory_per_worker_gb, or use fewer workers",
            traceback=tail,
        )
    if isinstance(error, OSError) and error.errno in _INFRA:
        word = errno.errorcode.get(error.errno or 0, "OSError")
        full = error.errno in FULL
        return FailureFacts(
            cause=Cause.INFRA,
            code="AP-RUN-010",
            signature=word,
            message=f"input/output failed: {text}",
            remedy="free space on the archive's disk, run again" if full else "look at the file system, run again",
            traceback=tail,
            disk_full=full,
        )
    return FailureFacts(
        cause=Cause.CODE,
        code="AP-RUN-012",
        signature=f"{name} at {_place(error)}",
        message=f"{name}: {text}",
        remedy="a fault of the code: report it with the traceback; `run --retry` after the repair",
        traceback=tail,
    )


def _cause(error: ArchiveProcError) -> Cause:
    if isinstance(error, ProcessFailure):
        return Cause(error.cause)
    return next((cause for family, cause in _CAUSES if isinstance(error, family)), Cause.CODE)


def _qc(error: ArchiveProcError) -> tuple[QcValue, ...]:
    if not isinstance(error, DataFailure):
        return ()
    return tuple(
        QcValue(
            one.product_type,
            one.metric,
            float(one.value),
            one.unit,
            "refuse" if one.refused else "",
            inst_filter=one.inst_filter,
            dit_s=one.dit_s,
        )
        for one in error.qc
    )


def _place(error: BaseException) -> str:
    """The innermost line of ours in the traceback, else the innermost at all: `kernels/psf.py:fit`."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [one for one in frames if Path(one.filename).is_relative_to(_PACKAGE)]
    if not frames:
        return "nowhere"
    last = frames[-1]
    chosen = ours[-1] if ours else last
    inner = "" if last is chosen else f" in {Path(last.filename).name}:{last.name}"
    return f"{_short(chosen.filename)}:{chosen.name}{inner}"


def _short(filename: str) -> str:
    path = Path(filename)
    return path.relative_to(_PACKAGE).as_posix() if path.is_relative_to(_PACKAGE) else path.name


def _tail(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error)).replace(f"{_PACKAGE.parent}/", "")
    return "\n".join(text.splitlines()[-TRACEBACK_LINES:])


def no_answer(worker: Writer, why: str) -> FailureFacts:
    """A worker that lives, or may live, and did not answer."""
    return FailureFacts(
        cause=Cause.INFRA,
        code="AP-RUN-016",
        signature="worker did not answer",
        message=f"its worker (pid {worker.pid} on {worker.host}) did not answer: {why}",
        remedy="run again; look at the network between driver and workers if it stays",
    )


def lost_too_often(times: int, why: str) -> FailureFacts:
    """Workers die around it, again and again, though it never was the one that executed."""
    return FailureFacts(
        cause=Cause.INFRA,
        code="AP-RUN-016",
        signature="lost with its worker",
        message=f"was lost {times} times with workers that something else had ended: {why}",
        remedy="look at what ends the workers (memory, walltime, the queue), run again",
    )


def killed_its_worker(fault: str, end: JobEnd | None = None) -> FailureFacts:
    """A worker that died while it executed the task; `fault`: what a fatal signal left behind, empty for SIGKILL.

    `end`: of its job, where that ended with it.
    """
    how = fault.splitlines()[0] if fault else "SIGKILL, most often for memory"
    return FailureFacts(
        cause=Cause.CODE if fault else Cause.MEMORY,
        code="AP-RUN-017",
        signature=f"killed its worker: {how}",
        message=f"killed its worker ({how})" + (f"; {words(end)}" if end is not None else ""),
        remedy="report the traceback" if fault else "raise memory_per_worker_gb of the site, or use fewer workers",
        traceback=fault,
    )


def hung(fault: str) -> bool:
    """Whether what a worker left beside its mark says that its task executed for too long."""
    return fault.startswith(_TOO_LONG)


def hangs(fault: str) -> FailureFacts:
    """A task that was ended, worker and all, because it executed for longer than the site allows."""
    limit = fault.splitlines()[0].removeprefix(_TOO_LONG).rstrip("!").strip("()")
    return FailureFacts(
        cause=Cause.INFRA,
        code="AP-RUN-019",
        signature="hangs",
        message=f"was ended with its worker after {limit}: a task may take so long and no longer",
        remedy="the traceback tells where it stood: mend the file system, or raise task_hours of the site",
        traceback="\n".join(fault.replace(f"{_PACKAGE.parent}/", "").splitlines()[1 : 1 + TRACEBACK_LINES]),
    )


def job_ended(end: JobEnd) -> FailureFacts | None:
    """A worker whose job ended under it, by SLURM's own word; None where SLURM only knows that it failed."""
    if end.state == "OUT_OF_MEMORY":
        cause, remedy = Cause.MEMORY, "raise memory_per_worker_gb or job_memory_gb of the site"
    elif end.state == "TIMEOUT":
        cause, remedy = Cause.INFRA, "if it comes again, raise walltime or retire_minutes, or lower chunk_gb"
    elif end.state == "COMPLETED":
        cause = Cause.INFRA
        remedy = "the worker heeded SLURM's warning before the walltime: make retire_minutes longer than a chunk"
    elif end.state in OUTSIDE:
        cause, remedy = Cause.INFRA, "it is tried again; nothing to do"
    else:
        return None
    return FailureFacts(
        cause=cause,
        code="AP-RUN-045",
        signature=f"job ended: {end.state}",
        message=f"its worker's {words(end)}",
        remedy=remedy,
    )
