"""Promises of the house: light start, error pages, no module longer than a sitting."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "archive_proc"
CODE = re.compile(r"AP-[A-Z]{3}-\d{3}")


def test_every_error_code_has_a_page_and_every_page_a_code() -> None:
    used = {
        code
        for source in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.toml")]
        for code in CODE.findall(source.read_text())
    }
    pages = {page.stem for page in (PACKAGE / "error_pages").glob("*.md")}
    assert used - pages == set(), "codes without a page"
    assert pages - used == set(), "pages without a code"


def test_every_error_page_says_what_happened_with_an_example_and_what_to_do() -> None:
    for page in (PACKAGE / "error_pages").glob("*.md"):
        text = page.read_text()
        assert text.startswith(f"# {page.stem} "), page.name
        for part in ("**What happened.**", "**Example.**", "**What to do.**"):
            assert part in text, f"{page.name} lacks {part}"


def test_help_and_import_load_nothing_heavy() -> None:
    heavy = ("dask", "distributed", "xarray", "astropy", "numba", "zarr", "duckdb", "pyarrow", "scipy", "numpy")
    check = (
        "import sys; import archive_proc; from click.testing import CliRunner; "
        "from archive_proc.cli.main import program; "
        "assert CliRunner().invoke(program, ['--help']).exit_code == 0; "
        f"print([name for name in {list(heavy)!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_verb_listed_exists_and_prints_its_help() -> None:
    from click.testing import CliRunner

    from archive_proc.cli.main import VERBS, program

    for verb, _ in VERBS:
        answer = CliRunner().invoke(program, [verb, "--help"])
        assert answer.exit_code == 0, f"{verb}: {answer.output}"
        assert "Usage:" in answer.output


def test_no_module_is_longer_than_a_sitting() -> None:
    long = {
        str(source.relative_to(PACKAGE)): lines
        for source in PACKAGE.rglob("*.py")
        if (lines := len(source.read_text().splitlines())) > 500
    }
    assert long == {}


def test_no_pickle_is_read_from_disk() -> None:
    readers = re.compile(r"\bpickle\.loads?\(|allow_pickle\s*=\s*True|\byaml\.(unsafe_)?load\(")
    guilty = [str(one.relative_to(PACKAGE)) for one in PACKAGE.rglob("*.py") if readers.search(one.read_text())]
    assert guilty == []
