"""Catalog tables of what ingest, rules and people say: files, targets, observations, associations, decisions."""

from __future__ import annotations

from archive_proc.storage.table_form import Table, define

FILES = define(
    "files",
    "One row a raw file: header facts of its manifest, and what the rules make of it.",
    """
    file_id           text      -       canonical archive name, SPHER.<date>
    content_id        digest    -       sha256 of header values and declared data size, the same for every compression
    origfile          text      -       ORIGFILE of the header
    uri               text      -       <raw root>/<path inside it>
    compression       text      -       none, gz, Z or fz
    datasum           text      -       DATASUM as written in the header
    declared_bytes    int64     byte    pixels the header promises
    data_offset       int64     byte    where pixels start in the uncompressed file
    truncated         bool      -       shorter than header and pixels
    size_bytes        int64     byte    size on disk
    mtime             float64   s       modification time, POSIX; a hint to skip a rescan only
    sha256            digest    -       of the file on disk, where asked for
    pixels            text      -       present or absent
    arm               text      -       IRDIS, IFS, ZIMPOL or SPARTA (telemetry)
    dpr_catg          text      -       DPR CATG
    dpr_type          text      -       DPR TYPE
    dpr_tech          text      -       DPR TECH
    object_raw        text      -       OBJECT as written
    obs_targ_name     text      -       OBS TARG NAME
    ra_deg            float64   degree  telescope pointing, J2000
    dec_deg           float64   degree  telescope pointing, J2000
    date_obs          timestamp -       start of the first DIT, UTC
    frame_utc_end     timestamp -       DET FRAM UTC, end of the exposure
    mjd_obs           float64   d       start, MJD UTC
    mjd_end           float64   d       end of the last DIT, MJD UTC
    night             date      -       date of UTC - 16 h
    period_date       int16     -       ESO period of the night
    period_prog       int16     -       ESO period of the programme
    prog_id           text      -       OBS PROG ID
    prog_type         int16     -       programme type
    ob_id             int64     -       OBS ID
    ob_name           text      -       OBS NAME
    ob_start          timestamp -       OBS START, UTC
    ob_container_id   int64     -       OBS CONTAINER ID
    ob_exectime_s     int32     s       planned execution time of the OB
    tpl_id            text      -       TPL ID
    tpl_start         timestamp -       TPL START, UTC
    tpl_expno         int32     -       exposure number within the template
    tpl_nexp          int32     -       exposures the template plans
    obstype_list      text      -       exposure types the template plans
    dit_s             float64   s       DET SEQ1 DIT
    dit_ms            int32     ms      round(1000 dit_s), the match key
    realdit_s         float64   s       DET SEQ1 REALDIT
    ditdelay_s        float64   s       DET DITDELAY
    seq_exptime_s     float64   s       all planes with overheads
    ndit              int32     -       planned planes
    naxis1            int32     pixel   columns
    naxis2            int32     pixel   rows
    naxis3            int32     -       planes present; NULL for an image
    bitpix            int16     -       BITPIX
    bzero             float64   -       BZERO
    bscale            float64   -       BSCALE
    readout           text      -       DET READ CURNAME
    gain              float64   electron/adu  detector gain as written
    inst_filter       text      -       INS COMB IFLT
    ins1_filt         text      -       INS1 FILT NAME
    ins1_opti1        text      -       INS1 OPTI1 NAME
    ins1_opti2        text      -       INS1 OPTI2 NAME
    ins1_mode         text      -       INS1 MODE
    ifs_comb          text      -       INS2 COMB IFS
    prism             text      -       INS2 OPTI2 NAME
    lamp              text      -       lamps switched on, joined by +
    zimpol_mode       text      -       ZIMPOL mode
    zimpol_filter1    text      -       ZIMPOL filter, camera 1
    zimpol_filter2    text      -       ZIMPOL filter, camera 2
    zimpol_opti2      text      -       ZIMPOL common filter
    coro_ir           text      -       INS COMB ICOR
    coro_vis          text      -       INS COMB VCOR
    nd_filter         text      -       INS4 FILT2 NAME
    pola              text      -       polariser
    dichroic          text      -       dichroic beam splitter
    shutter           bool      -       true is open
    rot_mode          text      -       PUPIL or FIELD
    drot2_mode        text      -       derotator mode
    drot2_begin_deg   float64   degree  derotator, begin
    drot2_end_deg     float64   degree  derotator, end
    drot2_posang_deg  float64   degree  derotator, position angle
    drot2_ra          float64   -       apparent place, packed hhmmss.s
    drot2_dec         float64   -       apparent place, packed ddmmss.s
    drot2_dec_negative bool     -       sign as written
    targ_alpha        float64   -       TEL TARG ALPHA, packed
    targ_delta        float64   -       TEL TARG DELTA, packed
    parang_start_deg  float64   degree  parallactic angle, start
    parang_end_deg    float64   degree  parallactic angle, end
    alt_deg           float64   degree  altitude
    az_deg            float64   degree  azimuth, from south
    airmass_start     float64   -       airmass, start
    airmass_end       float64   -       airmass, end
    tel_lat_deg       float64   degree  telescope latitude
    tel_lon_deg       float64   degree  telescope longitude, east positive
    tel_elev_m        float64   m       telescope elevation
    dith_x            float64   pixel   detector dither in x
    dith_y            float64   pixel   detector dither in y
    pac_x             float64   um      dither stage in x
    pac_y             float64   um      dither stage in y
    waffle_ampl       float64   um      amplitude of the waffle
    waffle_orient     text      -       + or x
    ao_tt             text      -       tip-tilt loop
    ao_ho             text      -       high-order loop
    ao_ir             text      -       differential tip-tilt loop
    ao_pup            text      -       pupil loop
    viswfs_mode       text      -       wavefront sensor mode
    spatial_filter    text      -       wavefront sensor spatial filter
    wfs_filter        text      -       wavefront sensor filter
    fwhm_start        float64   arcsec  seeing monitor, start
    fwhm_end          float64   arcsec  seeing monitor, end
    ia_fwhm           float64   arcsec  image quality at the active optics
    tau0_s            float64   s       coherence time
    wind_ms           float64   m/s     wind speed
    wind_dir_deg      float64   degree  wind direction
    temp_c            float64   degC    temperature
    rhum_pct          float64   percent relative humidity
    release_date      timestamp -       end of the embargo, UTC
    access            text      -       public or private
    n_cards           int32     -       cards in the header
    header_sha256     digest    -       of the header as stored
    problems          text[]    -       what the scanner could not read as it should be
    parser_version    text      -       version of the header scanner
    frame_type        text      -       ESO's classification word
    role              text      -       OBJECT, CENTER, FLUX, SKY, CALIB, TELEMETRY or OTHER
    group_id          text      -       exposure group it belongs to
    target_id         text      -       star it points at
    state             text      -       ok, quarantined, rejected, superseded or missing
    binning           int16     -       detector pixels along each side of one pixel; NULL where never binned
    """,
    key="file_id",
    sort="night mjd_obs file_id",
    by_period=True,
    version=2,
)

GROUPS = define(
    "groups",
    "Exposure groups: raw frames of one type that share its group keys; masters are made one a group.",
    """
    group_id     text     -  id of the exposure group
    arm          text     -  arm
    frame_type   text     -  ESO's classification word
    role         text     -  what its frames are to an observation
    keys         json     -  group keys and their values
    ob_id        int64    -  OBS ID
    night        date     -  night of its first frame
    period_date  int16    -  ESO period of that night
    mjd_start    float64  d  start of the first frame, MJD UTC
    mjd_end      float64  d  end of the last frame, MJD UTC
    n_files      int32    -  raw files
    access       text     -  private where one of its files is
    public_at    timestamp -  end of the embargo, UTC
    """,
    key="group_id",
    sort="period_date night group_id",
)

TARGETS = define(
    "targets",
    "Stars as known from pointings.",
    """
    target_id    text       -        id, from position
    main_id      text       -        name shown
    ra_deg       float64    degree   J2000
    dec_deg      float64    degree   J2000
    pmra         float64    mas/yr   proper motion, times cos(dec)
    pmdec        float64    mas/yr   proper motion
    plx          float64    mas      parallax
    mag_g        float64    mag      Gaia G
    mag_h        float64    mag      2MASS H
    sp_type      text       -        spectral type
    resolver     text       -        who resolved it; pointing where nobody did
    resolved_at  timestamp  -        when, UTC
    """,
    key="target_id",
)

TARGET_NAMES = define(
    "target_names",
    "Names of targets, normalised: lower case, no blanks or punctuation.",
    """
    name_norm  text  -  normalised name
    target_id  text  -  star it names
    """,
    key="name_norm target_id",
)

OBSERVATIONS = define(
    "observations",
    "One arm's science sequence of one target.",
    """
    obs_id            text       -       id
    arm               text       -       arm
    target_id         text       -       star
    object_raw        text       -       OBJECT as written
    mode              text       -       dual_band, classical, polarimetry, long_slit, ifs, zimpol, ...
    reduced           bool       -       false where no recipe reduces the mode
    night             date       -       night of its first frame
    period_date       int16      -       ESO period of that night
    ob_id             int64      -       OBS ID
    ob_start          timestamp  -       OBS START, UTC
    tpl_start         timestamp  -       TPL START, UTC
    prog_id           text       -       programme
    setup             json       -       science setup that enters the id
    setup_hash        text       -       the same for equal setups
    inst_filter       text       -       filter combination
    coro              text       -       coronagraph
    rot_mode          text       -       PUPIL or FIELD
    mjd_start         float64    d       start, MJD UTC
    mjd_end           float64    d       end, MJD UTC
    dit_s             float64    s       DIT of the science frames
    dit_ms            int32      ms      round(1000 dit_s)
    ndit              int32      -       planned planes a file
    n_sci_files       int32      -       science files
    n_sci_frames      int32      -       science planes present
    n_center          int32      -       CENTER files
    n_flux            int32      -       FLUX files
    n_sky             int32      -       SKY files
    waffle            bool       -       continuous waffle: CENTER frames are the science frames
    rotation_deg      float64    degree  field rotation, absolute
    seeing            float64    arcsec  median seeing
    tau0_s            float64    s       median coherence time
    ao_open_fraction  float64    -       fraction of files with an open AO loop
    complete          bool       -       as many files as the template planned; NULL when unknown
    access            text       -       private where one of its files is
    public_at         timestamp  -       end of the embargo, UTC
    paired_obs_id     text       -       observation of the other arm at the same time
    """,
    key="obs_id",
    sort="period_date night obs_id",
)

OBSERVATION_FILES = define(
    "observation_files",
    "Which raw files an observation has, in order of time.",
    """
    obs_id    text   -  observation
    file_id   text   -  raw file
    role      text   -  OBJECT, CENTER, FLUX or SKY
    seq       int32  -  position in order of time, from 0
    group_id  text   -  exposure group of the file
    science   bool   -  its planes are the science planes
    """,
    key="obs_id file_id",
    sort="obs_id seq",
)

ASSOCIATION_RULES = define(
    "association_rules",
    "The rules that choose calibrations, one row a kind of calibration that may fill the role.",
    """
    rule_id          text       -  rule
    ruleset_version  text       -  digest of the rule tables
    arm              text       -  arm
    role             text       -  what the calibration is to its consumer
    consumer_types   text[]     -  frame types or roles that ask
    calib_type       text       -  frame type that answers
    priority         int32      -  order among the kinds of one rule, from 0
    match_keys       text[]     -  manifest columns that must agree
    match_thermal    text[]     -  further columns where the filter is thermal
    min_n            int32      -  fewest files
    max_n            int32      -  most files
    window_days      float64[]  d  largest distance of level 0, 1, 2, 3
    fallback         text       -  named stand-in, if any
    on_missing       text       -  issue code
    """,
    key="rule_id ruleset_version priority",
)

ASSOCIATIONS = define(
    "associations",
    "Calibration groups chosen for (parts of) consumer groups.",
    """
    consumer_group_id  text     -  group that needs it
    selector           text     -  part of the consumer it serves; empty for all
    role               text     -  background, dark, flat, center, flux, ...
    calib_group_id     text     -  group chosen
    rule_id            text     -  rule that chose
    ruleset_version    text     -  digest of the rule tables
    level              int8     -  0 calibration plan, 1, 2, 3 risky
    dt_days            float64  d  calibration minus consumer, mid-exposures
    method             text     -  match, or the named fallback
    n_candidates       int32    -  candidates looked at
    pinned             bool     -  chosen by an override
    """,
    key="consumer_group_id selector role calib_group_id",
)

REFUSALS = define(
    "refusals",
    "Candidates refused: the nearest few of each rule and those pinned or banned; one row a rule with only the count.",
    """
    consumer_group_id   text     -  group that needs a calibration
    selector            text     -  part of the consumer
    role                text     -  what was sought
    rule_id             text     -  rule that refused
    candidate_group_id  text     -  group refused; empty in the row that holds the count
    criterion           text     -  first criterion failed
    wanted              text     -  value wanted
    found               text     -  value found
    dt_days             float64  d  candidate minus consumer
    n_refused           int32    -  all candidates this rule refused, in the row that holds the count
    """,
    key="consumer_group_id selector role rule_id candidate_group_id",
)

OVERRIDES = define(
    "overrides",
    "Human decisions that change inputs, parameters or header facts.",
    """
    override_id  text       -  id
    kind         text       -  exclude-planes, quarantine, pin-cal, ban-cal, param, header, waive
    match        json       -  what it applies to
    value        json       -  what it sets
    reason       text       -  why
    author       text       -  who
    decided_at   timestamp  -  when, UTC
    expires      timestamp  -  until, UTC; NULL for never
    source       text       -  file and line
    """,
    key="override_id",
)

FRAME_TABLES: tuple[Table, ...] = (
    FILES,
    GROUPS,
    TARGETS,
    TARGET_NAMES,
    OBSERVATIONS,
    OBSERVATION_FILES,
    ASSOCIATION_RULES,
    ASSOCIATIONS,
    REFUSALS,
    OVERRIDES,
)
