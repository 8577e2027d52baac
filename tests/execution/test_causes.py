"""An error keeps its code, words and remedy; its family decides the cause, its number that of the system's errors."""

from __future__ import annotations

import errno

import pytest

from archive_proc.errors import (
    ArchiveProcError,
    ConfigFailure,
    DataFailure,
    InputError,
    LockedError,
    MisuseError,
    NotFoundError,
    NotPermittedError,
    PreconditionError,
    TemporaryError,
)
from archive_proc.execution.failures import facts_of
from archive_proc.model.processes import Cause


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (InputError, Cause.DATA),
        (PreconditionError, Cause.CONFIG),
        (MisuseError, Cause.CONFIG),
        (NotPermittedError, Cause.CONFIG),
        (NotFoundError, Cause.CONFIG),
        (TemporaryError, Cause.INFRA),
        (LockedError, Cause.INFRA),
        (DataFailure, Cause.DATA),
        (ConfigFailure, Cause.CONFIG),
        (ArchiveProcError, Cause.CODE),
    ],
)
def test_an_error_of_ours_keeps_code_and_remedy(kind: type[ArchiveProcError], cause: Cause) -> None:
    facts = facts_of(kind("AP-STO-001", "what happened", subject="proc:3fa9", remedy="do this"))
    assert (facts.cause, facts.code) == (cause, "AP-STO-001")
    assert (facts.message, facts.remedy, facts.subject) == ("what happened", "do this", "proc:3fa9")
    assert bool(facts.traceback) is (cause is Cause.CODE)
    assert facts.qc == ()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ESTALE, errno.EIO])
def test_what_the_file_system_refuses_is_infra(number: int) -> None:
    facts = facts_of(OSError(number, "refused", "file"))
    assert (facts.cause, facts.code, facts.signature) == (Cause.INFRA, "AP-RUN-010", errno.errorcode[number])
    assert not facts.disk_full


def test_an_error_of_nobody_is_a_fault_of_the_code() -> None:
    for error in (ValueError("x"), OSError("without a number"), OSError(errno.EINVAL, "Invalid argument")):
        assert (facts_of(error).cause, facts_of(error).code) == (Cause.CODE, "AP-RUN-012")
