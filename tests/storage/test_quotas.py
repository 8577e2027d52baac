"""Quotas as the tools print them."""

from __future__ import annotations

from pathlib import Path

import pytest

from archive_proc.storage.quotas import Allowance, allowances, mount_of, parse, tightest

QUOTA = """\
Disk quotas for user pd (uid 1000):
     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
    /dev/sdb1 1234567* 1000000 2000000 1764200000    4321   10000   20000       0
  nas:/vol/home      20       0       0       0       7       0       0       0
"""
LUSTRE = """\
/lustre/project/with/a/very/long/name
                [1073741824]  1610612736 2147483648       -  123456*  1000000 120000       7d
"""
MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
40 22 0:35 / /data rw - nfs4 nas:/vol/data rw,vers=4.2
41 40 0:36 / /data/with\\040blank rw shared:3 - lustre mds@tcp:/l rw
garbage
"""


def test_quota_lists_blocks_and_files_with_their_limits() -> None:
    found = parse(QUOTA, "user pd")
    assert found == [
        Allowance("user pd", 1234567 * 1024, 2000000 * 1024, 4321, 20000),
        Allowance("user pd", 20 * 1024, None, 7, None),
    ]
    assert found[0].left_bytes == 765433 * 1024
    assert tightest(found, files=True) == found[0]
    assert tightest(found[1:], files=False) is None


def test_lustre_breaks_long_names_and_marks_what_is_passed() -> None:
    (found,) = parse(LUSTRE, "group sphere")
    assert found == Allowance("group sphere", 2**40, 2**41, 123456, 120000)
    assert found.left_files == 0


def test_words_that_are_no_quota_are_none() -> None:
    assert parse("quota: Cannot open quotafile /aquota.user: Permission denied\n\nnone\n", "user pd") == []


def test_a_directory_lies_on_the_deepest_mount_above_it() -> None:
    assert mount_of(Path("/data/with blank/x"), MOUNTS).kind == "lustre"  # type: ignore[union-attr]
    assert mount_of(Path("/data/x"), MOUNTS).source == "nas:/vol/data"  # type: ignore[union-attr]
    assert mount_of(Path("/database"), MOUNTS).kind == "ext4"  # type: ignore[union-attr]
    assert mount_of(Path("/x"), "") is None


def test_where_no_tool_tells_there_is_no_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert allowances(tmp_path) == ()
    (tmp_path / "quota").write_text("#!/bin/sh\necho not for you >&2; exit 1\n")
    (tmp_path / "quota").chmod(0o755)
    assert allowances(tmp_path) == ()
