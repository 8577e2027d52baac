"""Planes of the main input, block by block: raw files with their digests, a product's frame axis, stripes of rows."""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure, InfraFailure
from archive_proc.execution.cookbooks import OpenRaw, RawFile
from archive_proc.execution.receipts import FileStamp, PlaneDigest
from archive_proc.model.frames import RawFrame
from archive_proc.model.phases import STILL, Phase, PhaseClock
from archive_proc.recipes.recipe import Arrays, PlaneTable, Room
from archive_proc.storage.products import PlaneSource
from archive_proc.storage.values import combined_digest

OPEN_FILES = 8
"""Raw files held open at a time: blocks go back and forth between files of one dither."""
STEADY_TRIES = 3
"""Times planes are read again because their file changed meanwhile."""
HELD_BYTES = 400_000_000
"""Planes kept because a later block of the task needs them again; beyond it they are read again."""
FEW_BYTES = 100_000_000
"""Planes of a process that are kept from pass to pass."""


class MainPlanes(Protocol):
    """The main input's planes."""

    @property
    def bytes_read(self) -> int:
        """Decoded bytes read so far."""

    @property
    def planes_read(self) -> int:
        """Planes read so far, each as often as it was."""

    def foresee(self, readings: Iterable[NDArray[np.int32]]) -> None:
        """Announce what will be read from now on, in this order, so that what comes twice is kept meanwhile."""

    def few(self, rows: int) -> bool:
        """Whether so many planes are few enough to be kept from pass to pass."""

    def read(self, rows: NDArray[np.int32], *, own: bool = True) -> Arrays:
        """Pixels of these rows of the plane table, in that order; not `own`: neighbours of a block."""

    def close(self) -> None:
        """Let go of files and of planes kept."""


class RawPlanes:
    """Planes of raw files. Takes the digest of each plane it reads for itself, and notices files that change."""

    def __init__(
        self,
        frames: Sequence[RawFrame],
        paths: Sequence[Path],
        table: PlaneTable,
        open_raw: OpenRaw,
        clock: PhaseClock = STILL,
    ) -> None:
        self._frames, self._paths, self._table, self._open_raw = frames, paths, table, open_raw
        self._clock = clock
        self._open: OrderedDict[int, RawFile] = OrderedDict()
        self._coming: Counter[int] = Counter()
        self._held: dict[int, NDArray[np.float32]] = {}
        self.bytes_read = self.planes_read = 0
        self.digests: dict[tuple[int, int], str] = {}
        self._stamps: dict[int, str] = {}
        """Of every file when it was read: `stamp_of`."""
        sizes = sorted({(frame.naxis2 or 0, frame.naxis1 or 0) for frame in frames})
        if len(sizes) > 1:
            raise DataFailure(
                "AP-RUN-021",
                f"main files differ in size: {', '.join(f'{nx} x {ny}' for ny, nx in sizes)}",
                subject=f"file {frames[0].file_id} and others",
                remedy="quarantine the files of the wrong size",
            )
        self.height, self.width = sizes[0] if sizes else (0, 0)

    def foresee(self, readings: Iterable[NDArray[np.int32]]) -> None:
        """Keep planes from one reading to the next that needs them: each is read from disk once a task."""
        self._held.clear()
        self._coming = Counter(int(row) for rows in readings for row in rows)

    def read(self, rows: NDArray[np.int32], *, own: bool = True) -> Arrays:
        """`raw` (n, ny, nx) float32, ADU per DIT.

        Raises DataFailure (AP-RUN-026) for a file that held other pixels when it was read before, InfraFailure
        (AP-RUN-027) for one that changes all the time.
        """
        pixels = np.empty((len(rows), self.height, self.width), np.float32)
        with self._clock(Phase.READ):
            fresh = self._held_into(rows, pixels)
            start = 0
            while start < len(fresh):
                file = int(self._table.file[rows[fresh[start]]])
                stop = start + 1
                # One call for planes of a file that stand side by side in the array.
                while (
                    stop < len(fresh)
                    and fresh[stop] == fresh[stop - 1] + 1
                    and int(self._table.file[rows[fresh[stop]]]) == file
                ):
                    stop += 1
                at = slice(fresh[start], fresh[stop - 1] + 1)
                self._read_steady(file, [int(one) for one in self._table.plane[rows[at]]], pixels[at])
                start = stop
            self._hold(rows, pixels)
        if own:
            self._digest(rows, pixels)
        self.bytes_read += len(fresh) * self.height * self.width * pixels.itemsize
        self.planes_read += len(fresh)
        return {"raw": pixels}

    def few(self, rows: int) -> bool:
        """Up to FEW_BYTES: freed memory of more would lie about in the process when its largest pass begins."""
        return 4 * rows * self.height * self.width <= FEW_BYTES

    def _held_into(self, rows: NDArray[np.int32], pixels: NDArray[np.float32]) -> list[int]:
        """Copy what is held; places of what is not."""
        fresh: list[int] = []
        for place, row in enumerate(rows):
            held = self._held.get(int(row))
            if held is None:
                fresh.append(place)
            else:
                pixels[place] = held
        return fresh

    def _hold(self, rows: NDArray[np.int32], pixels: NDArray[np.float32]) -> None:
        """Keep what a later reading needs, let go of what none does."""
        for place, number in enumerate(rows):
            row = int(number)
            self._coming[row] -= 1
            if self._coming[row] <= 0:
                self._held.pop(row, None)
            elif row not in self._held and (len(self._held) + 1) * pixels[place].nbytes <= HELD_BYTES:
                self._held[row] = pixels[place].copy()

    def _digest(self, rows: NDArray[np.int32], pixels: NDArray[np.float32]) -> None:
        with self._clock(Phase.DIGEST):
            for place, row in enumerate(rows):
                key = int(self._table.file[row]), int(self._table.plane[row])
                if key not in self.digests:
                    self.digests[key] = hashlib.sha256(pixels[place].data).hexdigest()

    def _file(self, file: int) -> RawFile:
        found = self._open.get(file)
        if found is None:
            found = self._open[file] = self._open_raw(self._paths[file], self._frames[file])
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(file)
        return found

    def _read_steady(self, file: int, planes: Sequence[int], into: NDArray[np.float32]) -> None:
        """Read planes of a file that was the same before and after; a touched one is looked at again."""
        path = self._paths[file]
        for _ in range(STEADY_TRIES):
            before = stamp_of(path)
            if self._stamps.setdefault(file, before) != before:
                # Replaced, written into, or only touched: what was read before must still stand there.
                self._let_go(file)
                self.expect_same(
                    PlaneDigest(*key, digest) for key, digest in list(self.digests.items()) if key[0] == file
                )
                self._stamps[file] = before
            with self._clock(Phase.RAW):
                self._file(file).read_into(planes, into)
            if stamp_of(path) == before:
                return
        raise InfraFailure(
            "AP-RUN-027",
            "is written to while it is read",
            subject=f"file {self._frames[file].file_id}",
            remedy="run again when nobody writes to the raw directory",
        )

    def expect_same(self, before: Iterable[PlaneDigest]) -> None:
        """Read planes again; raise DataFailure (AP-RUN-026) for the first that holds other pixels now."""
        plane = np.empty((1, self.height, self.width), np.float32)
        for one in before:
            with self._clock(Phase.RAW):
                self._file(one.file).read_into([one.plane], plane)
            if hashlib.sha256(plane[0].data).hexdigest() != one.sha256:
                raise self._changed(one.file, one.plane)

    def expect_one_reading(self, planes: Sequence[PlaneDigest], stamps: Iterable[FileStamp]) -> None:
        """Raise DataFailure (AP-RUN-026) where tasks read other pixels in one file.

        A file that had one stamp all the time is believed; of one that was touched, every plane is read once more.
        """
        seen: dict[tuple[int, int], PlaneDigest] = {}
        for one in sorted(planes, key=lambda one: (one.file, one.plane)):
            if seen.setdefault((one.file, one.plane), one).sha256 != one.sha256:
                raise self._changed(one.file, one.plane)
        found: dict[int, set[str]] = {}
        for stamp in stamps:
            found.setdefault(stamp.file, set()).add(stamp.stamp)
        self.expect_same(one for one in seen.values() if len(found.get(one.file, ())) > 1)
        self.close()

    def _changed(self, file: int, plane: int) -> DataFailure:
        return DataFailure(
            "AP-RUN-026",
            f"changed while the process read it: plane {plane} had other pixels at one reading than at another",
            subject=f"file {self._frames[file].file_id}",
            remedy="restore the file and keep writers away from it, then run --retry; or quarantine it",
        )

    def _let_go(self, file: int) -> None:
        found = self._open.pop(file, None)
        if found is not None:
            found.close()

    def close(self) -> None:
        """Let go of files and of planes kept."""
        # CPU of an inflating program counts when it has ended.
        with self._clock(Phase.RAW):
            while self._open:
                self._open.popitem()[1].close()
        self._held.clear()

    def file_stamps(self) -> tuple[FileStamp, ...]:
        """Of every file read so far, neighbours' included."""
        return tuple(FileStamp(file, stamp) for file, stamp in sorted(self._stamps.items()))

    def plane_digests(self) -> tuple[PlaneDigest, ...]:
        """Digests taken so far, in order of file and plane."""
        return tuple(PlaneDigest(file, plane, hexes) for (file, plane), hexes in sorted(self.digests.items()))


def stamp_of(path: Path) -> str:
    """Inode, size and time of change of a file; empty where it is not there. Compared for equality only."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_ino}.{status.st_size}.{status.st_mtime_ns}"


def file_digests(frames: Sequence[RawFrame], planes: Sequence[PlaneDigest]) -> dict[str, str]:
    """file_id -> digest of its decoded pixels, for the files of which every plane is there."""
    by_file: dict[int, dict[int, str]] = {}
    for one in planes:
        by_file.setdefault(one.file, {})[one.plane] = one.sha256
    return {
        frames[file].file_id: combined_digest([found[plane] for plane in range(frames[file].n_planes)])
        for file, found in sorted(by_file.items())
        if len(found) == frames[file].n_planes
    }


def compare_digests(found: Mapping[str, str], known: Mapping[str, str]) -> None:
    """Raise DataFailure (AP-RUN-020) for the first file whose pixels are not those an earlier process read."""
    for file_id, digest in sorted(found.items()):
        before = known.get(file_id, digest)
        if before != digest:
            raise DataFailure(
                "AP-RUN-020",
                f"its pixels differ from those read before under the same header ({digest[:12]}, was {before[:12]})",
                subject=f"file {file_id}",
                remedy="restore the file, or quarantine it",
            )


class ProductPlanes:
    """Frame-axis arrays of the main product."""

    def __init__(self, source: PlaneSource, clock: PhaseClock) -> None:
        self._source, self._clock, self._room = source, clock, Room()
        self.bytes_read = self.planes_read = 0

    def foresee(self, readings: Iterable[NDArray[np.int32]]) -> None:
        """Nothing to keep: whole shards are decoded at a time."""

    def few(self, rows: int) -> bool:
        """None is kept."""
        return False

    def close(self) -> None:
        """Nothing held."""

    def read(self, rows: NDArray[np.int32], *, own: bool = True) -> Arrays:
        """Array name -> (n, ...) values, until the next reading of its kind: a block and its neighbours go together."""
        with self._clock(Phase.READ):
            into = {
                name: self._room.array(name if own else f"{name} of neighbours", (len(rows), *shape), dtype)
                for name, (shape, dtype) in self._source.forms().items()
            }
            arrays = self._source.read(rows, into)
        self.bytes_read += sum(int(array.nbytes) for array in arrays.values())
        self.planes_read += len(rows)
        return arrays


class Stripes:
    """Rows of many planes, each plane read once: kept in memory, or in a scratch file above `spill_bytes`."""

    def __init__(self, planes: RawPlanes, rows: NDArray[np.int32], scratch: Path, spill_bytes: int) -> None:
        self._rows = rows
        self._shape = (len(rows), planes.height, planes.width)
        self._memory: NDArray[np.float32] | None = None
        self._scratch = scratch
        if 4 * int(np.prod(self._shape, dtype=np.int64)) <= spill_bytes:
            self._memory = planes.read(rows)["raw"]
            return
        with scratch.open("wb") as stream:
            for one in range(0, len(rows), 4):
                stream.write(planes.read(rows[one : one + 4])["raw"].data)

    def read(self, first: int, stop: int) -> NDArray[np.float32]:
        """(n planes, stop - first, nx) float32: detector rows [first, stop) of all planes."""
        n, height, width = self._shape
        stop = min(stop, height)
        if self._memory is not None:
            return self._memory[:, first:stop].copy()
        stripe = np.empty((n, stop - first, width), np.float32)
        with self._scratch.open("rb", buffering=0) as stream:
            for plane in range(n):
                stream.seek(4 * width * (plane * height + first))
                stream.readinto(memoryview(stripe[plane]).cast("B"))
        return stripe

    def __enter__(self) -> Stripes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scratch.unlink(missing_ok=True)
