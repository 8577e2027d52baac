"""What is handed to sbatch, read as text: no scheduler is needed for it."""

from __future__ import annotations

import importlib
import itertools
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import dask
import msgspec
import pytest
import yaml

from archive_proc.errors import MisuseError, PreconditionError
from archive_proc.execution import slurm_scripts
from archive_proc.execution.slurm import DaskSlurm, worker_script
from archive_proc.execution.slurm_left import JobRegister, archive_mark
from archive_proc.execution.slurm_scripts import config_text, driver_script, encrypted, lifetime_s, n_jobs, slurm_of
from archive_proc.execution.slurm_security import forget_keys, temporary_keys
from archive_proc.execution.threads import THREAD_VARIABLES
from archive_proc.execution.worker_config import SETTINGS, difference, expected, found
from archive_proc.flow.sites import site_named
from archive_proc.settings import SiteProfile, parse_site

SHIPPED = sorted((Path(__file__).parents[2] / "cluster").glob("*.toml"))


def shipped(name: str) -> SiteProfile:
    (path,) = [one for one in SHIPPED if one.stem == name]
    return parse_site(path.read_text(), path.name)


def directives(script: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")]


def test_a_worker_job_is_what_the_profile_says(tmp_path: Path) -> None:
    site = shipped("many-small-nodes")
    directory = tmp_path / "an archive" / "runs" / "1"
    script = worker_script(site, directory)
    asked = directives(script)
    for one in ("-N 1", "--no-requeue", "--signal=B:TERM@120", "-p standard", "-A project", "-t 02:00:00", "-n 1"):
        assert one in asked, one
    assert "--cpus-per-task=16" in asked
    assert f'--output="{directory}/logs/worker-%j.log"' in asked
    # Whose they are, should the driver die before it has noted their numbers: last, so that nothing of a site hides it.
    assert asked[-2:] == ["--exclusive", f"--comment={archive_mark(directory.parent)}"]
    assert archive_mark(directory.parent) != archive_mark(tmp_path / "another" / "runs")
    # SLURM grants more than the nannies' limits together.
    (granted,) = [int(one.removeprefix("--mem=").removesuffix("M")) for one in asked if one.startswith("--mem=")]
    assert granted * 2**20 > 1.1 * 16 * 3.2e9
    command = shlex.split(script.splitlines()[-1])
    assert command[0] == "exec"
    assert command[2:4] == ["-P", "-m"], "a checkout in the directory of the command is not the installed package"
    options = dict(itertools.pairwise(command))
    assert options["--nthreads"] == "1"
    assert options["--nworkers"] == "16"
    assert options["--interface"] == "ib0"
    assert options["--death-timeout"] == "120"
    assert options["--local-directory"] == "/dev/shm"
    assert options["--dashboard-address"] == "127.0.0.1:0"
    # Two hours less 15 minutes, and a tenth of it: the last worker ends before SLURM ends it.
    lifetime, stagger = lifetime_s(slurm_of(site))
    assert 5400 < lifetime < lifetime + stagger <= 105 * 60


def test_ours_comes_after_the_sites_lines_and_reaches_workers(tmp_path: Path) -> None:
    site = shipped("few-fat-nodes")
    lines = worker_script(site, tmp_path).splitlines()
    at = {line: number for number, line in enumerate(lines)}
    ours = [f"export {name}=1" for name in THREAD_VARIABLES] + [f"export DASK_CONFIG={tmp_path}/dask.yaml"]
    assert all(at["module purge"] < at[one] for one in ours)
    tree = yaml.safe_load(config_text())
    for name, value in SETTINGS.items():
        place = tree
        for one in name.split("."):
            place = place[one]
        assert place == value, name


def test_the_drivers_job_is_small_and_gives_the_same_command(tmp_path: Path) -> None:
    site = shipped("many-small-nodes")
    words = ["--archive", str(tmp_path / "an archive"), "run", "--where", "n > 1", "--site", site.name]
    script = driver_script(site, words, tmp_path / "100 %" / "driver-%j.log")
    asked = directives(script)
    for one in ("-p long", "-A project", "--cpus-per-task=1", "-t 1-00:00:00", "--no-requeue", "--mem=3815M"):
        assert one in asked, one
    assert f'--output="{tmp_path}/100 %%/driver-%j.log"' in asked
    command = shlex.split(script.splitlines()[-1])
    assert command[0] == "exec"
    assert command[2:4] == ["-P", "-m"], "a checkout in the directory of the command is not the installed package"
    assert command[-len(words) :] == words


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("", ""),
        ("[slurm]\nwaltime = '1'", "slurm.waltime is not known; the nearest is slurm.walltime"),
        ("queu = 'x'", "key queu is not known"),
        ("[slurm]\njob_memory_gb = 8.2\nworkers_per_job = 2", "less than 1.1 x"),
        ("[slurm]\nwalltime = 'soon'", "slurm.walltime = 'soon'"),
        ("[slurm]\nwalltime = '20'", "leaves nothing"),
        ("[slurm]\ntls = 'off'", "not one of auto, always"),
        ("[slurm]\nworkers_per_job = 0", "workers_per_job"),
        ("[slurm]\ndirectives = ['-J x', '--comment proposal 7']", "slurm.directives has '--comment proposal 7'"),
        ("breaker = -1", "breaker must not be negative"),
    ],
)
def test_a_profile_that_does_not_pass_is_refused_by_file_and_key(more: str, says: str) -> None:
    text = f'name = "x"\nbackend = "slurm"\nworkers = 4\nmemory_per_worker_gb = 4.0\n{more}'
    if not says:
        assert parse_site(text, "sites/x.toml").slurm is not None
        return
    with pytest.raises(MisuseError, match=r"sites/x\.toml") as refused:
        parse_site(text, "sites/x.toml")
    assert says in refused.value.message


def test_ctrl_c_stays_with_the_run_when_its_back_end_is_loaded() -> None:
    # In a process of its own, as a run loads it: dask-jobqueue takes SIGINT for itself, to leave with status 0.
    said = """
import os, signal
from pathlib import Path
from archive_proc.execution.stopping import Stopper
with Stopper(Path("no such file"), 10.0) as stopper:
    import archive_proc.execution.slurm
    os.kill(os.getpid(), signal.SIGINT)
    print(stopper.reason)
"""
    ended = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "SIGINT\n"), ended.stderr


def test_a_copied_profile_must_be_renamed_inside_too(tmp_path: Path) -> None:
    # The driver's own job asks for its site by name: `slurm` would lead it to the shipped profile, not to this one.
    mine, text = tmp_path / "mine.toml", (SHIPPED[0].parent / "slurm.toml").read_text()
    mine.write_text(text)
    with pytest.raises(MisuseError, match=r'AP-CLI-003 mine\.toml.*set name = "mine"'):
        site_named("slurm:mine", tmp_path)
    mine.write_text(text.replace('name = "slurm"', 'name = "mine"'))
    assert site_named("slurm:mine", tmp_path).name == "mine"


def test_every_shipped_profile_passes_and_slurm_toml_documents_every_key() -> None:
    for path in SHIPPED:
        assert parse_site(path.read_text(), path.name).name == path.stem
    documented = {line.split(" = ")[0] for line in (SHIPPED[0].parent / "slurm.toml").read_text().splitlines()}
    profile = shipped("slurm")
    assert profile.slurm is not None
    keys = {*msgspec.structs.asdict(profile), *msgspec.structs.asdict(profile.slurm)} - {"slurm"}
    assert keys - documented == set()


def test_traffic_is_encrypted_unless_it_stays_on_the_host() -> None:
    assert not encrypted(shipped("slurm-local"))
    assert encrypted(shipped("slurm"))
    assert encrypted(shipped("many-small-nodes"))
    local = shipped("slurm-local")
    always = msgspec.structs.replace(local, slurm=msgspec.structs.replace(slurm_of(local), tls="always"))
    assert encrypted(always)
    assert n_jobs(shipped("few-fat-nodes"), 33) == 2
    assert slurm_scripts.warning_s("00:01:00") == 15


def test_a_worker_with_another_setup_says_what_differs() -> None:
    wanted = expected(1_500_000_000)
    # Dask's own defaults: that is what a job without dask.yaml would find.
    with dask.config.set({"distributed.worker.memory.pause": 0.8}):
        here = {**found(1_503_238_553), **dict.fromkeys(THREAD_VARIABLES, "1"), "MALLOC_ARENA_MAX": "2"}
    text = difference(wanted, here)
    assert "distributed.worker.memory.pause is '0.8', not '0.85'" in text
    assert "memory_limit" not in text
    assert difference(wanted, {**wanted, "NUMBA_NUM_THREADS": "16"}) == "NUMBA_NUM_THREADS is '16', not '1'"
    assert "memory_limit" in difference(wanted, {**wanted, "memory_limit": "2000000000"})


def test_what_is_not_installed_is_named_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = DaskSlurm(shipped("slurm-local"), tmp_path, 1)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PreconditionError, match="AP-RUN-040 SLURM: there is no sbatch"):
        backend.start()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(PreconditionError, match="AP-RUN-040 site: cryptography"):
        temporary_keys(tmp_path / "keys", "me")
    monkeypatch.setitem(sys.modules, "dask_jobqueue.slurm", None)
    for name in ("slurm", "jobqueue"):
        monkeypatch.delitem(sys.modules, f"archive_proc.execution.{name}")
    with pytest.raises(PreconditionError, match="AP-RUN-040 site: dask-jobqueue"):
        importlib.import_module("archive_proc.execution.slurm")


def test_a_driver_that_was_taken_for_dead_forgets_no_job_of_its_successor(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "1"
    run.mkdir(parents=True)
    first, second = JobRegister(run, "first"), JobRegister(run, "second")
    first.write("7")
    second.write("8")
    first.forget()
    assert [one.read_text() for one in run.iterdir()] == ["8\n"]


def test_keys_are_for_one_user_and_one_driver(tmp_path: Path) -> None:
    directory = tmp_path / "runs" / "1" / "keys"
    before = temporary_keys(directory, "first")
    first = {one.name for one in directory.iterdir()}
    # The driver was killed, or taken for dead, and another continues the same run: new keys, which the old scheduler's
    # workers do not have.
    after = temporary_keys(directory, "second")
    assert len(first) == 3
    assert not first & {one.name for one in directory.iterdir()}
    forget_keys(directory, "first")
    assert len(list(directory.iterdir())) == 3, "the first one ends late: it takes nobody's keys but its own"
    assert {stat.S_IMODE(one.stat().st_mode) for one in directory.iterdir()} == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert before.require_encryption
    assert after.require_encryption
    forget_keys(directory, "second")
    assert not directory.exists()
