"""Raw frames: the facts of one raw file, as its header states them (the manifest's row)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

from archive_proc.model.ids import FileId


class Arm(StrEnum):
    """The detector arm that wrote a raw frame (`SEQ ARM`, else `DET ID`). SPARTA is telemetry."""

    IRDIS = "IRDIS"
    IFS = "IFS"
    ZIMPOL = "ZIMPOL"
    SPARTA = "SPARTA"


ABSENT = "absent"
"""Of pixels: only the header is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFrame:
    """One raw FITS file: one row of a manifest. Header facts only, NULL (None) for missing, UTC everywhere.

    What is derived from rules (frame type, group, observation, target) is not here: `association` computes it.
    """

    file_id: FileId
    """Canonical archive name."""
    content_id: str
    """sha256, 64 hex, of the image header's cards and declared data size (DESIGN 6)."""
    origfile: str | None = None
    uri: str
    """`<raw root name>/<path inside it>`; outside every identity."""
    compression: str = "none"
    """none, gz, Z, fz."""
    datasum: str | None = None
    declared_bytes: int = 0
    """Bytes of pixels the header promises (unpadded)."""
    data_offset: int = 0
    """Byte where pixels start, in the uncompressed file."""
    truncated: bool = False
    """Uncompressed file shorter than header + pixels."""
    size_bytes: int = 0
    """Bytes on disk."""
    mtime: float = 0.0
    """POSIX s; with path and size only a hint to skip a rescan."""
    sha256: str | None = None
    pixels: str = "present"
    """present or ABSENT (a manifest made without pixels)."""

    arm: Arm
    dpr_catg: str | None = None
    dpr_type: str | None = None
    dpr_tech: str | None = None
    object_raw: str | None = None
    obs_targ_name: str | None = None
    ra_deg: float | None = None
    dec_deg: float | None = None
    """J2000 telescope pointing, deg."""
    date_obs: dt.datetime
    """Start of the first DIT, UTC, naive."""
    frame_utc_end: dt.datetime | None = None
    """`DET FRAM UTC`."""
    mjd_obs: float
    mjd_end: float
    """d, UTC; end of the last DIT: planned spacing x planes present."""
    night: dt.date
    """date(UTC - 16 h)."""
    period_date: int
    """ESO period of the night."""
    period_prog: int | None = None
    prog_id: str | None = None
    prog_type: int | None = None

    ob_id: int | None = None
    ob_name: str | None = None
    ob_start: dt.datetime | None = None
    ob_container_id: int | None = None
    ob_exectime_s: int | None = None
    tpl_id: str | None = None
    tpl_start: dt.datetime | None = None
    tpl_expno: int | None = None
    tpl_nexp: int | None = None
    obstype_list: str | None = None

    dit_s: float | None = None
    """`DET SEQ1 DIT`, s."""
    dit_ms: int | None = None
    """round(1000 dit_s): the match key."""
    realdit_s: float | None = None
    ditdelay_s: float | None = None
    seq_exptime_s: float | None = None
    """`DET SEQ1 EXPTIME`: all planes with overheads, s."""
    ndit: int | None = None
    """Planned planes, `DET NDIT`."""
    naxis1: int | None = None
    naxis2: int | None = None
    naxis3: int | None = None
    """Planes present is naxis3, or 1 for a two-dimensional image."""
    bitpix: int | None = None
    bzero: float = 0.0
    bscale: float = 1.0
    readout: str | None = None
    """`DET READ CURNAME`."""
    gain: float | None = None
    """e-/ADU: `DET CHIP1 GAIN`, else `DET OUT1 CONAD`."""

    inst_filter: str | None = None
    """`INS COMB IFLT` (IRDIS filter combination, also in IFS headers)."""
    ins1_filt: str | None = None
    ins1_opti1: str | None = None
    ins1_opti2: str | None = None
    ins1_mode: str | None = None
    ifs_comb: str | None = None
    """`INS2 COMB IFS`."""
    prism: str | None = None
    """`INS2 OPTI2 NAME`."""
    lamp: str | None = None
    """Names of the lamps switched on, joined by +."""
    zimpol_mode: str | None = None
    zimpol_filter1: str | None = None
    zimpol_filter2: str | None = None
    zimpol_opti2: str | None = None
    coro_ir: str | None = None
    coro_vis: str | None = None
    nd_filter: str | None = None
    """`INS4 FILT2 NAME`."""
    pola: str | None = None
    dichroic: str | None = None
    shutter: bool | None = None
    """`INS4 SHUT ST`-like: T is open."""
    rot_mode: str | None = None
    """`INS4 COMB ROT`: PUPIL or FIELD."""
    drot2_mode: str | None = None
    drot2_begin_deg: float | None = None
    """`INS4 DROT2 BEGIN`, or `START` since mid-2021."""
    drot2_end_deg: float | None = None
    drot2_posang_deg: float | None = None
    drot2_ra: float | None = None
    drot2_dec: float | None = None
    """Apparent place, packed sexagesimal (hhmmss.s, ddmmss.s)."""
    drot2_dec_negative: bool | None = None
    """Sign as written: a packed -0 deg keeps it here."""
    targ_alpha: float | None = None
    targ_delta: float | None = None
    """`TEL TARG ALPHA/DELTA`, packed."""
    parang_start_deg: float | None = None
    parang_end_deg: float | None = None
    alt_deg: float | None = None
    az_deg: float | None = None
    airmass_start: float | None = None
    airmass_end: float | None = None
    tel_lat_deg: float | None = None
    tel_lon_deg: float | None = None
    tel_elev_m: float | None = None
    dith_x: float | None = None
    dith_y: float | None = None
    """`INS1 DITH POSX/POSY`, px."""
    pac_x: float | None = None
    pac_y: float | None = None
    """`INS1 PAC X/Y`, um."""
    waffle_ampl: float | None = None
    waffle_orient: str | None = None

    ao_tt: str | None = None
    ao_ho: str | None = None
    ao_ir: str | None = None
    ao_pup: str | None = None
    viswfs_mode: str | None = None
    spatial_filter: str | None = None
    wfs_filter: str | None = None
    fwhm_start: float | None = None
    fwhm_end: float | None = None
    ia_fwhm: float | None = None
    tau0_s: float | None = None
    wind_ms: float | None = None
    wind_dir_deg: float | None = None
    temp_c: float | None = None
    rhum_pct: float | None = None

    release_date: dt.datetime | None = None
    access: str = "public"
    """public or private."""
    n_cards: int = 0
    header_sha256: str = ""
    problems: tuple[str, ...] = ()
    """What the scanner could not read as it should be: `KEYWORD: why`."""
    parser_version: str = ""
    binning: int | None = None
    """`DET WIN1 BINX`: detector pixels along each side of one pixel of the file. The instrument never bins: headers
    lack it, and simulated frames of reduced size have it."""

    @property
    def n_planes(self) -> int:
        """Planes present in the file (0 when it holds no image)."""
        if not self.naxis1 or not self.naxis2:
            return 0
        return 1 if self.naxis3 is None else self.naxis3

    @property
    def mjd_mid(self) -> float:
        """Mid-exposure of the file, d UTC: the time that associations measure from."""
        return 0.5 * (self.mjd_obs + self.mjd_end)


@dataclass(frozen=True, slots=True)
class HeaderCard:
    """One card of a raw header, value as text as the header has it."""

    file_id: FileId
    position: int
    key: str
    """Keyword without `HIERARCH ESO `: `DET SEQ1 DIT`."""
    value: str
    comment: str
