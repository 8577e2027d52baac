"""Raw pixels for the bench, read without the archive's own reader, so that a fault there shows up here."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import InputError

_DTYPES = {-32: ">f4", 16: ">i2"}
_BLOCK = 2880


class RawPlanes:
    """Planes of the raw files below a folder, by file id."""

    def __init__(self, folder: Path) -> None:
        self._paths = {path.name.split(".fits")[0]: path for path in sorted(folder.rglob("SPHER.*.fits*"))}
        self._open: tuple[str, NDArray[np.float32]] | None = None

    def path(self, file_id: str) -> Path:
        """Where the file lies. Raises InputError AP-SIM-003 where it is not there."""
        if file_id not in self._paths:
            raise InputError(
                "AP-SIM-003",
                "the raw file that truth speaks of is missing",
                subject=file_id,
                remedy="give the folder that holds the raw files",
            )
        return self._paths[file_id]

    def plane(self, file_id: str, plane: int) -> NDArray[np.float32]:
        """(ny, nx) float32 ADU. Raises InputError AP-SIM-003 where the file is not there."""
        path = self.path(file_id)
        # Truth is in order of time: one file at a time is enough.
        if self._open is None or self._open[0] != file_id:
            self._open = (file_id, _read(path))
        pixels: NDArray[np.float32] = self._open[1][plane]
        return pixels


def _read(path: Path) -> NDArray[np.float32]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        content = stream.read()
    cards: dict[str, str] = {}
    at = 0
    while content[at : at + 80].rstrip() != b"END":
        key, _, rest = content[at : at + 80].decode("ascii", "replace").partition("=")
        cards[key.strip()] = rest.split("/")[0].strip()
        at += 80
    start = -(-(at + 80) // _BLOCK) * _BLOCK
    shape = (int(cards.get("NAXIS3", "1")), int(cards["NAXIS2"]), int(cards["NAXIS1"]))
    pixels = np.frombuffer(content, _DTYPES[int(cards["BITPIX"])], int(np.prod(shape)), start).reshape(shape)
    zero, scale = float(cards.get("BZERO", "0")), float(cards.get("BSCALE", "1"))
    values: NDArray[np.float32] = pixels.astype(np.float32)
    values *= np.float32(scale)
    values += np.float32(zero)
    return values
