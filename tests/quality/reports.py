"""Reports made up for tests: of any size, with whatever names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from archive_proc.quality.content import (
    CalibrationRow,
    Card,
    Drawing,
    FailureGroup,
    IssueRow,
    NotPlannedRow,
    OverrideRow,
    PlanesBeyond,
    QcRowShown,
    RecipeRow,
    RunFacts,
    RunReport,
)
from archive_proc.quality.html import report_html, report_json
from archive_proc.quality.measured import Measured
from archive_proc.quality.scales import Scale
from archive_proc.quality.thumbnail import thumbnail

HOSTILE = (
    "<script>window.hacked = 1</script>",
    '"><img src=x onerror="window.hacked=2">',
    "' onmouseover='window.hacked=3",
    "javascript:window.hacked=4",
    "{{ 7 * 7 }}{% for x in y %}",
    "HD 1\u202e dlroW olleh\u202c",
    "bell\x07 and \x1b[31mred\x1b[0m\x00nul",
    "two\nlines\r\nand a tab\t.",
    "x" * 300,
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
    "\U0001f600\u0301\u0301\u0301",
    "</title></style></head><h1>mine</h1>",
    "&lt;already&amp;escaped",
)


def noisy_thumbnail(seed: int) -> bytes:
    """The worst a thumbnail can be: white noise over the whole scale."""
    noise = np.random.default_rng(seed).random((165, 165)).astype(np.float32)
    found = thumbnail(Measured({"noise": noise}), Scale(0.0, 1.0), "noise")
    assert found is not None
    return found


def made_up(observations: int, names: tuple[str, ...] = ("SIM_STAR",), pictures: int = 4) -> RunReport:
    """A run over so many observations, twenty a night, with failures, outliers, overrides and issues."""
    cards = tuple(_card(number, names[number % len(names)], pictures) for number in range(observations))
    named = tuple(names[number % len(names)] for number in range(max(1, observations // 40)))
    return RunReport(
        archive="0123456789ab",
        generated_at="2026-01-02T03:04:05+00:00",
        verdict=f"{observations} of {observations + 7} processes are sealed; 2 failed, 5 blocked by them.",
        exit_status=3,
        counts={"done": observations, "failed": 2, "blocked": 5},
        total=observations + 7,
        run=RunFacts(
            run_id="01" * 16, plan_id="ab" * 32, command="archive-proc run plan:abababababab", selection=names[0],
            preset="default", site="local", backend="local", workers=2, asked_by=names[-1], host=names[0],
            started_at="2026-01-02T03:04:05+00:00", last_word_at="2026-01-02T05:04:05+00:00", elapsed_s=7200.0,
            state="ended", package_version="0.1.0", environment={"python": "3.11", "numpy": "2.4"},
            environment_digest="0123456789ab", ruleset_version="abc", as_of="2026-01-01T00:00:00",
        ),
        observations=cards,
        masters=(_card(0, names[0], pictures, kind="dark"),),
        recipes=(
            RecipeRow(
                recipe="irdis_science", version="1.0.0", planned=observations + 7, made=observations, stood=0, failed=2,
                blocked=5, other=0, median_s=12.5, p95_s=44.0, max_s=800.0, cpu_s=9000.0, predicted_cpu_s=8000.0,
                peak_memory_mb=900.0, bytes_written=7_000_000_000_000,
            ),
        ),
        failures=tuple(
            FailureGroup(
                signature=f"s{number}", cause="data", code="AP-IRD-052", recipe="irdis_tracks", account=name,
                remedy=name, subjects=(name,), processes=("proc:0123456789ab",), blocked=5,
            )
            for number, name in enumerate(named)
        ),
        not_planned=tuple(
            NotPlannedRow(subject=name, product_type="preview", code="AP-CAL-012", message=name, remedy=name)
            for name in named
        ),
        calibrations=tuple(
            CalibrationRow(
                calibration="IRD_DARK_RAW of 2017-09-28", group_id="group:0123456789ab", role="dark",
                serves=("OBJECT",), observations=4, names=(name,), level=1, dt_days=(-0.2, 0.4), methods=("match",),
                pinned=True, origin="made in this run",
            )
            for name in named
        ),
        outliers=tuple(
            QcRowShown(
                verdict="warn", subject=name, night="2017-09-28", product_type="center", metric="closure",
                value=float("nan"), unit="mas", threshold=5.0, side=1, product_id="prod:0123456789ab",
            )
            for name in named
        ),
        planes_beyond=tuple(
            PlanesBeyond(subject=name, night="2017-09-28", refuse=1, warn=2, planes=80, figures=("center jump (3)",))
            for name in named
        ),
        qc_counts={"good": 40, "warn": len(named)},
        overrides=tuple(
            OverrideRow(
                override_id="o1", kind="exclude-planes", match=name, value=name, reason=name, author=name,
                expires="never", source="overrides/a.yaml:1", processes=2,
            )
            for name in named
        ),
        issues=tuple(
            IssueRow(severity="blocking", code="AP-SEQ-001", subject=name, message=name, remedy=name) for name in named
        ),
        drawing=Drawing(
            drawn=1, stood=2, median_cpu_s=2.0, max_cpu_s=4.0, peak_memory_mb=400.0, largest_thumbnail_bytes=9000
        ),
        reproduce=(("archive-proc ingest /data/raw", "headers"), ("archive-proc run plan:abab", "again")),
    )  # fmt: skip


def _card(number: int, name: str, pictures: int, kind: str = "observation") -> Card:
    failed = number % 37 == 5
    return Card(
        subject_id=f"{number:032x}",
        name=name,
        night=f"2017-{1 + number // 20 // 28 % 12:02d}-{1 + number // 20 % 28:02d}",
        setup="DB_H23, N_ALC_YJH_S, DIT 16 s, pupil tracking, dual band",
        kind=kind,
        state="failed" if failed else "made",
        words=f"irdis_tracks: AP-IRD-052 {name}" if failed else "",
        verdict=("good", "warn", "refuse", "")[number % 4],
        planes=80,
        page="" if failed else f"pictures/{number % pictures}.png",
        thumbnail="" if failed else f"pictures/{number % pictures}.png",
    )


def written(report: RunReport, directory: Path, pictures: int = 4) -> Path:
    """The report on disk with pictures of noise; its index page."""
    (directory / "pictures").mkdir(parents=True)
    for number in range(pictures):
        (directory / "pictures" / f"{number}.png").write_bytes(noisy_thumbnail(number))
    (directory / "report.json").write_bytes(report_json(report))
    index = directory / "index.html"
    index.write_bytes(report_html(report).encode())
    return index
