"""The shared IRDIS sample sets as raw frames and planes, and small made-up raw frames."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import FileId

EPOCH = dt.datetime(1858, 11, 17)


def made_frame(start: str, n_planes: int = 1, **facts: Any) -> RawFrame:
    """A raw frame of this start time (ISO), IRDIS, full size, DIT 16 s unless told otherwise."""
    when = dt.datetime.fromisoformat(start)
    mjd = (when - EPOCH) / dt.timedelta(days=1)
    given: dict[str, Any] = {
        "file_id": FileId(f"SPHER.{start}"),
        "content_id": "0" * 64,
        "uri": "",
        "arm": Arm.IRDIS,
        "date_obs": when,
        "mjd_obs": mjd,
        "mjd_end": mjd,
        "night": (when - dt.timedelta(hours=16)).date(),
        "period_date": 0,
        "dit_s": 16.0,
        "gain": 1.75,
        "ditdelay_s": 0.1,
        "ndit": n_planes,
        "naxis1": 2048,
        "naxis2": 1024,
        "naxis3": n_planes,
        "inst_filter": "DB_H23",
        "nd_filter": "OPEN",
        "rot_mode": "PUPIL",
        "tel_lat_deg": -24.6268,
        "tel_lon_deg": -70.4045,
    }
    return RawFrame(**{**given, **facts})


def sample_frames(folder: Path) -> dict[str, RawFrame]:
    """All raw frames with pixels of a sample set, by file id, in order of time."""
    return {path.name[: -len(".fits.gz")]: frame for path, frame in _read(folder)}


def sample_planes(folder: Path, frame: RawFrame) -> NDArray[np.float32]:
    """(n, 1024, 2048) float32 ADU per DIT."""
    from astropy.io import fits

    return np.asarray(fits.getdata(folder / f"{frame.file_id}.fits.gz"), dtype=np.float32)


def by_type(frames: dict[str, RawFrame], dpr_type: str, dit_s: float | None = None) -> list[RawFrame]:
    """The frames of a DPR TYPE and DIT."""
    return [one for one in frames.values() if one.dpr_type == dpr_type and dit_s in (None, one.dit_s)]


def stack(folder: Path, frames: list[RawFrame]) -> NDArray[np.float32]:
    """All planes of several frames."""
    return np.concatenate([sample_planes(folder, frame) for frame in frames])


def _read(folder: Path) -> list[tuple[Path, RawFrame]]:
    from astropy.io import fits

    found = []
    for path in sorted(folder.glob("SPHER*.fits.gz")):
        header = fits.getheader(path)
        if header.get("NAXIS", 0) < 3:
            continue
        eso = {key[4:]: value for key, value in header.items() if key.startswith("ESO ")}
        start = str(header["DATE-OBS"])
        end = eso.get("DET FRAM UTC")
        found.append(
            (
                path,
                made_frame(
                    start,
                    int(header["NAXIS3"]),
                    frame_utc_end=dt.datetime.fromisoformat(end) if end else None,
                    dpr_type=eso.get("DPR TYPE"),
                    dit_s=eso.get("DET SEQ1 DIT"),
                    realdit_s=eso.get("DET SEQ1 REALDIT"),
                    seq_exptime_s=eso.get("DET SEQ1 EXPTIME"),
                    ndit=eso.get("DET NDIT"),
                    gain=eso.get("DET CHIP1 GAIN"),
                    inst_filter=eso.get("INS COMB IFLT"),
                    nd_filter=eso.get("INS4 FILT2 NAME"),
                    drot2_begin_deg=eso.get("INS4 DROT2 BEGIN"),
                    drot2_posang_deg=eso.get("INS4 DROT2 POSANG"),
                    drot2_ra=eso.get("INS4 DROT2 RA"),
                    drot2_dec=eso.get("INS4 DROT2 DEC"),
                    drot2_dec_negative=str(eso.get("INS4 DROT2 DEC", "")).startswith("-"),
                    parang_start_deg=eso.get("TEL PARANG START"),
                    alt_deg=eso.get("TEL ALT"),
                    fwhm_start=eso.get("TEL AMBI FWHM START"),
                    fwhm_end=eso.get("TEL AMBI FWHM END"),
                    ia_fwhm=eso.get("TEL IA FWHM"),
                    dith_x=eso.get("INS1 DITH POSX"),
                    dith_y=eso.get("INS1 DITH POSY"),
                    rot_mode=eso.get("INS4 COMB ROT"),
                ),
            )
        )
    return found
