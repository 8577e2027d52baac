"""Pixels of raw frames: planes as native float32 ADU from plain, gzip, LZW and tile-compressed FITS.

The header was checked at ingest: shape, type, offset come from the manifest's row, and a file whose size or header is
no longer that of the one ingested is refused. Files are read, never mapped: a mapped file that shrinks kills the
worker with SIGBUS.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure, InfraFailure
from archive_proc.model.frames import RawFrame
from archive_proc.storage.fits_header import header_digest
from archive_proc.storage.fits_streams import Stream, damaged, named, open_stream
from archive_proc.storage.fits_tiles import expect_sound_tiles
from archive_proc.storage.fits_write import Cards, format_card, write_fits

__all__ = ["Cards", "OpenFrame", "RawReader", "format_card", "plane_digests", "read_planes", "write_fits"]

Pixels = NDArray[np.float32]

_EXACT = 2.0**24
"""Integers up to here are exact in float32."""
_END = 2**63
"""Reached when the last plane was read and what is behind it looked at."""


@dataclass(frozen=True, slots=True)
class RawReader:
    """Reads planes of raw frames by their uri; one may be shared by threads."""

    roots: Mapping[str, Path]
    """Raw roots by name, as in `archive.toml`."""

    def path(self, frame: RawFrame) -> Path:
        """Where the frame's file lies. Raises InfraFailure AP-ING-033 when its raw root is not set here."""
        name, _, inside = frame.uri.partition("/")
        root = self.roots.get(name)
        if root is None:
            raise InfraFailure(
                "AP-ING-033",
                f"raw root `{name}` is not set",
                subject=frame.uri,
                remedy="add the root to archive.toml, or ingest the files again from where they are",
            )
        return root / inside if inside else root

    def read_planes(self, frame: RawFrame, planes: Sequence[int]) -> Pixels:
        """(n, naxis2, naxis1) float32, ADU per DIT: the planes asked for, in that order. See `read_planes`."""
        return read_planes(self.path(frame), frame, planes)


def read_planes(path: Path, frame: RawFrame, planes: Sequence[int]) -> Pixels:
    """(n, naxis2, naxis1) float32 in native order, ADU per DIT, BZERO and BSCALE applied; planes in the order given.

    Raises DataFailure AP-ING-030 where the file ends before a plane does, AP-ING-031 where its stream or tiles are
    damaged, AP-ING-032 where it is not the file that was ingested or has no such plane; InfraFailure AP-ING-033 where
    it cannot be opened; PreconditionError AP-ING-007 where `gzip` is missing for a `.Z` file. Nothing is allocated from
    a header's number before the file's size bears it out.
    """
    with OpenFrame(path, frame) as file:
        file.expect(planes)
        pixels = np.empty((len(planes), frame.naxis2 or 0, frame.naxis1 or 0), np.float32)
        file.fill(planes, pixels)
    return pixels


class OpenFrame:
    """A raw file held open while its planes are read. Read forward, a compressed file is inflated once."""

    def __init__(self, path: Path, frame: RawFrame) -> None:
        self.path, self.frame = path, frame
        self._stream: Stream | None = None
        self._reached = 0
        """Offset behind the last plane read: compressed streams do not go back."""

    def read_into(self, planes: Sequence[int], into: Pixels) -> None:
        """Put these planes into the rows of `into` (n, naxis2, naxis1), C order. Raises as `read_planes` does."""
        self.expect(planes)
        self.fill(planes, into)

    def fill(self, planes: Sequence[int], into: Pixels) -> None:
        """`read_into` for planes that are known to be there."""
        if not len(planes):
            return
        order = sorted(range(len(planes)), key=lambda row: planes[row])
        try:
            if self.frame.compression == "fz":
                wanted = sorted(set(planes))
                pixels = _scaled(_tiles(self.path, self.frame, wanted), self.frame)
                into[...] = pixels[np.searchsorted(wanted, planes)]
                return
            before = -1
            for row in order:
                if before >= 0 and planes[row] == planes[before]:
                    into[row] = into[before]
                else:
                    self._plane(planes[row], into[row])
                before = row
        except OSError as error:
            raise _unreachable(self.path, error) from error

    def expect(self, planes: Sequence[int]) -> None:
        """Raise as `read_planes` does where the file is not the one ingested or does not hold these planes."""
        if not len(planes):
            return
        first, last = min(planes), max(planes)
        if first < 0 or last >= self.frame.n_planes:
            raise _changed(self.path, f"plane {last} was asked for, {self.frame.n_planes} are there (0 is the first)")
        try:
            _expect_ingested(self.path, self.frame)
            # Before anything is allocated: a header may promise what no disk could hold.
            if self.frame.compression == "fz":
                _expect_tiles(self.path, self.frame, sorted(set(planes)))
            else:
                stream = self._opened(0 if self._stream is None else self._reached)
                for plane in sorted(set(planes)):
                    if not stream.holds(self._offset(plane + 1)):
                        raise _short(self.path, plane, self.frame)
        except OSError as error:
            raise _unreachable(self.path, error) from error

    def _plane(self, plane: int, into: Pixels) -> None:
        kind = _dtype(self.frame)
        plain = kind == np.float32 and (self.frame.bzero, self.frame.bscale) == (0.0, 1.0)
        stored: Stored = into if plain else np.empty(into.shape, kind)
        stream = self._opened(self._offset(plane))
        # A view of bytes: numpy reads big-endian files straight into the array that is asked for.
        if not stream.fill(self._offset(plane), memoryview(stored.data).cast("B")):
            raise _short(self.path, plane, self.frame)
        self._reached = self._offset(plane + 1)
        if plane == self.frame.n_planes - 1:
            stream.finish()
            self._reached = _END
        if kind.itemsize > 1:
            stored.byteswap(inplace=True)
        if not plain:
            into[...] = _scaled(stored, self.frame)

    def _offset(self, plane: int) -> int:
        size = (self.frame.naxis1 or 0) * (self.frame.naxis2 or 0) * _dtype(self.frame).itemsize
        return self.frame.data_offset + plane * size

    def _opened(self, offset: int) -> Stream:
        """The stream, opened anew where it has gone beyond this offset."""
        if self._stream is not None and self._stream.forward_only and self._reached > offset:
            self.close()
        if self._stream is None:
            self._stream, self._reached = open_stream(self.path), 0
        return self._stream

    def close(self) -> None:
        """Let go of it; reading opens it again."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def __enter__(self) -> OpenFrame:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _expect_ingested(path: Path, frame: RawFrame) -> None:
    """Refuse a file of another size or with another header than the one ingested; OSError where it is out of reach."""
    status = path.stat()
    if status.st_size != frame.size_bytes:
        raise _changed(path, f"has {status.st_size} bytes, {frame.size_bytes} when it was ingested")
    if not frame.header_sha256:
        # A row made without its header's digest has nothing to compare.
        return
    if header_digest(path, status, frame.data_offset) != frame.header_sha256:
        # `ingest` takes size and time for a sign that a file is unchanged: without a new time it would not look again.
        touch = "touch the file, " if status.st_mtime == frame.mtime else ""
        raise _changed(path, "has another header", f"{touch}ingest the directory again, then run --retry")


def plane_digests(planes: NDArray[np.float32]) -> tuple[str, ...]:
    """sha256 (64 hex) of each plane's little-endian float32 bytes; planes (n, ny, nx)."""
    return tuple(hashlib.sha256(np.ascontiguousarray(plane, "<f4").data).hexdigest() for plane in planes)


# A plane's stored numbers: any of the six FITS types.
Stored = NDArray[np.generic]


def _dtype(frame: RawFrame) -> np.dtype[np.generic]:
    """Native type of a stored pixel. Files are big-endian; on a big-endian machine nothing would be swapped."""
    kinds = {8: "u1", 16: "<i2", 32: "<i4", 64: "<i8", -32: "<f4", -64: "<f8"}
    return np.dtype(kinds[frame.bitpix or 0])


def _scaled(raw: Stored, frame: RawFrame) -> Pixels:
    zero, scale = frame.bzero, frame.bscale
    if zero == 0.0 and scale == 1.0:
        return raw.astype(np.float32, copy=False)
    if raw.dtype == np.int16 and scale == 1.0 and zero.is_integer() and abs(zero) + 2**15 <= _EXACT:
        # Sums of integers below 2^24 are exact in float32: no detour, for any zero point (the samples have 32668).
        pixels = raw.astype(np.float32)
        pixels += np.float32(zero)
        return pixels
    return (raw.astype(np.float64) * scale + zero).astype(np.float32)


def _expect_tiles(path: Path, frame: RawFrame, wanted: Sequence[int]) -> None:
    """Refuse a tile-compressed image that cannot be what its table, or the frame, says; as `expect_sound_tiles`."""
    with _units(path, disable_image_compression=True) as units:
        expect_sound_tiles(path, units[1], wanted)
        header = units[1].header
        shape = tuple(header[f"ZNAXIS{n}"] for n in range(1, header["ZNAXIS"] + 1))
    ingested = tuple(n for n in (frame.naxis1, frame.naxis2, frame.naxis3) if n is not None)
    if shape != ingested:
        raise _changed(path, f"holds an image of {shape}, {ingested} when it was ingested")


def _tiles(path: Path, frame: RawFrame, wanted: Sequence[int]) -> Stored:
    """Planes of a tile-compressed image whose table is known to be sound, decoded by astropy plane by plane."""
    with _units(path, do_not_scale_image_data=True) as units:
        section = units[1].section
        planes = [section[plane] if frame.naxis3 is not None else section[:, :] for plane in wanted]
    stacked = np.stack(planes)
    return stacked.astype(stacked.dtype.newbyteorder("="), copy=False)


@contextmanager
def _units(path: Path, **how: bool) -> Iterator[Any]:
    """The units of a file as astropy opens it (Any: it ships no types), its faults as DataFailure AP-ING-031."""
    # Imported here: reading plain files must not pay for astropy (0.4 s and 60 MB a process).
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    try:
        with warnings.catch_warnings():
            # Odd cards were named at ingest.
            warnings.simplefilter("ignore", AstropyWarning)
            with fits.open(path, mode="readonly", memmap=False, **how) as units:
                yield units
    except (DataFailure, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # Whatever a decoder says about bytes it cannot decode is a fault of the file.
        raise damaged(path, str(error)) from error


def _short(path: Path, plane: int, frame: RawFrame) -> DataFailure:
    return DataFailure(
        "AP-ING-030",
        f"file ends before plane {plane} of {frame.n_planes} does",
        subject=named(path),
        remedy="fetch the file again, ingest it and run --retry, or quarantine it in overrides/",
    )


def _changed(path: Path, why: str, remedy: str = "ingest the directory again, then run --retry") -> DataFailure:
    return DataFailure(
        "AP-ING-032",
        f"is not the file that was ingested: {why}",
        subject=named(path),
        remedy=remedy,
    )


def _unreachable(path: Path, error: OSError) -> InfraFailure:
    return InfraFailure(
        "AP-ING-033",
        f"cannot be read ({error.strerror or error})",
        subject=named(path),
        remedy="mount the raw root on this host, or correct its path in archive.toml",
    )
