"""Raw IFS files of a folder with the few header facts that the reference reductions need.

Read with astropy and not with the archive's own reader, so that a fault there shows up here.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from archive_proc.errors import InputError

Float32 = NDArray[np.float32]
GAIN = 1.8
"""e-/ADU, where a header has none."""
SAME_DIT = 0.01
"""DITs this near, relatively, are the same: 1.65 and 1.650726 s."""


@dataclass(frozen=True, slots=True)
class RawFile:
    """One raw file."""

    file_id: str
    path: Path
    hdu: int
    """Which part of the file holds the image: 0, or 1 where it is tile-compressed."""
    dpr_type: str
    dpr_tech: str
    comb: str
    """`INS2 COMB IFS`."""
    dit_s: float
    real_dit_s: float
    """`DET SEQ1 REALDIT`."""
    gain: float
    """e-/ADU, `DET CHIP1 GAIN`."""
    planes: int

    def read(self) -> Float32:
        """(n, 2048, 2048) ADU."""
        with fits.open(self.path, memmap=False) as units:
            pixels = np.asarray(units[self.hdu].data, np.float32)
        return pixels if pixels.ndim == 3 else pixels[None]


@dataclass(frozen=True, slots=True)
class RawSet:
    """The raw files of one night."""

    files: tuple[RawFile, ...]

    def file(self, file_id: str) -> RawFile:
        """The file of this name. Raises InputError AP-SIM-003 where it is not there."""
        for one in self.files:
            if one.file_id == file_id:
                return one
        raise _missing(file_id)

    def of_type(self, *dpr_types: str, tech: str | None = None) -> tuple[RawFile, ...]:
        """Files of these types, in order of time."""
        return tuple(one for one in self.files if one.dpr_type in dpr_types and tech in (None, one.dpr_tech))

    def backgrounds(self, dit_s: float) -> tuple[RawFile, ...]:
        """Darks and backgrounds of a DIT. Raises InputError AP-SIM-003 where there is none."""
        found = self.of_type("DARK", "DARK,BACKGROUND")
        same = tuple(one for one in found if abs(one.dit_s - dit_s) < SAME_DIT * dit_s)
        if not same:
            raise _missing(f"background of {dit_s:g} s")
        return same


def _missing(what: str) -> InputError:
    return InputError(
        "AP-SIM-003",
        f"{what} is not among the raw files",
        subject=what,
        remedy="give the folder that holds the raw files",
    )


def read_raw_set(folder: Path) -> RawSet:
    """All raw files below a folder, by name (that is, by time)."""
    return RawSet(tuple(_facts(path) for path in sorted(folder.rglob("SPHER.*.fits*"))))


def _facts(path: Path) -> RawFile:
    with warnings.catch_warnings():
        # Long keywords and odd units are ESO's way; nothing a reader can change.
        warnings.simplefilter("ignore")
        with fits.open(path, memmap=False, lazy_load_hdus=True) as units:
            hdu = 0 if units[0].header.get("NAXIS", 0) else 1
            header = units[hdu].header
            return RawFile(
                file_id=path.name.split(".fits")[0],
                path=path,
                hdu=hdu,
                dpr_type=str(header.get("ESO DPR TYPE", "")).strip(),
                dpr_tech=str(header.get("ESO DPR TECH", "")).strip(),
                comb=str(header.get("ESO INS2 COMB IFS", "")).strip(),
                dit_s=float(header.get("ESO DET SEQ1 DIT", 0.0)),
                real_dit_s=float(header.get("ESO DET SEQ1 REALDIT", header.get("ESO DET SEQ1 DIT", 0.0))),
                gain=float(header.get("ESO DET CHIP1 GAIN", GAIN)),
                planes=int(header.get("NAXIS3", 1)),
            )


def mean_plane(files: Sequence[RawFile]) -> Float32:
    """(2048, 2048) mean of all planes of some files, ADU; the median of more than two."""
    planes = np.concatenate([one.read() for one in files])
    return np.asarray(np.median(planes, axis=0) if len(planes) > 2 else planes.mean(axis=0), np.float32)
