"""Plans and frames in little memory: what a driver holds of 100,000 processes while it works on a few of them.

Packed they are a tenth of their objects' size; what is looked at is unpacked, and forgotten again.
"""

from __future__ import annotations

import bisect
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import overload

import msgspec

from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId, ProcessId
from archive_proc.model.processes import Plan, PlannedProcess, Process, ProcessInput, sources_of

PACKED_FROM = 2000
"""Processes of a plan from which on packing pays."""
FRAMES_TOGETHER = 4
"""Frames that lie together: neighbours are alike, and who wants one wants the next."""
_LEVEL = 1
_ENCODER = msgspec.msgpack.Encoder()
_INPUTS = msgspec.msgpack.Decoder(tuple[ProcessInput, ...])
_FRAMES = msgspec.msgpack.Decoder(list[RawFrame])


class PackedInputs(Sequence[ProcessInput]):
    """The inputs of one process; equal to the tuple they were made of."""

    __slots__ = ("_packed", "sources")

    def __init__(self, inputs: Sequence[ProcessInput], known: dict[ProcessId, ProcessId]) -> None:
        """`known`: ids seen before, so that each is held once."""
        self._packed = zlib.compress(_ENCODER.encode(tuple(inputs)), _LEVEL)
        self.sources = tuple(known.setdefault(one, one) for one in sources_of(inputs))
        """What `Process.sources` gives, at hand."""

    def unpacked(self) -> tuple[ProcessInput, ...]:
        """As they were."""
        return _INPUTS.decode(zlib.decompress(self._packed))

    @overload
    def __getitem__(self, at: int) -> ProcessInput: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[ProcessInput, ...]: ...
    def __getitem__(self, at: int | slice) -> ProcessInput | tuple[ProcessInput, ...]:
        return self.unpacked()[at]

    def __iter__(self) -> Iterator[ProcessInput]:
        return iter(self.unpacked())

    def __len__(self) -> int:
        return len(self.unpacked())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self.unpacked() == tuple(other)

    def __hash__(self) -> int:
        return hash(self.unpacked())


def packed_plan(plan: Plan) -> Plan:
    """An equal plan whose processes hold their inputs packed; a small plan as it is."""
    if len(plan.processes) < PACKED_FROM:
        return plan
    known: dict[ProcessId, ProcessId] = {}
    return replace(plan, processes=tuple(packed(one, known) for one in plan.processes))


def packed(planned: PlannedProcess, known: dict[ProcessId, ProcessId]) -> PlannedProcess:
    """An equal one that holds its inputs packed. `known`: ids seen before, so that each is held once."""
    return replace(planned, process=packed_process(planned.process, known))


def packed_process(process: Process, known: dict[ProcessId, ProcessId]) -> Process:
    """The same of a process."""
    process_id = known.setdefault(process.process_id, process.process_id)
    return replace(process, process_id=process_id, inputs=PackedInputs(process.inputs, known))


def unpacked(planned: PlannedProcess) -> PlannedProcess:
    """The process with plain inputs, to work on."""
    inputs = planned.process.inputs
    if not isinstance(inputs, PackedInputs):
        return planned
    return replace(planned, process=replace(planned.process, inputs=inputs.unpacked()))


class PackedFrames(Mapping[FileId, RawFrame]):
    """Raw frames by file id, neighbours packed together; equal to the mapping they were made of."""

    def __init__(self, frames: Iterable[RawFrame] = ()) -> None:
        """`frames`: by file id, ascending; each is looked at once."""
        self._firsts: list[FileId] = []
        self._packed: list[bytes] = []
        self._tail: list[RawFrame] = []
        """The last ones, as long as they are too few to be packed."""
        self._last: tuple[int, dict[FileId, RawFrame]] = (-1, {})
        for one in frames:
            self.append(one)

    def append(self, frame: RawFrame) -> None:
        """One more; its id comes after those of all others."""
        if not self._tail:
            self._firsts.append(frame.file_id)
        self._tail.append(frame)
        self._last = -1, {}
        if len(self._tail) == FRAMES_TOGETHER:
            self._packed.append(zlib.compress(_ENCODER.encode(self._tail), _LEVEL))
            self._tail = []

    def _block(self, number: int) -> dict[FileId, RawFrame]:
        if self._last[0] != number:
            whole = number < len(self._packed)
            found = _FRAMES.decode(zlib.decompress(self._packed[number])) if whole else self._tail
            self._last = number, {one.file_id: one for one in found}
        return self._last[1]

    def __getitem__(self, file_id: FileId) -> RawFrame:
        last = self._last[1].get(file_id)
        if last is not None:
            return last
        number = bisect.bisect_right(self._firsts, file_id) - 1
        if number < 0:
            raise KeyError(file_id)
        return self._block(number)[file_id]

    def __iter__(self) -> Iterator[FileId]:
        for number in range(len(self._firsts)):
            yield from tuple(self._block(number))

    def __len__(self) -> int:
        return FRAMES_TOGETHER * len(self._packed) + len(self._tail)
