"""Catalog tables of what was planned, run, made and judged: processes, products, runs, issues, releases."""

from __future__ import annotations

from archive_proc.storage.table_form import Table, define

RECIPES = define(
    "recipes",
    "Recipes by version: those of this package, and those that made what is stored.",
    """
    recipe         text  -  name
    version        text  -  declared by hand, guarded by a test
    arm            text  -  arm
    subject_kind   text  -  group, observation or frame
    input_spec     json  -  main input and roles
    output_spec    json  -  product types
    param_schema   json  -  parameters with their defaults
    is_latest      bool  -  the version of this package
    """,
    key="recipe version",
)

PARAMETER_SETS = define(
    "parameter_sets",
    "Parameters of processes, defaults filled in.",
    """
    param_hash  text  -  digest of recipe and parameters
    recipe      text  -  recipe
    preset      text  -  named preset they came from
    params      json  -  names and values
    """,
    key="param_hash preset",
)

PROCESSES = define(
    "processes",
    "One recipe on definite inputs: every process sealed, or named by a plan that was run.",
    """
    process_id        text       -     id, DESIGN 6
    recipe            text       -     recipe
    recipe_version    text       -     its version
    param_hash        text       -     parameter set
    preset            text       -     preset
    arm               text       -     arm
    subject_kind      text       -     observation, group, frame or library
    subject_id        text       -     what its products are about
    night             date       -     night of the subject
    period_date       int16      -     ESO period of that night
    state             text       -     done, failed, blocked, lost, cancelled, quarantined, waived or planned
    cause             text       -     infra, memory, data, code or config, where failed
    code              text       -     error code, where failed
    message           text       -     error in one line; what it waits for, where blocked
    is_current        bool       -     one of its products fills its slot
    is_wanted         bool       -     the newest ended run that covers its slot names it
    superseded_by     text       -     process that fills its slot in its place
    level             int8       -     worst association level of its chain
    fallbacks         text[]     -     what stood in for what was missing
    override_ids      text[]     -     overrides in force on it
    excluded_planes   json       -     (main input, plane) left out by overrides
    corrections       json       -     (content id, keyword, value) corrected by overrides
    tables_digest     text       -     digest of the instrument-table rows it reads
    planes            int32      -     planes of the main input
    run_id            text       -     run that made it, or spoke of it last
    attempt           int32      -     attempt that made it
    committed_at      timestamp  -     sealed, UTC
    cpu_s             float64    s     CPU of the attempt that made it
    wall_s            float64    s     wall time of the attempt that made it
    max_rss_mb        float64    MB    peak memory
    bytes_read        int64      byte  read
    bytes_written     int64      byte  written
    host              text       -     host
    package_version   text       -     version of archive_proc
    code_fingerprint  text       -     digest of the recipe's code
    environment       json       -     packages, Python, CPU, threads
    tasks             int32      -     tasks it took
    planes_read       int32      -     planes of the main input read, neighbours of blocks each time they were
    phases            json       -     phase of its tasks -> wall_s and cpu_s; they add up to those of the record
    """,
    key="process_id",
    sort="night subject_id process_id",
    by_period=True,
)

PROCESS_INPUTS = define(
    "process_inputs",
    "What a process is made from, in order.",
    """
    process_id   text     -  process
    seq          int32    -  position
    role         text     -  main, or the role of the input
    kind         text     -  file or product
    input_id     text     -  file id or product id
    content_id   digest   -  of a raw file: what enters the key; NULL for a product
    pixel_sha256 digest   -  of a raw file: its decoded pixels as this process read them; NULL where not all were read
    frame_role   text     -  OBJECT, CENTER, FLUX, SKY or CALIB of a raw main input
    serves       int32[]  -  main inputs that it serves; empty for all
    level        int8     -  association level
    dt_days      float64  d  calibration minus consumer
    method       text     -  how the association was made
    period_date  int16    -  ESO period of the process
    """,
    key="process_id seq",
    by_period=True,
)

PROCESS_EDGES = define(
    "process_edges",
    "Which process feeds which: lineage forty times faster than over inputs.",
    """
    process_id      text  -  process
    src_process_id  text  -  process one of whose products it reads
    """,
    key="process_id src_process_id",
)

ATTEMPTS = define(
    "attempts",
    "Every attempt at a process; a retry never edits history.",
    """
    process_id    text       -   process
    attempt       int32      -   number of the attempt
    run_id        text       -   run
    started_at    timestamp  -   UTC
    ended_at      timestamp  -   UTC
    host          text       -   host
    slurm_job_id  text       -   job
    cpu_s         float64    s   CPU
    wall_s        float64    s   wall time
    max_rss_mb    float64    MB  peak memory
    state         text       -   done, failed, lost or cancelled
    cause         text       -   infra, memory, data, code or config, where failed
    code          text       -   error code
    message       text       -   error in one line
    signature     text       -   equal for failures of one kind
    log_ref       text       -   log below the archive
    """,
    key="process_id run_id attempt",
)

PLAN_PROCESSES = define(
    "plan_processes",
    "What each plan that was run names, why, and what it was predicted to cost.",
    """
    plan_id             text     -     plan
    process_id          text     -     process
    subject_kind        text     -     observation, group, frame or library
    subject_id          text     -     what its products are about
    preset              text     -     preset
    product_types       text[]   -     slots it fills, with subject and preset
    reason              text     -     new, cached, input, recipe, parameter, table or override
    because             text     -     the reason in words
    predicted_cpu_s     float64  s     predicted CPU
    predicted_memory_gb float64  GB    predicted memory
    predicted_bytes     int64    byte  predicted bytes written
    planes              int32    -     planes of the main input
    period_date         int16    -     ESO period of the subject's night
    """,
    key="plan_id process_id",
    by_period=True,
)

PRODUCTS = define(
    "products",
    "Every product ever sealed; a deleted one keeps its row.",
    """
    product_id      text       -     <process id>.<product type>
    process_id      text       -     process that made it
    product_type    text       -     type, as in instruments/product_types.toml
    subject_kind    text       -     observation, group, frame or library
    subject_id      text       -     what it is about
    preset          text       -     preset
    arm             text       -     arm
    night           date       -     night of the subject
    period_date     int16      -     ESO period of that night
    is_current      bool       -     fills its slot
    is_stale        bool       -     current, though the newest ended run named another process for its slot
    superseded_by   text       -     product that fills its slot in its place
    level           int8       -     worst association level of its chain
    access          text       -     public or private
    release_date    timestamp  -     end of the embargo, UTC
    store_path      text       -     Zarr group, below the archive
    shape           int32[]    -     shape of the main array
    dtype           text       -     type of the main array
    size_bytes      int64      byte  size on disk
    sha256          digest     -     over the sealed objects of its group
    state           text       -     ok, superseded, error or deleted
    created_at      timestamp  -     sealed, UTC
    deleted_at      timestamp  -     bytes removed, UTC
    deleted_reason  text       -     why
    """,
    key="product_id",
    sort="night subject_id process_id product_type",
    by_period=True,
)

QC = define(
    "qc",
    "Quality-control figures of products, judged by the limits of `qc_limits`; those of refused attempts included.",
    """
    product_id      text     -  product; of a refused attempt, the one that was not made
    metric          text     -  figure; `qc_limits` says what it means
    value           float64  -  value; its unit stands beside
    unit            text     -  unit of value and threshold
    threshold       float64  -  the limit broken; of a good value, the nearest one
    verdict         text     -  good, warn or refuse; NULL where no limit applies
    qc_version      text     -  recipe version that measured
    period_date     int16    -  ESO period of the process
    process_id      text     -  process that measured
    product_type    text     -  type of the product
    side            int8     -  1: values above the threshold break it, -1: values below
    limits_version  text     -  limits that judged, as in `qc_limits`
    inst_filter     text     -  filter it was measured in
    dit_s           float64  s  DIT it was measured at
    night           date     -  night of the process's subject
    subject_id      text     -  observation or group that the product is about
    """,
    key="product_id metric",
    by_period=True,
    version=2,
)

PLANE_QC = define(
    "plane_qc",
    "Quality-control figures of single planes: a row a plane and channel of each process that judged planes.",
    """
    process_id           text      -       process that measured: the tracks (all planes) or the science cube
    subject_id           text      -       observation
    night                date      -       night of the observation
    period_date          int16     -       ESO period of that night
    file_id              text      -       raw file
    plane                int32     -       plane within the file, from 0
    channel              int16     -       half of the detector: 0 left, 1 right
    frame_type           text      -       OBJECT, CENTER or FLUX
    time                 float64   d       mid-exposure, MJD UTC
    dit_s                float64   s       DIT
    usable               bool      -       False where an override excludes the plane
    background_level     float32   adu/s   background subtracted
    background_chi2      float32   1       reduced chi squared of the background fit
    center_error         float32   mas     quoted error of the star's position, both axes
    center_closure       float32   mas     distance of the midpoints of the waffle's diagonals; CENTER planes
    center_jump          float32   mas     distance of the star from the median of its neighbours in time
    relative_flux        float32   1       transmission times Strehl, median 1
    relative_flux_error  float32   1       its quoted error
    star_flux            float32   adu/s   star off the mask within 6 px, ND corrected; FLUX planes
    filled_pixels        float32   pixel   pixels of the lit field that hold the model's value
    cosmic_pixels        float32   pixel   pixels of the lit field hit by cosmic rays
    saturated_pixels     float32   pixel   saturated pixels of the lit field
    nonlinear_pixels     float32   pixel   pixels of the lit field beyond the linear range, not saturated
    noise_ratio          float32   1       scatter of neighbouring pixels over the noise that the variances claim
    smear                float32   1       motion of the field at 0.8 arcsec within the DIT, in lambda / D
    verdict              text      -       worst of its figures: good, warn or refuse; NULL where none is judged
    beyond               text      -       figures beyond a limit, the worst first; NULL where none is
    limits_version       text      -       limits that judged, as in `qc_limits`
    """,
    key="process_id file_id plane channel",
    sort="night subject_id process_id channel time",
    by_period=True,
)

QC_LIMITS = define(
    "qc_limits",
    "Limits that quality figures are judged by: those of this package, and those that judged rows still standing.",
    """
    limits_version  text     -  short hash of all limits together
    product_type    text     -  type of product
    metric          text     -  figure, as in `qc`, or column of `plane_qc`
    of              text     -  product or plane
    seq             int32    -  number of the limit of that figure; 0 where it has none
    unit            text     -  unit of figure and limits
    meaning         text     -  what is measured
    decides         bool     -  the recipe itself acts on the refusing limits: they are part of process ids
    code            text     -  issue raised where a limit is broken
    inst_filter     text[]   -  patterns of the filters it is for; empty for all
    dit_min_s       float64  s  shortest DIT it is for
    dit_max_s       float64  s  longest DIT it is for
    frame_type      text[]   -  types of planes it is for; empty for all
    valid_from      date     -  first night
    valid_to        date     -  first night after
    warn_below      float64  -  values below are warned of; in unit
    warn_above      float64  -  values above are warned of; in unit
    refuse_below    float64  -  values below are refused; in unit
    refuse_above    float64  -  values above are refused; in unit
    reference       text     -  where the limit comes from
    """,
    key="limits_version product_type metric of seq",
)

REMARKS = define(
    "remarks",
    "Coded remarks that processes make about their products.",
    """
    process_id  text   -  process
    seq         int32  -  position
    code        text   -  error code
    message     text   -  in one line
    """,
    key="process_id seq",
)

VERDICTS = define(
    "verdicts",
    "Judgements on products or observations, by a rule or a person.",
    """
    subject_kind  text       -  process, product or observation
    subject_id    text       -  what is judged
    verdict       text       -  good, refused, ...
    flag          text       -  error code or reason
    comment       text       -  in words
    author        text       -  person, or the recipe and version
    decided_at    timestamp  -  UTC
    """,
    key="subject_kind subject_id author",
)

ISSUES = define(
    "issues",
    "Problems in raw files, calibrations or processes that a person may have to resolve.",
    """
    issue_id      text       -  digest of code and subject
    code          text       -  error code
    severity      text       -  note, warning or blocking
    state         text       -  open or closed
    origin        text       -  rules (ingest and check), process, or storage (a source that cannot be read)
    subject_kind  text       -  file, group, observation, process or archive
    subject_id    text       -  what it is about
    file_id       text       -  raw file
    group_id      text       -  exposure group
    obs_id        text       -  observation
    process_id    text       -  process
    message       text       -  what, which criterion, nearest candidate
    remedy        text       -  what to do
    opened_at     timestamp  -  UTC
    closed_at     timestamp  -  UTC
    resolution    text       -  how it was closed
    author        text       -  by whom
    """,
    key="issue_id",
)

PLANS = define(
    "plans",
    "Plans saved.",
    """
    plan_id          text   -  id
    as_of            text   -  ISO time that expiries were judged against
    ruleset_version  text   -  digest of the rule tables
    preset           text   -  preset
    selection        text   -  selection, as given
    n_processes      int32  -  processes named
    n_to_run         int32  -  of these, not yet sealed when planned
    n_not_planned    int32  -  subjects asked for that cannot be planned
    path             text   -  file below the archive
    """,
    key="plan_id",
)

RUNS = define(
    "runs",
    "Executions of plans.",
    """
    run_id           text       -  id, ordered by time
    plan_id          text       -  plan
    campaign_id      text       -  campaign
    site             text       -  site profile
    ruleset_version  text       -  digest of the rule tables
    started_at       timestamp  -  UTC
    finished_at      timestamp  -  UTC; NULL while it is going, or where it was killed
    state            text       -  running or ended
    counts           json       -  processes by state; they add up to the plan
    resolved_config  json       -  settings in force
    torn_lines       int32      -  journal lines that a kill tore
    """,
    key="run_id",
)

CAMPAIGNS = define(
    "campaigns",
    "Reprocessing campaigns.",
    """
    campaign_id      text       -  id
    name             text       -  name
    period_date      int16      -  ESO period
    manifest_id      text       -  expected files
    ruleset_version  text       -  digest of the rule tables
    started_at       timestamp  -  UTC
    finished_at      timestamp  -  UTC
    target_hours     float64    h  time wanted
    """,
    key="campaign_id",
)

RELEASES = define(
    "releases",
    "Named sets of products that never change.",
    """
    release_id       text       -  id
    name             text       -  name
    created_at       timestamp  -  UTC
    manifest_sha256  digest     -  of its list
    """,
    key="release_id",
)

RELEASE_ITEMS = define(
    "release_items",
    "What a release holds.",
    """
    release_id  text    -  release
    obs_id      text    -  observation
    product_id  text    -  product
    sha256      digest  -  of the product
    """,
    key="release_id product_id",
)

PROCESS_TABLES: tuple[Table, ...] = (
    RECIPES,
    PARAMETER_SETS,
    PROCESSES,
    PROCESS_INPUTS,
    PROCESS_EDGES,
    ATTEMPTS,
    PLAN_PROCESSES,
    PRODUCTS,
    QC,
    PLANE_QC,
    QC_LIMITS,
    REMARKS,
    VERDICTS,
    ISSUES,
    PLANS,
    RUNS,
    CAMPAIGNS,
    RELEASES,
    RELEASE_ITEMS,
)
