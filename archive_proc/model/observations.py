"""What raw frames are when the rules have read them: frame types, exposure groups, observations, associations."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import FileId, GroupId, ObsId, TargetId


@dataclass(frozen=True, slots=True)
class ClassifiedFrame:
    """A raw frame with the frame type that exactly one table row gave it."""

    frame: RawFrame
    frame_type: str
    """ESO's classification word, `IRD_SCIENCE_DBI_RAW`."""
    role: str
    """What it is to an observation: OBJECT, CENTER, FLUX, SKY; or CALIB, TELEMETRY, OTHER."""
    mode: str = ""
    """What the row says it is reduced as: dual_band, polarimetry, calibration, ..."""
    reduced: bool = True
    """False where the row says: recognised and named only."""


@dataclass(frozen=True, slots=True)
class ExposureGroup:
    """Raw frames of one frame type that share its group keys, of one template or calibration block."""

    group_id: GroupId
    arm: Arm
    frame_type: str
    role: str
    keys: tuple[tuple[str, str | int | float | None], ...]
    """(manifest column, value), in the order of the frame-type table."""
    file_ids: tuple[FileId, ...]
    """In order of time."""
    ob_id: int | None
    night: dt.date
    period_date: int
    mjd_start: float
    mjd_end: float
    mode: str = ""
    """Of its first frame's row."""
    reduced: bool = True
    """False where the frame-type table says: recognised and named only."""

    @property
    def mjd_mid(self) -> float:
        """Middle of the group's time span, d UTC."""
        return 0.5 * (self.mjd_start + self.mjd_end)


@dataclass(frozen=True, slots=True)
class ObservationFile:
    """A raw frame's place in an observation."""

    file_id: FileId
    role: str
    """OBJECT, CENTER, FLUX, SKY."""
    group_id: GroupId
    science: bool
    """True when its planes are the science planes (continuous waffle: role CENTER, science True)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One arm's science sequence of one target (catalog table `observations`)."""

    obs_id: ObsId
    arm: Arm
    target_id: TargetId | None
    object_raw: str | None
    ob_id: int | None
    ob_start: dt.datetime | None
    tpl_start: dt.datetime | None
    prog_id: str | None
    night: dt.date
    period_date: int
    setup: tuple[tuple[str, str | int | float | None], ...]
    """Science setup: (manifest column, value); enters obs_id."""
    mode: str
    """dual_band, classical, polarimetry, long_slit, ifs, zimpol, ...: a word of the frame-type table."""
    reduced: bool
    """False where the frame-type table says this mode has no recipes: recognised and named only."""
    files: tuple[ObservationFile, ...]
    """In order of time."""
    mjd_start: float
    mjd_end: float
    inst_filter: str | None
    coro: str | None
    rot_mode: str | None
    dit_s: float | None
    dit_ms: int | None
    ndit: int | None
    waffle: bool
    """Continuous waffle: the CENTER frames are the science frames."""
    rotation_deg: float | None
    seeing: float | None
    tau0_s: float | None
    ao_open_fraction: float | None
    complete: bool | None
    """None when unknown (one arm delivered of a two-arm template)."""
    public_at: dt.datetime | None
    paired_obs_id: ObsId | None
    quarantined_science: tuple[FileId, ...] = ()
    """Science files that an override takes out, in order of time; they are not among `files`."""

    def file_ids(self, role: str) -> tuple[FileId, ...]:
        """The files of one role, in order of time."""
        return tuple(entry.file_id for entry in self.files if entry.role == role)

    @property
    def science_files(self) -> tuple[FileId, ...]:
        """The files whose planes are the science planes, in order of time."""
        return tuple(entry.file_id for entry in self.files if entry.science)


@dataclass(frozen=True, slots=True)
class Target:
    """A star as known from pointings; names are rows of their own."""

    target_id: TargetId
    main_id: str
    ra_deg: float
    dec_deg: float
    names: tuple[str, ...] = ()
    """Normalised names (lower case, no blanks or punctuation)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Association:
    """A calibration group chosen for (a part of) a consumer group."""

    consumer_group_id: GroupId
    selector: str
    """Part of the consumer that it serves: "" for all, or `dit_ms=1000` where frames of a group differ in it."""
    file_ids: tuple[FileId, ...]
    """The consumer's files it serves, in order of time."""
    role: str
    """background, dark, flat, center, flux, wave, specpos, ..."""
    calib_group_id: GroupId
    rule_id: str
    ruleset_version: str
    level: int
    """0 (calibration plan) to 3 (risky), by absolute time distance."""
    dt_days: float
    """Signed: calibration minus consumer, mid-exposures."""
    method: str
    """`match`, or the named fallback that brought it (`rate_from_other_dits`)."""
    n_candidates: int
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A candidate that a rule refused, with the first criterion it failed."""

    consumer_group_id: GroupId
    selector: str
    role: str
    rule_id: str
    candidate_group_id: GroupId
    criterion: str
    """dit_ms, inst_filter, window, nearer_exists, banned, quarantined, refused_by_qc, ..."""
    wanted: str
    found: str
    dt_days: float


@dataclass(frozen=True, slots=True)
class RefusalCount:
    """How many candidates one rule refused for one consumer."""

    consumer_group_id: GroupId
    selector: str
    role: str
    rule_id: str
    n_refused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """A problem found in data, calibrations or processes that a person may have to resolve."""

    code: str
    severity: str
    """note, warning, blocking."""
    subject_kind: str
    """file, group, observation, process, archive."""
    subject_id: str
    message: str
    """What, which criterion, the nearest candidate."""
    remedy: str
    file_id: FileId | None = None
    obs_id: ObsId | None = None
    group_id: GroupId | None = None
    process_id: str | None = None
