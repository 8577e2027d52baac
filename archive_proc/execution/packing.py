"""Bundles and reports as bytes: Dask weighs and pickles trees of dataclasses object by object, bytes at once."""

from __future__ import annotations

import msgspec

from archive_proc.execution.answers import tell
from archive_proc.execution.calls import Bundle, TaskReport
from archive_proc.execution.worker_config import run_checked

_ENCODER = msgspec.msgpack.Encoder()
_BUNDLE = msgspec.msgpack.Decoder(Bundle)
_REPORTS = msgspec.msgpack.Decoder(tuple[TaskReport, ...])


def packed(given: Bundle | tuple[TaskReport, ...]) -> bytes:
    """What travels."""
    return _ENCODER.encode(given)


def bundle_of(content: bytes) -> Bundle:
    """A bundle that arrived."""
    return _BUNDLE.decode(content)


def reports_of(content: bytes) -> tuple[TaskReport, ...]:
    """Reports that arrived. Raises msgspec.MsgspecError, or TypeError, where they are none."""
    return _REPORTS.decode(content)


def run_packed(content: bytes) -> None:
    """What a worker is called with. It answers by itself: nothing stays on the worker."""
    bundle = bundle_of(content)
    tell(bundle.number, packed(run_checked(bundle)))
